"""Ten families of point spread functions, to test how robust a method is: smooth ones, some with side lobes, an
asymmetric one, a slanted one, and a single pixel.

Each is a function of the offset from its centre, in units of its full width at half maximum (FWHM). So families of the
same width differ only in shape. Source of the list: HyperBench (arXiv 2605.21671).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hsisr.degrade.psf import Psf, centred_offsets
from hsisr.errors import HsisrError

#: The weights end at this offset, in FWHM. The rest is small; for families with slow tails, the end is a choice.
_REACH = 2.5

#: FWHM of a Gaussian in standard deviations.
_FWHM = 2 * math.sqrt(2 * math.log(2))
#: Exponent of the Moffat function, which describes a telescope under a turbulent sky.
_MOFFAT_BETA = 3.0
#: Weight of the third Hermite polynomial; length, in FWHM, and angle of the wave of the Gabor function.
_HERMITE_SKEW = 0.6
_GABOR_WAVE_FWHM, _GABOR_ANGLE = 2.5, math.radians(30)


def _gaussian(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.exp(-0.5 * _FWHM**2 * (y**2 + x**2))
    return weights


def _kolmogorov(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A long exposure through turbulence: Hankel transform of exp(-k^(5/3))."""
    radii, profile = _kolmogorov_profile()
    weights: np.ndarray = np.interp(np.hypot(y, x), radii, profile)
    return weights


def _airy(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Diffraction at a round aperture: (2 J1(v) / v)^2, which is 1/2 at v = 1.61634."""
    from scipy.special import j1

    v = np.maximum(2 * 1.61634 * np.hypot(y, x), 1e-9)
    weights: np.ndarray = (2 * j1(v) / v) ** 2
    return weights


def _moffat(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _power(y, x, _MOFFAT_BETA)


def _lorentzian(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The square of a Lorentzian."""
    return _power(y, x, 2.0)


def _power(y: np.ndarray, x: np.ndarray, beta: float) -> np.ndarray:
    """(1 + (r / a)^2)^-beta, with the a that gives an FWHM of 1."""
    weights: np.ndarray = (1 + 4 * (2 ** (1 / beta) - 1) * (y**2 + x**2)) ** -beta
    return weights


def _sinc(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An ideal low pass along each axis, which has negative side lobes; 1/2 at 0.603355 of its first zero."""
    weights: np.ndarray = np.sinc(2 * 0.603355 * y) * np.sinc(2 * 0.603355 * x)
    return weights


def _hermite(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A Gaussian with a third-order skew along both axes."""
    u, v = _FWHM * y, _FWHM * x
    return _gaussian(y, x) * (1 + _HERMITE_SKEW / 6 * (u**3 - 3 * u)) * (1 + _HERMITE_SKEW / 6 * (v**3 - 3 * v))


def _parabolic(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.maximum(0.0, 1 - 2 * (y**2 + x**2))
    return weights


def _gabor(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A Gaussian times a slanted wave: not separable, negative lobes on two sides. The FWHM is the Gaussian's."""
    along = math.cos(_GABOR_ANGLE) * x + math.sin(_GABOR_ANGLE) * y
    weights: np.ndarray = _gaussian(y, x) * np.cos(2 * math.pi * along / _GABOR_WAVE_FWHM)
    return weights


#: Name -> weight at (rows, columns) from the centre, in FWHM. `delta`, a single pixel, has no width.
FAMILIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray] | None] = {
    "gaussian": _gaussian,
    "kolmogorov": _kolmogorov,
    "airy": _airy,
    "moffat": _moffat,
    "sinc": _sinc,
    "lorentzian": _lorentzian,
    "hermite": _hermite,
    "parabolic": _parabolic,
    "gabor": _gabor,
    "delta": None,
}


@dataclass(frozen=True)
class FamilyPsf(Psf):
    """A member of a family, point-sampled.

    family: a name of FAMILIES. fwhm_lr: full width at half maximum, LR pixels. shift_px: distance (rows, columns) of
    its centre from the LR pixel's centre, in HR pixels, whole or not. `delta` reads the HR pixel nearest to its centre;
    of two equally near pixels, it reads the one behind the centre. Raises HsisrError for an unknown family, a width
    that is not positive, or a shift that is not a pair of numbers.
    """

    family: str
    fwhm_lr: float = 1.0
    shift_px: tuple[float, ...] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise HsisrError(f"PSF family {self.family!r} is not known; choose one of {', '.join(FAMILIES)}")
        if not 0 < self.fwhm_lr < math.inf:
            raise HsisrError(f"PSF {self.family}: fwhm_lr must be a positive number, not {self.fwhm_lr!r}")
        if len(self.shift_px) != 2 or not all(math.isfinite(shift) for shift in self.shift_px):
            raise HsisrError(
                f"PSF {self.family}: shift_px must be two numbers, rows and columns, not {self.shift_px!r}"
            )

    @property
    def description(self) -> str:
        """Family, width, shift."""
        width = "" if self.family == "delta" else f", FWHM {self.fwhm_lr:g} LR px"
        shift = "" if not any(self.shift_px) else f", shifted by {self.shift_px[0]:g}, {self.shift_px[1]:g} HR px"
        return f"{self.family}{width}{shift}"

    def kernel(self, scale: int, even: bool) -> np.ndarray:
        """Point samples, normalised to sum 1. scale: HR pixels per LR pixel. even: whether its sides are even."""
        shape = FAMILIES[self.family]
        width = 1.0 if shape is None else self.fwhm_lr * scale
        reach = (1.0 if shape is None else _REACH * width) + max(abs(shift) for shift in self.shift_px)
        offsets = centred_offsets(reach, even)
        y, x = np.meshgrid(*(offsets - shift for shift in self.shift_px), indexing="ij")
        if shape is None:
            weights = np.logical_and(*((place > -0.5) & (place <= 0.5) for place in (y, x))).astype(float)
        else:
            weights = np.where(np.maximum(np.abs(y), np.abs(x)) <= _REACH * width, shape(y / width, x / width), 0.0)
        normalised: np.ndarray = weights / weights.sum()
        return normalised


@lru_cache(maxsize=1)
def _kolmogorov_profile() -> tuple[np.ndarray, np.ndarray]:
    """Radii in FWHM, and the profile there, 1 at the centre."""
    from scipy.special import j0

    frequencies, step = np.linspace(0, 12, 2401, retstep=True)
    transfer = frequencies * np.exp(-(frequencies ** (5 / 3))) * step
    radii = np.linspace(0, 16, 1601)
    profile = j0(radii[:, None] * frequencies) @ transfer
    profile /= profile[0]
    half = np.interp(-0.5, -profile, radii)  # the profile falls, but np.interp needs rising values
    return radii / (2 * half), np.maximum(profile, 0.0)
