"""Small documents of each format, made in memory."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from html import escape

import pypdf
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

CHINESE = (  # the opening of the Romance of the Three Kingdoms
    "话说天下大势,分久必合,合久必分。周末七国分争,并入于秦。及秦灭之后,楚、汉分争,又并入于汉。"
    "汉朝自高祖斩白蛇而起义,一统天下,后来光武中兴,传至献帝,遂分为三国。推其致乱之由,殆始于桓、灵二帝。"
    "桓帝禁锢善类,崇信宦官。及桓帝崩,灵帝即位,大将军窦武、太傅陈蕃共相辅佐。时有宦官曹节等弄权,窦武、陈蕃谋诛之,"
    "机事不密,反为所害,中涓自此愈横。\n"
)
ENGLISH = (  # of Moby-Dick
    "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my "
    "purse, and nothing particular to interest me on shore, I thought I would sail about a little and "
    "see the watery part of the world.\n"
)
WORD_SPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
BILLION_LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]>"
)


def zipped(parts: Mapping[str, str | bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP file with these parts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return buffer.getvalue()


def page(text: str, *, head: str = "<title/>") -> str:
    """An XHTML page with a paragraph for each line."""
    body = "".join(f"<p>{escape(line)}</p>" for line in text.splitlines())
    return (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml">'
        f"<head>{head}</head><body>{body}</body></html>"
    )


def epub(chapters: Sequence[str], parts: Mapping[str, str | bytes] | None = None) -> bytes:
    """An e-book of XHTML pages, with more parts if wished; a part given by name replaces ours."""
    numbers = range(len(chapters))
    items = "".join(
        f'<item id="c{n}" href="text/ch%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in numbers
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in numbers)
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="OEBPS/content.opf"/></rootfiles></container>',
            "OEBPS/content.opf": '<package xmlns="http://www.idpf.org/2007/opf">'
            f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
        }
        | {f"OEBPS/text/ch {n}.xhtml": chapters[n] for n in numbers}
        | dict(parts or {})
    )


def paragraph(text: str) -> str:
    """A paragraph of WordprocessingML."""
    return f"<w:p><w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def docx(body: str, *, prologue: str = "", parts: Mapping[str, str | bytes] | None = None) -> bytes:
    """A Word document with this body, in WordprocessingML."""
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return zipped(
        {
            "[Content_Types].xml": f'<Types><Override PartName="/a/b.xml" ContentType="{word}"/></Types>',
            "_rels/.rels": f'<R><Relationship Type="{relation}" Target="/a/b.xml"/></R>',
            "a/b.xml": f'{prologue}<w:document xmlns:w="{WORD_SPACE}"><w:body>{body}</w:body></w:document>',
        }
        | dict(parts or {})
    )


def pdf(pages: Sequence[str], *, password: str | None = None) -> bytes:
    """A PDF with a line of ASCII on each page; with a password, encrypted by RC4."""
    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        added = writer.add_blank_page(300, 300)
        fonts = DictionaryObject({NameObject("/F1"): font})
        added[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 9 Tf 9 9 Td ({text}) Tj ET".encode() if text else b"")
        added[NameObject("/Contents")] = content
    if password is not None:
        writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()
