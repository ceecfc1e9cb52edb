"""Review over gRPC, with the Python client and the command line: roles, leases, and nothing decided twice."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio

import copyhound
from copyhound.cli import run
from copyhound.v1 import review_pb2_grpc
from service.catalogue import Catalogue, Folding
from service.domain import KeyRole
from service.keys import new_key
from service.metrics import Metrics
from service.review import Desk
from service.rpc.access import PERMISSIONS, Gate
from service.rpc.guard import Guard
from service.rpc.review import ReviewService
from service.store import Store
from service.tracing import NoTracer
from tests.contract.reviewing import Scene, scene_in
from tests.contract.store_values import SCHEMES

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Serving:
    """A server of ReviewService alone, and the scene that its cases come from."""

    address: str
    scene: Scene
    foreign: Scene

    def key(self, role: KeyRole, owner: str | None = None) -> tuple[str, str]:
        """A new key's id, and the key."""
        key, text = new_key(role, owner, 0, 0)
        self.scene.store.create_key(key)
        return key.id, text

    def client(self, role: KeyRole = KeyRole.ADMIN, owner: str | None = None) -> copyhound.AsyncClient:
        """A client with a new key."""
        return copyhound.AsyncClient(self.address, api_key=self.key(role, owner)[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    folder = tmp_path_factory.mktemp("review")
    store = Store.open(f"sqlite:///{folder / 'copyhound.db'}", SCHEMES)
    metrics = Metrics(NoTracer())
    folding = Folding(
        after_changes=10**6,
        after_seconds=10**6,
        approximate_from=10**9,
        float_approximate_from=10**9,
        response_hours=24,
    )
    catalogue = Catalogue.open(store, folder / "index", SCHEMES, folding, metrics)
    await catalogue.start()
    guard = Guard(Gate(store, allow_anonymous=False), metrics)
    server = grpc.aio.server(interceptors=[guard])
    review_pb2_grpc.add_ReviewServiceServicer_to_server(ReviewService(catalogue, Desk()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Serving(f"127.0.0.1:{port}", scene_in(store, 0), scene_in(store, 0, owner="other"))
    await server.stop(0)
    await catalogue.close()
    store.close()


def found_at(scene: Scene, site: str, count: int, *, contents: int = 1) -> None:
    """Let new works be found at a site, each in a case of its own."""
    works = scene.add_works(count)
    for content in range(contents):
        number = 1000 * len(scene.works) + content
        scene.see(number, site)
        scene.find(number, works)


async def test_five_reviewers_decide_two_hundred_cases_once_each(serving: Serving) -> None:
    found_at(serving.scene, "five.example", 200)
    which = copyhound.CaseFilter(site="five.example")

    async def review(chosen: copyhound.Outcome) -> list[str]:
        decided = []
        async with serving.client(KeyRole.INVESTIGATOR) as client:
            while (case := await client.lease_next(which)) is not None:
                done = await client.decide(case, chosen, note=case.work_title)
                assert done.state is copyhound.CaseState.DECIDED
                decided.append(case.name)
        return decided

    outcomes = list(copyhound.Outcome)[:4]
    by_reviewer = await asyncio.gather(*(review(chosen) for chosen in [*outcomes, outcomes[0]]))
    decided = [name for names in by_reviewer for name in names]
    assert len(decided) == len(set(decided)) == 200
    async with serving.client() as client:
        cases = [case async for case in client.cases(which, page_size=70)]
        assert sorted(case.name for case in cases) == sorted(decided)
        by_name = {
            name: chosen
            for names, chosen in zip(by_reviewer, [*outcomes, outcomes[0]], strict=True)
            for name in names
        }
        for case in cases:
            assert case.decision is not None
            assert case.decision.outcome is by_name[case.name]
            assert (case.decision.note, case.etag, case.lease_holder) == (case.work_title, '"2"', None)


async def test_a_repeated_request_decides_once(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    found_at(serving.scene, "again.example", 1)
    monkeypatch.setattr("copyhound.review.new_request_id", lambda: "the same")
    async with serving.client() as client:
        (case,) = [one async for one in client.cases(copyhound.CaseFilter(site="again.example"))]
        first = await client.decide(case, "infringing", reason="EXCERPT")
        assert await client.decide(case, "infringing", reason="EXCERPT") == first
        with pytest.raises(copyhound.RequestIdReusedError):
            await client.decide(case, "licensed")
        assert len([event async for event in client.review_events(subject=case.name)]) == 2


async def test_who_holds_a_case_keeps_others_from_deciding_it(serving: Serving) -> None:
    found_at(serving.scene, "held.example", 1)
    which = copyhound.CaseFilter(site="held.example")
    holder, key = serving.key(KeyRole.INVESTIGATOR)
    async with copyhound.AsyncClient(serving.address, api_key=key) as first, serving.client() as second:
        case = await first.lease_next(which)
        assert case is not None
        assert case.lease_holder == holder
        assert await second.lease_next(which) is None
        for attempt in (
            second.decide(case, "infringing"),
            second.lease_case(case.name),
            second.undo(case.name, 1),
        ):
            with pytest.raises(copyhound.CaseHeldError, match="take another, or wait") as caught:
                await attempt
            assert caught.value.metadata["holder"] == holder
        assert (await second.release_case(case.name)).lease_holder == holder
        assert (await first.release_case(case.name)).lease_expires_at is None
        assert (await second.lease_case(case.name)).lease_holder != holder
        commented = await first.comment(case.name, "it is ours")
        with pytest.raises(copyhound.StaleError, match="look at revision 2"):
            await second.decide(case, "licensed")
        done = await second.decide(commented, "licensed", reason="OWN_CHANNEL", note="see the comment")
        assert done.decision is not None
        back = await second.undo(case.name, done.decision.number, note="not ours")
        assert (back.state, back.decision) == (copyhound.CaseState.OPEN, None)
        whole = await first.get_case(case.name)
        assert [(one.outcome, one.undone_by) for one in whole.decisions] == [(copyhound.Outcome.LICENSED, 4)]
        (one,) = [one async for one in first.case_reports(case.name)]
        assert (one.number, one.covered, one.settled_by) == (1, False, None)


async def test_a_batch_says_what_becomes_of_each(serving: Serving) -> None:
    found_at(serving.scene, "batch.example", 5, contents=2)
    which = copyhound.CaseFilter(site="batch.example")
    async with serving.client() as client:
        cases = [case async for case in client.cases(which, order="probable")]
        await client.comment(cases[0].name, "stop")
        looked = await client.decide_many(cases, "wrong_match", validate_only=True)
        assert (looked.batch, looked.failed, looked.reports) == (None, 1, 8)
        assert isinstance(looked.results[0].error, copyhound.StaleError)
        assert (await client.decide_many(cases, "wrong_match")).batch is None
        done = await client.decide_many(cases, "wrong_match", allow_partial=True)
        assert done.batch is not None
        assert [result.case is None for result in done.results] == [True, False, False, False, False]
        states = {case.state async for case in client.cases(which)}
        assert states == {copyhound.CaseState.OPEN, copyhound.CaseState.DECIDED}
        undone = await client.undo_batch(done.batch, note="by mistake")
        assert [result.error for result in undone] == [None] * 4
        with pytest.raises(copyhound.InvalidRequestError, match="1 to 1,000 cases"):
            await client.decide_many([], "wrong_match")
        assert {case.state async for case in client.cases(which)} == {copyhound.CaseState.OPEN}


async def test_an_owner_sees_its_own_cases_alone(serving: Serving) -> None:
    found_at(serving.foreign, "foreign.example", 1)
    found_at(serving.scene, "own.example", 1)
    reference = serving.foreign.works[-1].references
    assert reference is not None
    work = f"works/{serving.foreign.works[-1].id}"
    async with serving.client(KeyRole.OWNER, "studio") as client, serving.client() as admin:
        (foreign,) = [one async for one in admin.cases(copyhound.CaseFilter(site="foreign.example"))]
        for attempt in (
            client.get_case(foreign.name),
            client.lease_case(foreign.name),
            client.release_case(foreign.name),
            client.decide(foreign, "licensed"),
            client.undo(foreign.name, 1),
            client.assign_case(foreign.name, None),
            client.set_case_due(foreign.name, None),
            client.comment(foreign.name, "hello"),
            client.lease_next(after=foreign.name),
            client.suppress(work),
            client.suppress(f"{work}/references/{reference[0].id}"),
            client.unsuppress(work),
        ):
            with pytest.raises(copyhound.NotFoundError):
                await attempt
        with pytest.raises(copyhound.NotFoundError):
            [one async for one in client.case_reports(foreign.name)]
        result = (await client.decide_many([foreign], "licensed")).results[0]
        assert isinstance(result.error, copyhound.NotFoundError)
        assert {case.owner async for case in client.cases()} == {"studio"}
        assert [case async for case in client.cases(copyhound.CaseFilter(owner="other"))] == []
        assert [event async for event in client.review_events(subject=foreign.name)] == []
        assert await client.lease_next(copyhound.CaseFilter(site="foreign.example")) is None
        assert {share.name for share in (await client.overview()).sites} >= {"own.example"}
        assert "foreign.example" not in {share.name for share in (await client.overview()).sites}
        assert (await admin.get_case(foreign.name)) == replace(foreign, decisions=())


async def test_platforms_and_crawlers_review_nothing(serving: Serving) -> None:
    assert sum(method.startswith("/copyhound.v1.ReviewService/") for method in PERMISSIONS) == 24
    for role in (KeyRole.PLATFORM, KeyRole.CRAWLER):
        async with serving.client(role) as client:
            with pytest.raises(copyhound.ForbiddenError):
                await client.overview()
            with pytest.raises(copyhound.ForbiddenError):
                await client.lease_next()


async def test_views_and_wrong_requests(serving: Serving) -> None:
    async with serving.client() as client:
        kept = await client.save_view("Mine", "assignee=me")
        assert await client.saved_views() == (kept,)
        await client.delete_view(kept.name)
        assert await client.saved_views() == ()
        for attempt in (
            client.get_case("cases/1"),
            client.get_case(kept.name),
            client.undo("", 1),
            client.undo_batch("batches/x"),
            client.suppress("references/1"),
            client.overview(days=400),
            client.lease_next(copyhound.CaseFilter(min_probability=2.0)),
            client.lease_next(copyhound.CaseFilter(text="x" * 201)),
        ):
            with pytest.raises(copyhound.InvalidRequestError):
                await attempt
        for unknown in (
            client.decide_many([], "sideways"),
            client.lease_next(order="sideways"),
            client.precision("sideways"),
        ):
            with pytest.raises(copyhound.InvalidRequestError, match="“sideways” is none of these"):
                await unknown


async def test_the_command_line_reviews(
    serving: Serving, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found_at(serving.scene, "cli.example", 2, contents=8)
    key_id, key = serving.key(KeyRole.OWNER, "studio")
    monkeypatch.setenv("COPYHOUND_SERVER", serving.address)
    monkeypatch.setenv("COPYHOUND_API_KEY", key)

    async def told(*arguments: str, status: int = 0) -> str:
        assert await asyncio.to_thread(run, arguments) == status
        return capsys.readouterr().out

    async def lines(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
        printed = (await told(*arguments, status=status)).splitlines()
        return [json.loads(line) for line in printed if line.startswith("{")]  # not the server's log

    listed = await lines("cases", "list", "--site", "cli.example", "--json")
    names = [str(line["case"]["name"]) for line in listed]
    assert len(names) == 2
    taken = await told("cases", "next", "--site", "cli.example")
    assert f"held by      {key_id}" in taken
    await told("cases", "release", names[0])
    assert "2099-01-01" in await told("cases", "due", names[0], "2099-01-01")
    assert names[0] in await told("cases", "list", "--search", "CLI", "--due-before", "2099-01-02")
    await told("cases", "assign", names[0], key_id)
    await told("cases", "comment", names[0], "who is that?")
    serving.scene.store.rename_key(key_id, "Ada")
    assert f"Ada ({key_id})" in await told("cases", "events", names[0])
    (reviewer,) = [
        one["reviewer"]
        for one in await lines("cases", "reviewers", "--json")
        if one["reviewer"]["id"] == key_id
    ]
    assert reviewer == {"id": key_id, "name": "Ada", "role": "owner", "revoked": False}
    stale = await told("cases", "decide", "infringing", names[0], "--etag", '"1"', status=1)
    assert "nothing changed" in stale
    dry = await told("cases", "decide", "wrong_match", *names, "--dry-run")
    assert "2 cases would be decided, 16 reports" in dry
    done = await told("cases", "decide", "wrong_match", *names, "--reason", "OTHER_WORK", "--note", "no")
    (batch,) = re.findall(r"batches/\S+", done)
    shown = await told("cases", "show", names[0])
    assert "wrong_match  OTHER_WORK" in shown
    flagged = await lines("references", "flagged", "--json")
    assert len(flagged) == 4
    examples = await lines("reviews", "examples")
    assert len(examples) >= 16
    assert {"signals", "is_copy", "sha256"} <= set(examples[0]["example"])
    assert "image" in await told("reviews", "precision", "modality")
    assert "cli.example" in await told("reviews", "overview")
    reference = next(str(one["flagged"]["name"]) for one in flagged if one["flagged"]["filename"])
    await told("references", "suppress", reference, "--note", "a logo")
    assert "a logo" in await told("references", "suppressed")
    await told("references", "unsuppress", reference)
    assert await lines("references", "suppressed", "--json") == []
    assert "2 decisions undone" in await told("cases", "undo", batch)
    await told("cases", "undo", names[0], status=2)
    events = await lines("cases", "events", names[0], "--json")
    assert [one["event"]["action"] for one in events][:2] == ["UNDONE", "DECIDED"]
    assert "nothing is left to decide" in await told("cases", "next", "--site", "nowhere.example")
