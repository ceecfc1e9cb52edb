"""Previews that were made while their items were read: those that wait together are kept together."""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.blobs import Blobs
from service.errors import ServiceError, UnreadableMediaError
from service.previewed import PreviewFile
from service.previews.files import checked
from service.sandbox import ShownFile


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A preview that is to be kept.

    Attributes:
        shown: It, or why there is none.
        pin: Holds files.
        kept: Becomes its files.
    """

    shown: tuple[ShownFile, ...] | UnreadableMediaError
    pin: Callable[[bytes], None]
    kept: asyncio.Future[tuple[PreviewFile, ...]]


class Keeping:
    """Keeps previews; while it does, others gather. For one event loop."""

    def __init__(self, blobs: Blobs) -> None:
        """Keep them in `blobs`."""
        self._blobs = blobs
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def keep(
        self, shown: tuple[ShownFile, ...] | UnreadableMediaError, pin: Callable[[bytes], None]
    ) -> tuple[PreviewFile, ...]:
        """Keep a preview; when this returns, it survives a loss of power.

        Args:
            shown: The preview, or why there is none.
            pin: Holds files.

        Raises:
            UnreadableMediaError: If there is none, or it is not what such files are.
            StorageFullError: If there is no room for it.
        """
        kept: asyncio.Future[tuple[PreviewFile, ...]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(shown, pin, kept))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await kept

    async def _run(self) -> None:
        """Keep what waits, until nothing does."""
        try:
            while self._waiting:
                group, self._waiting = [one for one in self._waiting if not one.kept.cancelled()], []
                outcomes: Sequence[tuple[PreviewFile, ...] | Exception]
                try:
                    outcomes = await asyncio.to_thread(self._keep_all, group)
                except Exception as error:  # noqa: BLE001 - no thread can be had: nobody may wait for ever
                    outcomes = [RuntimeError(str(error)) for _ in group]
                for one, outcome in zip(group, outcomes, strict=True):
                    if one.kept.cancelled():
                        continue
                    if isinstance(outcome, Exception):
                        one.kept.set_exception(outcome)
                    else:
                        one.kept.set_result(outcome)
        finally:
            self._task = None

    def _keep_all(self, group: Sequence[_Waiting]) -> Sequence[tuple[PreviewFile, ...] | Exception]:
        """Their files, or why there are none. Where they cannot be kept together, each is by itself."""
        if len(group) > 1:
            try:
                return self._together(group)
            except (ServiceError, OSError):
                pass
        return [self._alone(one) for one in group]

    def _alone(self, one: _Waiting) -> tuple[PreviewFile, ...] | Exception:
        try:
            return self._together([one])[0]
        except Exception as error:  # noqa: BLE001 - it is told to who waits for this one
            return error

    def _together(self, group: Sequence[_Waiting]) -> list[tuple[PreviewFile, ...]]:
        """Keep all of them, or raise."""
        kept, files = [], []
        for one in group:
            some = checked(one.shown)
            for file, sha256 in some:
                one.pin(sha256)
                files.append((sha256, io.BytesIO(file.content)))
            kept.append(
                tuple(PreviewFile(file.kind, sha256, len(file.content), file.facts) for file, sha256 in some)
            )
        self._blobs.put_all(files)
        return kept
