"""Texts: decoding, fingerprints of passages, alignment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Channel, Role, Search, Segment
from indexers.text import align, normalise, winnow

__all__ = ["TextPassages"]


class TextPassages:
    """What `indexers.modality.Modality` asks of texts, once they are read. Spans count characters.

    A decoded segment is a piece of the text, in order, with its place in the whole as `start` and `end`.
    """

    name = "text"
    channels: tuple[Channel, ...] = (
        # Keys are equal or not. One row, one key: how many rows a piece has depends on its length.
        Channel(winnow.WINNOW, Search(0, 0, min_quality=0.01)),
    )
    stages: tuple[str, ...] = ("passages",)
    fast_stages = 1
    signal_units: Mapping[str, str] = MappingProxyType(
        {
            "text_evidence": "",
            "text_places": "places",
            "text_density": "",
            "text_characters": "characters",
            "text_longest": "characters",
        }
    )

    def prepare(self) -> None:
        """Load the table of characters."""
        normalise.normalise("")

    def fingerprint(self, segments: Iterable[Segment[str]], role: Role) -> Iterator[list[Fingerprint]]:
        """Describe the text; references and queries alike, in one stage."""
        del role
        found = winnow.fingerprint(segments)
        yield [] if found is None else [found]

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work)
