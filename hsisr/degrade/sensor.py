"""What is known about how an LR image and its guide were taken: footprint of an LR pixel, response, noise, mask."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.degrade.protocols import Degradation
from hsisr.degrade.psf import FWHM_PER_SIGMA, skewed_gaussian
from hsisr.degrade.sampling import Sampler, correlation_axis


@dataclass(frozen=True, eq=False)
class Footprint:
    """The weights with which LR pixel i reads the HR pixels: PSF, sampling and shift in one, separable.

    rows, columns: taps along each axis, sum 1. start: (row, column) of the first tap, in HR pixels. It counts from
    i * scale, the first pixel of the block that LR pixel i covers.
    """

    rows: np.ndarray
    columns: np.ndarray
    start: tuple[int, int]

    def sampler(self, scale: int, shape: tuple[int, int]) -> Sampler:
        """The sampler that reads images of `shape` = (H, W) as the sensor: (C, H, W) -> (C, h, w); mirrored borders.

        scale: HR pixels per LR pixel, on each axis.
        """
        axes = zip(shape, self.start, (self.rows, self.columns), strict=True)
        rows, columns = (correlation_axis(size, scale, first, taps) for size, first, taps in axes)
        return Sampler(rows, columns, 1)

    def shift_px(self, scale: int) -> tuple[float, float]:
        """Centroid of the weights less the centre of the block, (rows, columns) in HR pixels.

        scale: HR pixels per LR pixel, on each axis; the side of the block.

        Example:

            >>> rows, columns = degrade.gaussian_footprint(4, shift_px=(1.0, 0.5)).shift_px(4)
            >>> round(rows, 2), round(columns, 2)
            (1.0, 0.5)
        """
        centre = (scale - 1) / 2
        rows, columns = (
            float((first + np.arange(len(taps))) @ taps - centre)
            for first, taps in zip(self.start, (self.rows, self.columns), strict=True)
        )
        return rows, columns

    def sigma_px(self) -> tuple[float, float]:
        """Standard deviation of the weights along rows and columns, HR pixels."""
        return _spread(self.rows), _spread(self.columns)


@dataclass(frozen=True, eq=False)
class Sensor:
    """How LR image and guide were taken; None: not known.

    footprint: of an LR pixel. response: (G, B), guide = response @ bands + offset. offset: (G,), None: 0.
    noise_sigma: standard deviation of the LR image's noise. mask: (H, W), True where a pixel is valid.
    """

    footprint: Footprint | None = None
    response: np.ndarray | None = None
    offset: np.ndarray | None = None
    noise_sigma: float | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownSensor(Sensor):
    """A sensor whose values are all known or estimated: see `hsisr.degrade.estimation.estimate_sensor`."""

    footprint: Footprint
    response: np.ndarray
    noise_sigma: float


def whole_lr_pixels(valid: np.ndarray, scale: int) -> np.ndarray:
    """LR pixels (h, w) whose HR pixels are all valid; valid: (scale h, scale w)."""
    height, width = valid.shape
    return np.asarray(valid.reshape(height // scale, scale, width // scale, scale).all(axis=(1, 3)))


def sensor_in(footprint: Footprint | None, valid: np.ndarray, scale: int) -> Sensor:
    """What is known about the sensor in a part of a scene. valid: (H, W), True where an HR pixel is valid.

    If no LR pixel is complete, the mask is left out: then the LR image holds nothing but filled pixels.
    """
    some = whole_lr_pixels(valid, scale).any() and not valid.all()
    return Sensor(footprint=footprint, mask=valid if some else None)


def sensor_of(metadata: Mapping[str, Any], mask: np.ndarray | None = None) -> Sensor:
    """The sensor that the metadata of a pair, or of a pair file, describe; under `full` this is the mask alone."""
    if str(metadata["sampling"]).startswith("none"):
        return Sensor(mask=mask)
    kernel = None if metadata["kernel"] is None else np.asarray(metadata["kernel"], dtype=float)
    degradation = Degradation(kernel, metadata["sampling"], phase=metadata.get("phase", 0))
    matrix = metadata["response_matrix"]
    return Sensor(
        footprint=footprint_of(degradation, metadata["scale"]),
        response=None if matrix is None else np.asarray(matrix, dtype=float),
        noise_sigma=metadata["noise_sigma"],
        mask=mask,
    )


def footprint_of(degradation: Degradation, scale: int) -> Footprint:
    """The footprint of a degradation away from the borders.

    A kernel that is not separable is replaced by its best separable approximation in the least-squares sense.
    """
    taps = 1 if degradation.kernel is None else max(degradation.kernel.shape)
    middle = math.ceil(taps / scale) + 3  # an LR pixel that no border reaches
    weights = degradation.sampler(scale, ((2 * middle + 1) * scale,) * 2).impulse_response(middle, middle)
    left, _, right = np.linalg.svd(weights)
    axes, start = [], []
    for vector in (left[:, 0], right[0]):
        vector = vector / vector.sum()
        used = np.flatnonzero(np.abs(vector) > 1e-12 * np.abs(vector).max())
        axes.append(vector[used[0] : used[-1] + 1])
        start.append(int(used[0]) - middle * scale)
    return Footprint(axes[0], axes[1], (start[0], start[1]))


def block_footprint(scale: int) -> Footprint:
    """The mean of the scale x scale HR pixels that an LR pixel covers."""
    taps = np.full(scale, 1 / scale)
    return Footprint(taps, taps, (0, 0))


def gaussian_footprint(
    scale: int,
    shift_px: tuple[float, float] = (0.0, 0.0),
    sigma_px: tuple[float, float] | None = None,
    skew: tuple[float, float] = (0.0, 0.0),
) -> Footprint:
    """A Gaussian footprint with its centroid `shift_px` HR pixels (rows, columns) from the block's centre.

    scale: HR pixels per LR pixel. sigma_px: (rows, columns) in HR pixels; None: a full width at half maximum of one LR
    pixel. skew: weight of the third Hermite polynomial (Gram-Charlier) on each axis, which does not move the centroid.

    Example:

        >>> footprint = degrade.gaussian_footprint(4, shift_px=(0.5, 0.0))
        >>> round(float(footprint.rows.sum()), 6), round(float(footprint.columns.sum()), 6)
        (1.0, 1.0)
    """
    if sigma_px is None:
        sigma_px = (scale / FWHM_PER_SIGMA,) * 2
    axes, start = [], []
    for shift, sigma, third in zip(shift_px, sigma_px, skew, strict=True):
        first, taps = skewed_gaussian((scale - 1) / 2 + shift, sigma, third)
        axes.append(taps)
        start.append(first)
    return Footprint(axes[0], axes[1], (start[0], start[1]))


def _spread(taps: np.ndarray) -> float:
    places = np.arange(len(taps))
    return math.sqrt(max(0.0, float(taps @ (places - taps @ places) ** 2)))
