"""One walk over a pair of images in row strips: every score of a convention is gathered in the same pass.

A strip is small enough to stay in the processor's cache while all gatherers work on it, which is where the speed
comes from; memory is that of a strip, whatever the size of the images.
"""

from abc import ABC, abstractmethod

import numpy as np

from hsisr.metrics.inputs import Pair

#: Rows of a strip.
STRIP_ROWS = 48


class Strip:
    """Some rows of a pair, followed by the rows below that sliding windows starting in the strip reach into.

    start: first row. rows: how many rows are its own. mask: (rows + those below, W) or None.
    """

    def __init__(self, start: int, rows: int, mask: np.ndarray | None) -> None:
        self.start, self.rows, self.mask = start, rows, mask
        self._whole_windows: dict[int, np.ndarray] = {}

    def pixels(self, plane: np.ndarray) -> np.ndarray:
        """The valid pixels of the strip's own rows, one-dimensional; plane: (own rows and those below, W)."""
        own = plane[: self.rows]
        return own.reshape(-1) if self.mask is None else own[self.mask[: self.rows]]

    def for_windows(self, plane: np.ndarray, size: int) -> np.ndarray:
        """The rows of `plane` that sliding windows of `size` rows starting in the strip read."""
        return plane[: self.rows + size - 1]

    def whole_windows(self, size: int) -> np.ndarray | None:
        """True where a window of size x size, by its first row and column, holds no masked pixel; None: none does."""
        if self.mask is None:
            return None
        if size not in self._whole_windows:
            mask = self.for_windows(self.mask, size)
            self._whole_windows[size] = _all_in_window(_all_in_window(mask, size).T, size).T
        return self._whole_windows[size]


class Gatherer(ABC):
    """What takes part in a walk."""

    #: Rows below a strip that it reads too: window size - 1.
    halo = 0

    @abstractmethod
    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip; x, y: float64 (strip.rows + rows below, W), masked pixels 0; not written to."""

    def close(self, strip: Strip) -> None:  # noqa: B027 - most have nothing to do here
        """All bands of the strip have been added."""


def walk(pair: Pair, *gatherers: Gatherer) -> None:
    """Hand every band of every strip of a pair to the gatherers. Raises HsisrError for NaN or infinity."""
    bands, rows, _ = pair.shape
    halo = max(gatherer.halo for gatherer in gatherers)
    for start in range(0, rows, STRIP_ROWS):
        stop = min(start + STRIP_ROWS + halo, rows)
        mask = None if pair.mask is None else pair.mask[start:stop]
        strip = Strip(start, min(STRIP_ROWS, rows - start), mask)
        for band in range(bands):
            x, y = pair.read(band, start, stop)
            for gatherer in gatherers:
                gatherer.add(band, x, y, strip)
        for gatherer in gatherers:
            gatherer.close(strip)


def _all_in_window(mask: np.ndarray, size: int) -> np.ndarray:
    """Along the first axis: True where `size` samples in a row are all True."""
    count = max(len(mask) - size + 1, 0)
    return np.logical_and.reduce([mask[shift : shift + count] for shift in range(size)])
