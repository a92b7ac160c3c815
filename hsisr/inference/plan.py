"""The plan of a run: the scene's tiles, and the cost in disk space and time, reported before the run starts."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsisr.errors import HsisrError, option
from hsisr.files import check_space, size
from hsisr.inference import halo as halos
from hsisr.inference import kept
from hsisr.inference.feed import Feed
from hsisr.inference.own_detail import OWN_REACH_LR_PX
from hsisr.inference.staging import Staging
from hsisr.inference.tiles import Tiling, cores
from hsisr.screen import say
from hsisr.system import available_memory

#: LR pixels on each side of a border where two tiles fade into each other.
BLEND = 4
#: Largest side of a tile's window, in output pixels. Larger windows save little halo, and lose more when a run stops.
_MOST_WINDOW_PX = 1536
#: Smallest side of a tile, in LR pixels.
_LEAST_TILE = 4 * BLEND
#: By default, a tile may take the free memory divided by the first number, but no more than the second. The third is
#: used if the system does not report its free memory.
_FREE_PART, _MOST_DEFAULT, _UNKNOWN = 4, 8 * 2**30, 768 * 2**20
#: A tile may take at least the memory divided by this, however much what was learnt of the scene takes.
_LEAST_PART = 4
#: Side, in LR pixels, of the window that is timed for a run of one tile.
_TIMED_PX = 24
#: Largest side, in HR pixels, of the timed window if the method learns scenes: its tiles are quick.
_TIMED_HR_PX = 256
#: Seconds of a usual core for a tile of a method that learns scenes, beside its pixels, measured.
_TILE = 5e-3


@dataclass(frozen=True)
class Plan:
    """Tiles of a run, the measured error at their borders (part of the scene's range; 0 for one tile), and its cost."""

    tiling: Tiling
    error: float
    seconds: float

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.tiling.rows) * len(self.tiling.columns)

    def ahead(self, feed: Feed) -> float:
        """Time to write the result, divided by the time for all tiles.

        The time for tiles is measured. Tiles of a method that learns scenes are too quick for this: their time is that
        of a usual core.
        """
        made = feed.effort.making * self.tiling.computed_pixels / (self.tiling.height * self.tiling.width)
        made = made + self.tiles * _TILE if made else self.seconds
        return feed.writing_effort / max(made, 1e-9)


