"""What people are shown of media shows it as it is: upright, at its times, character by character."""

import io
import struct
import time
import zipfile

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from indexers.audio import AudioModality
from indexers.audio import preview as audio_preview
from indexers.audio.decode import RATE
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.image import ImageModality
from indexers.image.decode import Picture
from indexers.modality import MediaLimits
from indexers.previews import MEDIA_TYPES, WAVEFORM_RATE, Budget, Facts, Kind
from indexers.text import TextModality
from indexers.text import preview as text_preview
from indexers.video import VideoModality
from tests import films, sounds
from tests.previews import Files, frames_of, jumped_to

SECONDS = 9.0
FOREVER = Budget()


def image_files(content: bytes) -> Files:
    files = Files()
    ImageModality().preview(io.BytesIO(content), MediaLimits(), files, FOREVER)
    return files


@pytest.fixture(scope="module")
def film() -> bytes:
    """Photographs that are panned and zoomed, with a tune."""
    tune = sounds.tune(5, SECONDS)
    return films.encoded(films.frames("first", 0.0, SECONDS), tune, options={"qscale": "2", "g": "4"})


def film_files(content: bytes, budget: Budget = FOREVER, limits: MediaLimits | None = None) -> Files:
    files = Files()
    VideoModality().preview(io.BytesIO(content), limits or MediaLimits(), files, budget)
    return files


def exif_photo(orientation: int) -> bytes:
    """A picture whose left half is red as it is shown, with a place in its metadata."""
    shown = np.zeros((1500, 2000, 3), np.uint8)
    shown[:, :1000, 0] = 255
    stored = {1: shown, 6: np.rot90(shown), 2: shown[:, ::-1]}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "SECRET PLACE"
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(("side", "kinds"), [(511, {Kind.PICTURE}), (512, {Kind.PICTURE, Kind.THUMBNAIL})])
def test_a_small_picture_is_its_own_thumbnail(side: int, kinds: set[Kind]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, side), "red").save(file, "JPEG")
    assert set(image_files(file.getvalue()).content) == kinds


@pytest.mark.parametrize("orientation", [1, 2, 6])
def test_a_picture_is_shown_upright_and_without_metadata(orientation: int) -> None:
    files = image_files(exif_photo(orientation))
    assert set(files.content) == {Kind.PICTURE, Kind.THUMBNAIL}
    assert files.facts[Kind.PICTURE] == Facts(width=1024, height=768)
    assert files.facts[Kind.THUMBNAIL] == Facts(width=256, height=192)
    for kind, content in files.content.items():
        assert b"SECRET" not in content
        with Image.open(io.BytesIO(content)) as image:
            assert Image.MIME[image.format or ""] == MEDIA_TYPES[kind]
            assert not image.getexif()
            pixels = np.asarray(image.convert("RGB"), np.int64)
        half = pixels.shape[1] // 2
        assert pixels[:, : half - 8, 0].min() > 200
        assert pixels[:, half + 8 :, 0].max() < 50


