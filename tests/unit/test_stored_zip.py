"""Archives are written the same every time, any program opens them, and nothing else is read."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copyhound.stored_zip import ArchiveError, Member, is_name, read, size_of, window, write
from copyhound.stored_zip import _central as central
from copyhound.stored_zip import _end as end
from copyhound.stored_zip import _local as local

FILES = {"a.json": b"{}", "captures/one.warc": b"WARC/1.1" * 50, "SHA256SUMS.sig": b""}


def archive(files: dict[str, bytes]) -> bytes:
    return b"".join(write(Member.of(name, content) for name, content in files.items()))


def contents(data: bytes) -> dict[str, bytes]:
    file = io.BytesIO(data)
    return {name: window(file, place).read() for name, place in read(file).items()}


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9]{1,8}(\.[a-z]{1,3})?(/[a-z]{1,5})?", fullmatch=True), st.binary(max_size=200)
    )
)
def test_what_was_written_is_read(files: dict[str, bytes]) -> None:
    data = archive(files)
    assert len(data) == size_of([Member.of(name, content) for name, content in files.items()])
    if files:
        assert contents(data) == files


def test_other_programs_open_it() -> None:
    with zipfile.ZipFile(io.BytesIO(archive(FILES))) as opened:
        assert opened.testzip() is None
        assert {one.filename: opened.read(one) for one in opened.infolist()} == FILES
        assert {one.compress_type for one in opened.infolist()} == {zipfile.ZIP_STORED}


def test_files_beyond_four_gigabytes(tmp_path: Path) -> None:
    """The file is sparse: heads and directory are written, what lies between is a hole."""
    big = Member("films/long.bin", 5 << 30, 7, lambda: iter(()))
    after = Member.of("after.txt", b"here")
    path = tmp_path / "big.zip"
    with path.open("wb") as file:
        file.write(local(big))
        file.seek(big.size, os.SEEK_CUR)
        second = file.tell()
        file.write(local(after) + b"here")
        offset = file.tell()
        directory = central(big, 0) + central(after, second)
        file.write(directory + end(2, len(directory), offset))
    assert path.stat().st_size == size_of([big, after])
    with path.open("rb") as file:
        places = read(file)
        assert (places["films/long.bin"].size, window(file, places["after.txt"]).read()) == (5 << 30, b"here")
    with zipfile.ZipFile(path) as opened:
        assert opened.getinfo("films/long.bin").file_size == 5 << 30
        assert opened.read("after.txt") == b"here"


def test_a_window_is_a_file_of_its_own() -> None:
    file = io.BytesIO(archive(FILES))
    shown = window(file, read(file)["captures/one.warc"])
    assert shown.seek(0, io.SEEK_END) == 400
    assert shown.seek(-4, io.SEEK_CUR) == 396
    assert (shown.read(100), shown.read(1)) == (b"/1.1", b"")


@pytest.mark.parametrize(
    "name",
    ["../a", "/a", "a//b", "a/../b", ".a", "a.", "a b", "ä", "a\\b", "", "C:", "a" * 129, "a/b/c/d/e"],
)
def test_names_that_no_archive_holds(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ValueError, match="cannot be the name"):
        archive({name: b""})


def test_what_changes_while_it_is_sent_cuts_the_archive_off() -> None:
    for late in (b"longer than that", b"x", b"OTHER"):
        member = Member("a", 5, zlib.crc32(b"these"), lambda late=late: iter((late,)))  # type: ignore[misc]
        with pytest.raises(ArchiveError, match="changed while"):
            b"".join(write([member]))


def stranger(**others: object) -> Callable[[bytes], bytes]:
    """Another program's archive of the same files."""

    def make(_: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", **others) as opened:  # type: ignore[call-overload]
            for name, content in FILES.items():
                opened.writestr(name, content)
        return out.getvalue()

    return make


def twice(_: bytes) -> bytes:
    members = [Member.of("a", b"1"), Member.of("a", b"2")]
    heads = [local(one) + content for one, content in zip(members, (b"1", b"2"), strict=True)]
    directory = central(members[0], 0) + central(members[1], len(heads[0]))
    return b"".join(heads) + directory + end(2, len(directory), sum(map(len, heads)))


def outside(_: bytes) -> bytes:
    member = Member.of("../../etc/cron.d/x", b"1")
    directory = central(member, 0)
    return local(member) + b"1" + directory + end(1, len(directory), len(local(member)) + 1)


def overlapping(_: bytes) -> bytes:
    """Many entries that share one file: small to send, large to unpack."""
    member = Member.of("a", b"1" * 1000)
    directory = b"".join(central(Member.of(f"a{n}", b"1" * 1000), 0) for n in range(100))
    return local(member) + b"1" * 1000 + directory + end(100, len(directory), len(local(member)) + 1000)


def bomb(_: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("report.json", bytes(10_000_000))
    return out.getvalue()


def crowded(_: bytes) -> bytes:
    return b"PK\3\4" + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFF0, 0xFFF0, 0xFFFFFFF0, 4, 0)


HOSTILE: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda _: b"", "does not begin"),
    (lambda _: b"PK\3\4", "cut off"),
    (lambda data: data[:-1], "cut off"),
    (lambda data: data[: len(data) // 2], "cut off"),
    (lambda data: data + b"more", "cut off, or something follows"),
    (lambda data: b"#!/bin/sh\n" + data, "does not begin"),
    (lambda data: data.replace(b"a.json", b"b.json", 1), "is not where, or what"),
    (lambda data: data[:50] + b"hidden" + data[50:], "damaged"),
    (lambda data: data[:-6] + b"\xff\xff\xff\x7f" + data[-2:], "damaged"),
    (stranger(), "is not where, or what"),
    (stranger(compression=zipfile.ZIP_DEFLATED), "is packed"),
    (bomb, "is packed"),
    (twice, "is there twice"),
    (outside, "is no name of a file here"),
    (overlapping, "is not where, or what"),
    (crowded, "larger than any"),
]


@pytest.mark.parametrize(("alter", "reason"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_was_not_written_here_is_refused(alter: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read(io.BytesIO(alter(archive(FILES))))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_is_read_as_something_else(data: st.DataObject) -> None:
    """Of one altered byte, either the archive is refused or the contents of its files are other ones."""
    whole = archive(FILES)
    place = data.draw(st.integers(0, len(whole) - 1))
    altered = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    try:
        found = contents(altered)
    except ArchiveError:
        return
    assert {name: len(content) for name, content in found.items()} == {
        name: len(content) for name, content in FILES.items()
    }
