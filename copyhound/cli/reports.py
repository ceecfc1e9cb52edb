"""``copyhound reports``: what monitoring found."""

from typing import Annotated

import typer

from copyhound.cli.connection import (
    DEFAULT_SERVER,
    DEFAULT_TIMEOUT,
    ApiKey,
    AsJson,
    Server,
    Timeout,
    TlsCa,
    TlsCertificate,
    TlsKey,
    UseTls,
    connect,
)
from copyhound.cli.output import print_json, print_line, print_table
from copyhound.monitor_types import MatchReport
from copyhound.where import describe_place

reports = typer.Typer(help="Match reports: which captured media hold copies of which works.")


@reports.command("list")
def list_reports(
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
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Show the match reports, oldest first, each with its first sighting."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
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
def show(
    name: Annotated[str, typer.Argument(metavar="REPORT", help="reports/… as `reports list` shows it.")],
    *,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Show one report: the work, how sure, where in both, and all places where the content was seen."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
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
