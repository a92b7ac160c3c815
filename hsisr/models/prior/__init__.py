"""`prior`: super-resolution by what the pair itself tells, in closed form, without any training.

docs/model-hybrid.md derives it. In short: the spectra lie in a small subspace; their coefficients are smooth functions
of the guide's colour and of the place, learnt from what the sensor shows of them; what is left over is interpolated
as a smooth field; and the result has to agree with the guide.
"""

from dataclasses import dataclass

import numpy as np

from hsisr.degrade.estimation import Subspace, estimate_sensor, spectral_subspace, valid_lr_pixels
from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import KnownSensor, Sensor
from hsisr.models.classical.checks import check_pair
from hsisr.models.prior.clipping import clipping_bias, is_clipped
from hsisr.models.prior.features import WAVES, GuideFeatures
from hsisr.models.prior.kriging import SmoothFields, whitened
from hsisr.models.prior.regression import Fit, Regression

#: Least and most components of the subspace. A few too many do no harm, as evidence shrinks what is noise; with few
#: bands there is no telling noise from signal by eigenvalues.
_COMPONENTS = {"least": 12, "most": 32}
#: Times that the regression is repeated with the correlation of what it left, and the ratio of noise to field from
#: which on that is white enough.
_REFITS, _WHITE = 2, 3.0
#: Least ratio of noise to weight variance of a regression on all features.
_LEAST_RATIO = 4e-3
#: LR pixels, at most, that choose the kernel.
_CHOOSING_LR_PX = 4096
#: HR pixels whose features are held at a time.
_STRIP_PX = 1 << 15


@dataclass(frozen=True, eq=False)
class Solution:
    """What the prior found. coefficients: (K, H, W) float32 in `subspace`. sensor: as given or estimated.

    response, offset: guide = response (G, K) @ coefficients + offset (G, 1), up to a variance `mismatch`.
    variance: (H, W) float32, posterior variance of the regression summed over the K, or None where not asked for.
    positive: whether the LR image has no negative value, so that the HR image shall have none.
    """

    subspace: Subspace
    coefficients: np.ndarray
    sensor: KnownSensor
    response: np.ndarray
    offset: np.ndarray
    mismatch: float
    variance: np.ndarray | None = None
    positive: bool = False

    def image(self) -> np.ndarray:
        """The HR image (B, H, W), float32."""
        shape = self.coefficients.shape[1:]
        image = self.subspace.spectra(self.coefficients.reshape(len(self.coefficients), -1)).reshape(-1, *shape)
        return np.maximum(image, 0, out=image) if self.positive else image


def prior(
    lr: np.ndarray, guide: np.ndarray, *, scale: int, sensor: Sensor | None = None, waves: int = WAVES
) -> np.ndarray:
    """Super-resolve without training; see `solve`. Returns (B, H, W) in the type of lr."""
    return solve(lr, guide, scale, sensor, waves).image().astype(lr.dtype, copy=False)


def solve(
    lr: np.ndarray,
    guide: np.ndarray,
    scale: int,
    sensor: Sensor | None = None,
    waves: int = WAVES,
    variance: bool = False,
) -> Solution:
    """Subspace coefficients of the HR image, from the pair alone.

    lr: (B, h, w), float, in [0, 1]. guide: (G, scale h, scale w), float. sensor: what is known; the rest is estimated.
    waves: bumps (`hsisr.models.prior.features`). variance: whether the regression's own uncertainty is wanted too.
    Raises HsisrError for images that do not fit, are empty or hold NaN.
    """
    check_pair("prior", lr, guide, scale)
    lr = lr.astype(np.float64)
    known = estimate_sensor(lr, guide, scale, sensor)
    sampler = known.footprint.sampler(scale, guide.shape[1:])
    valid = valid_lr_pixels(lr, scale, known.mask).ravel()
    features = GuideFeatures(guide, waves, mask=known.mask)
    _choose_kernel(features, sampler, lr.reshape(len(lr), -1), np.flatnonzero(valid))
    low = features.seen_by(sampler)
    fields = SmoothFields(sampler, scale)
    bands, subspace, fit = _regressed(lr, low, valid, known.noise_sigma, features.simpler, fields)
    coefficients, uncertainty = _applied(fit.before(features.whitening), features, guide.shape[1:], variance)
    residuals = np.where(valid, subspace.coefficients(bands) - fit(low), 0.0)
    coefficients += fields.kriged(residuals.reshape(-1, *lr.shape[1:]))
    response, offset, mismatch = _response(subspace, coefficients, bands, guide, sampler, valid, known)
    agree_with_guide(coefficients, guide, response, offset, mismatch)
    return Solution(subspace, coefficients, known, response, offset, mismatch, uncertainty, bool(lr.min() >= 0))


def agree_with_guide(
    coefficients: np.ndarray, guide: np.ndarray, response: np.ndarray, offset: np.ndarray, mismatch: float
) -> None:
    """Move coefficients (K, H, W), in place, to where the response makes the guide (G, H, W) of them.

    The best linear estimate for errors that are alike in all components, but nowhere larger than the component itself:
    their variance is what the observed mismatch has beyond `mismatch`, the variance that the response itself leaves.
    """
    flat = coefficients.reshape(len(coefficients), -1)
    missing = guide.reshape(len(guide), -1) - offset - response @ flat
    power = float((response**2).sum()) / len(response)
    excess = max(0.0, float((missing**2).mean()) - mismatch) / max(power, 1e-30)
    spread = response * np.minimum(excess, flat.var(axis=1))
    if spread.any():
        gain = spread.T @ np.linalg.pinv(spread @ response.T + mismatch * np.eye(len(response)))
        flat += (gain @ missing).astype(flat.dtype)


