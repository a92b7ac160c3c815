"""Blocks: parts of a scene with result and guide, at both resolutions. Their number is limited by memory and time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from hsisr.degrade.displacement import Displacement
from hsisr.degrade.sensor import Footprint
from hsisr.inference.feed import Feed
from hsisr.inference.guide import Guide
from hsisr.inference.images import Source
from hsisr.missing import fill_invalid
from hsisr.models.windows import hr_spans

#: Usual side of the tiles for the quality index Q, in pixels of either resolution.
TILE_PX = 32
#: Most samples of the result in memory.
_MOST_SAMPLES = 2**24
#: Most blocks along an axis. In a larger scene, they are spread evenly.
_PLACES = 4
#: Least part of a footprint's weight on valid pixels.
_WHOLE = 0.999

Span = tuple[int, int]


@dataclass(frozen=True)
class Blocks:
    """The sample of a scene. spans: of rows and of columns, in LR pixels. share: sampled part of the scene, 0 to 1."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    share: float

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        return product(self.rows, self.columns)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)


@dataclass(frozen=True, eq=False)
class Block:
    """A part of the scene, n x m LR pixels.

    low, degraded: LR image, and result seen through the footprint, (B, n, m). seen: (n, m), True where both have data.
    guide_low: the guide seen through the footprint, (G, n, m). estimate: (B, s n, s m). guide: (G, s n, s m). valid:
    (s n, s m), True where both have data. made: True where the result has data. wide: the result with `margin` more
    pixels on each side, or None. beside: values (B, k) of the result and (G, k) of the guide at pixels where both have
    data, as they lie, never resampled; or None. All else lies on the LR image's grid.
    """

    low: np.ndarray
    degraded: np.ndarray
    seen: np.ndarray
    guide_low: np.ndarray | None
    estimate: np.ndarray
    guide: np.ndarray | None
    valid: np.ndarray
    made: np.ndarray
    wide: np.ndarray | None
    beside: tuple[np.ndarray, np.ndarray] | None


