"""Monitoring lists as files: rows of works, places and exceptions in CSV, JSON Lines or YAML.

A row has `kind` and `value`: for ``page``, ``sitemap``, ``feed``, ``search`` and ``media`` an address, for
``domain`` a host, for ``work`` a work's name or external id, for ``leave_alone`` a host or the beginning of
an address. A search page may have `keywords`: in CSV written ``one;two``, in JSON Lines and YAML a list. A
YAML file is a list of rows, or a mapping that holds them as `items` beside the list's settings. Rows that are
wrong are reported by their line and field.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from copyhound.cli.manifest import ManifestError, RowError
from copyhound.monitor_types import MonitoringItem, Place, PlaceKind

FIELDS: Final = ("kind", "value", "keywords")
KINDS: Final = (*PlaceKind, "work", "leave_alone")
_MOST_DEPTH: Final = 8
_OPENING: Final = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING: Final = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row that can be sent.

    Attributes:
        line: Where the file has it, from 1.
    """

    line: int
    item: MonitoringItem


@dataclass(frozen=True, slots=True)
class ListFile:
    """What a file holds.

    Attributes:
        settings: Settings of the list, read as `SETTINGS` says; empty but for YAML.
        rows: Its rows, or what is wrong with them, in order.
    """

    settings: Mapping[str, Any]
    rows: tuple[ItemRow | RowError, ...]


def read_list_file(path: Path) -> ListFile:
    """Read a file: ``.jsonl`` and ``.ndjson`` are JSON Lines, ``.yaml`` and ``.yml`` YAML, all others CSV.

    Raises:
        ManifestError: If the file cannot be read, is no YAML, or its first line does not name the columns.
    """
    suffix = path.suffix.lower()
    settings: Mapping[str, Any] = {}
    try:
        if suffix in (".yaml", ".yml"):
            settings, raw = _yaml_rows(path)
        else:
            raw = list(_json_rows(path) if suffix in (".jsonl", ".ndjson") else _csv_rows(path))
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; name a file that can be read") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is no UTF-8; save it as UTF-8") from error
    return ListFile(settings, tuple(row if isinstance(row, RowError) else _row(*row) for row in raw))


def read_interval(text: str) -> timedelta:
    """The time that a text such as ``30m``, ``6h`` or ``1d`` names.

    Raises:
        ValueError: If it names none.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(number) > 6:
        raise ValueError(f"{text!r} is no interval; write 30m, 6h or 1d")
    return int(number) * _UNITS[unit]


def read_moment(text: str) -> datetime:
    """The moment that an ISO 8601 text names; without a time zone it is in UTC.

    Raises:
        ValueError: If it names none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date; write 2027-01-31, or 2027-01-31T12:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def _part(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number; write one such as 0.8") from None


SETTINGS: Final[Mapping[str, Callable[[str], Any]]] = {
    "owner": str,
    "title": str,
    "depth": _whole,
    "max_pages": _whole,
    "every": read_interval,
    "daily": str,
    "expires": read_moment,
    "webhook": str,
    "min_probability": _part,
}
"""Settings of a list that a YAML file may hold, and what reads each."""


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | RowError]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if not {"kind", "value"} <= set(header) <= set(FIELDS) or len(set(header)) != len(header):
                raise ManifestError(f"{path}: the first line must name the columns {', '.join(FIELDS)}")
            last = reader.line_num
            for cells in reader:
                line, last = last + 1, reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    yield RowError(line, "", f"has {len(cells)} fields; the first line names {len(header)}")
                    continue
                fields: dict[str, Any] = dict(zip(header, cells, strict=True))
                words = fields.get("keywords", "")
                fields["keywords"] = [word.strip() for word in words.split(";") if word.strip()]
                yield line, fields
        except csv.Error as error:  # what follows cannot be told apart
            yield RowError(reader.line_num, "", f"is no CSV: {error}")


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]] | RowError]:
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                fields = json.loads(text.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                yield RowError(line, "", f"is no JSON: {error}")
                continue
            yield _checked(line, fields)


def _yaml_rows(path: Path) -> tuple[Mapping[str, Any], list[tuple[int, Mapping[str, Any]] | RowError]]:
    """Settings and rows. Every scalar is a text: YAML would take 03:30 for a number."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        _check_tokens(path, text)
        loader = yaml.BaseLoader(text)
        settings, items = _yaml_parts(path, loader.get_single_node())
        return settings, [
            _checked(node.start_mark.line + 1, loader.construct_object(node, deep=True)) for node in items
        ]
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error


def _check_tokens(path: Path, text: str) -> None:
    """Refuse what no list needs, and what makes a little text dear: anchors, and deep nesting."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.BaseLoader):
        line = token.start_mark.line + 1
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            raise ManifestError(f"{path}: line {line}: anchors and aliases are not read; write it out")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > _MOST_DEPTH:
            raise ManifestError(
                f"{path}: line {line}: is nested too deep; a row holds texts, and a list of them"
            )


def _yaml_parts(path: Path, root: yaml.Node | None) -> tuple[Mapping[str, Any], list[yaml.Node]]:
    """The settings and the rows below the root of a file."""
    settings: dict[str, Any] = {}
    items = root
    if isinstance(root, yaml.MappingNode):
        items = None
        for key, node in root.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name == "items":
                items = node
            elif name in SETTINGS and isinstance(node, yaml.ScalarNode):
                settings[name] = _setting(path, line, name, str(node.value))
            else:
                known = f"the settings are {', '.join(SETTINGS)}, each one text, and items"
                raise ManifestError(f"{path}: line {line}: {name!r} is no setting; {known}")
    if items is None:
        return settings, []
    if not isinstance(items, yaml.SequenceNode):
        line = items.start_mark.line + 1
        raise ManifestError(f"{path}: line {line}: write a list of rows such as {{kind: page, value: …}}")
    return settings, list(items.value)


def _setting(path: Path, line: int, name: str, text: str) -> Any:
    try:
        return SETTINGS[name](text)
    except ValueError as error:
        raise ManifestError(f"{path}: line {line}: {name}: {error}") from error


def _checked(line: int, fields: Any) -> tuple[int, Mapping[str, Any]] | RowError:
    if not isinstance(fields, dict):
        return RowError(line, "", "is no row; write kind and value")
    unknown = sorted(str(name) for name in fields if name not in FIELDS)
    if unknown:
        return RowError(line, unknown[0], f"is no field; the fields are {', '.join(FIELDS)}")
    return line, fields


def _row(line: int, fields: Mapping[str, Any]) -> ItemRow | RowError:
    kind, value, keywords = fields.get("kind"), fields.get("value"), fields.get("keywords") or []
    if not isinstance(kind, str) or kind.strip() not in KINDS:
        return RowError(line, "kind", f"must be one of {', '.join(KINDS)}")
    if not isinstance(value, str) or not value.strip():
        return RowError(line, "value", "is empty; name the place, the work, or what to leave alone")
    if not isinstance(keywords, list) or not all(isinstance(word, str) for word in keywords):
        return RowError(line, "keywords", "must be a list of texts")
    kind, value = kind.strip(), value.strip()
    try:
        "".join([value, *keywords]).encode()
    except UnicodeEncodeError:
        return RowError(line, "value", "is no text")
    if kind in ("work", "leave_alone"):
        if keywords:
            return RowError(line, "keywords", "are for search pages alone")
        item = MonitoringItem(work=value) if kind == "work" else MonitoringItem(leave_alone=value)
        return ItemRow(line, item)
    return ItemRow(line, MonitoringItem(place=Place(PlaceKind(kind), value, tuple(keywords))))
