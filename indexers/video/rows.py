"""Frames of one side, as they are compared: their bits in order of time."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint
from indexers.video.frames import COSINES, LONGEST, bits_of
from indexers.video.lines import Floats

LIKE: Final = bits_of(0.975)
"""Bits up to which a frame looks like the one before, and says nothing more about which scene it is."""

_GAP = 2.0
"""Seconds that may lie between frames that look alike."""

Words = npt.NDArray[np.uint64]
"""(..., 16): bits of frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Frames in order of time.

    Attributes:
        codes: (n, 16) bits.
        starts: (n,) when each is shown first, seconds.
        ends: (n,) until when.
    """

    codes: Words
    starts: Floats
    ends: Floats

    @classmethod
    def of(cls, fingerprint: Fingerprint, rows: npt.NDArray[np.int64]) -> "Rows":
        """Some rows of a fingerprint."""
        return cls(
            np.ascontiguousarray(fingerprint.descriptors[rows]).view(np.uint64),
            fingerprint.spans[rows, 0],
            fingerprint.spans[rows, 1],
        )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.starts)

    def apart(self) -> "Rows":
        """The same, each until the next begins at most: what was described first lasts over later ones."""
        return Rows(self.codes, self.starts, np.minimum(self.ends, np.append(self.starts[1:], np.inf)))

    def at(self, firsts: npt.NDArray[np.int64]) -> "Rows":
        """Some of them, each of which lasts until the end of the last one before the next of these."""
        lasts = np.append(firsts, len(self))[1:] - 1
        return Rows(self.codes[firsts], self.starts[firsts], self.ends[lasts])


def differing(rows: Rows) -> npt.NDArray[np.int64]:
    """Which frames do not look like the last of these before them: the others say the same once more."""
    near = np.bitwise_count(rows.codes[1:] ^ rows.codes[:-1]).sum(axis=-1) <= LIKE
    follows = near & (rows.starts[1:] - rows.ends[:-1] <= _GAP)
    differs = np.ones(len(rows), np.bool_)
    last = 0
    for row in (np.flatnonzero(follows) + 1).tolist():
        if differs[row - 1]:
            last = row - 1
        longest = rows.ends[row] - rows.starts[last] > LONGEST
        differs[row] = longest or int(np.bitwise_count(rows.codes[row] ^ rows.codes[last]).sum()) > LIKE
    return np.flatnonzero(differs)


def cosines(codes: Words, others: Words) -> npt.NDArray[np.float32]:
    """Cosines of codes, (..., 16) each; they broadcast."""
    bits = np.bitwise_count(codes ^ others).sum(axis=-1, dtype=np.int64)
    found: npt.NDArray[np.float32] = COSINES[bits]
    return found
