"""Scores of spectra: SAM, SID and ERGAS.

Inputs are (B, H, W). For batches (N, B, H, W), every function returns an array with one entry for each image. All
functions take mask (H, W), True where a pixel is valid, and border, the pixels cut off on every side. All raise
HsisrError for different shapes, NaN or infinity, and masks or borders that leave nothing.
"""

import math
from typing import Any, Literal

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.inputs import Pair, check_positive, check_scale, per_image
from hsisr.metrics.pixel import moments
from hsisr.metrics.strips import Gatherer, Strip, walk


def sam(
    reference: Any,
    estimate: Any,
    *,
    epsilon: float | None = None,
    count_black: bool = False,
    mask: Any = None,
    border: int = 0,
) -> Any:
    """Spectral angle, degrees: mean over pixels of arccos(<x, y> / (|x| |y|)), 0 to 180.

    reference, estimate, mask, border: as for `psnr`.
    A pixel with a spectrum of zeros in one of the images has no angle and is left out; HsisrError if no pixel is left.
    epsilon: count such pixels instead, by the rule of the published MulSR program: zeros become epsilon in both images,
    and the angle is arccos(<x, y> / (|x| |y| + epsilon)). A pixel that is black in both images then counts 90 degrees.
    count_black: without epsilon, count pixels that are zero in the estimate alone as 90 degrees, as `plain` does. So
    black pixels bring an estimate no gain.

    Example:

        >>> reference, estimate = np.zeros((2, 4, 4)), np.ones((2, 4, 4))
        >>> reference[0] = 1
        >>> round(float(metrics.sam(reference, estimate)), 2)
        45.0
    """

    epsilon = None if epsilon is None else check_positive("epsilon", epsilon)

    def measure(pair: Pair) -> float:
        gathered = SpectralAngles(epsilon, "estimate" if count_black else "none")
        walk(pair, gathered)
        return gathered.mean_degrees()

    return per_image(measure, reference, estimate, mask, border)


def sid(reference: Any, estimate: Any, *, floor: float = 1e-6, mask: Any = None, border: int = 0) -> Any:
    """Spectral information divergence (Chang 2000), nats: mean over pixels of sum_b (p - q) log(p / q).

    reference, estimate, mask, border: as for `psnr`.
    p, q: the spectra of X and Y, each divided by its sum. floor: lower values are raised to floor, because the
    divergence of a zero is infinite. A pixel without a value above floor in one of the images is left out; HsisrError
    if no pixel is left.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 8, 8))
        >>> round(float(metrics.sid(reference, 2 * reference)), 6)
        0.0
    """
    floor = check_positive("floor", floor)

    def measure(pair: Pair) -> float:
        gathered = _Divergence(floor)
        walk(pair, gathered)
        return gathered.mean()

    return per_image(measure, reference, estimate, mask, border)


def ergas(reference: Any, estimate: Any, scale: float, *, mask: Any = None, border: int = 0) -> Any:
    """Relative dimensionless global error (Wald 2000): 100 / scale * sqrt(mean_b MSE_b / mean(X_b)^2).

    reference, estimate, mask, border: as for `psnr`. scale: HR pixels per LR pixel. Bands with a reference of mean 0
    have no relative error and are left out. Raises HsisrError if no band is left, or if scale is not a finite number
    of at least 1.

    Example:

        >>> reference = np.full((3, 16, 16), 0.5)
        >>> round(float(metrics.ergas(reference, reference + 0.05, scale=4)), 2)
        2.5
    """
    scale = check_scale(scale)

    def measure(pair: Pair) -> float:
        found = moments(pair)
        return relative_error(found.mse, found.mean_reference, scale)

    return per_image(measure, reference, estimate, mask, border)


def relative_error(mse: np.ndarray, mean_reference: np.ndarray, scale: float) -> float:
    """ERGAS from the (B,) mean squared errors and means of X; see `ergas`."""
    lit = mean_reference != 0
    if not lit.any():
        raise HsisrError("metrics: every band of the reference has mean 0; no error relative to it is defined")
    return 100 / scale * math.sqrt(np.mean((np.sqrt(mse[lit]) / mean_reference[lit]) ** 2))


#: Which pixels with a spectrum of zeros count as 90 degrees: none, those with zeros in the estimate alone, or all.
Black = Literal["none", "estimate", "all"]


