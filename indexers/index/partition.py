"""How an inverted index divides the rows of a snapshot: made once, kept beside the snapshot.

The file is `sealed`. Its header names format, the snapshot's SHA-256, rows, lists, dim and trained_on; its
body is

=======================  ============================================
lists · dim float32      centres
dim float32              lowest
dim float32              width
rows uint16              list_of, little-endian as all of these
=======================  ============================================
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexers.index import sealed, snapshot
from indexers.index.sealed import DamagedError

_MAGIC = b"CPYLISTS"
_FORMAT = 1

NO_LIST = 0xFFFF
"""In `list_of`: the row has not been put into a list."""
MOST_LISTS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows in lists, one for each centre, and the range in which numbers become bytes.

    Attributes:
        centres: (lists, dim) float32, of length 1; of a single list, zeros.
        lowest: (dim,) float32. Of each column, what becomes the byte 0.
        width: (dim,) float32. From there to what becomes 255.
        trained_on: How many rows there were when these were found.
        list_of: (rows,) uint16. The list that each row is in.
    """

    centres: npt.NDArray[np.float32]
    lowest: npt.NDArray[np.float32]
    width: npt.NDArray[np.float32]
    trained_on: int
    list_of: npt.NDArray[np.uint16]

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.centres.nbytes + self.lowest.nbytes + self.width.nbytes + self.list_of.nbytes


def write(path: Path, partition: Partition) -> None:
    """Keep the partition of the snapshot at `path` beside it.

    Raises:
        OSError: If the disk is full or fails; nothing of it is left then.
    """
    header = {
        "format": _FORMAT,
        "snapshot": snapshot.digest(path).hex(),
        "rows": len(partition.list_of),
        "lists": len(partition.centres),
        "dim": partition.centres.shape[1],
        "trained_on": partition.trained_on,
    }
    body = (partition.centres, partition.lowest, partition.width, partition.list_of)
    sealed.write(snapshot.derived(path), _MAGIC, header, body)


def read(path: Path) -> Partition | None:
    """The partition of the snapshot at `path`; None: it has none, or one of another format.

    Raises:
        DamagedError: If the file is not what was written for this snapshot.
    """
    derived = snapshot.derived(path)
    if not derived.exists():
        return None
    with sealed.opened(derived, _MAGIC) as (header, file):
        if header["format"] != _FORMAT:
            return None
        if header["snapshot"] != snapshot.digest(path).hex():
            raise DamagedError(f"{derived} is of another snapshot than {path.name}")
        lists, dim = header["lists"], header["dim"]
        return Partition(
            np.fromfile(file, np.float32, lists * dim).reshape(lists, dim),
            np.fromfile(file, np.float32, dim),
            np.fromfile(file, np.float32, dim),
            header["trained_on"],
            np.fromfile(file, np.uint16, header["rows"]),
        )
