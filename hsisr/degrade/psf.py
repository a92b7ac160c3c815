"""Point spread functions: how much each high-resolution (HR) pixel contributes to one low-resolution (LR) pixel.

A kernel is an array (rows, columns) of weights with sum 1, read as a correlation: weight [Y, X] multiplies the
pixel Y rows and X columns after the first one. Lengths are in HR pixels, variances in HR pixels squared.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from hsisr.errors import HsisrError

#: Full width at half maximum of a Gaussian / its standard deviation: 2 sqrt(2 ln 2), as Wald's protocol rounds it.
FWHM_PER_SIGMA = 2.35482

#: A sampled Gaussian ends at its first sample beyond this many standard deviations.
REACH_SIGMA = 4.0


def anisotropic_gaussian(size: int, scale: int, l1: float, l2: float, theta: float) -> np.ndarray:
    """MulSR's anisotropic Gaussian kernel, (size, size), float64, sum 1.

    size: odd number of taps along an axis. l1, l2: variances along the main axes, in HR pixels squared, > 0.
    theta: angle of the first axis, in radians. The weight at column X, row Y is exp(-v^T Sigma^-1 v / 2) with
    v = (X, Y) - m and m = floor(size / 2) + (scale - size mod 2) / 2 on both axes. So the peak lies at the centre of
    a block of `scale` pixels, counted from the middle tap. This is right for strided sampling only.
    Source: MulSR (IEEE TGRS 2023), the published program. Raises HsisrError for an even size or a variance <= 0.

    Example:

        >>> kernel = degrade.anisotropic_gaussian(9, 4, 2.0, 1.0, 0.0)
        >>> kernel.shape, round(float(kernel.sum()), 6)
        ((9, 9), 1.0)
    """
    if size != int(size) or size < 1 or size % 2 == 0:
        raise HsisrError(f"Gaussian kernel: size must be an odd number >= 1, not {size}")
    if scale < 1:
        raise HsisrError(f"Gaussian kernel: scale must be >= 1, not {scale}")
    taps = np.arange(size) - (size // 2 + 0.5 * (scale - size % 2))
    return sampled_gaussian(taps, taps, l1, l2, theta)


def sampled_gaussian(rows: np.ndarray, columns: np.ndarray, l1: float, l2: float, theta: float) -> np.ndarray:
    """Point samples of an anisotropic Gaussian at offsets `rows` x `columns` from its peak (HR px), sum 1.

    Raises HsisrError for a variance that is not a positive number.
    """
    _check_shape(l1, l2, theta)
    cos, sin = math.cos(theta), math.sin(theta)
    x, y = np.meshgrid(np.asarray(columns, dtype=float), np.asarray(rows, dtype=float))
    exponent = -0.5 * ((cos * x + sin * y) ** 2 / l1 + (cos * y - sin * x) ** 2 / l2)
    # The largest weight becomes 1 first: else a narrow kernel with a peak far outside its window underflows to 0/0.
    kernel = np.exp(exponent - exponent.max())
    normalised: np.ndarray = kernel / kernel.sum()
    return normalised


def skewed_gaussian(centre_px: float, sigma_px: float, skew: float = 0.0) -> tuple[int, np.ndarray]:
    """A Gaussian along one axis, sampled at whole pixels out to REACH_SIGMA: number of the first pixel, and its taps.

    centre_px: its centroid, any number. sigma_px: standard deviation. skew: weight of the third Hermite polynomial
    (Gram-Charlier), which does not move the centroid. The taps have sum 1.
    """
    reach = REACH_SIGMA * sigma_px
    reads = np.arange(math.floor(centre_px - reach), math.ceil(centre_px + reach) + 1)
    z = (reads - centre_px) / sigma_px
    taps = np.exp(-0.5 * z**2) * (1 + skew / 6 * (z**3 - 3 * z))
    return int(reads[0]), taps / taps.sum()


def sigma_of_mtf(gain: float, scale: int) -> float:
    """Standard deviation (HR px) of the Gaussian whose transfer function is `gain` at the LR Nyquist frequency.

    sigma = scale / pi * sqrt(-2 ln gain). Raises HsisrError unless 0 < gain < 1.
    """
    if not 0 < gain < 1:
        raise HsisrError(f"MTF gain at the Nyquist frequency must lie between 0 and 1, not {gain}")
    return scale / math.pi * math.sqrt(-2 * math.log(gain))


def centred_offsets(reach_px: float, even: bool) -> np.ndarray:
    """Sample offsets (HR px) symmetric about 0, out to the first one beyond `reach_px`.

    even: True: an even number of offsets, at half pixels, for a peak between two pixels. False: at whole pixels.
    """
    last = math.floor(reach_px + 0.5) + 0.5 if even else math.floor(reach_px) + 1.0
    return np.arange(-last, last + 1)


def _check_shape(l1: float, l2: float, theta: float) -> None:
    if not (0 < l1 < math.inf and 0 < l2 < math.inf and math.isfinite(theta)):
        raise HsisrError(f"Gaussian kernel: variances must be > 0 and the angle finite, not {l1}, {l2} and {theta}")


class Psf(ABC):
    """A point spread function that can be sampled for any scale."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, in words, for result files."""

    @abstractmethod
    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """Weights (rows, columns), sum 1, around their middle. even: whether an axis has an even number of weights."""


