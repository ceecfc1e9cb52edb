"""MatchService over the wire: altered copies are found and located, others are left alone."""

from __future__ import annotations  # the stubs' types exist for mypy alone

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any

import grpc
import pytest
import pytest_asyncio
from PIL import Image, ImageFilter, ImageOps

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from indexers import registry
from indexers.image import hashes
from service.app import Running
from tests.e2e.serving import reason_of, refused_stream


def encoded(picture: Image.Image, kind: str = "JPEG", **options: int) -> bytes:
    out = io.BytesIO()
    picture.convert("RGB").save(out, kind, **options)
    return out.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTERED = ("astronaut", "coffee", "rocket", "china", "camera", "retina")
UNREGISTERED = ("chelsea", "motorcycle_left", "hubble_deep_field", "gravel", "coins", "flower")


@pytest.fixture
def matches(shared_channel: grpc.aio.Channel) -> match_pb2_grpc.MatchServiceAsyncStub:
    return match_pb2_grpc.MatchServiceStub(shared_channel)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registered(
    shared_channel: grpc.aio.Channel, photographs: dict[str, bytes]
) -> dict[str, work_pb2.Work]:
    works = work_pb2_grpc.WorkServiceStub(shared_channel)
    return {
        name: await works.CreateWork(
            work_pb2.CreateWorkRequest(
                work=work_pb2.Work(owner="studio", external_id=name),
                media=[fingerprint_pb2.Media(content=photographs[name])],
            )
        )
        for name in REGISTERED
    }


def asked(content: bytes, **options: object) -> match_pb2.MatchRequest:
    return match_pb2.MatchRequest(
        media=fingerprint_pb2.Media(content=content),
        options=match_pb2.MatchOptions(**options),  # type: ignore[arg-type]
    )


