"""What LR image and guide show of one ground, both brought to cells of an LR pixel's size, to be compared there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hsisr.degrade.estimation import related_channels
from hsisr.degrade.psf import FWHM_PER_SIGMA
from hsisr.degrade.simulate import check_cube
from hsisr.errors import HsisrError
from hsisr.missing import nearest_present

#: Principal components of the LR image that explain a guide; more would begin to explain its shift.
_COMPONENTS = 10
#: Principal components of a guide of many channels that are compared.
_CHANNELS = 4
#: Most cells a side: larger scenes are compared in cells of several LR pixels.
MOST_CELLS = 768
#: Samples a side, for each cell, in which the guide is kept: what a footprint leaves needs no more.
_SAMPLES = 3
#: Width of an LR pixel's footprint where it is not known, in LR pixels: a full width at half maximum of one.
_USUAL_SIGMA = 1 / FWHM_PER_SIGMA


@dataclass(frozen=True, eq=False)
class Strip:
    """Rows of a pair: lr (B, n, w) with valid (n, w), guide (G, n s, w s) with guide_valid; from LR row `first`."""

    first: int
    lr: np.ndarray
    valid: np.ndarray
    guide: np.ndarray
    guide_valid: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """A pair in cells of `cell` LR pixels a side.

    low: (P, h, w), strongest principal components of the LR image, = components (P, B) @ (lr - mean (B,)).
    sharp: (G, h o, w o), the guide, o = samples a side for each cell. valid: (h, w), where all of both is valid.
    scale: guide pixels a side for each cell.
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
        """The channels of the guide that show what the LR image does; principal components of them where many do."""
        related: np.ndarray = self.sharp[related_channels(self.low, self.sharp, self.samples)]
        if len(related) <= _CHANNELS:
            return related
        flat = related.reshape(len(related), -1)
        mean, components = _principal(iter([flat]), _CHANNELS)
        return np.asarray((components @ (flat - mean[:, None])).reshape(-1, *related.shape[1:]))

    def blurred(self, channels: np.ndarray) -> np.ndarray:
        """Channels of the guide (G, h o, w o) seen through an LR pixel's usual footprint, a Gaussian."""
        from scipy.ndimage import gaussian_filter

        boxed = ((1 / self.samples) ** 2 - (1 / self.scale) ** 2) / 12  # the variance that averaging has brought
        width = max((_USUAL_SIGMA / self.cell) ** 2 - boxed, 1e-4) ** 0.5 * self.samples
        return np.stack([gaussian_filter(channel, width, mode="nearest") for channel in channels])

    def at_cells(self, channels: np.ndarray) -> np.ndarray:
        """Channels of the guide (G, h o, w o) as an LR image has them, blurred and read at the cells' centres."""
        return read_at(self.blurred(channels), self.places(np.zeros((2, *self.shape))))

    def places(self, displacement: np.ndarray) -> np.ndarray:
        """Where, in `sharp`, the cells' centres lie when displaced by (2, h, w) cells: (2, h, w)."""
        cells = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"))
        places: np.ndarray = (cells + displacement) * self.samples + (self.samples - 1) / 2
        return places


def view_of(lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None) -> View:
    """The view of an LR image (B, h, w) and a guide (G, h s, w s) in memory; mask: (h s, w s), True where valid.

    Raises HsisrError for images that do not fit, or without a valid pixel.
    """
    lr, guide = check_cube(lr, 1), check_cube(guide, 1)
    if guide.shape[1:] != (lr.shape[1] * scale, lr.shape[2] * scale):
        raise HsisrError(f"registration: LR {lr.shape[1:]} and guide {guide.shape[1:]} do not differ by scale {scale}")
    valid = np.ones(guide.shape[1:], bool) if mask is None else np.asarray(mask, bool)
    whole = Strip(0, lr, np.ones(lr.shape[1:], bool), guide, valid)
    return view_of_strips(lambda: iter([whole]), lr.shape[1:], scale)


def view_of_strips(strips: Callable[[], Iterator[Strip]], shape: tuple[int, int], scale: int) -> View:
    """The view of a pair that is read by strips, twice; shape: of the LR image, (h, w).

    strips: gives all strips from the top; their rows, but for the last one's, are a multiple of `cells_of(shape)`.
    Raises HsisrError for a pair without a valid pixel.
    """
    cell = cells_of(shape)
    mean, components = _principal(
        (strip.lr[:, strip.valid] for strip in strips()), min(_COMPONENTS, shape[0] * shape[1])
    )
    samples = next(n for n in range(min(_SAMPLES, cell * scale), cell * scale + 1) if cell * scale % n == 0)
    low, sharp, valid = [], [], []
    for strip in strips():
        height, width = (size // cell for size in strip.valid.shape)
        if not height:
            continue
        rows, columns = height * cell, width * cell
        inside = strip.guide_valid[: rows * scale, : columns * scale]
        seen = strip.valid[:rows, :columns] & _blocks(inside, scale).all(axis=(1, 3))
        values = np.tensordot(components, strip.lr[:, :rows, :columns] - mean[:, None, None], axes=1)
        low.append(_means(values, cell))
        valid.append(_blocks(seen, cell).all(axis=(1, 3)))
        guide = strip.guide[:, : rows * scale, : columns * scale]
        sharp.append(_means(guide, cell * scale // samples).astype(np.float32))
    joined, all_valid = np.concatenate(low, axis=1), np.concatenate(valid)
    channels = np.concatenate(sharp, axis=1)
    if not all_valid.any():
        raise HsisrError("registration: LR image and guide have no valid pixel in common")
    rows, columns = nearest_present(~all_valid)
    if not all_valid.all():
        joined = joined[:, rows, columns]
        blocks = channels.reshape(len(channels), len(all_valid), samples, -1, samples)
        channels = blocks[:, rows, :, columns].transpose(2, 0, 3, 1, 4).reshape(channels.shape)
    return View(joined, channels, all_valid, components, mean, cell, samples, cell * scale)


def read_at(images: np.ndarray, places: np.ndarray, order: int = 3) -> np.ndarray:
    """Images (G, H, W) at places (2, h, w), rows and columns; order: of the spline between pixels."""
    from scipy.ndimage import map_coordinates

    return np.stack([map_coordinates(image, places, order=order, mode="nearest") for image in images])


def cells_of(shape: tuple[int, int]) -> int:
    """LR pixels a side of a cell, for an LR image of this shape."""
    return -(-max(shape) // MOST_CELLS)


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
