"""The queue and its cases: looking at them, and deciding."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from starlette.responses import Response

from service.domain import ApiKey
from service.errors import (
    CaseHeldError,
    InvalidRequestError,
    NotFoundError,
    ServiceError,
    StaleError,
)
from service.language import words
from service.monitored import SHOWN_PARTS, Capture, CustodyEvent, StoredReport
from service.previewed import Kind, Subject
from service.review.desk import MAX_BATCH
from service.reviewed import (
    REASONS,
    Case,
    CaseFilter,
    CaseState,
    Chosen,
    Decision,
    Outcome,
    Ruling,
)
from service.store import View
from service.store.cases import site_of
from service.web import matter
from service.web.call import Call
from service.web.filters import Query, overdue, position_text, read_position, read_query
from service.web.naming import named

PAGE_SIZE: Final = 50
"""Cases on one page of the queue."""

_STRIP: Final = 24
_OTHERS: Final = 8
_PART_DIGITS: Final = 4
_UPLOADERS: Final = 3
"""Of whom other cases are shown."""
_MOST_CAPTURES: Final = 20


async def queue(call: Call) -> Response:
    """The cases that a filter leaves, a page at a time."""
    query = read_query(call.request.query_params)
    now = datetime.now(UTC)
    after = read_position(call.request.query_params.get("after", ""))

    def read(view: View) -> dict[str, Any]:
        desk, actor = call.parts.desk, call.actor
        found = desk.page(
            view, actor, query.filter(actor, now), query.order, after=after, limit=PAGE_SIZE + 1
        )
        more = ""
        if len(found) > PAGE_SIZE:
            more = position_text(desk.position(view, found[PAGE_SIZE - 1], query.order))
        lists = view.lists.page(owner=actor.owner, after=None, limit=200)
        return {
            "cases": found[:PAGE_SIZE],
            "sensitive": matter.sensitive_works(view, found),
            "more": more,
            "lists": lists,
            "views": desk.views(view, actor),
            "done": _read_done(call, view, None, call.request.query_params.get("done", "")),
            "work": view.get_works([query.work_id]).get(query.work_id) if query.work_id else None,
        }

    values = await call.read(read)
    if values["work"] is not None and call.actor.owner not in (None, values["work"].owner):
        values["work"] = None
    undone = call.request.query_params.get("undone", "")
    return call.page(
        "queue.html",
        {
            **values,
            **_vocabulary(call),
            "query": query,
            "now": now,
            "overdue": overdue,
            "undone": int(undone) if undone.isascii() and undone.isdecimal() and len(undone) < 6 else 0,
            "empty": "empty" in call.request.query_params,
        },
    )


async def take_next(call: Call) -> Response:
    """Lease the next case of a filter, and show it; one that is skipped is given back."""
    query = read_query(dict(_pairs(call.field("in"))))
    skipped = _optional_id(call.field("after"))
    if skipped is not None:
        now = datetime.now(UTC)
        await call.write(lambda t: call.parts.desk.release(t, call.actor, skipped, now))
    return await _next(call, query, skipped, {})


async def case(call: Call) -> Response:
    """A case, with one of its reports."""
    return await _show(call, call.path_id("case", "case"))


async def decide(call: Call) -> Response:
    """Decide a case, and go on to the next one of the filter."""
    case_id = call.path_id("case", "case")
    typed = {name: call.field(name) for name in ("outcome", "reason", "note")}
    now = datetime.now(UTC)
    try:
        ruling = _ruling(call)
        chosen = Chosen(case_id, _number(call, "revision"))
        done = await call.write(lambda t: call.parts.desk.decide(t, call.actor, chosen, ruling, now))
    except (StaleError, CaseHeldError, InvalidRequestError) as error:
        return await _show(call, case_id, problem=error, typed=typed)
    query = read_query(dict(_pairs(call.field("in"))))
    if call.field("stay"):
        return call.go(_back(call, case_id, {"done": str(done.revision)}))
    return await _next(call, query, case_id, {"done": f"{case_id}~{done.revision}"})


async def undo(call: Call) -> Response:
    """Undo a decision, and show its case."""
    case_id, number, now = call.path_id("case", "case"), _number(call, "number"), datetime.now(UTC)
    try:
        await call.write(lambda t: call.parts.desk.undo(t, call.actor, case_id, number, now))
    except (StaleError, CaseHeldError) as error:
        return await _show(call, case_id, problem=error)
    return call.go(_back(call, case_id, {"undone": str(number)}))


async def lease(call: Call) -> Response:
    """Take a case, or keep it for longer."""
    case_id, now = call.path_id("case", "case"), datetime.now(UTC)
    try:
        taken = await call.write(lambda t: call.parts.desk.lease(t, call.actor, case_id, now))
    except CaseHeldError as error:
        if call.part_only:
            raise
        return await _show(call, case_id, problem=error)
    if call.part_only:
        return call.page("_lease.html", {"case": taken, "now": now, **_vocabulary(call)})
    return call.go(_back(call, case_id))


async def release(call: Call) -> Response:
    """Give a case back, and go to the queue."""
    case_id, now = call.path_id("case", "case"), datetime.now(UTC)
    await call.write(lambda t: call.parts.desk.release(t, call.actor, case_id, now))
    return call.go(_queue_path(read_query(dict(_pairs(call.field("in"))))))


async def comment(call: Call) -> Response:
    """Add a comment to a case."""
    case_id, text, now = call.path_id("case", "case"), call.field("text"), datetime.now(UTC)
    try:
        await call.write(lambda t: call.parts.desk.comment(t, call.actor, case_id, text, now))
    except InvalidRequestError as error:
        return await _show(call, case_id, problem=error)
    return call.go(_back(call, case_id) + "#history")


async def plan(call: Call) -> Response:
    """Say who is to decide a case, and until when."""
    case_id, now = call.path_id("case", "case"), datetime.now(UTC)
    assignee, due = call.field("assignee") or None, call.field("due")
    try:
        due_at = datetime.combine(datetime.fromisoformat(due).date(), time.max, UTC) if due else None
    except ValueError as error:
        raise InvalidRequestError("due", "must be a date such as 2026-12-31") from error

    def write(t: Any) -> None:
        call.parts.desk.assign(t, call.actor, case_id, assignee, now)
        call.parts.desk.set_due(t, call.actor, case_id, due_at, now)

    try:
        await call.write(write)
    except InvalidRequestError as error:
        return await _show(call, case_id, problem=error)
    return call.go(_back(call, case_id))


async def batch(call: Call) -> Response:
    """Decide several cases alike: first what would become of them, then, if that is wanted, really."""
    chosen = _chosen(call.form.getlist("case"))
    query = read_query(dict(_pairs(call.field("in"))))
    ruling, now = _ruling(call), datetime.now(UTC)
    really = call.field("really") == "yes"
    done = await call.write(
        lambda t: call.parts.desk.decide_many(
            t, call.actor, chosen, ruling, now, preview=not really, allow_partial=True
        )
    )
    held = {one.case_id: one for one in chosen}
    failed = [item for item in done.items if item.error is not None]
    succeeded = [item.case for item in done.items if item.case is not None]
    known = await call.read(lambda view: _known(call, view, [item.case_id for item in failed]))
    sensitive = await call.read(lambda view: matter.sensitive_works(view, succeeded))
    return call.page(
        "batch.html",
        {
            **_vocabulary(call),
            "batch": done,
            "really": really,
            "ruling": ruling,
            "query": query,
            "succeeded": succeeded,
            "sensitive": sensitive,
            "overdue": overdue,
            "now": now,
            "failed": [(known.get(item.case_id), item.error) for item in failed],
            "chosen": [held[item.case_id] for item in done.items if item.error is None],
        },
    )


async def undo_batch(call: Call) -> Response:
    """Undo the decisions of a batch."""
    batch_id, now = call.path_id("batch", "batch"), datetime.now(UTC)
    done = await call.write(lambda t: call.parts.desk.undo_batch(t, call.actor, batch_id, now))
    query = read_query(dict(_pairs(call.field("in"))))
    count = str(len(done.items) - done.failed)
    return call.go(_queue_path(query, {"undone": count}))


async def save_view(call: Call) -> Response:
    """Keep the queue's filter under a title."""
    query, title, now = read_query(dict(_pairs(call.field("in")))), call.field("title"), datetime.now(UTC)
    await call.write(lambda t: call.parts.desk.save_view(t, call.actor, title, query.encoded, now))
    return call.go(_queue_path(query))


