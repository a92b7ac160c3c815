"""Gram-Schmidt adaptive (GSA), the component substitution of pansharpening, for a guide of one or more channels.

Source: Aiazzi, Baronti, Selva, "Improving component substitution pansharpening through multivariate regression of
MS+Pan data", IEEE TGRS 45(10), 2007. With one guide channel this is the paper's method.
"""

import numpy as np

from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import Sensor
from hsisr.models.classical.checks import at_lr, check_pair
from hsisr.models.classical.regression import approximate, coefficients, shared_directions


def gsa(lr: np.ndarray, guide: np.ndarray, *, scale: int, sensor: Sensor | None = None) -> np.ndarray:
    """Add to each band its part of the guide's detail, as learnt from the LR image.

    lr: (bands, h, w), float. guide: (G, scale h, scale w), float. sensor: its footprint brings the guide to the LR
    grid; an unknown footprint is measured (`hsisr.degrade.estimate_footprint`).
    Returns (bands, scale h, scale w) in the type of lr.

    1. The component of guide channel c is the regression of its LR image on all bands (eq. 7 of the paper).
    2. Gains: each band's regression on the components; for one channel cov(band, component) / var(component).
       Some channels depend on each other, or the bands cannot explain them. Then the regression only uses the
       directions among channels that the bands explain (`shared_directions`).
    3. The result is band + gains . (guide - component). Band and components are interpolated to the HR grid first, at
       the footprint's phase.

    Raises HsisrError if the guide is not `scale` times the LR image in size, or an image is empty or holds NaN.

    Example:

        >>> rng = np.random.default_rng(0)
        >>> cube = rng.random((5, 64, 64))
        >>> lr = cube.reshape(5, 16, 4, 16, 4).mean((2, 4))
        >>> models.gsa(lr, cube[:3], scale=4).shape
        (5, 64, 64)
    """
    check_pair("gsa", lr, guide, scale)
    footprint, bands, low, valid = at_lr(lr, guide, scale, sensor)
    components = approximate(low[:, valid], bands[:, valid], at=bands)
    directions = shared_directions(low[:, valid], bands[:, valid])
    gains = coefficients(bands[:, valid], directions.T @ components[:, valid]) @ directions.T
    shift = footprint.shift_px(scale)
    components = interpolate(components.reshape(len(guide), *lr.shape[1:]), scale, shift_px=shift)
    detail, sharp = guide - components, interpolate(lr, scale, shift_px=shift)
    for band, gain in zip(sharp, gains, strict=True):  # one at a time: no further cube in memory
        band += np.tensordot(gain, detail, axes=1)
    return sharp
