"""Conversion: one scene of a fetched data set, from its published files to a scene file."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hsisr.affine import finer
from hsisr.datasets import manifest
from hsisr.datasets.bands import apply
from hsisr.datasets.catalogue import DataSet, Guide, entry
from hsisr.datasets.layout import CUBE_SUFFIXES, IMAGE_SUFFIXES, find, find_parts, listing
from hsisr.datasets.manifest import RawFiles
from hsisr.datasets.readers import read_plane, read_scene
from hsisr.datasets.stacking import contradiction
from hsisr.errors import HsisrError, did_you_mean, notice
from hsisr.scene import Scene

_BAND_SUFFIXES = IMAGE_SUFFIXES | {".tif", ".tiff"}


def convert(
    name: str,
    scene: str,
    raw_folder: str | os.PathLike,
    out_path: str | os.PathLike,
    settings: Any = None,
    extra: Mapping[str, Mapping] | None = None,
) -> Scene:
    """Write the scene file of one scene of a fetched data set, and return the scene.

    name: of the data set. scene: of the scene. raw_folder: where `fetch` put the data set. out_path: of the scene
    file. settings: the values behind the file's config hash. extra: see `entry`.
    Raises HsisrError, and leaves no file, if the scene is missing, changed after the fetch, or cannot be read.
    """
    data_set = entry(name, extra)
    if scene not in data_set.scenes:
        near = did_you_mean(scene, data_set.scenes)
        raise HsisrError(f"{name}: no scene {scene!r}; {near}known: {', '.join(data_set.scenes[:40])}")
    raw = manifest.read(raw_folder, name)
    result = _assemble(data_set, scene, raw)
    result.save(out_path, settings)
    return result


def read_raw(data_set: DataSet, scene: str, root: str | os.PathLike) -> Scene:
    """One scene of a data set, directly from the folder of its files: without manifest, scaling and guide."""
    paths = find_parts(listing(root), data_set.layouts, scene)[0]
    if not paths:
        raise HsisrError(f"{root}: has no scene {scene}; expected {' or '.join(data_set.layout)}")
    return _read([Path(root) / path for path in paths], data_set.reader, data_set.reader_options)


def _assemble(data_set: DataSet, scene: str, raw: RawFiles) -> Scene:
    paths = _paths(data_set, scene, raw, data_set.layout)
    result = _read(paths, data_set.reader, data_set.reader_options)
    if data_set.bands is not None and result.shape[0] != data_set.bands:
        raise HsisrError(f"{paths[0]}: {result.shape[0]} bands, expected {data_set.bands}")
    used = list(paths)
    facts: dict[str, Any] = {"name": scene}
    if data_set.wavelengths_nm is not None:
        facts["wavelengths_nm"] = np.asarray(data_set.wavelengths_nm)
    if data_set.labels is not None:
        label_paths = _paths(data_set, scene, raw, data_set.labels.layout)
        facts |= {"labels": _classes(label_paths[0], data_set.labels.names), "label_names": data_set.labels.names}
        used += label_paths
    if data_set.guide is not None:
        guide_paths = _paths(data_set, scene, raw, data_set.guide.layout)
        facts["guide"] = _guide(data_set, data_set.guide, scene, guide_paths)
        _check_ground(result, facts["guide"], paths[0], guide_paths[0])
        used += guide_paths
    facts["provenance"] = {**result.provenance, **_provenance(data_set, scene, raw, used)}
    result = replace(_rescale(_above_black(result, data_set.black_level), data_set.scale), **facts)
    return apply(result, data_set.band_steps)


def _guide(data_set: DataSet, guide: Guide, scene: str, paths: list[Path]) -> Scene:
    result = _rescale(_read(paths, guide.reader or data_set.reader, guide.reader_options), guide.scale)
    wavelengths = result.wavelengths_nm if guide.wavelengths_nm is None else np.asarray(guide.wavelengths_nm)
    return replace(result, name=f"{scene}-guide", wavelengths_nm=wavelengths)


def _check_ground(scene: Scene, guide: Scene, path: Path, guide_path: Path) -> None:
    """Raise HsisrError if the georeferences of a scene and of its guide contradict each other."""
    if scene.transform is None:
        return
    ratio = guide.shape[2] / scene.shape[2]
    expected = replace(guide, crs=scene.crs, transform=finer(scene.transform, ratio))
    apart = contradiction(guide, expected)
    if apart is not None:
        raise HsisrError(
            f"{guide_path}: {apart[0]}; on the ground of {path.name} it would lie {apart[1]}; cut or resample it to "
            "that ground (gdalwarp), or, if the coordinates are wrong, leave them out (reader_options: {georeference: "
            "none})"
        )


def _classes(path: Path, names: tuple[str, ...]) -> np.ndarray:
    """The land-cover map of a file, after a check that its values are numbers of classes. names: of them, if known."""
    labels = read_plane(path)
    last = float(len(names) - 1) if names else np.inf
    wrong = labels[~((labels == np.floor(labels)) & (labels >= 0) & (labels <= last))]
    if wrong.size:
        known = f"0 to {last:g}, whose names `labels` gives" if names else "whole numbers from 0"
        raise HsisrError(f"{path}: the label {wrong[0]:g} is no class; expected {known}")
    return labels if labels.dtype.kind in "ui" else labels.astype(np.int64)  # MATLAB stores them as float64


def _paths(data_set: DataSet, scene: str, raw: RawFiles, layout: tuple[str, ...]) -> list[Path]:
    """The scene's files in one layout, their hashes verified."""
    found = find_parts(raw.files, data_set.layouts, scene)[data_set.layouts.index(layout)]
    if not found:
        present = [s for s in data_set.scenes if find(raw.files, layout, s)]
        raise HsisrError(
            f"{data_set.name}: {raw.root} has no {' or '.join(layout)} of scene {scene}; it has those of "
            f"{len(present)} of {len(data_set.scenes)}: {', '.join(present[:40])}; restrict the set to them by "
            f"scenes: {{{data_set.name}: [...]}} in the config, or get the rest"
        )
    return [raw.verify(path) for path in found]


