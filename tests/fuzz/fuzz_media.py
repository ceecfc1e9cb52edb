"""Fuzz reading sounds and films: ``python tests/fuzz/fuzz_media.py [libFuzzer options] [corpus folder]``.

Anything but sound, frames or a MediaError is a finding. Needs atheris; bound it as `fuzz_decode.py` says.
Without a corpus folder it starts from a small file in each container. Each input is read as a sound and as a
film, from a file, since FFmpeg reads some by itself.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["indexers"]):
    from indexers.audio import decode as audio
    from indexers.errors import MediaError
    from indexers.modality import MediaLimits
    from indexers.video import decode as video
    from tests import films, sounds
    from tests.fuzz.running import run

LIMITS = MediaLimits(max_pixels=250_000, max_seconds=600)
SOUNDS = {
    "wav": "pcm_s16le", "aiff": "pcm_s16be", "caf": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame",
    "adts": "aac", "ipod": "alac", "ogg": "libopus", "matroska": "aac", "asf": "libmp3lame", "ac3": "ac3",
    "wv": "wavpack", "tta": "tta",
}  # fmt: skip
FILMS = {
    "mp4": "mpeg4", "avi": "ffv1", "flv": "flv1", "mpegts": "mpeg2video", "mpeg": "mpeg1video",
    "matroska": "mpeg4", "webm": "libvpx", "asf": "wmv2",
}  # fmt: skip


def read(content: bytes) -> None:
    """Read one input."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        for decode in (audio.decode, video.decode):
            with contextlib.suppress(MediaError):
                for _ in decode(file, LIMITS):
                    pass


def write_seeds(folder: Path) -> None:
    """Write a small file in each container."""
    tune = sounds.tune(1, 2)
    for container, codec in SOUNDS.items():
        (folder / f"sound.{container}").write_bytes(sounds.encoded(tune, container, codec, 48_000))
    scene = films.frames("first", 0, 2)
    for container, codec in FILMS.items():
        film = films.encoded(scene, container=container, codec=codec, fps=25)
        (folder / f"film.{container}").write_bytes(film)


if __name__ == "__main__":
    run(read, write_seeds)
