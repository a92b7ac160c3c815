"""Decoding of image files (PNG, BMP, JPEG, TIFF) for the readers of band images and RGB photographs."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.arrays import check_claim
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError, notice
from hsisr.limits import BANDS, check

SUFFIXES = frozenset({".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff"})

#: Part of a mask's pixels that may be partly transparent: soft edges.
_MOST_TRANSLUCENT = 0.1

#: Names of an alpha band in formats that do not mark one.
_ALPHA_NAMES = frozenset({"alpha", "alpha band", "alpha channel", "opacity", "transparency"})

#: First bytes -> GDAL's name of the format. Told the format, GDAL does not try its hundred others.
_DRIVERS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",
    b"MM\x00+": "GTiff",
}
#: First bytes -> GDAL's name, for formats that only the reader of rasters opens.
_RASTERS = {
    b"\x00\x00\x00\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
    b"DatasetHeader": "ERS",
    b"<VRTDataset": "VRT",
}


def raster_driver_of(head: bytes) -> str | None:
    """GDAL's name of the format of a raster with metadata, by its first bytes, or None. ENVI data have none."""
    found = driver_of(head)
    if found is not None:
        return found if found == "GTiff" else None
    text = head.lstrip()
    if text.startswith(b"<?xml"):  # GDAL writes no declaration, other writers of VRTs do
        text = text.partition(b"?>")[2].lstrip()
    return next((driver for start, driver in _RASTERS.items() if text.startswith(start)), None)


def driver_of(head: bytes) -> str | None:
    """GDAL's name of an image format by a file's first bytes, or None."""
    return next((driver for start, driver in _DRIVERS.items() if head.startswith(start)), None)


def gdal_name(path: Path) -> str:
    """The name by which rasterio opens a file. It would take a relative `s3:b.tif` for an address on the web."""
    return os.path.abspath(path) if ":" in str(path) else str(path)


@contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """An image file, opened by rasterio. Raises HsisrError for a damaged file, or a file that is not an image."""
    import rasterio

    if not path.is_file():
        raise HsisrError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(16)
    driver = driver_of(head)
    if driver is None:
        fault = "not an image of type PNG, BMP, JPEG or TIFF" if head else "empty file (0 bytes)"
        raise HsisrError(f"{path}: {fault}; get it again")
    with quiet_gdal(), damage(path, f"{driver} image"), rasterio.open(gdal_name(path), driver=driver) as image:
        check_claim(path, image.count * image.height * image.width * np.dtype(image.dtypes[0]).itemsize)
        check(path, BANDS, image.count, "channels")
        yield image


def decode(path: Path) -> np.ndarray:
    """Pixels as stored, (channels, H, W). Palette indices become colours. Raises HsisrError for a damaged file."""
    with open_image(path) as image:
        pixels = image.read()
        palette = image.colormap(1) if image.count == 1 and image.colorinterp[0].name == "palette" else None
    if palette is not None:
        table = np.array([palette.get(i, (0, 0, 0, 255))[:3] for i in range(256)], np.uint8)
        pixels = np.moveaxis(table[pixels[0]], -1, 0)
    return pixels


def valid_pixels(path: Path, image: Any) -> tuple[np.ndarray | None, int | None]:
    """Valid pixels (H, W) of an open rasterio image by its mask and alpha band, None if all are; and the alpha band.

    GDAL marks the fourth band of any 8-bit image as alpha. A marked band with more than a few partly transparent
    values is therefore no mask: it counts as a normal band, and a line tells the user. ENVI files have no marks: there,
    a last band counts as alpha if its name says so.
    """
    from rasterio.enums import ColorInterp, MaskFlags

    marked = [k for k, kind in enumerate(image.colorinterp, 1) if kind == ColorInterp.alpha]
    named = [image.count] if str(image.descriptions[-1]).strip().lower() in _ALPHA_NAMES else []
    alpha = None
    flags = image.mask_flag_enums[0]
    planes = []
    if (marked or named) and image.count > 1:
        certain = image.driver == "PNG"
        alpha = next((band for band in [*named, *marked] if certain or is_opacity(image.read(band))), None)
        if alpha is not None:
            planes.append(image.read(alpha) > 0)
        elif marked:
            notice(f"{path}: its band {marked[0]} is marked as alpha but holds an image; it is taken as a band")
    elif image.count == 1 and image.colorinterp[0] == ColorInterp.palette:
        opacity = np.array([image.colormap(1).get(index, (0, 0, 0, 255))[3] for index in range(256)])
        planes.append(opacity[image.read(1)] > 0)
    elif image.driver == "PNG" and MaskFlags.nodata in flags:
        planes.append(image.dataset_mask() > 0)
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:  # a mask of its own, which counts too
        planes.append(image.read_masks(1) > 0)
    if not planes:
        return None, None
    valid = np.logical_and.reduce(planes)
    if not valid.any():
        raise HsisrError(f"{path}: its mask says that every pixel is transparent; there is nothing to read")
    return (None if valid.all() else valid), alpha


def is_opacity(values: np.ndarray) -> bool:
    """Whether nearly all values of a band are either transparent or opaque."""
    between = np.count_nonzero((values > 0) & (values < values.max()))
    return bool(between <= _MOST_TRANSLUCENT * values.size)


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """Hide GDAL's log, and rasterio's warning that an image has no georeference."""
    from rasterio.errors import NotGeoreferencedWarning

    log = logging.getLogger("rasterio")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    finally:
        log.setLevel(level)


@contextmanager
def gdal_cache(size: int) -> Iterator[None]:
    """Let GDAL keep at most `size` bytes of files that it reads and writes."""
    import rasterio
    from rasterio.env import get_gdal_config

    # rasterio goes back to what the Env around says, so the usual size is said first
    with rasterio.Env(GDAL_CACHEMAX=get_gdal_config("GDAL_CACHEMAX")), rasterio.Env(GDAL_CACHEMAX=size):
        yield
