"""Blocks and windows: the part of a scene from which the prior learns; all of a small scene.

In a large scene, small blocks all over it show noise, subspace and features. Larger windows teach the regression; they
may cover the whole scene. Only the scene's size and holes decide which parts these are. So a scene has one solution,
whatever the memory, and learning a larger scene takes no more memory.
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

#: Scenes up to this many LR pixels, in total and along a side, are taken whole. In larger scenes, blocks have this many
#: LR pixels in total.
_MOST_LR_PX, _MOST_SIDE_LR_PX = 16384, 512
#: Windows that teach the regression of a large scene: largest side, in LR pixels; greatest number, evenly spread; and
#: number of those that show how smooth and how large the residuals are.
LEARNT_LR_PX, _MOST_WINDOWS, _FEW = 64, 64, 8
#: Side, in HR pixels, of the windows in which a scene that is taken whole is read once more.
WINDOW_PX = 512
#: Learning applies the regression to this many HR pixels at a time.
_STRIP_PX = 1 << 17
#: LR pixels around a part of the scene that the regression reads: slopes read the next HR pixel.
REACH_LR_PX = 1
#: Side of the blocks. They are small, so that no place is far from all blocks: bumps of place vanish where no block is.
_BLOCK_LR_PX = 16


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one shape, one below the other.

    lr: (B, n h, w), float64. guide: (G, n H, W). place: (2, n H, W), of its pixels in the scene
    (`hsisr.models.prior.features.places`). mask: (n H, W), or None. valid: (n h, w). sampler: brings n H x W pixels to
    the LR grid.
    Blocks of a larger scene leave out LR pixels whose footprint reaches beyond the block. So H may be more than
    scale h.
    """

    lr: np.ndarray
    guide: np.ndarray
    place: np.ndarray
    mask: np.ndarray | None
    valid: np.ndarray
    sampler: Sampler


def is_one_block(height: int, width: int) -> bool:
    """Whether a scene of height x width LR pixels is taken whole."""
    return height * width <= _MOST_LR_PX and max(height, width) <= _MOST_SIDE_LR_PX


def learnt_lr_px(height: int, width: int) -> int:
    """Most LR pixels in the blocks of a scene of height x width LR pixels; all pixels of a small scene."""
    return min(height * width, _MOST_LR_PX)


def most_learnt_lr_px(height: int, width: int) -> int:
    """Most LR pixels in the windows that teach a regression."""
    return height * width if is_one_block(height, width) else min(height * width, _MOST_WINDOWS * LEARNT_LR_PX**2)


