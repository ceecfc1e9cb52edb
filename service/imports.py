"""Imports: manifests of files below a folder of the server, as jobs in the database.

Each row is registered and marked in the same transaction, so an import that was cut off goes on where it
was, and no row is registered twice.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from uuid import UUID

import structlog

from indexers.modality import Role
from service.catalogue import Catalogue
from service.containers import new_reference
from service.domain import ImportRow, ImportState, NewReference, RowState
from service.errors import (
    BusyError,
    InvalidRequestError,
    MediaTooLargeError,
    NotFoundError,
    ServiceError,
    StorageFullError,
)
from service.previews import PreviewMaker
from service.sandbox import ReadMedia, digest_of, vouched
from service.store import Transaction

_ROWS_AT_ONCE = 64
_RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Reader(Protocol):
    """Fingerprints media, as `Matcher.read` does."""

    async def __call__(self, media: BinaryIO, role: Role, *, show: bool) -> ReadMedia:
        """Fingerprint one item."""
        ...


class Importer:
    """Works through unfinished imports, oldest first, as long as the service runs."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        read: Reader,
        previews: PreviewMaker,
        root: Path | None,
        max_bytes: int,
        parallel: int,
    ) -> None:
        """Take the parts.

        Args:
            catalogue: Where rows are registered.
            read: Fingerprints files.
            previews: Makes what people are shown of them.
            root: The folder that may be read; None: imports are refused.
            max_bytes: Largest file.
            parallel: Files that are read at the same time.
        """
        self._catalogue = catalogue
        self._read = read
        self._previews = previews
        self._root = None if root is None else root.resolve()
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(parallel)
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.finished = asyncio.Condition()
        """Notified when an import ends."""

    def check_enabled(self) -> None:
        """Check that there is a folder to import from.

        Raises:
            InvalidRequestError: If not.
        """
        if self._root is None:
            raise InvalidRequestError(
                "items", "imports are off: the server's operator sets import_root to allow them"
            )

    async def start(self) -> None:
        """Begin, or go on with what an earlier run left; without a folder, leave that as it is."""
        if self._root is None:
            return
        self._woken.set()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; unfinished rows stay pending."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def notify(self) -> None:
        """Tell those who wait for `finished` that an import has ended."""
        async with self.finished:
            self.finished.notify_all()

    def wake(self) -> None:
        """Say that there is a new import."""
        self._woken.set()

    async def _run(self) -> None:
        store = self._catalogue.store
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                for import_id in await asyncio.to_thread(store.unfinished_imports):
                    await self._import(import_id)
            except (BusyError, StorageFullError) as error:
                log.warning("import waits", reason=error.reason)
                await self._retry()
            except Exception:
                log.exception("import failed; it is tried again")
                await self._retry()

    async def _retry(self) -> None:
        await asyncio.sleep(_RETRY_SECONDS)
        self._woken.set()

    async def _import(self, import_id: UUID) -> None:
        store = self._catalogue.store

        def begin(transaction: Transaction) -> None:
            if store.get_import(import_id).state is ImportState.PENDING:
                transaction.set_import_state(import_id, ImportState.RUNNING)

        await self._catalogue.write(begin)
        while rows := await asyncio.to_thread(store.pending_rows, import_id, limit=_ROWS_AT_ONCE):
            results = await asyncio.gather(
                *(self._row(import_id, row) for row in rows), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        await self.notify()

    async def _row(self, import_id: UUID, row: ImportRow) -> None:
        try:
            async with self._slots:
                with self._open(row.path) as media:
                    sha256, size = await asyncio.to_thread(digest_of, media)
                    wanted = row.work.policy.previews
                    read = vouched(await self._read(media, Role.REFERENCE, show=wanted), sha256, size)
                    async with self._previews.kept(media, read, wanted=wanted) as previews:
                        reference = new_reference(PurePosixPath(row.path).name[:255], read, previews)
                        await self._catalogue.write(_registration(import_id, row, reference))
        except (BusyError, StorageFullError):
            raise  # the row stays pending and is tried again
        except ServiceError as error:
            await self._fail(import_id, row, error.reason, str(error))
        except Exception:  # such a row would fail again and again, and hold up all that come after it
            log.exception("import row failed", operation=str(import_id), row=row.number)
            await self._fail(import_id, row, "INTERNAL", "the server failed on this row; its log tells more")

    async def _fail(self, import_id: UUID, row: ImportRow, reason: str, message: str) -> None:
        with contextlib.suppress(NotFoundError):  # the import was cancelled meanwhile
            await self._catalogue.write(
                lambda transaction: transaction.finish_row(
                    import_id, row.number, RowState.FAILED, reason=reason, message=message
                )
            )

    def _open(self, path: str) -> BinaryIO:
        """Open a file below the import folder; links may not lead out of it."""
        if self._root is None:
            raise InvalidRequestError("path", "imports are off: the server has no import_root")
        parts = PurePosixPath(path)
        if not path or "\0" in path or parts.is_absolute() or ".." in parts.parts:
            raise InvalidRequestError("path", "must be relative to the import folder, without `..`")
        try:
            target = (self._root / parts).resolve(strict=True)
            if not target.is_relative_to(self._root) or not target.is_file():
                raise InvalidRequestError("path", "is no file below the import folder")
            size = target.stat().st_size
            if size > self._max_bytes:
                raise MediaTooLargeError(f"the file has {size} bytes; the server takes {self._max_bytes}")
            return os.fdopen(os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise BusyError("the server has too many files open; try again") from error
            raise InvalidRequestError("path", f"cannot be opened: {error.strerror}") from error
        except RuntimeError as error:  # how pathlib tells of links that lead to themselves
            raise InvalidRequestError("path", "is a loop of links") from error


def _registration(import_id: UUID, row: ImportRow, reference: NewReference) -> Callable[[Transaction], None]:
    """Register a row and mark it, in one step."""

    def register(transaction: Transaction) -> None:
        known = None
        if row.work.external_id is not None:
            known = transaction.find_work(row.work.owner, row.work.external_id)
        present = False
        if known is None:
            transaction.create_work(row.work, [reference])
        else:
            _, present = transaction.add_reference(known.id, reference)
        state = RowState.SKIPPED if present else RowState.CREATED
        transaction.finish_row(import_id, row.number, state)

    return register
