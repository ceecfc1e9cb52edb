"""Manifests: tables of files and what to register them as, in CSV or JSON Lines.

A row has `path` (relative to the manifest's folder) and may have `owner`, `external_id`, `title`, `labels`,
`action`, `min_probability`, `territories` and `previews`. In CSV, labels are written ``key=value;key=value``
and territories ``CN;HK``; in JSON Lines they are an object and a list. Rows that are wrong are reported by
their number and field, and never keep the others from being registered.
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from copyhound.types import Action, NewWork, Policy

FIELDS: Final = (
    "path",
    "owner",
    "external_id",
    "title",
    "labels",
    "action",
    "min_probability",
    "territories",
    "previews",
)


class ManifestError(Exception):
    """The manifest as a whole cannot be used."""


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that cannot be used.

    Attributes:
        row: Its number as an editor or a spreadsheet shows it: the first line is 1, also in CSV, where it
            holds the names of the columns. A CSV field that holds line breaks is still in one row.
        field: Which field is wrong; empty: the row as a whole.
        message: What it wants.
    """

    row: int
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row that can be used."""

    row: int
    new: NewWork


class _FieldError(ValueError):
    """A field is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_manifest(path: Path, owner: str) -> list[ManifestRow | RowError]:
    """Read a manifest; ``.jsonl`` and ``.ndjson`` are JSON Lines, everything else is CSV.

    Args:
        path: The manifest.
        owner: The owner for rows that name none; empty: such rows are errors.

    Raises:
        ManifestError: If the file cannot be read, or its first line does not name the columns.
    """
    read = _json_rows if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows
    try:
        raw = list(read(path))
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; name a manifest that can be read") from error
    return [row if isinstance(row, RowError) else _row(*row, path.parent, owner) for row in raw]


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | RowError]:
    """Yield number and fields of each row; bytes that are no UTF-8 survive as surrogates."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise ManifestError(f"{path}: the first line is no CSV: {error}") from error
        unknown = [name for name in header if name not in FIELDS]
        if "path" not in header or unknown or len(set(header)) != len(header):
            wrong = f"not {', '.join(unknown)}" if unknown else "`path` among them, each once"
            raise ManifestError(f"{path}: the first line must name columns of {', '.join(FIELDS)}; {wrong}")
        number = 1
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RowError(number, "", f"is no CSV: {error}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield RowError(number, "", f"has {len(cells)} fields; the first line names {len(header)}")
                continue
            yield number, dict(zip(header, cells, strict=True))


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | RowError]:
    """Yield number and fields of each line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line.decode("utf-8-sig"))
            except ValueError as error:
                yield RowError(number, "", f"is no JSON: {error}")
                continue
            if not isinstance(fields, dict):
                yield RowError(number, "", 'is no object; write {"path": …}')
                continue
            unknown = sorted(fields.keys() - set(FIELDS))
            if unknown:
                yield RowError(number, unknown[0], f"is no field; the fields are {', '.join(FIELDS)}")
                continue
            yield number, fields


def _row(number: int, fields: Mapping[str, Any], folder: Path, owner: str) -> ManifestRow | RowError:
    """Check one row; empty fields count as absent."""
    present = {name: value for name, value in fields.items() if value not in ("", None)}

    def read(name: str, parse: Callable[[Any], Any], default: Any) -> Any:
        if name not in present:
            return default
        try:
            return parse(present[name])
        except ValueError as error:
            raise _FieldError(name, str(error)) from error

    try:
        path = _filled("path", read("path", _text, ""), "name a file")
        row_owner = _filled("owner", read("owner", _text, owner), "fill it in, or give --owner for all rows")
        policy = Policy(
            action=read("action", _action, Action.BLOCK),
            min_probability=read("min_probability", _probability, 0.0),
            territories=read("territories", _territories, ()),
            previews=read("previews", _yes, True),
        )
        return ManifestRow(
            number,
            NewWork(
                media=folder / path,
                owner=row_owner,
                external_id=read("external_id", _text, path),
                title=read("title", _text, ""),
                labels=read("labels", _labels, {}),
                policy=policy,
            ),
        )
    except _FieldError as error:
        return RowError(number, error.field, str(error))


def _filled(field: str, value: str, advice: str) -> str:
    if not value:
        raise _FieldError(field, f"is empty; {advice}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {value!r}; write a text")  # noqa: TRY004  one kind of error for all fields
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("is no UTF-8; save the manifest as UTF-8") from None
    if "\0" in value:
        raise ValueError("holds a zero byte; leave it out")
    return value


def _action(value: Any) -> Action:
    try:
        return Action(_text(value).lower())
    except ValueError:
        raise ValueError(f"is {value!r}; write one of {', '.join(Action)}") from None


def _probability(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise ValueError(f"is {value!r}; write a number from 0 to 1")
    return number


def _yes(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    known = words.get(_text(value).strip().lower())
    if known is None:
        raise ValueError(f"is {value!r}; write yes or no")
    return known


def _territories(value: Any) -> tuple[str, ...]:
    codes = _text(value).split(";") if isinstance(value, str) else value
    if not isinstance(codes, list):
        raise ValueError(f"is {value!r}; write a list of country codes")  # noqa: TRY004  as in _text
    return tuple(_text(code).strip() for code in codes)


def _labels(value: Any) -> Mapping[str, str]:
    if isinstance(value, dict):
        return {_text(key): _text(label) for key, label in value.items()}
    pairs = [part.partition("=") for part in _text(value).split(";") if part.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError(f"is {value!r}; write key=value;key=value")
    return {key.strip(): label.strip() for key, _, label in pairs}
