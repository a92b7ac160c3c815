"""Nearest neighbour: every LR pixel becomes a block, so the image looks like the LR image."""

import numpy as np


def nearest(lr: np.ndarray, guide: np.ndarray | None = None, *, scale: int) -> np.ndarray:
    """Repeat each LR pixel scale x scale times.

    lr: (bands, h, w). guide: not used; every classical method takes one. Returns (bands, scale h, scale w).

    Example:

        >>> models.nearest(np.array([[[1.0, 2.0]]]), scale=2)
        array([[[1., 1., 2., 2.],
                [1., 1., 2., 2.]]])
    """
    return lr.repeat(scale, axis=1).repeat(scale, axis=2)
