"""Containers through the running service: apps, comics, e-books, folders, and which parts are copies."""

import io
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

import copyhound
from benchmarks.quality import text_media
from copyhound.service_process import run_service
from copyhound.types import Match
from copyhound.where import describe_place
from tests.documents import epub, page, pdf, zipped
from tests.sounds import encoded as sound_file
from tests.sounds import tune

TEXT = text_media.made_up("en", random.Random(3), works=1, words=3_000).strangers[0]
OTHER_TEXT = text_media.made_up("en", random.Random(4), works=1, words=1_000).strangers[0]
LICENCE = text_media.made_up("en", random.Random(9), works=1, words=500).strangers[0]
VECTORS = Path(__file__).parent.parent / "vectors" / "containers"
STORY, NOVEL = TEXT[:6_000], TEXT[8_000:14_000]


def small(content: bytes, side: int = 300, *, kind: str = "JPEG", quality: int = 90) -> bytes:
    """A picture, smaller and encoded again."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def pdf_of(pictures: list[bytes]) -> bytes:
    first, *others = (Image.open(io.BytesIO(one)) for one in pictures)
    buffer = io.BytesIO()
    first.save(buffer, "PDF", save_all=True, append_images=others)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures(photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: small(content) for name, content in photographs.items()}


@pytest.fixture(scope="module")
def game(pictures: Mapping[str, bytes]) -> bytes:
    """An app of four pictures, a sound and a text, with what says nothing beside them."""
    names = ("astronaut", "chelsea", "coffee", "rocket")
    return zipped(
        {f"assets/{name}.jpg": pictures[name] for name in names}
        | {
            "music/theme.wav": sound_file(tune(1, 12.0)),
            "story.txt": STORY,
            "icon.png": small(pictures["coffee"], 32, kind="PNG"),
            "again.jpg": pictures["coffee"],
            "LICENSE.txt": LICENCE,
            "classes.dex": random.Random(1).randbytes(3_000),
        }
    )


@pytest.fixture(scope="module")
def target(
    tmp_path_factory: pytest.TempPathFactory, pictures: Mapping[str, bytes], game: bytes
) -> Iterator[str]:
    """A server that holds a game, a comic and an e-book."""
    scratch = tmp_path_factory.mktemp("service")
    comic = zipped({f"{n:03}.jpg": pictures[name] for n, name in enumerate(("china", "flower", "retina"))})
    book = epub([page(NOVEL)], {"OEBPS/cover.jpg": pictures["coins"]})
    with run_service(scratch / "data", scratch / "log") as address:
        with copyhound.Client(address) as client:
            client.register(game, owner="studio", external_id="game", filename="game.apk")
            client.register(comic, owner="press", external_id="comic", filename="comic.cbz")
            client.register(book, owner="press", external_id="book", filename="book.epub")
        yield address


@pytest.fixture
async def client(target: str) -> AsyncIterator[copyhound.AsyncClient]:
    async with copyhound.AsyncClient(target) as client:
        yield client


def counted(match: Match) -> dict[str, tuple[int, int, int, int]]:
    return {
        one.modality: (one.query_found, one.query_count, one.work_found, one.work_count)
        for one in match.part_counts
    }


async def test_a_container_and_its_parts_are_listed_together(
    client: copyhound.AsyncClient, game: bytes
) -> None:
    again = await client.register(game, owner="studio", external_id="game", filename="game.apk")
    work = await client.get_work(again.name)
    container, *parts = work.references
    assert work.reference_count == 7
    assert (container.modality, container.filename, container.byte_count) == (
        "container",
        "game.apk",
        len(game),
    )
    assert container.part_counts == {"image": 4, "audio": 1, "text": 1}
    assert {part.container for part in parts} == {container.name}
    assert "game.apk!assets/astronaut.jpg" in {part.filename for part in parts}
    assert "game.apk!LICENSE.txt" not in {part.filename for part in parts}


async def test_a_plundered_game_is_found_with_what_was_taken(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes]
) -> None:
    taken = {
        "x/1.webp": small(pictures["astronaut"], 200, kind="WEBP", quality=60),
        "x/2.webp": small(pictures["rocket"], 200, kind="WEBP", quality=60),
        "x/3.bin": (OTHER_TEXT[:1_000] + STORY[1_000:4_000]).encode("utf-16"),
        "x/own.jpg": pictures["gravel"],
    }
    answer = await client.match(zipped(taken))
    (match,) = answer.matches
    assert (answer.action, answer.modality, answer.part_count) == ("block", "container", 4)
    assert match.external_id == "game"
    assert match.probability > 0.9
    assert counted(match) == {"image": (2, 3, 2, 4), "text": (1, 1, 1, 1)}
    assert {part.query_part: part.filename for part in match.parts} == {
        "x/1.webp": "game.apk!assets/astronaut.jpg",
        "x/2.webp": "game.apk!assets/rocket.jpg",
        "x/3.bin": "game.apk!story.txt",
    }
    (segment,) = next(part.segments for part in match.parts if part.modality == "text")
    assert segment.query_start == pytest.approx(1_000, abs=60)
    assert segment.work_start == pytest.approx(1_000, abs=60)
    assert match.query_coverage < 1.0
    assert describe_place(match).startswith("2 of 3 pictures and 1 of 1 text; ")


async def test_the_same_file_is_certain_and_a_stranger_is_left_alone(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes], game: bytes
) -> None:
    answer = await client.match(game)
    (match,) = answer.matches
    assert (match.probability, match.query_coverage) == (1.0, 1.0)
    assert match.signals["identical_file"] == 1.0
    assert counted(match)["image"] == (4, 4, 4, 4)
    stranger: dict[str, str | bytes] = {"a.jpg": pictures["gravel"], "b.txt": OTHER_TEXT, "LICENSE": LICENCE}
    answer = await client.match(zipped(stranger), min_probability=0.0)
    assert answer.action == "allow"
    assert all(not match.parts for match in answer.matches)


async def test_one_stolen_picture_is_shown_and_a_person_should_look(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes]
) -> None:
    answer = await client.match(
        zipped({"a.jpg": pictures["gravel"], "deep.zip": zipped({"b.jpg": small(pictures["chelsea"], 250)})})
    )
    (match,) = answer.matches
    assert answer.action == "review"
    assert [part.query_part for part in match.parts] == ["deep.zip!b.jpg"]
    assert match.parts[0].probability > 0.9
    assert match.reference == match.parts[0].reference


async def test_a_comic_is_found_as_pdf_and_page_by_page(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes]
) -> None:
    pages = [small(pictures[name], 250, quality=70) for name in ("china", "flower", "retina")]
    answer = await client.match(pdf_of(pages))
    (match,) = answer.matches
    assert (match.external_id, answer.action) == ("comic", "block")
    assert counted(match)["image"] == (3, 3, 3, 3)
    assert {part.query_part for part in match.parts} == {"page 1", "page 2", "page 3"}
    answer = await client.match(pages[1])
    assert [one.external_id for one in answer.matches] == ["comic"]


async def test_an_e_book_is_found_by_its_text_and_by_its_cover(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes]
) -> None:
    for query in (NOVEL[1_000:2_000].encode(), small(pictures["coins"], 250)):
        answer = await client.match(query)
        assert [one.external_id for one in answer.matches] == ["book"]
    other = epub([page(OTHER_TEXT[:1_500] + NOVEL[500:2_500])], {"OEBPS/cover.jpg": pictures["gravel"]})
    (match,) = (await client.match(other)).matches
    assert [part.filename for part in match.parts] == ["book.epub!text"]
    assert match.segments == match.parts[0].segments != ()


async def test_a_folder_is_one_item_wherever_it_lies(
    client: copyhound.AsyncClient, tmp_path: Path, pictures: Mapping[str, bytes]
) -> None:
    for place in ("one", "two"):
        folder = tmp_path / place / "pages"
        folder.mkdir(parents=True)
        (folder / ".hidden.jpg").write_bytes(pictures["gravel"])
        for name in ("china", "flower", "retina"):
            (folder / f"{name}.jpg").write_bytes(small(pictures[name], 250))
    with copyhound.packed(tmp_path / "one" / "pages") as one, copyhound.packed(tmp_path / "two/pages") as two:
        assert one.read() == two.read()
        one.seek(0)
        answer = await client.match(one)
    (match,) = answer.matches
    assert counted(match)["image"] == (3, 3, 3, 3)
    with pytest.raises(copyhound.LocalFileError, match="is no folder"), copyhound.packed(tmp_path / "none"):
        pytest.fail("there is none")


def nested(depth: int) -> bytes:
    content = zipped({"story.txt": STORY})
    for _ in range(depth):
        content = zipped({"inner.zip": content})
    return content


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (nested(50), "MEDIA_LIMIT", "more than 4 deep"),
        (zipped({"a.txt": "short", "b.dex": bytes(range(256)) * 9}), "MEDIA_UNSUPPORTED", "holds no picture"),
        (zipped({"a.txt": "x" * 250}), "MEDIA_UNSUPPORTED", "says anything"),
        (zipped({"story.txt": STORY})[:-9], "MEDIA_DAMAGED", "cut off"),
        (pdf(["secret"], password="x"), "MEDIA_UNSUPPORTED", "password"),
        (epub([page("")], {"cover.jpg": b"\xff\xd8\xff" + bytes(500)}), "MEDIA_UNSUPPORTED", "says anything"),
        (zipped({"bomb.txt": b"0" * 20_000_000}), "MEDIA_LIMIT", "none of the 1"),
        ((VECTORS / "locked.7z").read_bytes(), "MEDIA_UNSUPPORTED", "7z is protected by a password"),
        ((VECTORS / "stored.rar").read_bytes(), "MEDIA_UNSUPPORTED", "RAR files cannot be opened: unpack it"),
    ],
    ids=["deep", "no media", "too short", "cut off", "locked", "empty e-book", "bomb", "locked 7z", "RAR"],
)
async def test_bad_containers_get_clear_answers(
    client: copyhound.AsyncClient, content: bytes, reason: str, message: str
) -> None:
    for call in (client.match(content), client.register(content, owner="vandal")):
        with pytest.raises(copyhound.UnreadableMediaError, match=message) as caught:
            await call
        assert caught.value.reason == reason
    assert [work async for work in client.works(owner="vandal")] == []


async def test_bad_parts_cost_themselves_alone_and_are_told(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes]
) -> None:
    parts = {
        "good.jpg": pictures["chelsea"],
        "cut.jpg": pictures["coffee"][:3_000],
        "bomb.txt": b"0" * 20_000_000,
    }
    answer = await client.match(zipped(parts))
    assert [part.query_part for part in answer.matches[0].parts] == ["good.jpg"]
    assert answer.partial
    assert answer.partial_reasons == ("PARTS: 2 parts were not looked up (1 MEDIA_DAMAGED, 1 MEDIA_LIMIT)",)


async def test_containers_are_not_compared_but_their_documents_and_parts_are(
    client: copyhound.AsyncClient, game: bytes, pictures: Mapping[str, bytes]
) -> None:
    (listed,) = [work async for work in client.works(external_id="game")]
    container, *parts = (await client.get_work(listed.name)).references
    for one in (game, container):
        with pytest.raises(copyhound.InvalidRequestError, match="match it, which tells which part"):
            await client.compare(pictures["coffee"], one)
    coffee = next(part for part in parts if part.filename.endswith("coffee.jpg"))
    assert (await client.compare(small(pictures["coffee"], 250), coffee)).probability > 0.9
    book = epub([page(NOVEL[:3_000])], {"cover.jpg": pictures["coins"]})
    assert (await client.compare(book, NOVEL.encode())).probability > 0.9


async def test_a_deleted_container_takes_its_parts_with_it(
    client: copyhound.AsyncClient, pictures: Mapping[str, bytes]
) -> None:
    work = await client.register(
        zipped({"a.jpg": pictures["motorcycle_left"], "b.jpg": pictures["gravel"]}), owner="press"
    )
    assert (await client.match(pictures["motorcycle_left"])).action == "block"
    before = (await client.index_state()).reference_count
    await client.delete_work(work.name)
    assert (await client.index_state()).reference_count == before - 3
    assert (await client.match(pictures["motorcycle_left"])).matches == ()
