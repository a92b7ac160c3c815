"""Scores of neighbourhoods: SSIM, UIQI (Q) and SCC, each computed per band and averaged over bands.

Inputs are (B, H, W). For batches (N, B, H, W), every function returns an array with one entry for each image. All
functions take mask (H, W), True where a pixel is valid, and border, the pixels cut off on every side. Windows with a
masked pixel do not count. All functions raise HsisrError for different shapes, NaN or infinity, images smaller than a
window, and masks or borders that leave nothing.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.inputs import Pair, check_positive, check_whole, check_window, per_image
from hsisr.metrics.peaks import check_peak, check_unit
from hsisr.metrics.pixel import BandMoments, inner
from hsisr.metrics.strips import Gatherer, Strip, walk
from hsisr.metrics.windows import WindowMeans

#: A window's variance is rounding, because it is a difference, if it is below this part of the squared means.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Window:
    """A separable sliding window. weights: of one axis, with sum 1. bias: factor on variances and covariances."""

    weights: tuple[float, ...]
    bias: float = 1.0

    @property
    def size(self) -> int:
        """Pixels on a side."""
        return len(self.weights)


def gaussian_window(size: int, sigma_px: float) -> Window:
    """A window of size x size Gaussian weights with standard deviation `sigma_px`; population covariance.

    Raises HsisrError for a size or a deviation that is not above 0.

    Example:

        >>> metrics.gaussian_window(11, 1.5).size
        11
    """
    size, sigma_px = check_whole("the window's size", size), check_positive("sigma_px", sigma_px)
    weights = [math.exp(-0.5 * ((i - (size - 1) / 2) / sigma_px) ** 2) for i in range(size)]
    return Window(tuple(weight / sum(weights) for weight in weights))


def uniform_window(size: int, sample_covariance: bool = False) -> Window:
    """A window of size x size equal weights. sample_covariance: divide by one less than the number of pixels.

    Raises HsisrError for a size that is not above 0, and for the sample covariance of a single pixel.

    Example:

        >>> metrics.uniform_window(7).size
        7
    """
    pixels = check_whole("the window's size", size) ** 2
    if sample_covariance and pixels == 1:
        raise HsisrError("metrics: a window of one pixel has no sample covariance; take 2 x 2 pixels or more")
    return Window((1 / size,) * size, pixels / (pixels - 1) if sample_covariance else 1.0)


#: The window of Wang et al. 2004, and scikit-image's default.
GAUSSIAN_11 = gaussian_window(11, 1.5)
UNIFORM_7 = uniform_window(7, sample_covariance=True)


def ssim(
    reference: Any,
    estimate: Any,
    *,
    window: Window = GAUSSIAN_11,
    peak: float | None = None,
    mask: Any = None,
    border: int = 0,
) -> Any:
    """Structural similarity (Wang et al. 2004, K1 = 0.01, K2 = 0.03), mean over windows inside and over bands.

    reference, estimate, mask, border: as for `psnr`. window: its weights and kind of covariance.
    peak: the value that counts as 1. None: the peak is 1; integers, and a reference that reaches beyond 1.5, raise
    HsisrError.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> round(float(metrics.ssim(reference, reference)), 6)
        1.0
    """
    return per_image(lambda pair: float(_ssim(pair, window, peak).mean()), reference, estimate, mask, border)


def ssim_per_band(
    reference: Any,
    estimate: Any,
    *,
    window: Window = GAUSSIAN_11,
    peak: float | None = None,
    mask: Any = None,
    border: int = 0,
) -> np.ndarray:
    """(B,) structural similarity of each band.

    reference, estimate, window, peak, mask, border: as for `ssim`.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> metrics.ssim_per_band(reference, reference).round(6)
        array([1., 1., 1.])
    """
    found: np.ndarray = per_image(lambda pair: _ssim(pair, window, peak), reference, estimate, mask, border)
    return found


def uiqi(reference: Any, estimate: Any, *, block: int = 8, stride: int = 1, mask: Any = None, border: int = 0) -> Any:
    """Universal image quality index Q (Wang and Bovik 2002), mean over blocks and bands, -1 to 1.

    reference, estimate, mask, border: as for `psnr`.
    block: side of a block in pixels, usually 8 or 32. stride: step between blocks; 1: sliding, `block`: tiles.
    Q = 2 cov / (var_x + var_y) * 2 m_x m_y / (m_x^2 + m_y^2). A factor that is 0 / 0 counts 1: two constant blocks
    have the same contrast, two black ones the same brightness. Variance below 1e-13 of the squared means is rounding.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> round(float(metrics.uiqi(reference, reference)), 6)
        1.0
    """
    return per_image(lambda pair: float(_uiqi(pair, block, stride).mean()), reference, estimate, mask, border)


def uiqi_per_band(
    reference: Any, estimate: Any, *, block: int = 8, stride: int = 1, mask: Any = None, border: int = 0
) -> np.ndarray:
    """(B,) universal image quality index of each band.

    reference, estimate, block, stride, mask, border: as for `uiqi`.

    Example:

        >>> cube = np.random.default_rng(0).random((3, 16, 16))
        >>> metrics.uiqi_per_band(cube, cube).round(6)
        array([1., 1., 1.])
    """
    found: np.ndarray = per_image(lambda pair: _uiqi(pair, block, stride), reference, estimate, mask, border)
    return found


def scc(reference: Any, estimate: Any, *, mask: Any = None, border: int = 0) -> Any:
    """Spatial correlation coefficient (Zhou, Civco and Silander 1998), -1 to 1: `cc` of the bands' detail.

    reference, estimate, mask, border: as for `psnr`.
    Detail is the 3 x 3 Laplacian (8 in the centre, -1 around) of the image, without the border. Undefined bands count
    as in `cc`.

    Example:

        >>> reference = np.random.default_rng(0).random((3, 16, 16))
        >>> round(float(metrics.scc(reference, reference + 0.1)), 6)
        1.0
    """
    return per_image(_scc, reference, estimate, mask, border)


def quality_index(
    mean_product: np.ndarray, mean_squares: np.ndarray, covariance: np.ndarray, variances: np.ndarray, rounding: float
) -> np.ndarray:
    """Q of blocks from 2 m_x m_y, m_x^2 + m_y^2, 2 cov and var_x + var_y, or multiples; arrays of one shape.

    rounding: variances up to this part of mean_squares are rounding and count as 0. A factor that is 0 / 0 counts 1.
    """
    bright, varies = mean_squares > 0, variances > rounding * mean_squares
    brightness = np.divide(mean_product, mean_squares, out=np.ones_like(mean_squares), where=bright)
    contrast = np.divide(covariance, variances, out=np.ones_like(variances), where=varies)
    quality: np.ndarray = brightness * contrast
    return quality


class Ssim(Gatherer):
    """SSIM of each band, gathered in a walk (see `hsisr.metrics.strips`)."""

    def __init__(self, pair: Pair, window: Window, peak: float = 1.0) -> None:
        check_window(pair, window.size, "SSIM")
        self._made_of = pair, window, peak
        self.halo, self._window_size = window.size - 1, window.size
        self._moments = _WindowMoments(window)
        # Doubled, because u and v double the moments. Variances and covariances share the factor bias, so C2 takes it.
        self._c1, self._c2 = 2 * (0.01 * peak) ** 2, 2 * (0.03 * peak) ** 2 / window.bias
        self._average = _Average(pair.shape[0], window.size, "SSIM")

    def fresh(self) -> "Ssim":
        """One that has gathered nothing."""
        return Ssim(*self._made_of)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        """Take one band of a strip."""
        found = self._moments(x, y, strip)
        if found is None:
            return
        # SSIM = (1 - 2 a) (1 - 2 b) with a = m_v^2 / (m_u^2 + m_v^2 + C1), b = s_v^2 / (s_u^2 + s_v^2 + C2), where
        # m and s^2 are means and variances of u and v (see _WindowMoments). All is computed in place.
        mean_u, a, variance_u, b = found
        mean_u += a
        mean_u += self._c1
        a /= mean_u
        variance_u += b
        variance_u += self._c2
        b /= variance_u
        whole = strip.whole_windows(self._window_size)
        a, b = (a.reshape(-1), b.reshape(-1)) if whole is None else (a[whole], b[whole])
        self._average.add(band, a.size - 2 * a.sum() - 2 * b.sum() + 4 * inner(a, b), a.size)

    def merge(self, later: "Ssim") -> None:
        """Take the windows of another strip."""
        self._average.merge(later._average)

    def per_band(self) -> np.ndarray:
        """(B,) SSIM. Raises HsisrError if every window holds a masked pixel."""
        return self._average.per_band()


class _Uiqi(Gatherer):
    """UIQI of each band, gathered in a walk."""

    def __init__(self, pair: Pair, block: int, stride: int) -> None:
        check_window(pair, block, "UIQI")
        self._made_of = pair, block, stride
        self.halo, self._block, self._stride = block - 1, block, check_whole("stride", stride)
        self._moments = _WindowMoments(uniform_window(block))
        self._average = _Average(pair.shape[0], block, "UIQI")

    def fresh(self) -> "_Uiqi":
        return _Uiqi(*self._made_of)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        found = self._moments(x, y, strip)
        if found is None:
            return
        step = (slice(-strip.start % self._stride, None, self._stride), slice(None, None, self._stride))
        mean_u, mean_v, variance_u, variance_v = (moment[step] for moment in found)
        factors = (mean_u - mean_v, mean_u + mean_v, variance_u - variance_v, variance_u + variance_v)
        quality = quality_index(*factors, ROUNDING)
        whole = strip.whole_windows(self._block)
        quality = quality if whole is None else quality[whole[step]]
        self._average.add(band, quality.sum(), quality.size)

    def merge(self, later: "_Uiqi") -> None:
        self._average.merge(later._average)

    def per_band(self) -> np.ndarray:
        return self._average.per_band()


class _Detail(Gatherer):
    """Correlation of the Laplacians of X and Y, gathered in a walk."""

    def __init__(self, pair: Pair) -> None:
        check_window(pair, 3, "SCC")
        self.halo, self._pair = 2, pair
        self.moments = BandMoments(pair.shape[0])

    def fresh(self) -> "_Detail":
        return _Detail(self._pair)

    def add(self, band: int, x: np.ndarray, y: np.ndarray, strip: Strip) -> None:
        x, y = (_laplacian(strip.for_windows(plane, 3)) for plane in (x, y))
        if x.size:
            inside = Strip(strip.start, len(x), strip.whole_windows(3))
            self.moments.add(band, x, y, inside)

    def merge(self, later: "_Detail") -> None:
        self.moments.merge(later.moments)


class _Average:
    """Mean over the windows of each band."""

    def __init__(self, bands: int, size: int, what: str) -> None:
        self._size, self._what = size, what
        self._sums, self._counts = np.zeros(bands), np.zeros(bands, int)

    def add(self, band: int, total: float, windows: int) -> None:
        self._sums[band] += total
        self._counts[band] += windows

    def merge(self, other: "_Average") -> None:
        self._sums += other._sums
        self._counts += other._counts

    def per_band(self) -> np.ndarray:
        if not self._counts.all():
            raise _every_window_masked(self._what, self._size)
        return self._sums / self._counts


class _WindowMoments:
    """Moments of two planes over sliding windows, in buffers that are reused from call to call."""

    def __init__(self, window: Window) -> None:
        self._size, self._weights = window.size, window.weights
        self._planes = np.empty((4, 0, 0))

    def __call__(self, x: np.ndarray, y: np.ndarray, strip: Strip) -> tuple[np.ndarray, ...] | None:
        """Maps of m_u^2, m_v^2, s_u^2, s_v^2: squared means and variances of u = x + y and v = x - y.

        They give 4 m_x m_y = m_u^2 - m_v^2, 2 (m_x^2 + m_y^2) = m_u^2 + m_v^2, and the same for covariance and
        variances. None: no window fits. The caller may write to the maps; the next call overwrites them.
        """
        x, y = strip.for_windows(x, self._size), strip.for_windows(y, self._size)
        if len(x) < self._size:
            return None
        if self._planes.shape[1:] != x.shape:
            self._planes = np.empty((4, *x.shape))
            self._means = WindowMeans(self._weights, self._planes)
        u, v, _, _ = self._planes
        np.add(x, y, out=u)
        np.subtract(x, y, out=v)
        np.multiply(self._planes[:2], self._planes[:2], out=self._planes[2:])
        means = self._means()
        means[:2] *= means[:2]
        means[2:] -= means[:2]
        return tuple(means)


def _ssim(pair: Pair, window: Window, peak: float | None) -> np.ndarray:
    if not isinstance(window, Window):
        raise HsisrError(f"metrics: window is {window!r}; give a Window, such as uniform_window(7)")
    gathered = Ssim(pair, window, check_peak(peak))
    check_unit(pair, peak)
    walk(pair, gathered)
    return gathered.per_band()


def _uiqi(pair: Pair, block: int, stride: int) -> np.ndarray:
    gathered = _Uiqi(pair, block, stride)
    walk(pair, gathered)
    return gathered.per_band()


def _scc(pair: Pair) -> float:
    gathered = _Detail(pair)
    walk(pair, gathered)
    if not gathered.moments.pixels:
        raise _every_window_masked("SCC", 3)
    return gathered.moments.mean_correlation()


def _every_window_masked(what: str, size: int) -> HsisrError:
    return HsisrError(
        f"metrics: {what} has no {size} x {size} window without a masked pixel; mask less, or take scores that need no "
        "window: hsisr.metrics.psnr, rmse, sam and others"
    )


def _laplacian(plane: np.ndarray) -> np.ndarray:
    """Sum of the differences to the eight neighbours, without the border: exactly 0 where the plane is constant."""
    rows, columns = max(plane.shape[0] - 2, 0), plane.shape[1] - 2
    centre = plane[1 : 1 + rows, 1 : 1 + columns]
    detail = np.zeros_like(centre)
    for row in range(3):
        for column in range(3):
            detail += centre - plane[row : row + rows, column : column + columns]
    return detail