async def delete_view(call: Call) -> Response:
    """Drop a saved filter."""
    view_id = call.path_id("view", "saved view")
    await call.write(lambda t: call.parts.desk.delete_view(t, call.actor, view_id))
    return call.go(_queue_path(read_query(dict(_pairs(call.field("in"))))))


async def visible_report(call: Call, report_id: UUID) -> StoredReport:
    """A report that the visitor may see.

    Raises:
        NotFoundError: If there is none; the same for what is not, and for what they may not see.
    """

    def read(view: View) -> StoredReport:
        report = view.reports.get(report_id)
        if call.actor.owner not in (None, report.owner):
            raise NotFoundError(f"there is no report {report_id}")
        return report

    return await call.read(read)


def part_of(text: str) -> int:
    """Which part of a container an address asks for, from 0."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _PART_DIGITS else 0


async def subject_of(call: Call, case_id: UUID, side: str) -> Subject | None:
    """What stands for a case in lists: the reference, or the content, of its first report."""

    def read(view: View) -> Subject | None:
        reports = call.parts.desk.reports(view, call.actor, case_id, limit=1)
        if not reports:
            return None
        pair = matter.pair_of(view.reports.get(reports[0].report_id))
        return pair.work if side == "work" else pair.found

    return await call.read(read)


@dataclass(frozen=True, slots=True)
class _Read:
    """What one look at the database gave for a case's page."""

    case: Case
    strip: Sequence[tuple[StoredReport, bool]]
    chosen: StoredReport | None
    work: Any
    reference: Any
    decisions: Sequence[Decision]
    events: Sequence[Any]
    captures: Sequence[tuple[Capture, Sequence[CustodyEvent]]]
    same_site: Sequence[Case]
    same_content: Sequence[Case]
    same_uploader: Sequence[tuple[str, Sequence[Case]]]
    lists: dict[UUID, str]
    reviewers: Sequence[ApiKey]
    done: tuple[Case, Decision] | None


