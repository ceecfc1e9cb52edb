"""The program that takes pictures out of a clip, in a process of its own: ``python -P stills.py SECONDS…``.

The clip, one that Copyhound made, is its standard input, a file. For each of the times, in order, it writes
four bytes to standard output, a length (big-endian), and a JPEG file of so many bytes, the picture shown
then; a length of 0 where there is none. It writes no file, and takes no more memory and CPU time than it is
given. It imports nothing of Copyhound, so that it starts at once.
"""

import io
import resource
import struct
import sys
from typing import Final

import av
from PIL import Image

MEMORY: Final = 1 << 30
"""Bytes of address space that the process takes at most."""
CPU_SECONDS: Final = 30
"""CPU time that it takes at most."""
QUALITY: Final = 85
"""Of the JPEG files."""
_LATE: Final = 0.01
_MICROSECONDS: Final = 1_000_000


def main(times: list[float]) -> None:
    """Write the pictures."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
    with av.open(sys.stdin.buffer, "r", "webm") as clip:
        track = clip.streams.video[0]
        track.codec_context.thread_count = 1
        for at in times:
            content = _picture(clip, track, at)
            sys.stdout.buffer.write(struct.pack(">I", len(content)) + content)


def _picture(clip: av.container.InputContainer, track: av.VideoStream, at: float) -> bytes:
    """The picture that is shown at a time: the last one that begins before; of none, the first after."""
    clip.seek(int(max(0.0, at) * _MICROSECONDS))
    shown = None
    for frame in clip.decode(track):
        if shown is not None and (frame.time or 0.0) > at + _LATE:
            break
        shown = frame
    if shown is None:
        return b""
    file = io.BytesIO()
    Image.fromarray(shown.to_ndarray(format="rgb24")).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


if __name__ == "__main__":
    main([float(one) for one in sys.argv[1:]])
