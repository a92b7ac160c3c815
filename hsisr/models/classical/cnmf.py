"""Coupled non-negative matrix factorisation (CNMF): one set of spectra and abundances that explains both images.

Source: Yokoya, Yairi, Iwasaki, "Coupled nonnegative matrix factorization unmixing for hyperspectral and multispectral
data fusion", IEEE TGRS 50(2), 2012. First spectra: Nascimento, Bioucas-Dias, "Vertex component analysis", IEEE TGRS
43(4), 2005.
"""

import warnings

import numpy as np

from hsisr.degrade.estimation import (
    estimate_footprint,
    fit_positive_response,
    spectral_subspace,
)
from hsisr.degrade.registration import related_channels
from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import Sensor
from hsisr.models.classical.checks import check_pair

#: Numbers of multiplicative updates: at the start, at LR; then in every round, at LR and at HR.
_FIRST_UPDATES, _LR_UPDATES, _HR_UPDATES = 500, 100, 30
_TINY = 1e-9
#: Squared distance of a result from the LR image, over that of each band's mean, from which on it does not agree. Both
#: are the noise on flat ground.
_DISAGREES = 2.0


def cnmf(
    lr: np.ndarray,
    guide: np.ndarray,
    *,
    scale: int,
    sensor: Sensor | None = None,
    endmembers: int = 10,
    rounds: int = 2,
) -> np.ndarray:
    """Unmix LR image and guide in turn, each from the other's result; then mix spectra by the sharp abundances.

    lr: (bands, h, w), float, not negative apart from noise. guide: (G, scale h, scale w), float. sensor: footprint and
    response; hsisr estimates those that are not known. endmembers: number M of pure spectra. rounds: how often step 2
    runs. Returns (bands, scale h, scale w) in the type of lr.

    1. Vertex component analysis gives spectra E (bands, M). Multiplicative updates at LR then give spectra and
       abundances.
    2. Do this `rounds` times. At HR, R E, the guide's view of the spectra, gives abundances S. At LR, the sensor's view
       of S gives abundances and E.
    3. The result is E S.

    The abundances of a pixel need not have sum one, because the light on a scene is not the same everywhere.
    Warns of a result that does not agree with the LR image, as of images with an offset or below 0.
    Raises HsisrError if guide and LR image do not fit, are empty or hold NaN.

    Example:

        >>> cube = np.random.default_rng(0).random((6, 32, 32))
        >>> known = degrade.Sensor(degrade.gaussian_footprint(2), np.full((3, 6), 1 / 6))
        >>> models.cnmf(cube[:, ::2, ::2], cube[:3], scale=2, sensor=known).shape
        (6, 32, 32)
    """
    check_pair("cnmf", lr, guide, scale)
    sensor = sensor or Sensor()
    if sensor.response is None:  # the spectra must make every channel, so leave out channels that they cannot make
        guide = guide[related_channels(lr, guide, scale, sensor.mask)]
    footprint = sensor.footprint or estimate_footprint(lr, guide, scale, sensor.mask)
    sampler = footprint.sampler(scale, guide.shape[1:])
    low = np.maximum(lr.reshape(len(lr), -1).astype(np.float64), 0)
    high = np.maximum(guide.reshape(len(guide), -1), 0).astype(np.float32)
    response = sensor.response
    if response is None:
        response = fit_positive_response(low, sampler(guide).reshape(len(guide), -1))
    spectra = np.maximum(vertex_components(low, min(endmembers, len(low))), _TINY)
    count = spectra.shape[1]
    seen = np.full((count, low.shape[1]), low.mean() / spectra.mean() / count)
    _unmix(seen, spectra, low, _FIRST_UPDATES)
    seen_image = seen.reshape(count, *lr.shape[1:])
    sharp = interpolate(seen_image, scale, "bilinear", footprint.shift_px(scale)).astype(np.float32)
    sharp = np.maximum(sharp.reshape(count, -1), _TINY)
    for number in range(rounds):
        view = np.maximum(response @ spectra, _TINY).astype(np.float32)
        for _ in range(_HR_UPDATES):
            _update_abundances(sharp, view, high)
        if number < rounds - 1:
            seen = np.maximum(sampler(sharp.reshape(count, *guide.shape[1:])).reshape(count, -1), _TINY)
            _unmix(seen, spectra, low, _LR_UPDATES)
    seen = sampler(sharp.reshape(count, *guide.shape[1:])).reshape(count, -1)
    _check_explained(lr.reshape(low.shape), spectra @ seen)
    return (spectra.astype(np.float32) @ sharp).reshape(-1, *guide.shape[1:]).astype(lr.dtype)


def _check_explained(bands: np.ndarray, seen: np.ndarray) -> None:
    """Warn if an image, as the sensor sees it, is clearly further from the bands (B, n) than each band's mean is."""
    around = bands - bands.mean(axis=1, keepdims=True, dtype=np.float64)
    if ((seen - bands) ** 2).sum() > _DISAGREES * (around**2).sum():
        warnings.warn(
            "cnmf: its result does not agree with the LR image; cnmf mixes spectra that are not negative, without an "
            "offset, by shares that the guide shows; take another model, such as prior or gsa",
            stacklevel=3,
        )


def vertex_components(bands: np.ndarray, count: int) -> np.ndarray:
    """The `count` pixels (B, count) of bands (B, n) that best span the others: vertex component analysis.

    Pixels are projected onto the `count` - 1 strongest components, which denoises them. Each step takes the farthest
    pixel along a direction that is orthogonal to all pixels found so far.
    """
    subspace = spectral_subspace(bands, margin=len(bands), most=max(count - 1, 1))
    coefficients = subspace.coefficients(bands)
    lifted = np.concatenate([coefficients, np.full((1, bands.shape[1]), np.abs(coefficients).max())])
    rng = np.random.default_rng(0)
    found: list[int] = []
    basis = np.zeros((len(lifted), 0))
    for _ in range(count):
        direction = rng.standard_normal(len(lifted))
        direction -= basis @ (basis.T @ direction)
        found.append(int(np.abs(direction @ lifted).argmax()))
        basis = np.linalg.qr(lifted[:, found])[0]
    return subspace.spectra(coefficients[:, found])


def _unmix(abundances: np.ndarray, spectra: np.ndarray, image: np.ndarray, updates: int) -> None:
    """Improve spectra (C, M) and abundances (M, n) in turn, in place, towards image (C, n) ~ spectra @ abundances."""
    for _ in range(updates):
        _update_abundances(abundances, spectra, image)
        spectra *= (image @ abundances.T) / np.maximum(spectra @ (abundances @ abundances.T), _TINY)


def _update_abundances(abundances: np.ndarray, spectra: np.ndarray, image: np.ndarray) -> None:
    """One multiplicative update (Lee and Seung, Algorithms for non-negative matrix factorization, NIPS 2001)."""
    abundances *= (spectra.T @ image) / np.maximum((spectra.T @ spectra) @ abundances, _TINY)