async def _show(
    call: Call, case_id: UUID, *, problem: ServiceError | None = None, typed: dict[str, str] | None = None
) -> Response:
    """The page of a case; with a problem, what was typed is still there."""
    params = call.request.query_params
    query = read_query(dict(_pairs(call.field("in") or params.get("in", ""))))
    wanted = _optional_id(params.get("report", "")) or _optional_id(call.field("report"))
    done = params.get("done", "")
    found = await call.read(lambda view: _read_case(call, view, case_id, wanted, done))
    part = part_of(params.get("part", "") or call.field("part"))
    shown = None if found.chosen is None else await _matter(call, found, part)
    now = datetime.now(UTC)
    status = 200
    if problem is not None:
        status = 400 if isinstance(problem, InvalidRequestError) else 409
    return call.page(
        "case.html",
        {
            **_vocabulary(call),
            "read": found,
            "case": found.case,
            "matter": shown,
            "holder": found.case.held_by(now),
            "query": query,
            "problem": problem,
            "typed": {"outcome": "", "reason": "", "note": "", **(typed or {})},
            "undone": params.get("undone", ""),
            "overdue": overdue,
            "shown_parts": SHOWN_PARTS,
            "now": now,
        },
        status=status,
    )


def _read_case(call: Call, view: View, case_id: UUID, wanted: UUID | None, done: str) -> _Read:
    desk, actor = call.parts.desk, call.actor
    case = desk.case(view, actor, case_id)
    rows = desk.reports(view, actor, case_id, limit=1000)
    # What still has to be decided comes first, of that what came last.
    rows.sort(key=lambda row: (row.covered, -row.number))
    ids = [row.report_id for row in rows]
    covered = {row.report_id: row.covered for row in rows}
    if wanted in covered and wanted not in ids[:_STRIP]:
        ids.insert(0, wanted)
    strip = [view.reports.get(one) for one in ids[:_STRIP]]
    strip.sort(key=lambda report: (covered[report.id], -report.match["probability"]))
    chosen = next((one for one in strip if one.id == wanted), strip[0] if strip else None)
    work = view.get_works([case.work_id]).get(case.work_id)
    reference = None
    captures: Sequence[tuple[Capture, Sequence[CustodyEvent]]] = ()
    same_content: list[Case] = []
    same_uploader: list[tuple[str, Sequence[Case]]] = []
    lists: dict[UUID, str] = {}
    if chosen is not None:
        reference = view.get_references([matter.reference_id(chosen)]).get(matter.reference_id(chosen))
        captures = _captures(view, chosen)
        same_content = [one for one in desk.cases_of_report(view, actor, chosen.id) if one.id != case.id]
        same_uploader = _same_uploader(call, view, case, chosen)
        for seen in chosen.sightings:
            if seen.list_id not in lists:
                try:
                    lists[seen.list_id] = view.lists.get(seen.list_id).settings.title
                except NotFoundError:
                    lists[seen.list_id] = ""
    same_site = []
    if case.site:
        others = desk.page(view, actor, CaseFilter(site=case.site), limit=_OTHERS + 1)
        same_site = [one for one in others if one.id != case.id][:_OTHERS]
    return _Read(
        case=case,
        strip=[(report, covered[report.id]) for report in strip],
        chosen=chosen,
        work=work,
        reference=reference,
        decisions=desk.decisions(view, actor, case_id),
        events=desk.history(view, actor, case_id),
        captures=captures,
        same_site=same_site,
        same_content=same_content[:_OTHERS],
        same_uploader=same_uploader,
        lists=lists,
        reviewers=[one for one in desk.reviewers(view, actor) if _may_take(one, case)],
        done=_read_done(call, view, case_id, done),
    )


