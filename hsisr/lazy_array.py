"""Lazy cubes: (bands, H, W) arrays. Only the indexed part is read or computed, at the time of indexing."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import EllipsisType

import numpy as np

#: The index of a lazy cube: everything, or slices of bands, rows and columns.
Key = EllipsisType | tuple[slice, slice, slice]


class LazyArray(ABC):
    """A cube that looks like an array as far as a `Scene` needs it. Subclasses set `shape` and `dtype`, and read
    blocks.

    shape: (bands, rows, columns). dtype: of the values. files: the files that it reads.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    files: tuple[Path, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory of the whole cube."""
        bands, rows, columns = (int(size) for size in self.shape)
        return bands * rows * columns * np.dtype(self.dtype).itemsize

    def __getitem__(self, key: Key) -> np.ndarray:
        parts = (slice(None),) * 3 if key is Ellipsis else key
        bands, rows, columns = (slice(*part.indices(int(size))) for part, size in zip(parts, self.shape, strict=True))
        return self.block(bands, rows, columns)

    @abstractmethod
    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """The values (bands, n, m) of these slices. Their start, stop and step are numbers inside the cube."""


class ChosenBands(LazyArray):
    """Some bands of a cube, in any order. cube: an array or a lazy one. bands: their numbers, from 0."""

    def __init__(self, cube: "LazyArray | np.ndarray", bands: np.ndarray) -> None:
        self._cube, self._bands = cube, bands
        self.shape, self.dtype = (len(bands), *cube.shape[1:]), np.dtype(cube.dtype)
        if isinstance(cube, LazyArray):
            self.files = cube.files

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Read all bands from the first to the last wanted one, because readers do this at once."""
        wanted = self._bands[bands]
        low = int(wanted.min())
        return self._cube[slice(low, int(wanted.max()) + 1), rows, columns][wanted - low]


class CutOut(LazyArray):
    """Some rows and columns of a cube. cube: an array or a lazy one. rows, columns: [start, stop), inside the cube."""

    def __init__(self, cube: "LazyArray | np.ndarray", rows: tuple[int, int], columns: tuple[int, int]) -> None:
        self._cube, self._first = cube, (rows[0], columns[0])
        self.shape, self.dtype = (cube.shape[0], rows[1] - rows[0], columns[1] - columns[0]), np.dtype(cube.dtype)
        if isinstance(cube, LazyArray):
            self.files = cube.files

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Read from the cube."""
        row, column = self._first
        place = slice(rows.start + row, rows.stop + row), slice(columns.start + column, columns.stop + column)
        return self._cube[bands, *place][:, :: rows.step, :: columns.step]
