"""Nearest neighbour: every LR pixel becomes a block, so the image looks like the LR image."""

import numpy as np

from hsisr.degrade.simulate import check_scale


def nearest(lr: np.ndarray, guide: np.ndarray | None = None, *, scale: int) -> np.ndarray:
    """Repeat each LR pixel scale x scale times.

    lr: (bands, h, w). guide: not used; every classical method takes one. Returns (bands, scale h, scale w).
    Raises HsisrError for a scale that is no whole number.

    Example:

        >>> models.nearest(np.array([[[1.0, 2.0]]]), scale=2)
        array([[[1., 1., 2., 2.],
                [1., 1., 2., 2.]]])
    """
    check_scale(scale)
    return lr.repeat(scale, axis=1).repeat(scale, axis=2)
