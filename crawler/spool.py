"""Captures that wait for the service: files in a folder, durable before anything says that they exist."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar
from uuid import UUID

_MIB: Final = 1024 * 1024

T = TypeVar("T")


class DiskFullError(Exception):
    """There is not enough space left to go on."""


FULL: Final = "the disk is full: make room and start the crawler again; it goes on where it was"


def is_full(error: Exception) -> bool:
    """Whether an error of files, or of SQLite, says that the disk is full."""
    refused = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return refused or "disk is full" in str(error)


class Spool:
    """A folder of captures."""

    def __init__(self, folder: Path, *, min_free_mb: float) -> None:
        """Make the folder, if it is not there.

        Args:
            folder: Where captures wait.
            min_free_mb: Free space in MiB below which nothing is written.
        """
        self._folder = folder
        self._min_free = int(min_free_mb * _MIB)
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, capture: UUID) -> Path:
        """Return where a capture lies."""
        return self._folder / f"{capture}.warc"

    def check_space(self) -> None:
        """Look whether there is space left.

        Raises:
            DiskFullError: If there is not.
        """
        free = shutil.disk_usage(self._folder).free
        if free < self._min_free:
            raise DiskFullError(
                f"only {free // _MIB} MiB are free in {self._folder}: make room, or lower"
                " COPYHOUND_CRAWLER_MIN_FREE_MB, and start the crawler again; it goes on where it was"
            )

    def draft(self, capture: UUID, write: Callable[[BinaryIO], T]) -> T:
        """Begin a capture: it counts once it was committed.

        Args:
            capture: Its id.
            write: Writes it; what it returns is returned.

        Raises:
            DiskFullError: If there is not enough space.
            OSError: If it cannot be written.
        """
        self.check_space()
        with self._draft(capture).open("wb") as file:
            return write(file)

    def commit(self, capture: UUID, tail: bytes = b"") -> None:
        """Append the last bytes of a capture, and wait until it is durable.

        Raises:
            OSError: If it cannot be written.
        """
        draft = self._draft(capture)
        with draft.open("ab") as file:
            file.write(tail)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path(capture))
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _draft(self, capture: UUID) -> Path:
        return self._folder / f"{capture}.partial"

    def remove(self, capture: UUID) -> None:
        """Remove a capture, if it is there."""
        self.path(capture).unlink(missing_ok=True)

    def remove_named(self, capture: str) -> None:
        """As `remove`, by the id's text."""
        self.remove(UUID(capture))

    def set_aside(self, capture: UUID) -> Path:
        """Move a capture that the service will never take to where a person can look at it; returns where."""
        folder = self._folder.with_name("refused")
        folder.mkdir(exist_ok=True)
        target = folder / f"{capture}.warc"
        if self.path(capture).exists():
            self.path(capture).replace(target)
        return target

    def sweep(self, known: Callable[[str], bool]) -> None:
        """Remove what a killed process left: files that nobody waits for.

        Args:
            known: Whether a capture's id is one that waits.
        """
        for file in self._folder.iterdir():
            if file.suffix == ".partial" or not known(file.stem):
                file.unlink()
