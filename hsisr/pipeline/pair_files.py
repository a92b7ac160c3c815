"""Pair files: LR image, guide and HR reference of one scene or region, with the facts on how they were made."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import degrade, hdf5
from hsisr.datasets import picture, quicklook
from hsisr.datasets.splits import Item
from hsisr.degrade.sensor import whole_lr_pixels
from hsisr.errors import HsisrError
from hsisr.missing import shrunk
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark
from hsisr.scene import Scene


@dataclass(frozen=True, eq=False, repr=False)
class PairFile(degrade.AnyPair):
    """The content of a pair file.

    lr (bands, h, w), guide (G, H, W) or None, hr (bands, H, W) or None under protocol `full`: float32.
    mask (H, W) bool or None; labels (H, W) or None; wavelengths_nm (bands,) or None; metadata: how it was made.
    """

    name: str
    lr: np.ndarray
    guide: np.ndarray | None
    hr: np.ndarray | None
    mask: np.ndarray | None
    labels: np.ndarray | None
    wavelengths_nm: np.ndarray | None
    metadata: dict[str, Any]


def make(benchmark: Benchmark, item_name: str, out: str | os.PathLike) -> None:
    """Degrade one item (a scene, or a region cut from it before anything else) and write its pair file.

    Raises HsisrError if the scene file is absent or damaged, or the region does not lie inside it.
    """
    item = benchmark.item(item_name)
    scene = open_item(benchmark, item)
    write(out, item.name, make_pair(benchmark, item, scene), scene, steps.pairing(benchmark, item_name).identity)


def made(benchmark: Benchmark, item: Item) -> str:
    """The path of an item's pair file. Raises HsisrError if it is missing, damaged, or made with other settings."""
    path = benchmark.path(paths.PAIR, item=item.name)
    hdf5.check_settings(path, "pair", steps.pairing(benchmark, item.name).settings, "pairs")
    return path


def open_item(benchmark: Benchmark, item: Item) -> Scene:
    """The scene of an item, lazy, cut to its region. Raises HsisrError as `make`, and as `made` for the scene file."""
    path = benchmark.scene_path(item)
    hdf5.check_settings(path, "scene", steps.conversion(benchmark.config, benchmark.dataset).settings, "convert")
    scene = Scene.open(path)
    return scene if item.region is None else cut(scene, item.region)


def make_pair(benchmark: Benchmark, item: Item, scene: Scene) -> degrade.Pair:
    """The pair that a benchmark makes from an item's scene."""
    pair = degrade.pair(
        scene,
        benchmark.rule,
        benchmark.scale,
        seed=benchmark.choice.seed,
        response=benchmark.response,
        noise=benchmark.choice.noise,
        part=item.name,
    )
    check_unit(f"scene {item.name}", float(pair.lr.mean(dtype=float)), "`scale` of the data set")
    if pair.guide is not None:
        mean = float(pair.guide.mean(dtype=float))
        check_unit(f"the guide of scene {item.name}", mean, "`guide: {scale: ...}` of the data set")
    if pair.convention == benchmark.convention:
        return pair
    return replace(pair, metadata={**pair.metadata, "convention": benchmark.convention})


def check_unit(name: str, mean: float, key: str) -> None:
    """Raise HsisrError if the mean value of an image shows that its values do not lie in [0, 1].

    name: what messages call it. key: of the configuration, which gives its scale.
    """
    if mean > 1:
        raise HsisrError(
            f"{name}: its values are {mean:g} on average, and those of a benchmark lie in [0, 1]; give {key}, such as "
            "1/255 or 1/10000"
        )


def training_pairs(benchmark: Benchmark, scenes: int | None = None) -> Iterator[tuple[str, degrade.Pair]]:
    """Name and pair of a benchmark's whole training scenes, degraded like its test scenes.

    scenes: only the first so many; None: all.
    """
    for item in benchmark.parts["train"][:scenes]:
        yield item.name, make_pair(benchmark, item, open_item(benchmark, item))


def cut(scene: Scene, region: tuple[int, int, int, int]) -> Scene:
    """The region (first row, end row, first column, end column) of a scene. Raises HsisrError if it sticks out."""
    r0, r1, c0, c1 = region
    rows, columns = scene.shape[1:]
    if not (0 <= r0 < r1 <= rows and 0 <= c0 < c1 <= columns):
        raise HsisrError(f"scene {scene.name}: region {region} does not lie inside its {rows} x {columns} pixels")
    return scene.window(slice(r0, r1), slice(c0, c1))


