"""Texts: decoding, fingerprints of passages, alignment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO

from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Channel, MediaLimits, Role, Search, Segment
from indexers.previews import Budget, Files
from indexers.text import align, normalise, preview, read, winnow

__all__ = ["TextModality"]


class TextModality:
    """Plain text, web pages, e-books and documents. Spans count characters of the text that is read.

    A decoded segment is a piece of the text, in order, with its place in the whole as `start` and `end`.
    """

    name = "text"
    formats: tuple[str, ...] = read.FORMATS
    channels: tuple[Channel, ...] = (
        Channel(
            winnow.WINNOW,
            # Keys are equal or not. 128 rows lie within some 400 characters.
            Search(0, 0, 0.01, nearest=128, votes=True, stretch=128, least_votes=4.0, common=16),
            query_rows=winnow.MOST_OF_CHARACTER,
            reference_rows=winnow.MOST_OF_CHARACTER,
        ),
    )
    stages: tuple[str, ...] = ("passages",)
    fast_stages = 1
    scene_stages: frozenset[int] = frozenset()
    place_stages: frozenset[int] = frozenset()
    accompanying: frozenset[str] = frozenset()
    signal_units: Mapping[str, str] = MappingProxyType(
        {
            "text_evidence": "",
            "text_places": "places",
            "text_density": "",
            "text_characters": "characters",
            "text_longest": "characters",
        }
    )

    def load(self) -> None:
        """Import the libraries that read documents."""
        read.load()

    def prepare(self) -> None:
        """Load the table of characters and what reading needs."""
        read.prepare()
        normalise.normalise("")

    def pieces(self, limits: MediaLimits) -> int:
        """Most characters of one text."""
        return limits.max_characters

    def recognises(self, head: bytes) -> bool:
        """Tell whether this is a document, or looks like text in some encoding: ask other kinds first."""
        return read.sniff(head) is not None

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[str]]:
        """Yield the text in pieces; see `read.read`."""
        return read.read(source, limits)

    def preview(
        self,
        source: BinaryIO,
        limits: MediaLimits,
        files: Files,
        budget: Budget,
        first: Segment[str] | None = None,
    ) -> None:
        """Write the text; see `preview.preview`."""
        del first  # there is more to it
        preview.preview(source, limits, files, budget)

    def fingerprint(self, segments: Iterable[Segment[str]], role: Role) -> Iterator[list[Fingerprint]]:
        """Describe the text; references and queries alike, in one stage."""
        del role
        yield [winnow.fingerprint(segments)]

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work)

    def identity(self, query: Sequence[Fingerprint]) -> Alignment | None:  # noqa: ARG002 - the protocol's
        """None: queries and references are not described alike."""
        return None
