"""``copyhound register``."""

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.files import FoundMedia, HiddenCount, find_media
from copyhound.cli.manifest import ManifestError, RowError, read_manifest
from copyhound.cli.output import (
    FAILED,
    error_values,
    print_error,
    print_failure,
    print_json,
    print_line,
    track,
)
from copyhound.errors import CopyhoundError
from copyhound.media import readable_name
from copyhound.types import NewWork, Policy, Registration, UploadProgress
from copyhound.where import clock, describe_parts


@connects
def register(
    connection: Connection,
    *,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH…", help="Files, and folders with all below.")
    ] = None,
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Who owns the works.")] = "",
    manifest: Annotated[
        Path | None, typer.Option("--manifest", metavar="FILE", help="CSV or JSON Lines table of files.")
    ] = None,
    prefix: Annotated[
        str,
        typer.Option("--prefix", metavar="TEXT", help="Put before external ids that are made from paths."),
    ] = "",
    as_one: Annotated[
        bool, typer.Option("--as-one", help="Make one work of each folder, with its files as parts.")
    ] = False,
    no_previews: Annotated[
        bool,
        typer.Option(
            "--no-previews",
            help="Keep no small pictures, clips, sounds and texts for those who review matches.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register works, and wait until they can be found. Doing it again skips what is there."""
    if not paths and manifest is None:
        raise typer.BadParameter("nothing to register; name a file or folder, or give --manifest FILE")
    if paths and not owner:
        raise typer.BadParameter("who owns these works? give --owner NAME")
    try:
        rows = read_manifest(manifest, owner) if manifest else []
    except ManifestError as error:
        raise typer.BadParameter(str(error)) from error
    hidden = HiddenCount()
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        found = list(find_media(paths or (), hidden, stack, as_one=as_one))
        works = [_new_work(one, owner, prefix, previews=not no_previews) for one in found]
        places = {id(new): str(one.path) for new, one in zip(works, found, strict=True)}
        row_of: dict[int, int] = {}
        for row in rows:
            if not isinstance(row, RowError):
                new = _without_previews(row.new) if no_previews else row.new
                places[id(new)], row_of[id(new)] = f"row {row.row}: {new.media!s}", row.row
                works.append(new)
        client = stack.enter_context(connection.client())
        client.index_state()  # a wrong address or key is one error, not one for each file
        for row in rows:
            if isinstance(row, RowError):
                counts["failed"] += 1
                _report_row(row, as_json=as_json)
        under_way = UnderWay(places)
        watch = under_way.told if sys.stderr.isatty() else None
        outcomes = client.register_many(works, add_to_existing=True, progress=watch)
        for new, outcome in track(outcomes, len(works), "registering", under_way.first):
            under_way.ended(new)
            place, row_number = places[id(new)], row_of.get(id(new))
            counts[_report(new, outcome, place, row_number, as_json=as_json)] += 1
    _summarise(counts, hidden.count)
    if counts["failed"]:
        raise typer.Exit(FAILED)


class UnderWay:
    """How far those have come that travel by themselves; other threads may tell and ask."""

    def __init__(self, places: Mapping[int, str]) -> None:
        """Know none; `places` are those of works by their `id`."""
        self._places = places
        self._told: dict[int, UploadProgress] = {}

    def told(self, new: NewWork, progress: UploadProgress) -> None:
        """One of them has come so far."""
        self._told[id(new)] = progress

    def ended(self, new: NewWork) -> None:
        """One of them is done."""
        self._told.pop(id(new), None)

    def first(self) -> str:
        """In words, that which was begun first."""
        for place, progress in list(self._told.items()):
            far = f"{progress.byte_count / 2**20:,.0f} MiB sent"
            if progress.part_count:
                far = f"{progress.read_parts:,} of {progress.part_count:,} parts read"
            elif progress.read_seconds:
                far = f"{clock(progress.read_seconds)} read"
            return f"{Path(self._places[place]).name}: {far}"
        return ""


def _without_previews(new: NewWork) -> NewWork:
    return replace(new, policy=replace(new.policy or Policy(), previews=False))


def _new_work(found: FoundMedia, owner: str, prefix: str, *, previews: bool) -> NewWork:
    name = "" if isinstance(found.media, Path) else found.name
    title = name or readable_name(found.path.name)
    policy = None if previews else Policy(previews=False)
    return NewWork(
        found.media, owner, external_id=prefix + found.name, title=title, filename=name, policy=policy
    )


def _report_row(row: RowError, *, as_json: bool) -> None:
    """Print what is wrong with a row of the manifest."""
    if as_json:
        error = {"reason": "MANIFEST_ROW", "message": row.message}
        print_json({"status": "failed", "row": row.row, "field": row.field, "error": error})
    else:
        print_error(f"row {row.row}: {row.field} {row.message}")


def _report(
    new: NewWork, outcome: Registration | CopyhoundError, place: str, row: int | None, *, as_json: bool
) -> str:
    """Print what became of one item, and return that in one word."""
    path = place if row is None else str(new.media)
    values: dict[str, Any] = {"path": path, "external_id": new.external_id}
    if row is not None:
        values["row"] = row
    if isinstance(outcome, CopyhoundError):
        if as_json:
            print_json({"status": "failed", **values, "error": error_values(outcome)})
        else:
            print_failure(place, outcome)
        return "failed"
    word = "registered"
    if outcome.already_present:
        word = "skipped"
    elif len(outcome.work.references) > 1:
        word = "added"
    if as_json:
        names = {"work": outcome.work.name, "reference": outcome.reference.name}
        counts = {"part_counts": outcome.reference.part_counts} if outcome.reference.part_counts else {}
        lost = {"lost": outcome.reference.lost} if outcome.reference.lost else {}
        print_json({"status": word, **values, **names, **counts, **lost, "sequence": outcome.work.sequence})
    else:
        parts = describe_parts(outcome.reference.part_counts)
        print_line(f"{word:<10}  {outcome.work.name}  {new.external_id}{f'  ({parts})' if parts else ''}")
        if outcome.reference.lost:
            lost_there = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in outcome.reference.lost)
            print_error(
                f"{place}: {lost_there} could not be read, copies of that are not found: add a whole file"
            )
    return word


def _summarise(counts: Counter[str], hidden: int) -> None:
    """Say on standard error how it went."""
    text = f"{counts['registered']} registered, {counts['skipped']} already there"
    if counts["added"]:
        text += f", {counts['added']} added to works that have the same external id"
    text += f", {counts['failed']} failed"
    if hidden:
        text += f"; {hidden} left out because their names start with a dot"
    print_error(text)
