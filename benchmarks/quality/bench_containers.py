r"""Containers: what registering costs, and whether a plundered, re-encoded and renamed one is recognised.

    python -m benchmarks.quality.bench_containers --smoke
    python -m benchmarks.quality.bench_containers --pictures FOLDER --sounds FOLDER --texts FOLDER \
        --other-pictures FOLDER --other-sounds FOLDER --other-texts FOLDER --json containers.json

One large container is registered in one service, and its parts, loose, in another: the rates are compared by
the processor time that the services spend, since a shared machine's clock says little. Then, in the first
service, smaller containers of several owners are registered that share stock files, as games on one engine
do. Asked are copies of which half of the parts were removed and the others re-encoded, renamed and put among
foreign ones; and strangers that hold the same stock files. The peer is what file managers and archives
compare by: the digest of each part.
"""

import hashlib
import io
import itertools
import random
import statistics
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

import copyhound
from benchmarks.quality import audio_media, media, text_media
from benchmarks.quality.audio_attacks import RATE, encoded
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Cpu
from copyhound.types import Answer, NewWork
from indexers.audio.decode import Sound

SEED: Final = 11
_SIDE = 320
"""Longest side of a picture in a container, in pixels, as in games for phones."""
_SECONDS = 15.0
_CHARACTERS = 3_000
_TIMEOUT = 7_200.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is registered and asked.

    Attributes:
        large: Pictures, sounds and texts of the large container.
        small: The same of each smaller one.
        stock: Pictures and texts that the smaller ones share, and as many strangers.
        owners: How many smaller ones.
        foreign: Pictures that a copy holds beside what was taken.
        pages: Of a comic.
        settings: Of the services, by the names of their environment variables.
    """

    large: tuple[int, int, int]
    small: tuple[int, int, int]
    stock: tuple[int, int]
    owners: int
    foreign: int
    pages: int
    settings: Mapping[str, str] = field(default_factory=dict)


FULL: Final = Amounts((400, 12, 1_588), (15, 0, 6), (12, 2), 5, 60, 12)
SMOKE: Final = Amounts((3, 1, 1), (1, 0, 1), (1, 1), 2, 1, 2, {"COPYHOUND_WORKERS": "1"})


@dataclass(frozen=True, slots=True)
class Item:
    """A part, not yet in a file.

    Attributes:
        kind: ``picture``, ``sound`` or ``text``.
        data: What it is.
    """

    kind: str
    data: Image.Image | Sound | str

    def original(self) -> tuple[str, bytes]:
        """Ending and content of its file."""
        if isinstance(self.data, Image.Image):
            return "jpg", _jpeg(self.data, 90)
        if isinstance(self.data, str):
            return "txt", self.data.encode()
        return "mp3", encoded(self.data, "mp3", "libmp3lame", 128_000, 44_100).read()

    def altered(self, rng: random.Random) -> tuple[str, bytes]:
        """Ending and content of a copy: of other size, codec, encoding, with some edits."""
        if isinstance(self.data, Image.Image):
            width, height = self.data.size
            return "webp", _saved(self.data.resize((width * 3 // 4, height * 3 // 4)), "WEBP", 60)
        if isinstance(self.data, str):
            kept = "".join(letter for letter in self.data if rng.random() > 0.05)
            return "dat", kept.encode("utf-16")
        return "ogg", encoded(self.data, "ogg", "libopus", 48_000, 48_000).read()


class Store:
    """Hands out pictures, sounds and texts, each once."""

    def __init__(
        self, pictures: Iterator[Image.Image], sounds: Iterator[Sound], texts: Iterator[str]
    ) -> None:
        """Hand out these."""
        self._pictures = pictures
        self._sounds = sounds
        self._texts = texts

    def take(self, pictures: int, sounds: int = 0, texts: int = 0) -> list[Item]:
        """So many of each.

        Raises:
            ValueError: If there are fewer.
        """
        taken = [Item("picture", one) for one in itertools.islice(self._pictures, pictures)]
        taken += [Item("sound", one) for one in itertools.islice(self._sounds, sounds)]
        taken += [Item("text", one) for one in itertools.islice(self._texts, texts)]
        missing = pictures + sounds + texts - len(taken)
        if missing:
            kinds = sorted(Counter(one.kind for one in taken).items())
            raise ValueError(f"{missing} too few: got {kinds}; name folders that hold more")
        return taken

    @classmethod
    def load(cls, pictures: Path, sounds: Path, texts: Path, rng: random.Random) -> "Store":
        """What lies below folders, in an order that the seed decides."""
        tracks = audio_media.load([sounds])
        rng.shuffle(tracks)
        found = list(media.load([pictures]).media)
        rng.shuffle(found)
        books = [path.read_text(encoding="utf-8") for path in sorted(texts.glob("*/*.txt"))]
        return cls(
            (_small(one.picture()) for one in found),
            (piece for track in tracks for piece in [_middle(track.sound())] if piece is not None),
            _chapters(books, rng),
        )

    @classmethod
    def shipped(cls, rng: random.Random) -> "Store":
        """Crops of shipped photographs, and made-up sounds and texts: to show that it works."""
        library = text_media.made_up("en", rng, works=2, words=4_000)
        return cls(
            (_small(one.picture(), 160) for one in media.shipped().media),
            (one.sound() for one in audio_media.made_up(4, 8.0)),
            _chapters([*library.registered.values(), *library.strangers], rng),
        )


def _small(picture: Image.Image, side: int = _SIDE) -> Image.Image:
    picture.thumbnail((side, side))
    return picture


def _middle(sound: Sound) -> Sound | None:
    count = int(_SECONDS * RATE)
    start = (sound.shape[1] - count) // 2
    return sound[:, start : start + count].copy() if start >= 0 else None  # of the whole, let go


def _chapters(books: Sequence[str], rng: random.Random) -> Iterator[str]:
    places = [(book, at) for book in books for at in range(0, len(book) - _CHARACTERS, _CHARACTERS)]
    rng.shuffle(places)
    return (book[at : at + _CHARACTERS] for book, at in places)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    return _saved(picture, "JPEG", quality)


def _saved(picture: Image.Image, kind: str, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, quality=quality)
    return file.getvalue()


def packed(files: Mapping[str, bytes]) -> bytes:
    """A ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def named(items: Sequence[Item]) -> dict[str, bytes]:
    """Files as their maker names them."""
    files = {}
    for number, item in enumerate(items):
        ending, content = item.original()
        files[f"assets/{item.kind}s/{number:04}.{ending}"] = content
    return files


