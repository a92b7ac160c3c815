"""Blind estimation: learn from an LR image and its guide alone how both were taken, and the subspace of the spectra."""

import warnings
from dataclasses import dataclass

import numpy as np

from hsisr.degrade import free_form
from hsisr.degrade.registration import Registration, explains_more, interior, register_related, related_channels
from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import (
    Footprint,
    KnownSensor,
    Sensor,
    block_footprint,
    gaussian_footprint,
    whole_lr_pixels,
)
from hsisr.degrade.simulate import check_views
from hsisr.errors import HsisrError
from hsisr.missing import array_of

#: If more than this share of the guide's variance at LR resolution is unexplained, it says nothing about the PSF.
_UNRELATED = 0.6
#: Ridge parameters that are tried, relative to the mean variance of a band.
_RIDGES = 10.0 ** np.arange(-10, 1)
#: Noise samples nearer than this many standard deviations to 0 or 1 may have been clipped.
_CLIP_SIGMAS = 4.0


@dataclass(frozen=True, eq=False)
class Subspace:
    """The subspace of a scene's spectra: each is mean + basis @ coefficients, up to noise.

    mean: (B, 1). basis: (B, K), orthonormal, strongest component first.
    """

    mean: np.ndarray
    basis: np.ndarray

    def coefficients(self, spectra: np.ndarray) -> np.ndarray:
        """Coefficients (K, n) of `spectra` (B, n)."""
        coefficients: np.ndarray = self.basis.T @ (spectra - self.mean)
        return coefficients

    def spectra(self, coefficients: np.ndarray) -> np.ndarray:
        """Spectra (B, n) of `coefficients` (K, n), in the type of the coefficients."""
        kind = coefficients.dtype
        spectra: np.ndarray = self.basis.astype(kind) @ coefficients + self.mean.astype(kind)
        return spectra


def estimate_sensor(
    lr: np.ndarray,
    guide: np.ndarray,
    scale: int,
    known: Sensor | None = None,
    sampler: Sampler | None = None,
    valid: np.ndarray | None = None,
) -> KnownSensor:
    """Estimate how an LR image and its guide were taken; return all of it. Values that are `known` stay.

    lr: (B, h, w). guide: (G, h s, w s). scale: s, HR pixels per LR pixel.
    sampler, valid: for images that are pieces of a scene. The sampler brings the guide to the LR grid, and valid (h, w)
    says which LR pixels count. The footprint must be known then.

    `register_related` finds the footprint; the mean of an LR pixel's block takes its place if it explains more. If a
    free form along each axis explains still more, the footprint takes this form (see `hsisr.degrade.free_form`).
    `fit_response` finds the response, `noise_level` the noise.
    Some pairs cannot tell the footprint: they have fewer than 6 x 6 LR pixels, or the guide has nothing to do with
    the LR image. Then a warning says so, and the footprint is a centred Gaussian with a full width at half maximum of
    one LR pixel.
    Raises HsisrError for images that do not fit together.
    """
    known = known or Sensor()
    if sampler is None:
        lr, guide = check_views(lr, guide, scale, known.mask)
    footprint = known.footprint or estimate_footprint(lr, guide, scale, known.mask)
    response, offset, noise = known.response, known.offset, known.noise_sigma
    if response is None:
        if valid is None:
            valid = valid_lr_pixels(lr, scale, known.mask)
        low = (sampler or footprint.sampler(scale, guide.shape[1:]))(guide)
        response, offset = fit_response(lr[:, valid], low[:, valid])
    if noise is None:
        noise = noise_level(lr.reshape(len(lr), -1))
    return KnownSensor(footprint=footprint, response=response, offset=offset, noise_sigma=noise, mask=known.mask)