@pytest.mark.parametrize("side", [511, 512, 700])
def test_what_was_decoded_for_fingerprints_is_shown_if_it_is_all(side: int) -> None:
    shown = np.random.default_rng(1).integers(0, 256, (300, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    modality, files = ImageModality(), Files()
    first = next(modality.decode(file, MediaLimits()))
    modality.preview(file, MediaLimits(), files, FOREVER, first)
    assert files.content == image_files(file.getvalue()).content
    assert files.facts[Kind.PICTURE] == Facts(width=side, height=300)
    if side < 512:  # its file is not needed any more
        again = Files()
        modality.preview(io.BytesIO(), MediaLimits(), again, FOREVER, first)
        assert again.content == files.content


def test_of_an_animation_the_first_frame_is_shown_over_white() -> None:
    frames = [Image.new("RGBA", (90, 60), (0, 0, 0, 0)), Image.new("RGBA", (90, 60), "black")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(image_files(file.getvalue()).content[Kind.PICTURE])) as image:
        assert image.size == (90, 60)
        assert np.asarray(image).min() > 250


def test_what_is_no_picture_that_can_be_read_is_refused() -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    with pytest.raises(UnsupportedMediaError):
        image_files(svg)
    whole = exif_photo(1)
    with pytest.raises(DamagedMediaError):
        image_files(whole[: len(whole) // 2])
    with pytest.raises(MediaLimitError):
        ImageModality().preview(io.BytesIO(whole), MediaLimits(max_pixels=9), Files(), FOREVER)


def small(picture: Picture) -> npt.NDArray[np.float64]:
    return cv2.resize(picture, (64, 36), interpolation=cv2.INTER_AREA).astype(np.float64)


def test_a_clip_shows_each_moment_of_the_film_at_its_time(film: bytes) -> None:
    files = film_files(film)
    assert set(files.content) == {Kind.CLIP, Kind.THUMBNAIL, Kind.WAVEFORM, Kind.SPECTROGRAM}
    facts = files.facts[Kind.CLIP]
    assert (facts.width, facts.height, facts.whole) == (256, 144, True)
    assert facts.seconds == pytest.approx(SECONDS, abs=0.3)
    frames = frames_of(files.content[Kind.CLIP])
    assert len(frames) == pytest.approx(SECONDS * films.FPS, abs=2)
    times = [time for time, _ in frames]
    assert times == sorted(set(times))
    grid = np.arange(0.0, SECONDS, 1 / films.FPS)
    others = np.stack([small(films.shown("first", at)) for at in grid])
    for shown_at, picture in frames:
        nearest = grid[np.abs(small(picture) - others).mean(axis=(1, 2, 3)).argmin()]
        assert shown_at == pytest.approx(nearest, abs=0.26)
    assert abs(jumped_to(files.content[Kind.CLIP], 7.0) - 7.0) <= 5.0
    assert jumped_to(files.content[Kind.CLIP], 7.0) > 0.0


def test_a_clip_has_the_sound_of_the_film(film: bytes) -> None:
    files = film_files(film)
    with av.open(io.BytesIO(files.content[Kind.CLIP]), "r") as container:
        (stream,) = container.streams.audio
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        rate = stream.rate
    envelope = np.abs(heard[: 8 * rate]).reshape(50, -1).mean(axis=1)
    tune = np.abs(sounds.tune(5, SECONDS)[: 8 * RATE]).reshape(50, -1).mean(axis=1)
    assert np.corrcoef(envelope, tune)[0, 1] > 0.9


def test_a_film_that_lies_on_its_side_is_shown_upright() -> None:
    pictures = [np.zeros((96, 160, 3), np.uint8) for _ in range(4)]
    for picture in pictures:
        picture[:, :40] = 255  # at the left: shown at the bottom or at the top
    upright = io.BytesIO()
    with av.open(io.BytesIO(films.encoded(pictures)), "r") as source, av.open(upright, "w", "mp4") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    files = film_files(upright.getvalue())
    segment = next(VideoModality().decode(upright, MediaLimits()))
    _, shown = frames_of(files.content[Kind.CLIP])[0]
    assert shown.shape == segment.data.picture.shape == (160, 96, 3)  # type: ignore[union-attr]
    expected = segment.data.picture.astype(np.int64)  # type: ignore[union-attr]
    assert np.abs(shown.astype(np.int64) - expected).mean() < 8


def test_a_film_without_sound_has_none() -> None:
    files = film_files(films.encoded(films.frames("first", 0.0, 1.0)))
    assert set(files.content) == {Kind.CLIP, Kind.THUMBNAIL}


def test_a_film_that_breaks_off_is_shown_as_far_as_it_goes(film: bytes) -> None:
    files = film_files(film[: len(film) * 2 // 3])
    assert 1.0 < files.facts[Kind.CLIP].seconds < SECONDS
    with pytest.raises(UnsupportedMediaError):
        film_files(film[:10] + b"\0" * 5000)


def test_a_film_is_cut_where_the_budget_or_the_limit_ends(film: bytes) -> None:
    files = film_files(film, Budget(max_bytes=20_000))
    assert not files.facts[Kind.CLIP].whole
    assert 0.0 < files.facts[Kind.CLIP].seconds < SECONDS
    assert len(files.content[Kind.CLIP]) < 60_000
    none = film_files(film, Budget(until=time.monotonic()))
    assert not none.facts[Kind.CLIP].whole
    short = film_files(films.encoded(films.frames("first", 0.0, 4.0)), limits=MediaLimits(max_seconds=4.0))
    assert short.facts[Kind.CLIP].seconds == pytest.approx(4.0, abs=0.3)


def test_frames_of_too_many_pixels_are_refused(film: bytes) -> None:
    with pytest.raises(MediaLimitError):
        film_files(film, limits=MediaLimits(max_pixels=100))


def test_a_sound_is_kept_with_what_draws_it() -> None:
    seconds = 8.0
    at = np.arange(round(seconds * RATE)) / RATE
    loud = np.where(at < 4.0, 0.05, 0.8)
    tone = (loud * np.sin(2 * np.pi * np.where(at < 4.0, 200.0, 3000.0) * at)).astype(np.float32)
    files = Files()
    AudioModality().preview(io.BytesIO(sounds.encoded(tone)), MediaLimits(), files, FOREVER)
    assert set(files.content) == {Kind.SOUND, Kind.WAVEFORM, Kind.SPECTROGRAM}
    assert files.facts[Kind.SOUND].seconds == pytest.approx(seconds, abs=0.01)
    with av.open(io.BytesIO(files.content[Kind.SOUND]), "r") as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(seconds, abs=0.1)
        assert container.streams.audio[0].codec_context.name in {"opus", "libopus"}

    levels = np.frombuffer(files.content[Kind.WAVEFORM], np.int8).reshape(-1, 2)
    assert len(levels) == round(seconds * WAVEFORM_RATE)
    assert levels[10:70, 1].max() == pytest.approx(0.05 * 127, abs=2)
    assert levels[90:150, 1].min() == pytest.approx(0.8 * 127, abs=4)
    assert levels[90:150, 0].max() == pytest.approx(-0.8 * 127, abs=4)

    facts = files.facts[Kind.SPECTROGRAM]
    with Image.open(io.BytesIO(files.content[Kind.SPECTROGRAM])) as image:
        shades = np.asarray(image.convert("L"), np.int64)
    assert shades.shape == (facts.height, facts.width)
    middle = round(4.0 / facts.seconds * facts.width)
    low, high = (
        int(part.mean(axis=1).argmax()) for part in (shades[:, 5 : middle - 5], shades[:, middle + 5 :])
    )
    octaves = np.log2(11_000 / 60) / facts.height
    assert (low - high) * octaves == pytest.approx(np.log2(3000 / 200), abs=0.3)


def test_a_spectrogram_of_a_long_sound_stays_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_preview, "MOST_COLUMNS", 40)
    files = Files()
    AudioModality().preview(io.BytesIO(sounds.encoded(sounds.tune(1, 5.0))), MediaLimits(), files, FOREVER)
    facts = files.facts[Kind.SPECTROGRAM]
    assert facts.width <= 40
    assert facts.seconds == pytest.approx(5.0, abs=4 / 25)


def test_no_sound_is_a_sound() -> None:
    with pytest.raises(UnsupportedMediaError):
        AudioModality().preview(io.BytesIO(sounds.film(None)), MediaLimits(), Files(), FOREVER)


def test_a_text_is_kept_character_by_character(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeff日本語 🙂 é\r\n" * 40
    files = Files()
    TextModality().preview(io.BytesIO(text.encode("utf-16")), MediaLimits(), files, FOREVER)
    read = "".join(
        part.data for part in TextModality().decode(io.BytesIO(text.encode("utf-16")), MediaLimits())
    )
    assert files.content[Kind.TEXT].decode() == read
    assert files.facts[Kind.TEXT] == Facts(characters=len(read))

    monkeypatch.setattr(text_preview, "MOST_CHARACTERS", 25)
    files = Files()
    TextModality().preview(io.BytesIO(text.encode()), MediaLimits(), files, FOREVER)
    assert files.content[Kind.TEXT].decode() == text[1:26]
    assert files.facts[Kind.TEXT] == Facts(characters=25, whole=False)


def test_a_text_that_unpacks_to_too_much_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "wordprocessingml")
        archive.writestr("word/document.xml", b"<w:t>" + b"a" * 30_000_000)
    with pytest.raises((MediaLimitError, DamagedMediaError)):
        TextModality().preview(file, MediaLimits(max_characters=1000), Files(), FOREVER)


def test_a_riff_that_claims_to_be_endless_ends() -> None:
    wave = bytearray(sounds.encoded(sounds.tune(2, 1.0)))
    at = wave.index(b"data") + 4
    wave[at : at + 4] = struct.pack("<I", 2**32 - 1)
    files = Files()
    AudioModality().preview(io.BytesIO(bytes(wave)), MediaLimits(), files, FOREVER)
    assert files.facts[Kind.SOUND].seconds == pytest.approx(1.0, abs=0.1)
