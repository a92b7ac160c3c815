"""Bicubic interpolation: the floor that every method has to beat."""

import numpy as np

from hsisr.degrade.sampling import interpolate


def bicubic(lr: np.ndarray, guide: np.ndarray | None = None, *, scale: int) -> np.ndarray:
    """Cubic convolution of each band (Keys, IEEE TASSP 1981; a = -0.75, edges clamped).

    lr: (bands, h, w), float. guide: not used; every classical method takes one. scale: HR over LR size.
    Returns (bands, scale h, scale w) in the type of lr; values may overshoot its range. LR pixel i is taken to lie at
    the centre of HR pixels i scale .. i scale + scale - 1. The protocols `wald` and `mulsr-aligned` put it there, and
    so does torch's `interpolate(align_corners=False)`.
    Raises HsisrError for an image that is not float, is empty or holds NaN.

    Example:

        >>> models.bicubic(np.zeros((5, 8, 8)), scale=4).shape
        (5, 32, 32)
    """
    return interpolate(lr, scale, "bicubic")
