"""Weighted means over sliding windows, computed as products with banded matrices.

Faster than running filters in float64, and exact where it matters: every window is summed on its own, so that nothing
of a bright area leaks into a black one as it does with running sums.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

#: Windows computed by one product along a column and along a row, and columns that take part. Small enough for a BLAS
#: to stay on the calling thread: its own threads bring nothing to such products and stall on a busy machine.
_DOWN, _ACROSS, _COLUMNS = 8, 16, 512


class WindowMeans:
    """Means over every window inside a stack of planes. Its buffers are reused from call to call.

    weights: of one axis, summing to 1; a window is len(weights) pixels high and wide.
    """

    def __init__(self, weights: tuple[float, ...]) -> None:
        self._weights, self._reach = weights, len(weights) - 1
        self._vertical = self._means = np.empty((0, 0, 0))
        self._across: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # factors and result of each product

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """planes: (k, rows, columns) float64 -> (k, rows - len(weights) + 1, columns - len(weights) + 1).

        The result may be written to; it is overwritten by the next call.
        """
        k, rows, columns = planes.shape
        if self._vertical.shape != (k, rows - self._reach, columns):
            self._allocate(k, rows - self._reach, columns)
        for top in range(0, rows - self._reach, _DOWN):
            inner = slice(top, min(top + _DOWN, rows - self._reach))
            matrix = _banded(self._weights, inner.stop - top).T
            for left in range(0, columns, _COLUMNS):
                part = slice(left, left + _COLUMNS)
                np.matmul(matrix, planes[:, top : inner.stop + self._reach, part], out=self._vertical[:, inner, part])
        for windows, matrix, result in self._across:
            np.matmul(windows, matrix, out=result)
        return self._means

    def _allocate(self, k: int, rows: int, columns: int) -> None:
        self._vertical = np.empty((k, rows, columns))
        self._means = np.empty((k, rows, columns - self._reach))
        whole = self._means.shape[-1] // _ACROSS * _ACROSS
        self._across = []
        for start, stop, count in ((0, whole, _ACROSS), (whole, self._means.shape[-1], self._means.shape[-1] - whole)):
            if stop > start:
                source = self._vertical.reshape(k * rows, columns)[:, start : stop + self._reach]
                target = self._means.reshape(k * rows, -1)[:, start:stop].reshape(k * rows, -1, count)
                windows = sliding_window_view(source, count + self._reach, axis=1)[:, ::count]
                matrix = _banded(self._weights, count)
                self._across.append((windows.swapaxes(0, 1), matrix, target.swapaxes(0, 1)))


@lru_cache(maxsize=16)
def _banded(weights: tuple[float, ...], outputs: int) -> np.ndarray:
    """(outputs + len(weights) - 1, outputs): column i holds the weights from row i on."""
    matrix = np.zeros((outputs + len(weights) - 1, outputs))
    for column in range(outputs):
        matrix[column : column + len(weights), column] = weights
    return matrix
