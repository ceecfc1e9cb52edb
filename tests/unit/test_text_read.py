"""Reading text of every format, and what is said of documents that are broken, locked or hostile."""

import io
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pypdf
import pytest
from PIL import Image

from indexers.errors import DamagedMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits
from indexers.text import html, read
from tests.documents import BILLION_LAUGHS, CHINESE, ENGLISH, docx, epub, page, paragraph, pdf, zipped

ROOT = Path(__file__).parents[2]
LINE = CHINESE.strip()
LIMITS = MediaLimits()


def text_of(content: bytes, limits: MediaLimits = LIMITS) -> str:
    """Read all, and check the spans."""
    pieces = list(read.read(io.BytesIO(content), limits))
    at = 0.0
    for piece in pieces:
        assert 0 < len(piece.data) <= read.PIECE_CHARACTERS
        assert (piece.start, piece.end) == (at, at + len(piece.data))
        at = piece.end
    return "".join(piece.data for piece in pieces)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").save(buffer, kind)
    return buffer.getvalue()


DOCUMENTS = {
    "text": CHINESE.encode("gb18030"),
    "html": f"<!doctype html><html><body><p>{LINE}</p></body></html>".encode(),
    "epub": epub([page(CHINESE)]),
    "pdf": pdf([ENGLISH.strip()]),
    "docx": docx(paragraph(LINE)),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_format_is_recognised_and_read(kind: str) -> None:
    content = DOCUMENTS[kind]
    assert read.sniff(content[: read.HEAD_BYTES]) == kind
    assert text_of(content).strip() == (ENGLISH if kind == "pdf" else CHINESE).strip()


@pytest.mark.parametrize(
    "content",
    [
        *(picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")),
        zipped({"song.txt": ENGLISH}),
        zipped({"[Content_Types].xml": "<Types spreadsheetml/>"}),
        b"RIFF\x24\x08\0\0WAVEfmt " + bytes(30),
        b"ID3\x04\0\0\0\0\x0f\x76" + random.Random(1).randbytes(900),
        b"\x7fELF\x02\x01\x01" + bytes(900),
        b"{\\rtf1\\ansi text}",
        b"<?xml version='1.0'?><!-- drawn --><svg xmlns='http://www.w3.org/2000/svg'/>",
        random.Random(2).randbytes(4096),
        b"",
    ],
)
def test_what_is_no_text_is_not_taken_for_it(content: bytes) -> None:
    assert read.sniff(content[: read.HEAD_BYTES]) is None
    with pytest.raises(MediaError):
        text_of(content)


@pytest.mark.parametrize(
    "fragment",
    ["<p class=x>one", "  <!-- c --><div>one", "\ufeff<!DOCTYPE HTML>one", "<?xml version='1.0'?><html>one"],
)
def test_html_is_told_by_its_first_tag(fragment: str) -> None:
    assert read.sniff(fragment.encode()) == "html"
    assert text_of(fragment.encode()) == "one"


@pytest.mark.parametrize("text", ["if a <b then c", "# Head\n\n<3", "<?xml version='1.0'?><poem>o</poem>"])
def test_text_with_angle_brackets_is_no_html(text: str) -> None:
    assert read.sniff(text.encode()) == "text"
    assert text_of(text.encode()) == text


def test_plain_text_keeps_line_ends_and_blanks() -> None:
    text = "  one\r\n\n\ttwo\u3000\u200bthree\f \x00end \n" + ENGLISH
    assert text_of(text.encode()) == text
    assert text_of(text.encode("utf-8-sig")) == text


def test_a_long_line_comes_in_pieces() -> None:
    line = "".join(random.Random(7).choices("的一是不了人我在有他这", k=2_300_000))
    assert text_of(line.encode("gb18030")) == line


class Endless(io.RawIOBase):
    """A file of one repeated character, as large as one likes, that is never in memory."""

    def __init__(self, size: int, prefix: bytes = b"") -> None:
        super().__init__()
        self._size, self._prefix, self._at, self.read_bytes = size, prefix, 0, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        content = self._prefix[self._at : end].ljust(max(0, end - self._at), b"a")
        self._at = max(self._at, end)
        self.read_bytes += len(content)
        return content


@pytest.mark.parametrize("prefix", [b"", "é".encode(), b"<html><p>", b"<html>\xc3\xa9<p>"])
def test_a_gigabyte_in_one_line_is_refused_after_as_much_as_the_limit(prefix: bytes) -> None:
    source = Endless(1 << 30, prefix)
    with pytest.raises(MediaLimitError, match="more than 3,000,000 characters"):
        list(read.read(source, MediaLimits(max_characters=3_000_000)))  # type: ignore[arg-type]
    assert source.read_bytes < 16_000_000


def test_the_limit_is_inclusive() -> None:
    assert text_of(b"a" * 500, MediaLimits(max_characters=500)) == "a" * 500
    with pytest.raises(MediaLimitError, match="more than 499 characters: send it in parts"):
        text_of(b"a" * 500, MediaLimits(max_characters=499))


def test_blank_text_is_no_text() -> None:
    with pytest.raises(UnsupportedMediaError, match="no text in it"):
        text_of(b" \n\t" * 50)


def test_text_that_turns_to_noise_is_damaged() -> None:
    with pytest.raises(DamagedMediaError, match="save it again as UTF-8"):
        text_of(ENGLISH.encode() * 30 + random.Random(9).randbytes(200_000))


# HTML


ARTICLE = "".join(f"<p>{number}. {ENGLISH.strip()}</p>" for number in range(8))


def test_the_main_text_of_a_page_is_read() -> None:
    menu = "<nav>" + "".join(f"<a href='/{n}'>Menu {n}</a>" for n in range(20)) + "</nav>"
    content = f"<html><head><title>Title</title></head><body>{menu}<article>{ARTICLE}</article></body></html>"
    text = text_of(content.encode())
    assert text.count("Ishmael") == 8
    assert "Menu" not in text
    assert "Title" not in text


def test_everything_is_read_where_the_main_text_is_not_found() -> None:
    content = (
        "<html><body><nav><ul>" + f"<li><a href='/'>{ENGLISH}</a></li>" * 8 + "</ul></nav></body></html>"
    )
    assert text_of(content.encode()).count("Ishmael") == 8


def test_what_a_reader_does_not_see_is_left_out() -> None:
    content = (
        "<html><head><title/><script src='x'/></head><body>一<ruby>漢<rt>kan</rt></ruby>字<p>a&nbsp;b"
        " &amp; c<br/>d <i>e</i>f</p><p hidden='hidden'>no<b>no</b></p><p style='DISPLAY : none'>no</p>"
        "<script>no</script><a id='x'/>"
        "<table><tr><td>1</td><td>2</td></tr></table></body></html>"
    )
    assert html.text_of(content.encode(), xhtml=True) == "一漢字\na b & c\nd ef\n1 2"


@pytest.mark.parametrize("label", ["gb2312", "GBK", "gb18030"])
def test_a_page_says_its_encoding(label: str) -> None:
    content = f"<html><head><meta charset={label}></head><body><p>㐀短</p></body></html>"
    assert text_of(content.encode("gb18030")) == "㐀短"


def test_a_page_that_names_a_wrong_encoding_is_read_all_the_same() -> None:
    content = f"<html><head><meta charset=utf-8></head><body><p>{LINE}</p></body></html>"
    assert text_of(content.encode("gb18030")) == LINE


@pytest.mark.parametrize(
    "hostile",
    [
        "<div>" * 60_000 + "<p>deep",
        "<b><i>" * 20_000 + "deep",
        "<p>deep" + "<a " * 100_000,
        "<p>deep</p><!--" + "-" * 500_000,
        "<p>deep</p>" + "</p>" * 50_000,
        "<p>deep&" + "amp;&" * 3,
    ],
)
def test_deep_and_broken_markup_is_read_as_far_as_it_makes_sense(hostile: str) -> None:
    assert "deep" in text_of(f"<html><body>{hostile}".encode())


def test_a_page_as_long_as_a_book_is_read_as_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    content = f"<html><body>{'<p>' + ENGLISH.strip() + '</p>'}".encode() + (f"<p>{LINE}</p>".encode() * 40)
    whole = text_of(content)
    monkeypatch.setattr(html, "_MAIN_TEXT_CHARACTERS", 100)
    monkeypatch.setattr(html, "_CHUNK_CHARACTERS", 17)
    streamed = text_of(content)
    assert streamed.split() == whole.split()
    assert streamed.count(LINE) == 40


# EPUB and DOCX


def test_chapters_come_in_reading_order() -> None:
    assert text_of(epub([page("one\ntwo"), page("three"), page("four")])) == "one\ntwo\nthree\nfour"


def test_a_chapter_that_is_missing_is_left_out_and_paths_lead_nowhere() -> None:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        '<item id="a" href="../../../etc/passwd" media-type="application/xhtml+xml"/>'
        '<item id="b" href="gone.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="c" href="text/ch%200.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="d" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="d"/><itemref idref="b"/><itemref idref="c"/></spine>'
        "</package>"
    )
    parts = {"OEBPS/content.opf": package, "OEBPS/nav.xhtml": page("contents")}
    assert text_of(epub([page("found")], parts)) == "found"


def test_a_book_without_text_says_so() -> None:
    with pytest.raises(UnsupportedMediaError, match="EPUB holds no text, only pictures"):
        text_of(epub(["<html><body><img src='1.jpg'/></body></html>"]))
    with pytest.raises(DamagedMediaError, match="names no chapters"):
        text_of(epub([]))


def test_encrypted_chapters_are_refused_and_encrypted_fonts_are_not() -> None:
    rule = "<encryption><CipherReference xmlns='urn:e' URI='{}'/></encryption>"
    name = "META-INF/encryption.xml"
    assert text_of(epub([page("open")], {name: rule.format("OEBPS/font.otf")})) == "open"
    with pytest.raises(UnsupportedMediaError, match=r"encrypted \(DRM\)"):
        text_of(epub([page("locked")], {name: rule.format("OEBPS/text/ch%200.xhtml")}))


@pytest.mark.parametrize("content", [DOCUMENTS["epub"], DOCUMENTS["docx"]])
def test_parts_with_a_password_are_refused(content: bytes) -> None:
    locked = bytearray(content)
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := locked.find(signature, at + 1)) >= 0:
            locked[at + flags] |= 1
    with pytest.raises(UnsupportedMediaError, match="protected by a password: save it without one"):
        text_of(bytes(locked))


