"""What was acknowledged survives `kill -9` at any moment; what was deleted stays deleted."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import grpc.aio
import psutil
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from tests.e2e.serving import folded, launch, reason_of, serving, state_of

PDQ, PHASH = "image.pdq.v1", "image.phash.v1"
FOLDING = {"fold_after_changes": 100, "fold_after_seconds": 1}
"""A snapshot about once a second, so that some are being written when the server is killed."""
CLIENTS = 8
OLD_WORKS = 256
OLD_ANSWERS = 20


@dataclass
class Registered:
    """A work, as its client knows it.

    Attributes:
        create: The request that made it.
        work: The last answer about it; None: none came.
        update: The request that changed its title last.
        updated: The answer to that; None: none came.
        delete: The request that deleted it.
        deleted: The answer to that; None: none came.
    """

    create: work_pb2.CreateWorkRequest
    work: work_pb2.Work | None = None
    update: work_pb2.UpdateWorkRequest | None = None
    updated: work_pb2.Work | None = None
    delete: work_pb2.DeleteWorkRequest | None = None
    deleted: work_pb2.DeleteWorkResponse | None = None

    @property
    def query(self) -> fingerprint_pb2.FingerprintSet:
        return self.create.fingerprints[0]

    @property
    def descriptors(self) -> list[bytes]:
        return [fingerprint.descriptors for fingerprint in self.query.fingerprints]


@dataclass
class Crowd:
    """Clients that register, change and delete works at the same time, and remember what they were told."""

    chance: random.Random
    works: list[Registered] = field(default_factory=list)

    @property
    def alive(self) -> list[Registered]:
        return [one for one in self.works if one.deleted is None]

    async def press(self, channel: grpc.aio.Channel) -> None:
        """Go on until the server is gone."""
        await asyncio.gather(*(self._client(work_pb2_grpc.WorkServiceStub(channel)) for _ in range(CLIENTS)))

    async def _client(self, stub: work_pb2_grpc.WorkServiceAsyncStub) -> None:
        mine: list[Registered] = []
        try:
            while True:
                step = self.chance.random()
                if not mine or step < 0.6:
                    mine.append(self._new())
                    await finish(mine[-1], stub)
                elif step < 0.8:
                    one = self.chance.choice(mine)
                    assert one.work is not None
                    changed = work_pb2.Work(name=one.work.name, title=f"Title {step}")
                    one.update = work_pb2.UpdateWorkRequest(
                        work=changed, update_mask=FieldMask(paths=["title"]), request_id=self._id()
                    )
                    one.updated = None
                    await finish(one, stub)
                else:
                    one = mine.pop(self.chance.randrange(len(mine)))
                    assert one.work is not None
                    one.delete = work_pb2.DeleteWorkRequest(name=one.work.name, request_id=self._id())
                    await finish(one, stub)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise

    def _new(self) -> Registered:
        one = Registered(
            work_pb2.CreateWorkRequest(
                work=work_pb2.Work(owner="studio", external_id=f"P-{len(self.works)}"),
                fingerprints=[
                    fingerprint_pb2.FingerprintSet(
                        fingerprints=[
                            fingerprint_pb2.Fingerprint(
                                scheme=PDQ, count=1, descriptors=self.chance.randbytes(32)
                            ),
                            fingerprint_pb2.Fingerprint(
                                scheme=PHASH, count=1, descriptors=self.chance.randbytes(8)
                            ),
                        ]
                    )
                ],
                request_id=self._id(),
            )
        )
        self.works.append(one)
        return one

    def _id(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128)))


async def finish(one: Registered, stub: work_pb2_grpc.WorkServiceAsyncStub) -> None:
    """Send what of a work was not acknowledged yet; again, with the same request ids, after a kill."""
    if one.work is None:
        one.work = await stub.CreateWork(one.create)
    if one.update is not None and one.updated is None:
        one.updated = await stub.UpdateWork(one.update)
    if one.delete is not None and one.deleted is None:
        one.deleted = await stub.DeleteWork(one.delete)


async def check(crowd: Crowd, channel: grpc.aio.Channel, *, since: int) -> None:
    """Compare the server with what the crowd was told about the works from `since` on, and some others."""
    stub = work_pb2_grpc.WorkServiceStub(channel)
    matches = match_pb2_grpc.MatchServiceStub(channel)
    for one in crowd.works:
        cut_off = (
            one.work is None
            or (one.update is not None and one.updated is None)
            or (one.delete is not None and one.deleted is None)
        )
        if cut_off:
            await check_whole_or_absent(one, stub, matches)
            await finish(one, stub)
    others = crowd.chance.sample(crowd.works[:since], min(OLD_WORKS, since))
    for some in batches(crowd.works[since:] + others):
        answers = await found(matches, some)
        for one, names in zip(some, answers, strict=True):
            assert one.work is not None
            assert names == ([] if one.deleted else [one.work.name]), one
    for one in crowd.chance.sample(crowd.works, min(OLD_ANSWERS, len(crowd.works))):
        assert await stub.CreateWork(one.create) == one.work
        if one.update is not None:
            assert await stub.UpdateWork(one.update) == one.updated
        if one.delete is not None:
            assert await stub.DeleteWork(one.delete) == one.deleted
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetWork(work_pb2.GetWorkRequest(name=one.delete.name))
            assert reason_of(caught.value) == "NOT_FOUND"
        else:
            assert one.work is not None
            now = await stub.GetWork(work_pb2.GetWorkRequest(name=one.work.name))
            assert now == (one.updated or one.work)
    state = await state_of(channel)
    assert state.work_count == state.reference_count == len(crowd.alive)
    assert state.sequence == state.committed_sequence
    counts = {s.scheme: s.descriptor_count for s in state.schemes if s.descriptor_count}
    assert counts == ({PDQ: len(crowd.alive), PHASH: len(crowd.alive)} if crowd.alive else {})


async def check_whole_or_absent(
    one: Registered,
    stub: work_pb2_grpc.WorkServiceAsyncStub,
    matches: match_pb2_grpc.MatchServiceAsyncStub,
) -> None:
    """Check a work whose last request was not answered: it is there with all that belongs to it, or not."""
    listed = await stub.ListWorks(
        work_pb2.ListWorksRequest(owner="studio", external_id=one.create.work.external_id)
    )
    names = [work.name for work in listed.works]
    assert len(names) <= 1
    assert await found(matches, [one]) == [names]
    for name in names:
        work = await stub.GetWork(work_pb2.GetWorkRequest(name=name))
        assert [list(reference.schemes) for reference in work.references] == [[PDQ, PHASH]]
    if one.work is not None and one.delete is None:
        assert names == [one.work.name]


async def found(matches: match_pb2_grpc.MatchServiceAsyncStub, works: list[Registered]) -> list[list[str]]:
    """For each work, the names of the works that its fingerprints find, and nothing less than identical."""
    asked = [match_pb2.MatchRequest(fingerprints=one.query) for one in works]
    answer = await matches.BatchMatch(match_pb2.BatchMatchRequest(requests=asked))
    assert not any(result.HasField("error") for result in answer.results)
    return [[match.work for match in result.response.matches] for result in answer.results]


def batches(works: list[Registered]) -> list[list[Registered]]:
    return [works[start : start + 256] for start in range(0, len(works), 256)]


async def rounds(data: Path, count: int, chance: random.Random) -> None:
    """Start and kill the server, again and again, while a crowd presses it; check it after each start."""
    crowd = Crowd(chance)
    since = 0
    for number in range(count):
        with serving(data, **FOLDING) as server:
            family = server.family
            async with server.channel() as channel:
                await check(crowd, channel, since=since)
                since = len(crowd.works)
                pressing = asyncio.create_task(crowd.press(channel))
                await asyncio.sleep(chance.uniform(0.05, 2.0))
                server.kill(group=number % 2 == 0)
                await pressing
        assert_gone(family)
        if number % 3 == 2:
            interrupt_start(data, chance)
    with serving(data, **FOLDING) as server:
        async with server.channel() as channel:
            await check(crowd, channel, since=0)
            await folded(channel)
        check_erased(crowd, data)
        assert server.stop() == 0
    assert len([one for one in crowd.works if one.deleted]) > count


def interrupt_start(data: Path, chance: random.Random) -> None:
    """Kill a server while it starts."""
    with launch(data, **FOLDING) as process:
        time.sleep(chance.uniform(0.5, 3.0))
        process.kill()


def assert_gone(family: list[psutil.Process]) -> None:
    """Check that no process has outlived its server, but for the moment that dying takes."""
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def check_erased(crowd: Crowd, data: Path) -> None:
    """Check that the snapshots hold what is registered, and no trace of what was deleted."""
    snapshots = b"".join(path.read_bytes() for path in (data / "index").rglob("*") if path.is_file())
    for one in crowd.works:
        for descriptor in one.descriptors:
            assert (descriptor in snapshots) == (one.deleted is None)


async def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    await rounds(tmp_path / "hound", 5, random.Random(5))


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_by_fifty_kills(tmp_path: Path) -> None:
    await rounds(tmp_path / "hound", 50, random.Random(50))
