"""How far an image that the prior makes, or a network makes of it, may be off: a standard deviation of every sample.

docs/how-good.md tells how well that works. In short: an error is large where the regression is not
sure of itself, where it left much at the LR pixels around, where the guide has added much detail, and where the image
is bright. Images with known errors taught how much each counts. Two things come from the scene itself. What the
regression left of each band in the LR image says how the bands differ. A test one scale down, where the LR image is the
reference, says whether the errors are larger.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from hsisr.degrade.sampling import interpolate, interpolation_at
from hsisr.degrade.sensor import Footprint, Sensor, gaussian_footprint, whole_lr_pixels
from hsisr.models.denoising import noise_level
from hsisr.models.prior import Estimate, estimate
from hsisr.models.prior.kriging import beyond_rounding
from hsisr.models.windows import HeldImages, Images, Span, Window, hr_places, lr_span

#: A normal error is larger than this many standard deviations once in ten times.
SIGMAS_90 = 1.6449
#: Part in the variance of the regression's own, of the mean square that it left around, of the detail's mean square, of
#: the image's square, and of 1, for images in [0, 1]; fitted to ten training scenes of CAVE (`studies/uncertainty.py
#: fit`).
WEIGHTS = (2.05, 0.0436, 0.00465, 9.1e-5, 1.22e-7)
#: Power to which deviations over the scene's level are raised: what is said of one sample or band is less sure than
#: what is said of all of them.
_POWER = 0.75
#: Bands around each, itself among them, whose tests are taken together.
_TOGETHER = 5
#: Factor of the scale down at which it is tested, LR pixels a side of the ground that is used, and of its edge that is
#: left out.
_FACTOR, _TESTED_LR_PX, _EDGE_LR_PX = 2, 128, 4
#: Power with which a test counts at least that finds larger errors than said: a guide that does not fit does more harm,
#: the larger the scale. One that finds smaller errors does not count: it does not see the noise of finer pixels, and
#: detail is easier to find one scale down. Chosen on training scenes of CAVE with good and with spoilt guides.
_IF_LARGER = 1.4
#: Mean of a band over its deviation, up to which errors grow with the values: what is beyond, as of kelvin, is not
#: light. LR pixels, at least, that tell it. The most that the least deviation is of that of the bands.
_MOST_LEVEL, _LEAST_PX, _LEAST_SHARE = 10.0, 64, 0.05
#: Windows along an axis that tell the scene's level, and their side in LR pixels.
_PLACES, _PLACE_LR_PX = 3, 32

#: Makes the image (B, n, m) of a window, whose first HR pixel is at that corner.
Part = Callable[[Window, tuple[int, int]], np.ndarray]


class Light(NamedTuple):
    """What counts of a scene's values: all of them, if they are light and go up to about 1.

    base: (B, 1, 1), the value from which each band counts. least: part of the least variance that `WEIGHTS` end with.
    """

    base: np.ndarray
    least: float


@dataclass(frozen=True, eq=False)
class Errors:
    """What tells the errors of a learnt scene's image.

    strength: (B,), factors for a power of the deviations that follow from `parts`. from_guide: (B,), deviation of the
    image because of the guide's noise. without_guide: (B,), deviation of an image without the guide's detail.
    """

    found: Estimate
    light: Light
    strength: np.ndarray
    from_guide: np.ndarray
    without_guide: np.ndarray

    @property
    def reach_lr_px(self) -> int:
        """LR pixels around a part that it must see."""
        return self.found.reach_lr_px

    def sigma(
        self, window: Window, image: np.ndarray, corner: tuple[int, int], changed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation (B, n, m) of a part's image, and the share (n, m) of its detail that stands out of it.

        image: (B, n, m), the method's own. corner: HR row and column of its first pixel. changed: (n, m), how much the
        guide shows other ground, 0 to 1, where the image has none of its detail; None: nowhere.
        The share is detail / (detail + sigma^2), mean squares within about an LR pixel, meant over the bands: near 0
        the image is little more than an interpolation.
        """
        return self.sigma_at(window.guide, image, hr_places(corner, image.shape[1:]), window.mask, changed)

    def sigma_at(
        self,
        guide: np.ndarray,
        image: np.ndarray,
        places: np.ndarray,
        mask: np.ndarray | None = None,
        changed: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same of pixels at any places of the scene.

        guide: (G, n, m), what the guide shows there. places: (2, n, m), rows and columns of the scene's HR pixels, of
        any value; neighbours in the array are neighbours on the ground. mask: (n, m), valid pixels; None: all.
        """
        detail = local_variance(image, self.found.scale, mask)
        sigma = _variance(self.found, guide, image, detail, places, mask, self.light) ** np.float32(_POWER / 2)
        sigma *= self.strength.astype(np.float32)[:, None, None]
        sigma = np.hypot(sigma, self.from_guide.astype(np.float32)[:, None, None])
        if changed is not None and changed.any():
            apart = self.without_guide.astype(np.float32)[:, None, None] ** 2
            sigma = np.sqrt(sigma**2 + changed.astype(np.float32) * np.maximum(apart - sigma**2, 0))
        share = np.zeros(image.shape[1:], np.float32)
        for plane, deviation in zip(detail, sigma, strict=True):
            share += plane / (plane + deviation**2)
        share /= len(image)
        return sigma, share if changed is None else share * (1 - changed.astype(np.float32))


def learn_errors(found: Estimate, images: Images, part: Part) -> Errors:
    """What tells the errors of a scene's image. found: of the scene. part: what makes its image."""
    bands = len(found.subspace.mean)
    logs, apart, noisy, pixels = np.zeros(bands), np.zeros(bands), np.zeros(bands), 0
    rng, levels, noises, light = np.random.default_rng(0), [], [], light_of(images, found.scale)
    for window, corner in looked_at(images, _PLACE_LR_PX, found.scale):
        valid, image = window.valid, part(window, corner)
        detail = local_variance(image, found.scale, window.mask)
        places = hr_places(corner, valid.shape)
        variance = _variance(found, window.guide, image, detail, places, window.mask, light)[:, valid]
        here = 0.5 * np.log(variance).sum(axis=1, dtype=np.float64)
        levels.append((corner, here / variance.shape[1]))
        logs += here
        apart += (variance + detail[:, valid]).sum(axis=1, dtype=np.float64)
        pixels += variance.shape[1]
        deviation = _guide_deviation(found, images, window, corner)
        noises.append(np.square(deviation[:, valid], dtype=np.float64).mean(axis=1))
        # what is left of the guide's noise is seen on a guide without it, to which as much noise is added
        noise = deviation * rng.standard_normal(window.guide.shape, np.float32)
        noisier = found.clean(window.guide, window.mask) + noise.astype(window.guide.dtype)
        other = part(window._replace(guide=noisier), corner)
        noisy += ((other - image)[:, valid] ** 2).sum(axis=1, dtype=np.float64)
    strength = _strength(found, logs / pixels)
    said = [(corner, np.log(strength) + _POWER * level) for corner, level in levels]
    strength *= _test(found, images, light, said, np.mean(noises, axis=0))
    return Errors(found, light, strength, np.sqrt(noisy / pixels), np.sqrt(apart / pixels))


def light_of(images: Images, scale: int, weights: Sequence[float] = WEIGHTS) -> Light:
    """What counts of the values of an LR image, from the windows that tell its level. weights: as `WEIGHTS`."""
    shown = []
    for window, _ in looked_at(images, _PLACE_LR_PX, scale):
        whole = whole_lr_pixels(window.valid, scale)
        shown.append(window.lr[:, whole if whole.any() else np.ones_like(whole)])
    bands = np.concatenate(shown, axis=1).astype(np.float64)
    mean, spread = (part(axis=1, keepdims=True) for part in (bands.mean, bands.std))
    base = np.sign(mean) * np.maximum(np.abs(mean) - _MOST_LEVEL * spread, 0)
    varies = float((spread**2).mean())
    if bands.shape[1] < _LEAST_PX or varies <= np.finfo(np.float32).eps ** 2 * float((bands**2).mean()):
        base, varies = np.zeros_like(base), float((bands**2).mean()) or np.inf  # they tell their unit, at least
    return Light(base.astype(np.float32)[..., None], min(1.0, _LEAST_SHARE**2 * varies / weights[-1]))


def _guide_deviation(found: Estimate, images: Images, window: Window, corner: tuple[int, int]) -> np.ndarray:
    """Standard deviation (G, n, m) of the noise of a window's guide. corner: HR row and column of its first pixel."""
    if found.guide_noise is not None:
        return found.guide_noise.deviation(window.guide)
    rows, columns = (
        (start // found.scale, start // found.scale + count)
        for start, count in zip(corner, window.lr.shape[1:], strict=True)
    )
    own = noise_level(*images.own_guide(rows, columns))  # a guide that was moved has less noise
    level = np.maximum(noise_level(window.guide, window.valid), own)
    return np.broadcast_to(level[:, None, None], window.guide.shape)


def local_variance(image: np.ndarray, scale: int, valid: np.ndarray | None) -> np.ndarray:
    """Variance (B, n, m), float32, of an image within about an LR pixel around each pixel.

    valid: (n, m), the pixels that count, or None for all.
    """
    from scipy.ndimage import uniform_filter

    size = 2 * (scale // 2) + 1
    weight = np.ones(image.shape[1:]) if valid is None else valid.astype(np.float64)
    count = np.maximum(uniform_filter(weight, size, mode="nearest"), 1 / size**2)
    found = np.empty(image.shape, np.float32)
    for plane, result in zip(image, found, strict=True):
        plane = np.where(weight > 0, plane, 0).astype(np.float64)
        mean = uniform_filter(plane, size, mode="nearest") / count
        result[...] = np.maximum(uniform_filter(plane**2, size, mode="nearest") / count - mean**2, 0)
    return found


def parts(
    found: Estimate,
    guide: np.ndarray,
    image: np.ndarray,
    detail: np.ndarray,
    places: np.ndarray,
    mask: np.ndarray | None = None,
    light: Light | None = None,
) -> Iterator[np.ndarray]:
    """What a variance is a sum of, in the order of `WEIGHTS`: planes (B, n, m), float32.

    detail: (B, n, m), the `local_variance` of the image. The others as for `Errors.sigma_at`.
    """
    # what agrees with the guide has the guide's errors alone
    free = np.eye(len(found.gain)) - found.gain @ found.response
    squared = ((found.subspace.basis @ free) ** 2).astype(np.float32)
    own = found.variances(guide, places, mask)
    yield (squared @ own.reshape(len(own), -1)).reshape(image.shape)
    yield _left_around(found, places)
    yield detail
    yield image**2 if light is None else (image - light.base) ** 2
    yield np.full_like(image, 1 if light is None else light.least)


def _variance(*images: Any) -> np.ndarray:
    """(B, n, m) float32; as `parts`."""
    weighed = (np.float32(weight) * part for weight, part in zip(WEIGHTS, parts(*images), strict=True))
    variance = next(weighed)
    for part in weighed:
        variance += part
    return variance


def _left_around(found: Estimate, places: np.ndarray) -> np.ndarray:
    """Mean square of what the regression left in the 3 x 3 LR pixels around places (2, n, m): (B, n, m) float32."""
    from scipy.ndimage import uniform_filter

    spans = [lr_span(axis, size, found.scale, 2) for axis, size in zip(places, found.size, strict=True)]
    left = found.residuals[:, *(slice(*span) for span in spans)]
    bands = (found.subspace.basis.astype(np.float32) @ left.reshape(len(left), -1)).reshape(-1, *left.shape[1:])
    smooth = uniform_filter(bands**2, (1, 3, 3), mode="nearest")
    within = places - np.array([span[0] * found.scale for span in spans])[:, None, None]
    taps = interpolation_at(smooth.shape[1:], within, found.scale, "bilinear")
    around: np.ndarray = np.maximum([taps @ plane.ravel() for plane in smooth], 0)
    return around.reshape(-1, *places.shape[1:])


def _strength(found: Estimate, logs: np.ndarray) -> np.ndarray:
    """Factors (B,) for deviations to the power of `_POWER`. logs: (B,), mean logarithm of the deviations.

    They bring the deviations closer to the scene's level. They also bring the bands closer to the proportions of what
    the regression left of each band in the LR image, if this is more than the LR image's noise.
    """
    left = _left_unseen(found)
    noise = found.sensor.noise_sigma**2 * (found.subspace.basis**2).sum(axis=1)
    informed = (1 - np.minimum(noise / left, 1)) * beyond_rounding(left)
    beyond_noise = np.maximum(informed * left, np.finfo(float).tiny)
    moved = informed * (0.5 * np.log(beyond_noise) - logs)
    strength: np.ndarray = np.exp((1 - _POWER) * logs.mean() + _POWER * (moved - moved.mean()))
    return strength


def _left_unseen(found: Estimate) -> np.ndarray:
    """Mean square (B,) of what the regression would leave of each band at LR pixels that it has not seen.

    The evidence gives the size of each component. The correlations are those at the LR pixels that it has seen.
    """
    left = found.residuals.reshape(len(found.residuals), -1)
    products = (left @ left.T).astype(np.float64) / max(np.count_nonzero(left.any(axis=0)), 1)
    power = np.maximum(np.diag(products), np.finfo(np.float32).tiny)
    turned = found.subspace.basis * np.sqrt(np.maximum(found.fit.noise / power, 1))
    unseen: np.ndarray = np.maximum(((turned @ products) * turned).sum(axis=1), np.finfo(float).tiny)
    return unseen


def _test(
    found: Estimate,
    images: Images,
    light: Light,
    levels: list[tuple[tuple[int, int], np.ndarray]],
    guide_noise: np.ndarray,
) -> np.ndarray:
    """By how much (B,) deviations are to be larger, as errors one scale down are, of which one in ten may be larger.

    light: as for `Errors`. levels: HR corners of parts of the scene, and the mean logarithms (B,) of the deviations
    there. guide_noise: (G,), variance.

    The LR image, seen once more through a footprint of the sensor's size, is super-resolved beside the guide at LR. The
    errors are carried to this scale: they grow as the detail that an interpolation loses of the guide. It says less,
    the more of an error there is the LR image's noise.
    """
    from scipy.ndimage import uniform_filter1d

    as_said = np.ones(len(found.subspace.mean))
    if min(images.size) < 4 * _EDGE_LR_PX:
        return as_said
    ground = max(
        (_at_lr(found, *place) for place in looked_at(images, _TESTED_LR_PX, found.scale)),
        key=lambda ground: int(ground.valid.sum()),
    )
    low, valid, inside = ground.low, ground.valid, ground.inside
    if not whole_lr_pixels(valid, _FACTOR).any() or not inside.any():
        return as_said
    height, width = valid.shape
    footprint = gaussian_footprint(_FACTOR, sigma_px=_sigma_px(found, _FACTOR))
    lower = footprint.sampler(_FACTOR, valid.shape)(low.astype(np.float64)).astype(np.float32)
    coarse = HeldImages(lower, ground.guide, _FACTOR, None if valid.all() else valid)
    known = estimate(coarse, _FACTOR, Sensor(footprint=footprint))
    window = coarse.window((0, height // _FACTOR), (0, width // _FACTOR))
    image = known.solution(ground.guide).image()
    detail, places = local_variance(image, _FACTOR, window.mask), hr_places((0, 0), valid.shape)
    variance = _variance(known, ground.guide, image, detail, places, window.mask, light)[:, inside]
    logs = 0.5 * np.log(variance).mean(axis=1)
    strength = _strength(known, logs)
    said = strength[:, None] ** 2 * variance**_POWER
    error, noise = (image - low)[:, inside], _noise(found, low[:, inside])
    ratio = np.abs(error) / np.sqrt(said + noise[:, None])
    larger = np.log(np.maximum(np.quantile(ratio, 0.9, axis=1), np.finfo(float).tiny) / SIGMAS_90)
    carried = larger + np.log(strength) + _POWER * logs + _growth(found, ground, guide_noise) - ground.level(levels)
    counted = np.maximum(np.maximum(carried, _IF_LARGER * larger), 0)
    informed = (said / (said + noise[:, None])).mean(axis=1)
    factors: np.ndarray = np.exp(informed * uniform_filter1d(counted, _TOGETHER, mode="nearest"))
    return factors


def _growth(found: Estimate, ground: "_Ground", guide_noise: np.ndarray) -> float:
    """Logarithm of the detail that an interpolation loses of the guide at this scale, over that one scale down."""
    scale, mask = found.scale, ground.mask
    here = _lost(ground.sharp, gaussian_footprint(scale, sigma_px=_sigma_px(found, scale)), scale, mask) - guide_noise
    there = _lost(ground.guide, gaussian_footprint(_FACTOR, sigma_px=_sigma_px(found, _FACTOR)), _FACTOR, ground.inside)
    powers = [np.maximum(power, 0).sum() for power in (here, there)]
    return 0.5 * float(np.log(powers[0] / powers[1])) if min(powers) > 0 else 0.0


def _lost(image: np.ndarray, footprint: Footprint, factor: int, counted: np.ndarray) -> np.ndarray:
    """Mean square (C,) of what is lost of an image (C, n, m) if it is seen through a footprint and then interpolated.

    counted: (n, m), the pixels that count.
    """
    sampler = footprint.sampler(factor, image.shape[1:])
    lost = np.empty(len(image))
    for number in range(len(image)):  # one at a time: a sharp guide may have hundreds of channels
        plane = image[number : number + 1].astype(np.float64)
        seen = interpolate(sampler(plane), factor)
        lost[number] = ((seen - plane)[:, counted] ** 2).mean()
    return lost


def _noise(found: Estimate, bands: np.ndarray) -> np.ndarray:
    """Variance (B,) of the noise of an LR image (B, n), by band: what lies outside the subspace."""
    rest = bands - found.subspace.spectra(found.subspace.coefficients(bands.astype(np.float64)))
    free = 1 - found.subspace.basis.shape[1] / len(bands)
    noise: np.ndarray = (rest**2).mean(axis=1) / max(free, 1 / len(bands))
    return noise


@dataclass(frozen=True, eq=False)
class _Ground:
    """Ground for a test: LR image (B, n, m), the guide as the sensor sees it (G, n, m), and valid pixels (n, m).

    n, m: even. inside: valid pixels away from the edge. sharp, mask: the guide (G, N, M) itself, and its valid pixels.
    corner: of its first HR pixel.
    """

    low: np.ndarray
    guide: np.ndarray
    valid: np.ndarray
    sharp: np.ndarray
    mask: np.ndarray
    corner: tuple[int, int]

    @property
    def inside(self) -> np.ndarray:
        inside = self.valid.copy()
        inside[:_EDGE_LR_PX], inside[-_EDGE_LR_PX:], inside[:, :_EDGE_LR_PX], inside[:, -_EDGE_LR_PX:] = (False,) * 4
        return inside

    def level(self, levels: list[tuple[tuple[int, int], np.ndarray]]) -> np.ndarray:
        """Mean (B,) of the levels of parts that begin on this ground. If there are none, of all parts."""
        pairs = zip(self.corner, self.mask.shape, strict=True)
        spans = [range(start, start + size) for start, size in pairs]
        here = [level for corner, level in levels if all(at in span for at, span in zip(corner, spans, strict=True))]
        mean: np.ndarray = np.mean(here or [level for _, level in levels], axis=0)
        return mean


def _at_lr(found: Estimate, window: Window, corner: tuple[int, int]) -> _Ground:
    """The ground of a window with that HR corner."""
    scale = found.scale
    guide = found.sensor.footprint.sampler(scale, window.guide.shape[1:])(window.guide).astype(np.float32)
    mask = window.valid
    valid = whole_lr_pixels(mask, scale)
    even = tuple(slice(size // _FACTOR * _FACTOR) for size in valid.shape)
    fine = tuple(slice(span.stop * scale) for span in even)
    return _Ground(window.lr[:, *even], guide[:, *even], valid[even], window.guide[:, *fine], mask[fine], corner)


def _sigma_px(found: Estimate, factor: int) -> tuple[float, float]:
    """Standard deviation of the sensor's footprint, rows and columns, in units of 1 / factor LR pixels."""
    rows, columns = (max(0.3, sigma / found.scale) * factor for sigma in found.sensor.footprint.sigma_px())
    return rows, columns


def looked_at(images: Images, side: int, scale: int) -> Iterator[tuple[Window, tuple[int, int]]]:
    """Windows with data, `side` LR pixels wide, and their HR corners. They are spread evenly if such windows have data.

    In a scene without any data, the windows have no mask, because the scene was learnt from its filled holes.
    """
    spread = list(_spread(images.size, side, _PLACES))
    every = _spread(images.size, side, -(-max(images.size) // side))
    for places, blind in ((spread, False), (every, False), (spread, True)):
        windows = (_window(images, place, scale, blind) for place in places)
        chosen = islice(filter(_has_data, windows), _PLACES**2)
        first = next(chosen, None)
        if first is not None:
            yield first
            yield from chosen
            return


def _window(images: Images, place: tuple[Span, Span], scale: int, blind: bool) -> tuple[Window, tuple[int, int]]:
    rows, columns = place
    window = images.window(rows, columns)
    return (window._replace(mask=None) if blind else window), (rows[0] * scale, columns[0] * scale)


def _has_data(found: tuple[Window, tuple[int, int]]) -> bool:
    mask = found[0].mask
    return mask is None or bool(mask.any())


def _spread(size: tuple[int, int], side: int, most: int) -> Iterator[tuple[Span, Span]]:
    """The same of at most so many windows along an axis."""
    axes = []
    for length in size:
        count = 1 if length <= side else most
        starts = {round(start) for start in np.linspace(0, max(0, length - side), count)}
        axes.append([(start, min(length, start + side)) for start in sorted(starts)])
    yield from product(*axes)
