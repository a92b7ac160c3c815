"""Reader of a folder of images, one image for each band, as CAVE is published."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import raster, rgb
from hsisr.datasets.readers.arrays import build, check_claim, leave_on_disk, scene_name, vector
from hsisr.datasets.readers.damage import first_bytes
from hsisr.datasets.readers.images import SUFFIXES, decode, raster_driver_of
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError, notice
from hsisr.files import natural_key
from hsisr.scene import Scene

#: JPEG 2000 is read by the reader of rasters, not by the reader of photographs.
_JPEG_2000 = "JP2OpenJPEG"
#: Numbers in names that may be wavelengths, and how far apart they then are.
_OPTICAL_NM, _LEAST_STEP_NM = (300, 2600), 2
_SUFFIXES = SUFFIXES | {".jp2"}


def matches(path: Path, head: bytes) -> bool:
    """True for a folder that holds numbered images."""
    return path.is_dir() and bool(_find_images(path))


def read(
    path: Path,
    names: Sequence[str] | None = None,
    bands: int | None = None,
    channel: int | None = None,
    wavelengths_nm: Any = None,
    nodata: float | None = None,
    crs: str | None = None,
    georeference: str | None = None,
) -> Scene:
    """Scene of the folder's numbered images, in the order of their numbers.

    names: the file names. By default, all images whose name ends in a number, as in `x_07.png`, `T33_B8A_10m.tif` or
    `EO1_B012_L1T.TIF`; an ending that all names share does not count. Names such as `x_450nm.png` state wavelengths,
    and so do numbers that can only be nanometres: 400, 410, 420. bands: the required number of images. channel: the
    channel to use (from 0), if an image has several; without it, the colours must be equal. GeoTIFFs and JPEG 2000 keep
    their georeference, nodata value, scale and masks. wavelengths_nm: (bands,) band centres. nodata, crs, georeference:
    as for a GeoTIFF.
    Raises HsisrError for a missing number, for images of different size, type or place, or for a damaged image.
    """
    found = _find_images(path) if names is None else [path / name for name in sorted(names, key=natural_key)]
    centres = _stated_nm(path, found)
    if centres is None:
        files = _checked_numbers(path, found, bands)
    else:
        files = sorted(found, key=dict(zip(found, centres, strict=True)).__getitem__)
        wavelengths_nm = sorted(centres) if wavelengths_nm is None else wavelengths_nm
    if channel is None and all(_is_raster(file) for file in files):
        options = {"nodata": nodata, "crs": crs, "georeference": georeference}
        return _read_rasters(path, files, wavelengths_nm, options)
    stored: np.ndarray | None = None
    for index, file in enumerate(files):
        plane = _plane(file, channel)
        if stored is None:
            check_claim(path, len(files) * plane.nbytes, files)
            stored = np.empty((len(files), *plane.shape), plane.dtype)
        if plane.shape != stored.shape[1:] or plane.dtype != stored.dtype:
            raise HsisrError(
                f"{file}: {plane.shape[0]} x {plane.shape[1]} {plane.dtype}, but {files[0].name} is "
                f"{stored.shape[1]} x {stored.shape[2]} {stored.dtype}; all bands must agree"
            )
        stored[index] = plane
    wavelengths = vector(path, wavelengths_nm, "wavelengths", len(files))
    return build(path, stored, (0, 1, 2), nodata, wavelengths_nm=wavelengths)


def describe(path: Path) -> dict[str, Any]:
    """Number of images, and size and type of the first."""
    files = _find_images(path)
    if raster_driver_of(first_bytes(files[0], 16)) == _JPEG_2000:
        with leave_on_disk():
            scene = raster.read(files[0])
        sizes = zip(("channels", "rows", "columns"), scene.shape, strict=True)
        first = {**dict(sizes), "type": str(scene.stored.dtype)}
    else:
        first = rgb.describe(files[0])
    return {
        "format": "folder of band images",
        "bands": len(files),
        "first": files[0].name,
        "channels, rows, columns": "x".join(str(first[key]) for key in ("channels", "rows", "columns")),
        "type": first["type"],
    }


def _read_rasters(path: Path, files: list[Path], wavelengths_nm: Any, options: dict[str, Any]) -> Scene:
    """A scene of GeoTIFFs of one band each, with their metadata."""
    scenes = []
    with leave_on_disk():
        for file in files:
            scene = raster.read(file, **options)
            if scene.shape[0] > 1:
                _check_equal(file, scene.stored[...])
                scene = scene.bands([0])
            scenes.append(scene)
    scene = stack(scenes, [str(file) for file in files], scene_name(path))
    types = list(dict.fromkeys(str(one.stored.dtype) for one in scenes))
    if len(types) > 1:
        raise HsisrError(f"{path}: its bands are stored as {' and '.join(types)}; all bands must agree")
    facts = {key: getattr(scene, key) for key in ("scale", "offset", "crs", "transform", "mask", "provenance")}
    facts |= {"fwhm_nm": scene.fwhm_nm, "bad_bands": scene.bad_bands}
    wavelengths = vector(path, wavelengths_nm, "wavelengths", len(files))
    facts["wavelengths_nm"] = scene.wavelengths_nm if wavelengths is None else wavelengths
    return build(path, scene.stored, (0, 1, 2), scene.nodata, **facts)


def _check_equal(file: Path, channels: np.ndarray) -> None:
    """Raise HsisrError if the colours of an image differ. A fourth channel, the opacity, may differ."""
    if not all(np.array_equal(channels[0], other) for other in channels[1:3]):
        raise HsisrError(f"{file}: has {len(channels)} channels that differ; say which counts with `channel`")


def _is_raster(file: Path) -> bool:
    return raster_driver_of(first_bytes(file, 16)) in ("GTiff", _JPEG_2000)


def _find_images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise HsisrError(f"{folder}: no such folder of band images")
    images = [file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")]
    tail = _common_tail([file.stem for file in images])
    found = [file for file in images if _number(file, tail) or _nanometres(file, tail)]
    return sorted(found, key=lambda file: natural_key(file.name))


def _common_tail(stems: list[str]) -> str:
    """The ending that all names share, from a separator on: `_10m` of B02_10m and B03_10m. Empty for a single name."""
    tail = os.path.commonprefix([stem[::-1] for stem in stems])[::-1] if len(stems) > 1 else ""
    match = re.search(r"[_\-. ].*$", tail)
    return match[0] if match and not re.fullmatch(r"[_\-. ]\d*", match[0]) else ""


def _number(file: Path, tail: str) -> tuple[int, str] | None:
    """The number at the end of a name, and a letter that may follow it, as in Sentinel-2's B8A."""
    match = re.search(r"(\d+)((?<=B\d)[A-Z]|)$", file.stem.removesuffix(tail))
    return (int(match[1]), match[2]) if match else None


