"""Scores without a reference: D_lambda, D_s, QNR, and consistency with the images of the sensors.

The caller degrades the estimate by the sensor's PSF or spectral response (see `hsisr.degrade`); this module knows
nothing about sensors. Images are (B, H, W). For batches (N, B, H, W), every function returns an array (N,).
Low-resolution images have their own size. All functions raise HsisrError for shapes that do not fit, for NaN or
infinity, and for images smaller than a block: choose `block` for the smallest image.
"""

from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.metrics.hypercomplex import q2n
from hsisr.metrics.inputs import Pair, as_array, check_positive, per_image
from hsisr.metrics.pixel import rmse
from hsisr.metrics.structure import quality_index, uiqi_per_band
from hsisr.metrics.tiles import ROUNDING, centred_tiles


def d_lambda(lr: Any, degraded: Any, *, block: int = 32, mask: Any = None) -> Any:
    """Spectral distortion after Khan et al. (2009): 1 - Q2n of the LR image and the estimate degraded to it, 0 to 1.

    lr: (B, h, w). degraded: the estimate after the sensor's PSF and sampling, (B, h, w). block: side of a tile in LR
    pixels. mask: (h, w) True where an LR pixel is valid. If rounding lifts Q2n above 1, the result is 0.

    Example:

        >>> lr = np.random.default_rng(0).random((4, 32, 32))
        >>> round(float(metrics.d_lambda(lr, lr)), 6)
        0.0
    """
    return _number(np.maximum(1 - np.asarray(q2n(lr, degraded, block=block, mask=mask)), 0))


def d_lambda_alparone(
    estimate: Any, lr: Any, *, p: float = 1.0, block: int = 32, mask: Any = None, lr_mask: Any = None
) -> Any:
    """Spectral distortion (Alparone et al. 2008): (mean over i != j of |Q(Y_i, Y_j) - Q(L_i, L_j)|^p)^(1/p).

    estimate: Y, (B, H, W). lr: L, (B, h, w). Q: mean UIQI over tiles of block x block pixels, in both images.
    mask: (H, W), lr_mask: (h, w), True where a pixel is valid. Raises HsisrError for a single band.
    """
    p = check_positive("p", p)
    sharp = per_image(lambda pair: _between_bands(pair, block), estimate, estimate, mask)
    coarse = per_image(lambda pair: _between_bands(pair, block), lr, lr, lr_mask)
    _check_bands("estimate", sharp.shape[:-1], "LR image", coarse.shape[:-1])
    bands = sharp.shape[-1]
    if bands < 2:
        raise HsisrError("metrics: D_lambda compares pairs of bands; these images have one band")
    difference = np.abs(sharp - coarse) ** p  # 0 on the diagonal: a band equals itself at both resolutions
    return _number((difference.sum(axis=(-2, -1)) / (bands * (bands - 1))) ** (1 / p))


def d_s(
    estimate: Any,
    guide: Any,
    lr: Any,
    guide_lr: Any,
    *,
    q: float = 1.0,
    block: int = 32,
    mask: Any = None,
    lr_mask: Any = None,
) -> Any:
    """Spatial distortion (Alparone et al. 2008): (mean over bands of |Q(Y_b, P) - Q(L_b, P_lr)|^q)^(1/q).

    estimate: Y, (B, H, W). guide: P, (1, H, W). lr: L, (B, h, w). guide_lr: the guide degraded to the LR grid,
    (1, h, w). Q: mean UIQI over tiles of block x block pixels. mask: (H, W), lr_mask: (h, w), True where valid.
    Raises HsisrError for a guide of several channels: use `consistency_guide`.

    Example:

        >>> cube = np.random.default_rng(0).random((3, 64, 64))
        >>> round(float(metrics.d_s(cube, cube[:1], cube, cube[:1])), 6)
        0.0
    """
    q = check_positive("q", q)
    sharp = uiqi_per_band(estimate, _one_channel(guide, estimate), block=block, stride=block, mask=mask)
    coarse = uiqi_per_band(lr, _one_channel(guide_lr, lr), block=block, stride=block, mask=lr_mask)
    _check_bands("estimate", sharp.shape, "LR image", coarse.shape)
    return _number((np.abs(sharp - coarse) ** q).mean(axis=-1) ** (1 / q))