def _choose_kernel(features: GuideFeatures, sampler: Sampler, bands: np.ndarray, valid: np.ndarray) -> None:
    """Let the evidence of the bands (B, h w), at LR pixels among those of these indices, choose the kernel."""
    pixels = np.random.default_rng(0).permutation(valid)[:_CHOOSING_LR_PX]
    bands = bands[:, pixels]
    targets = spectral_subspace(bands, **_COMPONENTS).coefficients(bands)
    features.choose(
        sampler, pixels, lambda low: float(Regression(low, least_ratio=_LEAST_RATIO).fit(targets).surprise.sum())
    )


def _regressed(
    lr: np.ndarray,
    low: np.ndarray,
    valid: np.ndarray,
    noise_sigma: float,
    simpler: tuple[int, int],
    fields: SmoothFields,
) -> tuple[np.ndarray, Subspace, Fit]:
    """The bands (B, h w) without the bias of clipping, their subspace, and its regression on the features."""
    bands = lr.reshape(len(lr), -1)
    regression = Regression(low[:, valid], None, simpler, _LEAST_RATIO)
    subspace = spectral_subspace(bands[:, valid], **_COMPONENTS)
    fit = regression.fit(subspace.coefficients(bands[:, valid]))
    if is_clipped(bands) and noise_sigma > 0:
        bands = bands - clipping_bias(subspace.spectra(fit(low)), noise_sigma)
        subspace = spectral_subspace(bands[:, valid], **_COMPONENTS)
        fit = regression.fit(subspace.coefficients(bands[:, valid]))
    fit = _generalised(fit, low, subspace.coefficients(bands), valid, lr.shape[1:], simpler, fields)
    return bands, subspace, fit


def _generalised(
    fit: Fit,
    low: np.ndarray,
    coefficients: np.ndarray,
    valid: np.ndarray,
    shape: tuple[int, int],
    simpler: tuple[int, int],
    fields: SmoothFields,
) -> Fit:
    """Generalised least squares: where the regression leaves a smooth field, regress on what is not smooth.

    Otherwise bumps of place and colour imitate the field, which kriging knows better, and the weights that matter,
    those of the guide's detail, come out wrong. Pixels that are not valid are taken to be as the fit before has them.
    """
    for _ in range(_REFITS):
        fitted = fit(low)
        targets = np.where(valid, coefficients, fitted)
        correlation = fields.shared_correlation((targets - fitted).reshape(-1, *shape))
        if correlation.ratio > _WHITE:
            break
        constant, features, targets = (
            whitened(images.reshape(-1, *shape), correlation) for images in (np.ones(shape), low, targets)
        )
        fit = Regression(features, constant, simpler, _LEAST_RATIO).fit(targets)
    return fit


def _applied(
    fit: Fit, features: GuideFeatures, shape: tuple[int, int], variance: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The regression at every HR pixel (K, H, W), a few rows at a time, and the variance (H, W) if wanted."""
    height, width = shape
    coefficients = np.empty((len(fit.weights), height, width), np.float32)
    uncertainty = np.empty(shape, np.float32) if variance else None
    step = max(1, _STRIP_PX // width)
    for first in range(0, height, step):
        part = slice(first, min(first + step, height))
        values = features.rows(part)
        coefficients[:, part] = fit(values).reshape(-1, part.stop - first, width)
        if uncertainty is not None:
            uncertainty[part] = fit.variance(values).sum(axis=0).reshape(-1, width)
    return coefficients, uncertainty


def _response(
    subspace: Subspace,
    coefficients: np.ndarray,
    bands: np.ndarray,
    guide: np.ndarray,
    sampler: Sampler,
    valid: np.ndarray,
    sensor: KnownSensor,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Response (G, K) and offset (G, 1) on the subspace, and the variance that they leave.

    Of a known response, that is what it makes of the spectra outside the subspace, or by what LR image and guide
    disagree beyond noise (it may not be as well known as that), whichever is more. An unknown one is fitted to
    coefficients that are free of noise, unlike the LR image's.
    """
    wanted = sampler(guide).reshape(len(guide), -1)[:, valid]
    if sensor.offset is None:
        on_subspace = sensor.response @ subspace.basis
        outside = sensor.response - on_subspace @ subspace.basis.T
        left = _beyond_noise(outside, bands[:, valid] - subspace.mean, 0.0, sensor.noise_sigma)
        disagreement = _beyond_noise(sensor.response, bands[:, valid], wanted, sensor.noise_sigma)
        floor = 1e-6 * float((guide**2).mean())
        return on_subspace, sensor.response @ subspace.mean, max(left, disagreement, floor)
    seen = sampler(coefficients).reshape(len(coefficients), -1)[:, valid]
    fit = Regression(seen).fit(wanted)
    return fit.weights, fit.offset, float(fit.noise.mean())


def _beyond_noise(response: np.ndarray, bands: np.ndarray, expected: np.ndarray | float, noise_sigma: float) -> float:
    """Mean square of response @ bands less what is expected, without the part of the bands' noise."""
    noise = noise_sigma**2 * (response**2).sum() / len(response)
    return float(((response @ bands - expected) ** 2).mean() - noise)