@pytest.mark.parametrize("kind", ["epub", "docx", "pdf"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_damaged(kind: str, share: float) -> None:
    content = DOCUMENTS[kind]
    with pytest.raises(DamagedMediaError, match="cut off"):
        text_of(content[: int(len(content) * share)])


def test_a_part_with_a_changed_byte_is_damaged() -> None:
    content = bytearray(docx(paragraph(ENGLISH), parts={"x": ENGLISH}))
    content[content.index(b"a/b.xml") + 60] ^= 0x55
    with pytest.raises(DamagedMediaError):
        text_of(bytes(content))


@pytest.mark.parametrize("make", [lambda text: epub([page(text)]), lambda text: docx(paragraph(text))])
def test_bombs_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(MediaLimitError):
        text_of(make("a" * 4_000_000))
    with pytest.raises(MediaLimitError, match="unpacks to far more"):
        text_of(make(ENGLISH * 400), MediaLimits(max_characters=1000))


def test_a_huge_directory_is_refused_before_it_is_read() -> None:
    content = bytearray(DOCUMENTS["epub"])
    end = content.rindex(b"PK\5\6")
    content[end + 12 : end + 16] = (20 << 20).to_bytes(4, "little")
    with pytest.raises(MediaLimitError, match="more than 65535 parts"):
        text_of(bytes(content))


def test_an_unusual_compression_is_refused() -> None:
    parts = {"META-INF/container.xml": "<container/>" * 50}
    with pytest.raises(UnsupportedMediaError, match="packed in an unusual way"):
        text_of(zipped(parts, compression=zipfile.ZIP_LZMA))


def test_entities_are_never_expanded() -> None:
    file = '<!DOCTYPE x [<!ENTITY j SYSTEM "file:///etc/passwd">]>'
    for prologue in (BILLION_LAUGHS, file):
        with pytest.raises(DamagedMediaError, match="declares entities"):
            text_of(docx("<w:p><w:r><w:t>&j;</w:t></w:r></w:p>", prologue=prologue))
        with pytest.raises(DamagedMediaError, match=r"declares entities|entity amplification"):
            text_of(epub([page("x")], {"META-INF/container.xml": prologue + "<container>&j;</container>"}))
        text = text_of(epub([prologue + "<html><body><p>read &j;</p></body></html>"]))
        assert "read &j;" in text
        assert len(text) < 100


def test_paragraphs_tabs_and_notes_are_read_and_deleted_text_is_not() -> None:
    compatible = 'xmlns:m="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    body = (
        "<w:p><w:r><w:t>one</w:t><w:tab/><w:t xml:space='preserve'> two</w:t><w:br/></w:r>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:t>three</w:t></w:r>"
        f"<m:Fallback {compatible}><w:p><w:r><w:t>twice</w:t></w:r></w:p></m:Fallback></w:p>"
        + paragraph("四")
    )
    space = "http://purl.oclc.org/ooxml/wordprocessingml/main"
    note = f'<w:footnotes xmlns:w="{space}">{paragraph("note")}</w:footnotes>'
    assert text_of(docx(body, parts={"a/footnotes.xml": note})) == "one\t two\nthree\n四\nnote\n"


def test_a_document_whose_types_do_not_come_first_is_recognised() -> None:
    content = zipped({"_rels/.rels": "<x/>", "word/document.xml": "<x/>"})
    assert read.sniff(content) == "docx"


def test_an_old_or_locked_office_file_says_what_to_do() -> None:
    with pytest.raises(UnsupportedMediaError, match="save it as DOCX"):
        text_of(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))