def estimate_footprint(
    lr: np.ndarray,
    guide: np.ndarray,
    scale: int,
    mask: np.ndarray | None = None,
    registered: Registration | None = None,
) -> Footprint:
    """The footprint of an LR pixel, measured against the guide; see `estimate_sensor`.

    lr: (B, h, w). guide: (G, h s, w s) at scale s. mask: (h s, w s), True where a pixel is valid; None: all are.
    registered: what `registration` found of them; None: it is measured here.
    Raises HsisrError for images that do not fit together.
    """
    lr, guide = check_views(lr, guide, scale, mask)
    related = related_channels(lr, guide, scale, mask)
    found: Registration | None
    try:
        found = registered or register_related(lr, guide[related], scale, mask)
        reason = f"{found.unexplained:.0%} of the guide's variance unexplained"
    except HsisrError as error:
        found, reason = None, str(error)
    if found is None or found.unexplained > _UNRELATED:
        warnings.warn(
            f"the PSF cannot be measured ({reason}); a centred Gaussian with a FWHM of one LR pixel is used",
            stacklevel=2,
        )
        return gaussian_footprint(scale)
    gaussian, block = gaussian_footprint(scale, found.shift_px, found.sigma_px, found.skew), block_footprint(scale)
    low, sharp, inside = interior(lr, guide[related], scale, mask)
    if explains_more(block, gaussian, low, sharp, scale, inside):
        return free_form.improved(block, low, sharp, scale, inside, free_form.GAIN_ON_BLOCK)
    return free_form.improved(gaussian, low, sharp, scale, inside, free_form.GAIN_ON_GAUSSIAN)


def valid_lr_pixels(lr: np.ndarray, scale: int, mask: np.ndarray | None) -> np.ndarray:
    """LR pixels (h, w) whose HR pixels are all valid. Raises HsisrError if there is none."""
    if mask is None:
        return np.ones(lr.shape[1:], dtype=bool)
    valid = whole_lr_pixels(mask, scale)
    if not valid.any():
        raise HsisrError("estimation: the mask leaves no LR pixel whole; nothing can be learnt from this pair")
    return valid


