"""Reader of Planet's PlanetScope and SkySat surface reflectance: a GeoTIFF with its mask of usable pixels beside it.

Files are named `*_3B_AnalyticMS_SR_8b*.tif` and the like, uint16, 0 for no data, reflectance times 10,000. The mask
`*_udm2*.tif` has layers: 3 shadow, 5 heavy haze, 6 cloud, 8 unusable pixels.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import products
from hsisr.datasets.readers.images import driver_of
from hsisr.datasets.readers.packages import Package
from hsisr.errors import HsisrError
from hsisr.scene import Scene

_FILE = re.compile(r"(.*?)_AnalyticMS(?:_8b)?_SR\w*\.tiff?|(.*_ssc\d+\w*?)_analytic_SR\w*\.tiff?", re.IGNORECASE)
_SCALE = 1e-4
#: Bands -> centre and width of each in nm (Planet's product specification; SuperDove, and its blue, green, red, NIR).
_BANDS = {
    8: ((443, 20), (490, 50), (531, 36), (565, 36), (610, 20), (665, 31), (705, 15), (865, 40)),
    4: ((490, 50), (565, 36), (665, 31), (865, 40)),
}
#: Layers of the mask, from 0.
_MASKED = (2, 4, 5, 7)


def matches(path: Path, head: bytes) -> bool:
    """True for a TIFF with one of Planet's names for surface reflectance."""
    return driver_of(head) == "GTiff" and _FILE.fullmatch(path.name) is not None


def read(path: Path, quality: str = "mask") -> Scene:
    """Scene of the image. quality: with `mask`, clouds, shadows, heavy haze and unusable pixels hold no data; with
    `none`, they count. Raises HsisrError for another number of bands.
    """
    screen = products.uses_quality(path, quality)
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise HsisrError(f"{path}: not named as Planet's surface reflectance; read it as a raster (reader=raster)")
    package = Package.around(path).starting(match[1] or match[2])
    scene = products.raster(package, path.name)
    bands = _BANDS.get(scene.shape[0])
    if bands is None:
        raise HsisrError(f"{path}: {scene.shape[0]} bands; expected 4 or 8 of PlanetScope or SkySat")
    centres, widths = zip(*bands, strict=True)
    scene = replace(scene, nodata=0.0, scale=_SCALE, **products.spectral(centres, widths))
    mask, usable = None, package.first(r".*_udm2\w*\.tiff?")
    if screen and usable is not None:
        planes = [products.layer(package, usable, scene.shape[1:], band) for band in _MASKED]
        mask = ~np.logical_or.reduce([plane != 0 for plane in planes])
    taken = re.match(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", path.name)
    return products.finish(
        path, scene, "Planet surface reflectance",
        products.time_of(taken, "Z"), mask,
        quality=None if mask is None else f"no data where {usable} says cloud, shadow, heavy haze or unusable",
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)
