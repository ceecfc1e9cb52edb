"""``copyhound monitor``: lists of what to watch, and their runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape

from copyhound.cli.connection import AsJson, Connection, connects
from copyhound.cli.items import ItemRow, ListFile, read_interval, read_list_file, read_moment
from copyhound.cli.manifest import ManifestError, RowError
from copyhound.cli.output import FAILED, print_error, print_json, print_line, print_table
from copyhound.client import Client
from copyhound.errors import CopyhoundError
from copyhound.monitor_types import (
    Capture,
    ItemsImported,
    MonitoringItem,
    MonitoringList,
    NewMonitoringList,
    Run,
    RunState,
    Schedule,
    Webhook,
)
from copyhound.monitoring import ListChanges
from copyhound.service_process import service_environment

monitor = typer.Typer(help="Monitoring lists: which places are watched for copies of which works.")

_LOOK_SECONDS = 1.0
_SECRET_VARIABLE = "COPYHOUND_WEBHOOK_SECRET"  # noqa: S105 - the variable's name

ListName = Annotated[str, typer.Argument(metavar="LIST", help="lists/… as `monitor list` shows it.")]


@monitor.command("import")
@connects
def import_list(
    connection: Connection,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows in CSV, JSON Lines (.jsonl) or YAML.")],
    *,
    list_name: Annotated[
        str, typer.Option("--list", metavar="LIST", help="Add to this list; left out: make a new one.")
    ] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose works; for a new list.")] = "",
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="For people.")] = "",
    depth: Annotated[
        int | None, typer.Option("--depth", min=0, max=100, help="Links away from a place; 2.")
    ] = None,
    max_pages: Annotated[
        int | None, typer.Option("--max-pages", min=1, help="Pages of a run; 1,000.")
    ] = None,
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="Run so often, such as 30m, 6h or 1d.")
    ] = "",
    daily: Annotated[str, typer.Option("--daily", metavar="HH:MM", help="Run once a day, UTC.")] = "",
    expires: Annotated[str, typer.Option("--expires", metavar="DATE", help="When the list ends.")] = "",
    webhook: Annotated[
        str,
        typer.Option(
            "--webhook", metavar="URL", help=f"Whom to tell; the key of signatures is in {_SECRET_VARIABLE}."
        ),
    ] = "",
    min_probability: Annotated[
        float | None, typer.Option("--min-probability", min=0.0, max=1.0, help="Least one of a report.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of it.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Import the good rows although others are wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a monitoring list of a file's rows, or, with --list, change a list and add rows that it lacks."""
    try:
        read = read_list_file(file)
        given = {
            "owner": owner,
            "title": title,
            "depth": depth,
            "max_pages": max_pages,
            "every": read_interval(every) if every else None,
            "daily": daily,
            "expires": read_moment(expires) if expires else None,
            "webhook": webhook,
            "min_probability": min_probability,
        }
        chosen = {
            **read.settings,
            **{name: value for name, value in given.items() if value not in ("", None)},
        }
    except (ManifestError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    new = _new_list(chosen)
    if not list_name and not new.owner:
        raise typer.BadParameter("whose works are they? give --owner NAME")
    with connection.client() as client:
        if list_name and new.owner and client.get_list(list_name).owner != new.owner:
            raise typer.BadParameter(f"{list_name} is no list of {new.owner}: a list keeps its owner")
        target = _Target(list_name, _changes(chosen, new), dry_run=dry_run, partial=partial)
        failed = _import(client, read, new, target, as_json=as_json)
    if failed:
        raise typer.Exit(FAILED)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where rows go: into a list, some of whose fields change too, or (empty name) into a new one."""

    list_name: str
    changes: ListChanges
    _: KW_ONLY
    dry_run: bool
    partial: bool


def _new_list(chosen: Mapping[str, Any]) -> NewMonitoringList:
    """The list that settings describe, without its rows."""
    interval, daily = chosen.get("every"), chosen.get("daily", "")
    url = chosen.get("webhook")
    return NewMonitoringList(
        owner=chosen.get("owner", ""),
        title=chosen.get("title", ""),
        max_depth=chosen.get("depth", 2),
        max_pages=chosen.get("max_pages", 1000),
        schedule=Schedule(interval, daily) if interval is not None or daily else None,
        expires_at=chosen.get("expires"),
        webhook=Webhook(url, os.environ.get(_SECRET_VARIABLE, "")) if url else None,
        min_probability=chosen.get("min_probability", 0.0),
    )


def _changes(chosen: Mapping[str, Any], new: NewMonitoringList) -> ListChanges:
    """The fields of a list that chosen settings change."""
    fields = {
        "depth": "max_depth",
        "every": "schedule",
        "daily": "schedule",
        "expires": "expires_at",
    }
    names = {fields.get(name, name) for name in chosen} - {"owner"}
    return cast("ListChanges", {name: getattr(new, name) for name in names})


def _import(
    client: Client, read: ListFile, new: NewMonitoringList, target: _Target, *, as_json: bool
) -> bool:
    """Do it; tell what became of it; return whether something failed."""
    rows = [row for row in read.rows if isinstance(row, ItemRow)]
    wrong = [row for row in read.rows if isinstance(row, RowError)]
    kept_out = bool(wrong) and not target.partial
    name = target.list_name
    if name:
        trial = target.dry_run or kept_out
        outcome = _sent(client, rows, name, partial=target.partial, trial=trial or bool(target.changes))
        if target.changes and not trial and (target.partial or not outcome.errors):
            client.update_list(name, **target.changes)
            outcome = _sent(client, rows, name, partial=target.partial)
    else:
        client.create_list(new, validate_only=True)
        outcome = _sent(client, rows, "", owner=new.owner)
        if not target.dry_run and not kept_out and (target.partial or not outcome.errors):
            refused = {one.row for one in outcome.errors}
            good = [row.item for i, row in enumerate(rows) if i not in refused]
            name = client.create_list(_filled(new, good)).name
    wrong += [RowError(rows[one.row].line, one.field, str(one.error)) for one in outcome.errors]
    added = 0 if wrong and not target.partial else outcome.added
    for error in sorted(wrong, key=lambda error: error.row):
        if as_json:
            values = {"line": error.row, "field": error.field, "message": error.message}
            print_json({"status": "failed", **values})
        else:
            named = (
                error.message if error.message.startswith(error.field) else f"{error.field} {error.message}"
            )
            print_error(f"line {error.row}: {named}")
    if as_json:
        values = {"list": name or None, "added": added, "present": outcome.present, "failed": len(wrong)}
        print_json({"status": "tried" if target.dry_run else "imported", **values})
    else:
        if name:
            print_line(name)
        word = "would be added" if target.dry_run else "added"
        print_error(f"{added} {word}, {outcome.present} already there, {len(wrong)} failed")
    return bool(wrong)


def _sent(
    client: Client,
    rows: list[ItemRow],
    name: str,
    *,
    owner: str = "",
    partial: bool = False,
    trial: bool = False,
) -> ItemsImported:
    """What became, or would become, of rows: in a list, or in one of an owner that is not there yet."""
    items = [row.item for row in rows]
    if not items:
        return ItemsImported(0, 0, ())
    if not name:
        return client.check_items(owner, items)
    return client.import_items(name, items, allow_partial=partial, validate_only=trial)


def _filled(new: NewMonitoringList, items: list[MonitoringItem]) -> NewMonitoringList:
    """The list with its rows."""
    return replace(
        new,
        works=tuple(item.work for item in items if item.work is not None),
        places=tuple(item.place for item in items if item.place is not None),
        leave_alone=tuple(item.leave_alone for item in items if item.leave_alone is not None),
    )


@monitor.command("list")
@connects
def list_lists(
    connection: Connection,
    *,
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Only lists of this owner.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the monitoring lists."""
    with connection.client() as client:
        found = list(client.lists(owner=owner))
    if as_json:
        for one in found:
            print_json(_list_values(one))
        return
    rows = [(one.name, one.owner, one.title, f"{one.place_count:,}", _when(one.next_run_at)) for one in found]
    print_table(("list", "owner", "title", "places", "next run"), rows)


@monitor.command("show")
@connects
def show(
    connection: Connection,
    name: ListName,
    *,
    as_json: AsJson = False,
) -> None:
    """Show one list with its places, and how far its runs are."""
    with connection.client() as client:
        found, runs = client.get_list(name), list(client.runs(name))
    if as_json:
        print_json({**_list_values(found), "runs": [_run_values(run) for run in runs]})
        return
    print_line(f"list         {found.name}")
    print_line(f"owner        {found.owner}")
    print_line(f"title        {found.title}")
    print_line(f"works        {', '.join(found.works) or 'all of the owner'}")
    print_line(f"limits       {found.max_depth} links deep, {found.max_pages:,} pages a run")
    print_line(f"next run     {_when(found.next_run_at)}")
    print_line(f"expires      {_when(found.expires_at)}")
    print_line(f"webhook      {_webhook_line(found.webhook)}")
    for host in found.leave_alone:
        print_line(f"leave alone  {host}")
    for place in found.places:
        print_line(f"{place.kind:<12} {place.url} {'; '.join(place.keywords)}".rstrip())
    _print_runs(runs)


@monitor.command("delete")
@connects
def delete(
    connection: Connection,
    name: ListName,
) -> None:
    """Delete a list: it runs no more. Captures and reports stay."""
    with connection.client() as client:
        client.delete_list(name)
    print_line(f"deleted  {name}")


@monitor.command("cancel")
@connects
def cancel_run(
    connection: Connection,
    run: Annotated[str, typer.Argument(metavar="RUN", help="lists/…/runs/… as `monitor show` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """End a run: its crawler stops. What the server has of it is still matched; a schedule goes on."""
    with connection.client() as client:
        ended = client.cancel_run(run)
    if as_json:
        print_json(_run_values(ended))
    else:
        print_line(_progress_line(ended))


@monitor.command("captures")
@connects
def list_captures(
    connection: Connection,
    run: Annotated[str, typer.Argument(metavar="RUN", help="lists/…/runs/… as `monitor show` shows it.")],
    *,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="Only what cannot be read, with the reasons.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a run captured that its list had not seen before, and how far that is."""
    state = "unreadable" if unreadable else ""
    with connection.client() as client:
        found = list(client.captures(run, content_state=state))
    if as_json:
        for one in found:
            print_json(_capture_values(one))
        return
    print_table(
        ("capture", "content", "page", "media", "reason"),
        [
            (one.name, one.content_state, one.header.page_url, one.header.media_url, one.unreadable_reason)
            for one in found
        ],
    )


@monitor.command("run")
@connects
def run_list(
    connection: Connection,
    name: ListName,
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the run to a crawler that waits for work; do not wait.")
    ] = False,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of the crawler's state: ./hound-crawler.")
    ] = Path("hound-crawler"),
    contact: Annotated[
        str | None,
        typer.Option(
            "--contact",
            metavar="TEXT",
            envvar="COPYHOUND_CRAWLER_CONTACT",
            help="Who answers for the crawl: an address or URL that sites are shown.",
        ),
    ] = None,
    crawler_key: Annotated[
        str | None,
        typer.Option(
            "--crawler-key",
            metavar="KEY",
            envvar="COPYHOUND_CRAWLER_API_KEY",
            help="Key of role crawler; left out: --api-key.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a list now: start a crawler for it, and wait until all that it captured is matched."""
    if not detach and not contact:
        raise typer.BadParameter("who answers for the crawl? give --contact, or --detach")
    with connection.client() as client:
        run = client.run_list(name)
        status = 0
        if not detach:
            given = {
                "--contact": contact,
                "--tls-ca": connection.tls_ca,
                "--tls-certificate": connection.tls_certificate,
                "--tls-key": connection.tls_key,
            }
            command = [sys.executable, "-P", "-m", "crawler", "run", "--data", str(data)]
            command += ["--server", connection.server]
            command += ["--run", run.name, *(["--tls"] if connection.use_tls else [])]
            command += [part for option, value in given.items() if value for part in (option, str(value))]
            key = crawler_key or connection.api_key
            environment = {**service_environment(), **({"COPYHOUND_CRAWLER_API_KEY": key} if key else {})}
            status = _crawl(client, run, command, environment)
            run = _matched(client, run.name)
    if as_json:
        print_json(_run_values(run))
    else:
        print_line(_progress_line(run))
    if status or run.state is RunState.FAILED:
        raise typer.Exit(FAILED)


def _crawl(client: Client, run: Run, command: list[str], environment: Mapping[str, str]) -> int:
    """Run the crawler, showing how far it is; return its exit status."""
    console = Console(stderr=True)
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603 - our own crawler
        try:
            with console.status(_progress_line(run)) as shown:
                while (status := _waited(process)) is None:
                    try:
                        shown.update(_progress_line(client.get_run(run.name)))
                    except CopyhoundError as error:  # the crawler waits for the service too
                        shown.update(escape(str(error)))
        except BaseException:
            process.send_signal(signal.SIGTERM)
            raise
    return status


def _waited(process: "subprocess.Popen[bytes]") -> int | None:
    try:
        return process.wait(_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _matched(client: Client, name: str) -> Run:
    """The run, once all that it captured was matched."""
    while (run := client.get_run(name)).pending_contents:
        time.sleep(_LOOK_SECONDS / 5)
    return run


def _print_runs(runs: list[Run]) -> None:
    print_table(
        (
            *("run", "state", "started", "pages", "media", "captures", "to crawl", "left out", "failed"),
            *("to match", "unreadable", "reports", "message"),
        ),
        [
            (
                run.name,
                run.state,
                _when(run.started_at),
                f"{run.progress.pages:,}",
                f"{run.progress.media:,}",
                f"{run.progress.captures:,}",
                f"{run.progress.queued:,}",
                f"{run.progress.refused:,}",
                f"{run.progress.errors:,}",
                f"{run.pending_contents:,}",
                f"{run.unreadable_contents:,}",
                f"{run.reports:,}",
                run.message,
            )
            for run in runs
        ],
    )


def _progress_line(run: Run) -> str:
    progress = run.progress
    return (
        f"{run.name}  {run.state}  {progress.pages:,} pages, {progress.media:,} media, "
        f"{progress.captures:,} captures ({progress.bytes / 1e6:,.1f} MB), {progress.queued:,} wait, "
        f"{progress.refused:,} left out, {progress.errors:,} failed, {run.reports:,} reports"
    )


def _list_values(found: MonitoringList) -> dict[str, Any]:
    schedule = found.schedule
    interval = None if schedule is None or schedule.interval is None else schedule.interval.total_seconds()
    return {
        "name": found.name,
        "owner": found.owner,
        "title": found.title,
        "works": found.works,
        "places": [
            {"kind": place.kind, "url": place.url, "keywords": place.keywords} for place in found.places
        ],
        "leave_alone": found.leave_alone,
        "max_depth": found.max_depth,
        "max_pages": found.max_pages,
        "interval_seconds": interval,
        "daily_time": schedule.daily_time if schedule else "",
        "expires_at": found.expires_at,
        "webhook": found.webhook.url if found.webhook else None,
        "webhook_waiting_count": found.webhook.waiting_count if found.webhook else 0,
        "webhook_failed_attempts": found.webhook.failed_attempts if found.webhook else 0,
        "min_probability": found.min_probability,
        "place_count": found.place_count,
        "next_run_at": found.next_run_at,
        "latest_run": found.latest_run,
    }


def _run_values(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "state": run.state,
        "scheduled": run.scheduled,
        "progress": run.progress,
        "pending_contents": run.pending_contents,
        "unreadable_contents": run.unreadable_contents,
        "reports": run.reports,
        "message": run.message,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def _capture_values(capture: Capture) -> dict[str, Any]:
    header = capture.header
    return {
        "name": capture.name,
        "content_state": capture.content_state,
        "unreadable_reason": capture.unreadable_reason,
        "page_url": header.page_url,
        "media_url": header.media_url,
        "content_sha256": header.content_sha256,
        "sha256": header.sha256,
        "captured_at": header.captured_at,
    }


def _webhook_line(webhook: Webhook | None) -> str:
    if webhook is None:
        return "-"
    if not webhook.waiting_count:
        return webhook.url
    failed = f"failed: {webhook.failed_attempts} times"
    return f"{webhook.url} (events that wait: {webhook.waiting_count:,}, {failed})"


def _when(moment: Any) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M")