def qnr(d_lambda: Any, d_s: Any, *, alpha: float = 1.0, beta: float = 1.0) -> Any:
    """Quality with no reference (Alparone et al. 2008): (1 - D_lambda)^alpha (1 - D_s)^beta, 1 is best.

    d_lambda, d_s: distortions of spectra and of space, each 0 or more. alpha, beta: their weights.
    With Khan's D_lambda, this is the HQNR of the literature. A distortion above 1 counts as 1. It arises if bands of
    the estimate vary against each other, or against the guide. Raises HsisrError for a negative distortion or NaN.

    Example:

        >>> metrics.qnr(0.1, 0.2)
        0.7200000000000001
    """
    kept = []
    for name, distortion in (("d_lambda", d_lambda), ("d_s", d_s)):
        values = as_array(name, distortion)
        if not (values >= 0).all():
            raise HsisrError(f"metrics: {name} is {distortion}; a distortion is 0 or more")
        kept.append(1 - np.minimum(values, 1))
    return _number(kept[0] ** alpha * kept[1] ** beta)


def consistency_lr(degraded: Any, lr: Any, *, mask: Any = None, border: int = 0) -> Any:
    """RMSE between the LR image and the estimate, degraded by the sensor's PSF and sampling.

    degraded, lr: (B, h, w). mask: (h, w), border: in LR pixels. 0 is best; in the values' unit.

    Example:

        >>> metrics.consistency_lr(np.full((5, 8, 8), 0.5), np.full((5, 8, 8), 0.25))
        0.25
    """
    return rmse(lr, degraded, mask=mask, border=border)


def consistency_guide(projected: Any, guide: Any, *, mask: Any = None, border: int = 0) -> Any:
    """RMSE between the estimate seen through the guide's spectral response, and the guide.

    projected, guide: (channels, H, W). mask: (H, W), border: in guide pixels. 0 is best; in the values' unit.

    Example:

        >>> metrics.consistency_guide(np.full((3, 8, 8), 0.5), np.full((3, 8, 8), 0.25))
        0.25
    """
    return rmse(guide, projected, mask=mask, border=border)


def _between_bands(pair: Pair, block: int) -> np.ndarray:
    """(B, B) UIQI between the bands of one image, mean over tiles. pair: the image as reference and as estimate."""
    bands = pair.shape[0]
    total, tiles = np.zeros((bands, bands)), 0
    for x, _, mean, _ in centred_tiles(pair, block, "D_lambda"):
        covariance = x @ x.T / x.shape[1]
        variance, square = np.diag(covariance), mean**2
        mean_squares, variances = square[:, None] + square, variance[:, None] + variance
        total += quality_index(2 * np.outer(mean, mean), mean_squares, 2 * covariance, variances, ROUNDING)
        tiles += 1
    return total / tiles


def _one_channel(guide: Any, image: Any) -> np.ndarray:
    """The guide, repeated for every band of the image."""
    guide, image = as_array("guide", guide), as_array("image", image)
    if guide.ndim != image.ndim or guide.shape[-3] != 1:
        raise HsisrError(
            f"metrics: D_s is defined for a guide of one channel, (1, H, W); this one is {guide.shape}; "
            "use consistency_guide for several channels"
        )
    if guide.shape[-2:] != image.shape[-2:]:
        raise HsisrError(f"metrics: the guide is {guide.shape}, the image {image.shape}; rows and columns must agree")
    return np.broadcast_to(guide, image.shape)


def _check_bands(first: str, first_shape: tuple[int, ...], second: str, second_shape: tuple[int, ...]) -> None:
    if first_shape != second_shape:
        raise HsisrError(
            f"metrics: the {first} has {first_shape[-1]} bands, the {second} {second_shape[-1]}; "
            "bands and the number of images must agree"
        )


def _number(values: Any) -> Any:
    """A single value as a Python float; an array as it is."""
    return float(values) if np.ndim(values) == 0 else values
