"""From the paths on a command line to the files that they mean."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from copyhound.folders import packed, walk
from copyhound.media import readable_name


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to be sent.

    Attributes:
        path: Where it lies.
        name: Its path relative to the folder that was given, with ``/``; for a file, its name.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class FoundMedia:
    """A media item to be sent: a file, or a folder as one.

    Attributes:
        path: Where it lies.
        name: As of `FoundFile`; of a folder, its own.
        media: What is sent.
    """

    path: Path
    name: str
    media: Path | BinaryIO


@dataclass(slots=True)
class HiddenCount:
    """How many files and folders whose names start with a dot were left out."""

    count: int = 0

    def add(self, number: int) -> None:
        """Count some more."""
        self.count += number


def find_files(paths: Iterable[Path], hidden: HiddenCount) -> Iterator[FoundFile]:
    """Yield the files, and those in the folders and all their subfolders, in order of their names.

    Every file counts, whatever its name ends with: the server tells what it cannot read. In folders, what
    starts with a dot is left out and counted, and links to folders are not followed. A path that does not
    exist is yielded too, so that sending it reports it.
    """
    for path in paths:
        if not path.is_dir():
            yield FoundFile(path, readable_name(path.name))
            continue
        for file, name in walk(path, hidden.add):
            yield FoundFile(file, name)


def find_media(
    paths: Iterable[Path], hidden: HiddenCount, stack: ExitStack, *, as_one: bool
) -> Iterator[FoundMedia]:
    """Yield what is to be sent: each file, as `find_files`, or with `as_one` each folder as one item.

    Args:
        paths: Files and folders.
        hidden: Counts what is left out.
        stack: Keeps packed folders until it is closed.
        as_one: Whether a folder is one item.

    Raises:
        LocalFileError: If a folder cannot be packed.
    """
    for path in paths:
        if as_one and path.is_dir():
            name = readable_name(path.resolve().name)
            yield FoundMedia(path, name, stack.enter_context(packed(path, hidden.add)))
        else:
            yield from (FoundMedia(one.path, one.name, one.path) for one in find_files([path], hidden))
