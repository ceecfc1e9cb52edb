"""Files that hold an index as it was after one change.

A file is named ``<sequence, 20 digits>.snapshot``. It is `sealed`; its header names format, scheme, dim,
metric, model_sha256, source, sequence and count, and its body is

=====================  ==================================================
8 · count bytes        ids, rising, int64, little-endian
count · columns items  descriptors, in the order of the ids
=====================  ==================================================

What is derived from a snapshot may lie beside it under the same name with another suffix, and goes with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.errors import SnapshotError
from indexers.fingerprint import Scheme
from indexers.index import sealed
from indexers.index.mapped import MappedDescriptors
from indexers.index.table import Descriptors

_MAGIC = b"CPYHOUND"
_FORMAT = 1
_SUFFIX = ".snapshot"
_DERIVED = ".lists"
_DAMAGED = ".damaged"
_BLOCK_BYTES = 1 << 24
"""Bytes of descriptors written at a time."""


class OtherSourceError(SnapshotError):
    """The file is of another database."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a file holds.

    Attributes:
        sequence: The last change that it includes.
        ids: (n,) int64, rising.
        descriptors: (n, scheme.columns).
    """

    sequence: int
    ids: npt.NDArray[np.int64]
    descriptors: Descriptors


def file_name(sequence: int) -> str:
    """Of the snapshot that includes the changes up to `sequence`."""
    return f"{sequence:020d}{_SUFFIX}"


def snapshots(folder: Path) -> list[Path]:
    """The snapshot files in a folder, newest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"), reverse=True)


def write(folder: Path, scheme: Scheme, snapshot: Snapshot, *, source: str) -> Path:
    """Write a snapshot so that it is there whole or not at all, whatever happens.

    Args:
        folder: Where to.
        scheme: Of the descriptors.
        snapshot: What it holds.
        source: Id of the database that numbered the changes.

    Raises:
        OSError: If the disk is full or fails; nothing of it is left then.
    """
    path = folder / file_name(snapshot.sequence)
    header = _header(scheme, source, snapshot.sequence, len(snapshot.ids))
    sealed.write(path, _MAGIC, header, _body(scheme, snapshot))
    return path


def read(path: Path, scheme: Scheme, *, source: str, mapped_from: int | None = None) -> Snapshot:
    """Read a snapshot.

    Args:
        path: Of the file.
        scheme: As in `write`.
        source: As in `write`.
        mapped_from: From how many descriptors on these stay in the file; None: never.

    Raises:
        DamagedError: If the file is not what was written.
        SnapshotError: If it is whole but of another scheme or a newer format.
        OtherSourceError: If it is of another database.
    """
    with sealed.opened(path, _MAGIC) as (header, file):
        sequence, count = header["sequence"], header["count"]
        if header != _header(scheme, header.get("source"), sequence, count):
            raise SnapshotError(
                f"{path} is of {header['scheme']} in format {header['format']}, and this index of {scheme.id}"
                f" in format {_FORMAT}: check the folder, or move the file away to have it rebuilt"
            )
        if header["source"] != source:
            raise OtherSourceError(f"{path} is of another database, {header['source']} instead of {source}")
        ids = np.fromfile(file, np.int64, count)
        shape = (count, scheme.columns)
        if mapped_from is not None and count >= max(1, mapped_from):
            return Snapshot(sequence, ids, MappedDescriptors(file, file.tell(), shape, scheme.dtype))
        descriptors = np.fromfile(file, scheme.dtype, count * scheme.columns)
    return Snapshot(sequence, ids, descriptors.reshape(shape))


def mapped(path: Path, scheme: Scheme, count: int) -> MappedDescriptors:
    """The descriptors of a snapshot that `write` has just written, at least one, left in the file."""
    with path.open("rb") as file:
        offset = path.stat().st_size - count * scheme.columns * scheme.dtype.itemsize
        return MappedDescriptors(file, offset, (count, scheme.columns), scheme.dtype)


def digest(path: Path) -> bytes:
    """The SHA-256 that names what a snapshot holds, unchecked."""
    return sealed.digest(path, _MAGIC)


def derived(path: Path) -> Path:
    """Where what is derived from a snapshot lies."""
    return path.with_suffix(_DERIVED)


def set_aside(path: Path) -> Path:
    """Rename a damaged snapshot so that it is not read again, but can be looked at until `delete_damaged`."""
    return path.rename(path.with_suffix(_DAMAGED))


def delete_others(folder: Path, path: Path | None) -> None:
    """Delete unfinished files and all snapshots but `path`: they may hold what was removed since."""
    others = [*folder.glob(f"*{sealed.UNFINISHED}"), *snapshots(folder), *folder.glob(f"*{_DERIVED}")]
    _delete([other for other in others if path is None or other not in (path, derived(path))])
    sealed.sync(folder)


def delete_damaged(folder: Path) -> None:
    """Delete what was set aside, for the same reason."""
    _delete(list(folder.glob(f"*{_DAMAGED}")))
    sealed.sync(folder)


def _header(scheme: Scheme, source: str | None, sequence: int, count: int) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "scheme": scheme.id,
        "dim": scheme.dim,
        "metric": scheme.metric.value,
        "model_sha256": scheme.model_sha256,
        "source": source,
        "sequence": sequence,
        "count": count,
    }


def _body(scheme: Scheme, snapshot: Snapshot) -> Iterator[npt.NDArray[Any]]:
    yield snapshot.ids
    size = max(1, _BLOCK_BYTES // (scheme.columns * scheme.dtype.itemsize))
    for start in range(0, len(snapshot.ids), size):
        yield snapshot.descriptors[start : start + size]


def _delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()
