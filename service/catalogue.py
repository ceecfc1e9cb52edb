"""The registered works: one store, one live index for each scheme, kept in step.

A change is committed to the store, then applied to the indexes, then acknowledged: what was acknowledged
is searchable at once. Changes that arrive together share one commit, each in a savepoint of its own, since
a commit to disk costs much more than a change (7.5 ms against well under one on a common disk).
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Any, Self, TypeVar

import numpy.typing as npt
import structlog

from indexers import registry
from indexers.errors import FingerprintError
from indexers.fingerprint import Scheme
from indexers.index import Hits
from indexers.index.live import Change, LiveIndex
from indexers.modality import Channel
from service.domain import IndexChange
from service.errors import BusyError, StaleError, StorageFullError
from service.metrics import Metrics
from service.store import RemovalsForgottenError, Store, Transaction

T = TypeVar("T")
_Operation = Callable[[Transaction], Any]

_GROUP = 256
_TICK_SECONDS = 1.0
_POLL_SECONDS = 0.02
"""Between two looks for changes of other servers while somebody waits for one."""
_RETRY_SECONDS = 0.5
"""Between two attempts to bring a committed change into the indexes."""
_BACK_OFF_SECONDS = 60.0
"""Between two attempts of maintenance that failed: to write a snapshot, or to forget."""
_FORGET_SECONDS = 3600.0
"""Between two times of forgetting. A server that falls farther behind builds its indexes anew."""
_IMPORTS_KEPT = timedelta(days=30)
"""How long an import that has ended can be asked about."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Folding:
    """When snapshots are written and old rows forgotten.

    Attributes:
        after_changes: Unfolded descriptors of a scheme from which a snapshot is written.
        after_seconds: Age of the oldest unfolded change from which a snapshot is written.
        approximate_from: Hamming descriptors from which a snapshot is a multi-index hash.
        float_approximate_from: Cosine descriptors, or rows of sound, from which a snapshot is inverted lists.
        response_hours: How long request ids are remembered.
    """

    after_changes: int
    after_seconds: float
    approximate_from: int
    float_approximate_from: int
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
        self._follower = ThreadPoolExecutor(1, thread_name_prefix="follow")
        self._folder = ThreadPoolExecutor(1, thread_name_prefix="fold")
        self._fold_not_before = dict.fromkeys(indexes, 0.0)
        self._forget_not_before = 0.0
        self._seen_removals: dict[str, int] = {}
        self._advanced = asyncio.Event()
        self._waited_for = asyncio.Event()
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
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
        far = {one.scheme.id for modality in registry.modalities() for one in modality.channels if one.far}
        indexes = {
            scheme.id: LiveIndex.open(
                scheme,
                folder / scheme.id,
                source=store.id,
                approximate_from=folding.approximate_from,
                float_approximate_from=folding.float_approximate_from,
                far=scheme.id in far,
            )
            for scheme in schemes.values()
        }
        catalogue = cls(store, indexes, folding, metrics)
        catalogue.refresh()
        return catalogue

    @property
    def sequence(self) -> int:
        """The last change that every search sees."""
        return self._sequence

    def largest_index(self, modality: str) -> int:
        """Descriptors in the largest of the indexes for a kind of media, such as ``image``; 0: none."""
        own = (
            len(index)
            for scheme, index in self.indexes.items()
            if registry.modality_of(scheme).name == modality
        )
        return max(own, default=0)

    def refresh(self) -> None:
        """Replay what the store has and the indexes have not. Blocking.

        An index that cannot follow is built anew: because the database was put back to an earlier state,
        or because it has forgotten removals that the index has not seen.
        """
        with self._apply_lock:
            target = self.store.sequence()
            for scheme, index in self.indexes.items():
                if index.sequence > target:
                    log.warning("index is newer than the database: building it anew", scheme=scheme)
                    index.rebuild(self._changes(scheme, 0, target), target)
                    continue
                try:
                    self._replay(scheme, index, target)
                except FingerprintError:  # the database's fault: another replay meets it again
                    raise
                except (RemovalsForgottenError, ValueError) as error:
                    log.warning("index cannot follow: building it anew", scheme=scheme, reason=str(error))
                    index.rebuild(self._changes(scheme, 0, target), target)
            self._moved_to(target)

    def _replay(self, scheme: str, index: LiveIndex, target: int) -> None:
        if index.sequence == target:
            return
        fold_from = self._folding.after_changes
        for changes in self._changes(scheme, index.sequence, target):
            index.apply(changes)
            # The delta is searched exhaustively; to fold costs as much as the index is large.
            if index.stats().delta >= max(fold_from, len(index) // 2):
                try:
                    index.fold()
                except OSError:
                    log.exception("no snapshot could be written during a replay; it goes on", scheme=scheme)
                    fold_from = sys.maxsize
        index.advance(target)

    def _changes(self, scheme: str, after: int, until: int) -> Iterator[list[Change]]:
        for changes in self.store.changes_since(scheme, after, until=until):
            yield [_index_change(change) for change in changes]

    def _moved_to(self, sequence: int) -> None:
        """Let searches count as having seen a change, and wake who waits for it."""
        self._sequence = sequence
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._advanced.set()
        self._advanced = asyncio.Event()

    def search(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        """Search a channel's index within its radius; see `VectorIndex.search`. Blocking.

        Raises:
            ValueError: If the channel is one that is never searched.
        """
        if channel.search is None:
            raise ValueError(f"{channel.scheme.id} is compared with candidates, never searched")
        index = self.indexes[channel.scheme.id]
        radius = channel.search.narrow_radius if index.has_tables else channel.search.radius
        return index.search(queries, radius=radius, limit=limit)

    async def start(self) -> None:
        """Begin to take changes, to follow other servers and to fold."""
        self._loop = asyncio.get_running_loop()
        loops = (self._commit_loop(), self._follow(), self._maintain())
        self._tasks = [asyncio.create_task(one) for one in loops]

    async def close(self) -> None:
        """Finish the changes that were taken; refuse others."""
        self._closing = True
        await self._queue.join()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for threads in (self._writer, self._follower, self._folder):
            await asyncio.to_thread(threads.shutdown)

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
        self._waiting += 1
        self._waited_for.set()
        try:
            while self._sequence < sequence:
                left = end - monotonic()
                if left <= 0:
                    raise StaleError(
                        f"the index has seen change {self._sequence}, not yet {sequence}; ask again, or "
                        "without min_sequence",
                        sequence=str(self._sequence),
                    )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._advanced.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._waited_for.clear()

    async def _follow(self) -> None:
        """Replay what other servers commit: each second, and more often while somebody waits for it."""
        loop = asyncio.get_running_loop()
        while True:
            if self._waiting:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_SECONDS):
                        await self._waited_for.wait()
            try:
                await loop.run_in_executor(self._follower, self._catch_up)
            except Exception:
                log.exception("the changes of other servers cannot be read; it is tried again in a second")
                await asyncio.sleep(_TICK_SECONDS)

    def _catch_up(self) -> None:
        lag = self.store.sequence() - self._sequence
        self._metrics.lag.set(max(lag, 0))
        if lag != 0:
            self.refresh()

    async def _commit_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            group = [await self._queue.get()]
            while len(group) < _GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
            live = [(operation, future) for operation, future in group if not future.cancelled()]
            if live:
                try:
                    outcomes, transaction = await loop.run_in_executor(
                        self._writer, self._commit, [operation for operation, _ in live]
                    )
                except Exception as error:  # noqa: BLE001 - the whole commit failed: tell every caller
                    outcomes = [_twin(error) for _ in live]
                else:
                    await self._make_searchable(transaction)
                _answer([future for _, future in live], outcomes)
            for _ in group:
                self._queue.task_done()

    async def _make_searchable(self, transaction: Transaction) -> None:
        """Bring a committed transaction into the indexes, however often it takes.

        What is durable is never reported as a failure. A service that stops tries once: the next start
        replays it.
        """
        loop = asyncio.get_running_loop()
        attempt = partial(self._apply, transaction)
        while True:
            try:
                await loop.run_in_executor(self._writer, attempt)
            except Exception:
                log.exception("a committed change is not searchable yet; it is tried again")
            else:
                return
            if self._closing:
                return
            await asyncio.sleep(_RETRY_SECONDS)
            attempt = partial(self.refresh)

    def _commit(self, operations: list[_Operation]) -> tuple[list[Any], Transaction]:
        """Commit; return each operation's result or error, and what the indexes have to follow."""
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
        return outcomes, transaction

    def _apply(self, transaction: Transaction) -> None:
        """Bring a committed transaction into the indexes."""
        with self._apply_lock:
            if transaction.started_at == self._sequence:
                ordered = sorted(transaction.changes, key=lambda change: change.scheme)
                for scheme, changes in groupby(ordered, key=lambda change: change.scheme):
                    if scheme in self.indexes:  # a newer version's works may be deleted here
                        self.indexes[scheme].apply([_index_change(change) for change in changes])
                for index in self.indexes.values():
                    index.advance(transaction.sequence)
                self._moved_to(transaction.sequence)
                return
        self.refresh()  # another server committed in between

    async def _maintain(self) -> None:
        """Once a second: fold, forget, and show the state in the metrics."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            await loop.run_in_executor(self._folder, self._tick)

    def _tick(self) -> None:
        self._metrics.sequence.set(self._sequence)
        for scheme, index in self.indexes.items():
            stats = index.stats()
            unfolded = stats.delta + stats.tombstones
            self._metrics.descriptors.labels(scheme).set(stats.descriptors)
            self._metrics.unfolded.labels(scheme).set(unfolded)
            if monotonic() >= self._fold_not_before[scheme]:
                try:
                    index.tidy()
                    if (
                        unfolded >= self._folding.after_changes
                        or stats.oldest_unfolded_seconds >= self._folding.after_seconds
                    ):
                        self.fold(scheme)
                except Exception:
                    log.exception(
                        "no snapshot could be written; it is tried again in a minute", scheme=scheme
                    )
                    self._fold_not_before[scheme] = monotonic() + _BACK_OFF_SECONDS
        if monotonic() >= self._forget_not_before:
            self._forget_not_before = monotonic() + _FORGET_SECONDS
            try:
                self._forget()
            except Exception:
                log.exception("nothing could be forgotten; it is tried again in a minute")
                self._forget_not_before = monotonic() + _BACK_OFF_SECONDS

    def _forget(self) -> None:
        """Drop answers and imports that are old enough, and removals that snapshots saw an hour ago."""
        now = datetime.now(UTC)
        self.store.forget_responses(now - timedelta(hours=self._folding.response_hours))
        self.store.forget_imports(now - _IMPORTS_KEPT)
        self.store.forget_removals(self._seen_removals)
        self._seen_removals = {
            scheme: self.indexes[scheme].snapshot_sequence if scheme in self.indexes else self._sequence
            for scheme in self.store.schemes
        }

    def fold(self, scheme: str) -> bool:
        """Write one scheme's snapshot now. Blocking.

        Returns:
            False if there was nothing to fold.
        """
        with self._metrics.stage("fold"):
            return self.indexes[scheme].fold()


def _answer(futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[Any]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _twin(error: Exception) -> Exception:
    """The same error for another caller: raising one object in many places mixes up its tracebacks."""
    twin: Exception = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error
    return twin


def _index_change(change: IndexChange) -> Change:
    return Change(change.sequence, change.ids, change.descriptors)
