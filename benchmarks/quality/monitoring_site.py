"""Sites on loopback with thousands of media files, some of which are copies of registered works.

Three sites link to each other's media. Their pages name real photographs, made-up tunes, films, texts and
containers in all the ways that pages name media, each file under several addresses. Copies are re-encoded,
cut, cropped, mirrored and renamed. Some stand where nobody may go: behind robots.txt, at a licensee, on a
site that is not watched. Between the pages lie traps.
"""

import gzip
import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from PIL import Image

from benchmarks.quality import text_media
from indexers.audio.decode import Sound
from indexers.image.decode import Picture
from tests import films, sounds
from tests.documents import docx, epub, page, paragraph, zipped
from tests.e2e.pictures import encoded, photograph
from tests.sites import Answer, Asked, Server, missing, serving, with_validators

PHOTOGRAPHS: Final = (
    "astronaut", "coffee", "chelsea", "rocket", "china", "flower", "motorcycle_left", "hubble_deep_field",
)  # fmt: skip
"""Registered, each as a work."""
COMIC: Final = ("moon", "camera", "retina", "ihc")
"""Registered together, as a comic."""
STRANGERS: Final = ("gravel", "grass", "brick", "coins", "text", "page", "cell")
"""Never registered."""
_TYPES: Final = {
    "jpg": "image/jpeg", "webp": "image/webp", "png": "image/png", "mp3": "audio/mpeg", "ogg": "audio/ogg",
    "flac": "audio/flac", "mp4": "video/mp4", "mkv": "video/x-matroska", "txt": "text/plain",
    "epub": "application/epub+zip", "docx": "application/octet-stream", "zip": "application/zip",
    "cbz": "application/vnd.comicbook+zip", "apk": "application/vnd.android.package-archive",
}  # fmt: skip
_IN_PAGES: Final = frozenset({"jpg", "webp", "png"})


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much there is.

    Attributes:
        pages: Of each site.
        on_page: Media files that a page names.
        variants: Altered copies of each photograph.
        strangers: Pictures that are copies of nothing.
        others: Copies of each tune, film, text and container, and as many strangers of each kind.
    """

    pages: int = 100
    on_page: int = 8
    variants: int = 12
    strangers: int = 120
    others: int = 4


SMOKE: Final = Amounts(pages=6, on_page=5, variants=1, strangers=6, others=1)


@dataclass(frozen=True, slots=True)
class File:
    """A media file.

    Attributes:
        works: External ids of the works that it is a copy of.
    """

    content: bytes
    ending: str
    works: frozenset[str] = frozenset()

    @property
    def sha256(self) -> bytes:
        """Its digest."""
        return hashlib.sha256(self.content).digest()


@dataclass(frozen=True, slots=True)
class Library:
    """What is registered, and what the sites show.

    Attributes:
        works: Files by external id.
        open: What stands where the crawler may go.
        forbidden: What stands elsewhere: copies, all of them.
    """

    works: Mapping[str, tuple[str, bytes]]
    open: Sequence[File]
    forbidden: Sequence[File]


def library(amounts: Amounts, seed: int = 5) -> Library:
    """Make all files; takes a while."""
    rng = random.Random(seed)
    texts = text_media.made_up("en", rng, works=3 + amounts.others, words=1_200)
    stories = dict(list(texts.registered.items())[:3])
    tunes = {f"tune-{number}": sounds.tune(number, 40.0) for number in (1, 2, 3)}
    works: dict[str, tuple[str, bytes]] = {
        f"photo-{name}": (f"{name}.jpg", encoded(photograph(name), 95)) for name in PHOTOGRAPHS
    }
    works |= {name: (f"{name}.flac", sounds.encoded(tune, "flac", "flac")) for name, tune in tunes.items()}
    works |= {f"story-{name}": (f"{name}.txt", text.encode()) for name, text in stories.items()}
    works |= {
        f"film-{name}": (f"{name}.mkv", films.encoded(films.frames(name, 0, 18)))
        for name in ("first", "second")
    }
    works["comic"] = ("comic.cbz", zipped({f"{n:02}.jpg": _small(name, 420) for n, name in enumerate(COMIC)}))
    shown = [
        *_photographs(rng, amounts.variants),
        *_tunes(rng, tunes, amounts.others),
        *_films(amounts.others),
        *_texts(rng, stories, amounts.others),
        *_containers(rng, stories, amounts.others),
        *_strangers(rng, texts.strangers, amounts),
    ]
    forbidden = list(_photographs(random.Random(seed + 1), 1))
    return Library(works, shown, forbidden)


def _small(name: str, side: int, quality: int = 80) -> bytes:
    picture = photograph(name)
    picture.thumbnail((side, side))
    return encoded(picture, quality)


def _photographs(rng: random.Random, variants: int) -> Iterator[File]:
    for name in PHOTOGRAPHS:
        for number in range(variants):
            picture = photograph(name)
            width, height = picture.size
            if number % 4 == 1:
                part = rng.uniform(0.03, 0.12)
                picture = picture.crop(
                    (int(width * part), int(height * part / 2), int(width * (1 - part / 3)), height)
                )
            if number % 4 == 2:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            side = rng.randrange(240, 420)
            picture.thumbnail((side, side))
            kind = ("JPEG", "WEBP", "PNG")[number % 3]
            buffer = io.BytesIO()
            picture.save(buffer, kind, quality=rng.randrange(45, 85))
            yield File(
                buffer.getvalue(), {"JPEG": "jpg"}.get(kind, kind.lower()), frozenset({f"photo-{name}"})
            )


def _tunes(rng: random.Random, tunes: Mapping[str, Sound], copies: int) -> Iterator[File]:
    forms = (("mp3", "libmp3lame", 22_050), ("ogg", "libopus", 48_000), ("flac", "flac", 22_050))
    for name, tune in tunes.items():
        for number in range(copies):
            ending, codec, rate = forms[number % len(forms)]
            start = rng.uniform(0.0, 12.0)
            part = sounds.cut(tune, start, start + 24.0) * np.float32(rng.uniform(0.5, 1.0))
            yield File(sounds.encoded(part, ending, codec, rate), ending, frozenset({name}))


def _films(copies: int) -> Iterator[File]:
    changes: tuple[Callable[[Picture], Picture], ...] = (
        lambda picture: picture,
        lambda picture: np.asarray(cv2.resize(picture, (192, 108))),
        lambda picture: np.asarray(np.clip(picture.astype(np.int16) + 25, 0, 255), np.uint8),
        lambda picture: np.asarray(picture[:, ::-1]),
    )
    for name in ("first", "second"):
        for number in range(copies):
            pictures = films.changed(films.frames(name, number, 14 + number), changes[number % len(changes)])
            ending, container = (("mp4", "mp4"), ("mkv", "matroska"))[number % 2]
            content = films.encoded(pictures, container=container, options={"qscale": str(5 + number)})
            yield File(content, ending, frozenset({f"film-{name}"}))


def _texts(rng: random.Random, stories: Mapping[str, str], copies: int) -> Iterator[File]:
    for name, text in stories.items():
        for number in range(copies):
            start = rng.randrange(0, 1_000)
            part = text[start : start + 3_500]
            works = frozenset({f"story-{name}"})
            match number % 3:
                case 0:
                    yield File(part.encode("utf-16"), "txt", works)
                case 1:
                    yield File(epub([page(part.replace(". ", ".\n"))]), "epub", works)
                case _:
                    yield File(docx("".join(map(paragraph, part.split(". ")))), "docx", works)


def _containers(rng: random.Random, stories: Mapping[str, str], copies: int) -> Iterator[File]:
    first, text = next(iter(stories.items()))
    for number in range(copies):
        side, quality = 260 + 20 * number, 50 + 5 * number
        stolen = {
            f"p{place}.jpg": _small(name, side, quality) for place, name in enumerate(COMIC[number % 2 :])
        }
        stolen["own.jpg"] = _stranger(rng)
        yield File(zipped(stolen), ("cbz", "zip")[number % 2], frozenset({"comic"}))
        taken = rng.sample(PHOTOGRAPHS, 2)
        parts: dict[str, str | bytes] = {f"res/{place}.jpg": _small(n, side) for place, n in enumerate(taken)}
        parts |= {"res/icon.jpg": _stranger(rng), "assets/story.bin": text[:3_000].encode()}
        works = {f"photo-{name}" for name in taken} | {f"story-{first}"}
        yield File(zipped(parts), "apk", frozenset(works))


def _stranger(rng: random.Random) -> bytes:
    picture = photograph(rng.choice(STRANGERS))
    width, height = picture.size
    w, h = (round(side * rng.uniform(0.35, 0.6)) for side in (width, height))
    left, top = rng.randrange(width - w), rng.randrange(height - h)
    picture = picture.crop((left, top, left + w, top + h))
    picture.thumbnail((320, 320))
    return encoded(picture, rng.randrange(50, 90))


def _strangers(rng: random.Random, texts: Sequence[str], amounts: Amounts) -> Iterator[File]:
    for _ in range(amounts.strangers):
        yield File(_stranger(rng), "jpg")
    for number in range(amounts.others):
        yield File(sounds.encoded(sounds.tune(100 + number, 20.0), "flac", "flac"), "flac")
        yield File(films.encoded(films.frames("other", number, number + 9), container="mp4"), "mp4")
        yield File(texts[number][:4_000].encode(), "txt")
        yield File(zipped({"a.jpg": _stranger(rng), "b.jpg": _stranger(rng)}), "zip")


@dataclass(slots=True)
class Sites:
    """The sites, while they are served.

    Attributes:
        seen_at: Of each content where the crawler may go: pages and addresses of files.
        expected: Works and digests of their copies where the crawler may go.
        forbidden: Digests of copies elsewhere.
    """

    servers: dict[str, Server] = field(default_factory=dict)
    seen_at: dict[bytes, set[tuple[str, str]]] = field(default_factory=dict)
    expected: set[tuple[str, bytes]] = field(default_factory=set)
    forbidden: set[bytes] = field(default_factory=set)

    @property
    def start(self) -> str:
        """Where the crawl begins."""
        return f"{self.servers['films'].url}/"

    @property
    def licensee(self) -> str:
        """What is left alone."""
        return f"{self.servers['licensee'].url}/"

    @property
    def asked(self) -> int:
        """How many requests all servers had."""
        return sum(server.asked.total() for server in self.servers.values())

    def trespasses(self) -> list[str]:
        """What was asked for and must not be."""
        found = [path for path in self.servers["films"].asked if path.startswith("/private/")]
        found += [path for path in self.servers["licensee"].asked if path != "/robots.txt"]
        return found + [path for path in self.servers["stranger"].asked if path.startswith("/page/")]

    def trapped(self) -> Counter[str]:
        """How many addresses of each trap were asked for."""
        return Counter(
            path.split("/")[1].partition("?")[0]
            for path in self.servers["films"].asked
            if path.startswith(("/calendar/", "/loop/", "/s?"))
        )


@contextmanager
def served(shown: Library, amounts: Amounts, seed: int = 7) -> Iterator[Sites]:
    """Serve everything on loopback; each site has an address of its own."""
    rng = random.Random(seed)
    sites = Sites()
    names = ("films", "music", "books")
    answers: dict[str, dict[str, Answer]] = {name: {} for name in (*names, "licensee", "stranger")}
    with ExitStack() as stack:
        for number, name in enumerate(answers):
            site = _site(answers[name])
            host = f"127.0.0.{number + 1}"
            sites.servers[name] = stack.enter_context(serving(site, host=host))
        _fill(shown, amounts, sites, answers, rng)
        yield sites


def _site(answers: Mapping[str, Answer]) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        known = answers.get(asked.path)
        if known is not None:
            return known if known.status != 200 or known.cut else with_validators(known, asked)
        return _trap(asked.path)

    return answer


def _trap(path: str) -> Answer:
    """What is made up as it is asked for: a calendar without an end, session ids, redirects."""
    first, _, rest = path.strip("/").partition("/")
    if first == "calendar" and rest.isdecimal():
        day = int(rest)
        links = "".join(f'<a href="/calendar/{day + step}">day {day + step}</a>' for step in (1, 2, 7))
        return Answer(f"<title>Day {day}</title><p>Nothing on day {day}.</p>{links}".encode())
    if first == "loop" and rest.isdecimal():
        return Answer(status=302, headers={"Location": f"/loop/{(int(rest) + 1) % 3}"})
    if path.startswith("/s?"):
        number = int(hashlib.sha256(path.encode()).hexdigest()[:8], 16)
        return Answer(f'<title>Session</title><a href="/s?sid={number}">again</a>'.encode())
    return missing()


def _fill(
    shown: Library,
    amounts: Amounts,
    sites: Sites,
    answers: dict[str, dict[str, Answer]],
    rng: random.Random,
) -> None:
    names = ("films", "music", "books")
    places = [(name, number) for name in names for number in range(amounts.pages)]
    slots = amounts.on_page * len(places)
    chosen = [*shown.open, *rng.choices(shown.open, k=slots)][:slots]
    rng.shuffle(chosen)
    bodies: dict[tuple[str, int], list[tuple[str, str]]] = {place: [] for place in places}
    for slot, file in enumerate(chosen):
        place = places[slot % len(places)]
        host = rng.choice(names) if slot % 5 == 0 else place[0]
        path = f"/m/{slot}/{rng.randrange(10**6)}.{file.ending}"
        answers[host][path] = Answer(file.content, _TYPES[file.ending])
        bodies[place].append((sites.servers[host].url + path, file.ending))
        page_url = f"{sites.servers[place[0]].url}/page/{place[1]}" if place[1] else _home(sites, place[0])
        sites.seen_at.setdefault(file.sha256, set()).add((page_url, sites.servers[host].url + path))
        sites.expected |= {(work, file.sha256) for work in file.works}
    for (name, number), media in bodies.items():
        path = f"/page/{number}" if number else "/"
        answers[name][path] = Answer(_page(name, number, media, amounts, sites))
    _forbid(shown, sites, answers)
    answers["films"]["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /private/\n", "text/plain")
    answers["films"]["/bomb"] = Answer(
        gzip.compress(bytes(30_000_000)), "text/html", headers={"Content-Encoding": "gzip"}
    )
    answers["films"]["/broken.jpg"] = Answer(b"\xff\xd8\xff" + bytes(5_000), "image/jpeg", cut=900)
    answers["films"]["/gone.jpg"] = Answer(b"<html><title>Sorry</title><p>gone</html>", "image/jpeg")
    answers["films"]["/lie.mp4"] = Answer(b"\x7fELF" * 500, "video/mp4")


def _home(sites: Sites, name: str) -> str:
    return f"{sites.servers[name].url}/"


def _page(name: str, number: int, media: Sequence[tuple[str, str]], amounts: Amounts, sites: Sites) -> bytes:
    head = [f"<title>{name} {number}</title>"]
    children = range(6 * number + 1, min(6 * number + 7, amounts.pages))
    body = [f'<a href="/page/{child}">page {child}</a>' for child in children]
    for place, (url, ending) in enumerate(media):
        (head if place == 4 and ending in _IN_PAGES else body).append(_named(url, ending, place))
    if name == "films" and number == 0:
        others = [sites.servers[one].url for one in ("licensee", "stranger")]
        body += [f'<a href="{url}/page/0">x</a><img src="{url}/m/0.jpg">' for url in others[:1]]
        body.append(f'<a href="{others[1]}/page/0">y</a>')
        body.append('<a href="/private/0">z</a><img src="/private/0.jpg">')
        body.append('<a href="/calendar/1">c</a><a href="/loop/0">l</a><a href="/s?sid=1">s</a>')
        body.append('<a href="/bomb">b</a><img src="/broken.jpg"><img src="/gone.jpg">')
        body.append('<video src="/lie.mp4"></video>')
    text = f"<p>Page {number} of {name}, with words of its own: {number * 7919}.</p>"
    return f"<!doctype html><head>{''.join(head)}</head><body>{text}{''.join(body)}</body>".encode()


def _named(url: str, ending: str, place: int) -> str:
    """A reference to a file, in the way of its place on the page."""
    if ending in ("mp3", "ogg", "flac"):
        return f'<audio controls src="{url}"></audio>'
    if ending in ("mp4", "mkv"):
        return f'<video><source src="{url}"></video>'
    if ending not in _IN_PAGES:
        return f'<a href="{url}" download>file</a>'
    known = json.dumps({"@type": "ImageObject", "contentUrl": url})
    forms = (
        f'<img src="{url}">',
        f'<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" data-src="{url}">',
        f'<img srcset="{url} 2x">',
        f"<div style=\"background: url('{url}')\"></div>",
        f'<meta property="og:image" content="{url}">',
        f'<a href="{url}">large</a>',
        f'<script type="application/ld+json">{known}</script>',
        f'<picture><source srcset="{url}"></picture>',
    )
    return forms[place % len(forms)]


def _forbid(shown: Library, sites: Sites, answers: dict[str, dict[str, Answer]]) -> None:
    """Put copies where nobody may go."""
    for number, file in enumerate(shown.forbidden):
        sites.forbidden.add(file.sha256)
        answer = Answer(file.content, _TYPES[file.ending])
        for name, folder in (("films", "/private"), ("licensee", "/m"), ("stranger", "/m")):
            answers[name][f"{folder}/{number}.jpg"] = answer
    images = "".join(f'<img src="/m/{number}.jpg">' for number in range(len(shown.forbidden)))
    hidden = images.replace("/m/", "/private/")
    answers["films"]["/private/0"] = Answer(f"<title>Private</title>{hidden}".encode())
    for name in ("licensee", "stranger"):
        answers[name]["/page/0"] = Answer(f"<title>{name}</title>{images}".encode())