def _may_take(key: ApiKey, case: Case) -> bool:
    """Whether a case can be assigned to a key."""
    return key.id == case.assignee or (key.revoked_at is None and key.owner in (None, case.owner))


def _same_uploader(
    call: Call, view: View, case: Case, report: StoredReport
) -> list[tuple[str, Sequence[Case]]]:
    """Other cases of those who put it there, as this site's pages claim."""
    named = dict.fromkeys(
        seen.seen.uploader
        for seen in report.sightings
        if seen.seen.uploader and site_of(seen.seen.page_url, seen.seen.media_url) == case.site
    )
    found: list[tuple[str, Sequence[Case]]] = []
    for uploader in list(named)[:_UPLOADERS]:
        cases = call.parts.desk.cases_of_uploader(view, call.actor, uploader, case.site)
        if others := [one for one in cases if one.id != case.id][:_OTHERS]:
            found.append((uploader, others))
    return found


def _captures(view: View, report: StoredReport) -> Sequence[tuple[Capture, Sequence[CustodyEvent]]]:
    ids = dict.fromkeys(seen.capture_id for seen in report.sightings if seen.capture_id is not None)
    found: list[tuple[Capture, Sequence[CustodyEvent]]] = []
    for capture_id in list(ids)[:_MOST_CAPTURES]:
        try:
            found.append((view.captures.get(capture_id), view.captures.custody(capture_id)))
        except NotFoundError:
            continue
    return found


def _read_done(call: Call, view: View, here: UUID | None, done: str) -> tuple[Case, Decision] | None:
    """The decision that led here, to be told: ``CASE~NUMBER``, or a number in this case."""
    text, _, number = done.rpartition("~")
    case_id = _optional_id(text) or here
    if case_id is None or not number.isdecimal():
        return None
    try:
        decided = call.parts.desk.case(view, call.actor, case_id)
        made = call.parts.desk.decisions(view, call.actor, case_id)
    except ServiceError:
        return None
    stands = next((one for one in made if one.number == int(number) and one.undone_by is None), None)
    return None if stands is None else (decided, stands)


