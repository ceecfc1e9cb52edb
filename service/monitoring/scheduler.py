"""Starts runs when lists are due, and ends those of lists that expired."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import structlog

from service.catalogue import Catalogue
from service.errors import NotFoundError
from service.loop import Loop
from service.metrics import Metrics
from service.monitored import RunState
from service.monitoring import events
from service.store import Transaction

_SECONDS = 1.0

log = structlog.get_logger()


class Scheduler:
    """Looks once a second for lists that are due. Plans stand in the database, so restarts lose none."""

    def __init__(self, catalogue: Catalogue, metrics: Metrics) -> None:
        """Work on `catalogue`."""
        self._catalogue = catalogue
        self._metrics = metrics
        self._loop = Loop("schedule", self._tick, _SECONDS)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def close(self) -> None:
        """Stop."""
        await self._loop.close()

    async def _tick(self) -> None:
        now = datetime.now(UTC)
        due, expired = await asyncio.to_thread(self._look, now)
        for list_id in due:
            await self._catalogue.write(partial(start_due, list_id, now))
        for run_id in expired:
            await self._catalogue.write(partial(end_expired, run_id, now))

    def _look(self, now: datetime) -> tuple[list[UUID], list[UUID]]:
        with self._catalogue.store.view() as view:
            counts = view.lists.active_counts()
            for state in (RunState.PENDING, RunState.RUNNING):
                self._metrics.runs.labels(state.value).set(counts.get(state, 0))
            return view.lists.due(now), view.lists.expired_runs(now)


def start_due(list_id: UUID, now: datetime, transaction: Transaction) -> None:
    """Start the run of a list that is due, and plan the next; what was missed is made up for once.

    A list whose last run still goes on gets no second one.
    """
    try:
        known = transaction.lists.get(list_id)
    except NotFoundError:  # deleted meanwhile
        return
    schedule, planned = known.settings.schedule, known.next_run_at
    if planned is None or planned > now:  # another server was faster
        return
    if schedule is None or not known.active(now):
        transaction.lists.set_next_run(list_id, None)
        return
    transaction.lists.set_next_run(list_id, schedule.next_after(planned, now))
    run, new = transaction.lists.start_run(list_id, now, scheduled=True)
    log.info("list is due", list=str(list_id), run=str(run.id), new=new)


def end_expired(run_id: UUID, now: datetime, transaction: Transaction) -> None:
    """End a run whose list has expired."""
    run = transaction.lists.cancel_run(run_id, now, "the list has expired")
    transaction.reports.tell(run.list_id, events.RUN_ENDED, events.run_ended(run, now), now)