def make(feed: Feed, memory: int, tile: int | None, halo: int | None, exact: bool, note: Callable[[str], None]) -> Plan:
    """Choose the settings that the user left open, and measure.

    feed: the method's images. memory: bytes for one tile. tile, halo: in LR pixels; None: the largest tile that memory
    allows, and the halo of the probe. exact: one tile, the whole scene. note: gets one line for the user if no possible
    halo hides the borders.
    """
    height, width = feed.lr.shape[1:]
    whole = Tiling(height, width, max(height, width), 0, 0)
    if feed.learnt is not None:
        tiling = _exact_tiles(feed, memory, tile, note)
        side = min(tiling.tile + 2 * tiling.halo, max(_TIMED_PX, _TIMED_HR_PX // feed.method.scale))
        return Plan(tiling, 0.0, _seconds(feed, tiling, _rate(feed, side)))
    if exact or (tile is None and _fits(feed, max(height, 1) * max(width, 1), memory)):
        return Plan(whole, 0.0, _seconds(feed, whole, _rate(feed)))
    found = None
    if halo is None:
        found = halos.probe(feed, memory)
        halo = found.halo
    side = tile or _tile_side(feed, memory, halo, BLEND, note)
    shortest = min(stop - start for length in (height, width) for start, stop in cores(length, side))
    blend = min(BLEND, shortest // 2)
    tiling = Tiling(height, width, side, blend, halo)
    if tile is None and len(tiling.rows) * len(tiling.columns) == 1:
        return Plan(whole, 0.0, _seconds(feed, whole, _rate(feed)))
    if found is not None and not found.within:
        note(
            f"tiles of {feed.method.name} differ from the whole scene by up to {found.error:.1e} of its range even "
            f"with a halo of {halo} LR pixels; borders are blended over {2 * blend} LR pixels; "
            f"{option('exact', True)} avoids them"
        )
    rate = found.seconds_per_pixel if found is not None else _rate(feed)
    return Plan(tiling, 0.0 if found is None else found.error, _seconds(feed, tiling, rate))


def chosen_memory(feed: Feed, given: int | None, note: Callable[[str], None]) -> int:
    """Bytes for the work on one tile: the user's number, or a quarter of the free memory, with a line about it.

    note: gets a line if learning the scene needs more than the user's number.
    """
    if given is None:
        free = available_memory()
        memory = int(min(free / _FREE_PART, _MOST_DEFAULT)) if math.isfinite(free) else _UNKNOWN
        say(f"memory: {size(memory)} for a tile, a quarter of what is free; {option('memory')} sets it")
        return memory
    if feed.learning_bytes > given:
        note(
            f"{feed.method.name}: takes about {size(feed.learning_bytes)} of memory to learn the scene, more than "
            f"{option('memory')} {size(given)}; a scene has one result, so that it cannot take less"
        )
    return given


def check_disk(staging: Staging, out: Path, out_bytes: int) -> int:
    """Bytes that a run needs beside `out`. Raises HsisrError with the numbers if the disk has less."""
    missing = [row for row in range(len(staging.tiling.rows)) if not staging.is_finished(row)]
    needed = staging.bytes_needed * len(missing) // len(staging.tiling.rows) + out_bytes
    check_space(out, needed, " while it is made")
    return needed


def duration(seconds: float) -> str:
    """Seconds in words for a person."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _fits(feed: Feed, lr_pixels: int, memory: int) -> bool:
    return lr_pixels * feed.bytes_per_lr_pixel <= memory and lr_pixels * feed.method.scale**2 <= _MOST_WINDOW_PX**2


def _exact_tiles(feed: Feed, memory: int, tile: int | None, note: Callable[[str], None]) -> Tiling:
    """Tiles of a method that learns scenes. They are parts of one result, so they need only the method's own halo.

    What was learnt of the scene takes its part of the memory.
    """
    height, width = feed.lr.shape[1:]
    halo = feed.method.reach_lr_px(feed.learnt)
    if feed.guide is not None and feed.guide.own is not None:
        halo = max(halo, OWN_REACH_LR_PX)
    held = min(kept.held_bytes(feed.learnt), memory - memory // _LEAST_PART)
    if tile is None and _fits(feed, height * width, memory - held):
        return Tiling(height, width, max(height, width), 0, 0)
    return Tiling(height, width, tile or _tile_side(feed, memory, halo, 0, note, held), 0, halo)


def _tile_side(feed: Feed, memory: int, halo: int, blend: int, note: Callable[[str], None], held: int = 0) -> int:
    """The largest tile whose window fits into memory. If none fits, the smallest, with a line.

    held: bytes of the memory that are taken. Raises HsisrError if the smallest needs far more than the memory.
    """
    most, edge = math.isqrt((memory - held) // feed.bytes_per_lr_pixel), 2 * (halo + blend)
    smallest = max(_LEAST_TILE, halo)  # with less core than halo, nine times the pixels are computed
    if most - edge < smallest:
        least = size((smallest + edge) ** 2 * feed.bytes_per_lr_pixel)
        if blend and most <= edge:
            raise HsisrError(
                f"memory {size(memory)}: too little for a tile with its halo of {halo} LR pixels; give at least "
                f"{least} with {option('memory')}, or a smaller {option('halo')}"
            )
        note(
            f"memory {size(memory)}: the smallest tile, {smallest} LR pixels with a halo of {halo}, takes about "
            f"{least}, which is used; {option('memory')} gives more"
        )
    return max(min(most, _MOST_WINDOW_PX // feed.method.scale) - edge, smallest)


def _rate(feed: Feed, timed: int = _TIMED_PX) -> float:
    """Seconds for one band of one pixel of output, timed on a small window with a side of `timed` LR pixels."""
    some = feed.method.bands is None and feed.learnt is None  # a learnt scene has all bands at once
    bands = slice(0, min(3, feed.lr.shape[0])) if some else None
    rows, columns = (
        (max(0, (length - timed) // 2), min(length, (length + timed) // 2)) for length in feed.lr.shape[1:]
    )
    feed(rows, columns, bands)  # the first call loads libraries
    started = time.perf_counter()
    estimate, _ = feed(rows, columns, bands)
    return (time.perf_counter() - started) / max(1, estimate.size)


def _seconds(feed: Feed, tiling: Tiling, rate: float) -> float:
    return float(np.float64(tiling.computed_pixels) * feed.method.scale**2 * feed.lr.shape[0] * rate)
