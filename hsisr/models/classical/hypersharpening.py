"""Hypersharpening: multiresolution pansharpening, with a synthetic sharp band for each band, made from the guide.

Sources: Selva, Aiazzi, Butera, Chiarantini, Baronti, "Hyper-sharpening: a first approach on SIM-GA data", IEEE JSTARS
8(6), 2015 (the synthetic bands; GLP-HS); Aiazzi, Alparone, Baronti, Garzelli, Selva, "MTF-tailored multiscale fusion
of high-resolution MS and Pan imagery", PE&RS 72(5), 2006 (the pyramid whose filter is the sensor's); Liu,
"Smoothing filter-based intensity modulation", Int. J. Remote Sensing 21(18), 2000 (SFIM).
"""

import warnings
from collections.abc import Iterator

import numpy as np

from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import Sensor
from hsisr.models.classical.checks import at_lr, check_pair
from hsisr.models.classical.regression import coefficients, shared_directions

#: SFIM divides by the blurred sharp band. Ratios stay within these limits, because dark pixels make them arbitrary.
_RATIOS = (0.1, 10.0)
#: Share of an image's power in its negative values up to which they are noise.
_NEGATIVE = 0.01


def glp_hs(lr: np.ndarray, guide: np.ndarray, *, scale: int, sensor: Sensor | None = None) -> np.ndarray:
    """Add to each interpolated band the high frequencies of its synthetic sharp band (generalised Laplacian pyramid).

    lr: (bands, h, w), float. guide: (G, scale h, scale w), float. sensor: its footprint is the pyramid's low-pass
    filter; an unknown footprint is measured. Returns (bands, scale h, scale w) in the type of lr.
    The paper's injection gain, cov(band, sharp band) / var(sharp band) at LR, is 1 here, because the sharp band is the
    band's least-squares fit. Raises HsisrError if guide and LR image do not fit, are empty or hold NaN.

    Example:

        >>> cube = np.random.default_rng(0).random((5, 64, 64))
        >>> lr = degrade.degrade(cube, "wald", scale=4)
        >>> models.glp_hs(lr, cube[:3], scale=4).shape
        (5, 64, 64)
    """
    check_pair("glp-hs", lr, guide, scale)
    result = np.empty((len(lr), *guide.shape[1:]), lr.dtype)
    for image, (band, sharp, blurred) in zip(result, _bands(lr, guide, scale, sensor), strict=True):
        image[...] = band + sharp - blurred
    return result


def sfim_hs(lr: np.ndarray, guide: np.ndarray, *, scale: int, sensor: Sensor | None = None) -> np.ndarray:
    """Multiply each interpolated band by the ratio of its synthetic sharp band to the blurred sharp band.

    lr, guide, scale, sensor: as for `glp_hs`. Returns (bands, scale h, scale w) and raises errors as `glp_hs` does.
    Warns of an LR image that is negative by more than noise: ratios say nothing of it.

    Example:

        >>> cube = np.random.default_rng(0).random((5, 64, 64))
        >>> lr = degrade.degrade(cube, "wald", scale=4)
        >>> models.sfim_hs(lr, cube[:3], scale=4).shape
        (5, 64, 64)
    """
    check_pair("sfim-hs", lr, guide, scale)
    result = np.empty((len(lr), *guide.shape[1:]), lr.dtype)
    for image, (band, sharp, blurred) in zip(result, _bands(lr, guide, scale, sensor), strict=True):
        floor = 1e-3 * np.abs(blurred).mean() + np.finfo(np.float32).tiny
        ratio = np.maximum(sharp, 0) / np.maximum(blurred, floor)
        image[...] = band * np.clip(ratio, *_RATIOS)
    if (np.minimum(lr, 0) ** 2).sum(dtype=float) > _NEGATIVE * (lr**2).sum(dtype=float):
        warnings.warn(
            "sfim-hs: multiplies by ratios, which say nothing of an LR image below 0; take another model, such as "
            "glp-hs or prior",
            stacklevel=2,
        )
    return result


def _bands(
    lr: np.ndarray, guide: np.ndarray, scale: int, sensor: Sensor | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each band at HR, (H, W): the interpolated band, the synthetic sharp band, and that blurred as by the sensor.

    One band at a time, so that memory holds no further cubes.
    """
    footprint, bands, low, valid = at_lr(lr, guide, scale, sensor)
    directions = shared_directions(low[:, valid], bands[:, valid]).T
    low, high = directions @ low, directions @ guide.reshape(len(guide), -1).astype(np.float64)
    gains = coefficients(bands[:, valid], low[:, valid])
    offsets = bands[:, valid].mean(axis=1) - gains @ low[:, valid].mean(axis=1)
    shift = footprint.shift_px(scale)
    for band, gain, offset in zip(bands, gains, offsets, strict=True):
        pair = np.stack([band, gain @ low + offset]).reshape(2, *lr.shape[1:])
        enlarged, blurred = interpolate(pair, scale, shift_px=shift)
        yield enlarged, (gain @ high + offset).reshape(guide.shape[1:]), blurred
