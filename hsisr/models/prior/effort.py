"""How long the prior works on a scene, and how far it is, so that a run can say how much time is left."""

from hsisr.models.prior.blocks import most_learnt_lr_px
from hsisr.models.windows import Effort, Images

#: Seconds of a core of 2020, measured: to start (choose the kernel and so on); for each HR pixel, its features as the
#: sensor sees them; for each LR pixel, to learn from it; for each HR pixel of the result.
_START, _SEEN, _LEARNT, _MADE = 0.6, 0.7e-6, 10e-6, 1.1e-6
#: Number of passes over the learning data, as long as it is not known: one, and one more on the residuals.
_PASSES = 2


def effort(size: tuple[int, int], scale: int) -> Effort:
    """The effort for a scene of `size` LR rows and columns."""
    making = _making(size[0] * size[1], scale)
    # learning also applies the regression once to the whole scene
    return Effort(_START + _PASSES * _pass(most_learnt_lr_px(*size), scale) + making, making)


class Course:
    """The progress of learning; it goes to the images' `tell`."""

    def __init__(self, images: Images, scale: int) -> None:
        self._images, self._scale, self._passes = images, scale, _PASSES
        self._expected, self._done = effort(images.size, scale).learning, _START

    def expects(self, passes: int) -> None:
        """Set the number of passes over the learning data."""
        self._expected += (passes - self._passes) * _pass(most_learnt_lr_px(*self._images.size), self._scale)
        self._passes = passes

    def learnt_from(self, lr_pixels: int) -> None:
        """Count more LR pixels as done in a pass."""
        self._add(_pass(lr_pixels, self._scale))

    def applied_to(self, lr_pixels: int) -> None:
        """Count more LR pixels to which the regression was applied."""
        self._add(_making(lr_pixels, self._scale))

    def _add(self, seconds: float) -> None:
        self._done += seconds
        self._images.tell(min(1.0, self._done / self._expected))


def _pass(lr_pixels: int, scale: int) -> float:
    return lr_pixels * (scale**2 * _SEEN + _LEARNT)


def _making(lr_pixels: int, scale: int) -> float:
    return lr_pixels * scale**2 * _MADE
