"""Reader of a folder of images, one a band, as CAVE is published."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.arrays import build, vector
from hsisr.datasets.readers.images import SUFFIXES, decode
from hsisr.errors import HsisrError
from hsisr.files import natural_key
from hsisr.scene import Scene


def matches(path: Path, head: bytes) -> bool:
    """True for a folder that holds numbered images."""
    return path.is_dir() and bool(_numbered(path))


def read(
    path: Path,
    names: Sequence[str] | None = None,
    bands: int | None = None,
    channel: int | None = None,
    wavelengths_nm: Any = None,
    nodata: float | None = None,
) -> Scene:
    """Scene of the folder's numbered images, in the order of their numbers.

    names: the file names; by default all images whose name ends in a number. bands: how many there must be.
    channel: which channel counts (from 0) where an image has several; without it, the colours must be equal.
    Raises HsisrError for a missing number, images of different size or type, or a damaged image.
    """
    found = _numbered(path) if names is None else [path / name for name in sorted(names, key=natural_key)]
    files = _checked_numbers(path, found, bands)
    stored: np.ndarray | None = None
    for index, file in enumerate(files):
        plane = _plane(file, channel)
        if stored is None:
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
    files = _numbered(path)
    first = decode(files[0])
    return {
        "format": "folder of band images",
        "bands": len(files),
        "first": files[0].name,
        "channels, rows, columns": "x".join(map(str, first.shape)),
        "type": str(first.dtype),
    }


def _numbered(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise HsisrError(f"{folder}: no such folder of band images")
    found = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and re.search(r"\d$", file.stem)
    ]
    return sorted(found, key=lambda file: natural_key(file.name))


def _checked_numbers(folder: Path, files: list[Path], bands: int | None) -> list[Path]:
    if not files:
        raise HsisrError(f"{folder}: holds no band images")
    numbers = [int(re.findall(r"\d+", file.stem)[-1]) if re.search(r"\d", file.stem) else -1 for file in files]
    first = min(numbers)
    expected = range(first, first + (bands or max(numbers) - first + 1))
    missing = sorted(set(expected) - set(numbers))
    if missing or len(files) != len(expected):
        fault = f"band {missing[0]} is missing" if missing else "a number stands twice, or there are too many"
        raise HsisrError(f"{folder}: {len(files)} band images, expected {len(expected)}: {fault}")
    return files


def _plane(file: Path, channel: int | None) -> np.ndarray:
    pixels = decode(file)
    if len(pixels) == 1:
        return pixels[0]
    if channel is None:
        if not all(np.array_equal(pixels[0], other) for other in pixels[1:3]):
            raise HsisrError(f"{file}: has {len(pixels)} channels that differ; say which counts with `channel`")
        return pixels[0]
    if not 0 <= channel < len(pixels):
        raise HsisrError(f"{file}: has {len(pixels)} channels, no channel {channel} (counted from 0)")
    return pixels[channel]
