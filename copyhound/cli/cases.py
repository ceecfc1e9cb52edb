"""``copyhound cases``: what reports are, decided by people."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from types import MappingProxyType
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
from copyhound.cli.items import read_moment
from copyhound.cli.output import (
    FAILED,
    error_values,
    print_failure,
    print_json,
    print_line,
    print_table,
)
from copyhound.client import Client
from copyhound.review_types import (
    BatchDecided,
    Case,
    CaseFilter,
    CaseOrder,
    CaseResult,
    CaseState,
    Decision,
    Outcome,
)

cases = typer.Typer(help="Cases: the reports on a work at a site, and what was decided on them.")

_NOBODY = "-"


class _States(StrEnum):
    """Which states are shown."""

    OPEN = "open"
    WAITING = "waiting"
    DECIDED = "decided"
    ALL = "all"


CaseName = Annotated[str, typer.Argument(metavar="CASE", help="cases/… as `cases list` shows it.")]
ListName = Annotated[str, typer.Option("--list", metavar="LIST", help="Only those that this list led to.")]
Site = Annotated[str, typer.Option("--site", metavar="HOST", help="Only at this host.")]
WorkName = Annotated[str, typer.Option("--work", metavar="WORK", help="Only of this work, works/….")]
Order = Annotated[CaseOrder, typer.Option("--order", help="Which come first.")]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="For people.")]


@cases.command("list")
@connects
def list_cases(
    connection: Connection,
    *,
    state: Annotated[_States, typer.Option("--state", help="Only those that are so far.")] = _States.OPEN,
    list_name: ListName = "",
    site: Site = "",
    work: WorkName = "",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Only of this owner.")] = "",
    modality: Annotated[
        str, typer.Option("--modality", metavar="KIND", help="Only of this kind of media.")
    ] = "",
    min_probability: Annotated[
        float, typer.Option("--min-probability", min=0.0, max=1.0, help="Only from this probability on.")
    ] = 0.0,
    assignee: Annotated[
        str, typer.Option("--assignee", metavar="KEY", help="Only those of this key, by its id; -: nobody's.")
    ] = "",
    due_before: Annotated[
        str, typer.Option("--due-before", metavar="DATE", help="Only those due before this time.")
    ] = "",
    search: Annotated[
        str, typer.Option("--search", metavar="WORDS", help="Only with these words in titles or site.")
    ] = "",
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only those decided so.")] = None,
    order: Order = CaseOrder.NEWEST,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most cases.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show cases, those that are open by default."""
    which = CaseFilter(
        states=() if state is _States.ALL else (CaseState(state.value),),
        list=list_name,
        site=site,
        work=work,
        owner=owner,
        modality=modality,
        min_probability=min_probability,
        assignee=assignee,
        due_before=_moment(due_before) if due_before else None,
        text=search,
        outcome=outcome,
    )
    with connection.client() as client:
        found = islice(client.cases(which, order=order, page_size=min(limit, 1000)), limit)
        if as_json:
            for case in found:
                print_json({"case": case})
            return
        print_table(
            ("case", "state", "probability", "work", "site", "reports", "due", "with"),
            [_cells(case) for case in found],
        )


def _cells(case: Case) -> tuple[str, ...]:
    return (
        case.name,
        _state(case),
        f"{case.probability:.3f}",
        case.work_title,
        case.site or "-",
        f"{case.report_count:,}",
        case.due_at.strftime("%Y-%m-%d %H:%M") if case.due_at else "-",
        case.lease_holder or case.assignee or "-",
    )


def _state(case: Case) -> str:
    if case.decision is None or case.state is CaseState.OPEN:
        return case.state.value
    return case.decision.outcome.value


