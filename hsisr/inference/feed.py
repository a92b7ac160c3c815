"""Feeding a method: it gets windows of LR image and guide as in its training. Its result is turned into values."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from hsisr.degrade.displacement import Displacement
from hsisr.degrade.sampling import interpolate_at
from hsisr.degrade.sensor import Footprint, sensor_in
from hsisr.errors import HsisrError
from hsisr.inference.guide import Guide
from hsisr.inference.images import Source
from hsisr.inference.own_detail import OWN_REACH_LR_PX, own_image
from hsisr.missing import fill_invalid
from hsisr.models.apply import Method
from hsisr.models.windows import Effort, Window, hr_spans

#: Seconds to read, compress and write one sample of the result, on a core of 2020, measured on GeoTIFF.
_WRITTEN = 0.05e-6
#: Bytes for a pixel on the guide's grid: its place in the LR image, and one image that is interpolated there.
_PLACES_BYTES = 80


@dataclass(frozen=True)
class Feed:
    """A method with its images.

    peak, guide_peak: the values that the method sees as 1. memory: bytes for the work on one window. footprint: of an
    LR pixel, measured once for the whole scene; without it, some methods would measure it in every window. learnt: the
    facts about this scene, for a method that learns scenes (`hsisr.inference.learning`). way: from a pixel of the guide
    as it lies to its ground in the LR image, if the result lies on the guide's grid; None: on the LR image's.
    """

    method: Method
    lr: Source
    guide: Guide | None
    peak: float = 1.0
    guide_peak: float = 1.0
    memory: int | None = None
    footprint: Footprint | None = None
    learnt: Any = None
    way: Displacement | None = None

    @property
    def shown_guide(self) -> Guide | None:
        """The guide as it lies on the result."""
        return self.guide if self.guide is None or self.way is None else self.guide.as_it_lies

    @property
    def guide_channels(self) -> int:
        """Number of the guide's bands; 0 without a guide."""
        return 0 if self.guide is None else self.guide.channels

    @property
    def bytes_per_lr_pixel(self) -> int:
        """Memory for the result of one LR pixel during the computation."""
        own = 0 if self.way is None else _PLACES_BYTES
        return (self.method.bytes_per_pixel(self.lr.shape[0], self.guide_channels) + own) * self.method.scale**2

    @property
    def learning_bytes(self) -> int:
        """Memory for learning the scene; 0 for a method that learns no scenes."""
        bands, height, width = self.lr.shape
        return self.method.learning_bytes((height, width), bands, self.guide_channels)

    @property
    def effort(self) -> Effort:
        """Seconds of a usual core to learn the scene, and to make the whole result; 0 if unknown."""
        bands, height, width = self.lr.shape
        return self.method.effort((height, width), bands, self.guide_channels)

    @property
    def writing_effort(self) -> float:
        """Seconds of a usual core to write the result."""
        return _WRITTEN * float(np.prod(self.lr.shape, dtype=np.float64)) * self.method.scale**2

    @property
    def may_lack_pixels(self) -> bool:
        """Whether a pixel of the result can lack a value, because one of its inputs can."""
        images = [self.lr.scene]
        if self.guide is not None:
            if self.guide.coverage < 1 or self.guide.lies_elsewhere:
                return True
            images.append(self.guide.source.scene)
        return any(scene.nodata is not None or scene.mask is not None for scene in images)

    @cached_property
    def range(self) -> float:
        """Largest minus smallest value of the LR image."""
        low, high = self.lr.reach
        return high - low or 1.0

    def __call__(
        self, rows: tuple[int, int], columns: tuple[int, int], bands: slice | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (bands, scale n, scale m) float32 and valid pixels, of [start, stop) LR rows and columns.

        bands: the good bands to compute; None: all. A pixel without data in the LR image or the guide gets the value of
        its nearest neighbour as input, and NaN in the result. A window without any data is not computed.
        Where the guide shows other ground, the result is `own_image`. Raises HsisrError if the method gives NaN or
        infinity.
        """
        before = rows[0] % self.method.lr_period, columns[0] % self.method.lr_period
        place = (rows[0] - before[0], rows[1]), (columns[0] - before[1], columns[1])
        if self.way is None:
            estimate, valid = self._on_grid(*place, bands)
        else:
            estimate, valid = self._on_guide(self.way, *place, slice(None) if bands is None else bands)
        if not all(np.isfinite(band[valid]).all() for band in estimate):
            raise HsisrError(
                f"{self.method.name}: gives NaN or infinity for {self.lr.label}: its training diverged, or it cannot "
                f"do such images{'' if self.method.precision == '32' else ', or precision 32 would do it'}"
            )
        estimate *= np.float32(self.peak)
        estimate[:, ~valid] = np.nan
        top, left = (count * self.method.scale for count in before)
        return estimate[:, top:, left:], valid[top:, left:]

    def _on_grid(
        self, rows: tuple[int, int], columns: tuple[int, int], bands: slice | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same on the LR image's grid, of a window that starts where the method allows it.

        Values are as the method sees them, and any where there are none.
        """
        scale = self.method.scale
        shown = self.show(rows, columns, bands)
        low, sharp, valid, changed = shown
        if not valid.any():
            return np.full((len(low), *valid.shape), np.nan, np.float32), valid
        trusted = valid if changed is None else valid & (changed == 0)
        if self.learnt is not None:
            corner = rows[0] * scale, columns[0] * scale
            estimate = self.method.part(self.learnt, Window(low, shown.guide, trusted), corner)
            estimate = estimate if bands is None else estimate[bands]
        else:
            estimate = self.method(low, sharp, self.memory, sensor_in(self.footprint, trusted, scale))
        if changed is not None and changed.any():
            estimate += changed.astype(np.float32) * (own_image(low, scale, self.footprint) - estimate)
        return estimate, valid

    def _on_guide(
        self, way: Displacement, rows: tuple[int, int], columns: tuple[int, int], bands: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same on the guide's grid: the guide's own pixels, at their places in the LR image, without resampling."""
        scale = self.method.scale
        sharp, seen, places, changed = self.show_on_guide(way, rows, columns)
        low, low_valid, corner = around(self.lr, places, scale, 0 if changed is None else OWN_REACH_LR_PX)
        valid = low_valid[lr_pixels(places - corner, scale)]
        if changed is None:
            valid &= seen
        if not valid.any():
            return np.full((len(low[bands]), *valid.shape), np.nan, np.float32), valid
        estimate = self.method.at(self.learnt, FedImages(self), sharp, places, seen)[bands]
        if changed is not None and changed.any():
            alone = own_image(fill_invalid(low, low_valid)[bands] / np.float32(self.peak), scale, self.footprint)
            alone = interpolate_at(alone, np.ones(alone.shape[1:], bool), places - corner)[0]
            estimate += changed.astype(np.float32) * (alone - estimate)
        return estimate, valid

    def show(self, rows: tuple[int, int], columns: tuple[int, int], bands: slice | None = None) -> "Shown":
        """A window of the images as the method sees them, with [start, stop) LR rows and columns."""
        scale = self.method.scale
        low, low_valid = self.lr.window(rows, columns, bands)
        valid = low_valid.repeat(scale, axis=0).repeat(scale, axis=1)
        sharp, changed = None, None
        if self.guide is not None and self.method.needs_guide:
            place = hr_spans(rows, columns, scale)
            sharp, sharp_valid, changed = self.guide.show(*place)
            valid &= sharp_valid
            sharp = fill_invalid(sharp, sharp_valid) / np.float32(self.guide_peak)
        return Shown(fill_invalid(low, low_valid) / np.float32(self.peak), sharp, valid, changed)

    def show_on_guide(self, way: Displacement, rows: tuple[int, int], columns: tuple[int, int]) -> "OnGuide":
        """The guide's own pixels as the method sees them, in a window as for `show`. way: that of the feed."""
        assert self.guide is not None
        spans, own = hr_spans(rows, columns, self.method.scale), self.guide.own
        sharp, seen = self.guide.as_it_lies.window(*spans)
        places = way.places(*spans)
        changed = None if own is None else np.maximum(own.share_at(places), ~seen)
        sharp = self.guide.evened(sharp, places)
        return OnGuide(fill_invalid(sharp, seen) / np.float32(self.guide_peak), seen, places, changed)


@dataclass(frozen=True, eq=False)
class FedImages:
    """The images of a feed on the LR image's grid, as `hsisr.models.windows.Images`.

    told: gets the seconds of a usual core that are done and that learning the scene takes, or None.
    """

    feed: Feed
    told: Callable[[float, float], None] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""
        return self.feed.lr.shape[1], self.feed.lr.shape[2]

    def window(self, rows: tuple[int, int], columns: tuple[int, int]) -> Window:
        """The window of [start, stop) LR rows and columns."""
        shown = self.feed.show(rows, columns)
        low, _, valid, changed = shown
        if changed is not None:
            valid = valid & (changed == 0)
        whole = rows == (0, self.size[0]) and columns == (0, self.size[1])
        # if the scene has no complete LR pixel, it is learnt from its filled pixels
        mask = sensor_in(None, valid, self.feed.method.scale).mask if whole else valid
        return Window(low, shown.guide, mask)

    def own_guide(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The guide's pixels of which the result is made, and its valid ones, as they lie."""
        if self.feed.way is None:
            window = self.window(rows, columns)
            return window.guide, window.valid
        laid = self.feed.show_on_guide(self.feed.way, rows, columns)
        return laid.sharp, laid.seen if laid.changed is None else laid.seen & (laid.changed == 0)

    def tell(self, done: float, total: float) -> None:
        """Report the work that is done, of all the work of learning the scene."""
        if self.told is not None:
            self.told(done, total)


def around(lr: Source, places: np.ndarray, scale: int, margin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The LR image around places (2, n, m), in HR pixels: values (B, h, w), valid (h, w), and the corner (2, 1, 1).

    margin: LR pixels around the places. corner: HR row and column of the first pixel.
    """
    first = np.floor(places.min(axis=(1, 2)) / scale).astype(int) - margin
    last = np.ceil(places.max(axis=(1, 2)) / scale).astype(int) + margin + 1
    values, valid = lr.window((int(first[0]), int(last[0])), (int(first[1]), int(last[1])))
    return values, valid, (first * scale)[:, None, None]


def lr_pixels(places: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (n, m) of the LR pixels in which places (2, n, m), in HR pixels, lie."""
    rows, columns = np.floor((places + 0.5) / scale).astype(int)
    return rows, columns


class OnGuide(NamedTuple):
    """A window of the guide's own pixels. Pixels without data have the value of their nearest neighbour in the window.

    sharp: (G, n, m). seen: (n, m), pixels with data. places: (2, n, m), where they lie in the LR image, HR pixels.
    changed: as for `Shown`.
    """

    sharp: np.ndarray
    seen: np.ndarray
    places: np.ndarray
    changed: np.ndarray | None


class Shown(NamedTuple):
    """A method's view of a window. Pixels without data have the value of their nearest neighbour in the window.

    low: (bands, n, m). sharp: (G, scale n, scale m), None for a method without a guide. valid: HR pixels with data.
    changed: part of each pixel's ground that has changed, or lacks the guide's data, 0 to 1 (`Guide.show`); or None.
    """

    low: np.ndarray
    sharp: np.ndarray | None
    valid: np.ndarray
    changed: np.ndarray | None

    @property
    def guide(self) -> np.ndarray:
        """`sharp`; for a method without a guide, an image without channels."""
        return np.empty((0, *self.valid.shape), np.float32) if self.sharp is None else self.sharp
