"""Pictures out of clips, taken by a process of their own."""

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from service.evidence.pdf import environment
from service.previews.reading import OpenPreview

_SECONDS: Final = 60.0
_MAX_PICTURE: Final = 1024 * 1024
_PROGRAM: Final = Path(__file__).with_name("stills.py")

log = structlog.get_logger()


def take(clip: OpenPreview, times: Sequence[float]) -> list[bytes]:
    """Take the pictures that a clip shows at some times. Blocks.

    Args:
        clip: A film's, from its beginning.
        times: Seconds.

    Returns:
        A JPEG file for each time; empty where there is none, or where it cannot be taken: what they are to
        illustrate stands without them.
    """
    none = [b""] * len(times)
    try:
        done = subprocess.run(  # noqa: S603  our own program; the arguments are numbers
            [sys.executable, "-P", str(_PROGRAM), *(f"{one:.3f}" for one in times)],
            stdin=clip.fileno(),
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        log.warning("no pictures of a clip", reason="it took too long")
        return none
    pictures: list[bytes] = []
    rest = done.stdout
    while len(rest) >= 4 and len(pictures) < len(times):
        (length,) = struct.unpack_from(">I", rest)
        pictures.append(rest[4 : 4 + length] if length <= _MAX_PICTURE else b"")
        rest = rest[4 + length :]
    if done.returncode or len(pictures) < len(times):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        log.warning("no pictures of a clip", status=done.returncode, reason=" ".join(last)[:200])
        return none
    return pictures
