"""Makes previews: small ones while their references are registered, long ones afterwards, in turn.

A picture's or a text's preview costs little beside registering it. That of a film or a sound costs as much or
more: what it is made of is kept until it is made, and the reference is registered meanwhile. Previews of
captured contents are made of their captures, once there is a report on them.

Whatever becomes of a preview, its reference is registered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import structlog

from indexers.containers import Part
from service.blobs import Blobs, cut_out
from service.catalogue import Catalogue
from service.domain import CONTAINER
from service.errors import BusyError, NotFoundError, ServiceError, StorageFullError, UnreadableMediaError
from service.loop import Loop
from service.metrics import Metrics
from service.previewed import Job, NewPreview, Place, PreviewFile, PreviewState, Source, Subject
from service.previews.files import MAX_BYTES, Receiver, Shown
from service.previews.keeping import Keeping
from service.previews.pins import Pins
from service.sandbox import SHOWN_AT_ONCE, Pool, ReadMedia
from service.store import Transaction

T = TypeVar("T")

_AT_ONCE: Final = 64
_ERASED_AT_ONCE: Final = 50
_SECONDS: Final = 1.0
"""Between two looks for what there is to make and to erase."""
_LOST_AFTER: Final = timedelta(days=1)
"""From when on a file that is not here is not elsewhere either: each server keeps what was sent to it."""

log = structlog.get_logger()


class PreviewMaker:
    """Makes the previews of references and of captured contents, and erases those that nobody needs."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        pool: Pool,
        spare: Callable[[], Pool],
        blobs: Blobs,
        captured: Blobs,
        scratch: Path,
        metrics: Metrics,
        most_kept_bytes: int,
    ) -> None:
        """Take the parts.

        Args:
            catalogue: The works, and the store.
            pool: Makes previews while references are registered.
            spare: Gives a pool that is not started yet, which makes the others, so that nothing waits for
                them. Asked when there is one to make.
            blobs: Where previews are; nothing else may be there.
            captured: Where captures are.
            scratch: Folder for files that are being written.
            metrics: Where it is counted.
            most_kept_bytes: Of all files that previews are still to be made of. From there on they are made
                while the references are registered: who registers waits, so that the disk does not fill up.
        """
        self._catalogue = catalogue
        self._pool = pool
        self._new_spare = spare
        self._spare: Pool | None = None
        self._blobs = blobs
        self._captured = captured
        self._scratch = scratch
        self._metrics = metrics
        self._most_kept_bytes = most_kept_bytes
        self._pins = Pins()
        self._keeping = Keeping(blobs)
        self._swept = False
        self._elsewhere: set[Subject] = set()
        self._making = Loop("previews", self._make, _SECONDS)
        self._erasing = Loop("erasing previews", self._erase, _SECONDS)

    def start(self) -> None:
        """Begin, or go on with what an earlier run left."""
        self._making.start()
        self._erasing.start()

    def wake(self) -> None:
        """Say that there is something to make or to erase."""
        self._making.wake()
        self._erasing.wake()

    async def close(self) -> None:
        """Stop; what is not done yet is done after the next start."""
        await self._making.close()
        await self._erasing.close()
        if self._spare is not None:
            await self._spare.close()

    @asynccontextmanager
    async def kept(
        self, media: BinaryIO, read: ReadMedia, *, wanted: bool
    ) -> AsyncIterator[Mapping[Place, NewPreview]]:
        """Make previews of what is about to be registered, or keep it until they are made.

        The references have to be committed before the context is left: what no row speaks of by then is
        erased.

        Args:
            media: The file.
            read: What was found in it; its digest and size are vouched for.
            wanted: Whether the work's owner wants previews.

        Yields:
            The previews: of the file, or of a container's parts, by their places.
        """
        with self._pins.pinned() as pin:
            prepared = await self._prepared(media, read, pin) if wanted else _not_kept(read)
            yield prepared
        if any(one.state is PreviewState.PENDING for one in prepared.values()):
            self._making.wake()

    async def _prepared(
        self, media: BinaryIO, read: ReadMedia, pin: Callable[[bytes], None]
    ) -> dict[Place, NewPreview]:
        items: list[tuple[Part | None, str]] = [(None, read.modality)]
        if read.modality == CONTAINER:
            items = [(part, part.modality) for part, _ in read.parts]
        previews: dict[Place, NewPreview] = {}
        later: list[tuple[Part | None, str]] = []
        for some in _groups(items, max(1, self._pool.workers)):
            made = await asyncio.gather(
                *(self._at_once(media, part, kind, pin, read.shown) for part, kind in some)
            )
            for (part, kind), preview in zip(some, made, strict=True):
                if preview is None:
                    later.append((part, kind))
                else:
                    previews[_place(part)] = preview
        if not later:
            return previews
        if await asyncio.to_thread(self._kept_bytes) + read.byte_count > self._most_kept_bytes:
            for part, kind in later:
                previews[_place(part)] = await self._tried(media, kind, part, pin)
            return previews
        pin(read.sha256)
        try:
            await asyncio.to_thread(self._blobs.put, read.sha256, media)
        except (StorageFullError, OSError) as error:
            failed = _failed(error)
            return previews | {_place(part): failed for part, _ in later}
        for part, _ in later:
            part_bytes = 0 if part is None else part.byte_count
            source = Source(read.sha256, read.byte_count, _place(part), part_bytes)
            previews[_place(part)] = NewPreview(PreviewState.PENDING, source=source)
        return previews

    async def _at_once(
        self,
        media: BinaryIO,
        part: Part | None,
        modality: str,
        pin: Callable[[bytes], None],
        shown: Shown,
    ) -> NewPreview | None:
        """A preview that is made now, or was while the item was read; None: later."""
        if modality not in SHOWN_AT_ONCE:
            return None
        try:
            return await self._made(media, modality, part, pin, shown=shown)
        except StorageFullError as error:
            return _failed(error)
        except BusyError:
            return None

    async def _tried(
        self, media: BinaryIO, modality: str, part: Part | None, pin: Callable[[bytes], None]
    ) -> NewPreview:
        try:
            return await self._made(media, modality, part, pin)
        except (BusyError, StorageFullError) as error:
            return _failed(error)

    async def _made(
        self,
        media: BinaryIO,
        modality: str,
        part: Part | None,
        pin: Callable[[bytes], None],
        *,
        patient: Pool | None = None,
        shown: Shown = None,
    ) -> NewPreview:
        """A preview whose files are kept, or one that failed.

        Args:
            media: The file.
            modality: Kind of media.
            part: Which part of it; None: itself.
            pin: Holds files.
            patient: What makes it, where nobody waits for it; None: the pool that others use too.
            shown: What it is, or why there is none; None: it is to be made.

        Raises:
            BusyError: If too many media wait to be read.
            StorageFullError: If there is no room for it.
        """
        try:
            if shown is not None:
                files = await self._keeping.keep(shown, pin)
            else:
                with Receiver(self._scratch) as receiver:
                    with self._metrics.stage("preview"):
                        await (patient or self._pool).preview(
                            media,
                            modality,
                            receiver,
                            max_bytes=MAX_BYTES,
                            part=part,
                            patient=patient is not None,
                        )
                    files = await asyncio.to_thread(self._keep, receiver, pin)
        except (BusyError, StorageFullError):
            raise
        except Exception as error:
            if not isinstance(error, ServiceError):
                log.exception("a preview failed")
            self._metrics.previews.labels("failed").inc()
            return _failed(error)
        self._metrics.previews.labels("made").inc()
        return NewPreview(PreviewState.READY, files=files)

    def _keep(self, receiver: Receiver, pin: Callable[[bytes], None]) -> tuple[PreviewFile, ...]:
        kept = []
        for file, sha256, size in receiver.checked():
            pin(sha256)
            self._blobs.put(sha256, file.content)
            kept.append(PreviewFile(file.kind, sha256, size, file.facts))
        return tuple(kept)

    def _kept_bytes(self) -> int:
        with self._catalogue.store.view() as view:
            return view.previews.waiting()[1]

    async def _make(self) -> None:
        """Make what is still to be made."""
        while jobs := await asyncio.to_thread(self._look):
            for job in jobs:
                await self._finish(job, await self._started())

    def _look(self) -> list[Job]:
        with self._catalogue.store.view() as view:
            waiting = view.previews.waiting()[0]
            self._metrics.previews_waiting.set(waiting)
            jobs = view.previews.pending(_AT_ONCE + len(self._elsewhere)) if waiting else []
        return [job for job in jobs if job.subject not in self._elsewhere]

    async def _started(self) -> Pool:
        """The spare pool, ready."""
        if self._spare is None:
            spare = self._new_spare()
            await spare.start()
            self._spare = spare
        return self._spare

    async def _finish(self, job: Job, pool: Pool) -> None:
        with self._pins.pinned() as pin:
            made = await self._done(job, pool, pin)
            if made is None:
                self._elsewhere.add(job.subject)
                return
            await self._catalogue.write(
                lambda transaction: transaction.previews.finish(job.subject, made, datetime.now(UTC))
            )

    async def _done(self, job: Job, pool: Pool, pin: Callable[[bytes], None]) -> NewPreview | None:
        """What becomes of a pending preview; None: another server may have what it is to be made of.

        Raises:
            BusyError, StorageFullError: If it has to be tried again.
        """
        try:
            media, part = await asyncio.to_thread(self._open, job)
        except NotFoundError as error:
            lost = datetime.now(UTC) - job.created_at > _LOST_AFTER
            return _failed(error) if lost else None
        with media:
            return await self._made(media, job.modality, part, pin, patient=pool)

    def _open(self, job: Job) -> tuple[BinaryIO, Part | None]:
        """What a preview is made of, and which part of that; None: it is the file itself.

        Raises:
            NotFoundError: If it is not there any more.
        """
        source = job.source
        if source is not None:
            file = self._blobs.open(source.sha256)
            if source.place is None:
                return file, None
            return file, Part("part", job.modality, source.part_bytes, source.place)
        if not isinstance(job.subject, bytes):
            raise NotFoundError("the file that the preview is made of is not kept any more")
        part = None
        with self._catalogue.store.view() as view:
            sha256, held = view.captures.part(job.subject) or (job.subject, None)
            capture = view.captures.holding(sha256)
        if capture is None:
            raise NotFoundError("no capture holds the content any more")
        if held is not None:
            part = Part(held.name, held.modality, held.byte_count, held.place)
        return cut_out(self._captured, capture.new.sha256, capture.new.ranges, self._scratch), part

    async def _erase(self) -> None:
        """Erase what nobody needs any more."""
        if not self._swept:
            await asyncio.to_thread(self._sweep)
            self._swept = True
        while loose := self._pins.take_loose():
            await asyncio.to_thread(self._pins.unless_held, loose, self._in_use, self._blobs.delete)
        while noted := await asyncio.to_thread(self._noted):
            looked_at = await asyncio.to_thread(
                self._pins.unless_held, noted, self._in_use, self._blobs.delete
            )
            if not looked_at:
                return
            await self._catalogue.write(partial(_forget, looked_at))

    def _noted(self) -> list[bytes]:
        with self._catalogue.store.view() as view:
            return view.previews.erasures(_ERASED_AT_ONCE)

    def _in_use(self, sha256s: Collection[bytes]) -> set[bytes]:
        with self._catalogue.store.view() as view:
            return view.previews.in_use(sha256s)

    def _sweep(self) -> None:
        """Erase what an earlier run kept and did not note any more."""
        for some in _groups(self._blobs.digests(), _ERASED_AT_ONCE):
            self._pins.unless_held(some, self._in_use, self._blobs.delete)


def _forget(sha256s: list[bytes], transaction: Transaction) -> None:
    transaction.previews.forget_erasures(sha256s)


def _groups(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Values, some at a time."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some


def _place(part: Part | None) -> Place:
    return None if part is None else part.place


def _not_kept(read: ReadMedia) -> dict[Place, NewPreview]:
    none = NewPreview(PreviewState.NOT_KEPT)
    if read.modality == CONTAINER:
        return {part.place: none for part, _ in read.parts}
    return {None: none}


def _failed(error: Exception) -> NewPreview:
    if isinstance(error, UnreadableMediaError | BusyError | StorageFullError):
        return NewPreview(PreviewState.FAILED, f"{error.reason}: {error}")
    if isinstance(error, NotFoundError):
        return NewPreview(PreviewState.FAILED, f"SOURCE_LOST: {error}")
    return NewPreview(PreviewState.FAILED, "INTERNAL: the server failed on this preview; its log tells more")
