"""Uncertainty: the standard deviation of every sample of a result. It is computed by tiles after the result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import hsisr
from hsisr.errors import HsisrError
from hsisr.inference.feed import FedImages, Feed
from hsisr.inference.images import Source
from hsisr.inference.plan import check_disk
from hsisr.inference.progress import Progress
from hsisr.inference.result import Estimates
from hsisr.inference.run import SIGMA
from hsisr.inference.staging import Staging
from hsisr.inference.tiles import Tiling
from hsisr.lazy_array import LazyArray
from hsisr.models.apply import Method
from hsisr.models.windows import Window, hr_spans
from hsisr.scene import Scene
from hsisr.screen import say
from hsisr.system import return_freed_memory

#: Float32 images of all bands that are in memory while the deviations of a tile are computed; measured.
_IMAGES = 9
#: Tiles are not made smaller than this, in LR pixels.
_LEAST_TILE = 8
#: LR pixels, fewer of which are too few to tell errors.
_FEW_LR_PX = 100


def check_tells(method: Method, lr: Source, note: Callable[[str], None]) -> None:
    """Raise HsisrError for a method that cannot estimate the errors of its result.

    note: is told of an LR image of few pixels: in such ones, errors were up to 20 times as large as said.
    """
    if not method.tells_errors:
        raise HsisrError(
            f"{method.name} does not tell how far its result may be off; prior, hybrid and solo do; leave "
            "--uncertainty out (in Python uncertainty), or name one of them"
        )
    pixels = lr.shape[1] * lr.shape[2]
    if pixels < _FEW_LR_PX:
        note(f"{lr.label}: {pixels} pixels tell little of errors; the standard deviations may be far too small")


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Computes the standard deviations of a result. result: its values, which are read and never changed."""

    feed: Feed
    errors: Any
    result: Estimates

    @classmethod
    def of(cls, feed: Feed, result: Estimates) -> "Uncertainty":
        """Of a feed whose method has learnt its scene. Every call gives the same."""
        return cls(feed, feed.method.errors(feed.learnt, FedImages(feed)), result)

    def __call__(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """Of [start, stop) LR rows and columns: (B + 1, n, m) float32, NaN where there is no result.

        The first B are the standard deviation of each band, in the scene's values. The last is the share of detail that
        exceeds it.
        """
        feed = self.feed
        place = hr_spans(rows, columns, feed.method.scale)
        image = self.result.read(*(slice(*span) for span in place)) / np.float32(feed.peak)
        made = np.asarray(~np.isnan(image).any(axis=0))
        found = np.full((len(image) + 1, *made.shape), np.nan, np.float32)
        if not made.any():
            return found
        mask = None if made.all() else made
        image = np.nan_to_num(image, copy=False, nan=0.0)
        if feed.way is None:
            shown, corner = feed.show(rows, columns), (place[0][0], place[1][0])
            window = Window(shown.low, shown.guide, mask)
            sigma, share = self.errors.sigma(window, image, corner, shown.changed)
        else:
            laid = feed.show_on_guide(feed.way, rows, columns)
            sigma, share = self.errors.sigma_at(laid.sharp, image, laid.places, mask, laid.changed)
        sigma *= np.float32(feed.peak)
        np.copyto(found[:-1], sigma, where=made)
        np.copyto(found[-1], share, where=made)
        return found


def compute(uncertainty: Uncertainty, tiling: Tiling, folder: Path, out: Path) -> Staging:
    """Make the missing tile rows in the run's folder. tiling: of the result. out: the final file, for messages."""
    feed = uncertainty.feed
    halo = uncertainty.errors.reach_lr_px
    tile = _tile(tiling.tile, feed)
    own = Tiling(tiling.height, tiling.width, tile, 0, halo if max(tiling.height, tiling.width) > tile else 0)
    (folder / SIGMA).mkdir(exist_ok=True)
    staging = Staging(folder / SIGMA, own, feed.lr.shape[0] + 1, feed.method.scale)
    check_disk(staging, out, staging.bytes_needed)
    rows, columns = len(own.rows), len(own.columns)
    missing = [row for row in range(rows) if not staging.is_finished(row)]
    say(f"{out.name}: a standard deviation of every sample, {len(missing)} of {rows} tile rows to do")
    with Progress(rows * columns, (rows - len(missing)) * columns) as progress:
        for row in missing:
            staging.write_row(row, _tiles(uncertainty, own, row, progress))
    return staging


def sigma_scene(result: Scene, good: np.ndarray, values: Estimates, origin: dict[str, str]) -> Scene:
    """The deviations as a lazy scene like the result: float32, in the result's values, NaN without data.

    good: numbers of the bands that have them. origin: further provenance tags.
    """
    tags = dict(result.provenance.get("tags", {})) | {"HSISR_VERSION": hsisr.__version__, **origin}
    return replace(
        result,
        stored=_Planes(values, result.shape, good),
        scale=1.0,
        offset=0.0,
        nodata=float("nan"),
        provenance={**result.provenance, "tags": tags},
    )


def share_scene(result: Scene, bands: int, values: Estimates) -> Scene:
    """The share of detail that exceeds the standard deviations, 0 to 1, as one band. bands: number with data."""
    shape = 1, *result.shape[1:]
    plain = Scene(_Planes(values, shape, np.array([0]), bands), "guided")
    return replace(plain, crs=result.crs, transform=result.transform, nodata=float("nan"))


class _Planes(LazyArray):
    """Values of some bands (bands, H, W), NaN in the others. first: number of the first of them in the estimates."""

    def __init__(self, values: Estimates, shape: tuple[int, ...], good: np.ndarray, first: int = 0) -> None:
        self._values, self._good, self._first = values, good, first
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Values. Rows and columns have no steps."""
        found = np.full((self.shape[0], rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
        found[self._good] = self._values.read(rows, columns)[self._first : self._first + len(self._good)]
        return found[bands]


def _tile(side: int, feed: Feed) -> int:
    """The side of a tile whose deviations take no more memory than a tile of the result with this side does."""
    needed = _IMAGES * 4 * feed.lr.shape[0] * feed.method.scale**2
    return max(min(side, _LEAST_TILE), int(side * min(1, feed.bytes_per_lr_pixel / needed) ** 0.5))


def _tiles(uncertainty: Uncertainty, tiling: Tiling, row: int, progress: Progress) -> Iterator[np.ndarray]:
    scale, span = uncertainty.feed.method.scale, tiling.rows[row]
    for column in tiling.columns:
        inside = [slice(part.inside.start * scale, part.inside.stop * scale) for part in (span, column)]
        yield uncertainty(span.window, column.window)[:, *inside]
        return_freed_memory()
        progress.advance()
