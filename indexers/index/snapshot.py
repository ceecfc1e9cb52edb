"""Files that hold an index as it was after one change.

A file is named ``<sequence, 20 digits>.snapshot`` and holds, little-endian:

=====================  =========================================================
8 bytes                ``CPYHOUND``
32 bytes               SHA-256 of all that follows
4 bytes                length of the header, unsigned
the header             JSON: format, scheme, dim, metric, model_sha256, source, sequence, count
8 · count bytes        ids, rising, int64
count · columns items  descriptors, in the order of the ids
=====================  =========================================================

A file appears under its name only when it is whole and on disk.
"""

import contextlib
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.errors import SnapshotError
from indexers.fingerprint import Scheme

_MAGIC = b"CPYHOUND"
_FORMAT = 1
_SUFFIX = ".snapshot"
_UNFINISHED = ".writing"
_DAMAGED = ".damaged"


class DamagedSnapshotError(SnapshotError):
    """The file is not what was written."""


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
    descriptors: npt.NDArray[Any]


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
    header = json.dumps(
        _header(scheme, source, snapshot.sequence, len(snapshot.ids)), sort_keys=True
    ).encode()
    body: list[bytes | memoryview] = [
        struct.pack("<I", len(header)),
        header,
        _bytes(snapshot.ids),
        _bytes(snapshot.descriptors),
    ]
    digest = hashlib.sha256()
    for part in body:
        digest.update(part)
    path = folder / file_name(snapshot.sequence)
    unfinished = path.with_suffix(_UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            file.writelines([_MAGIC, digest.digest(), *body])
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    _sync(folder)
    return path


def read(path: Path, scheme: Scheme, *, source: str) -> Snapshot:
    """Read a snapshot; arguments as in `write`.

    Raises:
        DamagedSnapshotError: If the file is not what was written.
        SnapshotError: If it is whole but of another scheme or a newer format.
        OtherSourceError: If it is of another database.
    """
    with path.open("rb") as file:
        magic, expected = file.read(len(_MAGIC)), file.read(32)
        start = file.tell()
        if magic != _MAGIC or hashlib.file_digest(file, "sha256").digest() != expected:
            raise DamagedSnapshotError(f"{path} is damaged: the disk lost or changed bytes of it")
        file.seek(start)
        (length,) = struct.unpack("<I", file.read(4))
        header = json.loads(file.read(length))
        sequence, count = header["sequence"], header["count"]
        if header != _header(scheme, header.get("source"), sequence, count):
            raise SnapshotError(
                f"{path} is of {header['scheme']} in format {header['format']}, and this index of {scheme.id}"
                f" in format {_FORMAT}: check the folder, or move the file away to have it rebuilt"
            )
        if header["source"] != source:
            raise OtherSourceError(f"{path} is of another database, {header['source']} instead of {source}")
        ids = np.fromfile(file, np.int64, count)
        descriptors = np.fromfile(file, scheme.dtype, count * scheme.columns)
    return Snapshot(sequence, ids, descriptors.reshape(count, scheme.columns))


def set_aside(path: Path) -> Path:
    """Rename a damaged snapshot so that it is not read again, but can be looked at until `delete_damaged`."""
    return path.rename(path.with_suffix(_DAMAGED))


def delete_others(folder: Path, path: Path | None) -> None:
    """Delete unfinished files and all snapshots but `path`: they may hold what was removed since."""
    _delete([*folder.glob(f"*{_UNFINISHED}"), *(other for other in snapshots(folder) if other != path)])
    _sync(folder)


def delete_damaged(folder: Path) -> None:
    """Delete what was set aside, for the same reason."""
    _delete(list(folder.glob(f"*{_DAMAGED}")))
    _sync(folder)


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


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
