"""The main job on real photographs: register some, alter them, ask, and say what was found.

The photographs are those that scikit-image and scikit-learn ship. Some are registered; the others are
strangers, which must be left alone. Every number that is printed is counted from the answers.
"""

import io
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from copyhound.client import Client
from copyhound.errors import CopyhoundError
from copyhound.service_process import run_service
from copyhound.types import Answer, NewWork
from copyhound.where import describe_place

REGISTERED: Final = {
    "skimage": (
        "data/astronaut.png",
        "data/camera.png",
        "data/chelsea.png",
        "data/coins.png",
        "data/hubble_deep_field.jpg",
        "data/motorcycle_left.png",
        "data/retina.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg",),
}
"""Photographs that become works, by package."""

STRANGERS: Final = {
    "skimage": (
        "data/brick.png",
        "data/coffee.png",
        "data/grass.png",
        "data/gravel.png",
        "data/ihc.png",
        "data/moon.png",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/flower.jpg",),
}
"""Photographs that are not registered, by package."""

_OWNER: Final = "demo"

Alter: TypeAlias = Callable[[Image.Image], bytes]


class DemoError(Exception):
    """The demo cannot run."""


@dataclass(frozen=True, slots=True)
class Alteration:
    """A way to hide a copy.

    Attributes:
        name: For people.
        alter: Makes the file of the copy.
        expected: Whether every copy must be found. The others are shown, found or missed.
    """

    name: str
    alter: Alter
    expected: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """A picture to ask about.

    Attributes:
        original: Name of the photograph that it was made from.
        alteration: How.
        registered: Whether the photograph is registered.
    """

    original: str
    alteration: Alteration
    registered: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a question.

    Attributes:
        probability: Of the right work, for copies; of the best match, for strangers; None: no match.
        right: The right work was found; for strangers: nothing was.
        place: Where it was found, in words.
    """

    question: Question
    probability: float | None
    right: bool
    place: str


def photographs(files: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Find the packages' files without importing the packages: name to path.

    Raises:
        DemoError: If a package or a file is missing.
    """
    found: dict[str, Path] = {}
    for package, names in files.items():
        spec = find_spec(package)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        for name in names:
            paths = [Path(folder) / name for folder in folders if (Path(folder) / name).is_file()]
            if not paths:
                raise DemoError(f"{package} or its {name} is missing; pip install 'copyhound[media]'")
            found[paths[0].stem] = paths[0]
    return found


def alterations() -> list[Alteration]:
    """Return what is done to copies, the harmless first."""
    return [
        Alteration("as it is, PNG", lambda picture: _file(picture, "PNG")),
        Alteration("JPEG, quality 30", lambda picture: _file(picture, "JPEG", quality=30)),
        Alteration("WebP, quality 50", lambda picture: _file(picture, "WEBP", quality=50)),
        Alteration("half the size", lambda picture: _file(ImageOps.scale(picture, 0.5))),
        Alteration("grey", lambda picture: _file(picture.convert("L"))),
        Alteration("blurred", lambda picture: _file(picture.filter(ImageFilter.GaussianBlur(2)))),
        Alteration("a fifth brighter", lambda picture: _file(ImageEnhance.Brightness(picture).enhance(1.2))),
        Alteration("colours shifted", _shift_colours),
        Alteration("noise", _add_noise),
        Alteration("small caption", _add_caption),
        Alteration("mirrored", lambda picture: _file(ImageOps.mirror(picture))),
        Alteration("turned 90°", lambda picture: _file(picture.transpose(Image.Transpose.ROTATE_90))),
        Alteration("upside down", lambda picture: _file(picture.transpose(Image.Transpose.ROTATE_180))),
        Alteration("1 % off each edge", lambda picture: _file(_crop(picture, 0.01))),
        Alteration("10 % off each edge", lambda picture: _file(_crop(picture, 0.1))),
        Alteration("25 % off each edge", lambda picture: _file(_crop(picture, 0.25))),
        Alteration("turned 15°", lambda picture: _file(picture.rotate(15, Image.Resampling.BICUBIC))),
        Alteration("negative", lambda picture: _file(ImageOps.invert(picture))),
        Alteration("black bars", _letterbox),
        Alteration("inside another", _put_inside),
        Alteration("35 % off each edge", lambda picture: _file(_crop(picture, 0.35)), expected=False),
    ]


def run_demo(data: Path | None, say: Callable[[str], None]) -> bool:
    """Run the whole demo on a service of its own, and end that.

    Args:
        data: The service's folder, without works of an earlier demo; None: a temporary one.
        say: Takes each line that is to be shown.

    Returns:
        True if every expected copy was found and no stranger raised an alarm.

    Raises:
        DemoError: If photographs are missing.
        ServiceStartError: If the service does not start.
        CopyhoundError: If the service fails.
    """
    registered, strangers = photographs(REGISTERED), photographs(STRANGERS)
    with tempfile.TemporaryDirectory(prefix="copyhound-demo-") as scratch:
        folder = data or Path(scratch) / "data"
        with run_service(folder, Path(scratch) / "service.log") as target, Client(target) as client:
            say(f"A service listens on {target}; its folder is {folder}.")
            _register(client, registered)
            say(f"Registered {len(registered)} photographs: {', '.join(sorted(registered))}.")
            say(f"Strangers, not registered: {', '.join(sorted(strangers))}.")
            outcomes = list(_ask(client, registered, strangers))
    return _report(outcomes, say)


def _register(client: Client, registered: Mapping[str, Path]) -> None:
    """Register each photograph as a work of its own."""
    works = [NewWork(path, _OWNER, external_id=name) for name, path in registered.items()]
    for _, outcome in client.register_many(works):
        if isinstance(outcome, CopyhoundError):
            raise outcome


def _ask(client: Client, registered: Mapping[str, Path], strangers: Mapping[str, Path]) -> Iterator[Outcome]:
    """Ask about every alteration of every photograph."""
    questions: dict[bytes, Question] = {}

    def copies() -> Iterator[bytes]:
        for name, path in {**registered, **strangers}.items():
            with Image.open(path) as picture:
                rgb = picture.convert("RGB")
            for alteration in alterations():
                content = alteration.alter(rgb)
                questions[content] = Question(name, alteration, name in registered)
                yield content

    for content, answer in client.match_many(copies(), concurrency=4):
        if isinstance(answer, CopyhoundError):
            raise answer
        if not isinstance(content, bytes):
            raise TypeError("a question is the content that was sent")
        yield _judge(questions.pop(content), answer)


def _judge(question: Question, answer: Answer) -> Outcome:
    """Compare an answer with what is known."""
    if question.registered:
        right = [found for found in answer.matches if found.external_id == question.original]
        if not right:
            return Outcome(question, None, right=False, place="-")
        return Outcome(question, right[0].probability, right=True, place=describe_place(right[0]))
    if not answer.matches:
        return Outcome(question, None, right=True, place="-")
    best = answer.matches[0]
    return Outcome(question, best.probability, right=False, place=f"taken for {best.external_id}")


def _report(outcomes: Sequence[Outcome], say: Callable[[str], None]) -> bool:
    """Print what was found, and return whether all went as it must."""
    by_alteration: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_alteration[outcome.question.alteration.name].append(outcome)
    say("")
    say(f"{'copy':<20} {'found':>7} {'how sure':>17}  {'strangers left alone':>20}  where")
    for alteration in alterations():
        say(_row(alteration, by_alteration[alteration.name]))
    copies = [outcome for outcome in outcomes if outcome.question.registered]
    expected = [outcome for outcome in copies if outcome.question.alteration.expected]
    hard = [outcome for outcome in copies if not outcome.question.alteration.expected]
    strangers = [outcome for outcome in outcomes if not outcome.question.registered]
    missed = [outcome for outcome in expected if not outcome.right]
    alarms = [outcome for outcome in strangers if not outcome.right]
    say("")
    for outcome in missed:
        say(f"MISSED: {outcome.question.original}, {outcome.question.alteration.name}")
    for outcome in alarms:
        question = outcome.question
        say(f"FALSE ALARM: {question.original}, {question.alteration.name}: {outcome.place}")
    say(f"Copies found: {len(expected) - len(missed)} of {len(expected)}.")
    say(f"A tenth of the picture (*), not always enough to be sure: {_right(hard)} of {len(hard)} found.")
    say(f"False alarms: {len(alarms)} of {len(strangers)}.")
    return bool(expected) and bool(strangers) and not missed and not alarms


def _row(alteration: Alteration, outcomes: Sequence[Outcome]) -> str:
    """Sum up one alteration in one line."""
    copies = [outcome for outcome in outcomes if outcome.question.registered]
    strangers = [outcome for outcome in outcomes if not outcome.question.registered]
    sure = [outcome.probability for outcome in copies if outcome.probability is not None]
    range_ = f"{_percent(min(sure))} to {_percent(max(sure))}" if sure else "-"
    places = sorted({outcome.place for outcome in copies if outcome.right})
    found, alone = f"{_right(copies)}/{len(copies)}", f"{_right(strangers)}/{len(strangers)}"
    name = alteration.name if alteration.expected else f"{alteration.name} *"
    place = places[0] if len(places) == 1 else f"such as {places[0]}" if places else "-"
    return f"{name:<20} {found:>7} {range_:>17}  {alone:>20}  {place}"


def _right(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.right for outcome in outcomes)


def _percent(part: float) -> str:
    """Rounded down: what is not certain must not read as 100 %."""
    return f"{int(part * 1000) / 10:.1f} %"


def _file(picture: Image.Image, kind: str = "JPEG", *, quality: int = 90) -> bytes:
    """Encode a picture."""
    file = io.BytesIO()
    picture.save(file, kind, quality=quality, compress_level=1)  # each format takes what it knows
    return file.getvalue()


def _crop(picture: Image.Image, part: float) -> Image.Image:
    """Cut a part of width and height off each edge."""
    x, y = round(picture.width * part), round(picture.height * part)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def _letterbox(picture: Image.Image) -> bytes:
    """Put black bars above and below, a quarter of the height each."""
    bar = picture.height // 4
    canvas = Image.new("RGB", (picture.width, picture.height + 2 * bar))
    canvas.paste(picture, (0, bar))
    return _file(canvas)


def _put_inside(picture: Image.Image) -> bytes:
    """Paste it, at half the width, into a picture of coloured blocks."""
    width, height = picture.size
    generator = random.Random(width * height + 1)
    blocks = Image.frombytes("RGB", (12, 8), generator.randbytes(12 * 8 * 3))
    canvas = blocks.resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(picture.resize((width // 2, height // 2)), (width // 3, height // 5))
    return _file(canvas)


def _shift_colours(picture: Image.Image) -> bytes:
    """Make red stronger and blue weaker, by a sixth."""
    red, green, blue = picture.split()
    shifted = (
        red.point(lambda value: min(255, value * 7 // 6)),
        green,
        blue.point(lambda value: value * 5 // 6),
    )
    return _file(Image.merge("RGB", shifted))


def _add_noise(picture: Image.Image) -> bytes:
    """Blend with noise that is the same in every run."""
    generator = random.Random(picture.width * picture.height)
    noise = Image.frombytes("L", picture.size, generator.randbytes(picture.width * picture.height))
    return _file(Image.blend(picture, noise.convert("RGB"), 0.1))


def _add_caption(picture: Image.Image) -> bytes:
    """Write a small line near the lower edge."""
    copy = picture.copy()
    font = ImageFont.load_default(size=max(10, picture.height // 24))
    position = (picture.width // 20, picture.height * 19 // 20)
    ImageDraw.Draw(copy).text(position, "do not copy", "white", font, anchor="ls")
    return _file(copy)
