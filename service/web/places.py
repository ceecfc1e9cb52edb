"""What surrounds cases: the dashboard, works, lists, events."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from starlette.responses import Response

from service.domain import Reference, Work
from service.errors import InvalidRequestError, NotFoundError
from service.reviewed import SERVER, CaseFilter, CaseOrder, CaseState, EventFilter, PrecisionKind, SubjectKind
from service.store import Transaction, View
from service.web.call import Call
from service.web.chart import trend
from service.web.filters import overdue
from service.web.matter import is_sensitive, sensitive_works
from service.web.naming import named

_PAGE: Final = 60
_DAYS: Final = 30
_SHOWN: Final = 12


async def dashboard(call: Call) -> Response:
    """How much is open, where it is, and how good the matches are."""

    def read(view: View) -> dict[str, Any]:
        desk, actor = call.parts.desk, call.actor
        now = datetime.now(UTC)
        overview = desk.overview(view, actor, days=_DAYS, most=_SHOWN)
        return {
            "overview": overview,
            "due": desk.page(
                view,
                actor,
                CaseFilter(states=(CaseState.OPEN, CaseState.WAITING), due_before=now),
                CaseOrder.DUE,  # along that order's index
                limit=6,
            ),
            "mine": desk.page(
                view,
                actor,
                CaseFilter(states=(CaseState.OPEN, CaseState.WAITING), assignee=actor.id),
                limit=6,
            ),
            "precision": {
                kind: desk.precision(view, actor, kind, limit=_SHOWN)
                for kind in (PrecisionKind.MODALITY, PrecisionKind.LIST, PrecisionKind.SIGNAL)
            },
            "flagged": desk.flagged(view, actor)[:_SHOWN],
            "suppressions": desk.suppressions(view, actor)[:_SHOWN],
        }

    values = await call.read(read)
    chart = trend(values["overview"].days, datetime.now(UTC).date(), _DAYS)
    return call.page(
        "dashboard.html", {**values, "chart": chart, "names": named(call.words), "states": CaseState}
    )


async def suppress(call: Call) -> Response:
    """Keep the matches of a reference or work back, or let them count again."""
    try:
        kind = SubjectKind(call.field("kind"))
        subject = UUID(call.field("subject"))
    except ValueError as error:
        raise InvalidRequestError("subject", "is no reference or work") from error
    now, note = datetime.now(UTC), call.field("note")

    def write(t: Transaction) -> None:
        if call.field("undo"):
            call.parts.desk.unsuppress(t, call.actor, kind, subject, now, note)
        else:
            call.parts.desk.suppress(t, call.actor, kind, subject, now, note)

    await call.write(write)
    work = call.field("work")
    return call.go(f"/works/{UUID(work)}" if work else "/#flagged")


async def works(call: Call) -> Response:
    """The registered works, newest first where a search leaves them all."""
    after = _optional_id(call.request.query_params.get("after", ""))
    external = call.request.query_params.get("id", "").strip()[:255]
    store = call.parts.catalogue.store

    def read(_: View) -> list[Work]:
        return store.list_works(
            owner=call.actor.owner, external_id=external or None, after=after, limit=_PAGE + 1
        )

    found = await call.read(read)
    more = str(found[_PAGE - 1].id) if len(found) > _PAGE else ""
    return call.page("works.html", {"works": found[:_PAGE], "more": more, "external": external})


async def work(call: Call) -> Response:
    """A work, its media, and its cases."""
    work_id = call.path_id("work", "work")
    found = await visible_work(call, work_id)
    references = [one for one in found.references or () if one.container_id is None]
    names = named(call.words)

    def read(view: View) -> dict[str, Any]:
        desk, actor = call.parts.desk, call.actor
        suppressed = {one.subject_id: one for one in desk.suppressions(view, actor) if one.work_id == work_id}
        return {
            "cases": desk.page(view, actor, CaseFilter(work_id=work_id), limit=_PAGE),
            "suppressed": suppressed,
            "precision": [
                one for one in desk.precision(view, actor, PrecisionKind.WORK) if one.key == str(work_id)
            ],
        }

    values = await call.read(read)
    return call.page(
        "work.html",
        {
            **values,
            "work": found,
            "references": references[:_PAGE],
            "more": max(0, len(references) - _PAGE),
            "marked": is_sensitive(found),
            "sensitive": {work_id} if is_sensitive(found) else (),
            "names": names,
            "overdue": overdue,
        },
    )


async def lists(call: Call) -> Response:
    """The monitoring lists."""
    after = _optional_id(call.request.query_params.get("after", ""))

    def read(view: View) -> dict[str, Any]:
        found = view.lists.page(owner=call.actor.owner, after=after, limit=_PAGE + 1)
        shown = found[:_PAGE]
        return {
            "lists": [(one, None if one.latest_run is None else _run(view, one.latest_run)) for one in shown],
            "more": str(shown[-1].id) if len(found) > _PAGE else "",
        }

    return call.page("lists.html", {**await call.read(read), "names": named(call.words)})


async def monitoring_list(call: Call) -> Response:
    """A monitoring list: what it watches, its runs, its cases."""
    list_id = call.path_id("list", "monitoring list")

    def read(view: View) -> dict[str, Any]:
        desk, actor = call.parts.desk, call.actor
        found = view.lists.get(list_id)
        if actor.owner not in (None, found.owner):
            raise NotFoundError(f"there is no monitoring list {list_id}")
        cases = desk.page(view, actor, CaseFilter(list_id=list_id), limit=_PAGE)
        return {
            "list": found,
            "runs": view.lists.runs(list_id, after=None, limit=20),
            "works": view.get_works(found.settings.works[:_PAGE]),
            "cases": cases,
            "sensitive": sensitive_works(view, cases),
            "precision": [
                one for one in desk.precision(view, actor, PrecisionKind.LIST) if one.key == str(list_id)
            ],
        }

    return call.page("list.html", {**await call.read(read), "names": named(call.words), "overdue": overdue})


async def events(call: Call) -> Response:
    """What happened, newest first; nothing here is ever erased."""
    params = call.request.query_params
    after = _optional_id(params.get("after", ""))
    actor_id = params.get("actor", "").strip()[:64]
    subject = _optional_id(params.get("subject", ""))

    def read(view: View) -> dict[str, Any]:
        desk, actor = call.parts.desk, call.actor
        which = EventFilter(subject_id=subject, actor=actor_id or None)
        found = desk.events(view, actor, which, after=after, limit=_PAGE + 1)
        ids = {one.subject_id for one in found if one.kind is SubjectKind.CASE}
        reviewers = [one.id for one in desk.reviewers(view, actor)]
        return {
            "events": found[:_PAGE],
            "more": str(found[_PAGE - 1].id) if len(found) > _PAGE else "",
            "cases": {case_id: desk.case(view, actor, case_id) for case_id in ids},
            "actors": dict.fromkeys(filter(None, [actor_id, SERVER, *reviewers])),
        }

    return call.page(
        "events.html",
        {
            **await call.read(read),
            "by": actor_id,
            "subject": subject,
            "names": named(call.words),
        },
    )


async def visible_work(call: Call, work_id: UUID) -> Work:
    """A work, with its references, that the visitor may see.

    Raises:
        NotFoundError: If there is none; the same for what is not, and for what they may not see.
    """
    store = call.parts.catalogue.store
    found = await call.read(lambda _: store.get_work(work_id))
    if call.actor.owner not in (None, found.owner):
        raise NotFoundError(f"there is no work {work_id}")
    return found


async def visible_reference(call: Call, reference_id: UUID) -> Reference:
    """A reference that the visitor may see.

    Raises:
        NotFoundError: If there is none; the same for what is not, and for what they may not see.
    """
    found = await call.read(lambda view: view.get_registered([reference_id]))
    if not found or call.actor.owner not in (None, found[0].work.owner):
        raise NotFoundError(f"there is no reference {reference_id}")
    return found[0].reference


def _run(view: View, run_id: UUID) -> Any:
    try:
        return view.lists.run(run_id)
    except NotFoundError:
        return None


def _optional_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
