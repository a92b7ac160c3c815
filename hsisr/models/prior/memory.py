"""The memory that the prior needs while it learns a scene, so that a run can say it before it starts."""

from hsisr.models.prior import MOST_COMPONENTS
from hsisr.models.prior.blocks import LEARNT_LR_PX, is_one_block, learnt_lr_px
from hsisr.models.prior.features import WAVES, feature_count

#: Number of copies of the features and of the bands at LR pixels; number of float32 images at HR without the guide's.
#: Measured.
_COPIES, _BANDS_COPIES, _IMAGES = 2.8, 2, 8
#: Copies if a scene is learnt by windows: of the features of one window, or of the bands of all sampled pixels.
_WINDOW_COPIES, _SAMPLE_COPIES = 4.5, 15


def learning_bytes(size: tuple[int, int], bands: int, guide_channels: int, scale: int, waves: int = WAVES) -> int:
    """Bytes; a test checks that they are right within a quarter.

    size: LR rows and columns. bands, guide_channels: of the images. waves: number of bumps in a small scene.
    """
    pixels, features = learnt_lr_px(*size), feature_count(guide_channels, waves, size[0] * size[1])
    if is_one_block(*size):
        low = 8 * pixels * (_COPIES * features + _BANDS_COPIES * bands)
    else:
        low = 8 * max(_WINDOW_COPIES * LEARNT_LR_PX**2 * features, _SAMPLE_COPIES * pixels * bands)
    # the guide and its place, and colour and place in the form that the bumps need
    high = 4 * pixels * scale**2 * (2 * (guide_channels + 2) + _IMAGES)
    residuals = 4 * size[0] * size[1] * min(MOST_COMPONENTS, bands)
    return int(low + high + residuals)
