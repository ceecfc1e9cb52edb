"""``copyhound reports``: what monitoring found."""

from pathlib import Path
from typing import Annotated

import typer

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.handing import (
    Form,
    Language,
    MaxCaptures,
    Options,
    Output,
    WithReference,
    hand_over,
)
from copyhound.cli.output import print_json, print_line, print_table
from copyhound.monitor_types import MatchReport
from copyhound.where import describe_place

reports = typer.Typer(help="Match reports: which captured media hold copies of which works.")


@reports.command("list")
@connects
def list_reports(
    connection: Connection,
    *,
    list_name: Annotated[
        str, typer.Option("--list", metavar="LIST", help="Only those that this list led to.")
    ] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Only on works of this owner.")] = "",
    work: Annotated[str, typer.Option("--work", metavar="WORK", help="Only on this work, works/….")] = "",
    min_probability: Annotated[
        float, typer.Option("--min-probability", min=0.0, max=1.0, help="Only from this probability on.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Show the match reports, oldest first, each with its first sighting."""
    with connection.client() as client:
        found = client.reports(list_name=list_name, owner=owner, work=work, min_probability=min_probability)
        if as_json:
            for report in found:
                print_json({"report": report})
            return
        print_table(
            ("report", "probability", "work", "page", "media", "sightings"), [_cells(one) for one in found]
        )


def _cells(report: MatchReport) -> tuple[str, ...]:
    match, seen = report.match, report.sightings[0] if report.sightings else None
    return (
        report.name,
        f"{match.probability:.3f}",
        match.title or match.external_id or match.work,
        seen.page_url if seen else "-",
        seen.media_url if seen else "-",
        f"{report.sighting_count:,}",
    )


@reports.command("show")
@connects
def show(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="REPORT", help="reports/… as `reports list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one report: the work, how sure, where in both, and all places where the content was seen."""
    with connection.client() as client:
        report = client.get_report(name)
    if as_json:
        print_json({"report": report})
        return
    match = report.match
    print_line(f"report       {report.name}, revision {report.revision}")
    print_line(f"work         {match.work}  {match.title or match.external_id or ''}".rstrip())
    if report.work_deleted:
        print_line("             deleted since")
    print_line(f"probability  {match.probability:.3f}")
    print_line(f"where        {describe_place(match)}")
    print_line(f"content      {report.modality}, {report.byte_count:,} bytes, SHA-256 {report.sha256.hex()}")
    if report.on_registration:
        print_line("found        when the work was registered")
    for part in match.parts:
        print_line(f"part         {part.query_part}  {part.probability:.3f}  {part.filename}")
    for uploader in dict.fromkeys(seen.uploader for seen in report.sightings if seen.uploader):
        print_line(f"uploader     {uploader}, as the page says")
    print_table(
        ("first seen", "page", "media", "as", "capture"),
        [
            (
                seen.first_seen_at.strftime("%Y-%m-%d %H:%M"),
                seen.page_url or "-",
                seen.media_url,
                seen.found_as or "-",
                seen.capture or "-",
            )
            for seen in report.sightings
        ],
    )


@reports.command("export")
@connects
def export(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="REPORT", help="reports/… as `reports list` shows it.")],
    *,
    output: Output,
    form: Form = None,
    language: Language = "en",
    with_reference: WithReference = False,
    max_captures: MaxCaptures = 0,
    as_json: AsJson = False,
) -> None:
    """Hand a report over: its evidence in a signed bundle (.zip), or the report alone."""
    options = Options(output, form, language, with_reference, max_captures)
    hand_over(connection, name, options, as_json=as_json)


@reports.command("key")
@connects
def key(
    connection: Connection,
    *,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write it there; left out: show it."),
    ] = None,
) -> None:
    """Show the public key that `copyhound verify --key` checks the server's bundles with, PEM."""
    with connection.client() as client:
        pem = client.index_state().evidence_key
    if output is None:
        for line in pem.splitlines():
            print_line(line)
        return
    try:
        output.write_text(pem, encoding="ascii")
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}") from error
