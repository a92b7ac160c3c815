"""MATLAB's bicubic enlargement for tensors: `hsisr.degrade.imresize`, with gradients and on any device."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hsisr.degrade import imresize


def bicubic_upsampled(images: Tensor, scale: int) -> Tensor:
    """Enlarge images as `imresize(images, scale)` does (a = -0.5), in their own precision even under autocast.

    images: (..., h, w), floating point. scale: whole number >= 1. Returns (..., scale h, scale w).
    """
    with torch.autocast(images.device.type, enabled=False):
        rows, columns = (_enlargement(size, scale).to(images) for size in images.shape[-2:])
        return rows @ (images @ columns.mT)


@lru_cache(maxsize=32)
def _enlargement(size: int, scale: int) -> Tensor:
    """The resize along one axis as a matrix (scale size, size), float64."""
    impulses = np.eye(size)[:, :, None]  # one image a pixel: a column of height `size` that is 1 at that pixel
    return torch.from_numpy(imresize(impulses, scale)[:, :, 0].T.copy())
