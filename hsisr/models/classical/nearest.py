"""Nearest neighbour: every LR pixel becomes a block, so the image looks like the LR image."""

import numpy as np

from hsisr.degrade.simulate import check_scale
from hsisr.models.classical.checks import check_image


def nearest(lr: np.ndarray, guide: np.ndarray | None = None, *, scale: int) -> np.ndarray:
    """Repeat each LR pixel scale x scale times.

    lr: (bands, h, w), float. guide: not used; every classical method takes one. Returns (bands, scale h, scale w).
    Raises HsisrError for an image that is not float, is empty or holds NaN, and for a scale that is no whole number.

    Example:

        >>> models.nearest(np.array([[[1.0, 2.0]]]), scale=2)
        array([[[1., 1., 2., 2.],
                [1., 1., 2., 2.]]])
    """
    check_image("nearest", "LR image", lr)
    check_scale(scale)
    return lr.repeat(scale, axis=1).repeat(scale, axis=2)
