"""Descriptors that stay in their file."""

import mmap
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt


class MappedDescriptors:
    """Rows of a file, in memory only while they are used: `table.Descriptors`.

    Single rows are read with the pages that they lie on, slices ahead of their use and then given back.
    The file may be deleted; what is mapped remains until this object goes.
    """

    def __init__(self, file: BinaryIO, offset: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        """Map a file.

        Args:
            file: Open for reading; it may be closed then.
            offset: Of the first row, in bytes.
            shape: Rows and columns, each ≥ 1.
            dtype: Of the numbers.
        """
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._map.madvise(mmap.MADV_RANDOM)
        self._offset = offset
        self._rows = np.frombuffer(self._map, dtype, shape[0] * shape[1], offset).reshape(shape)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Copy rows: a slice without a step, or those of an array of numbers or truth values."""
        if not isinstance(rows, slice):
            some: npt.NDArray[Any] = self._rows[np.asarray(rows)]
            return some
        start, stop, _ = rows.indices(len(self))
        row = self._rows.strides[0]
        first = (self._offset + start * row) // mmap.PAGESIZE * mmap.PAGESIZE
        length = self._offset + max(start, stop) * row - first
        self._map.madvise(mmap.MADV_WILLNEED, first, length)
        copy = self._rows[start:stop].copy()
        self._map.madvise(mmap.MADV_DONTNEED, first, length)
        return copy
