"""Kriging: the smooth field behind an image from a sensor with a separable footprint, exactly and in closed form."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hsisr.degrade.sampling import SPLINE_REACH, Sampler, interpolate_at
from hsisr.degrade.sensor import Footprint
from hsisr.models.prior.blocks import cells, is_one_block

#: Correlation lengths that are tried, in LR pixels, and ratios of noise to field variance.
_LENGTHS_LR_PX = (0.5, 1.0, 2.0, 4.0)
_RATIOS = 10.0 ** np.arange(-4, 4.5, 0.5)
#: Side of the cells for the fields of a large scene, and width of the margin that counts around a cell: six times the
#: longest correlation length.
_CELL_LR_PX, _MARGIN_LR_PX = 64, 24


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of a field's correlation as the sensor sees it.

    values, vectors: eigenvalues and eigenvectors. spread: matrix from the eigenvectors to the field.
    """

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
        """The correlation as this sampler sees it."""
        length_px = length_lr_px * scale
        return cls(_axis(sampler.rows, length_px), _axis(sampler.columns, length_px), length_lr_px, ratio)

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues (h, w) of the observations' covariance, in units of the field's variance."""
        return np.outer(self.rows.values, self.columns.values) + self.ratio

    def turned(self, images: np.ndarray) -> np.ndarray:
        """Images (..., h, w) in the eigenvectors of this covariance, which are the same for every ratio."""
        return self.rows.vectors.T @ images @ self.columns.vectors


@dataclass(frozen=True, eq=False)
class Field:
    """Posterior mean of a field, kept as weights (n, h, w) of the eigenvectors of n blocks."""

    correlation: Correlation
    weights: np.ndarray

    @classmethod
    def of(cls, correlation: Correlation, observed: np.ndarray) -> "Field":
        """The field behind an image (n h, w)."""
        return cls(correlation, correlation.turned(_blocks(observed[None], correlation))[0] / correlation.spectrum)

    def at(self, block: int, rows: slice = slice(None)) -> np.ndarray:
        """Values of the field at HR rows of a block: (H, W), float32."""
        spread = self.correlation.rows.spread[rows]
        return (spread @ self.weights[block] @ self.correlation.columns.spread.T).astype(np.float32)


class SmoothFields:
    """Gaussian processes on the HR grid, observed at LR pixels with white noise.

    Correlation and footprint are both separable, so the covariance of the observations is a Kronecker product. For each
    correlation length, two small eigenproblems are enough (Saatci, Scalable inference for structured Gaussian process
    models, Cambridge 2011, chapter 5). The lengths and ratios of noise to field with the greatest evidence are taken.

    sampler: of one block of h x w LR pixels. An image has one or several such blocks, one below the other. The blocks
    are independent of each other.
    """

    def __init__(self, sampler: Sampler, scale: int) -> None:
        self._lengths = [
            [Correlation(*axes, length, float(ratio)) for ratio in _RATIOS]
            for length in _LENGTHS_LR_PX
            for axes in [(_axis(sampler.rows, length * scale), _axis(sampler.columns, length * scale))]
        ]

    def shared_correlation(self, observed: np.ndarray) -> Correlation:
        """The one correlation that best explains all images (K, n h, w), each with its own variance.

        Images of nothing but rounding, such as those of a band of one number, do not count.
        """
        surprises = self._surprises(observed[beyond_rounding((observed**2).mean(axis=(1, 2)))]).sum(axis=1)
        return self._candidates[int(np.argmin(surprises))]

    def gain(self, observed: np.ndarray) -> float:
        """How much less surprised fields are, each of the correlation that is best, than white noise would be.

        Per LR pixel, summed over the images (K, n h, w); surprise is minus twice the log evidence. Images as for
        `shared_correlation`.
        """
        observed = observed[beyond_rounding((observed**2).mean(axis=(1, 2)))]
        white = np.log(np.maximum((observed**2).mean(axis=(1, 2)), np.finfo(float).tiny))
        return float((white - self._surprises(observed).min(axis=0)).sum())

    def correlations(self, observed: np.ndarray) -> list[Correlation]:
        """For each of the images (K, n h, w), the correlation that best explains it."""
        return [self._candidates[best] for best in self._surprises(observed).argmin(axis=0)]

    @property
    def _candidates(self) -> list[Correlation]:
        return [candidate for ratios in self._lengths for candidate in ratios]

    def _surprises(self, observed: np.ndarray) -> np.ndarray:
        """Minus twice the log evidence per observation, up to a constant: (candidates, K)."""
        found = []
        for ratios in self._lengths:
            turned = ratios[0].turned(_blocks(observed, ratios[0]))
            power = (turned**2).mean(axis=1).reshape(len(observed), -1)
            for candidate in ratios:
                spectrum = candidate.spectrum.ravel()
                scaled = power @ (1 / spectrum) / len(spectrum)
                found.append(np.log(np.maximum(scaled, np.finfo(float).tiny)) + np.log(spectrum).mean())
        return np.array(found)


def beyond_rounding(power: np.ndarray) -> np.ndarray:
    """Which mean squares (K,) are more than rounding beside the largest: (K,) bool; all if all are 0.

    A band of one number leaves rounding alone, which says nothing of other bands.
    """
    return np.asarray((power > np.finfo(np.float32).eps ** 2 * power.max()) | (power.max() == 0))


class FieldsByWindows:
    """Posterior means of smooth fields anywhere in a scene, from the residuals at its LR pixels.

    A scene of one block is kriged whole. A larger scene is divided into a grid of cells that begins at its corner. Each
    cell is kriged from the LR pixels in it and around it, several correlation lengths wide. So the result at a pixel
    depends on the scene alone, not on the other pixels of a call.

    observed: (K, h, w), float32. choices: correlation length (LR pixels) and ratio of noise to field of each image.
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

    def add_at(self, places: np.ndarray, images: np.ndarray) -> None:
        """Add the fields at places (2, n, m), HR rows and columns of any value, to images (K, n, m).

        A quintic spline goes through the fields' pixels: the fields are smooth. Outside the scene they are mirrored.
        """
        spans = []
        for axis, size in zip(places, self._observed.shape[1:], strict=True):
            last = size * self._scale - 1
            first, end = (int(np.clip(end, 0, last)) for end in (axis.min() - SPLINE_REACH, axis.max() + SPLINE_REACH))
            spans.append((first, end + 1))
        fields = self(spans[0], spans[1])
        valid, within = np.ones(fields.shape[1:], bool), places - np.array([span[0] for span in spans])[:, None, None]
        for field, image in zip(fields, images, strict=True):
            image += interpolate_at(field[None], valid, within)[0][0]

    def _parts(self, axis: int, wanted: tuple[int, int]) -> Iterator["_Part"]:
        size = self._observed.shape[axis + 1]
        for start, stop in self._cells[axis]:
            first, end = max(wanted[0], start * self._scale), min(wanted[1], stop * self._scale)
            if first < end:
                window = max(0, start - _MARGIN_LR_PX), min(size, stop + _MARGIN_LR_PX)
                top = window[0] * self._scale
                yield _Part(window, (first - wanted[0], end - wanted[0]), (first - top, end - top))

    def _kriged(self, image: np.ndarray, choice: tuple[float, float], parts: tuple["_Part", "_Part"]) -> np.ndarray:
        """The field behind the image (n, m) of a window, at the wanted HR pixels."""
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
    """The common part of a cell and the wanted pixels, along an axis.

    window: LR pixels from which the cell is kriged. wanted, inside: the common HR pixels, counted from the start of the
    wanted pixels, and from the start of the window.
    """

    window: tuple[int, int]
    wanted: tuple[int, int]
    inside: tuple[int, int]


def whiten(images: np.ndarray, correlation: Correlation) -> np.ndarray:
    """Images (K, n h, w), rotated and scaled so that field and noise together are white: (K, n h w)."""
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
