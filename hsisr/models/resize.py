"""Bicubic enlargement of tensors, the same as for arrays, with gradients and on any device."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hsisr.degrade import imresize
from hsisr.degrade.sampling import interpolate


def upsample_bicubic(images: Tensor, scale: int) -> Tensor:
    """Enlarge images as `imresize(images, scale)` does (a = -0.5), in the images' precision, even under autocast.

    images: (..., h, w), floating point. scale: whole number >= 1. Returns (..., scale h, scale w).
    """
    return _upsample(images, scale, imresize)


def upsample_keys(images: Tensor, scale: int) -> Tensor:
    """Enlarge images as the method `bicubic` does (a = -0.75, edges clamped); arguments as `upsample_bicubic`."""
    return _upsample(images, scale, interpolate)


def _upsample(images: Tensor, scale: int, resize: Callable[[np.ndarray, int], np.ndarray]) -> Tensor:
    with torch.autocast(images.device.type, enabled=False):
        axes = (_enlargement(size, scale, resize) for size in images.shape[-2:])
        rows, columns = (torch.from_numpy(axis).to(images) for axis in axes)
        return rows @ (images @ columns.mT)


@lru_cache(maxsize=32)
def _enlargement(size: int, scale: int, resize: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """The resize along one axis as a matrix (scale size, size), float64.

    No tensor: one that is made in a prediction could not take part in a training.
    """
    impulses = np.eye(size)[:, :, None]  # one image for each pixel: a column of `size` pixels that is 1 there
    return resize(impulses, scale)[:, :, 0].T.copy()
