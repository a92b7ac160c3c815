"""Reader of Planet's PlanetScope and SkySat surface reflectance: a GeoTIFF with its mask of usable pixels beside it.

Files are named `*_3B_AnalyticMS_SR_8b*.tif` and the like, uint16, 0 for no data, reflectance times 10,000. The mask
`*_udm2*.tif` has layers: 3 shadow, 5 heavy haze, 6 cloud, 8 unusable pixels. Four bands may come from three kinds of
satellites, whose bands differ: `*_metadata*.xml` (`Instrument/shortName`) or `*_metadata.json` (`instrument`) tells.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import packages, products
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.images import driver_of
from hsisr.datasets.readers.packages import Package
from hsisr.errors import HsisrError, notice
from hsisr.scene import Scene

_FILE = re.compile(r"(.*?)_AnalyticMS(?:_8b)?_SR\w*\.tiff?|(.*_ssc\d+\w*?)_analytic_SR\w*\.tiff?", re.IGNORECASE)
_SCALE = 1e-4
#: Instrument -> centre and width of each band in nm (Planet's product specifications). SuperDove (PSB.SD) has eight,
#: of which products of four have blue, green, red, NIR. Dove-R (PS2.SD) and Dove Classic (PS2) flew until April 2022.
_EIGHT = ((443, 20), (490, 50), (531, 36), (565, 36), (610, 20), (665, 31), (705, 15), (865, 40))
_FOUR: dict[str, tuple[tuple[float, float], ...]] = {
    "PSB.SD": ((490, 50), (565, 36), (665, 31), (865, 40)),
    "PS2.SD": ((490.5, 53), (566, 38), (666, 32), (867, 42)),
    "PS2": ((485, 60), (545, 90), (630, 80), (820, 80)),
    "SkySat": ((482.5, 65), (555, 80), (650, 90), (820, 160)),
}
#: From this month on, all images of PlanetScope are SuperDove's.
_ONLY_SUPERDOVE = "202205"
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
    package = Package.around(path).starting((match[1] or match[2]).removesuffix("_3B"))
    scene = products.raster(package, path.name)
    if scene.shape[0] not in (4, 8):
        raise HsisrError(f"{path}: {scene.shape[0]} bands; expected 4 or 8 of PlanetScope or SkySat")
    bands = _EIGHT if scene.shape[0] == 8 else _FOUR["SkySat" if match[2] else _instrument(path, package)]
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


def _instrument(path: Path, package: Package) -> str:
    """The instrument of an image of PlanetScope. If no description beside it says so, SuperDove.

    If the image is old enough for another one, a line says that.
    """
    text, properties = package.first(r".*_metadata\w*\.xml"), package.first(r".*_metadata\.json")
    found: Any = None
    if text is not None:
        instrument = package.xml(text).find(".//Instrument")
        found = None if instrument is None else packages.text_of(instrument, "shortName")
    if found is None and properties is not None:
        with damage(package.place(properties), "description"):
            found = json.loads(package.text(properties))["properties"].get("instrument")
    if isinstance(found, str) and found in _FOUR:
        return found
    if path.name < _ONLY_SUPERDOVE:
        notice(
            f"{path}: no description beside it names its instrument; the wavelengths are those of SuperDove (PSB.SD)"
        )
    return "PSB.SD"
