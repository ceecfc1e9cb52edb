"""Previews as tests look at them."""

import io
from typing import BinaryIO

import av
import numpy as np

from indexers.image.decode import Picture
from indexers.previews import Facts, Kind


class Files:
    """Keeps the files of a preview in memory; see `indexers.previews.Files`."""

    def __init__(self) -> None:
        self._open: dict[Kind, io.BytesIO] = {}
        self.facts: dict[Kind, Facts] = {}
        self.content: dict[Kind, bytes] = {}

    def begin(self, kind: Kind) -> BinaryIO:
        assert kind not in self._open
        assert kind not in self.content
        return self._open.setdefault(kind, io.BytesIO())

    def end(self, kind: Kind, facts: Facts) -> None:
        self.facts[kind], self.content[kind] = facts, self._open.pop(kind).getvalue()


def frames_of(clip: bytes) -> list[tuple[float, Picture]]:
    """The frames of a film, each with its time in seconds."""
    with av.open(io.BytesIO(clip), "r") as container:
        return [
            (float(frame.time or 0.0), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            for frame in container.decode(video=0)
        ]


def jumped_to(clip: bytes, seconds: float) -> float:
    """Where a player has to begin that jumps to a time: when the key frame before it is shown."""
    with av.open(io.BytesIO(clip), "r") as container:
        container.seek(round(seconds * av.time_base))
        return float(next(container.decode(video=0)).time or 0.0)
