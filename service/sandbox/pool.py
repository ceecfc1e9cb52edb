"""Worker processes that take media items in turn, and are replaced when one dies."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import replace
from typing import Any, BinaryIO, Protocol, TypeVar

import structlog

from indexers.containers import Part
from indexers.modality import MediaLimits, Role
from indexers.networks import UserNetwork
from indexers.previews import Facts, Kind
from service.errors import BusyError, StartupError, UnreadableMediaError
from service.sandbox import wire
from service.sandbox.confine import TimeLimit
from service.sandbox.patience import TIMEOUT, Patience
from service.sandbox.process import ForkServer, WorkerDiedError, WorkerProcess, WorkerUnfitError
from service.sandbox.reading import Reading
from service.sandbox.wire import ReadMedia

_GRACE_SECONDS = 1.0
"""How long an item whose caller has gone may go on: finishing a small one costs less than a new process."""

_ITEMS_PER_WORKER = 5000
"""After so many a worker is replaced, so that leaks and fragmented memory end with it."""

_RESTART_SECONDS = 1.0
"""Pause after a worker could not be started."""

log = structlog.get_logger()

A = TypeVar("A", ReadMedia, wire.Listing, wire.Ended)
"""What a worker answers where it does not refuse."""


class _UnwantedError(Exception):
    """A worker writes something that is not wanted; the cause says why."""


class Received(Protocol):
    """Takes the files of a preview while a worker writes them. What it raises ends that."""

    def write(self, kind: Kind, at: int, piece: bytes) -> None:
        """Put a piece of at most 1 MiB into a file, at a place in bytes."""
        ...

    def end(self, kind: Kind, facts: Facts) -> None:
        """A file is complete."""
        ...


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ignore(_cause: str) -> None:
    """Take no notice of a death."""


async def _all_stages(_read: ReadMedia) -> Collection[int] | None:
    """Want to know all, whatever was found."""
    return wire.ALL


class Pool:
    """Reads untrusted media in processes of its own. Belongs to one event loop.

    A worker that crashes, or is killed because it takes too long, costs the item that it was reading one
    error; it is replaced at once, and the other workers go on.
    """

    def __init__(
        self,
        *,
        workers: int,
        memory_mb: int,
        seconds: float,
        seconds_per_mb: float = 0.0,
        seconds_per_hour: float = 0.0,
        queue_limit: int,
        limits: MediaLimits,
        network: UserNetwork | None = None,
        forks: ForkServer | None = None,
        on_death: Callable[[str], None] = _ignore,
    ) -> None:
        """Describe the pool; `start` makes it.

        Args:
            workers: Number of processes; 0: one for each core that this process may use.
            memory_mb: Address space that reading an item may take, in MiB, above what a worker starts with.
            seconds: Longest time that reading an item may take, by the clock, once its turn has come.
            seconds_per_mb: How much longer for each MiB that its file has: hours of sound take minutes.
            seconds_per_hour: How much longer for each hour of sound or film that was read of it.
            queue_limit: Most items that wait for their turn.
            limits: What an item may ask for.
            network: What describes pictures; None: what ships.
            forks: What starts the workers, and is not closed by `close`; None: one of its own.
            on_death: Told why a worker died: a signal's name, ``exit N``, ``timeout``, ``cancelled``,
                ``wire`` (its answer made no sense), ``unwanted`` (the preview that it wrote was too large, or
                there was no room for it), ``stuck``, ``unfit`` (a network cannot be loaded),
                ``orphaned`` (the process that workers are forked from has ended). A worker that was
                replaced for its age, or stopped by `close`, did not die.
        """
        self._count = workers or _cores()
        self._memory_mb = memory_mb
        self._limit = TimeLimit(seconds, seconds_per_mb, seconds_per_hour)
        self._queue_limit = queue_limit
        self._limits = limits
        self._network = network
        self._forks = forks or ForkServer()
        self._owns_forks = forks is None
        self._on_death = on_death
        # The one that was busy last goes first: what it works with is in the processor's caches still.
        self._idle: asyncio.Queue[WorkerProcess | None] = asyncio.LifoQueue()
        self._waiting = 0
        self._closing = False
        self._reading: set[asyncio.Task[Any]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._stopping: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the workers; return when all of them can take items.

        Raises:
            StartupError: If one cannot be started.
        """
        started = await asyncio.gather(
            *(self._new_worker() for _ in range(self._count)), return_exceptions=True
        )
        failures = [outcome for outcome in started if isinstance(outcome, BaseException)]
        for outcome in started:
            if isinstance(outcome, WorkerProcess):
                self._idle.put_nowait(outcome)
        if failures:
            await self.close()
            unfit = next((one for one in failures if isinstance(one, WorkerUnfitError)), None)
            if unfit is not None:
                raise StartupError(unfit.reason) from unfit
            raise StartupError(
                f"a worker process ended while it started ({failures[0]}): "
                "see its output above; memory or process limits may be too low"
            ) from failures[0]

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._count

    @property
    def closing(self) -> bool:
        """Whether it takes no more items."""
        return self._closing

    def seconds(self, byte_count: int) -> float:
        """How long reading an item of this size may take."""
        return self._limit.of(byte_count)

    @property
    def waiting(self) -> int:
        """Number of items that wait for their turn."""
        return self._waiting

    async def read(
        self,
        media: BinaryIO,
        *,
        role: Role,
        modality: str | None = None,
        part: Part | None = None,
        show: bool = False,
        consider: Callable[[ReadMedia], Awaitable[Collection[int] | None]] = _all_stages,
        reading: Reading | None = None,
    ) -> ReadMedia:
        """Read a media item in the next worker that is free.

        If the caller is cancelled, a waiting item leaves the queue; one that is being read gets a second
        to finish, then its worker is replaced.

        Args:
            media: A file with a descriptor: `spool` makes one of bytes. The worker reads the file from its
                beginning and cannot change it; its position here does not move.
            role: What the fingerprints are for.
            modality: Kind of media; None: detect it, or take that of `part`.
            part: One that `list_parts` gave: that part is read; None: the file itself.
            show: Whether to make its preview as well, if it is a kind of media whose previews are made at
                once (`wire.SHOWN_AT_ONCE`). If that fails, the item is read none the less.
            consider: Given what each stage found, tells which views are worth a closer look in the next one,
                `wire.ALL` for all; None: nothing more is wanted. The worker waits for it. What it raises ends
                the reading.
            reading: Kept up to date with how many seconds of a sound or film were read.

        Returns:
            What all stages found that were read.

        Raises:
            UnreadableMediaError: If the item cannot be read; `reason` says why.
            BusyError: If too many items wait already, or the pool closes.
        """
        request = wire.Request(role, modality, self._limits, show=show)
        if part is not None:
            request = wire.Request(role, part.modality, self._limits, part.place, part.byte_count, show)

        async def converse(worker: WorkerProcess, descriptor: int) -> ReadMedia | wire.Refusal:
            patience = self._patience(worker, descriptor, request.byte_count, reading)
            packed = wire.pack_request(request)
            asked = worker.ask(packed, descriptor, patience.read, followed=request.show)
            return await self._stages(worker, request, asked, consider, patience)

        return await self._in_turn(media, converse)

    async def list_parts(self, media: BinaryIO) -> wire.Listing:
        """List what is in a container, in the next worker that is free; as `read`.

        Raises:
            UnreadableMediaError: If it cannot be opened, or holds nothing that can be read.
            BusyError: If too many items wait already, or the pool closes.
        """
        request = wire.ListRequest(self._limits)

        async def converse(worker: WorkerProcess, descriptor: int) -> wire.Listing | wire.Refusal:
            with self._patience(worker, descriptor).running():
                answer = await worker.ask(wire.pack_request(request), descriptor)
            return wire.unpack_listing(*answer, request)

        return await self._in_turn(media, converse)

    async def preview(
        self,
        media: BinaryIO,
        modality: str,
        received: Received,
        *,
        max_bytes: int,
        part: Part | None = None,
        patient: bool = False,
    ) -> None:
        """Make what people are shown of a media item, in the next worker that is free; as `read`.

        The worker may have been taken over by the item: what it writes is anything, of any size.

        Args:
            media: As in `read`.
            modality: Kind of media.
            received: Takes the files.
            max_bytes: Of one file; an honest worker stops there, about.
            part: As in `read`.
            patient: Whether the worker is to leave the processor to others from now on, whatever it reads.

        Raises:
            UnreadableMediaError: If it cannot be made.
            BusyError: If too many items wait already, or the pool closes.
        """
        place, byte_count = (None, 0) if part is None else (part.place, part.byte_count)
        request = wire.PreviewRequest(modality, self._limits, max_bytes, place, byte_count, patient=patient)

        async def converse(worker: WorkerProcess, descriptor: int) -> wire.Ended | wire.Refusal:
            try:
                with self._patience(worker, descriptor, byte_count).running():
                    asked = worker.ask(wire.pack_request(request), descriptor)
                    while True:
                        answer = wire.unpack_preview(*await asked)
                        match answer:
                            case wire.Written(kind, at, piece):
                                received.write(kind, at, piece)
                            case wire.Ended(kind, facts) if kind is not None:
                                received.end(kind, facts)
                            case _:
                                return answer
                        asked = worker.ask_on()
            except (WorkerDiedError, wire.WireError):
                raise
            except Exception as error:  # what was received is not wanted, and the worker waits to go on
                worker.kill("unwanted")
                raise _UnwantedError from error

        await self._in_turn(media, converse)

    def _patience(
        self, worker: WorkerProcess, descriptor: int, byte_count: int = 0, reading: Reading | None = None
    ) -> Patience:
        """With a worker that reads a file, or an item of this size in it."""
        size = max(os.fstat(descriptor).st_size, byte_count)
        return Patience(worker.kill, self._limit, size, self._limits.max_seconds, reading or Reading())

    async def _in_turn(
        self,
        media: BinaryIO,
        converse: Callable[[WorkerProcess, int], Awaitable[A | wire.Refusal]],
    ) -> A:
        """Talk to the next worker that is free about a file."""
        worker = await self._turn()
        try:
            descriptor = os.open(f"/dev/fd/{media.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self._idle.put_nowait(worker)
            raise
        task = asyncio.create_task(self._talk(worker, converse(worker, descriptor)))
        self._reading.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            grace = asyncio.get_running_loop().call_later(_GRACE_SECONDS, worker.kill, "cancelled")
            task.add_done_callback(lambda _: grace.cancel())
            raise

    async def close(self) -> None:
        """Refuse new and waiting items, let those being read finish within their time, stop the workers."""
        self._closing = True
        for _ in range(self._waiting):
            self._idle.put_nowait(None)
        await asyncio.gather(*self._reading, return_exceptions=True)
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, *self._stopping, return_exceptions=True)
        idle = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        await asyncio.gather(*(worker.stop() for worker in idle if worker))
        if self._owns_forks:
            await asyncio.to_thread(self._forks.close)

    async def _turn(self) -> WorkerProcess:
        """Wait for a worker."""
        if self._idle.empty() and self._waiting >= self._queue_limit:
            raise BusyError(f"{self._waiting} media items wait to be read already: try again later")
        while not self._closing:
            self._waiting += 1
            try:
                worker = await self._idle.get()
            finally:
                self._waiting -= 1
            if worker is None:
                break
            if worker.alive:
                return worker
            self._replace(worker, died=True)
        raise BusyError("the server is stopping: try another one, or again later")

    async def _talk(self, worker: WorkerProcess, conversation: Awaitable[A | wire.Refusal]) -> A:
        try:
            answer = await conversation
        except WorkerDiedError as death:
            self._on_death(death.cause)
            _keep(self._starting, self._start_worker())
            raise _error(death.cause) from death
        except wire.WireError as error:
            worker.kill("wire")
            self._replace(worker, died=True)
            raise _error("wire") from error
        except _UnwantedError as error:
            self._replace(worker, died=True)
            raise error.__cause__ or error from None
        except BaseException:  # what `consider` raised
            self._release(worker)
            raise
        self._release(worker)
        if isinstance(answer, wire.Refusal):
            raise UnreadableMediaError(answer.reason, answer.message)
        return answer

    async def _stages(
        self,
        worker: WorkerProcess,
        request: wire.Request,
        asked: Awaitable[tuple[bytes, bytes]],
        consider: Callable[[ReadMedia], Awaitable[Collection[int] | None]],
        patience: Patience,
    ) -> ReadMedia | wire.Refusal:
        """Take the stage that was asked for, and ask for more; each may take the time that an item may."""
        read: ReadMedia | None = None
        stage = 1
        while True:
            with patience.running():
                answer = wire.unpack_answer(*await asked, request, stage)
            if isinstance(answer, wire.Refusal):
                return answer
            read = answer if read is None else read.followed_by(answer)
            wanted: Collection[int] | None = None
            try:
                found = await consider(answer)
                wanted = found if answer.more else None
            finally:
                if answer.more and wanted is None:
                    await worker.dismiss()
            if wanted is None:
                break
            asked = worker.ask_on(wanted, patience.read, followed=request.show)
            stage += 1
        if request.show and read.modality in wire.SHOWN_AT_ONCE:
            read = replace(read, shown=await self._shown(worker, patience))
        return read

    @staticmethod
    async def _shown(
        worker: WorkerProcess, patience: Patience
    ) -> tuple[wire.ShownFile, ...] | UnreadableMediaError:
        """The preview that a worker makes after its answer, or why there is none."""
        try:
            with patience.running():
                answer = wire.unpack_shown(*await worker.listen())
        except WorkerDiedError as death:
            return _error(death.cause)
        except wire.WireError:
            worker.kill("wire")
            return _error(await worker.stop())
        if isinstance(answer, wire.Refusal):
            return UnreadableMediaError(answer.reason, answer.message)
        return answer

    def _release(self, worker: WorkerProcess) -> None:
        """Let it take the next item, or replace it: for its age, its end in a preview, or its chatter."""
        if worker.ahead:
            worker.kill("wire")
        if worker.ended or worker.ahead:
            self._replace(worker, died=True)
        elif worker.served < _ITEMS_PER_WORKER:
            self._idle.put_nowait(worker)
        else:
            self._replace(worker, died=False)

    def _replace(self, worker: WorkerProcess, *, died: bool) -> None:
        """Start a worker in the place of one that is dead, or that has to go."""
        _keep(self._stopping, self._stop(worker, died=died))
        _keep(self._starting, self._start_worker())

    async def _stop(self, worker: WorkerProcess, *, died: bool) -> None:
        cause = await worker.stop()
        if died:
            self._on_death(cause)

    async def _start_worker(self) -> None:
        while not self._closing:
            try:
                worker = await self._new_worker()
            except (WorkerDiedError, OSError) as error:
                self._on_death(error.cause if isinstance(error, WorkerDiedError) else "start")
                log.warning("no worker can be started", reason=str(error))
                await asyncio.sleep(_RESTART_SECONDS)
            else:
                self._idle.put_nowait(worker)
                return

    async def _new_worker(self) -> WorkerProcess:
        return await WorkerProcess.start(
            self._forks, memory_mb=self._memory_mb, limit=self._limit, network=self._network
        )

    def _forget(self, task: asyncio.Task[Any]) -> None:
        """Drop a finished item; nobody may be left to look at its error."""
        self._reading.discard(task)
        task.exception()


async def read_twice(pool: Pool, media: BinaryIO, *, role: Role, part: Part | None = None) -> ReadMedia:
    """As `Pool.read`, and once more where it took too long: a busy machine may be why."""
    try:
        return await pool.read(media, role=role, part=part)
    except UnreadableMediaError as error:
        if error.reason != "MEDIA_TIMEOUT":
            raise
    return await pool.read(media, role=role, part=part)


def _error(cause: str) -> UnreadableMediaError:
    if cause in {TIMEOUT, "SIGXCPU"}:
        return UnreadableMediaError(
            "MEDIA_TIMEOUT",
            "reading it took longer than it may: send a smaller version of it, or parts of it",
        )
    return UnreadableMediaError(
        "MEDIA_CRASHED",
        f"the process that read it ended ({cause}): the file is damaged or hostile; save it again in "
        "another format",
    )


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Run in the background, where `tasks` keeps the task alive until it is done."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
