"""How long the prior works on a scene, and how far it is, so that a run can say how much time is left."""

from dataclasses import dataclass

from hsisr.models.prior.blocks import is_one_block, judged_lr_px, most_learnt_lr_px
from hsisr.models.prior.features import WAVES, feature_count
from hsisr.models.windows import Effort, Images

#: Seconds of a core of 2020, measured (`studies/any_size.py left` compares them with the truth). To start: always, and
#: for each pair of features, most of it to choose the kernel.
_START, _CHOOSING = 0.15, 1.2e-6
#: For each feature, as the sensor sees it: at an HR pixel, and at an edge of an LR pixel.
_SEEN, _SEEN_EDGE = 1.1e-9, 4e-9
#: For an LR pixel to teach the regression: each feature, and each pair of features and bands.
_WHITENED, _LEARNT = 3e-9, 0.024e-9
#: For an HR pixel of the result: each feature, each feature of a component, each component, each band.
_FEATURE, _WEIGHED, _FIELD, _BAND = 1.4e-9, 0.033e-9, 6e-9, 17e-9
#: Components, where there are as many bands.
_COMPONENTS = 16
#: Number of passes over the learning data, as long as it is not known: one, and one more on the residuals.
_PASSES = 2


@dataclass(frozen=True)
class Costs:
    """Seconds of a core of 2020 for the parts of the work on a scene.

    size: LR rows and columns. bands, guide_channels: of the images. waves: number of bumps in a small scene.
    """

    size: tuple[int, int]
    bands: int
    guide_channels: int
    scale: int
    waves: int = WAVES

    @property
    def features(self) -> int:
        """Number of features."""
        return feature_count(self.guide_channels, self.waves, self.size[0] * self.size[1])

    @property
    def start(self) -> float:
        """Until the first pass over the learning data."""
        return _START + _CHOOSING * self.features**2

    def learnt(self, lr_pixels: int) -> float:
        """A regression on LR pixels, beside their features."""
        return lr_pixels * (self.features * _WHITENED + (self.features + self.bands) ** 2 * _LEARNT)

    def seen(self, lr_pixels: int) -> float:
        """The features of LR pixels."""
        return lr_pixels * self.features * (self.scale**2 * _SEEN + self.scale * _SEEN_EDGE)

    def passes(self, count: int) -> float:
        """So many regressions, each with its residuals."""
        pixels = most_learnt_lr_px(*self.size)
        # a single window keeps its features
        seen = self.seen(pixels) if is_one_block(*self.size) else count * self.seen(pixels + judged_lr_px(*self.size))
        return seen + count * self.learnt(pixels)

    def applied(self, lr_pixels: int) -> float:
        """The regression and the fields at the HR pixels of so many LR pixels."""
        components = min(self.bands, _COMPONENTS)
        return lr_pixels * self.scale**2 * (self.features * (_FEATURE + components * _WEIGHED) + components * _FIELD)

    @property
    def effort(self) -> Effort:
        """To learn the scene, and to make its result."""
        pixels = self.size[0] * self.size[1]
        # learning also applies the regression: to the windows that judge it and, if there are more, to all of the scene
        applied = judged_lr_px(*self.size) + (0 if is_one_block(*self.size) else pixels)
        making = self.applied(pixels) + pixels * self.scale**2 * self.bands * _BAND
        return Effort(self.start + self.passes(_PASSES) + self.applied(applied), making)


class Course:
    """The progress of learning; it goes to the images' `tell`."""

    def __init__(self, images: Images, costs: Costs) -> None:
        self._images, self._costs, self._passes = images, costs, _PASSES
        self._keeps = False
        self._expected, self._done = costs.effort.learning, costs.start

    def expects(self, passes: int) -> None:
        """Set the number of passes over the learning data."""
        self._expected += self._costs.passes(passes) - self._costs.passes(self._passes)
        self._passes = passes

    def learnt_from(self, lr_pixels: int) -> None:
        """Count more LR pixels as done in a pass."""
        self._add(self._costs.learnt(lr_pixels) + self._seen(lr_pixels))

    def judged(self, lr_pixels: int) -> None:
        """Count more LR pixels whose residuals are known."""
        self._add(self._seen(lr_pixels))

    def applied_to(self, lr_pixels: int) -> None:
        """Count more LR pixels to which the regression was applied."""
        self._add(self._costs.applied(lr_pixels))

    def _seen(self, lr_pixels: int) -> float:
        """To make features, unless a single window has kept them."""
        kept, self._keeps = self._keeps, is_one_block(*self._costs.size)
        return 0.0 if kept else self._costs.seen(lr_pixels)

    def _add(self, seconds: float) -> None:
        self._done += seconds
        self._images.tell(min(self._done, self._expected), self._expected)
