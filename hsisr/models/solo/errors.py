"""How far an image that `solo` makes may be off: a standard deviation of every sample.

An error is large where the network has added much detail, where the image changes much, and where it is bright. Images
with known errors taught how much each counts. A test one scale down, where the LR image is the reference, says whether
the errors of this scene are larger or smaller. docs/how-good.md tells how well that works.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hsisr.degrade import degrade
from hsisr.degrade.sensor import whole_lr_pixels
from hsisr.models.classical.bicubic import bicubic
from hsisr.models.prior.errors import SIGMAS_90, Light, Part, light_of, local_variance, looked_at
from hsisr.models.windows import Images, Window

#: Part in the variance of the mean square of the detail that the network has added, of the image's own variance, both
#: within about an LR pixel, of the image's square, and of 1, for images in [0, 1]; fitted to ten training scenes of
#: CAVE (`studies/uncertainty.py fit_solo`).
WEIGHTS = (4.38, 0.857, 4.14e-5, 1.20e-6)
#: Power to which deviations over the scene's level are raised: what is said of one sample or band is less sure than
#: what is said of all of them.
_POWER = 0.75
#: How much the test one scale down counts: all of what it finds would be 1. Chosen on the same scenes.
_BELIEVED = 0.5
#: LR pixels a side of the windows that show the scene's level, of the window that is tested, and of the least image
#: that is tested, at the lower scale.
_PLACE_LR_PX, _TESTED_LR_PX, _LEAST_PX = 32, 128, 4
#: LR pixels around a part that bicubic interpolation and local variances reach.
_REACH_LR_PX = 3


@dataclass(frozen=True, eq=False)
class Errors:
    """What tells the errors of a learnt scene's image.

    scale: of the network. light: what counts of the scene's values. noise: standard deviation of the LR image's.
    level: mean logarithm of the deviations that follow from `parts`, over the scene. larger: factor for deviations,
    which the test one scale down has found.
    """

    scale: int
    light: Light
    noise: float
    level: float
    larger: float

    @property
    def reach_lr_px(self) -> int:
        """LR pixels around a part that it must see."""
        return _REACH_LR_PX

    def sigma(
        self, window: Window, image: np.ndarray, corner: tuple[int, int], changed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation (B, n, m) of a part's image, and the share (n, m) of its detail that stands out of it.

        image: (B, n, m), the network's own. corner, changed: not read; the errors are the same everywhere, and there is
        no guide that could show other ground.
        The share is detail / (detail + sigma^2), mean squares within about an LR pixel, meant over the bands: near 0
        the image is little more than an interpolation.
        """
        sigma, share = np.empty(image.shape, np.float32), np.zeros(image.shape[1:], np.float32)
        for number, (variance, detail) in enumerate(_variances(self.scale, window, image, self.light)):
            deviation = np.hypot(np.float32(self.larger) * _softened(variance, self.level), np.float32(self.noise))
            sigma[number] = deviation
            share += detail / (detail + deviation**2)
        return sigma, share / len(image)


def learn_errors(images: Images, scale: int, noise: float, part: Part, restore: Callable[..., np.ndarray]) -> Errors:
    """What tells the errors of a scene's image.

    noise: standard deviation of the LR image's. part: makes the image of a window. restore: makes an image
    (B, scale n, scale m) of one (B, n, m) that it has not seen before.
    """
    light, (varied, every) = light_of(images, scale, WEIGHTS), np.zeros((2, 2))
    for window, corner in looked_at(images, _PLACE_LR_PX, scale):
        variances = _variances(scale, window, part(window, corner), light)
        for (variance, _), plane in zip(variances, window.lr, strict=True):
            logs = 0.5 * np.log(variance.astype(np.float64))
            for found, counted in ((varied, window.valid & _varies(plane, scale)), (every, window.valid)):
                found += logs[counted].sum(), counted.sum()
    total, samples = varied if varied[1] else every
    return Errors(scale, light, noise, total / samples, _test(images, scale, light, noise, restore) ** _BELIEVED)


def _varies(plane: np.ndarray, scale: int) -> np.ndarray:
    """Pixels (scale n, scale m) of a band (n, m) around whose LR pixel there is more than one number.

    An empty margin, a saturated area and a dead band have no errors, and say nothing of those of other ground.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    varies = maximum_filter(plane, 3) > minimum_filter(plane, 3)
    return varies.repeat(scale, axis=0).repeat(scale, axis=1)


def parts(
    scale: int, window: Window, image: np.ndarray, light: Light | None = None
) -> Iterator[tuple[np.ndarray, ...]]:
    """Of each band, what a variance is a sum of, in the order of `WEIGHTS`: planes (n, m), float32.

    image: (B, n, m), of the window. light: what counts of its values; None: all.
    """
    bases, least = (np.zeros(len(image)), 1.0) if light is None else light
    for low, plane, base in zip(window.lr, image, bases, strict=True):  # one at a time: there may be hundreds
        added = plane - bicubic(low[None], scale=scale)[0]
        changes = local_variance(np.stack([added, plane]), scale, window.mask)
        yield changes[0], changes[1], (plane - base) ** 2, np.full_like(plane, least)


def _variances(scale: int, window: Window, image: np.ndarray, light: Light) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each band, the variance (n, m) as `parts`, and the image's own within about an LR pixel."""
    for planes in parts(scale, window, image, light):
        variance = np.zeros_like(planes[0])
        for weight, plane in zip(WEIGHTS, planes, strict=True):
            variance += np.float32(weight) * plane
        yield variance, planes[1]


def _softened(variance: np.ndarray, level: float) -> np.ndarray:
    """Standard deviations, closer to their level in the scene. level: mean logarithm of them."""
    sigma: np.ndarray = variance ** np.float32(_POWER / 2) * np.float32(np.exp((1 - _POWER) * level))
    return sigma


def _test(images: Images, scale: int, light: Light, noise: float, restore: Callable[..., np.ndarray]) -> float:
    """By how much deviations one scale down are to be larger, so that one error in ten is larger than an interval.

    The LR image, reduced once more by Wald's protocol, is restored. The LR image's own noise is no error.
    """
    windows = (window for window, _ in looked_at(images, _TESTED_LR_PX, scale))
    lr, _, mask = max(windows, key=lambda window: window.lr[0].size if window.mask is None else window.mask.sum())
    height, width = (size // scale * scale for size in lr.shape[1:])
    if min(height, width) < _LEAST_PX * scale:
        return 1.0
    valid = np.ones(lr.shape[1:], bool) if mask is None else whole_lr_pixels(mask, scale)
    lr, valid = lr[:, :height, :width], valid[:height, :width]
    lower = degrade(lr, "wald", scale, noise=0).astype(np.float32)
    counted = np.stack([valid & _varies(plane, scale) for plane in lower])
    if not counted.any():
        return 1.0
    image = restore(lower)
    window = Window(lower, np.empty((0, height, width), np.float32), valid)
    variances = zip(_variances(scale, window, image, light), counted, strict=True)
    variance = np.concatenate([found[here] for (found, _), here in variances])
    sigma = np.hypot(_softened(variance, 0.5 * float(np.log(variance).mean())), np.float32(noise))
    ratio = float(np.quantile(np.abs(image - lr)[counted] / sigma, 0.9) / SIGMAS_90)
    return max(ratio, float(np.finfo(np.float32).tiny))
