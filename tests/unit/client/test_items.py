"""Monitoring lists as files: what is wrong is told by line and field."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from copyhound import MonitoringItem, Place, PlaceKind
from copyhound.cli.items import ItemRow, read_interval, read_list_file, read_moment
from copyhound.cli.manifest import ManifestError, RowError

ROWS = [
    MonitoringItem(place=Place(PlaceKind.PAGE, "https://x.example/a,b")),
    MonitoringItem(place=Place(PlaceKind.SEARCH, "https://x.example/?q={keywords}", ("one", "zwei ü"))),
    MonitoringItem(work="P-17"),
    MonitoringItem(leave_alone="licensee.example"),
]
CSV = """kind,value,keywords
page,"https://x.example/a,b",
search,https://x.example/?q={keywords},one; zwei ü
work,P-17,

leave_alone,licensee.example,
"""
JSON_LINES = """{"kind": "page", "value": "https://x.example/a,b"}
{"kind": "search", "value": "https://x.example/?q={keywords}", "keywords": ["one", "zwei ü"]}
{"kind": "work", "value": "P-17"}

{"kind": "leave_alone", "value": "licensee.example"}
"""
YAML = """title: Films
daily: 03:30
items:
- kind: page
  value: https://x.example/a,b
- {kind: search, value: "https://x.example/?q={keywords}", keywords: [one, zwei ü]}
- {kind: work, value: P-17}
- kind: leave_alone
  value: licensee.example
"""


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [("a.csv", CSV, (2, 3, 4, 6)), ("a.jsonl", JSON_LINES, (1, 2, 3, 5)), ("a.yaml", YAML, (4, 6, 7, 8))],
)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, text: str, lines: tuple[int, ...]) -> None:
    path = tmp_path / name
    path.write_text(f"\ufeff{text}", encoding="utf-8")
    read = read_list_file(path)
    assert read.rows == tuple(ItemRow(line, item) for line, item in zip(lines, ROWS, strict=True))
    assert read.settings == ({"title": "Films", "daily": "03:30"} if name == "a.yaml" else {})


@pytest.mark.parametrize(
    ("name", "text", "line", "field"),
    [
        ("a.csv", "kind,value\npages,https://x.example/\n", 2, "kind"),
        ("a.csv", 'kind,value\nwork,"a\nb"\npage,\n', 4, "value"),
        ("a.csv", "kind,value\npage\n", 2, ""),
        ("a.csv", 'kind,value\nwork,"a"b\n', 2, ""),
        ("a.jsonl", '\n{"kind": "page"', 2, ""),
        ("a.jsonl", '["page"]', 1, ""),
        ("a.jsonl", '{"kind": "page", "value": 7}', 1, "value"),
        ("a.jsonl", '{"kind": "work", "value": "\\ud800"}', 1, "value"),
        ("a.jsonl", '{"kind": "work", "value": "a", "keywords": ["b"]}', 1, "keywords"),
        ("a.jsonl", '{"kind": "search", "value": "a", "keywords": "b"}', 1, "keywords"),
        ("a.yml", "- {kind: page, value: a}\n- {kind: page, link: a}\n", 2, "link"),
        ("a.yml", "- {kind: page, value: a}\n\n- page\n", 3, ""),
    ],
)
def test_a_wrong_row_is_told_by_line_and_field(
    tmp_path: Path, name: str, text: str, line: int, field: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    wrong = [row for row in read_list_file(path).rows if isinstance(row, RowError)]
    assert [(row.row, row.field) for row in wrong] == [(line, field)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.csv", None),
        ("a.csv", b"url\nhttps://x.example/\n"),
        ("a.csv", b"kind,value\npage,\xff\n"),
        ("a.yaml", b"items: {a: b}"),
        ("a.yaml", b"nonsense: 1\n"),
        ("a.yaml", b"a: [\n"),
        ("a.yaml", b"items:\n- &a {kind: page, value: x}\n- *a\n"),
        ("a.yaml", b"[" * 5000),
        ("a.yaml", b"!!python/name:os.system {a: b}"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError, match=str(path)):
        read_list_file(path)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("depth: deep", "line 2: depth: 'deep' is no whole number"),
        ("max_pages: 1.5", "line 2: max_pages: '1.5' is no whole number"),
        ("every: daily", "line 2: every: 'daily' is no interval"),
        ("expires: soon", "line 2: expires: 'soon' is no date"),
        ("min_probability: high", "line 2: min_probability: 'high' is no number"),
    ],
)
def test_a_wrong_setting_is_told_by_line_and_name(tmp_path: Path, setting: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"owner: studio\n{setting}\n")
    with pytest.raises(ManifestError, match=said):
        read_list_file(path)


def test_intervals_and_moments() -> None:
    assert read_interval("90m") == timedelta(minutes=90)
    assert read_interval("7d") == timedelta(days=7)
    assert read_moment("2027-01-31") == datetime(2027, 1, 31, tzinfo=UTC)
    assert read_moment("2027-01-31T12:00+02:00") == datetime(2027, 1, 31, 10, tzinfo=UTC)
    for wrong in ("", "h", "1w", "-1h", "1.5h", "٣h"):
        with pytest.raises(ValueError, match="no interval"):
            read_interval(wrong)
    with pytest.raises(ValueError, match="no date"):
        read_moment("tomorrow")
