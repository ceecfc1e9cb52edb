"""Texts through the running service: passages found and located, in any format, and no alarm without one."""

import codecs
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import opencc
import pytest

import copyhound
from benchmarks.quality import text_media
from benchmarks.quality.text_attacks import ATTACKS, Hand
from copyhound.service_process import run_service
from copyhound.types import Match
from copyhound.v1 import match_pb2, match_pb2_grpc
from tests.documents import docx, epub, page, paragraph, pdf
from tests.e2e.pictures import encoded, photograph

LIBRARIES = {language: text_media.made_up(language, random.Random(3), works=3) for language in ("zh", "en")}
WORKS = {name: text for one in LIBRARIES.values() for name, text in one.registered.items()}
LICENCE = text_media.made_up("en", random.Random(9), works=1, words=500).strangers[0]
"""What every book of a series ends with."""
AROUND = 900


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that holds the works."""
    scratch = tmp_path_factory.mktemp("service")
    with run_service(scratch / "data", scratch / "log") as address:
        with copyhound.Client(address) as client:
            for name, text in WORKS.items():
                client.register(text.encode(), owner="press", external_id=name)
        yield address


@pytest.fixture
async def client(target: str) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(target) as client:
        yield client


def overlap(match: Match, query: tuple[int, int], work: tuple[int, int]) -> tuple[float, float]:
    """Intersection over union of the longest passage found and the true one, in the query and in the work."""
    segment = max(match.segments, key=lambda one: one.query_end - one.query_start)
    assert segment.unit == "character"
    found = (segment.query_start, segment.query_end), (segment.work_start, segment.work_end)
    query_share, work_share = (
        max(0.0, min(one[1], true[1]) - max(one[0], true[0])) / (max(one[1], true[1]) - min(one[0], true[0]))
        for one, true in zip(found, (query, work), strict=True)
    )
    return query_share, work_share


@pytest.mark.parametrize(
    "attack", ["verbatim", "characters 10 %", "words 30 %", "homoglyphs, zero width", "other script", "OCR"]
)
async def test_passages_are_found_and_located_in_other_text(
    client: copyhound.AsyncClient, attack: str
) -> None:
    for number, (name, text) in enumerate(WORKS.items()):
        library = LIBRARIES[name[:2]]
        stranger = library.strangers[number % 3]
        start = 1_500 + 400 * number
        passage = ATTACKS[attack](text[start : start + 1_000], Hand(random.Random(number), stranger))
        suspect = stranger[:AROUND] + passage + stranger[AROUND : 2 * AROUND]

        answer = await client.match(suspect.encode())

        (match,) = answer.matches
        assert match.external_id == name
        assert match.probability > 0.9
        shares = overlap(match, (AROUND, AROUND + len(passage)), (start, start + 1_000))
        assert min(shares) > 0.85
        assert match.query_coverage == pytest.approx(len(passage) / len(suspect), abs=0.1)


async def test_a_novel_that_sixteen_works_hold_is_no_match_and_the_answer_says_why(
    client: copyhound.AsyncClient,
) -> None:
    novel = text_media.made_up("en", random.Random(31), works=1, words=600).strangers[0]
    for number in range(16):
        await client.register(f"{novel} {number}".encode(), owner="everyone", external_id=f"same-{number}")
    answer = await client.match(novel[300:2_500].encode())
    assert answer.matches == ()
    assert [reason.partition(":")[0] for reason in answer.partial_reasons] == ["COMMON"]
    assert "register it once" in answer.partial_reasons[0]


async def test_unrelated_texts_and_a_line_that_is_quoted_are_left_alone(
    client: copyhound.AsyncClient,
) -> None:
    for library in LIBRARIES.values():
        work = next(iter(library.registered.values()))
        line = work[700 : 700 + (100 if library.language == "en" else 30)]
        for stranger in library.strangers:
            answer = await client.match((stranger[:1_000] + line + stranger[1_000:]).encode())
            assert answer.matches == ()
            assert answer.action == "allow"


async def test_one_text_is_found_in_every_format_and_encoding(client: copyhound.AsyncClient) -> None:
    english, chinese = WORKS["en-001"][:3_000], WORKS["zh-001"][:1_500]
    lines = [english[start : start + 100] for start in range(0, len(english), 100)]
    suspects = {
        "page.html": page(english).encode(),
        "book.epub": epub([page(english[:1_500]), page(english[1_500:])]),
        "paper.pdf": pdf(lines),
        "paper.docx": docx("".join(paragraph(line) for line in lines)),
        "utf-16.txt": codecs.BOM_UTF16_LE + english.encode("utf-16-le"),
    }
    for name, content in suspects.items():
        answer = await client.match(content)
        assert [match.external_id for match in answer.matches] == ["en-001"], name
        assert answer.matches[0].query_coverage > 0.9, name
    traditional = opencc.OpenCC("s2t").convert(chinese)
    for content in (chinese.encode("utf-16"), traditional.encode("utf-8")):
        answer = await client.match(content)
        assert [match.external_id for match in answer.matches] == ["zh-001"]


async def test_what_many_books_end_with_is_no_copy(client: copyhound.AsyncClient) -> None:
    rng = random.Random(5)
    for number in range(30):
        own = text_media.made_up("en", rng, works=1, words=600).strangers[0]
        await client.register((own + LICENCE).encode(), owner="series", external_id=f"series {number}")
    fresh = text_media.made_up("en", rng, works=1, words=600).strangers[0]

    answer = await client.match((fresh + LICENCE).encode())
    assert answer.matches == ()

    copied = WORKS["en-000"][2_000:3_500]
    answer = await client.match((fresh + copied + LICENCE).encode())
    (match,) = answer.matches
    assert match.external_id == "en-000"
    assert min(overlap(match, (len(fresh), len(fresh) + 1_500), (2_000, 3_500))) > 0.85


async def test_a_long_text_is_streamed_and_a_batch_holds_texts_and_pictures(
    client: copyhound.AsyncClient, target: str, tmp_path: Path
) -> None:
    stranger = "\n".join(LIBRARIES["en"].strangers)
    long = stranger + WORKS["en-002"][1_000:3_000] + stranger
    path = tmp_path / "long.txt"
    path.write_text(long, encoding="utf-8")
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded(photograph("coffee")))

    async def messages() -> AsyncIterator[match_pb2.MatchStreamRequest]:
        yield match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header(filename="long.txt"))
        for start in range(0, len(long), 5_000):
            yield match_pb2.MatchStreamRequest(chunk=long[start : start + 5_000].encode())

    async with grpc.aio.insecure_channel(target) as channel:
        streamed = await match_pb2_grpc.MatchServiceStub(channel).MatchStream(messages())
    (match,) = streamed.matches
    (segment,) = match.segments
    assert match.external_id == "en-002"
    assert segment.query_start == pytest.approx(len(stranger), abs=40)
    assert segment.work_end == pytest.approx(3_000, abs=40)

    found = {source: outcome async for source, outcome in client.match_many([path, photo])}
    assert {answer.action for answer in found.values() if isinstance(answer, copyhound.Answer)} == {
        "allow",
        "block",
    }


async def test_comparing_shows_both_passages(client: copyhound.AsyncClient) -> None:
    work, stranger = WORKS["en-001"], LIBRARIES["en"].strangers[0]
    found = await client.compare((stranger[:500] + work[4_000:4_600]).encode(), work.encode())
    assert found.probability > 0.9
    (segment,) = found.segments
    assert segment.query_start == pytest.approx(500, abs=40)
    assert segment.work_start == pytest.approx(4_000, abs=40)
    assert {"text_evidence", "text_places", "text_longest"} <= found.signals.keys()
    other = await client.compare(stranger.encode(), work.encode())
    assert other.probability < 0.1
    assert other.segments == ()


async def test_a_deleted_text_is_not_found(client: copyhound.AsyncClient) -> None:
    text = text_media.made_up("zh", random.Random(8), works=1).strangers[0]
    registered = await client.register(text.encode(), owner="press", external_id="withdrawn")
    assert (await client.match(text[500:1_500].encode())).action == "block"
    await client.delete_work(registered.name)
    assert (await client.match(text[500:1_500].encode())).matches == ()


HOSTILE = {
    "one character": b"a" * 3_000_000,
    "one ideograph": "啊".encode() * 300_000,
    "a list of numbers": "".join(f"{n};{n * 7 % 1000};{n * 13 % 997}\n" for n in range(50_000)).encode(),
    "a table": ("| name | price | stock |\n" * 20_000).encode(),
    "dashes": b"-" * 500_000,
    "white space": b" \n\t" * 100 + b".",
}


async def test_texts_that_say_nothing_raise_no_alarm(client: copyhound.AsyncClient) -> None:
    for kind, content in HOSTILE.items():
        await client.register(content, owner="vandal", external_id=kind)
    for kind, content in HOSTILE.items():
        answer = await client.match(content)
        assert [match.external_id for match in answer.matches] == [kind]
        assert (await client.match(b"x" + content)).action == "allow" or kind == "a list of numbers"
    assert (await client.match(LIBRARIES["en"].strangers[0].encode())).matches == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (random.Random(1).randbytes(100_000), "MEDIA_UNSUPPORTED"),
        (b"Once upon a time. " * 300 + random.Random(2).randbytes(100_000), "MEDIA_DAMAGED"),
        (epub([page("")]), "MEDIA_UNSUPPORTED"),
        (pdf(["secret"], password="x"), "MEDIA_UNSUPPORTED"),
    ],
    ids=["binary", "binary behind text", "empty e-book", "locked"],
)
async def test_what_is_no_text_is_refused(client: copyhound.AsyncClient, content: bytes, reason: str) -> None:
    with pytest.raises(copyhound.UnreadableMediaError) as caught:
        await client.match(content)
    assert caught.value.reason == reason
