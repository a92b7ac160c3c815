"""`prior`: super-resolution by what the pair itself tells, in closed form, without any training.

docs/model-hybrid.md derives it. In short: the spectra lie in a small subspace; their coefficients are smooth functions
of the guide's colour and of the place, learnt from what the sensor shows of them; what is left over is interpolated
as a smooth field; and the result has to agree with the guide.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from hsisr.degrade.estimation import Subspace, estimate_footprint, estimate_sensor, spectral_subspace
from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import KnownSensor, Sensor, whole_lr_pixels
from hsisr.models.classical.checks import check_pair
from hsisr.models.prior.agreement import Moments, guide_gain, move
from hsisr.models.prior.blocks import Blocks, cells, chosen_blocks, is_one_block, reach
from hsisr.models.prior.clipping import clipping_bias, is_clipped
from hsisr.models.prior.features import WAVES, Functions, GuideFeatures, places
from hsisr.models.prior.kriging import FieldsByWindows, SmoothFields, whitened
from hsisr.models.prior.regression import Fit, Regression
from hsisr.models.windows import HeldImages, Images, Span, Window

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
#: HR pixels whose features are made at a time.
_STRIP_PX = 1 << 10
#: HR pixels a side of the windows in which it is found what a large scene's regression leaves.
_WINDOW_PX = 512


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


@dataclass(frozen=True, eq=False)
class Clipping:
    """What says by how much cut-off noise shifts the bands: the spectra that a first regression expects, and sigma."""

    subspace: Subspace
    fit: Fit
    sigma: float

    def unbiased(self, bands: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        """Bands (B, n) less that shift. fitted: (K, n), the first regression there."""
        return bands - clipping_bias(self.subspace.spectra(fitted), self.sigma)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is learnt of a scene once, of which its image follows pixel by pixel.

    size: LR rows and columns. fit: of the features as `functions` makes them. clipping: None where nothing was cut off.
    residuals: (K, h, w) float32, what the regression leaves at the scene's LR pixels. choices: correlation length and
    ratio of noise to field of each component's residuals. gain: (K, G), what agreement with the guide adds to the
    coefficients for what the guide has beyond them. response, offset, mismatch, positive: as of `Solution`.
    """

    size: tuple[int, int]
    scale: int
    sensor: KnownSensor
    functions: Functions
    subspace: Subspace
    fit: Fit
    clipping: Clipping | None
    choices: list[tuple[float, float]]
    residuals: np.ndarray
    response: np.ndarray
    offset: np.ndarray
    mismatch: float
    gain: np.ndarray
    positive: bool
    _fields: FieldsByWindows = field(init=False)

    def __post_init__(self) -> None:
        fields = FieldsByWindows(self.residuals, self.choices, self.sensor.footprint, self.scale)
        object.__setattr__(self, "_fields", fields)

    def solution(
        self,
        guide: np.ndarray,
        corner: tuple[int, int] = (0, 0),
        variance: bool = False,
        mask: np.ndarray | None = None,
    ) -> Solution:
        """The solution of a part of the scene.

        guide: (G, n, m), of that part. corner: row and column of its first HR pixel in the scene. variance: whether
        the regression's own uncertainty is wanted. mask: (n, m), its valid pixels, for the solution's sensor.
        """
        rows, columns = ((start, start + size) for start, size in zip(corner, guide.shape[1:], strict=True))
        coefficients, uncertainty = self._regressed(self.fit, guide, (rows, columns), variance)
        coefficients += self._fields(rows, columns)
        move(coefficients, guide, self.response, self.offset, self.gain)
        return self.solved(coefficients, uncertainty, replace(self.sensor, mask=mask))

    def solved(self, coefficients: np.ndarray, variance: np.ndarray | None, sensor: KnownSensor) -> Solution:
        """The solution of these coefficients (K, n, m)."""
        facts = self.response, self.offset, self.mismatch, variance, self.positive
        return Solution(self.subspace, coefficients, sensor, *facts)

    def left(self, window: Window, rows: Span, columns: Span) -> np.ndarray:
        """What the regression leaves at the LR pixels (K, n, m) of a window; 0 where they are not valid."""
        spans = (rows[0] * self.scale, rows[1] * self.scale), (columns[0] * self.scale, columns[1] * self.scale)
        sampler = self.sensor.footprint.sampler(self.scale, window.guide.shape[1:])

        def seen(fit: Fit) -> np.ndarray:
            low = sampler(self._regressed(fit, window.guide, spans)[0])
            return low.reshape(len(low), -1)

        bands = window.lr.reshape(len(window.lr), -1).astype(np.float64)
        if self.clipping is not None:
            bands = self.clipping.unbiased(bands, seen(self.clipping.fit))
        residuals = (self.subspace.coefficients(bands) - seen(self.fit)).reshape(-1, *window.lr.shape[1:])
        return residuals if window.mask is None else residuals * whole_lr_pixels(window.mask, self.scale)

    def _regressed(
        self, fit: Fit, guide: np.ndarray, spans: tuple[Span, Span], variance: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        place = places(*spans, max(self.size) * self.scale)
        return _applied(fit, self.functions, guide, place, variance)


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
    known = sensor or Sensor()
    if known.footprint is None:
        known = replace(known, footprint=estimate_footprint(lr.astype(np.float64), guide, scale, known.mask))
    images = HeldImages(lr, guide, scale, known.mask)
    if not is_one_block(*images.size):
        return estimate(images, scale, known, waves).solution(guide, variance=variance, mask=known.mask)
    kept: list[np.ndarray] = []
    uncertainty: list[np.ndarray] | None = [] if variance else None
    found = _learnt(images, scale, known, waves, kept, uncertainty)
    coefficients = np.concatenate(kept, axis=1)
    move(coefficients, guide, found.response, found.offset, found.gain)
    deviation = None if uncertainty is None else np.concatenate(uncertainty)
    return found.solved(coefficients, deviation, replace(found.sensor, mask=known.mask))


def estimate(images: Images, scale: int, sensor: Sensor, waves: int = WAVES) -> Estimate:
    """Learn what `Estimate` holds from a scene that is read by windows; values as for `solve`.

    sensor: with its footprint; the rest is estimated where it is not known. Its mask is not read: the images have one.
    Memory grows with the scene by the LR pixels' residuals alone.
    """
    found = _learnt(images, scale, sensor, waves)
    return found if is_one_block(*images.size) else _everywhere(found, images)


def _learnt(
    images: Images,
    scale: int,
    sensor: Sensor,
    waves: int,
    kept: list[np.ndarray] | None = None,
    uncertainty: list[np.ndarray] | None = None,
) -> Estimate:
    """The estimate, with residuals of the blocks that it was learnt from.

    kept, uncertainty: take the blocks' coefficients, before they agree, and the regression's variance, by strips.
    """
    assert sensor.footprint is not None
    part = chosen_blocks(images, scale, sensor.footprint)
    known = estimate_sensor(part.lr, part.guide, scale, replace(sensor, mask=part.mask), part.sampler, part.valid)
    valid = part.valid.ravel()
    features = GuideFeatures(part.guide, waves, mask=part.mask, place=part.place)
    _choose_kernel(features, part.sampler, part.lr.reshape(len(part.lr), -1), np.flatnonzero(valid))
    low = features.seen_by(part.sampler)
    fields = SmoothFields(part.one, scale)
    bands, subspace, fit, clipping = _regressed(part.lr, low, valid, known.noise_sigma, features.simpler, fields)
    residuals = np.where(valid, subspace.coefficients(bands) - fit(low), 0.0).reshape(-1, *part.lr.shape[1:])
    del low
    raw, smooth = fit.before(features.whitening), fields.kriged(residuals)
    seen, moments = np.zeros(residuals.shape), Moments(len(residuals), len(part.guide))
    height = part.one.rows.shape[0]
    for block, rows, of_all in part.strips():
        guide = part.guide[:, of_all]
        coefficients, variance = _applied(
            raw, features.functions, guide, part.place[:, of_all], uncertainty is not None
        )
        for left, image in zip(smooth, coefficients, strict=True):
            image += left.at(block, rows)
        moments.add(coefficients, guide)
        seen[:, block * height : (block + 1) * height] += replace(part.one, rows=part.one.rows[:, rows])(coefficients)
        if kept is not None:
            kept.append(coefficients)
        if uncertainty is not None and variance is not None:
            uncertainty.append(variance)
    response, offset, mismatch = _response(subspace, seen.reshape(len(seen), -1)[:, valid], bands, part, valid, known)
    gain = guide_gain(moments.spread(), moments.beyond(response, offset), response, mismatch)
    return Estimate(
        images.size,
        scale,
        replace(known, mask=None),
        features.functions,
        subspace,
        raw,
        None if clipping is None else replace(clipping, fit=clipping.fit.before(features.whitening)),
        [(left.correlation.length_lr_px, left.correlation.ratio) for left in smooth],
        residuals.astype(np.float32),
        response,
        offset,
        mismatch,
        gain,
        bool(part.lr.min() >= 0),
    )


def _everywhere(found: Estimate, images: Images) -> Estimate:
    """The estimate of a large scene with its residuals at every LR pixel, not in the blocks alone."""
    height, width = images.size
    residuals = np.empty((len(found.residuals), height, width), np.float32)
    least, side = np.inf, max(1, _WINDOW_PX // found.scale)
    edges = reach(found.sensor.footprint, found.scale)
    for rows in cells(height, side):
        for columns in cells(width, side):
            spans = [
                (max(0, start - edge), min(size, stop + edge))
                for (start, stop), edge, size in zip((rows, columns), edges, images.size, strict=True)
            ]
            window = images.window(*spans)
            top, left = rows[0] - spans[0][0], columns[0] - spans[1][0]
            inside = slice(top, top + rows[1] - rows[0]), slice(left, left + columns[1] - columns[0])
            residuals[:, slice(*rows), slice(*columns)] = found.left(window, *spans)[:, *inside]
            least = min(least, float(window.lr.min()))
    return replace(found, residuals=residuals, positive=least >= 0)


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
) -> tuple[np.ndarray, Subspace, Fit, Clipping | None]:
    """The bands (B, h w) without the bias of clipping, their subspace, its regression on the features, that bias."""
    bands, clipping = lr.reshape(len(lr), -1), None
    regression = Regression(low if valid.all() else low[:, valid], None, simpler, _LEAST_RATIO)
    subspace = spectral_subspace(bands[:, valid], **_COMPONENTS)
    fit = regression.fit(subspace.coefficients(bands[:, valid]))
    if is_clipped(bands) and noise_sigma > 0:
        clipping = Clipping(subspace, fit, noise_sigma)
        bands = clipping.unbiased(bands, fit(low))
        subspace = spectral_subspace(bands[:, valid], **_COMPONENTS)
        fit = regression.fit(subspace.coefficients(bands[:, valid]))
    del regression  # its features, where some pixels are not valid
    fit = _generalised(fit, low, subspace.coefficients(bands), valid, lr.shape[1:], simpler, fields)
    return bands, subspace, fit, clipping


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
        constant, targets = (whitened(images.reshape(-1, *shape), correlation) for images in (np.ones(shape), targets))
        features = whitened(low.reshape(-1, *shape), correlation)
        fit = Regression(features, constant, simpler, _LEAST_RATIO).fit(targets)
        del features  # before the next ones are made
    return fit


def _applied(
    fit: Fit, functions: Functions, guide: np.ndarray, place: np.ndarray, variance: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The regression at the pixels of a guide (K, H, W), and its variance (H, W) if wanted.

    Some pixels at a time, always as many: they stay in the cache, and what is a sum of hundreds of features, which
    cancel each other, is summed in float64, so that it does not depend on the pixels that are asked for together.
    """
    shape, pixels = guide.shape[1:], guide[0].size
    coefficients = np.empty((len(fit.weights), pixels), np.float32)
    uncertainty = np.empty(pixels, np.float32) if variance else None
    flat, where = (part.reshape(len(part), -1) for part in (guide, place))
    shown, here = (np.zeros((len(part), 1, _STRIP_PX), np.float32) for part in (flat, where))
    for first in range(0, pixels, _STRIP_PX):
        part = slice(first, min(first + _STRIP_PX, pixels))
        count = part.stop - first
        shown[:, 0, :count], here[:, 0, :count] = flat[:, part], where[:, part]
        values = functions(shown, here)
        coefficients[:, part] = fit(values.astype(np.float64))[:, :count]
        if uncertainty is not None:
            uncertainty[part] = fit.variance(values).sum(axis=0)[:count]
    return coefficients.reshape(-1, *shape), None if uncertainty is None else uncertainty.reshape(shape)


def _response(
    subspace: Subspace,
    seen: np.ndarray,
    bands: np.ndarray,
    part: Blocks,
    valid: np.ndarray,
    sensor: KnownSensor,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Response (G, K) and offset (G, 1) on the subspace, and the variance that they leave.

    Of a known response, that is what it makes of the spectra outside the subspace, or by what LR image and guide
    disagree beyond noise (it may not be as well known as that), whichever is more. An unknown one is fitted to
    the sensor's view (K, n) of coefficients that are free of noise, unlike the LR image's.
    """
    wanted = part.sampler(part.guide).reshape(len(part.guide), -1)[:, valid]
    if sensor.offset is None:
        on_subspace = sensor.response @ subspace.basis
        outside = sensor.response - on_subspace @ subspace.basis.T
        left = _beyond_noise(outside, bands[:, valid] - subspace.mean, 0.0, sensor.noise_sigma)
        disagreement = _beyond_noise(sensor.response, bands[:, valid], wanted, sensor.noise_sigma)
        floor = 1e-6 * float((part.guide**2).mean())
        return on_subspace, sensor.response @ subspace.mean, max(left, disagreement, floor)
    fit = Regression(seen).fit(wanted)
    return fit.weights, fit.offset, float(fit.noise.mean())


def _beyond_noise(response: np.ndarray, bands: np.ndarray, expected: np.ndarray | float, noise_sigma: float) -> float:
    """Mean square of response @ bands less what is expected, without the part of the bands' noise."""
    noise = noise_sigma**2 * (response**2).sum() / len(response)
    return float(((response @ bands - expected) ** 2).mean() - noise)
