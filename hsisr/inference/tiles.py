"""Tiles: a scene is cut into overlapping windows, and their results are blended with weights.

All numbers are LR pixels. The cores of the tiles cover the scene once. A tile's result is kept up to `blend` pixels
beyond its core, where it fades into its neighbour's. It is computed with `halo` more pixels around that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hsisr.errors import HsisrError


@dataclass(frozen=True)
class Span:
    """One tile along one axis: [start, stop) of its core, of the kept part of its result, and of its window."""

    core: tuple[int, int]
    kept: tuple[int, int]
    window: tuple[int, int]

    @property
    def inside(self) -> slice:
        """The kept part, counted from the window's start."""
        return slice(self.kept[0] - self.window[0], self.kept[1] - self.window[0])


@dataclass(frozen=True)
class Tiling:
    """Tiles of a scene of `height` x `width` pixels: cores of about `tile` pixels a side, blend, halo."""

    height: int
    width: int
    tile: int
    blend: int
    halo: int

    def __post_init__(self) -> None:
        if self.tile < 1 or self.blend < 0 or self.halo < 0:
            raise HsisrError(f"tile {self.tile}, halo {self.halo}: a tile has 1 LR pixel or more, a halo 0 or more")
        if len(self.rows) * len(self.columns) > 1 and 2 * self.blend > min(map(_length, self.rows + self.columns)):
            raise HsisrError(f"tile {self.tile}: must be at least {2 * self.blend} LR pixels, twice the blended border")

    @property
    def rows(self) -> list[Span]:
        """The rows of tiles, from top to bottom."""
        return _spans(self.height, self.tile, self.blend, self.halo)

    @property
    def columns(self) -> list[Span]:
        """The columns of tiles, from left to right."""
        return _spans(self.width, self.tile, self.blend, self.halo)

    @property
    def computed_pixels(self) -> int:
        """LR pixels of all windows together. They exceed the scene's pixels, as windows overlap."""
        rows, columns = (sum(span.window[1] - span.window[0] for span in axis) for axis in (self.rows, self.columns))
        return rows * columns


def weights(span: Span, size: int, scale: int) -> np.ndarray:
    """Weights (scale * kept,) of a tile's kept pixels along an axis of `size` LR pixels.

    Across each border between two tiles, the weights are half a cosine, so neighbours add up to 1. Elsewhere, they are
    1.
    """
    result = np.ones((span.kept[1] - span.kept[0]) * scale, np.float32)
    for border, side in ((span.core[0], 0), (span.core[1], 1)):
        if 0 < border < size:
            reach = abs(span.kept[side] - border)
            ramp = _ramp(2 * reach * scale)
            if side == 0:
                result[: len(ramp)] = ramp
            else:
                result[len(result) - len(ramp) :] = 1 - ramp
    return result


def cores(size: int, tile: int) -> Iterator[tuple[int, int]]:
    """Cores along an axis, of `tile` pixels each. A short rest shares its length with the core before it.

    The length does not depend on the scene's size, so memory does not either.
    """
    edges = [*range(0, size, tile), size]
    if len(edges) > 2 and size - edges[-2] < tile / 2:
        edges[-2] = (edges[-3] + size) // 2
    yield from pairwise(edges)


def _spans(size: int, tile: int, blend: int, halo: int) -> list[Span]:
    spans = []
    for start, stop in cores(size, tile):
        kept = (max(0, start - blend), min(size, stop + blend))
        spans.append(Span((start, stop), kept, (max(0, kept[0] - halo), min(size, kept[1] + halo))))
    return spans


def _length(span: Span) -> int:
    return span.core[1] - span.core[0]


def _ramp(count: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))).astype(np.float32)
