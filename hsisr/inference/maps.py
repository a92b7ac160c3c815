"""Maps of a pair: the guide's displacement, its light and its change of ground, as GeoTIFF, picture and numbers."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsisr.datasets import picture, writers
from hsisr.datasets.quicklook import stretch
from hsisr.degrade.change import Change
from hsisr.degrade.displacement import Displacement
from hsisr.degrade.light import Light
from hsisr.errors import HsisrError
from hsisr.files import write_json
from hsisr.inference import align
from hsisr.inference.feed import Feed
from hsisr.scene import Scene

#: Names of the files in the folder of maps.
_NUMBERS, _DISPLACEMENT, _LIGHT, _CHANGE = "registration.json", "displacement", "light", "change"
#: The map of a result's uncertainty.
_GUIDED = "guided.tif"
#: Kind of ground in change.tif -> its colour in the picture: changed; without data in the guide; of another exposure.
_COLOURS = {1: (255, 64, 0), 2: (0, 96, 255), 3: (255, 208, 0)}


def map_files(folder: str | os.PathLike, uncertainty: bool = False) -> list[Path]:
    """The files that `write_maps` may write; with uncertainty, also the file of `write_guided`."""
    images = [
        Path(folder) / f"{name}{ending}" for name in (_DISPLACEMENT, _LIGHT, _CHANGE) for ending in (".tif", ".png")
    ]
    return [Path(folder) / _NUMBERS, *images, *([Path(folder) / _GUIDED] if uncertainty else [])]


def check_mappable(feed: Feed) -> None:
    """Raise HsisrError without a guide, before anything is computed: all maps need a guide."""
    if feed.guide is None:
        raise HsisrError(f"{feed.method.name} uses no guide, so that there is nothing to map; leave --maps out")


def write_maps(folder: str | os.PathLike, feed: Feed) -> None:
    """Write the measurements of a pair: registration.json, and maps as .tif (with the LR image's place) and .png.

    displacement: of the guide in rows and columns, in guide pixels. light: the gain of each channel of the guide, where
    its light differs. change: where the result has no detail of the
    guide, 1 for changed ground, 2 for ground without data in the guide; and 3 for ground of another exposure, which is
    evened out. Maps have one value for each LR pixel.
    feed: one that `check_mappable` accepts.
    """
    guide = feed.guide
    assert guide is not None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, object] = {"scale": feed.method.scale, "shift_px": list(guide.shift_px)}
    if guide.displacement is not None:
        numbers["displacement"] = numbers_of(guide.displacement)
        _write_displacement(folder / _DISPLACEMENT, guide.displacement, feed)
    if guide.light is not None:
        numbers["light"] = {"largest": guide.light.largest}
        _write_light(folder / _LIGHT, guide.light, feed)
    if guide.own is not None:
        numbers["changed"] = guide.own.change.share
        numbers["exposures"] = [
            {"share": float(one.degree.mean()), "gain": one.gain.tolist(), "offset": one.offset.tolist()}
            for one in guide.own.change.exposures
        ]
        lacking = align.lacks_data(feed.lr, guide, feed.method.scale)
        numbers["without_data"] = float(lacking.mean())
        _write_change(folder / _CHANGE, guide.own.change, lacking, feed)
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


def _write_light(path: Path, light: Light, feed: Feed) -> None:
    gain = _in_full(light.gain, feed.lr.shape[1:], light.side // feed.method.scale)
    _export(path.with_suffix(".tif"), gain, feed)
    mean = light.gain.mean(axis=0)
    bright = (mean - mean.min()) / max(float(np.ptp(mean)), 1e-12)
    picture.write(path.with_suffix(".png"), np.rint(255 * bright[..., None].repeat(3, axis=-1)).astype(np.uint8))


def _write_change(path: Path, change: Change, lacking: np.ndarray, feed: Feed) -> None:
    height, width = feed.lr.shape[1:]
    ground = np.where(change.changed, 1, 3 * change.exposed)[None]
    kinds = np.where(lacking, 2, _in_full(ground, (height, width), change.cell)).astype(np.uint8)
    _export(path.with_suffix(".tif"), kinds, feed)
    step = change.cell
    values, valid = feed.lr.window((0, height), (0, width), slice(feed.lr.shape[0] // 2, feed.lr.shape[0] // 2 + 1))
    shown = stretch(values[:, ::step, ::step], valid[::step, ::step], values[:, valid])
    for kind, colour in _COLOURS.items():
        place = kinds[0, ::step, ::step] == kind
        shown[place] = shown[place] // 2 + np.array(colour, np.uint8) // 2
    picture.write(path.with_suffix(".png"), shown)


def _in_full(values: np.ndarray, shape: tuple[int, ...], cell: int) -> np.ndarray:
    """Values (C, h, w) of cells, repeated for every LR pixel. The last cells reach to the image's end."""
    wide = values.repeat(cell, axis=1).repeat(cell, axis=2)
    missing = [size - length for size, length in zip(shape, wide.shape[1:], strict=True)]
    return np.pad(wide, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")


def _export(path: Path, values: np.ndarray, feed: Feed) -> None:
    place = feed.lr.scene
    writers.export(replace(Scene(values, path.stem), crs=place.crs, transform=place.transform), path)
