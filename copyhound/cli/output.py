"""What the commands print: results on standard output, errors and progress on standard error."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from copyhound.errors import CopyhoundError

T = TypeVar("T")

FAILED: Final = 1
"""Exit status: some items failed."""

_UNLIMITED: Final = 10_000
"""Columns of a table that goes to a file or a program: nothing is cut or wrapped."""


def print_json(values: dict[str, Any]) -> None:
    """Print one line of JSON. Dataclasses become objects, bytes hexadecimal, times ISO 8601."""
    sys.stdout.write(json.dumps(values, default=_plain) + "\n")
    sys.stdout.flush()


def print_line(text: str) -> None:
    """Print one line of results."""
    sys.stdout.write(_printable(text) + "\n")


def print_error(text: str) -> None:
    """Print one line about what went wrong."""
    sys.stderr.write(f"copyhound: {_printable(' '.join(text.split()))}\n")


def print_failure(place: str, error: CopyhoundError) -> None:
    """Print one line about an item that failed."""
    text = str(error)
    print_error(text if text.startswith(place) else f"{place}: {text}")


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table; unwrapped where no terminal shows it."""
    console = Console(
        width=None if sys.stdout.isatty() else _UNLIMITED, highlight=False, markup=False, emoji=False
    )
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(_printable, row))
    console.print(table)


def error_values(error: CopyhoundError) -> dict[str, Any]:
    """An error for programs."""
    values: dict[str, Any] = {"reason": error.reason, "message": str(error)}
    if error.violations:
        values["fields"] = [violation.field for violation in error.violations]
    if error.retry_after is not None:
        values["retry_after"] = error.retry_after
    return values


def _nothing() -> str:
    """No more is known of what is under way."""
    return ""


class _UnderWay(ProgressColumn):
    """What is under way, in words."""

    def __init__(self, tell: Callable[[], str]) -> None:
        super().__init__()
        self._tell = tell

    def render(self, task: Task) -> Text:
        """Draw it."""
        del task
        return Text(_printable(self._tell()))


def track(items: Iterable[T], total: int, what: str, under_way: Callable[[], str] = _nothing) -> Iterator[T]:
    """Yield the items, with a progress bar where standard error is a terminal.

    Args:
        items: As they are done.
        total: How many there will be.
        what: Is done to them.
        under_way: Says how far those have come that are under way.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        _UnderWay(under_way),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)


def _printable(text: str) -> str:
    """Escape what could steer a terminal: names and titles are other people's."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _plain(value: object) -> object:
    """Make a value fit for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not go into JSON")
