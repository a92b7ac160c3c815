"""`prior`: super-resolution from the pair alone, in closed form, without any training.

docs/model-hybrid.md derives it. In short: the spectra lie in a small subspace. Their coefficients are smooth functions
of the guide's colour, of its slopes and of the place; a regression learns these functions from the LR image. The rest
is interpolated as a smooth field. At the end, the result must agree with the guide.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from hsisr.degrade.estimation import Subspace, estimate_footprint, estimate_sensor, spectral_subspace, subspace_of
from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import Footprint, KnownSensor, Sensor, whole_lr_pixels
from hsisr.models.classical.checks import check_pair
from hsisr.models.denoising import CleanImages, GuideNoise, learn_noise, most_noise
from hsisr.models.prior.agreement import Moments, guide_gain, left_by_response, move
from hsisr.models.prior.blocks import (
    REACH_LR_PX,
    Blocks,
    LearningWindow,
    LearningWindows,
    cells,
    chosen_blocks,
    is_one_block,
    judging_windows,
    shown_lr_px,
)
from hsisr.models.prior.clipping import clipping_bias, is_clipped
from hsisr.models.prior.effort import Costs, Course
from hsisr.models.prior.features import (
    CANDIDATES_PX,
    WAVES,
    Functions,
    GuideFeatures,
    bump_count,
    place_of,
    places,
    seen_features,
)
from hsisr.models.prior.kriging import Correlation, Field, FieldsByWindows, SmoothFields, whiten
from hsisr.models.prior.regression import Fit, Sums, regress, regress_arrays
from hsisr.models.windows import HeldImages, Images, Span, Window, hr_spans

#: Counts the changes of what the prior makes of a pair, so that weights which learnt on another one are refused.
EDITION = 2
#: Fewest and most components of the subspace. A few too many do no harm, because the evidence shrinks noise. With few
#: bands, eigenvalues do not separate noise from signal.
_LEAST_COMPONENTS, MOST_COMPONENTS = 12, 32
#: How often the regression is repeated with the correlation of its residuals. Above the ratio `_WHITE` of noise to
#: field, the residuals are white enough.
_REFITS, _WHITE = 2, 3.0
#: Least ratio of noise variance to weight variance in a regression on all features.
_LEAST_RATIO = 4e-3
#: Share of the strongest component's variance, beyond noise, up to which the guide explains it. Beyond, guide and LR
#: image differ in more than focus, and slopes would imitate this.
_UNEXPLAINED = 1e-4
#: At most this many LR pixels choose the kernel.
_CHOOSING_LR_PX = 4096
#: HR pixels for which features are made at a time, and, about, for which slopes are.
_STRIP_PX, _SLOPED_PX = 1 << 9, 1 << 14
#: Side, in HR pixels, of the windows for the residuals of a large scene's regression.
_WINDOW_PX = 512


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of the prior. coefficients: (K, H, W) float32 in `subspace`. sensor: as given or estimated.

    guide: (G, H, W), without the noise that was taken out.
    response, offset: guide = response (G, K) @ coefficients + offset (G, 1), up to a variance `mismatch`.
    positive: whether the LR image has no negative value; then the HR image must have none either.
    """

    subspace: Subspace
    coefficients: np.ndarray
    guide: np.ndarray
    sensor: KnownSensor
    response: np.ndarray
    offset: np.ndarray
    mismatch: float
    positive: bool = False

    def image(self) -> np.ndarray:
        """The HR image (B, H, W), float32."""
        shape = self.coefficients.shape[1:]
        image = self.subspace.spectra(self.coefficients.reshape(len(self.coefficients), -1)).reshape(-1, *shape)
        return np.maximum(image, 0, out=image) if self.positive else image