def choose(feed: Feed) -> Blocks:
    """Blocks of whole tiles. They cover a small scene, or are spread over a large one."""
    bands, height, width = feed.lr.shape
    side = int((_MOST_SAMPLES / bands) ** 0.5) // feed.method.scale
    side = max(TILE_PX, side // TILE_PX * TILE_PX)
    rows, columns = _spans(height, side), _spans(width, side)
    covered = [sum(stop - start for start, stop in spans) for spans in (rows, columns)]
    return Blocks(rows, columns, covered[0] * covered[1] / (height * width))


def read_low(feed: Feed, footprint: Footprint, rows: Span, columns: Span) -> tuple[np.ndarray, ...]:
    """For a block: LR image (B, n, m), its valid pixels (n, m), and the guide through the footprint (G, n, m).

    A pixel without data in the guide is not valid. Without a guide, G is 0.
    """
    low, seen = feed.lr.window(rows, columns)
    if feed.guide is None:
        return low, seen, np.empty((0, *seen.shape), np.float32)
    place, inside = _span_around(feed, footprint, rows, columns, 0)
    sharp, valid = _guide_window(feed.guide, *place)
    sampler = footprint.sampler(feed.method.scale, valid.shape)
    whole = sampler(valid[None].astype(np.float32))[0] > _WHOLE
    return low, seen & whole[inside], sampler(fill_invalid(sharp, valid))[:, *inside]


def read(feed: Feed, result: Source, footprint: Footprint, rows: Span, columns: Span, margin: int = 0) -> Block:
    """All parts of a block. margin: HR pixels of `wide` on each side, repeated at the scene's ends; 0: no `wide`."""
    scale = feed.method.scale
    low, seen, guide_low = read_low(feed, footprint, rows, columns)
    place, inside = _span_around(feed, footprint, rows, columns, margin)
    values, valid = on_lr_grid(feed, result).window(*place)
    values = fill_invalid(values, valid)
    sampler = footprint.sampler(scale, valid.shape)
    whole = sampler(valid[None].astype(np.float32))[0] > _WHOLE
    core = tuple(slice(part.start * scale, part.stop * scale) for part in inside)
    guide, valid_core, beside = None, valid[core], None
    if feed.guide is not None:
        guide, guide_valid = _guide_window(feed.guide, *hr_spans(rows, columns, scale))
        valid_core = valid_core & guide_valid
        beside = values[:, *core][:, valid_core], guide[:, valid_core]
    if feed.way is not None:
        beside = _as_they_lie(feed, feed.way, result, rows, columns)
    return Block(
        low=low,
        degraded=sampler(values)[:, *inside],
        seen=seen & whole[inside],
        guide_low=guide_low if feed.guide is not None else None,
        estimate=values[:, *core],
        guide=guide,
        valid=valid_core,
        made=valid[core],
        wide=_with_margin(values, core, margin) if margin else None,
        beside=beside,
    )


def on_lr_grid(feed: Feed, image: Source) -> Guide:
    """An image that lies as the result does, to be read on the LR image's grid; moved if that is another one."""
    height, width = (size * feed.method.scale for size in feed.lr.shape[1:])
    plain = Guide(image, (0, 0), (height, width))
    return plain if feed.way is None or feed.guide is None else plain.displace(feed.guide.displacement)


def _as_they_lie(
    feed: Feed, way: Displacement, result: Source, rows: Span, columns: Span
) -> tuple[np.ndarray, np.ndarray]:
    """`Block.beside` on the guide's grid, in the window that has the block's rows and columns there."""
    values, valid = result.window(*hr_spans(rows, columns, feed.method.scale))
    laid = feed.show_on_guide(way, rows, columns)
    valid = valid & laid.seen
    if laid.changed is not None:
        valid &= laid.changed == 0
    return values[:, valid], laid.sharp[:, valid] * np.float32(feed.guide_peak)


def _guide_window(guide: Guide, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
    """Values and valid pixels of the guide. A stand-in for the guide has no valid pixels, as it proves nothing."""
    values, valid, changed = guide.show(rows, columns)
    return values, valid if changed is None else valid & (changed == 0)


def _spans(size: int, side: int) -> tuple[Span, ...]:
    """Blocks along an axis. The last block of a fully sampled scene may be shorter."""
    spans = [(start, min(start + side, size)) for start in range(0, size, side)]
    if len(spans) <= _PLACES:
        return tuple(spans)
    return tuple(spans[round(place)] for place in np.linspace(0, size // side - 1, _PLACES))


def _span_around(
    feed: Feed, footprint: Footprint, rows: Span, columns: Span, margin: int
) -> tuple[tuple[Span, Span], tuple[slice, slice]]:
    """HR rows and columns inside the scene that a block's footprints read, and the block's LR pixels in them."""
    scale = feed.method.scale
    taps = (footprint.rows, footprint.columns)
    places, inside = [], []
    for span, size, start, weights in zip((rows, columns), feed.lr.shape[1:], footprint.start, taps, strict=True):
        reach = max(-start, start + len(weights) - scale, margin, 0)
        halo = -(-reach // scale)
        first, last = max(0, span[0] - halo), min(size, span[1] + halo)
        places.append((first * scale, last * scale))
        inside.append(slice(span[0] - first, span[1] - first))
    return (places[0], places[1]), (inside[0], inside[1])


def _with_margin(values: np.ndarray, core: tuple[slice, ...], margin: int) -> np.ndarray:
    """The core with `margin` pixels on each side. At the scene's ends, the last pixel is repeated."""
    widths, cut = [(0, 0)], [slice(None)]
    for part, size in zip(core, values.shape[1:], strict=True):
        first, last = part.start - margin, part.stop + margin
        widths.append((max(0, -first), max(0, last - size)))
        cut.append(slice(max(0, first), min(size, last)))
    return np.pad(values[tuple(cut)], widths, mode="edge")
