"""One walk over a pair of images in row strips, which gathers every score of a convention.

A strip is small enough to stay in the processor's cache while all gatherers work on it, and strips are shared out
among threads; that is where the speed comes from. Memory is that of a strip a thread, whatever the size of the images.
What the strips gave is merged in their order, so that the number of threads changes no digit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np

from hsisr.metrics.inputs import Pair
from hsisr.system import available_threads

#: Rows of a strip: few enough for a band of it to stay in the cache, enough for Python, which runs one thread at a
#: time, and for the rows that windows of two strips read to weigh little.
STRIP_ROWS = 64
#: Values below which threads cost more than they bring.
_SMALL = 1 << 20
#: Threads beyond which Python, which runs one at a time, is what they wait for.
_MOST_THREADS = 8


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
    """What takes part in a walk: a fresh one gathers each strip, the one that began the walk merges them."""

    #: Rows below a strip that it reads too: window size - 1.
    halo = 0

    @abstractmethod
    def fresh(self) -> Self:
        """One of the same kind that has gathered nothing, for one strip."""

    @abstractmethod
    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip; x, y: float64 (strip.rows + rows below, W), masked pixels 0; not written to."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do here
        """All bands of the strip have been added."""

    @abstractmethod
    def merge(self, later: Self) -> None:
        """Take what one of the same kind gathered below."""


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
    """What fresh gatherers find in one strip."""
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
