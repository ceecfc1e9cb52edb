"""Callers that put a service under load, on grpc.aio: some register, some ask."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio
from PIL import Image

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc

_COPY_QUALITY = 70
_GIVE_UP_SECONDS = 120.0


@dataclass(slots=True)
class Tally:
    """What the callers saw.

    Attributes:
        found_after: Seconds from each acknowledgement to the end of the first Match that found the work.
        missed: How many works the first Match after the acknowledgement did not find.
        match_seconds: Latency of each call of those who only ask.
    """

    found_after: list[float] = field(default_factory=list)
    missed: int = 0
    match_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be registered, and a copy of it to ask with.

    The copy is saved anew, so that it is found by its fingerprints and not by its digest.
    """

    original: bytes
    copy: bytes

    @classmethod
    def of(cls, content: bytes) -> "Picture":
        """Make the copy."""
        file = io.BytesIO()
        with Image.open(io.BytesIO(content)) as picture:
            picture.convert("RGB").save(file, "JPEG", quality=_COPY_QUALITY)
        return cls(content, file.getvalue())


class Callers:
    """Callers on one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Call through `channel`."""
        self._works = work_pb2_grpc.WorkServiceStub(channel)
        self._matches = match_pb2_grpc.MatchServiceStub(channel)

    async def register(self, waiting: list[Picture], until: float, tally: Tally) -> None:
        """Register pictures, and look for a copy of each as soon as it is acknowledged.

        Args:
            waiting: Each is taken from here; several callers may share it.
            until: When to stop, on `time.perf_counter`.
            tally: Where the outcome goes.
        """
        while waiting and time.perf_counter() < until:
            picture = waiting.pop()
            media = fingerprint_pb2.Media(content=picture.original)
            request = work_pb2.CreateWorkRequest(work=work_pb2.Work(owner="benchmark"), media=[media])
            work = await self._works.CreateWork(request)
            acknowledged = time.perf_counter()
            attempts = 0
            while not await self._finds(picture.copy, work.name):
                attempts += 1
                if time.perf_counter() - acknowledged > _GIVE_UP_SECONDS:
                    raise RuntimeError(f"{work.name} was acknowledged and is not found")
            tally.found_after.append(time.perf_counter() - acknowledged)
            tally.missed += attempts > 0

    async def ask(self, pictures: Sequence[Picture], until: float, tally: Tally) -> None:
        """Ask about one picture after the other until the time is over; see `register`."""
        while time.perf_counter() < until:
            picture = pictures[len(tally.match_seconds) % len(pictures)]
            start = time.perf_counter()
            await self._match(picture.copy)
            tally.match_seconds.append(time.perf_counter() - start)

    async def _finds(self, content: bytes, work: str) -> bool:
        return any(match.work == work for match in (await self._match(content)).matches)

    async def _match(self, content: bytes) -> match_pb2.MatchResponse:
        media = fingerprint_pb2.Media(content=content)
        options = match_pb2.MatchOptions(min_probability=0.0, page_size=100)  # found is found, however sure
        return await self._matches.Match(match_pb2.MatchRequest(media=media, options=options))


@asynccontextmanager
async def callers(target: str) -> AsyncIterator[Callers]:
    """Connect to a service."""
    async with grpc.aio.insecure_channel(target) as channel:
        yield Callers(channel)


async def load(
    target: str, pictures: Sequence[Picture], *, registering: int, asking: int, seconds: float
) -> Tally:
    """Put a service under load.

    Args:
        target: ``HOST:PORT``.
        pictures: Those who register take each once, and stop when all are registered.
        registering: How many callers register.
        asking: How many callers only ask.
        seconds: How long.
    """
    tally = Tally()
    waiting = list(pictures)
    async with callers(target) as some:
        until = time.perf_counter() + seconds
        await asyncio.gather(
            *(some.register(waiting, until, tally) for _ in range(registering)),
            *(some.ask(pictures, until, tally) for _ in range(asking)),
        )
    return tally
