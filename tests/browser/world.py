"""What the browser tests look at: real photographs, films and sounds, altered, and hostile texts."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from indexers.audio.decode import RATE, Sound
from indexers.fingerprint import SpanUnit
from indexers.image.decode import Picture
from indexers.modality import WHOLE, AlignedRegion, AlignedSegment, Box
from indexers.previews import Facts, Kind
from service.domain import KeyRole, Work
from service.previewed import NewPreview, PreviewState
from service.review import Desk
from service.reviewed import Case
from tests import films, sounds
from tests.pages import Files, Pages, picture

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>${alert(4)}{{7*7}}"
"""A text that nothing may run."""
MANY = 200
"""Cases of one list of the owner ``mint``, to be decided in one go."""
MIRROR = (-1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
FASTER = 1.25
"""How much faster a found sound is."""
HIGHER = 200.0
"""How much higher, as the match says, in hundredths of a semitone."""


@dataclass(frozen=True, slots=True)
class World:
    """The pages, where they are, and the cases in them by name."""

    pages: Pages
    url: str
    cases: dict[str, Case]


def fill(pages: Pages, url: str) -> World:
    """Put everything in."""
    photo = Image.fromarray(films.photo("coffee.png"))
    made = {
        "cropped": _cropped(pages, photo),
        "mirrored": _mirrored(pages, photo),
        "film": _film(pages),
        "sound": _sound(pages),
        "text": _text(pages),
        "hostile": _hostile(pages),
        "missing": _missing(pages),
        "sensitive": _sensitive(pages, photo),
    }
    mine = pages.add_work("Mint 薄荷", owner="mint")
    for number in range(MANY):
        pages.add_report(mine, f"m{number:03}.example")
    for number in range(56):
        work = pages.add_work(f"Print {number:02}", files=None)
        pages.add_report(work, "prints.example", title=f"Prints, sheet {number}")
    cases = {name: pages.case_of(work, "films.example") for name, work in made.items()}
    return World(pages, url, cases)


def _cropped(pages: Pages, photo: Image.Image) -> Work:
    """The found picture is the middle half of the work."""
    work = pages.add_work("Morning coffee 咖啡", files=picture(photo))
    width, height = photo.size
    part = photo.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))
    region = AlignedRegion(WHOLE, Box(0.25, 0.25, 0.75, 0.75), "identity", (2, 0, -0.5, 0, 2, -0.5, 0, 0, 1))
    pages.add_report(work, "films.example", files=picture(part), regions=[region], title="Free wallpapers")
    return work


def _mirrored(pages: Pages, photo: Image.Image) -> Work:
    """The found picture is the work's mirror image, twice in one case."""
    work = pages.add_work("Coffee, mirrored", files=picture(photo))
    region = AlignedRegion(WHOLE, WHOLE, "flip_horizontal", MIRROR)
    other = picture(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    for page in ("a", "b"):
        pages.add_report(work, "films.example", page=page, files=other, regions=[region])
    return work


def _film(pages: Pages) -> Work:
    """The found film shows seconds 4 to 16 of the work, and then a part of it backwards."""
    whole = films.frames("first", 0, 20)
    found = films.frames("first", 4, 16) + films.frames("first", 0, 3, -1.0)
    work = pages.add_work("A film", filename="film.mp4", modality="video", files=_clip(whole))
    segments = [
        AlignedSegment((0, 12), (4, 16), 1.0, SpanUnit.SECOND, region=Box(0.1, 0.1, 0.9, 0.9)),
        AlignedSegment((12, 15), (0, 3), -1.0, SpanUnit.SECOND),
    ]
    pages.add_report(work, "films.example", modality="video", files=_clip(found), segments=segments)
    return work


def _sound(pages: Pages) -> Work:
    """The found sound is seconds 4 to 19 of the work, faster."""
    whole = sounds.tune(1, 24.0)
    found = sounds.cut(sounds.tune(1, 24.0, tempo=FASTER), 4 / FASTER, 19 / FASTER)
    work = pages.add_work("A tune", filename="tune.ogg", modality="audio", files=_track(whole))
    segment = AlignedSegment((0, 15 / FASTER), (4, 19), FASTER, SpanUnit.SECOND, pitch_cents=HIGHER)
    pages.add_report(work, "films.example", modality="audio", files=_track(found), segments=[segment])
    return work


def _text(pages: Pages) -> Work:
    """A passage of a text with a piece of markup in it."""
    text = (
        "Call me Ishmael. " * 30 + "<b>Some years ago</b>, never mind how long precisely. " + "The sea. " * 50
    )
    files = {Kind.TEXT: (text.encode(), Facts(characters=len(text)))}
    start = text.index("<b>")
    work = pages.add_work("A whale", filename="whale.txt", modality="text", files=files)
    segment = AlignedSegment((start, start + 54), (start, start + 54), 1.0, SpanUnit.CHARACTER)
    pages.add_report(work, "films.example", modality="text", files=files, segments=[segment])
    return work


def _hostile(pages: Pages) -> Work:
    work = pages.add_work(HOSTILE, filename=HOSTILE, labels={"note": HOSTILE})
    pages.add_report(
        work,
        "films.example",
        title=HOSTILE,
        page=f"?{HOSTILE}",
        media_url=f"javascript:alert(5)//{HOSTILE}",
        uploader=HOSTILE,
    )
    pages.add_key("hostile", KeyRole.INVESTIGATOR, person=HOSTILE)
    case, actor, now = pages.case_of(work, "films.example"), pages.actor("hostile"), datetime.now(UTC)
    with pages.store.transaction() as transaction:
        Desk().assign(transaction, actor, case.id, actor.id, now)
        Desk().comment(transaction, actor, case.id, HOSTILE, now)
    return work


def _missing(pages: Pages) -> Work:
    work = pages.add_work(
        "Nothing to see", preview=NewPreview(PreviewState.FAILED, "MEDIA_TIMEOUT: too slow")
    )
    pages.add_report(work, "films.example", preview=NewPreview(PreviewState.NOT_KEPT))
    return work


def _sensitive(pages: Pages, photo: Image.Image) -> Work:
    work = pages.add_work("Not for everybody", files=picture(photo), labels={"sensitive": "yes"})
    region = AlignedRegion(WHOLE, WHOLE, "identity", (1, 0, 0, 0, 1, 0, 0, 0, 1))
    pages.add_report(work, "films.example", files=picture(photo), regions=[region])
    return work


def _clip(frames: list[Picture]) -> Files:
    file = io.BytesIO()
    with av.open(file, "w", "webm") as output:
        stream = output.add_stream(
            "libvpx", rate=films.FPS, options={"deadline": "realtime", "cpu-used": "8"}
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = films.WIDTH, films.HEIGHT, "yuv420p"
        stream.gop_size = films.FPS
        for number, one in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(one), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, films.FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    seconds = len(frames) / films.FPS
    small = cv2.resize(frames[0], (96, 54))
    shown = picture(Image.fromarray(small))[Kind.THUMBNAIL]
    return {Kind.CLIP: (file.getvalue(), Facts(films.WIDTH, films.HEIGHT, seconds)), Kind.THUMBNAIL: shown}


def _track(sound: Sound) -> Files:
    seconds = len(sound) / RATE
    step = RATE // 20
    blocks = sound[: len(sound) // step * step].reshape(-1, step)
    pairs = np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=1) * 127
    levels = np.abs(np.fft.rfft(blocks, axis=1)).T[::-1]
    grey = (255 * levels / levels.max()).clip(0, 255).astype(np.uint8)
    spectrogram = picture(Image.fromarray(grey))[Kind.PICTURE]
    return {
        Kind.SOUND: (sounds.encoded(sound, "webm", "libopus", 48_000), Facts(seconds=seconds)),
        Kind.WAVEFORM: (pairs.astype(np.int8).tobytes(), Facts(seconds=seconds)),
        Kind.SPECTROGRAM: (spectrogram[0], Facts(grey.shape[1], grey.shape[0], seconds)),
    }
