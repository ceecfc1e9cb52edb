"""``copyhound reviews``: cases in numbers, and what decisions say of matching."""

from typing import Annotated

import typer

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.output import print_json, print_line, print_table
from copyhound.review_types import PrecisionKind

reviews = typer.Typer(help="Cases in numbers, and what decisions say of matching.")


@reviews.command("overview")
@connects
def overview(
    connection: Connection,
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="Most days of the trend.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show how many cases are open, where, and what happened day by day."""
    with connection.client() as client:
        found = client.overview(days=days)
    if as_json:
        print_json({"overview": found})
        return
    print_line(f"open {found.open:,}, waiting {found.waiting:,}, decided {found.decided:,}")
    shares = [*found.lists, *found.sites]
    print_table(
        ("list or site", "title", "open", "decided"),
        [(one.name or "-", one.title, f"{one.open:,}", f"{one.decided:,}") for one in shares],
    )
    print_table(
        ("day", "opened", "decided"),
        [(one.day, f"{one.opened:,}", f"{one.decided:,}") for one in found.days],
    )


@reviews.command("precision")
@connects
def precision(
    connection: Connection,
    kind: Annotated[PrecisionKind, typer.Argument(help="By what.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show how many matches were right, of those that were decided; most wrong first."""
    with connection.client() as client:
        found = client.precision(kind)
    if as_json:
        for one in found:
            print_json({"precision": one})
        return
    print_table(
        (kind.value, "title", "right", "wrong", "precision"),
        [(one.name, one.title, f"{one.right:,}", f"{one.wrong:,}", f"{one.precision:.1%}") for one in found],
    )


@reviews.command("examples")
@connects
def examples(
    connection: Connection,
) -> None:
    """Print the labelled examples that decisions made, one JSON object a line, oldest first."""
    with connection.client() as client:
        for example in client.examples(page_size=1000):
            print_json({"example": example})
