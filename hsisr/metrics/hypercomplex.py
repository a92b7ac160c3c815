"""Q2n: the universal quality index of all bands at once; each pixel is one hypercomplex number.

Garzelli and Nencini, "Hypercomplex quality assessment of multi/hyperspectral images", IEEE GRSL 2009. The pansharpening
toolboxes also round to integers and standardise by the reference; this function does neither.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from hsisr.metrics.inputs import Pair, per_image
from hsisr.metrics.structure import quality_index
from hsisr.metrics.tiles import ROUNDING, centred_tiles


def q2n(reference: Any, estimate: Any, *, block: int = 32, mask: Any = None, border: int = 0) -> Any:
    """Q2n of `reference` and `estimate`, images (B, H, W), 0 to 1, mean over tiles of `block` x `block` pixels; of a
    batch, an array (N,).

    Q = 2 |cov| / (var_x + var_y) * 2 |m_x| |m_y| / (|m_x|^2 + |m_y|^2), with cov = E[x y*] - m_x m_y*. The algebra has
    as many unit numbers as the next power of two of B, in the order of the bands; missing bands are 0. A factor that
    is 0 / 0 counts 1. For B = 1, a tile's value is the magnitude of its UIQI.
    mask: (H, W); tiles with a masked pixel do not count. border: pixels cut off first. Raises HsisrError for
    different shapes, NaN or infinity, and images without a whole tile.

    Example:

        >>> reference = np.random.default_rng(0).random((4, 32, 32))
        >>> round(float(metrics.q2n(reference, reference)), 6)
        1.0
    """
    return per_image(lambda pair: _q2n(pair, block), reference, estimate, mask, border)


@lru_cache(maxsize=4)
def unit_product_signs(size: int) -> np.ndarray:
    """(size, size) signs s of the products of unit numbers, e_i e_j = s[i, j] e_(i xor j); size a power of two.

    Cayley and Dickson's doubling (a, b)(c, d) = (ac - d*b, da + bc*): complex numbers, quaternions with e1 e2 = e3,
    octonions, and so on.
    """
    if size == 1:
        return np.ones((1, 1))
    half = unit_product_signs(size // 2)
    conjugate = _conjugate_signs(size // 2)
    return np.block([[half, half.T], [half * conjugate, -half.T * conjugate]])


def _q2n(pair: Pair, block: int) -> float:
    return float(np.mean([_tile_quality(*tile) for tile in centred_tiles(pair, block, "Q2n")]))


def _tile_quality(x: np.ndarray, y: np.ndarray, mean_x: np.ndarray, mean_y: np.ndarray) -> float:
    pixels = x.shape[1]
    covariance = np.linalg.norm(_product_with_conjugate(x @ y.T / pixels))
    variances = (np.vdot(x, x) + np.vdot(y, y)) / pixels
    norm_x, norm_y = np.linalg.norm(mean_x), np.linalg.norm(mean_y)
    product, squares = np.asarray(2 * norm_x * norm_y), np.asarray(norm_x**2 + norm_y**2)
    return float(quality_index(product, squares, np.asarray(2 * covariance), np.asarray(variances), ROUNDING))


def _product_with_conjugate(products: np.ndarray) -> np.ndarray:
    """Components of x y* from the table of products x_i y_j (B, B)."""
    bands = len(products)
    size = 1 << (bands - 1).bit_length()
    signed = products * (unit_product_signs(size) * _conjugate_signs(size))[:bands, :bands]
    component = np.arange(bands)[:, None] ^ np.arange(bands)
    return np.bincount(component.ravel(), weights=signed.ravel(), minlength=size)


def _conjugate_signs(size: int) -> np.ndarray:
    """(size,) 1 for the real unit, -1 for the others."""
    signs = -np.ones(size)
    signs[0] = 1
    return signs
