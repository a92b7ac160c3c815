"""Blocks: the part of a scene that the prior learns from. All of a small one; of a large one, a sample spread over it.

Which part that is follows from the scene's size and holes alone, so that a scene has one solution, whatever the memory,
and learning takes no more of it however large the scene.
"""

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

#: LR pixels, in all and along a side, up to which all of a scene is learnt from; of a larger one, that many in blocks
#: of this side.
_MOST_LR_PX, _MOST_SIDE_LR_PX, _BLOCK_LR_PX = 32768, 512, 64
#: Places that are looked at for one block, where many hold too little data.
_TRIES = 8
#: Steps of a sequence of points that fills the unit square evenly (Roberts, The unreasonable effectiveness of
#: quasirandom sequences, 2018): the plastic number's inverse and its square.
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])


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


def is_one_block(height: int, width: int) -> bool:
    """Whether a scene of that many LR pixels is taken whole."""
    return height * width <= _MOST_LR_PX and max(height, width) <= _MOST_SIDE_LR_PX


def cells(size: int, side: int) -> list[Span]:
    """Pieces [start, stop) of an axis, each `side` pixels long but the last."""
    return list(pairwise([*range(0, size, side), size]))


def learning_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """LR rows and columns of the windows that a scene is learnt from: all of it, or blocks of one shape.

    Raises HsisrError where a large scene has no valid LR pixel in any of them.
    """
    height, width = images.size
    if is_one_block(height, width):
        return [((0, height), (0, width))]
    return _most_complete(images, scale, (min(height, _BLOCK_LR_PX), min(width, _BLOCK_LR_PX)))


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
        spans = ((span[0] * scale, span[1] * scale) for span in (rows, columns))
        valid = whole_lr_pixels(mask, scale)[inner]
        found.append((lr[:, *inner].astype(np.float64), guide, places(*spans, longer), mask, valid))
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


def _most_complete(images: Images, scale: int, shape: tuple[int, int]) -> list[tuple[Span, Span]]:
    """Blocks of at least half valid LR pixels, the first that are found; where those are too few, the most valid."""
    wanted = _MOST_LR_PX // (shape[0] * shape[1])
    half, less = [], []
    for number, place in enumerate(_positions(images.size, shape)):
        mask = images.window(*place).mask
        share = 1.0 if mask is None else float(whole_lr_pixels(mask, scale).mean())
        if share >= 0.5:
            half.append(place)
        elif share > 0:
            less.append((-share, number, place))
        if len(half) == wanted:
            return half
    chosen = half + [place for _, _, place in sorted(less)[: wanted - len(half)]]
    if not chosen:
        raise HsisrError("prior: the scene has hardly a place without holes; nothing can be learnt from it")
    return chosen


def _positions(size: tuple[int, int], shape: tuple[int, int]) -> Iterator[tuple[Span, Span]]:
    """Rows and columns of blocks, evenly spread, one after the other."""
    for number in range(_TRIES * _MOST_LR_PX // (shape[0] * shape[1])):
        point = (0.5 + number * _STEPS) % 1
        starts = [int(part * (whole - side + 1)) for part, whole, side in zip(point, size, shape, strict=True)]
        (top, left), (height, width) = starts, shape
        yield (top, top + height), (left, left + width)