def write(path: str | os.PathLike, name: str, pair: degrade.Pair, scene: Scene, settings: Any = None) -> None:
    """Write a pair file. scene: gives labels."""
    with hdf5.writing(path, "pair", settings) as file:
        hdf5.set_attributes(file, {"name": name})
        hdf5.set_text(file, "metadata", json.dumps(_plain(pair.metadata), sort_keys=True))  # long for a large kernel
        arrays = {"lr": pair.lr, "guide": pair.guide, "hr": pair.hr, "mask": pair.mask}
        if pair.wavelengths_nm is not None:
            arrays["wavelengths_nm"] = pair.wavelengths_nm
        if scene.labels is not None and pair.hr is not None:
            rows, columns = pair.hr.shape[1:]
            arrays["labels"] = scene.labels[:rows, :columns]
        for key, value in arrays.items():
            if value is not None:
                file.create_dataset(key, data=value)


def read(path: str | os.PathLike, what: tuple[str, ...] = ("lr", "guide", "hr", "mask", "labels")) -> PairFile:
    """Read a pair file. what: names of the arrays to load; the others are None.

    Raises HsisrError if the file is missing, damaged or of another kind.
    """
    with hdf5.reading(path, "pair") as file:
        here = [key for key in _ARRAYS if key in file]
        arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
        for key in here:
            found = hdf5.dataset(file, key, *_ARRAYS[key])
            if key in what or key == "wavelengths_nm":
                arrays[key] = found[...]
        metadata = json.loads(hdf5.text(file, "metadata"))
        if not isinstance(metadata, dict):
            raise ValueError("metadata holds no names and values")
        if "lr" not in here:
            raise KeyError("lr is missing")
        return PairFile(name=hdf5.attribute(file, "name", str), metadata=metadata, **arrays)


def usable_lr_pixels(path: str | os.PathLike, scale: int) -> np.ndarray:
    """LR pixels of a pair file that lie completely on its reference: (h, w), True where all of that holds data.

    Errors as `read`.
    """
    with hdf5.reading(path, "pair") as file:
        rows, columns = (int(size) // scale for size in hdf5.dataset(file, "hr", "f", 3).shape[1:])
        if "mask" not in file:
            return np.ones((rows, columns), bool)
        valid = hdf5.dataset(file, "mask", *_ARRAYS["mask"])[: rows * scale, : columns * scale]
        return whole_lr_pixels(valid, scale)


def is_pair(path: str | os.PathLike) -> bool:
    """Whether a file is a pair file."""
    return Path(path).is_file() and hdf5.schema_of(path).startswith("hsisr/pair/")


def show(pair: PairFile, out: str | os.PathLike, bands: Sequence[int] | None = None) -> None:
    """Write LR image (enlarged without interpolation), guide and HR reference side by side as PNG or JPEG.

    bands: three of the scene's for red, green and blue, or one for grey; None: by wavelength. Each image has a label.
    """
    low = _as_scene(pair, pair.lr)
    lr = quicklook.quicklook(low, bands)
    chosen = quicklook.default_bands(low) if bands is None else list(bands)
    shown = picture.bands_in_words(chosen, low.wavelengths_nm)
    images = []
    if pair.guide is not None:
        guide = Scene(pair.guide, "guide", mask=pair.mask)
        channels = list(range(3)) if len(pair.guide) >= 3 else [0]
        images.append((f"guide, bands {', '.join(map(str, channels))}", quicklook.quicklook(guide, channels)))
    if pair.hr is not None:
        images.append((f"HR reference, {shown}", quicklook.quicklook(_as_scene(pair, pair.hr), bands)))
    scale = -(-images[0][1].shape[0] // lr.shape[0]) if images else 1
    rows, columns = images[0][1].shape[:2] if images else lr.shape[:2]
    enlarged = lr.repeat(scale, axis=0).repeat(scale, axis=1)[:rows, :columns]
    label = f"{pair.name}: LR image x{scale}, {shown}"
    picture.write(out, picture.side_by_side([(label, enlarged), *images]))


def _as_scene(pair: PairFile, cube: np.ndarray) -> Scene:
    mask = None if pair.mask is None else shrunk(pair.mask, cube.shape[1:])
    return Scene(cube, pair.name, wavelengths_nm=pair.wavelengths_nm, mask=mask)


#: Array in a pair file -> numpy's letters of its types, and number of axes.
_ARRAYS = {
    "lr": ("f", 3),
    "guide": ("f", 3),
    "hr": ("f", 3),
    "mask": ("b", 2),
    "labels": ("iu", 2),
    "wavelengths_nm": ("iuf", 1),
}


def _plain(value: Any) -> Any:
    """Metadata for JSON: arrays become lists, numpy numbers become numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value
