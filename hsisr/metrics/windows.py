"""Weighted means over sliding windows, computed as products with banded matrices.

This is faster than running filters in float64, and more exact: every window is summed on its own. With running sums,
rounding errors of a bright area leak into a black one.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

#: Windows computed by one product along a column and along a row, and columns in a product. They are so small that BLAS
#: stays on the calling thread: BLAS threads do not speed up such products, and stall on a busy machine.
_DOWN, _ACROSS, _COLUMNS = 8, 16, 512


class WindowMeans:
    """Means over every window inside a stack of planes. They overwrite the planes, to stay in the cache.

    weights: of one axis, with sum 1; a window is len(weights) pixels high and wide.
    planes: (k, rows, columns) float64, contiguous; fill them anew before every call.
    """

    def __init__(self, weights: tuple[float, ...], planes: np.ndarray) -> None:
        k, rows, columns = planes.shape
        rows, width = rows - len(weights) + 1, columns - len(weights) + 1
        self._vertical = np.empty((k, rows, columns))
        self._means = planes.reshape(-1)[: k * rows * width].reshape(k, rows, width)
        self._products = list(_down(planes, self._vertical, weights))
        self._products += _across(self._vertical.reshape(k * rows, columns), self._means.reshape(k * rows, -1), weights)

    def __call__(self) -> np.ndarray:
        """(k, rows - len(weights) + 1, columns - len(weights) + 1) means, in the memory of the planes."""
        for left, right, result in self._products:
            np.matmul(left, right, out=result)
        return self._means


#: Two factors of a matrix product, and the array for the result.
_Product = tuple[np.ndarray, np.ndarray, np.ndarray]


def _down(planes: np.ndarray, means: np.ndarray, weights: tuple[float, ...]) -> Iterator[_Product]:
    """Matrix products that compute means along the columns."""
    rows, columns = means.shape[1:]
    for top in range(0, rows, _DOWN):
        inner = slice(top, min(top + _DOWN, rows))
        matrix = _band_matrix(weights, inner.stop - top).T
        for left in range(0, columns, _COLUMNS):
            part = slice(left, left + _COLUMNS)
            yield matrix, planes[:, top : inner.stop + len(weights) - 1, part], means[:, inner, part]


def _across(planes: np.ndarray, means: np.ndarray, weights: tuple[float, ...]) -> Iterator[_Product]:
    """Matrix products that compute means along the rows of (rows, columns) planes."""
    rows, width = means.shape
    whole = width // _ACROSS * _ACROSS
    for start, stop, count in ((0, whole, _ACROSS), (whole, width, width - whole)):
        if stop > start:
            source = planes[:, start : stop + len(weights) - 1]
            windows = sliding_window_view(source, count + len(weights) - 1, axis=1)[:, ::count]
            target = means[:, start:stop].reshape(rows, -1, count)
            yield windows.swapaxes(0, 1), _band_matrix(weights, count), target.swapaxes(0, 1)


@lru_cache(maxsize=16)
def _band_matrix(weights: tuple[float, ...], outputs: int) -> np.ndarray:
    """Matrix (outputs + len(weights) - 1, outputs): the weights in column i start at row i."""
    matrix = np.zeros((outputs + len(weights) - 1, outputs))
    for column in range(outputs):
        matrix[column : column + len(weights), column] = weights
    return matrix
