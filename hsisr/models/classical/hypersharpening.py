"""Hypersharpening: multiresolution pansharpening, with a synthetic sharp band for each band, made from the guide.

Sources: Selva, Aiazzi, Butera, Chiarantini, Baronti, "Hyper-sharpening: a first approach on SIM-GA data", IEEE JSTARS
8(6), 2015 (the synthetic bands; GLP-HS); Aiazzi, Alparone, Baronti, Garzelli, Selva, "MTF-tailored multiscale fusion
of high-resolution MS and Pan imagery", PE&RS 72(5), 2006 (the pyramid whose filter is the sensor's); Liu,
"Smoothing filter-based intensity modulation", Int. J. Remote Sensing 21(18), 2000 (SFIM).
"""

import warnings

import numpy as np

from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import Sensor
from hsisr.models.classical.checks import at_lr, check_pair
from hsisr.models.classical.regression import approximate, shared_directions

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
    band, sharp, blurred = _bands("glp-hs", lr, guide, scale, sensor)
    return (band + sharp - blurred).astype(lr.dtype)


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
    band, sharp, blurred = _bands("sfim-hs", lr, guide, scale, sensor)
    if (np.minimum(lr, 0) ** 2).sum(dtype=float) > _NEGATIVE * (lr**2).sum(dtype=float):
        warnings.warn(
            "sfim-hs: multiplies by ratios, which say nothing of an LR image below 0; take another model, such as "
            "glp-hs or prior",
            stacklevel=2,
        )
    floor = 1e-3 * np.abs(blurred).mean(axis=(1, 2), keepdims=True) + np.finfo(np.float32).tiny
    ratio = np.maximum(sharp, 0) / np.maximum(blurred, floor)
    return (band * np.clip(ratio, *_RATIOS)).astype(lr.dtype)


def _bands(
    method: str, lr: np.ndarray, guide: np.ndarray, scale: int, sensor: Sensor | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At HR: interpolated bands, synthetic sharp bands, and sharp bands that were blurred as by the sensor."""
    check_pair(method, lr, guide, scale)
    footprint, bands, low, valid = at_lr(lr, guide, scale, sensor)
    directions = shared_directions(low[:, valid], bands[:, valid]).T
    low, high = directions @ low, directions @ guide.reshape(len(guide), -1).astype(np.float64)
    sharp = approximate(bands[:, valid], low[:, valid], at=high)
    blurred = approximate(bands[:, valid], low[:, valid], at=low).reshape(lr.shape)
    shift = footprint.shift_px(scale)
    enlarged = (interpolate(image, scale, shift_px=shift) for image in (lr.astype(np.float64), blurred))
    band, blurred = enlarged
    return band, sharp.reshape(band.shape), blurred
