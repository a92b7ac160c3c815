"""What the prior takes in memory while it learns a scene, so that a run can say it before it starts."""

from hsisr.models.prior.blocks import learnt_lr_px
from hsisr.models.prior.features import MOST_MULTIPLIED, WAVES

#: Components, at most.
_COMPONENTS = 32
#: float32 images of the bumps that are made at a time, and what the sensor's view of them takes.
_MADE = 16


def learning_bytes(size: tuple[int, int], bands: int, guide_channels: int, scale: int, waves: int = WAVES) -> int:
    """Bytes, of which a test holds that they are right within a quarter.

    size: LR rows and columns. bands, guide_channels: of the images. waves: bumps.
    """
    pixels = learnt_lr_px(*size)
    multiplied = min(guide_channels, MOST_MULTIPLIED)
    features = guide_channels + multiplied * (multiplied + 1) // 2 + waves
    low = 8 * pixels * (features + 2 * bands)
    high = 4 * pixels * scale**2
    images = 2 * (guide_channels + 2)  # the guide and its place, and colour and place as the bumps see them
    making = low + high * (images + _MADE + (2 * multiplied if guide_channels > MOST_MULTIPLIED else 0))
    regressing = low + 8 * pixels * features + high * (guide_channels + 2)
    applying = low + high * (guide_channels + 2 + min(_COMPONENTS, bands))
    residuals = 4 * size[0] * size[1] * min(_COMPONENTS, bands)
    return max(making, regressing, applying) + residuals