@dataclass(frozen=True, eq=False)
class Clipping:
    """The shift of the bands by cut-off noise, computed from the spectra of a first regression and from sigma."""

    subspace: Subspace
    fit: Fit
    sigma: float

    def unbiased(self, bands: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        """Bands (B, n) without this shift. fitted: (K, n), the first regression at the same pixels."""
        return bands - clipping_bias(self.subspace.spectra(fitted), self.sigma)


@dataclass(frozen=True, eq=False)
class Estimate:
    """What the prior learns from a scene once. The image follows from it, pixel by pixel.

    size: LR rows and columns. guide_noise: what is taken out of the guide before anything else; None: nothing.
    fit: for features as `functions` makes them. clipping: None if no noise was cut off.
    residuals: (K, h, w) float32, of the regression at the scene's LR pixels. choices: correlation length and ratio of
    noise to field of each component's residuals. gain: (K, G). The guide differs from the response to the coefficients;
    gain @ this difference is added to the coefficients. response, offset, mismatch, positive: as for `Solution`.
    """

    size: tuple[int, int]
    scale: int
    guide_noise: GuideNoise | None
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
        mask: np.ndarray | None = None,
    ) -> Solution:
        """The solution of a part of the scene.

        guide: (G, n, m), of the part. corner: row and column of the part's first HR pixel in the scene. mask: (n, m),
        valid pixels of the part, for the solution's sensor.
        """
        guide = self.clean(guide, mask)
        rows, columns = ((start, start + size) for start, size in zip(corner, guide.shape[1:], strict=True))
        coefficients = self._regressed(self.fit, guide, (rows, columns), mask)
        coefficients += self._fields(rows, columns)
        return self.solved(coefficients, guide, replace(self.sensor, mask=mask))

    def solution_at(self, guide: np.ndarray, places: np.ndarray, mask: np.ndarray | None = None) -> Solution:
        """The solution at any places of the scene, of which the guide shows the colours.

        guide: (G, n, m). places: (2, n, m), rows and columns of the scene's HR pixels, of any value. mask: (n, m),
        valid pixels of the guide; None: all.
        """
        guide, place = self.clean(guide, mask), place_of(places, self.hr_size)
        coefficients = _apply(self.fit, self.functions, guide, place, mask)
        self._fields.add_at(places, coefficients)
        return self.solved(coefficients, guide, replace(self.sensor, mask=mask))

    def variances(self, guide: np.ndarray, places: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Posterior variance (K, n, m), float32, of the regression's coefficients, arguments as for `solution_at`."""
        guide, place = self.clean(guide, mask), place_of(places, self.hr_size)
        found = np.empty((len(self.fit.weights), guide[0].size), np.float32)
        for part, values in _strips(self.functions, guide, place, mask, slice(0, guide.shape[1])):
            found[:, part] = self.fit.variance(values.astype(np.float64))[:, : part.stop - part.start]
        return found.reshape(-1, *guide.shape[1:])

    def clean(self, guide: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """A part of the guide (G, n, m) as the regression takes it: without most of its noise, if that does harm.

        mask: (n, m), its valid pixels; None: all.
        """
        return guide if self.guide_noise is None else self.guide_noise.cleaned(guide, mask)

    def solved(self, coefficients: np.ndarray, guide: np.ndarray, sensor: KnownSensor) -> Solution:
        """The solution with these coefficients (K, n, m), which are moved to agree with the clean guide (G, n, m)."""
        move(coefficients, guide, self.response, self.offset, self.gain)
        facts = self.response, self.offset, self.mismatch, self.positive
        return Solution(self.subspace, coefficients, guide, sensor, *facts)

    def left(self, window: Window, rows: Span, columns: Span) -> np.ndarray:
        """Residuals (K, n, m) of the regression at the LR pixels of a window; 0 at invalid pixels."""
        spans = hr_spans(rows, columns, self.scale)
        sampler = self.sensor.footprint.sampler(self.scale, window.guide.shape[1:])

        def seen(fit: Fit) -> np.ndarray:
            low = sampler(self._regressed(fit, window.guide, spans, window.mask))
            return low.reshape(len(low), -1)

        bands = window.lr.reshape(len(window.lr), -1).astype(np.float64)
        if self.clipping is not None:
            bands = self.clipping.unbiased(bands, seen(self.clipping.fit))
        residuals = (self.subspace.coefficients(bands) - seen(self.fit)).reshape(-1, *window.lr.shape[1:])
        return residuals if window.mask is None else residuals * whole_lr_pixels(window.mask, self.scale)

    @property
    def reach_lr_px(self) -> int:
        """LR pixels around a part that its solution must see."""
        return REACH_LR_PX + self.cleaned_lr_px

    @property
    def remarks(self) -> list[str]:
        """Lines for the user on what was done to the guide."""
        return [] if self.guide_noise is None else [self.guide_noise.remark]

    @property
    def cleaned_lr_px(self) -> int:
        """LR pixels around a part of the guide that `clean` reads."""
        return 0 if self.guide_noise is None else self.guide_noise.reach_lr_px(self.scale)

    @property
    def hr_size(self) -> tuple[int, int]:
        """Rows and columns of the HR image."""
        return self.size[0] * self.scale, self.size[1] * self.scale

    def _regressed(self, fit: Fit, guide: np.ndarray, spans: tuple[Span, Span], mask: np.ndarray | None) -> np.ndarray:
        return _apply(fit, self.functions, guide, places(*spans, self.hr_size), mask)


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
) -> Solution:
    """Subspace coefficients of the HR image, from the pair alone.

    lr: (B, h, w), float, in [0, 1]. guide: (G, scale h, scale w), float. sensor: known values; the others are
    estimated. waves: number of bumps in a scene of up to 64 x 64 LR pixels (`hsisr.models.prior.features`).
    Raises HsisrError for images that do not fit, are empty or hold NaN.
    """
    check_pair("prior", lr, guide, scale)
    known = sensor or Sensor()
    if known.footprint is None:
        known = replace(known, footprint=estimate_footprint(lr.astype(np.float64), guide, scale, known.mask))
    images = HeldImages(lr, guide, scale, known.mask)
    if not is_one_block(*images.size):
        return estimate(images, scale, known, waves).solution(guide, mask=known.mask)
    kept: list[np.ndarray] = []
    assert known.footprint is not None
    clean, noise = _without_noise(images, scale, known.footprint)
    found = _learnt(clean, scale, noise, known, waves, kept)
    shown = clean.window((0, images.size[0]), (0, images.size[1])).guide
    return found.solved(np.concatenate(kept, axis=1), shown, replace(found.sensor, mask=known.mask))


def estimate(images: Images, scale: int, sensor: Sensor, waves: int = WAVES) -> Estimate:
    """Learn an `Estimate` from a scene that is read by windows; values as for `solve`.

    sensor: its footprint must be known; other unknown values are estimated. Its mask is not read: the images have one.
    With the size of the scene, only the memory for the LR pixels' residuals grows.
    """
    assert sensor.footprint is not None
    clean, noise = _without_noise(images, scale, sensor.footprint)
    return _learnt(clean, scale, noise, sensor, waves)


def _without_noise(images: Images, scale: int, footprint: Footprint) -> tuple[Images, GuideNoise | None]:
    """Images whose guide has lost most of its noise, and this noise; the same images and None if it does no harm.

    A small scene is cleaned at once.
    """

    def most() -> np.ndarray:
        part = chosen_blocks(images, scale, footprint)
        valid = part.valid.ravel()
        guide = part.sampler(part.guide.astype(np.float64)).reshape(len(part.guide), -1)
        return most_noise(part.lr.reshape(len(part.lr), -1)[:, valid], guide[:, valid], footprint)

    noise = learn_noise(images, judging_windows(images, scale), most)
    if noise is None:
        return images, None
    clean = CleanImages(images, scale, noise)
    return clean.held() if is_one_block(*images.size) else clean, noise


def _learnt(
    images: Images,
    scale: int,
    guide_noise: GuideNoise | None,
    sensor: Sensor,
    waves: int,
    kept: list[np.ndarray] | None = None,
) -> Estimate:
    """The estimate from images with a clean guide. guide_noise: what was taken out of it.

    kept: a list that gets a small scene's coefficients, by strips, before they are moved to agree with the guide.
    """
    assert sensor.footprint is not None
    part = chosen_blocks(images, scale, sensor.footprint)
    course = Course(images, Costs(images.size, len(part.lr), len(part.guide), scale, waves))
    known = estimate_sensor(part.lr, part.guide, scale, replace(sensor, mask=part.mask), part.sampler, part.valid)
    seen_windows, whole = LearningWindows(images, scale, sensor.footprint), is_one_block(*images.size)
    candidates = None if whole else seen_windows.draw(CANDIDATES_PX)
    bumps = bump_count(waves, images.size[0] * images.size[1])
    features = GuideFeatures(part.guide, bumps, mask=part.mask, place=part.place, candidates=candidates)
    bands = part.lr.reshape(len(part.lr), -1)
    left, strongest = _choose_kernel(features, part.sampler, bands, np.flatnonzero(part.valid))
    if left[0] - known.noise_sigma**2 > _UNEXPLAINED * strongest:
        features.functions.without_slopes()
    # what is left beyond the noise is taken for smooth, as long as its correlation is not measured
    beyond = np.log(np.maximum(left, np.finfo(float).tiny)).mean() - 2 * np.log(max(known.noise_sigma, 1e-12))
    course.expects(1 + _is_clipped(part, known.noise_sigma) + (_REFITS if beyond > np.log1p(1 / _WHITE) else 0))
    windows = _Windows(seen_windows, features, course)
    fields = SmoothFields(seen_windows[0].sampler, scale)
    subspace, fit, clipping, residuals = _regress(part, windows, known.noise_sigma, fields, scale)
    chosen = [(found.length_lr_px, found.ratio) for found in fields.correlations(np.concatenate(residuals, axis=1))]
    moments, views = Moments(len(chosen), len(part.guide)), []
    for left, number in zip(residuals, windows.images.few(), strict=True):
        window = windows.images[number]
        low = np.zeros(left.shape)
        for rows, coefficients in _by_strips(window, features.functions, fit, chosen, left, scale):
            moments.add(coefficients, window.guide[:, rows])
            low += replace(window.sampler, rows=window.sampler.rows[:, rows])(coefficients)
            if kept is not None:
                kept.append(coefficients)
        course.applied_to(window.valid.size)
        bands = window.bands if clipping is None else windows.unbiased(window, windows.low(window), clipping)
        shown = low, bands, window.sampler(window.guide)
        views.append([image.reshape(len(image), -1)[:, window.valid] for image in shown])
    seen, spectra, wanted = (np.concatenate(parts, axis=1) for parts in zip(*views, strict=True))
    floor = 1e-6 * float((part.guide**2).mean())
    response, offset, mismatch = _response(subspace, seen, spectra, wanted, floor, known)
    unmade = left_by_response(wanted - response @ seen - offset, len(chosen), mismatch)
    gain = guide_gain(moments.spread(), moments.beyond(response, offset), response, unmade)
    found = Estimate(
        images.size,
        scale,
        guide_noise,
        replace(known, mask=None),
        features.functions,
        subspace,
        fit,
        clipping,
        chosen,
        residuals[0].astype(np.float32),
        response,
        offset,
        mismatch,
        gain,
        bool(part.lr.min() >= 0),
    )
    return found if whole else _everywhere(found, images, course)


def _by_strips(
    window: LearningWindow,
    functions: Functions,
    fit: Fit,
    choices: list[tuple[float, float]],
    residuals: np.ndarray,
    scale: int,
) -> Iterator[tuple[slice, np.ndarray]]:
    """For some HR rows of a window at a time: the rows and their coefficients.

    The coefficients are those of regression and fields together. choices: correlation length and ratio of each
    component's residuals (K, h, w).
    """
    by_length = {length: Correlation.seen_by(window.sampler, scale, length, 1.0) for length in dict(choices)}
    fields = [
        Field.of(replace(by_length[length], ratio=ratio), image)
        for (length, ratio), image in zip(choices, residuals, strict=True)
    ]
    for rows in window.strips():
        coefficients = _apply(fit, functions, window.guide, window.place, window.mask, rows)
        for smooth, image in zip(fields, coefficients, strict=True):
            image += smooth.at(0, rows)
        yield rows, coefficients


def _everywhere(found: Estimate, images: Images, course: Course) -> Estimate:
    """The estimate of a large scene, with residuals at every LR pixel, not only in the blocks."""
    height, width = images.size
    residuals = np.empty((len(found.residuals), height, width), np.float32)
    least, side = np.inf, max(1, _WINDOW_PX // found.scale)
    edges = shown_lr_px(found.sensor.footprint, found.scale)
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
            course.applied_to((rows[1] - rows[0]) * (columns[1] - columns[0]))
    return replace(found, residuals=residuals, positive=least >= 0)


def _choose_kernel(
    features: GuideFeatures, sampler: Sampler, bands: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, float]:
    """Let the evidence of the bands (B, h w), at some of the LR pixels `valid` (indices), choose the kernel.

    Returns the variance (K,) that it leaves of each component, and the whole variance of the first and strongest.
    """
    pixels = np.random.default_rng(0).permutation(valid)[:_CHOOSING_LR_PX]
    bands = bands[:, pixels]
    targets = spectral_subspace(bands, least=_LEAST_COMPONENTS, most=MOST_COMPONENTS).coefficients(bands)

    tried: dict[float, np.ndarray] = {}

    def surprise(low: np.ndarray, whitening: np.ndarray) -> float:
        sums = Sums(len(low), len(targets))
        sums.add(low, targets)
        fit = regress(sums.turned(whitening), least_ratio=_LEAST_RATIO)
        total = float(fit.surprise.sum())
        tried[total] = fit.noise
        return total

    features.choose(sampler, pixels, surprise)
    return tried[min(tried)], float(targets[0].var())


class _Windows:
    """Learning windows with their features as the sensor sees them.

    Features are made again each time; only a single window keeps them. Features are whitened in the sums of products,
    not sample by sample. Fits are for the features before whitening.
    """

    def __init__(self, images: LearningWindows, features: GuideFeatures, course: Course) -> None:
        self.images, self.course = images, course
        self._features, self._whitening = features, features.whitening
        self._only: np.ndarray | None = None

    def low(self, window: LearningWindow) -> np.ndarray:
        """Features (D, n) of a window, as the sensor sees them."""
        if self._only is not None:
            return self._only
        functions, guide = self._features.functions, window.guide.astype(np.float32)
        seen = seen_features(functions, guide, window.place, window.sampler, window.mask)
        if len(self.images) == 1:
            self._only = seen
        return seen

    def unbiased(self, window: LearningWindow, low: np.ndarray, clipping: Clipping | None) -> np.ndarray:
        """The bands (B, n) of a window without the bias of clipping. low: the window's features."""
        return window.bands if clipping is None else clipping.unbiased(window.bands, clipping.fit(low))

    def _each(self) -> Iterator[tuple[LearningWindow, np.ndarray]]:
        """Every window with its features."""
        for number in range(len(self.images)):
            window = self.images[number]
            yield window, self.low(window)
            self.course.learnt_from(window.valid.size)

    def regression(self, clipping: Clipping | None) -> tuple[Subspace, Fit, Fit, float]:
        """The subspace of the bands of all windows, and the regression of its coefficients on the features.

        Also the regression on the channels alone, and how much less surprised than it the first is, per LR pixel.
        """
        sums = Sums(len(self._features), len(self.images[0].bands))
        for window, low in self._each():
            bands, every = self.unbiased(window, low, clipping), window.valid.all()
            sums.add(*((low, bands) if every else (low[:, window.valid], bands[:, window.valid])))
        mean, covariance = sums.target_moments()
        subspace = subspace_of(mean, covariance, sums.count, least=_LEAST_COMPONENTS, most=MOST_COMPONENTS)
        sums = sums.projected(subspace.basis, subspace.mean)
        fit, linear = self._fit(sums), regress(sums.leading(self._features.simpler[0]))
        return subspace, fit, linear, float((linear.surprise - fit.surprise).sum()) / sums.count

    def whitened_regression(
        self, subspace: Subspace, clipping: Clipping | None, fit: Fit, correlation: Correlation, scale: int
    ) -> Fit:
        """The same, if the residuals are a smooth field with this correlation. fit: gives values for invalid pixels."""
        sums, shape = Sums(len(self._features), len(subspace.basis.T)), self.images.shape
        for window, low in self._each():
            targets = subspace.coefficients(self.unbiased(window, low, clipping))
            targets = np.where(window.valid, targets, fit(low))
            here = Correlation.seen_by(window.sampler, scale, correlation.length_lr_px, correlation.ratio)
            constant, low, targets = (
                whiten(images.reshape(-1, *shape), here) for images in (np.ones(shape), low, targets)
            )
            sums.add(low, targets, constant)
        return self._fit(sums)

    def _fit(self, sums: Sums) -> Fit:
        fit = regress(sums.turned(self._whitening), self._features.simpler, _LEAST_RATIO)
        return fit.before(self._whitening)

    def residuals(self, subspace: Subspace, clipping: Clipping | None, *fits: Fit) -> list[list[np.ndarray]]:
        """Residuals (K, h, w) of each fit in some windows; 0 at invalid pixels. A fit may be for the first features."""
        found: list[list[np.ndarray]] = [[] for _ in fits]
        for number in self.images.few():
            window = self.images[number]
            low = self.low(window)
            self.course.judged(window.valid.size)
            targets = subspace.coefficients(self.unbiased(window, low, clipping))
            for fit, images in zip(fits, found, strict=True):
                left = targets - fit(low[: fit.weights.shape[1]])
                images.append(np.where(window.valid, left, 0.0).reshape(-1, *self.images.shape))
        return found


def _regress(
    part: Blocks, windows: _Windows, noise_sigma: float, fields: SmoothFields, scale: int
) -> tuple[Subspace, Fit, Clipping | None, list[np.ndarray]]:
    """The subspace of the bands without the bias of clipping, its regression on the features, the bias, the residuals.

    Generalised least squares: if the residuals are a smooth field, the regression is repeated on whitened data. If not,
    bumps of place and colour would imitate the field, although kriging models it better. Then the weights of the
    guide's detail, which matter most, would be wrong. Invalid pixels get the values of the fit before.

    The bumps of the first fit may hide a field. So if the evidence for a linear function of the guide and a field is
    greater than that for bumps and noise, the field is measured in what the linear function leaves.
    """
    clipping, clipped = None, _is_clipped(part, noise_sigma)
    subspace, fit, linear, by_bumps = windows.regression(None)
    if clipped:
        clipping = Clipping(subspace, fit, noise_sigma)
        subspace, fit, linear, by_bumps = windows.regression(clipping)
    left, beyond = windows.residuals(subspace, clipping, fit, linear)
    if fields.gain(np.concatenate(beyond, axis=1)) < by_bumps:
        beyond = left
    for refits in range(_REFITS):
        correlation = fields.shared_correlation(np.concatenate(beyond, axis=1))
        windows.course.expects(1 + clipped + (refits if correlation.ratio > _WHITE else _REFITS))
        if correlation.ratio > _WHITE:
            break
        fit = windows.whitened_regression(subspace, clipping, fit, correlation, scale)
        [left] = windows.residuals(subspace, clipping, fit)
        beyond = left
    return subspace, fit, clipping, left


def _is_clipped(part: Blocks, noise_sigma: float) -> bool:
    """Whether noise was cut off, and its bias can be told."""
    return is_clipped(part.lr) and noise_sigma > 0


def _apply(
    fit: Fit,
    functions: Functions,
    guide: np.ndarray,
    place: np.ndarray,
    mask: np.ndarray | None,
    rows: slice = slice(None),
) -> np.ndarray:
    """The regression at the pixels of a guide, or of some rows: (K, n, W) float32.

    Pixels are done in strips of equal size, which stay in the cache. The result is a sum of hundreds of features that
    cancel each other. It is summed in float64, so it does not depend on the other pixels of the call.
    """
    height, width = guide.shape[1:]
    rows = slice(*rows.indices(height))
    shape = rows.stop - rows.start, width
    coefficients = np.empty((len(fit.weights), shape[0] * width), np.float32)
    exact = np.empty((len(functions), _STRIP_PX))
    for part, values in _strips(functions, guide, place, mask, rows):
        exact[...] = values
        coefficients[:, part] = fit(exact)[:, : part.stop - part.start]
    return coefficients.reshape(-1, *shape)


def _strips(
    functions: Functions, guide: np.ndarray, place: np.ndarray, mask: np.ndarray | None, rows: slice
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some pixels of a guide (G, n, m) at a time, and their features (D, _STRIP_PX); the last ones may be unused.

    mask: (n, m), valid pixels, or None. rows: whose pixels are meant; the first of them is the first pixel.
    """
    height, width = guide.shape[1:]
    shown, here, sloping = (np.zeros((n, 1, _STRIP_PX), np.float32) for n in (len(guide), 2, functions.sloping))
    values = np.empty((len(functions), _STRIP_PX), np.float32)
    step = max(1, _SLOPED_PX // width)
    for top in range(rows.start, rows.stop, step):
        bottom = min(top + step, rows.stop)
        around = slice(max(0, top - 1), min(bottom + 1, height))  # slopes read the next rows
        valid = None if mask is None else mask[around]
        slopes = functions.slopes(guide[:, around], place[:, around], valid)
        slopes = slopes[:, top - around.start : bottom - around.start]
        begin, pixels = (top - rows.start) * width, (bottom - top) * width
        images = [part.reshape(len(part), pixels) for part in (guide[:, top:bottom], place[:, top:bottom], slopes)]
        for first in range(0, pixels, _STRIP_PX):
            last = min(first + _STRIP_PX, pixels)
            for buffer, image in zip((shown, here, sloping), images, strict=True):
                buffer[:, 0, : last - first] = image[:, first:last]
            yield slice(begin + first, begin + last), functions(shown, here, sloping, values)


def _response(
    subspace: Subspace, seen: np.ndarray, bands: np.ndarray, wanted: np.ndarray, floor: float, sensor: KnownSensor
) -> tuple[np.ndarray, np.ndarray, float]:
    """Response (G, K) and offset (G, 1) on the subspace, and the variance that they leave, at least `floor`.

    For a known response, this variance is the greater of two values. One is the response to the spectra outside the
    subspace. The other is the disagreement, beyond noise, between the LR image (B, n) and the guide (G, n) as the
    sensor sees it: a known response may be inexact.
    An unknown response is fitted to `seen` (K, n), the sensor's view of coefficients. They are free of noise, unlike
    those of the LR image.
    """
    if sensor.offset is None:
        on_subspace = sensor.response @ subspace.basis
        outside = sensor.response - on_subspace @ subspace.basis.T
        left = _beyond_noise(outside, bands - subspace.mean, 0.0, sensor.noise_sigma)
        disagreement = _beyond_noise(sensor.response, bands, wanted, sensor.noise_sigma)
        return on_subspace, sensor.response @ subspace.mean, max(left, disagreement, floor)
    fit = regress_arrays(seen, wanted)
    return fit.weights, fit.offset, float(fit.noise.mean())


def _beyond_noise(response: np.ndarray, bands: np.ndarray, expected: np.ndarray | float, noise_sigma: float) -> float:
    """Mean square of response @ bands - expected, without the part of the bands' noise."""
    noise = noise_sigma**2 * (response**2).sum() / len(response)
    return float(((response @ bands - expected) ** 2).mean() - noise)
