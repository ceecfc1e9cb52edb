import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from google.rpc import code_pb2

import copyhound
from copyhound.batches import BATCH_ITEMS

FINGERPRINTS = copyhound.FingerprintSet(
    (copyhound.Fingerprint("image.pdq.v1", bytes(64), count=2, spans=((0, 1), (1, 2)), quality=(1, 0.5)),),
    sha256=bytes(32),
)


def test_a_registered_work_comes_back_whole(client: copyhound.Client, tmp_path: Path) -> None:
    path = tmp_path / "poster.png"
    path.write_bytes(b"poster")
    policy = copyhound.Policy(
        copyhound.Action.REVIEW,
        0.8,
        ("CN",),
        (copyhound.Licence("partner", ("DE",), None, "contract 7"),),
        previews=False,
    )
    work = client.register(
        path, owner="studio", external_id="P-17", title="The poster", labels={"year": "2024"}, policy=policy
    )
    assert (work.owner, work.external_id, work.title) == ("studio", "P-17", "The poster")
    assert work.labels == {"year": "2024"}
    assert work.policy == policy
    (reference,) = work.references
    assert reference.filename == "poster.png"
    assert reference.modality == "image"
    assert reference.sha256 == hashlib.sha256(b"poster").digest()


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "file"])
def test_media_may_be_a_path_bytes_or_a_file(
    client: copyhound.Client, server: Any, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    file = io.BytesIO(b"skipped content")
    file.seek(8)
    sources: dict[str, Any] = {"path": path, "string": str(path), "bytes": b"content", "file": file}
    work = client.register(sources[kind], owner="studio")
    assert server.contents[work.references[0].name] == b"content"


def test_registering_the_same_file_again_changes_nothing(client: copyhound.Client, server: Any) -> None:
    first = client.register(b"poster", owner="studio", external_id="P-17")
    assert client.register(b"poster", owner="studio", external_id="P-17").name == first.name
    assert len(server.works) == 1


def test_another_file_under_a_taken_external_id_is_refused(client: copyhound.Client) -> None:
    client.register(b"poster", owner="studio", external_id="P-17")
    with pytest.raises(copyhound.AlreadyExistsError):
        client.register(b"another", owner="studio", external_id="P-17")


def test_a_reference_is_added_once(client: copyhound.Client) -> None:
    work = client.register(b"front", owner="studio")
    added = client.add_reference(work.name, b"back", filename="back.png")
    assert not added.already_present
    assert added.reference.filename == "back.png"
    assert len(added.work.references) == 2
    assert client.add_reference(work.name, b"back").already_present


def test_registering_many_batches_small_media_and_streams_large(
    client: copyhound.Client, server: Any
) -> None:
    small = [copyhound.NewWork(b"%04d" % i, "studio", str(i)) for i in range(2 * BATCH_ITEMS + 1)]
    large = copyhound.NewWork(b"L" * 1_500_000, "studio", "large")
    outcomes = {new.external_id: outcome for new, outcome in client.register_many([*small, large])}
    assert all(isinstance(outcome, copyhound.Registration) for outcome in outcomes.values())
    assert len(outcomes) == len(server.works) == len(small) + 1
    assert len(server.named("BatchCreateWorks")) == 2
    uploads = server.named("UploadReference")  # the large one, and the last small one, which was alone
    assert {header.new_work.external_id for header in uploads} == {"large", str(2 * BATCH_ITEMS)}


def test_one_bad_item_never_sinks_the_others(client: copyhound.Client, tmp_path: Path) -> None:
    works = [
        copyhound.NewWork(b"good", "studio", "good"),
        copyhound.NewWork(b"bad media", "studio", "damaged"),
        copyhound.NewWork(b"fine", "", "ownerless"),
        copyhound.NewWork(tmp_path / "absent.png", "studio", "absent"),
        copyhound.NewWork(tmp_path, "studio", "folder"),
        copyhound.NewWork(b"untitled", "studio", "no text", title=cast("str", 7)),
        copyhound.NewWork(b"surrogate", "studio", "no utf-8", title="\udcff"),
        copyhound.NewWork(b"also good", "studio", "also good"),
    ]
    kinds = {new.external_id: type(outcome) for new, outcome in client.register_many(works)}
    assert kinds == {
        "good": copyhound.Registration,
        "damaged": copyhound.UnreadableMediaError,
        "ownerless": copyhound.InvalidRequestError,
        "absent": copyhound.LocalFileError,
        "folder": copyhound.LocalFileError,
        "no text": copyhound.InvalidRequestError,
        "no utf-8": copyhound.InvalidRequestError,
        "also good": copyhound.Registration,
    }


def test_registering_many_again_finds_everything_present(client: copyhound.Client, server: Any) -> None:
    works = [copyhound.NewWork(b"%d" % i, "studio", str(i)) for i in range(5)]
    list(client.register_many(works))
    again = [outcome for _, outcome in client.register_many(works)]
    assert all(isinstance(o, copyhound.Registration) and o.already_present for o in again)
    assert len(server.works) == 5


def test_files_with_the_same_external_id_become_one_work_if_asked(
    client: copyhound.Client, server: Any
) -> None:
    works = [copyhound.NewWork(content, "studio", "P-17") for content in (b"front", b"back", b"side")]
    outcomes = [outcome for _, outcome in client.register_many(works, add_to_existing=True)]
    assert all(isinstance(outcome, copyhound.Registration) for outcome in outcomes)
    (work,) = server.works.values()
    assert work.reference_count == 3


def test_what_a_busy_server_refuses_in_a_batch_is_sent_again(
    client: copyhound.Client, server: Any, make_status: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [make_status(code_pb2.UNAVAILABLE, "the queue is full", "BUSY", retry_after=0.01)]
    create = server.create

    def busy_once(new: Any) -> Any:
        if refusals:
            raise server.refused(refusals.pop())
        return create(new)

    monkeypatch.setattr(server, "create", busy_once)
    works = [copyhound.NewWork(b"%d" % i, "studio", str(i)) for i in range(3)]
    outcomes = [outcome for _, outcome in client.register_many(works)]
    assert all(isinstance(outcome, copyhound.Registration) for outcome in outcomes)


def test_works_come_page_by_page(client: copyhound.Client, server: Any) -> None:
    for i in range(5):
        client.register(b"%d" % i, owner="studio" if i else "other", external_id=str(i))
    assert [work.external_id for work in client.works(owner="studio", page_size=2)] == list("1234")
    assert len(server.named("ListWorks")) == 2


def test_an_abandoned_iteration_leaves_the_client_usable(client: copyhound.Client) -> None:
    for i in range(3):
        client.register(b"%d" % i, owner="studio")
    assert next(iter(client.works(page_size=1))).owner == "studio"
    assert client.index_state().work_count == 3


def test_an_update_names_only_what_changes(client: copyhound.Client, server: Any) -> None:
    work = client.register(b"poster", owner="studio", external_id="P-17", title="old")
    changed = client.update_work(work.name, title="new", etag=work.etag)
    assert (changed.title, changed.external_id) == ("new", "P-17")
    (request,) = server.named("UpdateWork")
    assert list(request.update_mask.paths) == ["title"]
    assert client.update_work(work.name).title == "new"
    assert len(server.named("UpdateWork")) == 1


def test_a_stale_update_is_refused(client: copyhound.Client) -> None:
    work = client.register(b"poster", owner="studio")
    with pytest.raises(copyhound.StaleError):
        client.update_work(work.name, title="new", etag="0")


def test_a_deleted_work_is_gone(client: copyhound.Client) -> None:
    work = client.register(b"poster", owner="studio")
    assert client.delete_work(work.name) > work.sequence
    with pytest.raises(copyhound.NotFoundError):
        client.get_work(work.name)


def test_an_answer_says_what_where_and_how_sure(client: copyhound.Client) -> None:
    work = client.register(b"poster", owner="studio", external_id="P-17", title="The poster")
    answer = client.match(b"post, altered", min_probability=0.0, page_size=5, request_id="q-1")
    assert answer.action == "block"
    assert answer.sequence == work.sequence
    assert answer.modality == "image"
    assert answer.request_id == "q-1"
    (match,) = answer.matches
    assert (match.work, match.external_id, match.title) == (work.name, "P-17", "The poster")
    assert match.signals == {"pdq_distance": 4.0}
    (region,) = match.regions
    assert region.transform == "flip_horizontal"
    assert region.query == region.work == copyhound.Box(0, 0, 1, 1)


def test_options_reach_the_server(client: copyhound.Client, server: Any) -> None:
    client.match(b"x", min_probability=0.0, min_sequence=7, territories=["CN"], modality="image")
    client.match(b"x")
    given, unset = (request.options for request in server.named("Match"))
    assert given.HasField("min_probability")
    assert given.min_probability == 0.0
    assert (given.min_sequence, list(given.territories), given.modality) == (7, ["CN"], 1)
    assert not unset.HasField("min_probability")


def test_an_unknown_option_or_modality_is_refused(client: copyhound.Client) -> None:
    options: dict[str, Any] = {"min_probabilty": 0.5}
    with pytest.raises(TypeError, match="min_probabilty"):
        client.match(b"x", **options)
    with pytest.raises(copyhound.InvalidRequestError, match="image"):
        client.match(b"x", modality="smell")


def test_large_media_is_streamed_and_an_early_answer_taken(client: copyhound.Client, server: Any) -> None:
    client.register(b"film", owner="studio")
    answer = client.match(b"film" * 3_000_000)
    assert answer.matches
    assert [name for name, _ in server.calls if name.startswith("Match")] == ["MatchStream"]


def test_many_questions_are_answered_each_by_itself(client: copyhound.Client) -> None:
    client.register(b"poster", owner="studio")
    answers = dict(client.match_many([b"post 1", b"bad", b"else"], concurrency=2))
    assert isinstance(answers[b"bad"], copyhound.UnreadableMediaError)
    found, other = answers[b"post 1"], answers[b"else"]
    assert isinstance(found, copyhound.Answer)
    assert isinstance(other, copyhound.Answer)
    assert (found.action, other.action) == (copyhound.Action.BLOCK, copyhound.Action.ALLOW)


def test_fingerprints_and_digests_travel_without_content(client: copyhound.Client, server: Any) -> None:
    client.match_fingerprints(FINGERPRINTS, page_size=3)
    client.match_sha256(bytes(32))
    by_fingerprints, by_digest = server.named("Match")
    (sent,) = by_fingerprints.fingerprints.fingerprints
    assert (sent.count, list(sent.spans), list(sent.quality)) == (2, [0, 1, 1, 2], [1, 0.5])
    assert by_fingerprints.options.page_size == 3
    assert by_digest.sha256 == bytes(32)


def test_a_comparison_takes_media_fingerprints_and_references(client: copyhound.Client, server: Any) -> None:
    reference = client.register(b"poster", owner="studio").references[0]
    comparison = client.compare(b"suspect", reference)
    client.compare(FINGERPRINTS, reference.name)
    assert comparison.probability == pytest.approx(0.97)
    assert comparison.segments[0].speed == 2
    assert comparison.explanation == ("PDQ hashes differ in 4 of 256 bits.",)
    first, second = server.named("CompareMedia")
    assert (first.a.WhichOneof("side"), first.b.reference) == ("media", reference.name)
    assert (second.a.WhichOneof("side"), second.b.reference) == ("fingerprints", reference.name)


def test_a_comparison_too_large_for_a_message_is_not_sent(client: copyhound.Client, server: Any) -> None:
    with pytest.raises(copyhound.MediaTooLargeError, match="compare with its reference"):
        client.compare(b"a" * 600_000, b"b" * 600_000)
    assert not server.named("CompareMedia")


def test_an_import_is_waited_for(client: copyhound.Client, server: Any) -> None:
    operation = client.import_works(
        [copyhound.ImportRow("a.png", "studio", "a"), copyhound.ImportRow("b.png", "studio", "b")]
    )
    progress = client.get_import(operation.name).progress()
    assert (progress.done, progress.total, progress.created) == (False, 2, 1)
    result = operation.wait()
    assert (result.created, result.failed) == (1, 1)
    (row,) = result.errors
    assert (row.row, row.path, row.error.reason) == (1, "b.png", "MEDIA_DAMAGED")
    with pytest.raises(copyhound.NotFoundError):
        operation.cancel()


def test_waiting_for_an_import_ends_in_time(client: copyhound.Client, server: Any) -> None:
    server.polls_until_done = 1_000_000
    with pytest.raises(copyhound.DeadlineExceededError, match="goes on"):
        client.import_works([]).wait(max_seconds=0.1)


def test_a_repetition_carries_the_same_request_id(
    client: copyhound.Client, server: Any, make_status: Callable[..., Any]
) -> None:
    server.failures = [
        make_status(code_pb2.UNAVAILABLE, "the server is starting", "BUSY", retry_after=0.01),
        make_status(code_pb2.UNAVAILABLE, "connection reset"),
    ]
    client.register(b"poster", owner="studio")
    ids = [header.request_id for header in server.named("UploadReference")]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert ids[0]


def test_different_changes_carry_different_request_ids(client: copyhound.Client, server: Any) -> None:
    for _ in range(2):
        client.register(b"poster", owner="studio")
    assert len({header.request_id for header in server.named("UploadReference")}) == 2


def test_what_is_wrong_with_the_request_is_not_repeated(
    client: copyhound.Client, server: Any, make_status: Callable[..., Any]
) -> None:
    server.failures = [make_status(code_pb2.RESOURCE_EXHAUSTED, "slower", "QUOTA_EXCEEDED", retry_after=30)]
    with pytest.raises(copyhound.QuotaExceededError) as caught:
        client.register(b"poster", owner="studio")
    assert caught.value.retry_after == 30
    assert len(server.named("UploadReference")) == 1


def test_a_server_that_stays_busy_is_given_up_in_time(server: Any, make_status: Callable[..., Any]) -> None:
    server.failures = [make_status(code_pb2.UNAVAILABLE, "full", "BUSY", retry_after=0.1)] * 100
    with copyhound.Client(server.target, timeout=0.5) as client, pytest.raises(copyhound.BusyError):
        client.index_state()
    assert 1 < len(server.named("GetIndexState")) < 10


def test_an_address_where_nobody_listens_is_explained() -> None:
    with (
        copyhound.Client("127.0.0.1:1", timeout=0.5) as client,
        pytest.raises(copyhound.ServerUnreachableError, match="check the address"),
    ):
        client.index_state()


def test_how_far_a_registration_has_come_is_told(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copyhound.async_client._WATCH_SECONDS", 0.01)
    far: list[copyhound.UploadProgress] = []
    with copyhound.Client(server.target) as client:
        client.register(b"slow", owner="studio", progress=far.append)
        whose: list[str] = []
        works = [copyhound.NewWork(b"slow too", "studio", title="Slow")]
        server.asked_how_far.clear()
        list(client.register_many(works, progress=lambda new, _: whose.append(new.title)))
    assert far[0] == copyhound.UploadProgress(7, 2.5)
    assert set(whose) == {"Slow"}
    asked = {request.request_id for request in server.named("GetUploadProgress")}
    assert asked == {header.request_id for header in server.named("UploadReference")}


def test_media_have_time_by_their_size(server: Any) -> None:
    with copyhound.Client(server.target) as client:
        client.register(bytes(20 * 2**20), owner="studio")
        client.match(bytes(20 * 2**20))
    registered, asked, matched = server.patience
    assert asked < 61  # for the limit of a message
    assert 61 < registered < 60 + 201
    assert 61 < matched < 60 + 201


def test_a_timeout_that_is_given_holds_for_media_too(server: Any) -> None:
    with copyhound.Client(server.target, timeout=20) as client:
        client.match(bytes(20 * 2**20))
    assert max(server.patience) < 21


def test_the_key_travels_as_a_bearer_token(server: Any) -> None:
    with copyhound.Client(server.target, api_key="secret") as client:
        client.index_state()
    assert server.metadata[-1]["authorization"] == "Bearer secret"


def test_a_missing_pem_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(copyhound.LocalFileError, match=r"absent\.pem"):
        copyhound.Client("localhost:1", tls=copyhound.Tls(ca=tmp_path / "absent.pem"))


def test_a_closed_client_may_be_closed_again(server: Any) -> None:
    client = copyhound.Client(server.target)
    client.close()
    client.close()


async def test_the_asynchronous_client_does_the_same(server: Any) -> None:
    async with copyhound.AsyncClient(server.target) as client:
        work = await client.register(b"poster", owner="studio", external_id="P-17")
        outcomes = [o async for _, o in client.register_many([copyhound.NewWork(b"other", "studio")])]
        assert isinstance(outcomes[0], copyhound.Registration)
        assert [listed.name async for listed in client.works()] == list(server.works)
        assert (await client.match(b"post")).matches[0].work == work.name
        operation = await client.import_works([])
        assert (await operation.wait()).created == 1
