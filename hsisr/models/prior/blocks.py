"""Blocks and windows: the part of a scene that the prior learns from; all of a small one.

Of a large one, small blocks spread over it say what there is: noise, subspace, features. Larger windows, or all of it
where they cover it, teach the regression. Which part that is follows from the scene's size and holes alone, so that a
scene has one solution, whatever the memory, and learning takes no more of it however large the scene.
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
from hsisr.models.windows import Images, Span, hr_spans

#: LR pixels, in all and along a side, up to which a scene is taken whole; of a larger one, that many are in blocks.
_MOST_LR_PX, _MOST_SIDE_LR_PX = 16384, 512
#: Largest side of the windows, in LR pixels, from which the regression of a large scene is learnt; how many there are
#: at most, evenly spread; and how many of those say how smooth and how large is what it leaves.
LEARNT_LR_PX, _MOST_WINDOWS, _FEW = 64, 64, 8
#: Side, in HR pixels, of the windows in which a scene that is taken whole is looked at once more.
WINDOW_PX = 512
#: HR pixels at which the regression is applied at a time while it is learnt.
_STRIP_PX = 1 << 17
#: Side of those: so small that no place is far from all of them, as bumps of place vanish where nothing was learnt.
_BLOCK_LR_PX = 16


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one shape, one below the other.

    lr: (B, n h, w), float64. guide: (G, n H, W). place: (2, n H, W), of its pixels in the scene
    (`hsisr.models.prior.features.places`). mask: (n H, W), or None. valid: (n h, w). sampler: what the sensor sees of
    n H x W pixels.
    Of a sample's blocks, LR pixels whose footprint reaches beyond are left out, so that H may be more than scale h.
    """

    lr: np.ndarray
    guide: np.ndarray
    place: np.ndarray
    mask: np.ndarray | None
    valid: np.ndarray
    sampler: Sampler


def is_one_block(height: int, width: int) -> bool:
    """Whether a scene of that many LR pixels is taken whole."""
    return height * width <= _MOST_LR_PX and max(height, width) <= _MOST_SIDE_LR_PX


def learnt_lr_px(height: int, width: int) -> int:
    """LR pixels, at most, of the blocks that say what there is in a scene of that many; all of a small one."""
    return min(height * width, _MOST_LR_PX)


def most_learnt_lr_px(height: int, width: int) -> int:
    """LR pixels, at most, of the windows that a regression is learnt from."""
    return height * width if is_one_block(height, width) else min(height * width, _MOST_WINDOWS * LEARNT_LR_PX**2)


def cells(size: int, side: int) -> list[Span]:
    """Pieces [start, stop) of an axis, each `side` pixels long but the last."""
    return list(pairwise([*range(0, size, side), size]))


