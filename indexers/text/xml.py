"""XML from strangers: no entity is expanded, no other file read, no document type accepted."""

from typing import Any, Protocol

from lxml import etree

from indexers.errors import DamagedMediaError


class Listener(Protocol):
    """What is told of elements and text as they come. Names are ``{namespace}local``."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Be told of an element's start."""
        ...

    def end(self, tag: str) -> None:
        """Be told of an element's end."""
        ...

    def data(self, data: str) -> None:
        """Be told of text, or of a part of it."""
        ...

    def close(self) -> None:
        """Be told of the end."""
        ...


_SAFE: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}


def feeder(listener: Listener) -> "etree.XMLParser[Any]":
    """Return a parser to `feed` and `close`, which tells the listener and keeps nothing itself."""
    return etree.XMLParser(target=_NoTypes(listener), **_SAFE)


def tree(content: bytes, *, kind: str) -> "etree._Element":
    """Parse a small document.

    Raises:
        DamagedMediaError: If it is no XML, or brings a document type of its own.
    """
    try:
        root = etree.fromstring(content, etree.XMLParser(**_SAFE))
    except etree.XMLSyntaxError as error:
        raise DamagedMediaError(
            f"the {kind} is damaged ({error.msg}): send the whole file, or save it again"
        ) from error
    if root.getroottree().docinfo.internalDTD is not None and list(
        root.getroottree().docinfo.internalDTD.iterentities()
    ):
        raise entities(kind)
    return root


def entities(kind: str) -> DamagedMediaError:
    """Make the error for a document that declares entities: the way to blow one up."""
    return DamagedMediaError(f"the {kind} declares entities of its own, as none should: save it again")


class _NoTypes:
    """Passes on what it is told, but refuses a document type declaration."""

    def __init__(self, listener: Listener) -> None:
        self.start = listener.start
        self.end = listener.end
        self.data = listener.data
        self.close = listener.close

    def doctype(self, *_: str | None) -> None:
        """Refuse it."""
        raise entities("document")