# PDF


def test_pages_follow_each_other() -> None:
    assert text_of(pdf(["one", "", "two"])) == "one\ntwo"


def test_a_pdf_of_pictures_says_so() -> None:
    with pytest.raises(UnsupportedMediaError, match="PDF holds no text, only pictures"):
        text_of(pdf(["", ""]))


def test_a_password_is_asked_for_only_where_one_is_needed() -> None:
    assert text_of(pdf(["open"], password="")) == "open"
    with pytest.raises(UnsupportedMediaError, match="protected by a password"):
        text_of(pdf(["locked"], password="secret"))


def test_a_cipher_that_is_not_there_counts_as_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_reader: pypdf.PdfReader, _password: str) -> None:
        raise pypdf.errors.DependencyError

    monkeypatch.setattr(pypdf.PdfReader, "decrypt", missing)
    with pytest.raises(UnsupportedMediaError, match="protected by a password"):
        text_of(pdf(["locked"], password=""))


def test_a_page_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    extract = pypdf.PageObject.extract_text

    def failing(shown: pypdf.PageObject) -> str:
        text = extract(shown)
        if text == "bad":
            raise KeyError("/Contents")
        return text

    monkeypatch.setattr(pypdf.PageObject, "extract_text", failing)
    assert text_of(pdf(["one", "bad", "two"])) == "one\ntwo"
    with pytest.raises(DamagedMediaError, match="damaged or of an unusual variant"):
        text_of(pdf(["bad"]))


