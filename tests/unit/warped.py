"""A scene with detail, and its guide beside it: moved by a smooth field, turned, or in part of other ground."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

SCALE = 4


def textured_cube(side: int, seed: int = 0) -> np.ndarray:
    """(4, side, side) in [0, 1], detail of all sizes, float32."""
    rng = np.random.default_rng(seed)
    parts = [gaussian_filter(rng.standard_normal((3, side, side)), (0, width, width)) * width for width in (1.5, 4, 10)]
    base = sum(parts)
    base = (base - base.min()) / np.ptp(base)
    return np.tensordot(rng.dirichlet(np.ones(3), 4), base, axes=1).astype(np.float32)


def smooth_field(side: int, largest_px: float, degrees: float = 0.0) -> np.ndarray:
    """(2, side, side): a wave as long as the image, and a turn about its middle."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    wave = largest_px * np.stack([np.sin(2 * np.pi * columns / side), np.cos(2 * np.pi * rows / side)]) / np.sqrt(2)
    angle = np.deg2rad(degrees)
    turn = np.stack([np.sin(angle) * columns, -np.sin(angle) * rows])
    return wave + turn


def moved_by(guide: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The guide that shows at x what `guide` shows at x + field."""
    places = np.stack(np.mgrid[: field.shape[1], : field.shape[2]]) + field
    return np.stack([map_coordinates(c.astype(float), places, order=5, mode="mirror") for c in guide]).astype(
        np.float32
    )


def inverse(field: np.ndarray) -> np.ndarray:
    """The field that moves back what `field` has moved."""
    grid = np.stack(np.mgrid[: field.shape[1], : field.shape[2]]).astype(float)
    back = -field
    for _ in range(20):
        back = -np.stack([map_coordinates(axis, grid + back, order=1, mode="nearest") for axis in field])
    return back
