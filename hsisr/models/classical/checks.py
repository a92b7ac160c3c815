"""Checks of the images of every method that takes a guide, and the way to bring the guide to the LR grid."""

import numpy as np

from hsisr.degrade.estimation import estimate_footprint, valid_lr_pixels
from hsisr.degrade.sensor import Footprint, Sensor
from hsisr.degrade.simulate import check_scale
from hsisr.errors import HsisrError


def check_pair(method: str, lr: np.ndarray, guide: np.ndarray | None, scale: int) -> None:
    """Raise HsisrError unless lr (B, h, w) and guide (G, scale h, scale w) are finite floats that fit together.

    scale: a whole number.
    """
    if guide is None:
        raise HsisrError(f"{method}: needs a guide, a sharp image of the same scene, and there is none")
    size = np.shape(lr)[1:]
    if np.ndim(lr) != 3 or np.ndim(guide) != 3 or np.shape(guide)[1:] != (scale * size[0], scale * size[1]):
        raise HsisrError(
            f"{method}: lr {np.shape(lr)} and guide {np.shape(guide)} do not fit; expected (bands, h, w) and "
            f"(channels, {scale} h, {scale} w)"
        )
    check_image(method, "LR image", lr)
    check_image(method, "guide", guide)
    check_scale(scale)


def check_image(method: str, name: str, image: np.ndarray) -> None:
    """Raise HsisrError unless an image (B, H, W) is an array of finite floats without a mask. name: what it is."""
    if not isinstance(image, np.ndarray) or isinstance(image, np.ma.MaskedArray):
        raise HsisrError(
            f"{method}: the {name} is a {type(image).__name__}; expected a numpy array without a mask: "
            "hsisr.super_resolve takes masked ones"
        )
    if image.ndim != 3 or 0 in image.shape or not np.issubdtype(image.dtype, np.floating):
        found = f"{image.dtype} {image.shape}"
        raise HsisrError(f"{method}: expected a {name} of floats (bands, rows, columns), not {found}")
    if not np.isfinite(image).all():
        raise HsisrError(f"{method}: the {name} holds NaN or infinite values; replace them first")


def at_lr(
    lr: np.ndarray, guide: np.ndarray, scale: int, sensor: Sensor | None
) -> tuple[Footprint, np.ndarray, np.ndarray, np.ndarray]:
    """Footprint, measured if the sensor has none; bands (B, n) and guide (G, n) at the LR grid; valid (n,)."""
    sensor = sensor or Sensor()
    footprint = sensor.footprint or estimate_footprint(lr, guide, scale, sensor.mask)
    low = footprint.sampler(scale, guide.shape[1:])(guide).reshape(len(guide), -1)
    valid = valid_lr_pixels(lr, scale, sensor.mask).ravel()
    return footprint, lr.reshape(len(lr), -1).astype(np.float64), low, valid
