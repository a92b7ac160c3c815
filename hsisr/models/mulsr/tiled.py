"""MulSR on images too large for memory: its convolutions in tiles, its one global step on the whole map.

DSCA, the directional aggregation, carries messages across the whole image, so tiles alone would change the result. But
DSCA works on a map of half the size, and all stages before and after it only see a neighbourhood. For each band, the
encoders run on windows with a margin as wide as their receptive field. Then DSCA runs on the whole map, and the end
runs on windows again. The margin of a window is computed and thrown away. At the image's border, the window ends with
the image and is padded with zeros, as the image would be. The result differs from the whole image's by rounding only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hsisr.errors import HsisrError
from hsisr.system import gpu_memory_for_maps

if TYPE_CHECKING:
    from hsisr.models.mulsr.network import MulSR

#: Default memory for the maps on a CPU.
_CPU_BYTES = 3 << 30

#: Number of maps of `width` channels at HR size: held at the peak for one image, and for each band of a batch
#: (`studies/mulsr.py --only memory` measures them); and left between the stages for each band.
MAPS_OF_GUIDE = 8
MAPS_OF_BAND = 20
_MAPS_BETWEEN = 2

#: Pixels that the stages see beyond a tile. A guided block: in pixels of its own branch; heads and `down` see one more
#: pixel each. LFCC and the end: in HR pixels.
_BLOCK_RADIUS = 7
_FINISH_RADIUS = 6

_SMALLEST_TILE = 4


@dataclass(frozen=True)
class Plan:
    """How an image is cut: tiles of `tile` x `tile` LR pixels, and `bands` bands for each DSCA."""

    tile: int
    bands: int


@dataclass(frozen=True)
class Window:
    """A tile and its margin, in LR pixels: slices of the image and of the window, rows and columns."""

    image: tuple[slice, slice]
    tile: tuple[slice, slice]
    inside: tuple[slice, slice]

    def outer(self, factor: int) -> tuple[slice, slice]:
        """The window in an image of `factor` times the LR size."""
        return _times(self.image, factor)

    def inner(self, factor: int) -> tuple[slice, slice]:
        """The tile in an image of `factor` times the LR size."""
        return _times(self.tile, factor)

    def crop(self, maps: Tensor, factor: int) -> Tensor:
        """The tile of maps (N, C, rows, columns) computed on the window."""
        rows, columns = _times(self.inside, factor)
        return maps[:, :, rows, columns]


def bands_that_fit(model: "MulSR", guide: Tensor, memory: int | None) -> int:
    """Number of bands of whole images whose maps fit into `memory` bytes at once; 0: not even one band fits.

    guide: (N, G, H, W), of these images.
    """
    limit = memory or _default_memory(guide)
    maps = limit / (len(guide) * _pixel_bytes(model, guide) * guide.shape[2] * guide.shape[3])
    return max(0, int((maps - MAPS_OF_GUIDE) / MAPS_OF_BAND))


def plan(model: "MulSR", guide: Tensor, memory: int | None) -> Plan | None:
    """The tiles that keep one image within `memory` bytes, or None if a whole band fits.

    guide: (N, G, H, W), of the images. Raises HsisrError if not even the smallest tile fits into the memory.
    """
    if bands_that_fit(model, guide, memory):
        return None
    limit = memory or _default_memory(guide)
    height, width = (n // model.scale for n in guide.shape[2:])
    one_map = _pixel_bytes(model, guide) * guide.shape[2] * guide.shape[3]
    lr_pixel = (MAPS_OF_GUIDE + MAPS_OF_BAND) * _pixel_bytes(model, guide) * model.scale**2
    margins = 2 * max(_margins(model))
    smallest = (_SMALLEST_TILE + margins) ** 2 * lr_pixel
    between = _MAPS_BETWEEN * one_map
    if between + smallest > limit:
        raise HsisrError(
            f"MulSR: {limit / 2**20:.0f} MiB are too few for an image of {guide.shape[2]} x {guide.shape[3]} pixels; "
            f"give at least {ceil((between + smallest) / 2**20)} MiB"
        )
    bands = max(1, min(int(limit / 2 / between), int((limit - smallest) / between)))
    tile = isqrt(int((limit - bands * between) / lr_pixel)) - margins
    return Plan(min(tile, max(height, width)), bands)


def super_resolve(model: "MulSR", triplets: Tensor, guide: Tensor, chosen: Plan) -> Tensor:
    """triplets (N, B, 3, h, w), guide (N, G, scale h, scale w) -> (N, B, H, W), as `MulSR.super_resolve` gives it."""
    results = [
        torch.cat([_bands(model, group, sharp[None], chosen.tile) for group in image.split(chosen.bands)], dim=1)
        for image, sharp in zip(triplets, guide, strict=True)
    ]
    return torch.cat(results)


def _bands(model: "MulSR", bands: Tensor, guide: Tensor, tile: int) -> Tensor:
    """Triplets (K, 3, h, w), guide (1, G, H, W) -> (1, K, H, W)."""
    maps = _Between(model, bands)
    fine, coarse, finish = _margins(model)
    for window in windows(bands.shape[2:], tile, fine):
        maps.put_fine(window, guide)
    if model.mii or model.lfcc:
        for window in windows(bands.shape[2:], tile, coarse):
            maps.put_coarse(window, guide)
    x, x2, q = maps.x, maps.x2, None
    assert x2 is not None  # there is at least one window
    if x is not None and maps.reduced is not None:  # with MII
        q = model.shared_factor(maps.reduced, x)
    maps.reduced = None
    sr = x2.new_empty(len(bands), 1, *guide.shape[2:])
    for window in windows(bands.shape[2:], tile, finish):
        for k in range(len(bands)):
            coarse_part, q_part = (None if m is None else _of_band(m, k, window, model.scale // 2) for m in (x, q))
            end, *_ = model.finish(coarse_part, _of_band(x2, k, window, model.scale), q_part)
            sr[(k, slice(None), *window.inner(model.scale))] = window.crop(end, model.scale)[0]
    return model.with_skip(sr, bands, model.scale).transpose(0, 1)


def _of_band(maps: Tensor, k: int, window: Window, factor: int) -> Tensor:
    """The window's part of map k, from maps (K, C, rows, columns) of `factor` times the LR size: (1, C, .., ..)."""
    return maps[(slice(k, k + 1), slice(None), *window.outer(factor))]


