"""``copyhound match`` and ``copyhound compare``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.files import HiddenCount, find_media
from copyhound.cli.output import (
    FAILED,
    error_values,
    print_error,
    print_failure,
    print_json,
    print_line,
    print_table,
    track,
)
from copyhound.errors import CopyhoundError
from copyhound.types import Answer
from copyhound.where import describe_place


@connects
def match(
    connection: Connection,
    *,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, and folders with all below.")],
    min_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability",
            min=0.0,
            max=1.0,
            help="Least probability to show; 0: every candidate; left out: the server decides.",
        ),
    ] = None,
    page_size: Annotated[
        int, typer.Option("--page-size", min=1, max=1000, help="Most matches for each file.")
    ] = 10,
    min_sequence: Annotated[
        int, typer.Option("--min-sequence", min=0, help="Wait until the index has seen this change.")
    ] = 0,
    territory: Annotated[
        list[str] | None,
        typer.Option("--territory", metavar="CODE", help="Where it would be seen, such as CN; repeatable."),
    ] = None,
    uploader: Annotated[
        str, typer.Option("--uploader", metavar="TOKEN", help="Who uploads; compared with licences.")
    ] = "",
    fast: Annotated[
        bool, typer.Option("--fast", help="Leave out the stages that take long; small parts are missed.")
    ] = False,
    as_one: Annotated[
        bool, typer.Option("--as-one", help="Ask about each folder as one, with its files as parts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask whether files are copies of registered works, of which, where, and how sure."""
    hidden = HiddenCount()
    answers: dict[int, Answer] = {}
    with ExitStack() as stack:
        items = list(find_media(paths, hidden, stack, as_one=as_one))
        place_of = {id(item.media): place for place, item in enumerate(items)}
        client = stack.enter_context(connection.client())
        client.index_state()  # a wrong address or key is one error, not one for each file
        outcomes = client.match_many(
            [item.media for item in items],
            min_probability=min_probability,
            page_size=page_size,
            min_sequence=min_sequence,
            territories=territory or (),
            uploader_token=uploader,
            fast=fast,
        )
        for source, outcome in track(outcomes, len(items), "matching"):
            place = place_of[id(source)]
            path = str(items[place].path)
            if isinstance(outcome, Answer):
                answers[place] = outcome
            if as_json and isinstance(outcome, Answer):
                print_json({"path": path, "status": "answered", "answer": outcome})
            elif as_json and isinstance(outcome, CopyhoundError):
                print_json({"path": path, "status": "failed", "error": error_values(outcome)})
            elif isinstance(outcome, CopyhoundError):
                print_failure(path, outcome)
    if answers and not as_json:
        found = [(str(items[place].path), answers[place]) for place in sorted(answers)]
        columns = ("file", "action", "probability", "work", "where")
        print_table(columns, [row for path, answer in found for row in _rows(path, answer)])
        for path, answer in found:
            _tell_what_was_left_out(path, answer)
    if hidden.count:
        print_error(f"{hidden.count} left out because their names start with a dot")
    if len(answers) < len(items):
        raise typer.Exit(FAILED)


@connects
def compare(
    connection: Connection,
    *,
    a: Annotated[str, typer.Argument(metavar="A", help="The suspect: a file, or a reference's name.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The original: a file, or a reference's name.")],
    as_json: AsJson = False,
) -> None:
    """Explain how two media items relate, whether or not they match."""
    with connection.client() as client:
        comparison = client.compare(a, b)
    if as_json:
        print_json({"a": a, "b": b, "comparison": comparison})
        return
    print_line(f"probability  {_percent(comparison.probability)}")
    print_line(f"where        {describe_place(comparison)}")
    print_line(
        f"covers       {_percent(comparison.query_coverage)} of A, {_percent(comparison.work_coverage)} of B"
    )
    for sentence in comparison.explanation:
        print_line(f"because      {sentence}")
    for name, value in comparison.signals.items():
        print_line(f"signal       {name} = {value:g}")


def _rows(path: str, answer: Answer) -> list[tuple[str, ...]]:
    """One row for each match; one without a work where there is none."""
    if not answer.matches:
        return [(path, answer.action, "-", "-", "-")]
    return [
        (
            path,
            found.action,
            _percent(found.probability),
            " ".join(part for part in (found.external_id, found.title) if part) or found.work,
            describe_place(found),
        )
        for found in answer.matches
    ]


def _tell_what_was_left_out(path: str, answer: Answer) -> None:
    """One line about a partial answer, with what to do where the caller can do something."""
    if answer.partial:
        late = any(reason.startswith("DEADLINE") for reason in answer.partial_reasons)
        advice = "; a longer --timeout has more of it looked at" if late else ""
        print_error(f"{path}: partial answer: {'; '.join(answer.partial_reasons)}{advice}")


def _percent(part: float) -> str:
    """Round down to a tenth of a percent: what is not certain must not read as 100 %."""
    return f"{int(part * 1000) / 10:g} %"
