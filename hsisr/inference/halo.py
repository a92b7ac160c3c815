"""The halo: the ground around a tile that a method must see. It is measured on the scene itself."""

import time
from dataclasses import dataclass

import numpy as np

from hsisr.inference.feed import Feed

#: Blending hides an error up to this part of the scene's range, of a tile against the whole.
TARGET = 1e-4
#: Halos to try, in LR pixels.
CANDIDATES = (4, 8, 12, 16, 24, 32, 48, 64)
#: A method that learns from all it sees may never reach the target. Then this ratio to the least error is enough.
_NO_BETTER = 1.25
#: Side of the compared result in LR pixels; and LR pixels beyond the largest halo that the reference sees.
_CORE, _BEYOND = 8, 32
#: Number of compared bands, for a method that takes any number: the spatial neighbourhood is what counts.
_BANDS = 3
#: Number of places to try.
_SITES = 2


@dataclass(frozen=True)
class Probe:
    """The measurement: the halo to use (LR pixels), its error as a part of the scene's range, and the time.

    seconds_per_pixel: for one band of one output pixel. within: whether the error is below TARGET.
    """

    halo: int
    error: float
    seconds_per_pixel: float

    @property
    def within(self) -> bool:
        """Whether the halo reaches TARGET."""
        return self.error <= TARGET


def probe(feed: Feed, memory: int) -> Probe:
    """The smallest halo whose tiles differ from larger ones by less than TARGET, in the most detailed places.

    If there is none, the smallest halo that is about as good as the larger ones.

    feed: gives a method its windows. memory: bytes for one window; this limits how far the probe can see.
    """
    most = _reference_halo(feed, memory)
    bands = None if feed.method.bands is not None else slice(0, min(_BANDS, feed.lr.shape[0]))
    count = feed.lr.shape[0] if bands is None else bands.stop
    errors = dict.fromkeys(_candidates(most), 0.0)
    seconds = pixels = 0.0
    sites = _sites(feed)
    _core(feed, sites[0], min(4, most), bands)  # the first call loads libraries, so it is not timed
    for place in sites:
        started = time.perf_counter()
        reference, size = _core(feed, place, most, bands)
        seconds += time.perf_counter() - started
        pixels += size * feed.method.scale**2 * count
        for halo in errors:
            estimate, _ = _core(feed, place, halo, bands)
            errors[halo] = max(errors[halo], float(np.abs(estimate - reference).max()) / feed.range)
            if errors[halo] == 0 or errors[halo] < TARGET / 10:
                break  # larger halos are better still
    rate = seconds / pixels
    enough = max(TARGET, _NO_BETTER * min(errors.values()))
    halo = next(halo for halo, error in errors.items() if error <= enough)
    return Probe(halo, errors[halo], rate)


def _candidates(most: int) -> list[int]:
    fitting = [halo for halo in CANDIDATES if halo < most]
    return fitting or [most]


def _reference_halo(feed: Feed, memory: int) -> int:
    """Halo of the window that stands for the whole scene, as large as scene and memory allow."""
    fitting = (int(np.sqrt(memory / feed.bytes_per_lr_pixel)) - _CORE) // 2
    return max(1, min(CANDIDATES[-1] + _BEYOND, fitting, max(feed.lr.shape[1:]) // 2))


def _sites(feed: Feed) -> list[tuple[int, int]]:
    """Corners of the places to compare: the most detailed ones that are valid and far from borders."""
    height, width = feed.lr.shape[1:]
    found = []
    for y in np.linspace(0.25, 0.75, 3):
        for x in np.linspace(0.25, 0.75, 3):
            row, column = max(0, int(y * height) - _CORE // 2), max(0, int(x * width) - _CORE // 2)
            rows, columns = (row, min(height, row + _CORE)), (column, min(width, column + _CORE))
            values, valid = feed.lr.window(rows, columns)
            if valid.all():
                found.append((float(values.std(axis=(1, 2)).mean()), row, column))
    found = sorted(found, reverse=True)[:_SITES] or [(0.0, height // 2, width // 2)]
    return [(row, column) for _, row, column in found]


def _core(feed: Feed, place: tuple[int, int], halo: int, bands: slice | None) -> tuple[np.ndarray, int]:
    """The result at a place, computed with `halo` LR pixels around it; and the number of LR pixels computed."""
    spans = []
    for start, size in zip(place, feed.lr.shape[1:], strict=True):
        stop = min(size, start + _CORE)
        spans.append((max(0, start - halo), min(size, stop + halo), start, stop))
    (r0, r1, y0, y1), (c0, c1, x0, x1) = spans
    estimate, _ = feed((r0, r1), (c0, c1), bands)
    scale = feed.method.scale
    inside = estimate[:, (y0 - r0) * scale : (y1 - r0) * scale, (x0 - c0) * scale : (x1 - c0) * scale]
    return inside, (r1 - r0) * (c1 - c0)
