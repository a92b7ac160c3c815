"""Bicubic interpolation with back-projection: no guide, but the result gives the LR image back.

Source: Irani, Peleg, "Improving resolution by image registration", CVGIP: Graphical Models and Image Processing 53(3),
1991.
"""

import numpy as np

from hsisr.degrade.estimation import estimate_footprint
from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import Sensor, gaussian_footprint
from hsisr.degrade.simulate import check_scale
from hsisr.models.classical.checks import check_image, check_pair

_ITERATIONS = 10


def bicubic_ibp(
    lr: np.ndarray, guide: np.ndarray | None = None, *, scale: int, sensor: Sensor | None = None
) -> np.ndarray:
    """Bicubic interpolation at the right phase, then ten times: add the interpolated difference to the LR image.

    lr: (bands, h, w), float. guide: used only to measure the footprint. Without a guide and without `sensor`, the PSF
    is a centred Gaussian with a FWHM of one LR pixel. Returns (bands, scale h, scale w) in the type of lr.
    Raises HsisrError for an image that is not float, is empty or holds NaN, and for a scale that is no whole number.

    Example:

        >>> models.bicubic_ibp(np.full((5, 8, 8), 0.5), scale=2).shape
        (5, 16, 16)
    """
    check_image("bicubic-ibp", "LR image", lr)
    check_scale(scale)
    footprint = None if sensor is None else sensor.footprint
    if footprint is None and guide is not None:
        check_pair("bicubic-ibp", lr, guide, scale)
        footprint = estimate_footprint(lr, guide, scale, None if sensor is None else sensor.mask)
    footprint = footprint or gaussian_footprint(scale)
    shift = footprint.shift_px(scale)
    height, width = scale * lr.shape[1], scale * lr.shape[2]
    sampler = footprint.sampler(scale, (height, width))
    result = np.empty((len(lr), height, width), lr.dtype)
    for band in range(len(lr)):  # one at a time: no further cube in memory
        seen = lr[band : band + 1].astype(np.float64)
        estimate = interpolate(seen, scale, shift_px=shift)
        for _ in range(_ITERATIONS):
            estimate += interpolate(seen - sampler(estimate), scale, shift_px=shift)
        result[band] = estimate[0]
    return result