@cases.command("next")
@connects
def lease_next(
    connection: Connection,
    *,
    list_name: ListName = "",
    site: Site = "",
    work: WorkName = "",
    order: Order = CaseOrder.NEWEST,
    after: Annotated[str, typer.Option("--after", metavar="CASE", help="Go on after this case.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take the next open case that nobody else has, for some minutes, and show it."""
    with connection.client() as client:
        which = CaseFilter(list=list_name, site=site, work=work)
        case = client.lease_next(which, order=order, after=after)
    if as_json:
        print_json({"case": case})
    elif case is None:
        print_line("nothing is left to decide")
    else:
        _show(case)


@cases.command("show")
@connects
def show(
    connection: Connection,
    name: CaseName,
    *,
    as_json: AsJson = False,
) -> None:
    """Show one case, its reports, and all decisions on it."""
    with connection.client() as client:
        case = client.get_case(name)
        reports = list(islice(client.case_reports(name), 1000))
        people = _people(client)
    if as_json:
        print_json({"case": case, "reports": reports})
        return
    _show(case, people)
    print_table(
        ("report", "decided"),
        [(one.report, one.settled_by or ("yes" if one.covered else "no")) for one in reports],
    )


@cases.command("export")
@connects
def export(
    connection: Connection,
    name: CaseName,
    *,
    output: Output,
    form: Form = None,
    language: Language = "en",
    with_reference: WithReference = False,
    max_captures: MaxCaptures = 0,
    as_json: AsJson = False,
) -> None:
    """Hand a case with all its reports over: its evidence in a signed bundle (.zip), or a document alone."""
    options = Options(output, form, language, with_reference, max_captures)
    hand_over(connection, name, options, as_json=as_json)


@cases.command("reviewers")
@connects
def reviewers(connection: Connection, *, as_json: AsJson = False) -> None:
    """Show who may decide: ids of keys, as `cases assign` takes them, and names."""
    with connection.client() as client:
        found = client.reviewers()
    if as_json:
        for one in found:
            print_json({"reviewer": one})
        return
    print_table(
        ("key", "name", "role", "state"),
        [(one.id, one.name or "-", one.role, "revoked" if one.revoked else "valid") for one in found],
    )


def _people(client: Client) -> dict[str, str]:
    """Names of reviewers, each with the key's id."""
    return {one.id: f"{one.name} ({one.id})" for one in client.reviewers() if one.name}


def _show(case: Case, people: Mapping[str, str] = MappingProxyType({})) -> None:
    print_line(f"case         {case.name}, etag {case.etag}")
    print_line(f"state        {case.state}")
    print_line(f"work         {case.work}  {case.work_title}".rstrip())
    print_line(f"site         {case.site or '-'}")
    print_line(f"page         {case.page_url or '-'}  {case.page_title}".rstrip())
    print_line(f"media        {case.media_url}")
    print_line(f"probability  {case.probability:.3f}")
    print_line(f"reports      {case.report_count:,}, of which {case.open_count:,} open")
    if case.assignee:
        print_line(f"assigned to  {people.get(case.assignee, case.assignee)}")
    if case.due_at:
        print_line(f"due          {case.due_at:%Y-%m-%d %H:%M}")
    if case.lease_holder and case.lease_expires_at:
        holder = people.get(case.lease_holder, case.lease_holder)
        print_line(f"held by      {holder} until {case.lease_expires_at:%Y-%m-%d %H:%M:%S}")
    for decision in case.decisions or ((case.decision,) if case.decision else ()):
        print_line(f"decision {decision.number:<4}{_said(decision, people)}")


def _said(decision: Decision, people: Mapping[str, str]) -> str:
    text = f"{decision.outcome}  {decision.reason}".rstrip()
    text += f", {decision.created_at:%Y-%m-%d %H:%M} by {people.get(decision.actor, decision.actor)}"
    if decision.undone_by:
        text += ", undone"
    return f"{text}: {decision.note}" if decision.note else text


@cases.command("decide")
@connects
def decide(
    connection: Connection,
    outcome: Annotated[Outcome, typer.Argument(help="What is decided.")],
    names: Annotated[list[str], typer.Argument(metavar="CASE…", help="Cases, at most 1,000.")],
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="CODE", help="Why, as a code.")] = "",
    note: Note = "",
    etag: Annotated[
        str, typer.Option("--etag", metavar="ETAG", help="Of the one case, as `cases show` told it.")
    ] = "",
    partial: Annotated[
        bool, typer.Option("--partial", help="Decide the good ones although others fail.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Decide cases as they are now, or one as it was seen."""
    if etag and len(names) > 1:
        raise typer.BadParameter("--etag goes with one case")
    with connection.client() as client:
        seen = [_as_seen(client.get_case(name), etag) for name in names]
        done = client.decide_many(
            seen, outcome, reason=reason, note=note, allow_partial=partial, validate_only=dry_run
        )
    _print_results(done.results, as_json=as_json)
    if not as_json:
        _print_batch(done, dry_run=dry_run)
    elif done.batch:
        print_json({"batch": done.batch})
    if done.failed:
        raise typer.Exit(FAILED)


def _as_seen(case: Case, etag: str) -> Case:
    return replace(case, etag=etag) if etag else case


def _print_batch(done: BatchDecided, *, dry_run: bool) -> None:
    decided = len(done.results) - done.failed
    if done.batch:
        print_line(f"{decided:,} cases decided, {done.reports:,} reports; undo with: cases undo {done.batch}")
    elif dry_run:
        print_line(f"{decided:,} cases would be decided, {done.reports:,} reports; nothing changed")
    else:
        print_line("nothing changed; --partial decides the good ones")


def _print_results(results: tuple[CaseResult, ...], *, as_json: bool) -> None:
    for one in results:
        if as_json:
            values = {"case": one.case or one.name}
            print_json(values if one.error is None else {**values, "error": error_values(one.error)})
        elif one.error is not None:
            print_failure(one.name, one.error)


@cases.command("undo")
@connects
def undo(
    connection: Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="cases/…, or batches/… for all of a batch.")],
    *,
    decision: Annotated[
        int, typer.Option("--decision", min=0, metavar="N", help="Which; left out: the one that stands.")
    ] = 0,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Undo a decision, or those of a batch. Nothing is erased."""
    failed = False
    with connection.client() as client:
        if name.startswith("batches/"):
            results = client.undo_batch(name, note=note)
            failed = any(one.error is not None for one in results)
            _print_results(results, as_json=as_json)
            if not as_json:
                print_line(f"{sum(one.error is None for one in results):,} decisions undone")
        else:
            standing = client.get_case(name).decision if not decision else None
            if not decision and standing is None:
                raise typer.BadParameter(f"no decision stands on {name}")
            case = client.undo(name, decision or (standing.number if standing else 0), note=note)
            if as_json:
                print_json({"case": case})
            else:
                _show(case)
    if failed:
        raise typer.Exit(FAILED)


@cases.command("events")
@connects
def events(
    connection: Connection,
    subject: Annotated[
        str,
        typer.Argument(metavar="[NAME]", help="cases/…, works/… or references/…; left out: everything."),
    ] = "",
    *,
    actor: Annotated[str, typer.Option("--actor", metavar="KEY", help="Only by this key, by its id.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most events.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show what happened, the newest first."""
    with connection.client() as client:
        found = islice(client.review_events(subject=subject, actor=actor, page_size=min(limit, 1000)), limit)
        if as_json:
            for event in found:
                print_json({"event": event})
            return
        people = _people(client)
        print_table(
            ("when", "what", "subject", "number", "by", "detail"),
            [
                (
                    event.at.strftime("%Y-%m-%d %H:%M:%S"),
                    event.action,
                    event.subject,
                    str(event.number),
                    people.get(event.actor, event.actor),
                    event.detail,
                )
                for event in found
            ],
        )


@cases.command("assign")
@connects
def assign(
    connection: Connection,
    name: CaseName,
    assignee: Annotated[str, typer.Argument(metavar="KEY", help="Id of a key; -: anybody.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say who is to decide a case."""
    with connection.client() as client:
        case = client.assign_case(name, None if assignee == _NOBODY else assignee)
    _print_case(case, as_json=as_json)


@cases.command("due")
@connects
def due(
    connection: Connection,
    name: CaseName,
    date: Annotated[str, typer.Argument(metavar="DATE", help="Until when; -: no date.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say until when a case is to be decided."""
    moment = None if date == _NOBODY else _moment(date)
    with connection.client() as client:
        case = client.set_case_due(name, moment)
    _print_case(case, as_json=as_json)


@cases.command("comment")
@connects
def comment(
    connection: Connection,
    name: CaseName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add a comment to a case."""
    with connection.client() as client:
        case = client.comment(name, text)
    _print_case(case, as_json=as_json)


@cases.command("release")
@connects
def release(
    connection: Connection,
    name: CaseName,
    *,
    as_json: AsJson = False,
) -> None:
    """Give a case back, so that others can take it."""
    with connection.client() as client:
        case = client.release_case(name)
    _print_case(case, as_json=as_json)


def _print_case(case: Case, *, as_json: bool) -> None:
    if as_json:
        print_json({"case": case})
    else:
        _show(case)


def _moment(text: str) -> datetime:
    try:
        return read_moment(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