def _nanometres(file: Path, tail: str) -> re.Match[str] | None:
    """The number at the end of a name that may be a wavelength, and its unit, `nm` or nothing."""
    return re.search(r"(?<![\d.])([1-9]\d{2,3}(?:\.\d+)?) ?(nm|)$", file.stem.removesuffix(tail), re.IGNORECASE)


def _stated_nm(folder: Path, files: list[Path]) -> list[float] | None:
    """The wavelengths in the names of all images; None if the names hold anything else.

    Numbers without a unit count as nanometres if all are those of an optical sensor, and no two follow each other.
    """
    tail = _common_tail([file.stem for file in files])
    matched = [match for file in files if (match := _nanometres(file, tail))]
    if len(matched) < max(2, len(files)):
        return None
    centres = [float(match[1]) for match in matched]
    if len(set(centres)) < len(centres):
        return None
    if all(match[2] for match in matched):
        return centres
    apart = np.diff(sorted(centres)).min() >= _LEAST_STEP_NM
    if not (apart and min(centres) >= _OPTICAL_NM[0] and max(centres) <= _OPTICAL_NM[1]):
        return None
    notice(f"{folder}: takes the numbers of its images, {min(centres):g} to {max(centres):g}, as wavelengths in nm")
    return centres


def _checked_numbers(folder: Path, files: list[Path], bands: int | None) -> list[Path]:
    if not files:
        raise HsisrError(f"{folder}: holds no band images")
    tail = _common_tail([file.stem for file in files])
    labels = [_number(file, tail) or (int(([-1, *re.findall(r"\d+", file.stem)])[-1]), "") for file in files]
    numbers = [number for number, _ in labels]
    first = min(numbers)
    expected = range(first, first + (bands or max(numbers) - first + 1))
    missing = sorted(set(expected) - set(numbers))
    lettered = [file.name for file, (_, letter) in zip(files, labels, strict=True) if letter]
    if missing or len(files) - len(lettered) > len(expected) or len(set(labels)) < len(labels):
        fault = f"band {missing[0]} is missing" if missing else "a number stands twice, or there are too many"
        raise HsisrError(
            f"{folder}: {len(files)} band images, expected {len(expected)}: {fault}; a guide of these alone is named "
            f"file by file: --guide {files[0].name} --guide {files[-1].name} ..."
        )
    return files


def _plane(file: Path, channel: int | None) -> np.ndarray:
    pixels = decode(file)
    if len(pixels) == 1:
        return pixels[0]
    if channel is None:
        _check_equal(file, pixels)
        return pixels[0]
    if not 0 <= channel < len(pixels):
        raise HsisrError(f"{file}: has {len(pixels)} channels, no channel {channel} (counted from 0)")
    return pixels[channel]
