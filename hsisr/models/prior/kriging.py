"""Kriging: a smooth field out of what a sensor with a separable footprint saw of it, exactly and in closed form."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import Footprint
from hsisr.models.prior.blocks import cells, is_one_block

#: Correlation lengths that are tried, in LR pixels, and ratios of noise to field variance.
_LENGTHS_LR_PX = (0.5, 1.0, 2.0, 4.0)
_RATIOS = 10.0 ** np.arange(-4, 4.5, 0.5)
#: Side of the cells in which the fields of a large scene are found, and of the ground around them that counts: six of
#: the longest correlation lengths.
_CELL_LR_PX, _MARGIN_LR_PX = 64, 24


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of what the sensor sees of a field: eigenvalues, eigenvectors, and the way from those to the field."""

    values: np.ndarray
    vectors: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True, eq=False)
class Correlation:
    """A squared-exponential correlation as the sensor sees it, with a ratio of noise to field variance."""

    rows: _Axis
    columns: _Axis
    length_lr_px: float
    ratio: float

    @classmethod
    def seen_by(cls, sampler: Sampler, scale: int, length_lr_px: float, ratio: float) -> "Correlation":
        """A correlation as that sampler sees it."""
        length_px = length_lr_px * scale
        return cls(_axis(sampler.rows, length_px), _axis(sampler.columns, length_px), length_lr_px, ratio)

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues (h, w) of the observations' covariance, in units of the field's variance."""
        return np.outer(self.rows.values, self.columns.values) + self.ratio

    def turned(self, images: np.ndarray) -> np.ndarray:
        """Images (..., h, w) in the eigenvectors of that covariance, which are the same for every ratio."""
        return self.rows.vectors.T @ images @ self.columns.vectors


@dataclass(frozen=True, eq=False)
class Field:
    """Posterior mean of a field: what turns it from the eigenvectors (n, h, w) of n blocks to HR pixels."""

    correlation: Correlation
    weights: np.ndarray

    @classmethod
    def of(cls, correlation: Correlation, observed: np.ndarray) -> "Field":
        """The field behind an image (n h, w)."""
        return cls(correlation, correlation.turned(_blocks(observed[None], correlation))[0] / correlation.spectrum)

    def at(self, block: int, rows: slice = slice(None)) -> np.ndarray:
        """Its values at HR rows of a block: (H, W), float32."""
        spread = self.correlation.rows.spread[rows]
        return (spread @ self.weights[block] @ self.correlation.columns.spread.T).astype(np.float32)


class SmoothFields:
    """Gaussian processes on the HR grid, observed at LR pixels with white noise.

    Correlation and footprint are both separable, so that the covariance of the observations is a Kronecker product and
    two small eigenproblems a correlation length do for everything (Saatci, Scalable inference for structured Gaussian
    process models, Cambridge 2011, chapter 5). Lengths and ratios of noise to field are those of greatest evidence.

    sampler: of one block of h x w LR pixels. Images are of one such block or of several, one below the other, which
    know nothing of each other.
    """

    def __init__(self, sampler: Sampler, scale: int) -> None:
        self._lengths = [
            [Correlation(*axes, length, float(ratio)) for ratio in _RATIOS]
            for length in _LENGTHS_LR_PX
            for axes in [(_axis(sampler.rows, length * scale), _axis(sampler.columns, length * scale))]
        ]

    def shared_correlation(self, observed: np.ndarray) -> Correlation:
        """The correlation that explains all of the images (K, n h, w) best, each with a variance of its own."""
        surprises = self._surprises(observed).sum(axis=1)
        return self._candidates[int(np.argmin(surprises))]

    def correlations(self, observed: np.ndarray) -> list[Correlation]:
        """The correlation that explains each of the images (K, n h, w) best."""
        return [self._candidates[best] for best in self._surprises(observed).argmin(axis=0)]

    @property
    def _candidates(self) -> list[Correlation]:
        return [candidate for ratios in self._lengths for candidate in ratios]

    def _surprises(self, observed: np.ndarray) -> np.ndarray:
        """Minus twice the log evidence per observation, but for a constant: (candidates, K)."""
        found = []
        for ratios in self._lengths:
            turned = ratios[0].turned(_blocks(observed, ratios[0]))
            power = (turned**2).mean(axis=1).reshape(len(observed), -1)
            for candidate in ratios:
                spectrum = candidate.spectrum.ravel()
                scaled = power @ (1 / spectrum) / len(spectrum)
                found.append(np.log(np.maximum(scaled, np.finfo(float).tiny)) + np.log(spectrum).mean())
        return np.array(found)


class FieldsByWindows:
    """Posterior means of smooth fields anywhere in a scene, from what was left at its LR pixels.

    A scene of one block is kriged whole. Of a larger one, cells of a grid that begins at the scene's corner are kriged
    from the LR pixels in and around them, several correlation lengths wide: the result at a pixel follows from the
    scene alone, not from what is asked for together with it.

    observed: (K, h, w), float32. choices: correlation length (LR pixels) and ratio of noise to field of each.
    footprint: of an LR pixel.
    """

    def __init__(
        self, observed: np.ndarray, choices: Sequence[tuple[float, float]], footprint: Footprint, scale: int
    ) -> None:
        self._observed, self._choices, self._footprint, self._scale = observed, choices, footprint, scale
        height, width = observed.shape[1:]
        whole = is_one_block(height, width)
        self._cells = [[(0, size)] if whole else cells(size, _CELL_LR_PX) for size in (height, width)]
        self._axes: dict[tuple[int, int, float], _Axis] = {}

    def __call__(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """The fields (K, n, m), float32, at HR rows and columns [start, stop)."""
        result = np.zeros((len(self._observed), rows[1] - rows[0], columns[1] - columns[0]), np.float32)
        for vertical in self._parts(0, rows):
            for horizontal in self._parts(1, columns):
                observed = self._observed[:, slice(*vertical.window), slice(*horizontal.window)].astype(np.float64)
                place = tuple(slice(*part.wanted) for part in (vertical, horizontal))
                for field, image, choice in zip(result, observed, self._choices, strict=True):
                    field[place] = self._kriged(image, choice, (vertical, horizontal))
        return result

    def _parts(self, axis: int, wanted: tuple[int, int]) -> Iterator["_Part"]:
        size = self._observed.shape[axis + 1]
        for start, stop in self._cells[axis]:
            first, end = max(wanted[0], start * self._scale), min(wanted[1], stop * self._scale)
            if first < end:
                window = max(0, start - _MARGIN_LR_PX), min(size, stop + _MARGIN_LR_PX)
                top = window[0] * self._scale
                yield _Part(window, (first - wanted[0], end - wanted[0]), (first - top, end - top))

    def _kriged(self, image: np.ndarray, choice: tuple[float, float], parts: tuple["_Part", "_Part"]) -> np.ndarray:
        """The field behind the image (n, m) of a window, at the HR pixels wanted of it."""
        axes = []
        for number, part in enumerate(parts):
            axis = self._axis(number, part.window[1] - part.window[0], choice[0])
            axes.append(replace(axis, spread=axis.spread[slice(*part.inside)]))
        return Field.of(Correlation(axes[0], axes[1], *choice), image).at(0)

    def _axis(self, axis: int, size: int, length: float) -> _Axis:
        key = axis, size, length
        if key not in self._axes:
            sampler = self._footprint.sampler(self._scale, (size * self._scale,) * 2)
            self._axes[key] = _axis(sampler.rows if axis == 0 else sampler.columns, length * self._scale)
        return self._axes[key]


class _Part(NamedTuple):
    """Where a cell meets what is wanted, along an axis. window: LR pixels that the cell is kriged from. wanted, inside:
    the common HR pixels, counted from the start of what is wanted, and from that of the window."""

    window: tuple[int, int]
    wanted: tuple[int, int]
    inside: tuple[int, int]


def whiten(images: np.ndarray, correlation: Correlation) -> np.ndarray:
    """Images (K, n h, w) turned and scaled such that field and noise together are white, (K, n h w)."""
    scale = np.sqrt((1 + correlation.ratio) / correlation.spectrum)
    scaled = np.empty((len(images), images[0].size))
    for image, row in zip(images, scaled, strict=True):
        row[...] = (correlation.turned(_blocks(image[None], correlation)) * scale).ravel()
    return scaled


def _blocks(images: np.ndarray, correlation: Correlation) -> np.ndarray:
    """(K, n h, w) -> (K, n, h, w)."""
    return images.reshape(len(images), -1, len(correlation.rows.values), images.shape[-1])


def _axis(matrix: Any, length_px: float) -> _Axis:
    places = np.arange(matrix.shape[1])
    correlation = np.exp(-0.5 * ((places[:, None] - places) / length_px) ** 2)
    seen = matrix @ correlation
    values, vectors = np.linalg.eigh(matrix @ seen.T)
    return _Axis(np.maximum(values, 0.0), vectors, seen.T @ vectors)
