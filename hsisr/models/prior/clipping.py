"""Clipping: noise that is cut off at 0 and 1 has a mean that is not 0; a least-squares fit would take it for light."""

import numpy as np

#: An image counts as clipped if at least this share of its samples is at a limit.
_CLIPPED_SHARE = 1e-3


def is_clipped(bands: np.ndarray) -> bool:
    """Whether the noise of an image in [0, 1] was cut off: no value is beyond a limit, and many are at a limit."""
    if bands.min() < 0 or bands.max() > 1:
        return False
    return float(((bands == 0) | (bands == 1)).mean()) > _CLIPPED_SHARE


def clipping_bias(values: np.ndarray, sigma: float) -> np.ndarray:
    """E[clip(x + n, 0, 1)] - x for x = `values` and n normal of standard deviation `sigma`.

    At one limit E[max(x + n, 0)] = x Phi(x / sigma) + sigma phi(x / sigma); the other is its mirror image.
    """
    return _below(values, sigma) - _below(1 - values, sigma)


def _below(values: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.special import ndtr

    z = values / sigma
    return sigma * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) - values * ndtr(-z)
