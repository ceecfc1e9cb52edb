"""Folders: the files in them, and a folder as one media item."""

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from copyhound.errors import LocalFileError
from copyhound.media import readable_name

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Of every file in a packed folder, so that the same files always make the same item."""
_CHUNK_BYTES: Final = 1024 * 1024


def _ignore(_: int) -> None:
    """Take no notice."""


def walk(folder: Path, on_hidden: Callable[[int], None] = _ignore) -> Iterator[tuple[Path, str]]:
    """Yield the files in a folder and all its subfolders, with their names relative to it, in order.

    Args:
        folder: Where to look. What starts with a dot is left out; links to folders are not followed.
        on_hidden: Told how many files and folders of each folder were left out.
    """
    for place, subfolders, names in os.walk(folder):
        on_hidden(sum(name.startswith(".") for name in (*subfolders, *names)))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            file = Path(place) / name
            yield file, readable_name(file.relative_to(folder).as_posix())


@contextmanager
def packed(folder: str | os.PathLike[str], on_hidden: Callable[[int], None] = _ignore) -> Iterator[BinaryIO]:
    """Make one media item of a folder, a container of its files, for as long as the block lasts.

    The same files make the same item, wherever the folder is::

        with copyhound.packed("game/") as media:
            client.register(media, owner="studio", external_id="game", filename="game")

    Args:
        folder: Its files, with those in subfolders, are packed into a temporary file. What starts with a dot
            is left out; links to folders are not followed.
        on_hidden: Told how many files and folders of each folder were left out.

    Raises:
        LocalFileError: If it is no folder, or one of its files cannot be read.
    """
    path = Path(folder)
    if not path.is_dir():
        raise LocalFileError(f"{path}: is no folder; name one that holds media files")
    with tempfile.TemporaryFile() as file:
        try:
            _pack(path, file, on_hidden)
        except OSError as error:
            raise LocalFileError(f"{path}: {error.strerror}; all its files must be readable") from error
        file.seek(0)
        yield file


def _pack(folder: Path, target: BinaryIO, on_hidden: Callable[[int], None]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, name in walk(folder, on_hidden):
            entry = zipfile.ZipInfo(name, _EPOCH)
            with path.open("rb") as source, archive.open(entry, "w") as packing:
                while chunk := source.read(_CHUNK_BYTES):
                    packing.write(chunk)
