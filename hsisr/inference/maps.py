"""Maps of a pair: the guide's displacement and its change of ground, as GeoTIFF, picture and numbers."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsisr.datasets import picture, writers
from hsisr.datasets.quicklook import stretch
from hsisr.degrade.change import Change
from hsisr.degrade.displacement import Displacement
from hsisr.errors import HsisrError
from hsisr.files import write_json
from hsisr.inference.feed import Feed
from hsisr.scene import Scene

#: Names of the files in the folder of maps.
_NUMBERS, _DISPLACEMENT, _CHANGE = "registration.json", "displacement", "change"
#: The map of a result's uncertainty.
_GUIDED = "guided.tif"
#: Colour of changed ground in the picture.
_CHANGED = np.array([255, 64, 0], np.uint8)


def map_files(folder: str | os.PathLike, uncertainty: bool = False) -> list[Path]:
    """The files that `write_maps` may write; with uncertainty, also the file of `write_guided`."""
    images = [Path(folder) / f"{name}{ending}" for name in (_DISPLACEMENT, _CHANGE) for ending in (".tif", ".png")]
    return [Path(folder) / _NUMBERS, *images, *([Path(folder) / _GUIDED] if uncertainty else [])]


def check_mappable(feed: Feed) -> None:
    """Raise HsisrError without a guide, before anything is computed: all maps need a guide."""
    if feed.guide is None:
        raise HsisrError(f"{feed.method.name} uses no guide, so that there is nothing to map; leave --maps out")


def write_maps(folder: str | os.PathLike, feed: Feed) -> None:
    """Write the measurements of a pair: registration.json, and maps as .tif (with the LR image's place) and .png.

    displacement: of the guide in rows and columns, in guide pixels. change: 1 where the result has no detail of the
    guide. Maps have one value for each LR pixel. feed: one that `check_mappable` accepts.
    """
    guide = feed.guide
    assert guide is not None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, object] = {"scale": feed.method.scale, "shift_px": list(guide.shift_px)}
    if guide.displacement is not None:
        numbers["displacement"] = numbers_of(guide.displacement)
        _write_displacement(folder / _DISPLACEMENT, guide.displacement, feed)
    if guide.own is not None:
        numbers["changed"] = guide.own.change.share
        _write_change(folder / _CHANGE, guide.own.change, feed)
    write_json(folder / _NUMBERS, numbers)


def write_guided(folder: str | os.PathLike, share: Scene) -> None:
    """Write guided.tif: for each HR pixel, the share of detail that exceeds the uncertainty (`share_scene`)."""
    writers.export(share, Path(folder) / _GUIDED)


def numbers_of(displacement: Displacement) -> dict[str, float]:
    """The numbers about a displacement: lengths in guide pixels, parts from 0 to 1."""
    before, after = displacement.unexplained
    return {
        "rms_px": displacement.rms_px,
        "largest_px": displacement.largest_px,
        "error_px": displacement.error_px,
        "unexplained_before": before,
        "unexplained": after,
        "fitting": displacement.fitting,
    }


def _write_displacement(path: Path, displacement: Displacement, feed: Feed) -> None:
    values = _in_full(displacement.grid.surface(displacement.controls), feed.lr.shape[1:], 1)
    _export(path.with_suffix(".tif"), values.astype(np.float32), feed)
    lengths = displacement.lengths_px
    angle = np.arctan2(*displacement.grid.surface(displacement.controls))
    strength = lengths / max(displacement.largest_px, 1e-12)
    # a colour wheel: hue shows the direction, white no displacement, full colour the longest
    wheel = np.stack([0.5 + 0.5 * np.cos(angle - turn) for turn in (0.0, 2 * np.pi / 3, 4 * np.pi / 3)], axis=-1)
    colours = 1 - strength[..., None] * (1 - wheel)
    picture.write(path.with_suffix(".png"), np.rint(255 * colours).astype(np.uint8))


def _write_change(path: Path, change: Change, feed: Feed) -> None:
    height, width = feed.lr.shape[1:]
    changed = _in_full(change.changed[None], (height, width), change.cell)
    _export(path.with_suffix(".tif"), changed.astype(np.uint8), feed)
    step = change.cell
    values, valid = feed.lr.window((0, height), (0, width), slice(feed.lr.shape[0] // 2, feed.lr.shape[0] // 2 + 1))
    shown = stretch(values[:, ::step, ::step], valid[::step, ::step], values[:, valid])
    shown[changed[0, ::step, ::step]] = shown[changed[0, ::step, ::step]] // 2 + _CHANGED // 2
    picture.write(path.with_suffix(".png"), shown)


def _in_full(values: np.ndarray, shape: tuple[int, ...], cell: int) -> np.ndarray:
    """Values (C, h, w) of cells, repeated for every LR pixel. The last cells reach to the image's end."""
    wide = values.repeat(cell, axis=1).repeat(cell, axis=2)
    missing = [size - length for size, length in zip(shape, wide.shape[1:], strict=True)]
    return np.pad(wide, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")


def _export(path: Path, values: np.ndarray, feed: Feed) -> None:
    place = feed.lr.scene
    writers.export(replace(Scene(values, path.stem), crs=place.crs, transform=place.transform), path)