class _Between:
    """The results of the stages before DSCA for K triplets: x2 (K, width, H, W), down(x2) and x at half the size."""

    x2: Tensor | None = None
    reduced: Tensor | None = None
    x: Tensor | None = None

    def __init__(self, model: "MulSR", bands: Tensor) -> None:
        self.model, self.bands = model, bands

    def put_fine(self, window: Window, guide: Tensor) -> None:
        """Run the beta branch on a window, and keep the tile."""
        model, scale = self.model, self.model.scale
        parts = model.fine_guide(guide[(..., *window.outer(scale))])
        for k, triplet in enumerate(self.bands[(..., *window.image)].split(1)):
            x2 = model.fine(triplet, parts)
            self.x2 = self._put(self.x2, k, window, x2, scale)
            if model.mii:
                self.reduced = self._put(self.reduced, k, window, model.down(x2), scale // 2)

    def put_coarse(self, window: Window, guide: Tensor) -> None:
        """Run the alpha branch on a window, and keep the tile."""
        model = self.model
        parts = model.coarse_guide(guide[(..., *window.outer(model.scale))])
        for k, triplet in enumerate(self.bands[(..., *window.image)].split(1)):
            self.x = self._put(self.x, k, window, model.coarse(triplet, parts), model.scale // 2)

    def _put(self, whole: Tensor | None, k: int, window: Window, maps: Tensor, factor: int) -> Tensor:
        """Put the tile of band k into the whole map. The first window makes the map: autocast sets its type."""
        if whole is None:
            size = (len(self.bands), maps.shape[1], *(factor * n for n in self.bands.shape[2:]))
            whole = torch.empty(size, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        whole[(k, slice(None), *window.inner(factor))] = window.crop(maps, factor)[0]
        return whole


def windows(size: Sequence[int], tile: int, margin: int) -> Iterator[Window]:
    """Tiles of an image of `size` (rows, columns), row by row; each has its margin, cut at the image's border."""
    for top in range(0, size[0], tile):
        for left in range(0, size[1], tile):
            rows, columns = _cut(top, size[0], tile, margin), _cut(left, size[1], tile, margin)
            yield Window((rows[0], columns[0]), (rows[1], columns[1]), (rows[2], columns[2]))


def _cut(start: int, length: int, tile: int, margin: int) -> tuple[slice, slice, slice]:
    """The slices of a `Window` along one axis of `length` pixels, for the tile that begins at `start`."""
    stop = min(start + tile, length)
    first = max(0, start - margin)
    return slice(first, min(length, stop + margin)), slice(start, stop), slice(start - first, stop - first)


def _margins(model: "MulSR") -> tuple[int, int, int]:
    """Margins, in LR pixels, that a tile's value depends on: in the beta branch, the alpha branch, and the end."""
    coarse = _BLOCK_RADIUS * len(model.inter_body_x2) + 1
    beta, alpha, end = (ceil(pixels / model.scale) for pixels in (coarse + 1, 2 * coarse, _FINISH_RADIUS))
    return beta, alpha, end


def _pixel_bytes(model: "MulSR", guide: Tensor) -> int:
    """Bytes of an HR pixel in a map of `width` channels."""
    return model.width * (2 if torch.is_autocast_enabled(guide.device.type) else guide.element_size())


def _default_memory(guide: Tensor) -> int:
    if guide.device.type == "cuda":
        return gpu_memory_for_maps(guide.device)
    return _CPU_BYTES


def _times(slices: tuple[slice, slice], factor: int) -> tuple[slice, slice]:
    rows, columns = (slice(factor * s.start, factor * s.stop) for s in slices)
    return rows, columns