class SpectralAngles(Gatherer):
    """Mean spectral angle, gathered in a walk (see `hsisr.metrics.strips`).

    epsilon: see `sam`. black: which pixels with a spectrum of zeros count as 90 degrees; see `Convention`.
    peak: the value that counts as 1; the unit of epsilon and offset. offset: added to every value first.
    """

    def __init__(
        self, epsilon: float | None = None, black: Black = "none", peak: float = 1.0, offset: float = 0.0
    ) -> None:
        self._epsilon, self._black, self._peak, self._offset = epsilon, black, peak, offset
        self._products = np.zeros((3, 0))  # for each pixel: <x, x>, <y, y>, <x, y>
        self._product = np.zeros(0)
        self._sum, self._pixels = 0.0, 0

    def fresh(self) -> "SpectralAngles":
        """One that has gathered nothing."""
        return SpectralAngles(self._epsilon, self._black, self._peak, self._offset)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip."""
        x, y = strip.pixels(x), strip.pixels(y)
        if self._epsilon is not None:
            x, y = (_without_zeros(values, self._epsilon * self._peak) for values in (x, y))
        if self._offset:
            x, y = x + self._offset * self._peak, y + self._offset * self._peak
        if self._product.size != x.size:
            self._products = np.zeros((3, x.size))
            self._product = np.empty_like(x)
        for total, a, b in zip(self._products, (x, y, x), (x, y, y), strict=True):
            total += np.multiply(a, b, out=self._product)

    def close(self) -> None:
        """Turn the products into angles."""
        xx, yy, xy = self._products
        norms = np.sqrt(xx * yy)
        if self._epsilon is None:
            valid = {"none": norms, "estimate": xx, "all": np.ones_like(norms)}[self._black] > 0
            cosines = np.divide(xy, norms, out=np.zeros_like(xy), where=norms > 0)[valid]
        else:
            cosines = xy / (norms + self._epsilon * self._peak**2)
        self._sum = np.arccos(np.clip(cosines, -1, 1)).sum()
        self._pixels = cosines.size

    def merge(self, later: "SpectralAngles") -> None:
        """Take the angles of other pixels."""
        self._sum += later._sum
        self._pixels += later._pixels

    def mean_degrees(self) -> float:
        """Mean angle over pixels. Raises HsisrError if no pixel has one."""
        if not self._pixels:
            raise HsisrError("metrics: every pixel has a zero spectrum in one of the images; no angle is defined")
        return math.degrees(self._sum / self._pixels)


class _Divergence(Gatherer):
    """Mean spectral information divergence, gathered in a walk.

    With l = log x - log y: sum_b (p - q) log(p / q) = sum_b x l / sum_b x - sum_b y l / sum_b y, because p and q both
    have sum 1.
    """

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._sums = np.zeros((4, 0))  # for each pixel: x, y, x l, y l
        self._lit = np.zeros((2, 0), bool)  # for each pixel: whether X, Y have a value above floor
        self._total, self._pixels = 0.0, 0

    def fresh(self) -> "_Divergence":
        return _Divergence(self._floor)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        x, y = strip.pixels(x), strip.pixels(y)
        if self._sums.shape[1] != x.size:
            self._sums, self._lit = np.zeros((4, x.size)), np.zeros((2, x.size), bool)
        self._lit |= (x > self._floor, y > self._floor)
        x, y = np.maximum(x, self._floor), np.maximum(y, self._floor)
        ratio = np.log(x / y)
        self._sums += (x, y, x * ratio, y * ratio)

    def close(self) -> None:
        lit = self._lit.all(axis=0)
        x, y, x_ratio, y_ratio = self._sums[:, lit]
        self._total = (x_ratio / x - y_ratio / y).sum()
        self._pixels = x.size

    def merge(self, later: "_Divergence") -> None:
        self._total += later._total
        self._pixels += later._pixels

    def mean(self) -> float:
        if not self._pixels:
            raise HsisrError("metrics: every pixel is black in one of the images; no spectral divergence is defined")
        return float(self._total / self._pixels)


def _without_zeros(values: np.ndarray, epsilon: float) -> np.ndarray:
    zero = values == 0
    return np.where(zero, epsilon, values) if zero.any() else values
