"""Scores of single pixels, without their neighbours: PSNR, RMSE, MAE, correlation, and the moments behind them.

X is the reference, Y the estimate, MSE_b the mean squared error of band b over the valid pixels. Inputs are
(B, H, W). For batches (N, B, H, W), every function returns an array with one entry for each image. All functions take
mask (H, W), True where a pixel is valid, and border, the pixels cut off on every side. All raise HsisrError for
different shapes, NaN or infinity, and masks or borders that leave nothing.
"""

import math
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.inputs import Pair, per_image
from hsisr.metrics.peaks import check_peak, check_unit
from hsisr.metrics.strips import Gatherer, Strip, walk

#: Length of the vectors in one product.
_PIECE = 4096
#: A band is constant if its standard deviation, relative to its mean, is below this: then it is rounding.
CONSTANT = 1e-14


def psnr(reference: Any, estimate: Any, *, peak: float | None = None, mask: Any = None, border: int = 0) -> Any:
    """Peak signal-to-noise ratio of the whole cube, dB: 10 log10(peak^2 / mean_b MSE_b).

    reference, estimate: images (B, H, W), or batches (N, B, H, W), of one shape and unit, numpy or torch. mask: (H, W),
    True where a pixel is valid; None: all are. border: pixels that are cut off on every side first.
    peak: the value that counts as 1. None: the peak is 1; integers, and a reference that reaches beyond 1.5, raise
    HsisrError.
    Identical images give math.inf. The mean over bands is `psnr_per_band(...).mean()`.

    Example:

        >>> reference = np.full((3, 16, 16), 0.5)
        >>> round(metrics.psnr(reference, reference + 0.01), 2)
        40.0
    """
    top = check_peak(peak)

    def measure(pair: Pair) -> float:
        check_unit(pair, peak)
        return whole_cube_psnr(_squared_errors(pair), top)

    return per_image(measure, reference, estimate, mask, border)


def psnr_per_band(
    reference: Any, estimate: Any, *, peak: float | None = None, mask: Any = None, border: int = 0
) -> np.ndarray:
    """(B,) PSNR of each band, dB: 10 log10(peak^2 / MSE_b); infinite for a band that is identical.

    reference, estimate, peak, mask, border: as for `psnr`.

    Example:

        >>> reference = np.full((2, 16, 16), 0.5)
        >>> metrics.psnr_per_band(reference, reference + np.array([0.1, 0.01]).reshape(2, 1, 1)).round(2)
        array([20., 40.])
    """
    top = check_peak(peak)

    def measure(pair: Pair) -> np.ndarray:
        check_unit(pair, peak)
        each: np.ndarray = _decibels(_squared_errors(pair), top)
        return each

    found: np.ndarray = per_image(measure, reference, estimate, mask, border)
    return found


def rmse(reference: Any, estimate: Any, *, mask: Any = None, border: int = 0) -> Any:
    """Root mean squared error of the whole cube, in the values' unit.

    reference, estimate, mask, border: as for `psnr`.

    Example:

        >>> metrics.rmse(np.zeros((3, 16, 16)), np.full((3, 16, 16), 0.25))
        0.25
    """
    return per_image(lambda pair: math.sqrt(_squared_errors(pair).mean()), reference, estimate, mask, border)


def rmse_per_band(reference: Any, estimate: Any, *, mask: Any = None, border: int = 0) -> np.ndarray:
    """(B,) root mean squared error of each band, in the values' unit.

    reference, estimate, mask, border: as for `psnr`.

    Example:

        >>> metrics.rmse_per_band(np.zeros((2, 16, 16)), np.full((2, 16, 16), 0.25))
        array([0.25, 0.25])
    """
    found: np.ndarray = per_image(lambda pair: np.sqrt(_squared_errors(pair)), reference, estimate, mask, border)
    return found


def mae(reference: Any, estimate: Any, *, mask: Any = None, border: int = 0) -> Any:
    """Mean absolute error of the whole cube, in the values' unit. reference, estimate, mask, border: as for `psnr`.

    Example:

        >>> metrics.mae(np.zeros((3, 16, 16)), np.full((3, 16, 16), 0.25))
        0.25
    """
    return per_image(lambda pair: float(moments(pair).mae.mean()), reference, estimate, mask, border)


def cc(reference: Any, estimate: Any, *, mask: Any = None, border: int = 0) -> Any:
    """Mean over bands of Pearson's correlation of X_b and Y_b, -1 to 1.

    reference, estimate, mask, border: as for `psnr`.
    Bands with a constant reference say nothing and are left out. If the reference varies and the estimate is constant,
    the band counts 0. Raises HsisrError if every band of the reference is constant.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> round(float(metrics.cc(reference, 2 * reference + 1)), 6)
        1.0
    """
    return per_image(lambda pair: moments(pair).mean_correlation(), reference, estimate, mask, border)


