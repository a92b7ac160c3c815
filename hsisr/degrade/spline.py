"""A smooth surface over an image: cubic B-splines on an even grid of control points, and what fitting one takes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Places per interval at which bending is integrated.
_QUADRATURE = 8


@dataclass(frozen=True)
class SplineGrid:
    """Control points over an image of height x width pixels; intervals: between them, (rows, columns).

    A pixel's value is that at its centre, half a pixel behind its edge. Outside the image the surface stays level.
    """

    height: int
    width: int
    intervals: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Control points (rows, columns)."""
        return self.intervals[0] + 3, self.intervals[1] + 3

    @property
    def count(self) -> int:
        """Number of control points."""
        return self.shape[0] * self.shape[1]

    def weights(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the control points at rows (n, rows of points) and at columns (m, columns of points); pixels."""
        return (
            _basis(rows + 0.5, self.height, self.intervals[0]),
            _basis(columns + 0.5, self.width, self.intervals[1]),
        )

    @cached_property
    def _at_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        return self.weights(np.arange(self.height), np.arange(self.width))

    @cached_property
    def _squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Products of the weights of every two control points, along each axis: (pixels, points^2)."""
        rows, columns = ((axis[:, :, None] * axis[:, None]).reshape(len(axis), -1) for axis in self._at_pixels)
        return rows, columns

    def surface(self, controls: np.ndarray) -> np.ndarray:
        """Values (..., height, width) of controls (..., count)."""
        rows, columns = self._at_pixels
        surface: np.ndarray = rows @ controls.reshape(*controls.shape[:-1], *self.shape) @ columns.T
        return surface

    def gathered(self, image: np.ndarray) -> np.ndarray:
        """Sums (..., count) of images (..., height, width) times each control point's weights."""
        rows, columns = self._at_pixels
        sums: np.ndarray = (rows.T @ image @ columns).reshape(*image.shape[:-2], -1)
        return sums

    def gram(self, weight: np.ndarray) -> np.ndarray:
        """Normal matrix (count, count) of a fit whose pixels have this weight (height, width)."""
        down, across = self.shape
        rows, columns = self._squares
        blocks: np.ndarray = (rows.T @ weight @ columns).reshape(down, down, across, across)
        return blocks.transpose(0, 2, 1, 3).reshape(self.count, self.count)

    @cached_property
    def bending(self) -> np.ndarray:
        """Matrix (count, count) of the bending energy, the integral of the squared second derivatives."""
        rows = _energies(self.height, self.intervals[0])
        columns = _energies(self.width, self.intervals[1])
        energies = [np.kron(rows[2 - axis], columns[axis]) * (1, 2, 1)[axis] for axis in range(3)]
        return np.asarray(sum(energies))


def even_intervals(shape: tuple[int, int], spacing: float, limits: tuple[int, int]) -> tuple[int, int]:
    """Intervals (rows, columns) about `spacing` pixels long over an image (rows, columns); limits: fewest and most."""
    rows, columns = (int(np.clip(round(size / spacing), *limits)) for size in shape)
    return rows, columns


def _knots(size: float, intervals: int) -> np.ndarray:
    return np.arange(-3, intervals + 4) * (size / intervals)


def _basis(places: np.ndarray, size: float, intervals: int, derivative: int = 0) -> np.ndarray:
    """(places, intervals + 3): every B-spline, or a derivative of it, at places from 0 to size."""
    from scipy.interpolate import BSpline

    places = np.clip(places, 0, np.nextafter(float(size), 0))
    splines = BSpline(_knots(size, intervals), np.eye(intervals + 3), 3)
    values: np.ndarray = splines(places, derivative)
    return values


def _energies(size: float, intervals: int) -> list[np.ndarray]:
    """Integrals over products of every two B-splines, of their slopes, and of their second derivatives."""
    count = _QUADRATURE * intervals
    places = (np.arange(count) + 0.5) * (size / count)
    found = []
    for derivative in range(3):
        values = _basis(places, size, intervals, derivative)
        found.append(values.T @ values * (size / count))
    return found
