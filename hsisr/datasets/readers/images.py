"""Decoding of image files (PNG, BMP, JPEG, TIFF) for the readers of band images and RGB photographs."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hsisr.datasets.readers.arrays import check_claim
from hsisr.datasets.readers.damage import damage
from hsisr.errors import HsisrError

SUFFIXES = frozenset({".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff"})

#: First bytes -> GDAL's name of the format. GDAL is told the format, so that it tries no other of its hundred.
_DRIVERS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",
    b"MM\x00+": "GTiff",
}


def driver_of(head: bytes) -> str | None:
    """GDAL's name of an image format by a file's first bytes, or None."""
    return next((driver for start, driver in _DRIVERS.items() if head.startswith(start)), None)


def decode(path: Path) -> np.ndarray:
    """Pixels as stored, (channels, H, W); a palette is replaced by its colours. Raises HsisrError when damaged."""
    import rasterio

    if not path.is_file():
        raise HsisrError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(16)
    driver = driver_of(head)
    if driver is None:
        fault = "not an image of type PNG, BMP, JPEG or TIFF" if head else "empty file (0 bytes)"
        raise HsisrError(f"{path}: {fault}; get it again")
    with quiet_gdal(), damage(path, f"{driver} image"), rasterio.open(path, driver=driver) as image:
        check_claim(path, image.count * image.height * image.width)
        pixels = image.read()
        palette = image.colormap(1) if image.count == 1 and image.colorinterp[0].name == "palette" else None
    if palette is not None:
        table = np.array([palette.get(i, (0, 0, 0, 255))[:3] for i in range(256)], np.uint8)
        pixels = np.moveaxis(table[pixels[0]], -1, 0)
    return pixels


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """Keep GDAL's log, and rasterio's warning that an image has no georeference, off the screen."""
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
