"""What the network behind the prior sees and what it should say, as maps at HR; numpy only."""

from dataclasses import dataclass

import numpy as np

from hsisr.degrade.sampling import interpolate
from hsisr.models.prior import Solution, solve

#: Typical sizes, by which the maps are divided so that the network sees numbers near one.
_RESIDUAL, _DEVIATION = 0.05, 0.02


@dataclass(frozen=True, eq=False)
class Stack:
    """A solved pair. image: (B, H, W), the prior's. maps: (G + 2 K + 1, H, W) float32, the network's input."""

    solution: Solution
    image: np.ndarray
    maps: np.ndarray


def cosines(count: int, bands: int) -> np.ndarray:
    """The `count` slowest cosines over the bands, orthonormal (count, bands), float32: coordinates of smooth spectra.

    The same for every scene, unlike a scene's own subspace, so that a network can learn in them (DCT-II).
    """
    phase = np.pi * (np.arange(bands) + 0.5) / bands
    rows = np.cos(np.arange(count)[:, None] * phase)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def stack(lr: np.ndarray, guide: np.ndarray, scale: int, basis: np.ndarray) -> Stack:
    """Solve a pair, lr (B, h, w) and guide (G, H, W), blind, and lay out what the network needs.

    basis: (K, B). Maps: the guide; the prior's coefficients in the basis; those of the LR image's remainder,
    interpolated at the right phase; the regression's own standard deviation.
    """
    solution = solve(lr, guide, scale, variance=True)
    image = solution.image()
    footprint = solution.sensor.footprint
    remainder = _in_basis(basis, lr - footprint.sampler(scale, guide.shape[1:])(image))
    remainder = interpolate(remainder, scale, shift_px=footprint.shift_px(scale))
    level = _in_basis(basis, image) / np.sqrt(len(image))
    deviation = np.sqrt(solution.variance)[None]
    maps = np.concatenate([guide, level, remainder / _RESIDUAL, deviation / _DEVIATION]).astype(np.float32)
    return Stack(solution, image, maps)


def missing(hr: np.ndarray, found: Stack, basis: np.ndarray) -> np.ndarray:
    """What the network should add, (K, H, W) float32: coefficients of HR image less the prior's."""
    return _in_basis(basis, hr - found.image).astype(np.float32)


def _in_basis(basis: np.ndarray, image: np.ndarray) -> np.ndarray:
    return (basis @ image.reshape(len(image), -1)).reshape(len(basis), *image.shape[1:])
