"""From the paths on a command line to the files that they mean."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(slots=True)
class HiddenCount:
    """How many files and folders whose names start with a dot were left out."""

    count: int = 0


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
        for folder, subfolders, names in os.walk(path):
            hidden.count += sum(name.startswith(".") for name in (*subfolders, *names))
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                file = Path(folder) / name
                yield FoundFile(file, readable_name(file.relative_to(path).as_posix()))
