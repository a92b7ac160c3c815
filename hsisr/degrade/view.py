"""Views of the same ground: LR image and guide, both brought to cells of an LR pixel's size, to compare them there."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hsisr.degrade.psf import FWHM_PER_SIGMA
from hsisr.degrade.registration import related_channels
from hsisr.degrade.sampling import correlation_axis
from hsisr.degrade.simulate import check_views
from hsisr.errors import HsisrError
from hsisr.missing import nearest_present

#: Number of principal components of the LR image that explain a guide. More would begin to explain its shift.
_COMPONENTS = 10
#: If a guide has more channels, this many of its principal components are compared.
_CHANNELS = 4
#: Most cells along a side. Larger scenes are compared in cells of several LR pixels.
MOST_CELLS = 768
#: Samples of the guide along a side of a cell. A footprint blurs finer detail away.
_SAMPLES = 3
#: A fine view has as many samples as fit into this number along a side.
_MOST_SAMPLES = 3072
#: Standard deviation of an unknown footprint, in LR pixels: its full width at half maximum is one LR pixel.
_USUAL_SIGMA = 1 / FWHM_PER_SIGMA
#: Standard deviations of a footprint beyond its cell that are counted.
_REACH_SIGMAS = 4

#: Rows of an image with their valid pixels: values (C, n, m), valid (n, m).
Strip = tuple[np.ndarray, np.ndarray]
#: Gives all strips of an image from the top. All strips but the last consist of whole cells.
Strips = Callable[[], Iterator[Strip]]


@dataclass(frozen=True, eq=False)
class LowView:
    """An LR image in cells of `cell` x `cell` LR pixels, made once for all guides that are compared with it.

    values: (P, h, w), strongest principal components, = components (P, B) @ (lr - mean (B,)). valid: (h, w).
    """

    values: np.ndarray
    valid: np.ndarray
    components: np.ndarray
    mean: np.ndarray
    cell: int


@dataclass(frozen=True, eq=False)
class View:
    """A pair in cells of `cell` x `cell` LR pixels.

    low: (P, h, w), strongest principal components of the LR image, = components (P, B) @ (lr - mean (B,)).
    sharp: (G, h o, w o), the guide, o = samples along a side of a cell. valid: (h, w), where both images are all valid.
    scale: guide pixels along a side of a cell.
    """

    low: np.ndarray
    sharp: np.ndarray
    valid: np.ndarray
    components: np.ndarray
    mean: np.ndarray
    cell: int
    samples: int
    scale: int

    @property
    def shape(self) -> tuple[int, int]:
        """Cells (rows, columns)."""
        height, width = self.valid.shape
        return height, width

    @cached_property
    def compared(self) -> np.ndarray:
        """The channels of the guide that show the same as the LR image; if many do, their principal components."""
        related: np.ndarray = self.sharp[related_channels(self.low, self.sharp, self.samples)]
        if len(related) <= _CHANNELS:
            return related
        flat = related.reshape(len(related), -1)
        mean, components = _principal(iter([flat]), _CHANNELS)
        return np.asarray((components @ (flat - mean[:, None])).reshape(-1, *related.shape[1:]))

    @property
    def blur_samples(self) -> float:
        """Standard deviation, in samples, of the Gaussian that gives samples, which are means, the usual footprint."""
        boxed = ((1 / self.samples) ** 2 - (1 / self.scale) ** 2) / 12  # the variance that the averaging has added
        width: float = max((_USUAL_SIGMA / self.cell) ** 2 - boxed, 1e-4) ** 0.5 * self.samples
        return width

    def blurred(self, channels: np.ndarray) -> np.ndarray:
        """Channels of the guide (G, h o, w o), blurred by an LR pixel's usual footprint, a Gaussian."""
        from scipy.ndimage import gaussian_filter

        return np.stack([gaussian_filter(channel, self.blur_samples, mode="nearest") for channel in channels])

    def at_cells(self, channels: np.ndarray) -> np.ndarray:
        """Channels of the guide (G, h o, w o) as an LR image has them: (G, h, w)."""
        rows, columns = (self.footprints(count) for count in self.shape)
        return np.stack([rows @ channel.astype(np.float64) @ columns.T for channel in channels])

    def footprints(self, count: int) -> Any:
        """Usual footprints of LR pixels along an axis of `count` cells, over their samples: sparse (count, count o).

        Borders are mirrored, as by `Footprint.sampler`.
        """
        reach = math.ceil(_REACH_SIGMAS * self.blur_samples)
        distance = np.arange(-reach, self.samples + reach) - (self.samples - 1) / 2
        taps = np.exp(-0.5 * (distance / self.blur_samples) ** 2)
        return correlation_axis(count * self.samples, self.samples, -reach, taps / taps.sum())

    def places(self, displacement: np.ndarray) -> np.ndarray:
        """Places (2, h, w) in `sharp` of the cells' centres, moved by `displacement` (2, h, w), in cells."""
        cells = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"))
        places: np.ndarray = (cells + displacement) * self.samples + (self.samples - 1) / 2
        return places