# The sandbox


CONFINED = """
import io, sys
from indexers.modality import MediaLimits
from indexers.text import read
from indexers.errors import MediaError
documents = eval(sys.stdin.read())
read.prepare()
def watch(event, arguments):
    if event in {"open", "import"} or event.startswith(("socket.", "subprocess.", "os.")):
        print(event, arguments[0])
sys.addaudithook(watch)
for content in documents:
    try:
        for piece in read.read(io.BytesIO(content), MediaLimits()):
            piece.data
    except MediaError:
        pass
"""


def unusual() -> Iterator[bytes]:
    """Documents that go other ways than the plain ones."""
    yield from DOCUMENTS.values()
    yield f"<html><body><article>{ARTICLE}</article><p>{LINE}</p></body></html>".encode()
    for encoding in ("big5", "cp932", "euc_jp", "iso2022_jp", "koi8_r", "mac_cyrillic", "no-such", "cp1125"):
        yield f"<html><head><meta charset={encoding}></head><body>Привет, мир</body></html>".encode("koi8_r")
    for encoding in ("utf-16", "utf-32", "cp1251", "cp866", "iso8859_5"):
        yield ("Все счастливые семьи похожи друг на друга. " * 5).encode(encoding)
    yield pdf(["open"], password="")
    yield pdf([""])


def test_nothing_is_opened_once_prepared() -> None:
    result = subprocess.run(
        [sys.executable, "-c", CONFINED],
        input=repr(list(unusual())),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout == ""


def test_the_source_is_left_open() -> None:
    source: BinaryIO = io.BytesIO(DOCUMENTS["epub"])
    list(read.read(source, LIMITS))
    assert not source.closed
