"""Lazy cubes: (bands, H, W) arrays that read, compute or join only the part that an index asks for."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import EllipsisType

import numpy as np

#: What a lazy cube is indexed with: everything, or a slice of bands, of rows and of columns.
Key = EllipsisType | tuple[slice, slice, slice]


class LazyArray(ABC):
    """A cube that looks like an array as far as a `Scene` needs it. Subclasses set `shape`, `dtype` and read blocks.

    shape: (bands, rows, columns). dtype: of the values. files: that it reads from.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    files: tuple[Path, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory that the whole cube would take."""
        bands, rows, columns = (int(size) for size in self.shape)
        return bands * rows * columns * np.dtype(self.dtype).itemsize

    def __getitem__(self, key: Key) -> np.ndarray:
        parts = (slice(None),) * 3 if key is Ellipsis else key
        bands, rows, columns = (slice(*part.indices(int(size))) for part, size in zip(parts, self.shape, strict=True))
        return self.block(bands, rows, columns)

    @abstractmethod
    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """The values (bands, n, m) of these slices, whose start, stop and step are numbers inside the cube."""


class ChosenBands(LazyArray):
    """Some bands of a cube, in an order of their own. cube: an array or a lazy one. bands: their numbers, from 0."""

    def __init__(self, cube: "LazyArray | np.ndarray", bands: np.ndarray) -> None:
        self._cube, self._bands = cube, bands
        self.shape, self.dtype = (len(bands), *cube.shape[1:]), np.dtype(cube.dtype)
        if isinstance(cube, LazyArray):
            self.files = cube.files

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Read from the first to the last of the wanted bands, which readers do in one go."""
        wanted = self._bands[bands]
        low = int(wanted.min())
        return self._cube[slice(low, int(wanted.max()) + 1), rows, columns][wanted - low]


class CutOut(LazyArray):
    """Some rows and columns of a cube. cube: an array or a lazy one. rows, columns: [start, stop), inside of it."""

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