@dataclass(frozen=True)
class GaussianPsf(Psf):
    """Isotropic Gaussian; give exactly one width.

    sigma_px: standard deviation in HR pixels. sigma_lr: the same in LR pixels. mtf_gain: of the sensor, at the LR
    Nyquist frequency. Point samples out to the first beyond 4 sigma.
    """

    sigma_px: float | None = None
    sigma_lr: float | None = None
    mtf_gain: float | None = None

    def __post_init__(self) -> None:
        given = {key: value for key, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise HsisrError(f"Gaussian PSF: give one of sigma_px, sigma_lr, mtf_gain, not {list(given) or 'none'}")
        if not 0 < self.sigma(1) < math.inf:
            raise HsisrError(f"Gaussian PSF: its width must be a positive number, not {given}")

    @property
    def description(self) -> str:
        """The width as given."""
        if self.sigma_px is not None:
            return f"Gaussian, sigma {self.sigma_px:g} HR px"
        if self.sigma_lr is not None:
            return f"Gaussian, sigma {self.sigma_lr:g} LR px"
        return f"Gaussian, MTF gain {self.mtf_gain:g} at the LR Nyquist frequency"

    def sigma(self, scale: int) -> float:
        """Standard deviation in HR pixels at this scale."""
        if self.sigma_px is not None:
            return self.sigma_px
        if self.sigma_lr is not None:
            return self.sigma_lr * scale
        assert self.mtf_gain is not None  # one of the three is given
        return sigma_of_mtf(self.mtf_gain, scale)

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """Point samples, normalised."""
        sigma = self.sigma(scale)
        offsets = centred_offsets(REACH_SIGMA * sigma, even)
        return sampled_gaussian(offsets, offsets, sigma**2, sigma**2, 0.0)


@dataclass(frozen=True)
class AnisotropicPsf(Psf):
    """Anisotropic Gaussian of fixed extent, centred.

    l1, l2: variances (HR px squared). theta: angle (radians). taps: odd number of samples along an axis, for a kernel
    around a pixel. A kernel around a point between two pixels has one more.
    """

    l1: float
    l2: float
    theta: float
    taps: int

    def __post_init__(self) -> None:
        _check_shape(self.l1, self.l2, self.theta)
        if self.taps != int(self.taps) or self.taps < 1 or self.taps % 2 == 0:
            raise HsisrError(f"anisotropic PSF: taps must be an odd number >= 1, not {self.taps}")

    @property
    def description(self) -> str:
        """The parameters as given."""
        return f"anisotropic Gaussian, variances {self.l1:g} and {self.l2:g} HR px^2, angle {self.theta:g} rad"

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """Point samples, normalised."""
        last = (self.taps - 1 + even) / 2
        offsets = np.arange(-last, last + 1)
        return sampled_gaussian(offsets, offsets, self.l1, self.l2, self.theta)


@dataclass(frozen=True)
class BlockShiftedPsf(AnisotropicPsf):
    """MulSR's kernel as published, with its peak at the centre of a block of pixels (see `anisotropic_gaussian`)."""

    @property
    def description(self) -> str:
        """The parameters as given, and the shift."""
        return f"{super().description}, shifted by (scale - 1) / 2 px as published"

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """The published kernel, with an odd number of taps along an axis."""
        return anisotropic_gaussian(self.taps, scale, self.l1, self.l2, self.theta)


@dataclass(frozen=True)
class WindowedGaussianPsf(Psf):
    """Isotropic Gaussian in a window of fixed size, as MATLAB's `fspecial` makes it.

    sigma_px: standard deviation in HR pixels. taps: samples along an axis, even or odd; None: as many as the scale.
    """

    sigma_px: float
    taps: int | None = None

    @property
    def description(self) -> str:
        """Width and window."""
        side = "scale" if self.taps is None else f"{self.taps}"
        return f"Gaussian, sigma {self.sigma_px:g} HR px, {side} x {side} samples"

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """Point samples around the window's middle, normalised. `even` has no effect: the window gives their number."""
        taps = scale if self.taps is None else self.taps
        offsets = np.arange(taps) - (taps - 1) / 2
        return sampled_gaussian(offsets, offsets, self.sigma_px**2, self.sigma_px**2, 0.0)


@dataclass(frozen=True)
class BlockMeanPsf(Psf):
    """Mean of the scale x scale pixels that an LR pixel covers.

    If the kernel is centred on a pixel although the scale is even, the outermost pixels count half.
    """

    description = "block mean"

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """Equal weights over the block."""
        weights = np.ones(scale) if even == (scale % 2 == 0) else np.convolve(np.ones(scale), [0.5, 0.5])
        weights /= weights.sum()
        return np.outer(weights, weights)


class ArrayPsf(Psf):
    """A kernel given as an array (rows, columns) of finite weights with a positive sum; normalised to sum 1."""

    description = "user's kernel"

    def __init__(self, weights: np.ndarray) -> None:
        try:
            weights = np.array(weights, dtype=float)
        except (TypeError, ValueError):
            raise HsisrError("PSF array: not a rectangular table of numbers") from None
        if weights.ndim != 2 or weights.size == 0 or not np.isfinite(weights).all() or not weights.sum() > 0:
            raise HsisrError(f"PSF array: expected (rows, columns) of finite weights, sum > 0; got {weights.shape}")
        self._weights: np.ndarray = weights / weights.sum()

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """The weights, which are the same at every `scale`. even: whether the kernel must have an even size.

        Raises HsisrError if they cannot be centred on the sampling point.
        """
        if any(n % 2 != (not even) for n in self._weights.shape):
            need = "even" if even else "odd"
            raise HsisrError(
                f"PSF array of {self._weights.shape}: at scale {scale} this sampling needs an {need} number of "
                "weights an axis; pad it with zeros"
            )
        return self._weights
