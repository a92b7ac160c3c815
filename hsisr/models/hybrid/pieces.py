"""Pieces: parts of a solved scene, and where their pixels lie: on the HR grid, or anywhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from hsisr.degrade.estimation import valid_lr_pixels
from hsisr.degrade.sampling import Sampler, interpolate, interpolation_at
from hsisr.models.prior import Solution
from hsisr.models.windows import Window


class Piece(NamedTuple):
    """A scene or a part of it.

    lr: (B, h, w). guide: (G, H, W). solution: the prior's. start: row and column of its first HR pixel, counted from
    the scene's middle; None: it is all of the scene. ground: of pixels that do not lie on the HR grid; None: they do.
    """

    lr: np.ndarray
    guide: np.ndarray
    solution: Solution
    start: tuple[float, float] | None = None
    ground: "Ground | None" = None


@dataclass(frozen=True, eq=False)
class Ground:
    """Where the pixels of a piece lie, and what the LR image has there beyond the prior's image.

    remainder: (B, h, w), of the LR image. enlarged: takes images (K, h, w) like it to the piece's pixels (K, H, W), at
    the right phase. place: rows and columns of the pixels, counted from the scene's middle; they broadcast to (H, W).
    """

    remainder: np.ndarray
    enlarged: Callable[[np.ndarray], np.ndarray]
    place: tuple[np.ndarray, np.ndarray]

    @classmethod
    def on_grid(cls, piece: Piece, image: np.ndarray, scale: int) -> "Ground":
        """Of a piece on the HR grid. image: (B, H, W), the prior's."""
        size = image.shape[1:]
        top, left = piece.start or from_middle((0, 0), size)
        enlarged = partial(interpolate, factor=scale, shift_px=piece.solution.sensor.footprint.shift_px(scale))
        place = (top + np.arange(size[0]))[:, None], left + np.arange(size[1])
        return cls(_remainder(piece.lr, image, piece.solution, scale), enlarged, place)

    @classmethod
    def at(
        cls, places: np.ndarray, window: Window, corner: tuple[int, int], around: Solution, size: tuple[int, int]
    ) -> "Ground":
        """Of pixels at places (2, n, m), rows and columns of the scene's HR pixels, of any value.

        window: the scene around, all that the footprint and the interpolation read. corner: row and column of its first
        HR pixel. around: the prior's solution of it. size: HR rows and columns of the scene.
        """
        scale = window.guide.shape[1] // window.lr.shape[1]
        shift = around.sensor.footprint.shift_px(scale)
        within = places - np.array(corner)[:, None, None]
        taps = interpolation_at((window.lr.shape[1], window.lr.shape[2]), within, scale, shift_px=shift)

        def enlarged(images: np.ndarray) -> np.ndarray:
            return np.stack([taps @ image.ravel() for image in images]).reshape(len(images), *places.shape[1:])

        rows, columns = places + np.array(from_middle((0, 0), size))[:, None, None]
        return cls(_remainder(window.lr, around.image(), around, scale), enlarged, (rows, columns))


def lr_views(pieces: Sequence[Piece], scale: int) -> list[tuple[Piece, Sampler, np.ndarray]]:
    """Of pieces on the HR grid each, with what brings its guide to the LR grid, and its valid LR pixels (h, w)."""
    views = []
    for piece in pieces:
        sensor = piece.solution.sensor
        sampler = sensor.footprint.sampler(scale, piece.guide.shape[1:])
        views.append((piece, sampler, valid_lr_pixels(piece.lr, scale, sensor.mask)))
    return views


def from_middle(corner: tuple[int, int], size: tuple[int, ...]) -> tuple[float, float]:
    """Row and column of an HR pixel `corner`, counted from the middle of a scene of `size` HR rows and columns."""
    return corner[0] - (size[0] - 1) / 2, corner[1] - (size[1] - 1) / 2


def _remainder(lr: np.ndarray, image: np.ndarray, solution: Solution, scale: int) -> np.ndarray:
    """What an LR image (B, h, w) has beyond what the solution's sensor sees of an image (B, H, W): float32."""
    seen = solution.sensor.footprint.sampler(scale, image.shape[1:])(image)
    remainder: np.ndarray = (lr - seen).astype(np.float32)
    return remainder