@dataclass(frozen=True, eq=False)
class LearningWindow:
    """A window that the regression is learnt from, or all of a small scene.

    bands: (B, n), float64, of its h x w LR pixels. guide: (G, H, W), of those and of what else they see.
    place: (2, H, W). valid: (n,). mask: (H, W), or None. sampler: what the sensor sees of H x W pixels.
    """

    bands: np.ndarray
    guide: np.ndarray
    place: np.ndarray
    valid: np.ndarray
    mask: np.ndarray | None
    sampler: Sampler

    def strips(self) -> Iterator[slice]:
        """The HR rows, some at a time."""
        height, width = self.guide.shape[1:]
        step = max(1, _STRIP_PX // width)
        for first in range(0, height, step):
            yield slice(first, min(first + step, height))


class LearningWindows:
    """Windows of `shape` h x w LR pixels, read when they are asked for."""

    def __init__(self, images: Images, scale: int, footprint: Footprint) -> None:
        self._images, self._scale, self._footprint = images, scale, footprint
        self._spans = regression_windows(images, scale)
        (top, bottom), (left, right) = self._spans[0]
        self.shape = bottom - top, right - left

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, number: int) -> LearningWindow:
        spans, size = self._spans[number], self._images.size
        edges = reach(self._footprint, self._scale)
        rows, columns = (
            (max(0, start - edge), min(whole, stop + edge))
            for (start, stop), edge, whole in zip(spans, edges, size, strict=True)
        )
        inner = tuple(
            slice(start - first, stop - first) for (start, stop), (first, _) in zip(spans, (rows, columns), strict=True)
        )
        lr, guide, mask = self._images.window(rows, columns)
        high = hr_spans(rows, columns, self._scale)
        full = self._footprint.sampler(self._scale, guide.shape[1:])
        return LearningWindow(
            lr[:, *inner].reshape(len(lr), -1).astype(np.float64),
            guide,
            places(high[0], high[1], max(size) * self._scale),
            self._valid(lr, guide, mask)[inner].ravel(),
            mask,
            Sampler(full.rows[inner[0]], full.columns[inner[1]], 1),
        )

    def few(self) -> range:
        """Numbers of some of them, evenly spread, that say enough of what the regression leaves."""
        return range(0, len(self), -(-len(self) // _FEW))

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Guide (G, 1, n) and place (2, 1, n) of about `count` HR pixels, drawn at random, in random order."""
        rng, guides, where = np.random.default_rng(0), [], []
        for number in range(len(self)):
            window = self[number]
            pixels = np.arange(window.guide[0].size) if window.mask is None else np.flatnonzero(window.mask)
            drawn = rng.permutation(pixels)[: -(-count // len(self))]
            guides.append(window.guide.reshape(len(window.guide), -1)[:, drawn])
            where.append(window.place.reshape(2, -1)[:, drawn])
        order = rng.permutation(sum(guide.shape[1] for guide in guides))
        guide, place = (np.concatenate(parts, axis=1)[:, None, order] for parts in (guides, where))
        return guide.astype(np.float32), place

    def _valid(self, lr: np.ndarray, guide: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        if len(self) == 1:
            return valid_lr_pixels(lr, self._scale, mask)
        return whole_lr_pixels(np.ones(guide.shape[1:], bool) if mask is None else mask, self._scale)


def regression_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """LR rows and columns of the windows of one shape that a regression is learnt from: a small scene is one.

    Raises HsisrError where a large scene has no valid LR pixel in any of them.
    """
    height, width = images.size
    if is_one_block(height, width):
        return [((0, height), (0, width))]
    down, across = (-(-size // -(-size // LEARNT_LR_PX)) for size in images.size)  # they hardly overlap
    return _with_data(images, scale, (down, across), _MOST_WINDOWS)


def learning_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """LR rows and columns of windows of about one shape that say what a model does to a scene: all of it, or a part.

    Raises HsisrError where a large scene has no valid LR pixel in any of them.
    """
    height, width = images.size
    if is_one_block(height, width):
        side = max(_BLOCK_LR_PX, WINDOW_PX // scale)
        return [(rows, columns) for rows in _even_cells(height, side) for columns in _even_cells(width, side)]
    windows = regression_windows(images, scale)
    return windows[:: -(-len(windows) // _FEW)]


def _even_cells(size: int, most: int) -> list[Span]:
    """Pieces [start, stop) of an axis, as few as `most` pixels allow, as long as each other."""
    return list(pairwise(np.linspace(0, size, -(-size // most) + 1).round().astype(int).tolist()))


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
        return Blocks(lr.astype(np.float64), guide, place, mask, valid, sampler)
    shape = min(height, _BLOCK_LR_PX), min(width, _BLOCK_LR_PX)
    cut = [reach(footprint, scale)[axis] if shape[axis] < size else 0 for axis, size in enumerate((height, width))]
    inner = tuple(slice(edge, size - edge) for edge, size in zip(cut, shape, strict=True))
    found: list[tuple[np.ndarray, ...]] = []
    for rows, columns in _with_data(images, scale, shape, _MOST_LR_PX // (shape[0] * shape[1])):
        lr, guide, mask = images.window(rows, columns)
        mask = np.ones(guide.shape[1:], bool) if mask is None else mask
        high = hr_spans(rows, columns, scale)
        valid = whole_lr_pixels(mask, scale)[inner]
        found.append((lr[:, *inner].astype(np.float64), guide, places(high[0], high[1], longer), mask, valid))
    full = footprint.sampler(scale, (shape[0] * scale, shape[1] * scale))
    one = Sampler(full.rows[inner[0]], full.columns[inner[1]], 1)
    sampler = Sampler(sparse.block_diag([one.rows] * len(found), format="csr"), one.columns, 1)
    lows, guides, where, masks, valids = (np.concatenate(parts, axis=-2) for parts in zip(*found, strict=True))
    return Blocks(lows, guides, where, None if masks.all() else masks, valids, sampler)


def reach(footprint: Footprint, scale: int) -> tuple[int, int]:
    """LR pixels, (rows, columns), that a footprint reaches beyond its own."""
    rows, columns = (
        -(-max(-first, first + len(taps) - scale, 0) // scale)
        for first, taps in zip(footprint.start, (footprint.rows, footprint.columns), strict=True)
    )
    return rows, columns


def _with_data(images: Images, scale: int, shape: tuple[int, int], count: int) -> list[tuple[Span, Span]]:
    """About `count` blocks of that shape, evenly spread, of which half is valid; where there is none, all of which
    anything is."""
    half, some = [], []
    for rows, columns in _positions(images.size, shape, count):
        mask = images.window(rows, columns).mask
        share = 1.0 if mask is None else float(whole_lr_pixels(mask, scale).mean())
        if share >= 0.5:
            half.append((rows, columns))
        if share > 0:
            some.append((rows, columns))
    if not some:
        raise HsisrError("prior: the scene has hardly a place without holes; nothing can be learnt from it")
    return half or some


def _positions(size: tuple[int, int], shape: tuple[int, int], count: int) -> Iterator[tuple[Span, Span]]:
    """Rows and columns of a grid of blocks from edge to edge, about as far from each other in both directions."""
    most = [-(-whole // part) for whole, part in zip(size, shape, strict=True)]
    down = min(max(1, round(math.sqrt(count * size[0] / size[1]))), count, most[0])
    across = min(count // down, most[1])
    for top in np.linspace(0, size[0] - shape[0], down).astype(int).tolist():
        for left in np.linspace(0, size[1] - shape[1], across).astype(int).tolist():
            yield (top, top + shape[0]), (left, left + shape[1])
