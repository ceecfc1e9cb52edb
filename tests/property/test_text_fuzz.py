"""Whatever the bytes, reading text gives pieces that follow each other, or a MediaError."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from indexers.errors import MediaError
from indexers.modality import MediaLimits
from indexers.text import read
from tests.documents import CHINESE, ENGLISH, docx, epub, page, paragraph, pdf

LIMITS = MediaLimits(max_characters=200_000)
HEADS = [
    b"%PDF-1.7\n",
    b"PK\3\4",
    b"<html>",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"<?xml version='1.0'?><html>",
    b"text ",
]
FILES = [
    CHINESE.encode("gb18030"),
    ENGLISH.encode("utf-16"),
    page(CHINESE).encode(),
    epub([page(CHINESE), page(ENGLISH)]),
    docx(paragraph(CHINESE) + paragraph(ENGLISH)),
    pdf([ENGLISH.strip(), "two"]),
]


def check(content: bytes) -> None:
    """Read, and look at what comes out."""
    read.sniff(content[: read.HEAD_BYTES])
    at = 0.0
    try:
        for piece in read.read(io.BytesIO(content), LIMITS):
            assert (piece.start, piece.end) == (at, at + len(piece.data))
            assert 0 < len(piece.data) <= read.PIECE_CHARACTERS
            at = piece.end
    except MediaError:
        return
    assert at <= LIMITS.max_characters


@given(st.sampled_from([b"", *HEADS]), st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes(head: bytes, rest: bytes) -> None:
    check(head + rest)


@given(st.text(max_size=150), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
@settings(max_examples=200, deadline=None)
def test_arbitrary_text(text: str, encoding: str) -> None:
    check(text.encode(encoding, "ignore"))


@given(
    st.lists(
        st.sampled_from(
            [
                "<p>",
                "<b",
                "</p>",
                "<",
                "<!--",
                "-->",
                "&",
                "&amp;",
                "'",
                '"',
                ">",
                "/>",
                "a",
                "漢",
                "<script>",
                "<td",
                "<![CDATA[",
                "]]>",
            ]
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_arbitrary_markup(tokens: list[str]) -> None:
    check(b"<html>" + "".join(tokens).encode())
    check(epub(["<html>" + "".join(tokens)]))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_real_files_with_changed_bytes(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(FILES)))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    check(bytes(content))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_real_files_with_parts_cut_out(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(FILES))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    check(content[:start] + content[end:])