def plundered(items: Sequence[Item], foreign: Sequence[Item], rng: random.Random) -> dict[str, bytes]:
    """Half of the items, re-encoded and renamed, among foreign ones."""
    kept = rng.sample(items, len(items) // 2)
    files = [item.altered(rng) for item in kept] + [item.original() for item in foreign]
    rng.shuffle(files)
    return {f"data/{rng.randbytes(8).hex()}.{ending}": content for ending, content in files}


def pdf_of(pages: Sequence[Item]) -> bytes:
    """A PDF of pictures, as a scanner makes it."""
    first, *others = [page.data for page in pages if isinstance(page.data, Image.Image)]
    file = io.BytesIO()
    first.resize((first.width * 7 // 8, first.height * 7 // 8)).save(
        file, "PDF", save_all=True, append_images=others, quality=70
    )
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Cost:
    """What registering took.

    Attributes:
        cpu: Of the service.
        seconds: By the clock.
    """

    cpu: Cpu
    seconds: float


def _measured(service: harness.Service, before: Cpu, began: float) -> Cost:
    return Cost(service.cpu() - before, time.perf_counter() - began)


def loose(files: Mapping[str, bytes], scratch: Path, settings: Mapping[str, str]) -> Cost:
    """Register the files as works of their own, in a service of their own."""
    with harness.service(scratch / "loose", settings=settings) as service:
        with copyhound.Client(service.target, timeout=_TIMEOUT) as client:
            before, began = service.cpu(), time.perf_counter()
            works = (
                NewWork(content, "studio", external_id=name, filename=name) for name, content in files.items()
            )
            for _, outcome in client.register_many(works):
                if isinstance(outcome, copyhound.CopyhoundError):
                    raise outcome
        return _measured(service, before, began)


def _figures(answer: Answer, target: str) -> dict[str, Any]:
    """What the answer says of one work."""
    match = next((one for one in answer.matches if one.external_id == target), None)
    if match is None:
        return {"probability": 0.0, "action": str(answer.action), "found": {}}
    return {
        "probability": match.probability,
        "action": str(match.action),
        "query_share": match.query_coverage,
        "work_share": match.work_coverage,
        "found": {
            one.modality: f"{one.query_found} of {one.query_count}; {one.work_found} of {one.work_count}"
            for one in match.part_counts
        },
    }


def measure(own: Store, others: Store, amounts: Amounts, scratch: Path) -> dict[str, Any]:
    """Register, ask and compare."""
    rng = random.Random(SEED)
    large = own.take(*amounts.large)
    stock = others.take(amounts.stock[0], 0, amounts.stock[1])
    small = [others.take(*amounts.small) for _ in range(amounts.owners)]
    strangers = [others.take(*amounts.small) for _ in range(amounts.owners)]
    foreign = others.take(amounts.foreign)
    comic = others.take(amounts.pages)
    files = named(large)
    cost_loose = loose(files, scratch, amounts.settings)
    with (
        harness.service(scratch / "data", settings=amounts.settings) as service,
        copyhound.Client(service.target, timeout=_TIMEOUT) as client,
    ):
        content = packed(files)
        before, began = service.cpu(), time.perf_counter()
        work = client.register(content, owner="studio", external_id="large", filename="large.apk")
        cost = _measured(service, before, began)
        for number, items in enumerate(small):
            client.register(
                packed(named([*items, *stock])), owner=f"owner {number}", external_id=f"small {number}"
            )
        client.register(packed(named(comic)), owner="comics", external_id="comic", filename="comic.cbz")

        taken = plundered(large, foreign, rng)
        before = service.cpu()
        answer = client.match(packed(taken), min_probability=0.0)
        asked_cpu = (service.cpu() - before).total
        digests = {hashlib.sha256(one).digest() for one in files.values()}
        copies = [
            _figures(client.match(packed(plundered([*items, *stock], [], rng))), f"small {number}")
            for number, items in enumerate(small)
        ]
        alarms = [client.match(packed(named([*items, *stock])), min_probability=0.0) for items in strangers]
        thief = plundered(strangers[0], [], rng) | {"banner.webp": large[0].altered(rng)[1]}
        one_part = client.match(packed(thief))
        as_pdf = client.match(pdf_of(comic), min_probability=0.0)
        pages = [client.match(page.altered(rng)[1]) for page in comic[:: max(1, len(comic) // 10)]]
    listed = [part for match in one_part.matches for part in match.parts]
    return {
        "parts": len(files),
        "registered_parts": sum(work.references[0].part_counts.values()),
        "container_bytes": len(content),
        "rate": {
            "cpu_ms_a_part_loose": cost_loose.cpu.total * 1000 / len(files),
            "cpu_ms_a_part_in_container": cost.cpu.total * 1000 / len(files),
            "cpu_ratio": cost_loose.cpu.total / cost.cpu.total,
            "clock_ratio": cost_loose.seconds / cost.seconds,
        },
        "half_removed_re_encoded_renamed": {
            **_figures(answer, "large"),
            "taken": len(large) // 2,
            "foreign": len(foreign),
            "cpu_ms_a_part": asked_cpu * 1000 / len(taken),
            "found_by_digest": sum(hashlib.sha256(one).digest() in digests for one in taken.values()),
            "other_works_alarm": sum(
                one.external_id != "large" and one.probability >= 0.5 for one in answer.matches
            ),
        },
        "small_containers": {
            "copies": len(copies),
            "found": sum(one["probability"] >= 0.5 for one in copies),
            "asked_to_block": sum(one["probability"] >= 0.9 for one in copies),
            "lowest_probability": min(one["probability"] for one in copies),
        },
        "strangers_with_the_same_stock": {
            "containers": len(alarms),
            "alarms": sum(one.action != "allow" for one in alarms),
            "highest_probability": max(
                (match.probability for one in alarms for match in one.matches), default=0.0
            ),
            "stock_parts_seen": statistics.mean(
                max((sum(n.query_found for n in m.part_counts) for m in one.matches), default=0)
                for one in alarms
            ),
        },
        "one_part_stolen": {
            "action": str(one_part.action),
            "named": [part.query_part for part in listed] == ["banner.webp"],
            "probability_of_the_whole": max((one.probability for one in one_part.matches), default=0.0),
        },
        "comic": {
            "as_pdf": _figures(as_pdf, "comic"),
            "pages_asked_alone": len(pages),
            "pages_found_alone": sum(
                any(match.external_id == "comic" for match in one.matches) for one in pages
            ),
        },
    }


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    for name, what in (
        ("pictures", "pictures of the large container"),
        ("sounds", "its sounds"),
        ("texts", "its texts, in folders by language"),
        ("other-pictures", "pictures of all others"),
        ("other-sounds", "their sounds"),
        ("other-texts", "their texts, in folders by language"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help=what)
    options = parser.parse_args()
    rng = random.Random(SEED)
    if options.smoke:
        own = others = Store.shipped(rng)
    else:
        own = Store.load(options.pictures, options.sounds, options.texts, rng)
        others = Store.load(options.other_pictures, options.other_sounds, options.other_texts, rng)
    with tempfile.TemporaryDirectory() as name:
        figures = measure(own, others, SMOKE if options.smoke else FULL, Path(name))
    half, small = figures["half_removed_re_encoded_renamed"], figures["small_containers"]
    return harness.finish(
        options,
        figures,
        [
            Bound.at_least(
                0.8, "rate of registering loose parts, by processor time", figures["rate"]["cpu_ratio"]
            ),
            Bound.at_least(0.9, "probability of the plundered container", half["probability"]),
            Bound.at_least(1.0, "share of small containers found", small["found"] / small["copies"]),
            Bound.at_most(0, "alarms of strangers", figures["strangers_with_the_same_stock"]["alarms"]),
            Bound.at_least(0.9, "probability of the comic as PDF", figures["comic"]["as_pdf"]["probability"]),
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())
