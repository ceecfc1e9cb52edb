"""How reviewing goes on, told to those who watch the server."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from service.loop import Loop
from service.metrics import Metrics
from service.reviewed import Figures, SubjectKind
from service.store import Store

_SECONDS: Final = 15.0


class Gauges:
    """Sets the metrics of reviewing to what the database says, every so often."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        """Read from `store`."""
        self._store = store
        self._metrics = metrics
        self._loop = Loop("review metrics", self._read, _SECONDS)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    async def close(self) -> None:
        """Stop."""
        await self._loop.close()

    async def _read(self) -> None:
        now = datetime.now(UTC)
        show(self._metrics, await asyncio.to_thread(self._figures, now), now)

    def _figures(self, now: datetime) -> Figures:
        with self._store.view() as view:
            return view.reviews.figures(now)


def show(metrics: Metrics, figures: Figures, now: datetime) -> None:
    """Set the metrics.

    Args:
        metrics: Whose.
        figures: What the database says.
        now: UTC.
    """
    for state, count in figures.states.items():
        metrics.cases.labels(state.value).set(count)
    for gauge, counts in ((metrics.decisions, figures.decided), (metrics.undone, figures.undone)):
        for outcome, count in counts.items():
            gauge.labels(outcome.value).set(count)
    metrics.leases.set(figures.leased)
    oldest = figures.oldest_open_at
    metrics.oldest_open.set(0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
    for kind in (SubjectKind.REFERENCE, SubjectKind.WORK):
        metrics.suppressed.labels(kind.value).set(figures.suppressed.get(kind, 0))
