"""The registered works: one store, one live index for each scheme, kept in step.

A change is committed to the store, then applied to the indexes, then acknowledged: what was acknowledged
is searchable at once. Changes that arrive together share one commit, each in a savepoint of its own, since
a commit to disk costs much more than a change (7.5 ms against well under one on a common disk).
"""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Any, Self, TypeVar

import numpy.typing as npt
import structlog

from indexers.fingerprint import Scheme
from indexers.index import Hits
from indexers.index.live import Change, LiveIndex
from indexers.modality import Channel
from service.domain import IndexChange
from service.errors import BusyError, StaleError, StorageFullError
from service.metrics import Metrics
from service.store import Store, Transaction

T = TypeVar("T")
_Operation = Callable[[Transaction], Any]

_GROUP = 256
_TICK_SECONDS = 1.0
_POLL_SECONDS = 0.02
_IMPORTS_KEPT = timedelta(days=30)
"""How long an import that has ended can be asked about."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Folding:
    """When snapshots are written and old rows forgotten.

    Attributes:
        after_changes: Unfolded descriptors of a scheme from which a snapshot is written.
        after_seconds: Age of the oldest unfolded change from which a snapshot is written.
        approximate_from: Descriptors from which a snapshot is a multi-index hash.
        response_hours: How long request ids are remembered.
    """

    after_changes: int
    after_seconds: float
    approximate_from: int
    response_hours: float


class Catalogue:
    """Store and indexes as one: write, then search what was written.

    Use as ``catalogue = Catalogue.open(...)``, ``await catalogue.start()``, …, ``await catalogue.close()``.
    """

    def __init__(
        self, store: Store, indexes: Mapping[str, LiveIndex], folding: Folding, metrics: Metrics
    ) -> None:
        """Take parts that are already in step; `open` brings them there."""
        self.store = store
        self.indexes = indexes
        self._folding = folding
        self._metrics = metrics
        self._sequence = min((index.sequence for index in indexes.values()), default=0)
        self._apply_lock = threading.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._folder = ThreadPoolExecutor(1, thread_name_prefix="fold")
        self._queue: asyncio.Queue[tuple[_Operation, asyncio.Future[Any]]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @classmethod
    def open(
        cls, store: Store, folder: Path, schemes: Mapping[str, Scheme], folding: Folding, metrics: Metrics
    ) -> Self:
        """Load the snapshots in `folder` and replay what the store has beyond them.

        Raises:
            OSError: If the folder cannot be read or made.
        """
        committed = store.sequence()
        indexes = {}
        for scheme in schemes.values():
            path = folder / scheme.id
            index = LiveIndex.open(scheme, path, approximate_from=folding.approximate_from)
            if index.sequence > committed:  # the database was put back to an earlier state
                log.warning("index is newer than the database: building it anew", scheme=scheme.id)
                shutil.rmtree(path)
                index = LiveIndex.open(scheme, path, approximate_from=folding.approximate_from)
            indexes[scheme.id] = index
        catalogue = cls(store, indexes, folding, metrics)
        catalogue.refresh()
        return catalogue

    @property
    def sequence(self) -> int:
        """The last change that every search sees."""
        return self._sequence

    @property
    def largest_index(self) -> int:
        """Descriptors in the largest of the indexes."""
        return max((len(index) for index in self.indexes.values()), default=0)

    def refresh(self) -> None:
        """Replay what the store has and the indexes have not. Blocking."""
        with self._apply_lock:
            target = self.store.sequence()
            for scheme, index in self.indexes.items():
                for changes in self.store.changes_since(scheme, index.sequence, until=target):
                    index.apply([_index_change(change) for change in changes])
                    if index.stats().delta >= self._folding.after_changes:
                        index.fold()  # a long replay: the delta is searched exhaustively
                index.advance(target)
            self._sequence = max(self._sequence, target)

    def search(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        """Search one scheme's index within its channel's radius; see `VectorIndex.search`. Blocking."""
        index = self.indexes[channel.scheme.id]
        radius = channel.narrow_radius if index.has_tables else channel.radius
        return index.search(queries, radius=radius, limit=limit)

    async def start(self) -> None:
        """Begin to take changes and to fold."""
        self._tasks = [asyncio.create_task(self._commit_loop()), asyncio.create_task(self._maintain())]

    async def close(self) -> None:
        """Finish the changes that were taken; refuse others; close the store."""
        self._closing = True
        await self._queue.join()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._writer.shutdown()
        self._folder.shutdown()
        self.store.close()

    async def write(self, operation: Callable[[Transaction], T]) -> T:
        """Run `operation` in the next commit; return its result once it is durable and searchable.

        `operation` runs in another thread, in a savepoint: what it raises undoes it alone.

        Raises:
            BusyError: If the service is stopping.
            StorageFullError: If the disk is full: nothing of this commit happened.
            ServiceError: What `operation` raises.
        """
        if self._closing:
            raise BusyError("the server is stopping; send the request to another, or again later")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        await self._queue.put((operation, future))
        return await future

    async def wait_for(self, sequence: int, *, seconds: float) -> None:
        """Wait until searches see the change `sequence`.

        Raises:
            StaleError: If they do not within `seconds`.
        """
        end = monotonic() + seconds
        while self._sequence < sequence:
            if await asyncio.to_thread(self._behind):
                await asyncio.to_thread(self.refresh)
                continue
            if monotonic() >= end:
                raise StaleError(
                    f"the index has seen change {self._sequence}, not yet {sequence}; ask again, or "
                    "without min_sequence",
                    sequence=str(self._sequence),
                )
            await asyncio.sleep(_POLL_SECONDS)

    def _behind(self) -> bool:
        """Whether another server has committed changes that this one has not replayed yet."""
        return self.store.sequence() > self._sequence

    async def _commit_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            group = [await self._queue.get()]
            while len(group) < _GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            live = [(operation, future) for operation, future in group if not future.cancelled()]
            try:
                outcomes = await loop.run_in_executor(
                    self._writer, self._commit, [operation for operation, _ in live]
                )
            except Exception as error:  # noqa: BLE001 - the whole commit failed: tell every caller
                outcomes = [error] * len(live)
            for (_, future), outcome in zip(live, outcomes, strict=True):
                if future.cancelled():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
            for _ in group:
                self._queue.task_done()

    def _commit(self, operations: list[_Operation]) -> list[Any]:
        outcomes: list[Any] = []
        with self._metrics.stage("commit"):
            with self.store.transaction() as transaction:
                for operation in operations:
                    try:
                        with transaction.savepoint():
                            outcomes.append(operation(transaction))
                    except StorageFullError:
                        raise
                    except Exception as error:  # noqa: BLE001 - one bad change never sinks the others
                        outcomes.append(error)
            self._metrics.commits.observe(len(operations))
            self._apply(transaction)
        return outcomes

    def _apply(self, transaction: Transaction) -> None:
        """Bring a committed transaction into the indexes."""
        with self._apply_lock:
            if transaction.started_at == self._sequence:
                ordered = sorted(transaction.changes, key=lambda change: change.scheme)
                for scheme, changes in groupby(ordered, key=lambda change: change.scheme):
                    self.indexes[scheme].apply([_index_change(change) for change in changes])
                for index in self.indexes.values():
                    index.advance(transaction.sequence)
                self._sequence = transaction.sequence
                return
        self.refresh()  # another server committed in between

    async def _maintain(self) -> None:
        """Once a second: follow other servers, fold, forget, and show the state in the metrics."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                await loop.run_in_executor(self._folder, self._tick)
            except Exception:
                log.exception("maintenance failed; it is tried again in a second")

    def _tick(self) -> None:
        lag = self.store.sequence() - self._sequence
        self._metrics.lag.set(max(lag, 0))
        self._metrics.sequence.set(self._sequence)
        if lag > 0:
            self.refresh()
        folded = False
        for scheme, index in self.indexes.items():
            stats = index.stats()
            unfolded = stats.delta + stats.tombstones
            self._metrics.descriptors.labels(scheme).set(stats.descriptors)
            self._metrics.unfolded.labels(scheme).set(unfolded)
            if (
                unfolded >= self._folding.after_changes
                or stats.oldest_unfolded_seconds >= self._folding.after_seconds
            ):
                folded |= self.fold(scheme)
        if folded:
            self._forget()

    def _forget(self) -> None:
        now = datetime.now(UTC)
        self.store.forget_responses(now - timedelta(hours=self._folding.response_hours))
        self.store.forget_imports(now - _IMPORTS_KEPT)

    def fold(self, scheme: str) -> bool:
        """Write one scheme's snapshot now; forget the deletions that it holds. Blocking.

        Returns:
            False if there was nothing to fold.
        """
        with self._metrics.stage("fold"):
            folded = self.indexes[scheme].fold()
        if folded:
            self.store.forget_removals({scheme: self.indexes[scheme].snapshot_sequence})
        return folded


def _index_change(change: IndexChange) -> Change:
    return Change(change.sequence, change.ids, change.descriptors)
