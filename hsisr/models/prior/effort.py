"""How long the prior works on a scene, and how far it has come, so that a run can say what is left."""

from hsisr.models.prior.blocks import most_learnt_lr_px
from hsisr.models.windows import Effort, Images

#: Seconds that a core of 2020 takes, measured: to choose the kernel and the like; for an HR pixel whose features the
#: sensor sees, and an LR pixel that is learnt from; for an HR pixel that is made.
_START, _SEEN, _LEARNT, _MADE = 0.6, 0.7e-6, 10e-6, 1.1e-6
#: Passes over what is learnt from, as long as nothing is known: one, and one more on what it left.
_PASSES = 2


def effort(size: tuple[int, int], scale: int) -> Effort:
    """Of a scene of that many LR rows and columns."""
    making = _making(size[0] * size[1], scale)
    # learning applies the regression once to all of the scene
    return Effort(_START + _PASSES * _pass(most_learnt_lr_px(*size), scale) + making, making)


class Course:
    """How far learning has come; the images are told."""

    def __init__(self, images: Images, scale: int) -> None:
        self._images, self._scale, self._passes = images, scale, _PASSES
        self._expected, self._done = effort(images.size, scale).learning, _START

    def expects(self, passes: int) -> None:
        """It will be so many passes over what is learnt from."""
        self._expected += (passes - self._passes) * _pass(most_learnt_lr_px(*self._images.size), self._scale)
        self._passes = passes

    def learnt_from(self, lr_pixels: int) -> None:
        """So many LR pixels more are done in a pass."""
        self._add(_pass(lr_pixels, self._scale))

    def applied_to(self, lr_pixels: int) -> None:
        """The regression is applied to so many LR pixels more."""
        self._add(_making(lr_pixels, self._scale))

    def _add(self, seconds: float) -> None:
        self._done += seconds
        self._images.tell(min(1.0, self._done / self._expected))


def _pass(lr_pixels: int, scale: int) -> float:
    return lr_pixels * (scale**2 * _SEEN + _LEARNT)


def _making(lr_pixels: int, scale: int) -> float:
    return lr_pixels * scale**2 * _MADE
