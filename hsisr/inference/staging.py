"""Staging: finished tile rows on the disk, each written completely or not at all; and the result read from them.

A file holds the tiles of one row, one after the other, each (bands, kept rows, kept columns) float32. They are already
weighted: where tiles overlap, the result is their sum. Rows do not depend on each other. So any process can make any
row, and a killed run resumes with the missing ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hsisr.errors import HsisrError
from hsisr.files import atomic_path
from hsisr.inference.tiles import Span, Tiling, weights


@dataclass(frozen=True)
class Staging:
    """The folder of a run's finished tile rows. bands: of the result; scale: HR over LR size."""

    folder: Path
    tiling: Tiling
    bands: int
    scale: int

    @property
    def bytes_needed(self) -> int:
        """Disk space for all rows."""
        rows, columns = (
            sum(span.kept[1] - span.kept[0] for span in axis) for axis in (self.tiling.rows, self.tiling.columns)
        )
        return rows * columns * self.scale**2 * self.bands * 4

    def is_finished(self, row: int) -> bool:
        """Whether a tile row is done and complete."""
        path, span = self._path(row), self.tiling.rows[row]
        values = (span.kept[1] - span.kept[0]) * sum(tile.kept[1] - tile.kept[0] for tile in self.tiling.columns)
        return path.is_file() and path.stat().st_size == values * self.scale**2 * self.bands * 4

    def write_row(self, row: int, tiles: Iterable[np.ndarray]) -> None:
        """Write a tile row. tiles: its results in order, each (bands, kept rows, kept columns) of HR pixels.

        Raises HsisrError if the disk is full or the folder cannot be written.
        """
        span = self.tiling.rows[row]
        down = weights(span, self.tiling.height, self.scale)[:, None]
        with atomic_path(self._path(row)) as temporary, open(temporary, "wb") as file:
            for column, estimate in zip(self.tiling.columns, tiles, strict=True):
                _write(file, estimate * (down * weights(column, self.tiling.width, self.scale)), self._path(row))

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """The result (bands, n, m) float32 of HR rows and columns; NaN for missing values."""
        result = np.zeros((self.bands, rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for number, span in enumerate(self.tiling.rows):
            y0, y1 = self._overlap(span, rows)
            if y0 < y1:
                self._add_row(number, span, (y0, y1), rows, columns, result)
        return result

    def _add_row(
        self, number: int, span: Span, y: tuple[int, int], rows: slice, columns: slice, result: np.ndarray
    ) -> None:
        height = (span.kept[1] - span.kept[0]) * self.scale
        start = 0
        for tile in self.tiling.columns:
            shape = (self.bands, height, (tile.kept[1] - tile.kept[0]) * self.scale)
            x0, x1 = self._overlap(tile, columns)
            if x0 < x1:
                block = np.memmap(self._path(number), np.float32, "r", start, shape)
                top, left = span.kept[0] * self.scale, tile.kept[0] * self.scale
                part = block[:, y[0] - top : y[1] - top, x0 - left : x1 - left]
                result[:, y[0] - rows.start : y[1] - rows.start, x0 - columns.start : x1 - columns.start] += part
                del block, part  # a mapped page counts as memory until it is released
            start += int(np.prod(shape)) * 4

    def _overlap(self, span: Span, wanted: slice) -> tuple[int, int]:
        return max(span.kept[0] * self.scale, wanted.start), min(span.kept[1] * self.scale, wanted.stop)

    def _path(self, row: int) -> Path:
        return self.folder / f"row-{row:06d}.f32"


def _write(file: BinaryIO, block: np.ndarray, path: Path) -> None:
    try:
        file.write(np.ascontiguousarray(block, np.float32).data)
    except OSError as error:
        raise HsisrError(
            f"{path}: cannot be written ({error.strerror}); make room, then run the same command again: it "
            "goes on where it was"
        ) from error
