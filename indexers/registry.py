"""The modalities and schemes that this version knows."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from indexers.audio import AudioModality
from indexers.errors import DamagedMediaError, FingerprintError, UnsupportedMediaError
from indexers.fingerprint import Scheme
from indexers.image import ImageModality
from indexers.modality import Channel, Modality
from indexers.text import TextModality
from indexers.video import VideoModality

MODALITIES: tuple[Modality[Any], ...] = (
    ImageModality(),
    AudioModality(),
    VideoModality(),
    TextModality(),
)
"""In the order in which they are asked whether they recognise a file; text last: much looks like it."""


class _Known:
    """What is looked up."""

    def __init__(self, modalities: Sequence[Modality[Any]]) -> None:
        self.modalities = tuple(modalities)
        self.by_name = {modality.name: modality for modality in modalities}
        self.of_scheme: dict[str, tuple[Channel, Modality[Any]]] = {}
        for modality in modalities:  # what several share, such as sound, belongs to the first
            for channel in modality.channels:
                self.of_scheme.setdefault(channel.scheme.id, (channel, modality))


_known = _Known(MODALITIES)


@contextmanager
def using(modality: Modality[Any]) -> Iterator[None]:
    """Use a modality in the place of the one of its name, in the whole process, as long as this lasts.

    For the start of a program, before anything asks for a modality or a scheme: what was looked up before
    stays what it was.
    """
    global _known  # noqa: PLW0603 - what a process knows is one for all its threads, see docs/adr/0015
    before = _known
    _known = _Known([modality if one.name == modality.name else one for one in before.modalities])
    try:
        yield
    finally:
        _known = before


def modalities() -> tuple[Modality[Any], ...]:
    """The modalities in use: `MODALITIES`, but for what `using` has replaced."""
    return _known.modalities


def by_name(name: str) -> Modality[Any]:
    """Return the modality of this name, such as ``image``.

    Raises:
        UnsupportedMediaError: If there is none.
    """
    try:
        return _known.by_name[name]
    except KeyError:
        known = ", ".join(_known.by_name)
        raise UnsupportedMediaError(f"no modality {name!r}: use one of {known}") from None


def detect(head: bytes) -> Modality[Any]:
    """Return the modality of a file, by its first bytes (4,096, or all if it has fewer).

    Raises:
        UnsupportedMediaError: If no modality recognises it.
        DamagedMediaError: If the file is empty.
    """
    if not head:
        raise DamagedMediaError("the file is empty: send the whole file")
    for modality in modalities():
        if modality.recognises(head):
            return modality
    formats = ", ".join(dict.fromkeys(format_ for modality in modalities() for format_ in modality.formats))
    raise UnsupportedMediaError(f"the format is not known: send one of {formats}")


def schemes() -> dict[str, Scheme]:
    """All schemes of all modalities, by id."""
    return {scheme_id: one.scheme for scheme_id, (one, _) in _known.of_scheme.items()}


def searched() -> dict[str, Scheme]:
    """The schemes that are looked up in indexes, by id."""
    return {scheme_id: one.scheme for scheme_id, (one, _) in _known.of_scheme.items() if one.search}


def channel(scheme_id: str) -> Channel:
    """Return the channel of the scheme with this id, such as ``image.pdq.v1``.

    Raises:
        FingerprintError: If there is none.
    """
    return _of_scheme(scheme_id)[0]


def modality_of(scheme_id: str) -> Modality[Any]:
    """Return the modality that a scheme describes; the first of several.

    Raises:
        FingerprintError: If there is no such scheme.
    """
    return _of_scheme(scheme_id)[1]


def of_schemes(scheme_ids: Collection[str]) -> Modality[Any] | None:
    """The kind of media that is described by all of these schemes, the first if several are; None: none is.

    Raises:
        FingerprintError: If a scheme is not known.
    """
    wanted = {_of_scheme(scheme_id)[0].scheme.id for scheme_id in scheme_ids}
    return next(
        (one for one in modalities() if wanted <= {channel.scheme.id for channel in one.channels}), None
    )


def sharing(scheme_ids: Iterable[str]) -> list[Modality[Any]]:
    """The kinds of media that any of these schemes describes."""
    wanted = set(scheme_ids)
    return [one for one in modalities() if any(channel.scheme.id in wanted for channel in one.channels)]


def _of_scheme(scheme_id: str) -> tuple[Channel, Modality[Any]]:
    try:
        return _known.of_scheme[scheme_id]
    except KeyError:
        known = ", ".join(_known.of_scheme)
        raise FingerprintError(f"no scheme {scheme_id!r}: use one of {known}") from None