ALTERATIONS: dict[str, tuple[Callable[[Image.Image], bytes], str]] = {
    "jpeg": (lambda p: encoded(p, quality=30), "identity"),
    "webp": (lambda p: encoded(p, "WEBP", quality=50), "identity"),
    "half": (lambda p: encoded(p.resize((p.width // 2, p.height // 2))), "identity"),
    "grey": (lambda p: encoded(p.convert("L")), "identity"),
    "blur": (lambda p: encoded(p.filter(ImageFilter.GaussianBlur(2))), "identity"),
    "mirror": (lambda p: encoded(ImageOps.mirror(p)), "flip_horizontal"),
    "flip": (lambda p: encoded(ImageOps.flip(p)), "flip_vertical"),
    "turn": (lambda p: encoded(p.transpose(Image.Transpose.ROTATE_90)), "rotate_90"),
    "upside down": (lambda p: encoded(p.transpose(Image.Transpose.ROTATE_180)), "rotate_180"),
    "turn back": (lambda p: encoded(p.transpose(Image.Transpose.ROTATE_270)), "rotate_270"),
    "transpose": (lambda p: encoded(p.transpose(Image.Transpose.TRANSPOSE)), "transpose"),
    "transverse": (lambda p: encoded(p.transpose(Image.Transpose.TRANSVERSE)), "transverse"),
}


async def test_altered_copies_are_found_and_the_change_is_named(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
) -> None:
    for (name, work), (alteration, (alter, transform)) in product(registered.items(), ALTERATIONS.items()):
        answer = await matches.Match(asked(alter(opened(photographs[name]))))
        assert answer.action == work_pb2.ACTION_BLOCK, (name, alteration)
        assert answer.matches[0].work == work.name
        (region,) = answer.matches[0].regions
        assert region.transform == transform
        assert (region.work.left, region.work.top, region.work.right, region.work.bottom) == (0, 0, 1, 1)
        assert answer.modality == fingerprint_pb2.MODALITY_IMAGE


async def test_unrelated_pictures_are_left_alone(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
) -> None:
    assert registered
    for name in UNREGISTERED:
        answer = await matches.Match(asked(photographs[name]))
        assert answer.action == work_pb2.ACTION_ALLOW, name
        assert not answer.matches
        assert not answer.partial


async def test_all_candidates_come_with_min_probability_0_best_first(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
) -> None:
    answer = await matches.Match(asked(photographs["coffee"], min_probability=0.0, page_size=1000))
    probabilities = [match.probability for match in answer.matches]
    assert answer.matches[0].work == registered["coffee"].name
    assert probabilities == sorted(probabilities, reverse=True)
    limited = await matches.Match(asked(photographs["coffee"], min_probability=0.0, page_size=1))
    assert [match.work for match in limited.matches] == [registered["coffee"].name]


async def test_a_flat_picture_is_refused_as_a_reference_and_answered_as_a_query(
    matches: match_pb2_grpc.MatchServiceAsyncStub, shared_channel: grpc.aio.Channel
) -> None:
    works = work_pb2_grpc.WorkServiceStub(shared_channel)
    request = work_pb2.CreateWorkRequest(
        work=work_pb2.Work(owner="studio", external_id="blank page"),
        media=[fingerprint_pb2.Media(content=encoded(Image.new("RGB", (64, 64), "white")))],
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await works.CreateWork(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(refused.value) == "MEDIA_FEATURELESS"
    answer = await matches.Match(asked(encoded(Image.new("RGB", (300, 200), "#fefefe"))))
    assert answer.action == work_pb2.ACTION_ALLOW


async def stream(
    content: bytes, request_id: str = "", chunk: int = 5_000
) -> AsyncIterator[match_pb2.MatchStreamRequest]:
    yield match_pb2.MatchStreamRequest(
        header=match_pb2.MatchStreamRequest.Header(filename="x.jpg", request_id=request_id)
    )
    for start in range(0, len(content), chunk):
        yield match_pb2.MatchStreamRequest(chunk=content[start : start + chunk])


async def test_a_stream_is_answered_like_a_message(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
) -> None:
    answer = await matches.MatchStream(stream(photographs["coffee"], "r-1"))
    assert answer.matches[0].work == registered["coffee"].name
    assert answer.request_id == "r-1"
    assert answer.sha256 == hashlib.sha256(photographs["coffee"]).digest()


async def test_a_stream_of_unknown_kind_is_refused_before_its_end(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[match_pb2.MatchStreamRequest]:
        nonlocal sent
        yield match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header())
        while sent < 10**9:
            yield match_pb2.MatchStreamRequest(chunk=b"\0\1 no media " * 10_000)
            sent += 110_000
            await asyncio.sleep(0)

    error = await refused_stream(lambda: matches.MatchStream(endless()))
    assert "JPEG" in (error.details() or "")
    assert sent < 10**9


async def test_fingerprints_and_digests_alone_are_enough(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
    shared_service: Running,
) -> None:
    work, digest = registered["coffee"], hashlib.sha256(photographs["coffee"]).digest()
    store = shared_service.catalogue.store
    (reference_id,) = store.references_by_sha256(digest)
    (pdq,) = [one for one in store.fingerprints([reference_id])[reference_id] if one.scheme == hashes.PDQ]
    wire = fingerprint_pb2.Fingerprint(scheme=hashes.PDQ.id, count=1, descriptors=pdq.descriptors.tobytes())
    answer = await matches.Match(
        match_pb2.MatchRequest(fingerprints=fingerprint_pb2.FingerprintSet(fingerprints=[wire]))
    )
    assert answer.matches[0].work == work.name
    assert {s.name: s.value for s in answer.matches[0].signals}["pdq_distance"] == 0.0
    by_digest = await matches.Match(match_pb2.MatchRequest(sha256=digest))
    assert by_digest.matches[0].work == work.name
    assert by_digest.action == work_pb2.ACTION_BLOCK
    unknown = await matches.Match(match_pb2.MatchRequest(sha256=bytes(32)))
    assert unknown.action == work_pb2.ACTION_ALLOW


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (match_pb2.MatchRequest(), "query"),
        (match_pb2.MatchRequest(sha256=b"short"), "sha256"),
        (asked(b""), "media.content"),
        (asked(b"x", min_probability=float("nan")), "options.min_probability"),
        (asked(b"x", min_query_coverage=1.5), "options.min_query_coverage"),
        (asked(b"x", min_work_coverage=-0.1), "options.min_work_coverage"),
        (asked(b"x", page_size=-1), "options.page_size"),
        (asked(b"x", min_sequence=-1), "options.min_sequence"),
        (asked(b"x", territories=["France"]), r"options.territories\[0\]"),
        (asked(b"x", modality=99), "modality"),
        (
            match_pb2.MatchRequest(
                fingerprints=fingerprint_pb2.FingerprintSet(
                    fingerprints=[
                        fingerprint_pb2.Fingerprint(scheme="image.md5.v1", count=1, descriptors=b"x")
                    ]
                )
            ),
            r"fingerprints.fingerprints\[0\].scheme",
        ),
        (
            match_pb2.MatchRequest(
                fingerprints=fingerprint_pb2.FingerprintSet(
                    fingerprints=[
                        fingerprint_pb2.Fingerprint(scheme="image.pdq.v1", count=2, descriptors=bytes(32))
                    ]
                )
            ),
            r"fingerprints.fingerprints\[0\].descriptors",
        ),
    ],
)
async def test_wrong_queries_name_the_field(
    matches: match_pb2_grpc.MatchServiceAsyncStub, query: match_pb2.MatchRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=field) as caught:
        await matches.Match(query)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def pdq(**changes: Any) -> fingerprint_pb2.FingerprintSet:
    values: dict[str, Any] = {"scheme": hashes.PDQ.id, "count": 1, "descriptors": bytes(32), **changes}
    return fingerprint_pb2.FingerprintSet(fingerprints=[fingerprint_pb2.Fingerprint(**values)])


async def test_views_are_those_of_the_media_and_the_original_has_one(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
) -> None:
    for query in (pdq(views=b"\x09"), pdq(views=b"\xff")):
        with pytest.raises(grpc.aio.AioRpcError, match=r"fingerprints\[0\].views") as caught:
            await matches.Match(match_pb2.MatchRequest(fingerprints=query))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    turned, upright = (match_pb2.CompareSide(fingerprints=pdq(views=view)) for view in (b"\7", b"\0"))
    answer = await matches.CompareMedia(match_pb2.CompareMediaRequest(a=turned, b=upright))
    assert answer.regions[0].transform == hashes.TRANSFORMS[7]
    with pytest.raises(grpc.aio.AioRpcError, match=r"b.fingerprints.fingerprints\[0\].views"):
        await matches.CompareMedia(match_pb2.CompareMediaRequest(a=upright, b=turned))


async def test_a_batch_answers_each_by_itself(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
) -> None:
    answer = await matches.BatchMatch(
        match_pb2.BatchMatchRequest(
            requests=[asked(photographs["coffee"]), asked(b"\0no media\0"), asked(photographs["flower"])]
        )
    )
    first, second, third = answer.results
    assert first.response.matches[0].work == registered["coffee"].name
    assert second.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert third.response.action == work_pb2.ACTION_ALLOW


async def test_waiting_for_a_change_that_never_comes_ends_in_time(
    matches: match_pb2_grpc.MatchServiceAsyncStub, photographs: dict[str, bytes]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await matches.Match(asked(photographs["coffee"], min_sequence=10**9), timeout=3)
    assert caught.value.code() == grpc.StatusCode.ABORTED


async def test_comparing_explains_a_pair(
    matches: match_pb2_grpc.MatchServiceAsyncStub,
    registered: dict[str, work_pb2.Work],
    photographs: dict[str, bytes],
    shared_channel: grpc.aio.Channel,
) -> None:
    coffee = photographs["coffee"]
    mirrored = match_pb2.CompareSide(
        media=fingerprint_pb2.Media(content=encoded(ImageOps.mirror(opened(coffee))))
    )
    whole = await work_pb2_grpc.WorkServiceStub(shared_channel).GetWork(
        work_pb2.GetWorkRequest(name=registered["coffee"].name)
    )
    stored = match_pb2.CompareSide(reference=whole.references[0].name)
    answer = await matches.CompareMedia(match_pb2.CompareMediaRequest(a=mirrored, b=stored))
    assert answer.probability > 0.9
    assert answer.regions[0].transform == "flip_horizontal"
    assert any("flip horizontal" in sentence for sentence in answer.explanation)
    other = match_pb2.CompareSide(media=fingerprint_pb2.Media(content=photographs["flower"]))
    apart = await matches.CompareMedia(match_pb2.CompareMediaRequest(a=other, b=stored))
    assert apart.probability < 0.5
    assert {signal.name for signal in apart.signals} >= {"pdq_distance", "phash_distance"}


async def test_the_state_tells_what_is_indexed(
    matches: match_pb2_grpc.MatchServiceAsyncStub, registered: dict[str, work_pb2.Work]
) -> None:
    state = await matches.GetIndexState(match_pb2.GetIndexStateRequest())
    assert state.work_count == state.reference_count == len(registered)
    assert state.sequence == state.committed_sequence == len(registered)
    assert [s.scheme for s in state.schemes] == sorted(registry.schemes())
    counts = {scheme.scheme: scheme.descriptor_count for scheme in state.schemes}
    of_pictures = {channel.scheme.id for channel in registry.by_name("image").channels if channel.search}
    assert counts == {one: len(registered) * (one in of_pictures) for one in registry.schemes()}
    assert state.disk_bytes > 0
    assert state.max_inline_bytes > 0
    assert state.version
