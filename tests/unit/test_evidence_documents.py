"""The printable page and the PDF say what the document says, in both languages; texts stay texts."""

import base64
import hashlib
import io
import re
import signal
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import pytest
from pypdf import PdfReader

from service.errors import BusyError
from service.evidence import page, pdf
from service.evidence.page import CONTENT_SECURITY_POLICY
from service.evidence.sheet import (
    MAX_SIGHTINGS,
    MAX_TEXT,
    Extras,
    lay_out,
    moment,
    offset,
    shown,
)
from service.language import LANGUAGES, words
from tests.unit.evidence_values import HOSTILE, document, picture

EXTRAS = Extras(
    pictures=(picture(of_work=True), picture()),
    passages=(("他们说 one", "they said"), ("–", "日本語のテキスト 한국어")),
    lengths=(45.0, 5400.0),
    files=(("report.json", 1234, "12" * 32),),
    key="34" * 32,
)
MARKUP = "<script>alert(1)</script>"


def sheet_of(language: str, extras: Extras = EXTRAS, **others: Any) -> dict[str, Any]:
    said = words(language, "report")
    return lay_out(document(said, **others), said, extras)


@cache
def pdf_of(language: str, folder: Path) -> bytes:
    sheet = sheet_of(language, title=HOSTILE)
    return pdf.render({**sheet, "date": "2026-11-23T03:04:05+00:00"}, EXTRAS.pictures, folder)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pdf")


def text_of(content: bytes) -> str:
    """The text of a PDF without spaces: where lines break is the layout's."""
    return "".join("".join(one.extract_text() for one in PdfReader(io.BytesIO(content)).pages).split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_pdf_says_all_that_the_sheet_says(language: str, scratch: Path) -> None:
    text = text_of(pdf_of(language, scratch))
    said = words(language, "report")
    expected = [
        said.text("Report on a match"),
        said.text("What the probability rests on"),
        said.text("Infringing copy"),
        *document(said)["explanation"],
        *(one["sentence"] for one in document(said)["match"]["signals"]),
        "他们说 one",
        "日本語のテキスト 한국어",
        "0:00:31.00",
        "a" * 300,
        "ef" * 32,
        "12" * 32,
        "34" * 32,
    ]
    for one in expected:
        assert "".join(one.split()) in text, one
    assert not list(scratch.iterdir())


def test_pdf_is_kept_for_decades(scratch: Path) -> None:
    reader = PdfReader(io.BytesIO(pdf_of("en", scratch)))
    assert reader.metadata is not None
    assert reader.metadata.title == "Report on a match"
    metadata = reader.xmp_metadata
    assert metadata is not None
    assert b"<pdfaid:part>2</pdfaid:part>" in pdf_of("en", scratch)
    assert reader.trailer["/Root"]["/Lang"] == "en"  # type: ignore[index]
    assert "/StructTreeRoot" in reader.trailer["/Root"]  # type: ignore[operator]
    fonts = [font for one in reader.pages for font in one["/Resources"]["/Font"].values()]  # type: ignore[index]
    assert fonts
    for font in fonts:
        described = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert described.keys() & {"/FontFile2", "/FontFile3"}


def test_hostile_texts_are_texts_in_a_pdf(scratch: Path) -> None:
    """Markup is shown, controls are visible, and what the fonts lack is told by its number."""
    text = text_of(pdf_of("zh", scratch))
    for one in ("#panic()$x$", MARKUP, "\\x1b[31m", "\\u202egnp.exe", "[U+1F600]", "[U+0639]"):
        assert one in text


def test_same_sheet_same_bytes(scratch: Path) -> None:
    again = pdf.render(
        {**sheet_of("en", title=HOSTILE), "date": "2026-11-23T03:04:05+00:00"}, EXTRAS.pictures, scratch
    )
    assert again == pdf_of("en", scratch)


def test_what_cannot_be_set_is_an_error(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**sheet_of("en"), "date": "2026-11-23T03:04:05+00:00"}
    with pytest.raises(pdf.TypesettingError, match=r"cannot be set as PDF \(1\): .*suspect\.jpg"):
        pdf.render(broken, (), scratch)
    monkeypatch.setattr(pdf, "_SECONDS", 0.0)
    with pytest.raises(BusyError, match="took too long"):
        pdf.render(broken, EXTRAS.pictures, scratch)
    monkeypatch.setattr(pdf, "_setting", BoundedSemaphore(1))
    with pdf._setting, pytest.raises(BusyError, match="too many reports"):
        pdf.render(broken, EXTRAS.pictures, scratch)
    assert not list(scratch.iterdir())


def test_setting_is_limited(scratch: Path) -> None:
    """What would take all memory ends, and with it the process."""
    (scratch / "sheet.typ").write_text("#let numbers = range(2000000000)\n")
    program = scratch / "typesetting.py"
    program.write_text(pdf._PROGRAM.read_text().replace("2 << 30", "512 << 20"))
    done = subprocess.run(
        [sys.executable, "-P", str(program), str(scratch)], check=False, capture_output=True
    )
    for path in scratch.iterdir():
        path.unlink()
    assert b"alloc" in done.stderr
    assert (done.returncode, done.stdout) == (-signal.SIGABRT, b"")


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_needs_nothing_beside_it_and_runs_nothing(language: str) -> None:
    content = page.render(sheet_of(language, title=HOSTILE), EXTRAS.pictures)
    found = Tags(content)
    assert found.names.isdisjoint({"script", "iframe", "object", "link", "form", "img"})
    addresses = [value for name, value in found.attributes if name in {"href", "src"}]
    assert addresses
    assert all(str(value).startswith("data:image/jpeg;base64,") for value in addresses)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert MARKUP not in content
    assert "&lt;script&gt;" in content
    assert f'<html lang="{language}">' in content
    for one in document(words(language, "report"))["explanation"]:
        assert one.replace("'", "&#39;").replace(">", "&gt;") in content


def test_policy_of_the_page_allows_its_style_alone() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", page.render(sheet_of("en"), EXTRAS.pictures), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY


def blocks(sheet: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in sheet["blocks"] if one["kind"] == kind]


def test_regions_are_outlined_where_the_transform_puts_them() -> None:
    (drawn,) = blocks(sheet_of("en"), "pictures")
    suspect, work = drawn["items"]
    assert work["shapes"] == [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]]
    (shape,) = suspect["shapes"]
    expected = [(0.25, 0.15), (0.95, 0.25), (0.75, 0.85), (0.05, 0.75)]
    assert [tuple(point) for point in shape] == [pytest.approx(point) for point in expected]