def _read(paths: list[Path], reader: str, options: dict[str, Any]) -> Scene:
    """A scene from its files: the header of an ENVI pair, or the images of all bands. Side files are left out."""
    header = [path for path in paths if path.suffix.lower() == ".hdr"]
    data = header or [path for path in paths if path.suffix.lower() in CUBE_SUFFIXES | IMAGE_SUFFIXES] or paths
    if reader == "band_images" or (reader == "auto" and len(data) > 1 and data[0].suffix.lower() in _BAND_SUFFIXES):
        return read_scene(data[0].parent, "band_images", names=[path.name for path in data], **options)
    if len(data) > 1:
        raise HsisrError(
            f"{data[0]}: {len(data)} files match, also {data[1].name}; keep one, or give a closer `layout`"
        )
    return read_scene(data[0], reader, **options)


def _above_black(scene: Scene, level: float) -> Scene:
    """The scene with the black level subtracted from its stored values. Lower values are clipped."""
    if not level:
        return scene
    scene = scene.load()
    kind = scene.stored.dtype
    if kind.kind in "ui" and not (level == int(level) <= np.iinfo(kind).max):
        raise HsisrError(
            f"scene {scene.name}: black_level {level:g}, and its values are stored as {kind}; give a whole number up "
            f"to {np.iinfo(kind).max}"
        )
    dark = kind.type(level)
    stored, missing = np.maximum(scene.stored, dark) - dark, scene.without_data(scene.stored)
    scene = replace(scene, offset=0.0)  # the level means 0, whatever the file says of it
    if missing is None:
        return replace(scene, stored=stored)
    nodata = np.iinfo(kind).max if kind.kind in "ui" else np.nan  # a number that no sample has after the subtraction
    stored[missing] = nodata
    return replace(scene, stored=stored, nodata=float(nodata))


def _rescale(scene: Scene, scale: float | str) -> Scene:
    """The scene with another scale: `scale` is a factor, or the name of a rule (see DataSet.scale)."""
    if scale == "type_maximum":
        if scene.stored.dtype.kind not in "ui":
            raise HsisrError(f"scene {scene.name}: stored as {scene.stored.dtype}; `type_maximum` is for integers")
        return replace(scene, scale=1.0 / np.iinfo(scene.stored.dtype).max, offset=0.0)
    if scale == "scene_maximum":
        good = slice(None) if scene.bad_bands is None or np.all(scene.bad_bands) else ~np.asarray(scene.bad_bands, bool)
        largest = max(float(replace(scene, stored=block, mask=None).cube[good].max()) for _, block in scene.strips())
        if largest <= 0:
            raise HsisrError(f"scene {scene.name}: its largest value is {largest:g}; it cannot be scaled by it")
        scale = 1.0 / largest
    elif scale != 1 and scene.scale != 1:
        notice(
            f"scene {scene.name}: its file states a scale itself, {scene.scale:g}; `scale` of the data set, {scale:g}, "
            "multiplies it; leave that out if both say the same"
        )
    return replace(scene, scale=scene.scale * float(scale), offset=scene.offset * float(scale))


def _provenance(data_set: DataSet, scene: str, raw: RawFiles, used: list[Path]) -> dict[str, Any]:
    names = [path.relative_to(raw.root).as_posix() for path in used]
    return {
        "dataset": data_set.name,
        "scene": scene,
        "title": data_set.title,
        "licence": data_set.licence,
        "citation": data_set.citation,
        # the manifest says where the files came from, and when: the same files make the same scene file
        "sha256": {PurePosixPath(name).name: raw.files[name]["sha256"] for name in names},
    }
