"""``copyhound references``: which of them flood the queue, and what is done about it."""

from typing import Annotated

import typer

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.output import print_json, print_line, print_table

references = typer.Typer(help="References and works that bring wrong matches, and keeping these back.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="works/…/references/…, or works/… for all of a work.")
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="For people.")]


@references.command("flagged")
@connects
def flagged(
    connection: Connection,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the references and works that flood the queue with wrong matches, the worst first."""
    with connection.client() as client:
        found = client.flagged()
    if as_json:
        for one in found:
            print_json({"flagged": one})
        return
    print_table(
        ("name", "title", "file", "wrong", "right", "wrong at least"),
        [
            (
                one.name,
                one.title,
                one.filename or "-",
                f"{one.wrong:,}",
                f"{one.right:,}",
                f"{one.wrong_at_least:.0%}",
            )
            for one in found
        ],
    )


@references.command("suppressed")
@connects
def suppressed(
    connection: Connection,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the references and works whose matches are kept back, newest first."""
    with connection.client() as client:
        found = client.suppressions()
    if as_json:
        for one in found:
            print_json({"suppression": one})
        return
    print_table(
        ("name", "title", "file", "since", "by", "note"),
        [
            (
                one.name,
                one.title,
                one.filename or "-",
                one.created_at.strftime("%Y-%m-%d %H:%M"),
                one.actor,
                one.note,
            )
            for one in found
        ],
    )


@references.command("suppress")
@connects
def suppress(
    connection: Connection,
    name: Name,
    *,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Keep the matches of a reference, or of a work, back: no reports, and no answer above review."""
    with connection.client() as client:
        made = client.suppress(name, note=note)
    if as_json:
        print_json({"suppression": made})
    else:
        print_line(f"{made.name} is suppressed; undo with: references unsuppress {made.name}")


@references.command("unsuppress")
@connects
def unsuppress(
    connection: Connection,
    name: Name,
    *,
    note: Note = "",
) -> None:
    """Let the matches of a reference, or of a work, count again."""
    with connection.client() as client:
        client.unsuppress(name, note=note)
    print_line(f"{name} counts again")
