"""One walk over a pair of images in row strips: the same pass gathers every score of a convention.

This is fast for two reasons: a strip stays in the processor's cache while all gatherers work on it, and threads share
the strips. Each thread needs memory for one strip, whatever the size of the images. The results of the strips are
merged in order, so the number of threads changes no digit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np

from hsisr.metrics.inputs import Pair
from hsisr.system import available_threads

#: Rows of a strip. They are so few that a band of a strip stays in the cache. They are so many that two things cost
#: little: Python, which runs one thread at a time, and rows that the windows of two strips read.
STRIP_ROWS = 64
#: For images with fewer values, threads cost more than they gain.
_SMALL = 1 << 20
#: With more threads, they would wait for Python, which runs one thread at a time.
_MOST_THREADS = 8


class Strip:
    """Some rows of a pair, and the rows below them that sliding windows of the strip also read.

    start: first row. rows: number of its own rows. mask: (own rows and those below, W), or None.
    """

    def __init__(self, start: int, rows: int, mask: np.ndarray | None) -> None:
        self.start, self.rows, self.mask = start, rows, mask
        self._whole_windows: dict[int, np.ndarray] = {}

    def pixels(self, plane: np.ndarray) -> np.ndarray:
        """The valid pixels of the strip's own rows, one-dimensional; plane: (own rows and those below, W)."""
        own = plane[: self.rows]
        return own.reshape(-1) if self.mask is None else own[self.mask[: self.rows]]

    def for_windows(self, plane: np.ndarray, size: int) -> np.ndarray:
        """The rows of `plane` that are read by sliding windows of `size` rows that start in the strip."""
        return plane[: self.rows + size - 1]

    def whole_windows(self, size: int) -> np.ndarray | None:
        """True where a window of size x size that starts there holds no masked pixel; None: no pixel is masked."""
        if self.mask is None:
            return None
        if size not in self._whole_windows:
            mask = self.for_windows(self.mask, size)
            self._whole_windows[size] = _all_in_window(_all_in_window(mask, size).T, size).T
        return self._whole_windows[size]


class Gatherer(ABC):
    """A score that takes part in a walk: a fresh gatherer reads each strip; the first one merges all of them."""

    #: Rows that it also reads below a strip: window size - 1.
    halo = 0

    @abstractmethod
    def fresh(self) -> Self:
        """One of the same kind that has gathered nothing, for one strip."""

    @abstractmethod
    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip; x, y: float64 (strip.rows + rows below, W), masked pixels 0; not written to."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do here
        """Finish a strip, when all its bands have been added."""

    @abstractmethod
    def merge(self, later: Self) -> None:
        """Take the results of a gatherer of the same kind from a strip below."""


def walk(pair: Pair, *gatherers: Gatherer) -> None:
    """Hand every band of every strip of a pair to the gatherers. Raises HsisrError for NaN or infinity."""
    starts = range(0, pair.shape[1], STRIP_ROWS)
    threads = min(available_threads(), _MOST_THREADS, len(starts)) if pair.reference.size >= _SMALL else 1
    if threads == 1:
        _merge(gatherers, (_gather(pair, gatherers, start) for start in starts))
        return
    with ThreadPoolExecutor(threads) as pool:
        _merge(gatherers, pool.map(lambda start: _gather(pair, gatherers, start), starts))


def _gather(pair: Pair, gatherers: tuple[Gatherer, ...], start: int) -> list[Gatherer]:
    """Fresh gatherers, with the results of one strip."""
    bands, rows, columns = pair.shape
    stop = min(start + STRIP_ROWS + max(gatherer.halo for gatherer in gatherers), rows)
    mask = None if pair.mask is None else pair.mask[start:stop]
    strip = Strip(start, min(STRIP_ROWS, rows - start), mask)
    found = [gatherer.fresh() for gatherer in gatherers]
    planes = np.empty((2, stop - start, columns))
    for band in range(bands):
        x, y = pair.read(band, start, stop, planes)
        for gatherer in found:
            gatherer.add(band, x, y, strip)
    for gatherer in found:
        gatherer.close()
    return found


def _merge(gatherers: tuple[Gatherer, ...], strips: Iterable[list[Gatherer]]) -> None:
    for found in strips:
        for gatherer, later in zip(gatherers, found, strict=True):
            gatherer.merge(later)


def _all_in_window(mask: np.ndarray, size: int) -> np.ndarray:
    """Along the first axis: True where `size` samples in a row are all True."""
    count = max(len(mask) - size + 1, 0)
    everywhere: np.ndarray = np.logical_and.reduce([mask[shift : shift + count] for shift in range(size)])
    return everywhere