def judged_lr_px(height: int, width: int) -> int:
    """Most LR pixels in the windows that show how smooth and how large the residuals are."""
    if is_one_block(height, width):
        return height * width
    windows = min(_MOST_WINDOWS, -(-height // LEARNT_LR_PX) * -(-width // LEARNT_LR_PX))
    return most_learnt_lr_px(height, width) * len(_few(windows)) // windows


def cells(size: int, side: int) -> list[Span]:
    """Pieces [start, stop) of an axis, each `side` pixels long; the last may be shorter."""
    return list(pairwise([*range(0, size, side), size]))


@dataclass(frozen=True, eq=False)
class LearningWindow:
    """A window that teaches the regression, or all of a small scene.

    bands: (B, n), float64, of its h x w LR pixels. guide: (G, H, W), of these LR pixels and of all else that they see.
    place: (2, H, W). valid: (n,). mask: (H, W), or None. sampler: brings H x W pixels to the LR grid.
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
    """Windows of `shape` h x w LR pixels, read on demand."""

    def __init__(self, images: Images, scale: int, footprint: Footprint) -> None:
        self._images, self._scale, self._footprint = images, scale, footprint
        self._spans = regression_windows(images, scale)
        (top, bottom), (left, right) = self._spans[0]
        self.shape = bottom - top, right - left

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, number: int) -> LearningWindow:
        spans, size = self._spans[number], self._images.size
        rows, columns = (
            (max(0, start - edge), min(whole, stop + edge))
            for (start, stop), edge, whole in zip(spans, shown_lr_px(self._footprint, self._scale), size, strict=True)
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
            places(*high, (size[0] * self._scale, size[1] * self._scale)),
            window_valid(lr, self._scale, mask, len(self) == 1)[inner].ravel(),
            mask,
            Sampler(full.rows[inner[0]], full.columns[inner[1]], 1),
        )

    def few(self) -> range:
        """Numbers of some windows, evenly spread, that are enough to judge the residuals of the regression."""
        return _few(len(self))

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


def regression_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """LR rows and columns of the windows, all of one shape, that teach a regression; a small scene is one window.

    Raises HsisrError if a large scene has no valid LR pixel in any window.
    """
    height, width = images.size
    if is_one_block(height, width):
        return [((0, height), (0, width))]
    down, across = (-(-size // -(-size // LEARNT_LR_PX)) for size in images.size)  # they hardly overlap
    return _with_data(images, scale, (down, across), _MOST_WINDOWS)


def learning_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """LR rows and columns of windows, all of about one shape, that show how a model works on a scene or a part of it.

    Raises HsisrError if a large scene has no valid LR pixel in any window.
    """
    height, width = images.size
    if is_one_block(height, width):
        side = max(_BLOCK_LR_PX, WINDOW_PX // scale)
        return [(rows, columns) for rows in _even_cells(height, side) for columns in _even_cells(width, side)]
    return judging_windows(images, scale)


def judging_windows(images: Images, scale: int) -> list[tuple[Span, Span]]:
    """Those of `regression_windows` that are enough to judge a scene; a small scene is one window. Errors alike."""
    windows = regression_windows(images, scale)
    return [windows[number] for number in _few(len(windows))]


def window_valid(lr: np.ndarray, scale: int, mask: np.ndarray | None, whole: bool) -> np.ndarray:
    """Valid LR pixels (h, w) of a window. mask: its valid HR pixels, or None for all. whole: it is the whole scene.

    Raises HsisrError for a whole scene without any.
    """
    if whole:
        return valid_lr_pixels(lr, scale, mask)
    return np.ones(lr.shape[1:], bool) if mask is None else whole_lr_pixels(mask, scale)


def _few(count: int) -> range:
    """At most `_FEW` numbers of so many windows, evenly spread."""
    return range(0, count, -(-count // _FEW))


def _even_cells(size: int, most: int) -> list[Span]:
    """As few pieces [start, stop) of an axis as possible, all about equally long, with at most `most` pixels each."""
    return list(pairwise(np.linspace(0, size, -(-size // most) + 1).round().astype(int).tolist()))


def chosen_blocks(images: Images, scale: int, footprint: Footprint) -> Blocks:
    """The blocks to learn from. Raises HsisrError if no LR pixel in a large scene's sample is whole."""
    from scipy import sparse

    height, width = images.size
    whole = height * scale, width * scale
    if is_one_block(height, width):
        lr, guide, mask = images.window((0, height), (0, width))
        sampler = footprint.sampler(scale, guide.shape[1:])
        place = places((0, whole[0]), (0, whole[1]), whole)
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
        found.append((lr[:, *inner].astype(np.float64), guide, places(*high, whole), mask, valid))
    full = footprint.sampler(scale, (shape[0] * scale, shape[1] * scale))
    one = Sampler(full.rows[inner[0]], full.columns[inner[1]], 1)
    sampler = Sampler(sparse.block_diag([one.rows] * len(found), format="csr"), one.columns, 1)
    lows, guides, where, masks, valids = (np.concatenate(parts, axis=-2) for parts in zip(*found, strict=True))
    return Blocks(lows, guides, where, None if masks.all() else masks, valids, sampler)


def reach(footprint: Footprint, scale: int) -> tuple[int, int]:
    """How far, in LR pixels (rows, columns), a footprint reaches beyond its own LR pixel."""
    rows, columns = (
        -(-max(-first, first + len(taps) - scale, 0) // scale)
        for first, taps in zip(footprint.start, (footprint.rows, footprint.columns), strict=True)
    )
    return rows, columns


def shown_lr_px(footprint: Footprint, scale: int) -> tuple[int, int]:
    """How far beyond an LR pixel its features read the guide: footprint, and slopes at its edge."""
    rows, columns = reach(footprint, scale)
    return max(rows, REACH_LR_PX), max(columns, REACH_LR_PX)


def _with_data(images: Images, scale: int, shape: tuple[int, int], count: int) -> list[tuple[Span, Span]]:
    """About `count` blocks of this shape, evenly spread, that are at least half valid.

    If there is no such block, all blocks with any valid LR pixel are taken.
    """
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
