"""Blocks: the part of a scene that the prior learns from. All of a small one; of a large one, a sample spread over it.

Which part that is follows from the scene's size and holes alone, so that a scene has one solution, whatever the memory,
and learning takes no more of it however large the scene.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hsisr.degrade.estimation import valid_lr_pixels
from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import Footprint, whole_lr_pixels
from hsisr.errors import HsisrError
from hsisr.models.prior.features import places
from hsisr.models.windows import Images, Span

#: LR pixels, in all and along a side, up to which all of a scene is learnt from; of a larger one, that many in blocks.
_MOST_LR_PX, _MOST_SIDE_LR_PX = 32768, 512
#: Side, in HR pixels, of the windows in which a scene that is taken whole is looked at once more.
_WINDOW_PX = 512
#: HR pixels at which the regression is applied at a time while it is learnt.
_STRIP_PX = 1 << 17
#: Side of those: so small that no place is far from all of them, as bumps of place vanish where nothing was learnt.
_BLOCK_LR_PX = 16


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one shape, one below the other.

    lr: (B, n h, w), float64. guide: (G, n H, W). place: (2, n H, W), of its pixels in the scene
    (`hsisr.models.prior.features.places`). mask: (n H, W), or None. valid: (n h, w). sampler: what the sensor sees of
    n H x W pixels. one: the same of a single block.
    Of a sample's blocks, LR pixels whose footprint reaches beyond are left out, so that H may be more than scale h.
    """

    lr: np.ndarray
    guide: np.ndarray
    place: np.ndarray
    mask: np.ndarray | None
    valid: np.ndarray
    sampler: Sampler
    one: Sampler

    def strips(self) -> Iterator[tuple[int, slice, slice]]:
        """The HR pixels, some rows at a time: number of the block, rows of the block, the same rows of all."""
        height, width = self.one.rows.shape[1], self.guide.shape[2]
        step = max(1, _STRIP_PX // width)
        for block in range(self.guide.shape[1] // height):
            for first in range(0, height, step):
                rows = slice(first, min(first + step, height))
                yield block, rows, slice(block * height + rows.start, block * height + rows.stop)


def is_one_block(height: int, width: int) -> bool:
    """Whether a scene of that many LR pixels is taken whole."""
    return height * width <= _MOST_LR_PX and max(height, width) <= _MOST_SIDE_LR_PX


def cells(size: int, side: int) -> list[Span]:
    """Pieces [start, stop) of an axis, each `side` pixels long but the last."""
    return list(pairwise([*range(0, size, side), size]))


def _even_cells(size: int, most: int) -> list[Span]:
    """Pieces [start, stop) of an axis, as few as `most` pixels allow, as long as each other."""
    return list(pairwise(np.linspace(0, size, -(-size // most) + 1).round().astype(int).tolist()))


def learning_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """LR rows and columns of windows that a scene is learnt from, of about one shape: all of it in few, or blocks.

    Raises HsisrError where a large scene has no valid LR pixel in any of them.
    """
    height, width = images.size
    if is_one_block(height, width):
        side = max(_BLOCK_LR_PX, _WINDOW_PX // scale)
        return [(rows, columns) for rows in _even_cells(height, side) for columns in _even_cells(width, side)]
    return _with_data(images, scale, (min(height, _BLOCK_LR_PX), min(width, _BLOCK_LR_PX)))


def chosen_blocks(images: Images, scale: int, footprint: Footprint) -> Blocks:
    """What to learn from. Raises HsisrError where not a single LR pixel of a large scene's sample is whole."""
    from scipy import sparse

    height, width = images.size
    longer = max(height, width) * scale
    if is_one_block(height, width):
        lr, guide, mask = images.window((0, height), (0, width))
        sampler = footprint.sampler(scale, guide.shape[1:])
        place = places((0, height * scale), (0, width * scale), longer)
        valid = valid_lr_pixels(lr, scale, mask)
        return Blocks(lr.astype(np.float64), guide, place, mask, valid, sampler, sampler)
    shape = min(height, _BLOCK_LR_PX), min(width, _BLOCK_LR_PX)
    cut = [reach(footprint, scale)[axis] if shape[axis] < size else 0 for axis, size in enumerate((height, width))]
    inner = tuple(slice(edge, size - edge) for edge, size in zip(cut, shape, strict=True))
    found: list[tuple[np.ndarray, ...]] = []
    for rows, columns in learning_windows(images, scale):
        lr, guide, mask = images.window(rows, columns)
        mask = np.ones(guide.shape[1:], bool) if mask is None else mask
        high = [(span[0] * scale, span[1] * scale) for span in (rows, columns)]
        valid = whole_lr_pixels(mask, scale)[inner]
        found.append((lr[:, *inner].astype(np.float64), guide, places(high[0], high[1], longer), mask, valid))
    full = footprint.sampler(scale, (shape[0] * scale, shape[1] * scale))
    one = Sampler(full.rows[inner[0]], full.columns[inner[1]], 1)
    sampler = Sampler(sparse.block_diag([one.rows] * len(found), format="csr"), one.columns, 1)
    lows, guides, where, masks, valids = (np.concatenate(parts, axis=-2) for parts in zip(*found, strict=True))
    return Blocks(lows, guides, where, None if masks.all() else masks, valids, sampler, one)


def reach(footprint: Footprint, scale: int) -> tuple[int, int]:
    """LR pixels, (rows, columns), that a footprint reaches beyond its own."""
    rows, columns = (
        -(-max(-first, first + len(taps) - scale, 0) // scale)
        for first, taps in zip(footprint.start, (footprint.rows, footprint.columns), strict=True)
    )
    return rows, columns


def _with_data(images: Images, scale: int, shape: tuple[int, int]) -> list[tuple[Span, Span]]:
    """Blocks of that shape, evenly spread, of which half is valid; where there is none, all of which anything is."""
    half, some = [], []
    for rows, columns in _positions(images.size, shape):
        mask = images.window(rows, columns).mask
        share = 1.0 if mask is None else float(whole_lr_pixels(mask, scale).mean())
        if share >= 0.5:
            half.append((rows, columns))
        if share > 0:
            some.append((rows, columns))
    if not some:
        raise HsisrError("prior: the scene has hardly a place without holes; nothing can be learnt from it")
    return half or some


def _positions(size: tuple[int, int], shape: tuple[int, int]) -> Iterator[tuple[Span, Span]]:
    """Rows and columns of a grid of blocks from edge to edge, about as far from each other in both directions."""
    count = _MOST_LR_PX // (shape[0] * shape[1])
    down = min(max(1, round(math.sqrt(count * size[0] / size[1]))), count, size[0] // shape[0])
    across = min(count // down, size[1] // shape[1])
    for top in np.linspace(0, size[0] - shape[0], down).astype(int).tolist():
        for left in np.linspace(0, size[1] - shape[1], across).astype(int).tolist():
            yield (top, top + shape[0]), (left, left + shape[1])