def fit_response(bands: np.ndarray, guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectral response (G, B) and offset (G,) that make the guide's channels (G, n) from the bands (B, n).

    Weights may have either sign, because a model of the sensor needs the best prediction. `fit_positive_response`
    gives a response that a camera can have. `prior` and `hybrid` estimate otherwise: `prior` fits on its subspace, by
    evidence, and `hybrid` fits to HR images of many scenes.
    This is ridge regression. The ridge has the least generalised cross-validation error (Golub, Heath, Wahba,
    Technometrics 1979). If the spectra do not span all bands, several responses fit; the result is the shortest one.
    It is computed in float64: in float32, the small eigenvalues of smooth spectra would be rounding.
    """
    bands, guide = bands.astype(np.float64), guide.astype(np.float64)
    n = bands.shape[1]
    mean, target_mean = bands.mean(axis=1), guide.mean(axis=1)
    centred, targets = bands - mean[:, None], guide - target_mean[:, None]
    values, vectors = np.linalg.eigh(centred @ centred.T / n)
    values = np.maximum(values, 0.0)
    cross = vectors.T @ (centred @ targets.T) / n
    power = (targets**2).mean(axis=1)
    best, response = np.inf, np.zeros((len(guide), len(bands)))
    for ridge in _RIDGES * max(values.mean(), np.finfo(float).tiny):
        shrunk = cross / (values + ridge)[:, None]
        residual = np.maximum(power - 2 * (shrunk * cross).sum(0) + (shrunk**2 * values[:, None]).sum(0), 0.0)
        freedom = 1 - (values / (values + ridge)).sum() / n
        criterion = residual.sum() / max(freedom, 1 / n) ** 2
        if criterion < best:
            best, response = criterion, (vectors @ shrunk).T
    return response, target_mean - response @ mean


def fit_positive_response(bands: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Response (G, B) that best makes the guide (G, n) from bands (B, n), without negative weights or offset."""
    from scipy.optimize import nnls

    # the triangle poses the same least-squares problem with B + G rows instead of n
    triangle = np.asarray(np.linalg.qr(np.concatenate([bands, guide]).T.astype(np.float64), mode="r"))
    known, wanted = triangle[:, : len(bands)], triangle[:, len(bands) :]
    return np.stack([nnls(known, channel)[0] for channel in wanted.T])


def noise_level(bands: np.ndarray) -> float:
    """Standard deviation of the noise of bands (B, n). The noise is taken to be white and equal in all bands.

    Measured outside the signal's subspace, at samples that clipping to [0, 1] has not touched. 0 if the subspace fills
    all bands.

    Example:

        >>> noisy = np.random.default_rng(0).normal(0, 0.01, (4, 20000))
        >>> round(float(np.max(degrade.noise_level(noisy))), 2)
        0.01
    """
    bands = _checked(bands)
    count, n = bands.shape
    mean = bands.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh((bands - mean) @ (bands - mean).T / n)
    rank = _signal_rank(np.maximum(values, 0.0), n)
    if rank == count:
        return 0.0
    basis = vectors[:, count - rank :]
    signal = mean + basis @ (basis.T @ (bands - mean))
    share = 1 - rank / count
    noise = bands - signal
    sigma = float(np.sqrt((noise**2).mean() / share))
    untouched = (signal > _CLIP_SIGMAS * sigma) & (signal < 1 - _CLIP_SIGMAS * sigma)
    return float(np.sqrt((noise[untouched] ** 2).mean() / share)) if untouched.mean() > 0.01 else sigma


def spectral_subspace(bands: np.ndarray, margin: int = 2, least: int = 1, most: int | None = None) -> Subspace:
    """The subspace of the bands (B, n): principal components above the noise, and `margin` more.

    least, most: fewest and most dimensions of the subspace. It never has more dimensions than there are bands.
    """
    bands = _checked(bands)
    mean = bands.mean(axis=1, keepdims=True)
    covariance = (bands - mean) @ (bands - mean).T / bands.shape[1]
    return subspace_of(mean, covariance, bands.shape[1], margin, least, most)


def _checked(bands: np.ndarray) -> np.ndarray:
    """Bands (B, n) as float32 or float64. Raises HsisrError unless they are finite numbers without a mask."""
    bands = array_of("estimation: the bands", bands)
    if bands.ndim != 2 or bands.dtype.kind not in "uif":
        raise HsisrError(f"estimation: expected bands (B, n) of numbers, not {bands.dtype} {bands.shape}")
    if not bands.size or not np.isfinite(bands).all():
        raise HsisrError("estimation: the bands hold no samples, or NaN or infinite values; leave those pixels out")
    return bands if bands.dtype == np.float32 else bands.astype(np.float64, copy=False)


def subspace_of(
    mean: np.ndarray, covariance: np.ndarray, samples: int, margin: int = 2, least: int = 1, most: int | None = None
) -> Subspace:
    """`spectral_subspace` from the bands' mean (B, 1), their covariance (B, B) and the number of samples."""
    values, vectors = np.linalg.eigh(covariance)
    rank = max(_signal_rank(np.maximum(values, 0.0), samples) + margin, least)
    return Subspace(mean, vectors[:, ::-1][:, : min(rank, most or len(values), len(values))])


def _signal_rank(values: np.ndarray, n: int) -> int:
    """Count the eigenvalues (ascending) of a covariance over n samples that stand out of white noise.

    The noise variance sigma^2 is the median of the lower half of the eigenvalues. Eigenvalues of white noise reach
    sigma^2 (1 + sqrt(B / n))^2 (Marchenko and Pastur, 1967).
    """
    noise = np.median(values[: max(1, len(values) // 2)])
    edge = noise * (1 + np.sqrt(len(values) / n)) ** 2
    return int((values > max(1.1 * edge, 1e-12 * values[-1])).sum())