async def _matter(call: Call, found: _Read, part: int) -> matter.Matter | None:
    report = found.chosen
    if report is None:
        return None
    spoken = words(call.preferences.language, "report")

    def look() -> matter.Matter:
        previews = call.parts.previews
        pair = matter.pair_of(report, found.reference, part)
        subjects: dict[str, Subject] = {"work": pair.work, "found": pair.found}
        known = previews.find_all(list(subjects.values()))
        sides = matter.sides_of(report, pair, known)
        passages: tuple[matter.Passage, ...] = ()
        if matter.viewer_of(*sides) == "text":

            def read(side: str, start: int, end: int) -> str:
                if Kind.TEXT not in known[subjects[side]].files:
                    return ""
                return previews.text(subjects[side], start, end)

            passages = matter.passages(pair, read)
        return matter.matter(spoken, report, pair, sides, passages, work=found.work)

    return await asyncio.to_thread(look)


async def _next(call: Call, query: Query, after: UUID | None, told: dict[str, str]) -> Response:
    """Lease the next case that may be decided, and go there; to the queue if there is none."""
    actor, now = call.actor, datetime.now(UTC)
    which = replace(
        query.filter(actor, now), states=() if query.state == "all" else (CaseState(query.state),)
    )
    if query.state in ("all", "decided"):
        which = replace(which, states=(CaseState.OPEN,))
    try:
        found = await call.write(
            lambda t: call.parts.desk.lease_next(t, actor, which, query.order, now, after=after)
        )
    except NotFoundError:
        found = None
    if found is None:
        return call.go(_queue_path(query, {**told, "empty": "1"}))
    return call.go(_case_path(found.id, query, told))


def _known(call: Call, view: View, ids: Sequence[UUID]) -> dict[UUID, Case]:
    found = {}
    for case_id in ids:
        try:
            found[case_id] = call.parts.desk.case(view, call.actor, case_id)
        except NotFoundError:
            continue
    return found


def _vocabulary(call: Call) -> dict[str, Any]:
    """What templates of cases need besides."""
    names = named(call.words)
    return {
        "names": names,
        "outcomes": [(one, names.outcome(one), REASONS[one]) for one in Outcome],
        "me": call.actor.id,
    }


def _ruling(call: Call) -> Ruling:
    outcome = next((one for one in Outcome if one.value == call.field("outcome")), None)
    if outcome is None:
        raise InvalidRequestError("outcome", "choose what the case is")
    return Ruling(outcome, call.field("reason"), call.field("note"))


def _chosen(values: Sequence[Any]) -> list[Chosen]:
    """Read ``ID~REVISION`` of each case that was ticked."""
    chosen = []
    for value in values[: MAX_BATCH + 1]:
        text, _, revision = str(value).partition("~")
        case_id = _optional_id(text)
        if case_id is None or not revision.isdecimal():
            raise InvalidRequestError("case", "is no case and revision")
        chosen.append(Chosen(case_id, int(revision)))
    return chosen


def _number(call: Call, name: str) -> int:
    text = call.field(name)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidRequestError(name, "must be a number")
    return int(text)


def _optional_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _pairs(encoded: str) -> list[tuple[str, str]]:
    """The values of an encoded filter."""
    return parse_qsl(encoded[:4000], max_num_fields=40)


def _back(call: Call, case_id: UUID, more: dict[str, str] | None = None) -> str:
    """The case's page, with the report and the part that were looked at."""
    seen = {name: call.field(name) for name in ("report", "part") if call.field(name)}
    return _case_path(case_id, read_query(dict(_pairs(call.field("in")))), {**seen, **(more or {})})


def _case_path(case_id: UUID, query: Query, more: dict[str, str]) -> str:
    values = {**({"in": query.encoded} if query.encoded else {}), **more}
    return f"/cases/{case_id}" + (f"?{urlencode(values)}" if values else "")


def _queue_path(query: Query, more: dict[str, str] | None = None) -> str:
    parts = "&".join(filter(None, [query.encoded, urlencode(more or {})]))
    return "/queue" + (f"?{parts}" if parts else "")