def view_of(lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None, fine: bool = False) -> View:
    """The view of an LR image (B, h, w) and a guide (G, h s, w s) in memory; mask: (h s, w s), True where valid.

    fine: as for `view_beside`. Raises HsisrError for images that do not fit, or without a valid pixel.
    """
    lr, guide = check_views(lr, guide, scale, mask)
    valid = np.ones(guide.shape[1:], bool) if mask is None else mask
    low = low_view(lambda: iter([(lr, np.ones(lr.shape[1:], bool))]), lr.shape[1:])
    return view_beside(low, lambda: iter([(guide, valid)]), scale, fine)


def low_view(strips: Strips, shape: tuple[int, int], most: int = MOST_CELLS) -> LowView:
    """The view of an LR image of `shape` (h, w), of at most so many cells a side. Its strips are read twice.

    Raises HsisrError for an image without a valid pixel.
    """
    cell = cells_of(shape, most)
    mean, components = _principal((lr[:, valid] for lr, valid in strips()), min(_COMPONENTS, shape[0] * shape[1]))
    values, inside = [], []
    for lr, valid in strips():
        rows, columns = (size // cell * cell for size in valid.shape)
        if rows:
            projected = np.tensordot(components, lr[:, :rows, :columns] - mean[:, None, None], axes=1)
            values.append(_means(projected, cell))
            inside.append(_blocks(valid[:rows, :columns], cell).all(axis=(1, 3)))
    return LowView(np.concatenate(values, axis=1), np.concatenate(inside), components, mean, cell)


def view_beside(low: LowView, guide_strips: Strips, scale: int, fine: bool = False) -> View:
    """The view of an LR image and a guide. The guide's strips are read once.

    guide_strips: values (G, n s, w s), valid (n s, w s). fine: whether to take more samples, one for each guide pixel
    if memory allows, to find lines in the guide. Raises HsisrError for a pair without a valid pixel.
    """
    side = low.cell * scale
    counts = [n for n in range(min(_SAMPLES, side), side + 1) if side % n == 0]
    fitting = [n for n in counts if n * max(low.valid.shape) <= _MOST_SAMPLES]
    samples = max(fitting, default=counts[0]) if fine else counts[0]
    sharp, inside = [], []
    for guide, seen in guide_strips():
        rows, columns = (size // side * side for size in seen.shape)
        if rows:
            inside.append(_blocks(seen[:rows, :columns], side).all(axis=(1, 3)))
            sharp.append(_means(guide[:, :rows, :columns], side // samples).astype(np.float32))
    channels, valid = np.concatenate(sharp, axis=1), low.valid & np.concatenate(inside)
    values = low.values
    if not valid.any():
        raise HsisrError("registration: LR image and guide have no valid pixel in common")
    if not valid.all():
        down, across = nearest_present(~valid)
        values = values[:, down, across]
        blocks = channels.reshape(len(channels), len(valid), samples, -1, samples)
        channels = blocks[:, down, :, across].transpose(2, 0, 3, 1, 4).reshape(channels.shape)
    return View(values, channels, valid, low.components, low.mean, low.cell, samples, side)


def read_at(images: np.ndarray, places: np.ndarray, order: int = 3) -> np.ndarray:
    """Images (G, H, W) at places (2, h, w), rows and columns; order: of the spline between pixels."""
    from scipy.ndimage import map_coordinates

    return np.stack([map_coordinates(image, places, order=order, mode="nearest") for image in images])


def cells_of(shape: tuple[int, int], most: int = MOST_CELLS) -> int:
    """LR pixels along a side of a cell, for an LR image of this shape, with at most so many cells a side."""
    return -(-max(shape) // most)


def _principal(pixels: Iterator[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (B,) and strongest principal components (P, B), strongest first, of pixels (B, n) that come in parts."""
    total, products, seen = np.zeros(1), np.zeros((1, 1)), 0
    for part in pixels:
        part = part.astype(np.float64)
        total, products, seen = total + part.sum(axis=1), products + part @ part.T, seen + part.shape[1]
    if not seen:
        raise HsisrError("registration: LR image and guide have no valid pixel in common")
    mean = total / seen
    values, vectors = np.linalg.eigh(products / seen - np.outer(mean, mean))
    kept = min(count, max(1, int(np.sum(values > 1e-12 * max(values[-1], np.finfo(float).tiny)))))
    return mean, vectors[:, ::-1][:, :kept].T


def _blocks(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W) as (H / side, side, W / side, side)."""
    height, width = image.shape
    return image.reshape(height // side, side, width // side, side)


def _means(cube: np.ndarray, side: int) -> np.ndarray:
    """Means of blocks of side x side pixels, float64."""
    return np.stack([_blocks(plane, side).mean(axis=(1, 3), dtype=np.float64) for plane in cube])
