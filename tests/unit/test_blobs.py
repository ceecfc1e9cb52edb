"""Blobs in a folder: whole or not there."""

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest

from service.blobs import FolderBlobs, pieces
from service.errors import NotFoundError, StorageFullError

CONTENT = b"0123456789"
DIGEST = hashlib.sha256(CONTENT).digest()


def test_a_blob_is_kept_once_under_its_digest(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    with pytest.raises(NotFoundError):
        blobs.open(DIGEST)
    for _ in range(2):
        file = io.BytesIO(CONTENT)
        file.seek(5)
        blobs.put(DIGEST, file)
    with blobs.open(DIGEST) as kept:
        assert kept.read() == CONTENT
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_several_blobs_are_kept_with_each_folder_synced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    folder = bytes.fromhex("ab")
    digests = [folder + bytes([number]) * 31 for number in range(4)]
    blobs.put(digests[3], io.BytesIO(CONTENT))
    synced: list[str] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    blobs.put_all([(digest, io.BytesIO(digest)) for digest in (*digests[:3], digests[0])])
    inner = str(tmp_path / "blobs/ab")
    assert len([path for path in synced if "/aside/" in path]) == 3
    assert synced[3:] == [inner]
    assert set(blobs.digests()) == set(digests)
    blobs.put_all([(digests[1], io.BytesIO())])  # who put it first may not have come so far
    assert synced[4:] == [inner]
    with blobs.open(digests[1]) as kept:
        assert kept.read() == digests[1]


def test_files_of_earlier_versions_lie_deeper_and_are_found_and_erased(tmp_path: Path) -> None:
    name = DIGEST.hex()
    former = tmp_path / "blobs" / name[:2] / name[2:4] / name
    former.parent.mkdir(parents=True)
    former.write_bytes(CONTENT)
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put(DIGEST, io.BytesIO(CONTENT))
    other = bytes([DIGEST[0]]) * 32
    blobs.put(other, io.BytesIO(CONTENT))
    assert sorted(blobs.digests()) == sorted((DIGEST, other))
    with blobs.open(DIGEST) as kept:
        assert kept.read() == CONTENT
    blobs.delete(DIGEST)
    assert not former.exists()
    assert list(blobs.digests()) == [other]
    with pytest.raises(NotFoundError):
        blobs.open(DIGEST)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError):
        blobs.put(DIGEST, io.BytesIO(CONTENT))
    monkeypatch.undo()
    with pytest.raises(NotFoundError):
        blobs.open(DIGEST)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_cut_off_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / "blobs/aside/left"
    left.parent.mkdir(parents=True)
    left.write_bytes(CONTENT)
    FolderBlobs(tmp_path / "blobs")
    assert not left.exists()


def test_pieces_are_the_ranges_in_order() -> None:
    assert b"".join(pieces(io.BytesIO(CONTENT), [(5, 2), (0, 3)])) == b"56012"
    with pytest.raises(NotFoundError):
        list(pieces(io.BytesIO(CONTENT), [(8, 3)]))