class BandMoments(Gatherer):
    """Moments of each band, gathered in a walk (see `hsisr.metrics.strips`); every array is (B,) float64.

    Each strip is centred, then strips are merged (Chan, Golub and LeVeque 1979). So low contrast loses no digits.
    """

    def __init__(self, bands: int) -> None:
        self._scratch = np.empty((2, 0))
        self._pixels = np.zeros(bands)
        self._errors = np.zeros((2, bands))  # sums of squared and absolute errors
        self._means = np.zeros((2, bands))  # of X, Y
        self._spread = np.zeros((3, bands))  # centred sums of XX, YY, XY

    def fresh(self) -> "BandMoments":
        """One that has gathered nothing."""
        return BandMoments(self._pixels.size)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip."""
        x, y = strip.pixels(x), strip.pixels(y)
        if x.size == 0:
            return
        if self._scratch.shape[1] != x.size:
            self._scratch = np.empty((2, x.size))
        dx, dy = self._scratch
        error = np.subtract(x, y, out=dx)
        self._errors[0, band] = inner(error, error)
        self._errors[1, band] = np.abs(error, out=error).sum()
        means = x.sum() / x.size, y.sum() / y.size
        np.subtract(x, means[0], out=dx)
        np.subtract(y, means[1], out=dy)
        self._spread[:, band] = inner(dx, dx), inner(dy, dy), inner(dx, dy)
        self._means[:, band] = means
        self._pixels[band] = x.size

    def merge(self, later: "BandMoments") -> None:
        """Take the moments of other pixels."""
        if not later.pixels:
            return
        n, more = self._pixels, later._pixels
        step = later._means - self._means
        between = n * more / (n + more)
        self._errors += later._errors
        self._spread += later._spread + between * np.stack((step[0] ** 2, step[1] ** 2, step[0] * step[1]))
        self._means += step * (more / (n + more))
        self._pixels = n + more

    @property
    def pixels(self) -> int:
        """Pixels gathered in each band."""
        return int(self._pixels[0])

    @property
    def mse(self) -> np.ndarray:
        """Mean squared errors."""
        means: np.ndarray = self._errors[0] / self._pixels
        return means

    @property
    def mae(self) -> np.ndarray:
        """Mean absolute errors."""
        means: np.ndarray = self._errors[1] / self._pixels
        return means

    @property
    def mean_reference(self) -> np.ndarray:
        """Means of X."""
        means: np.ndarray = self._means[0]
        return means

    @property
    def mean_estimate(self) -> np.ndarray:
        """Means of Y."""
        means: np.ndarray = self._means[1]
        return means

    def mean_correlation(self) -> float:
        """Mean of Pearson's r over the bands whose reference varies; see `cc`."""
        varies_x, varies_y = self._spread[:2] > self._pixels * (CONSTANT * self._means) ** 2
        if not varies_x.any():
            raise HsisrError("metrics: every band of the reference is constant; no correlation with it is defined")
        both = varies_x & varies_y
        sxx, syy, sxy = self._spread[:, both]
        return float(np.sum(sxy / (np.sqrt(sxx) * np.sqrt(syy))) / varies_x.sum())


class SquaredErrors(Gatherer):
    """Mean squared errors of each band, (B,), gathered in a walk; much less work than all moments.

    levels: both images are first rounded to multiples of 1 / levels; None: no rounding.
    """

    def __init__(self, bands: int, levels: float | None = None) -> None:
        self._levels, self._errors, self._pixels = levels, np.zeros(bands), 0

    def fresh(self) -> "SquaredErrors":
        """One that has gathered nothing."""
        return SquaredErrors(self._errors.size, self._levels)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip."""
        x, y = strip.pixels(x), strip.pixels(y)
        if x.size == 0:
            return
        if self._levels is not None:
            x, y = np.rint(x * self._levels), np.rint(y * self._levels)
        error = x - y
        self._errors[band] = inner(error, error) / (self._levels or 1) ** 2
        self._pixels = x.size

    def merge(self, later: "SquaredErrors") -> None:
        """Take the errors of other pixels."""
        self._errors += later._errors
        self._pixels += later._pixels

    @property
    def mse(self) -> np.ndarray:
        """Mean squared errors."""
        means: np.ndarray = self._errors / self._pixels
        return means


def _squared_errors(pair: Pair) -> np.ndarray:
    gathered = SquaredErrors(pair.shape[0])
    walk(pair, gathered)
    return gathered.mse


def moments(pair: Pair) -> BandMoments:
    """The moments of a pair of images."""
    gathered = BandMoments(pair.shape[0])
    walk(pair, gathered)
    return gathered


def whole_cube_psnr(mse: np.ndarray, peak: float = 1.0) -> float:
    """10 log10(peak^2 / mean_b MSE_b), dB; math.inf if all are 0. mse: (B,)."""
    return float(_decibels(mse.mean(), peak))


def mean_band_psnr(mse: np.ndarray, peak: float = 1.0) -> float:
    """Mean over bands of 10 log10(peak^2 / MSE_b), dB. mse: (B,).

    Bands without any error (dead bands, reproduced exactly) would make the mean infinite, so they are left out. If no
    band has an error, the result is math.inf.
    """
    wrong = mse[mse > 0]
    return float(_decibels(wrong, peak).mean()) if wrong.size else math.inf


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products of one-dimensional arrays, in pieces so small that BLAS stays on the calling thread."""
    whole = a.size // _PIECE * _PIECE
    rest = np.vecdot(a[whole:], b[whole:]) if whole < a.size else 0.0
    products: np.ndarray = np.vecdot(a[:whole].reshape(-1, _PIECE), b[:whole].reshape(-1, _PIECE))
    return float(rest + products.sum())


def _decibels(mse: Any, peak: float) -> Any:
    with np.errstate(divide="ignore"):  # log of 0 gives the infinity that the docstrings promise
        return 20 * np.log10(peak) - 10 * np.log10(mse)
