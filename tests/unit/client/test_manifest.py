import json
from pathlib import Path
from typing import Any

import pytest

from copyhound import Action, Policy
from copyhound.cli.manifest import ManifestError, ManifestRow, RowError, read_manifest


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def one(path: Path, owner: str = "studio") -> ManifestRow | RowError:
    (row,) = read_manifest(path, owner)
    return row


FULL: dict[str, Any] = {
    "path": "in/a.png",
    "owner": "label",
    "external_id": "P-17",
    "title": "海报, the poster",
    "labels": {"year": "2024", "kind": "poster"},
    "action": "review",
    "min_probability": 0.8,
    "territories": ["CN", "HK"],
    "previews": False,
}


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    table = write(
        tmp_path,
        "works.csv",
        "\ufeffpath,owner,external_id,title,labels,action,min_probability,territories,previews\n"
        'in/a.png,label,P-17,"海报, the poster",year=2024;kind=poster,review,0.8,CN;HK,no\n',
    )
    objects = write(tmp_path, "works.jsonl", json.dumps(FULL))
    first, second = one(table), one(objects)
    assert isinstance(first, ManifestRow)
    assert isinstance(second, ManifestRow)
    assert first.new == second.new
    assert (first.row, second.row) == (2, 1)
    assert first.new.media == tmp_path / "in/a.png"
    assert first.new.policy == Policy(Action.REVIEW, 0.8, ("CN", "HK"), previews=False)
    assert first.new.labels == FULL["labels"]


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    row = one(write(tmp_path, "works.csv", "path\na.png\n"))
    assert isinstance(row, ManifestRow)
    assert (row.new.owner, row.new.external_id, row.new.policy) == ("studio", "a.png", Policy())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", ""),
        ("path", 7),
        ("path", "a\0b"),
        ("owner", ["studio"]),
        ("external_id", 17),
        ("title", {}),
        ("labels", "year"),
        ("labels", {"year": 2024}),
        ("action", "destroy"),
        ("min_probability", "much"),
        ("min_probability", "nan"),
        ("min_probability", -0.1),
        ("min_probability", 1.1),
        ("min_probability", True),
        ("territories", 7),
        ("territories", [7]),
        ("previews", "perhaps"),
        ("previews", 1),
        ("ttle", "x"),
    ],
)
def test_a_wrong_field_is_named_with_its_row(tmp_path: Path, field: str, value: object) -> None:
    good = json.dumps(FULL)
    bad = json.dumps({**FULL, field: value})
    rows = read_manifest(write(tmp_path, "works.jsonl", f"{good}\n\n{bad}\n{good}\n"), "")
    assert [row.row for row in rows] == [1, 3, 4]
    wrong = rows[1]
    assert isinstance(wrong, RowError)
    assert wrong.field == field
    assert isinstance(rows[2], ManifestRow)


def test_a_row_without_an_owner_says_what_to_do(tmp_path: Path) -> None:
    row = one(write(tmp_path, "works.csv", "path\na.png\n"), owner="")
    assert isinstance(row, RowError)
    assert row.field == "owner"
    assert "--owner" in row.message


@pytest.mark.parametrize(
    "line", ['a.png,"open', "a.png,b,c", "a.png", b"a.png,caf\xe9", 'a.png,"b"c'], ids=repr
)
def test_a_broken_csv_row_does_not_sink_the_rows_before_it(tmp_path: Path, line: str | bytes) -> None:
    broken = line if isinstance(line, bytes) else line.encode()
    rows = read_manifest(write(tmp_path, "works.csv", b"path,title\na.png,one\n" + broken + b"\n"), "studio")
    good, bad = rows
    assert isinstance(good, ManifestRow)
    assert isinstance(bad, RowError)
    assert bad.row == 3


@pytest.mark.parametrize("line", ["{", "[1]", b"\xff{}", "null"], ids=repr)
def test_a_broken_json_line_sinks_no_other(tmp_path: Path, line: str | bytes) -> None:
    broken = line if isinstance(line, bytes) else line.encode()
    good = json.dumps(FULL).encode()
    rows = read_manifest(write(tmp_path, "works.ndjson", good + b"\n" + broken + b"\n" + good), "")
    assert [type(row) for row in rows] == [ManifestRow, RowError, ManifestRow]


@pytest.mark.parametrize("header", ["", "owner,title", "path,ttle", "path,path", '"path'])
def test_a_table_without_proper_columns_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(ManifestError):
        read_manifest(write(tmp_path, "works.csv", f"{header}\na.png,x\n"), "studio")


def test_ten_bad_rows_in_a_thousand_are_all_named(tmp_path: Path) -> None:
    lines = [json.dumps({"path": "" if i % 100 == 7 else f"{i}.png"}) for i in range(1000)]
    rows = read_manifest(write(tmp_path, "works.jsonl", "\n".join(lines)), "studio")
    assert [row.row for row in rows if isinstance(row, RowError)] == list(range(8, 1000, 100))
    assert sum(isinstance(row, ManifestRow) for row in rows) == 990