def test_a_region_beyond_the_horizon_is_its_box() -> None:
    said = words("en", "report")
    values = document(said)
    values["match"]["regions"][0]["matrix"] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, -2.0, 0.0, 1.0]
    (drawn,) = blocks(lay_out(values, said, EXTRAS), "pictures")
    assert drawn["items"][0]["shapes"] == [[[0.1, 0.2], [0.9, 0.2], [0.9, 0.8], [0.1, 0.8]]]


def test_stretches_are_drawn_on_both() -> None:
    (drawn,) = blocks(sheet_of("en"), "timeline")
    suspect, work = drawn["lanes"]
    assert suspect["extent"] == "0:00:00.00 – 0:00:45.00"
    assert work["spans"][0] == {"start": 3602 / 5400, "end": 3630.5 / 5400, "colour": 0}
    unknown = blocks(sheet_of("en", Extras()), "timeline")[0]["lanes"][0]
    assert unknown["spans"][1]["end"] == 1.0


def test_what_is_left_out_is_counted() -> None:
    sheet = sheet_of("en", sightings=MAX_SIGHTINGS + 7)
    assert {"kind": "note", "text": "7 more are in the files beside this one, or on the server."} in sheet[
        "blocks"
    ]


def test_a_document_of_no_bundle_says_so() -> None:
    sheet = sheet_of("en", Extras())
    assert not blocks(sheet, "code")
    assert sheet["blocks"][-1]["text"].startswith("This page alone proves nothing.")


def test_what_is_still_being_made_is_told() -> None:
    for pending in (True, False):
        notes = [one["text"] for one in blocks(sheet_of("en", Extras(pending=pending)), "note")]
        assert any("still being made" in one for one in notes) is pending


def test_decisions_and_what_became_of_them() -> None:
    sheet = sheet_of("en")
    rows = [row for table in blocks(sheet, "table") for row in table["rows"] if "0a1b2c3d4e5f6071" in row]
    assert any("Wrong match: no copy (undone)" in row for row in rows)
    assert any("Infringing copy" in row for row in rows)


def test_strangers_texts_are_cut_and_made_visible() -> None:
    assert shown("a\x00b\u200fc\nd") == "a\\x00b\\u200fc\\nd"
    assert shown("é文한") == "é文한"
    assert shown("x" * (MAX_TEXT + 1234)) == "x" * MAX_TEXT + " … (+1,234)"


def test_times_and_places() -> None:
    assert moment("2026-11-23T04:05:06.789+01:00") == "2026-11-23 03:05:06 UTC"
    assert moment(None) == "–"
    assert (offset(3661.25, "second"), offset(12345.0, "character")) == ("1:01:01.25", "12,345")
