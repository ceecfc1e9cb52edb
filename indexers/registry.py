"""The modalities and schemes that this version knows."""

from typing import Any

from indexers.audio import AudioModality
from indexers.errors import DamagedMediaError, FingerprintError, UnsupportedMediaError
from indexers.fingerprint import Scheme
from indexers.image import ImageModality
from indexers.modality import Channel, Modality

MODALITIES: tuple[Modality[Any], ...] = (ImageModality(), AudioModality())
"""In the order in which they are asked whether they recognise a file."""

_BY_NAME = {modality.name: modality for modality in MODALITIES}
_OF_SCHEME = {
    channel.scheme.id: (channel, modality) for modality in MODALITIES for channel in modality.channels
}


def by_name(name: str) -> Modality[Any]:
    """Return the modality of this name, such as ``image``.

    Raises:
        UnsupportedMediaError: If there is none.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnsupportedMediaError(f"no modality {name!r}: use one of {', '.join(_BY_NAME)}") from None


def detect(head: bytes) -> Modality[Any]:
    """Return the modality of a file, by its first bytes (4,096, or all if it has fewer).

    Raises:
        UnsupportedMediaError: If no modality recognises it.
        DamagedMediaError: If the file is empty.
    """
    if not head:
        raise DamagedMediaError("the file is empty: send the whole file")
    for modality in MODALITIES:
        if modality.recognises(head):
            return modality
    formats = ", ".join(format_ for modality in MODALITIES for format_ in modality.formats)
    raise UnsupportedMediaError(f"the format is not known: send one of {formats}")


def schemes() -> dict[str, Scheme]:
    """All schemes of all modalities, by id."""
    return {scheme_id: known.scheme for scheme_id, (known, _) in _OF_SCHEME.items()}


def searched() -> dict[str, Scheme]:
    """The schemes that are looked up in indexes, by id."""
    return {scheme_id: known.scheme for scheme_id, (known, _) in _OF_SCHEME.items() if known.search}


def channel(scheme_id: str) -> Channel:
    """Return the channel of the scheme with this id, such as ``image.pdq.v1``.

    Raises:
        FingerprintError: If there is none.
    """
    return _of_scheme(scheme_id)[0]


def modality_of(scheme_id: str) -> Modality[Any]:
    """Return the modality that a scheme describes.

    Raises:
        FingerprintError: If there is no such scheme.
    """
    return _of_scheme(scheme_id)[1]


def _of_scheme(scheme_id: str) -> tuple[Channel, Modality[Any]]:
    try:
        return _OF_SCHEME[scheme_id]
    except KeyError:
        raise FingerprintError(f"no scheme {scheme_id!r}: use one of {', '.join(_OF_SCHEME)}") from None
