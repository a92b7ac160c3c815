"""Reader of the surface reflectance of Landsat 4 to 9, Collection 2 level 2: a folder of GeoTIFFs, or its archive.

Bands are `*_SR_B1.TIF` to `_SR_B7.TIF` of uint16, 0 for no data; Landsat 4 to 7 have no `_SR_B6`. `*_MTL.txt`, or else
`*_MTL.xml` or `*_MTL.json` with the same groups, states scale and offset. `*_QA_PIXEL.TIF` holds bits: 0 fill, 1
dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 6 clear (neither 1 nor 3). Thermal and aerosol layers are left out.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers import packages, products
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.packages import Package
from hsisr.datasets.readers.products import parameters
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError, notice
from hsisr.scene import Scene

_BAND = re.compile(r"(?:.*/)?((?:L[CO]0[89]|LE07|LT0[45])_[^/]*)_SR_B([1-7])\.TIFF?", re.IGNORECASE)
#: Band -> centre and width in nm: OLI (Barsi et al., Remote Sensing 2014); ETM+, and TM of Landsat 5, which stands for
#: that of Landsat 4 (Chander et al., Remote Sensing of Environment 2009).
_OLI = {1: (443.0, 16.0), 2: (482.0, 60.0), 3: (561.4, 57.3), 4: (654.6, 37.5), 5: (864.7, 28.2), 6: (1608.9, 84.7),
        7: (2200.7, 186.7)}  # fmt: skip
_ETM = {1: (483.0, 62.0), 2: (560.0, 82.0), 3: (662.0, 61.0), 4: (835.0, 126.0), 5: (1648.0, 201.0), 7: (2206.0, 281.0)}
_TM = {1: (485.0, 66.0), 2: (569.0, 81.0), 3: (660.0, 67.0), 4: (840.0, 128.0), 5: (1676.0, 217.0), 7: (2223.0, 252.0)}
#: Beginning of a product's name -> its bands, and the satellites in words.
_SENSORS = {"LC": (_OLI, "8/9"), "LO": (_OLI, "8/9"), "LE": (_ETM, "7"), "LT": (_TM, "4/5")}
_FILL, _DILATED, _CIRRUS, _CLOUD, _SHADOW, _CLEAR = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 6
#: Groups of the description: of scale and offset, and of the time.
_SCALES, _IMAGE = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "IMAGE_ATTRIBUTES"
_DESCRIPTIONS = (r".*_MTL\.txt", r".*_MTL\.xml", r".*_MTL\.json")


def matches(path: Path, head: bytes) -> bool:
    """True for the folder or archive of one product."""
    return _product(path, head) is not None


def read(path: Path, quality: str = "mask") -> Scene:
    """Scene of the bands of surface reflectance, by wavelength.

    quality: with `mask`, clouds, their surroundings and shadows, and cirrus hold no data; with `none`, they count.
    Without a description, stored numbers stay unchanged. Raises HsisrError if bands do not fit together.
    """
    screen = products.uses_quality(path, quality)
    found = _product(path, products.first_bytes(path))
    if found is None:
        raise HsisrError(f"{path}: no Landsat product of level 2; expected a folder of LC08_..._SR_B2.TIF and so on")
    package, files = found
    numbers = sorted(files)
    one_band = [products.raster(package, files[number]) for number in numbers]
    one_band = [replace(scene, nodata=0.0) for scene in one_band]
    scene = stack(one_band, [str(package.place(files[number])) for number in numbers], one_band[0].name)
    bands, satellites = _sensor(files[numbers[0]].rpartition("/")[2])
    centres, widths = zip(*(bands[number] for number in numbers), strict=True)
    scene = replace(scene, **products.spectral(centres, widths))
    description = next(filter(None, map(package.first, _DESCRIPTIONS)), None)
    acquired = None
    if description is None:
        notice(f"{path}: has no _MTL.txt with its scale and offset; stored numbers stay as they are")
    else:
        stated, day = (_stated(package, description, group) for group in (_SCALES, _IMAGE))
        scene = products.scale_bands(path, scene, *_scales(package.place(description), stated, numbers))
        acquired = "T".join(filter(None, [day.get("DATE_ACQUIRED"), day.get("SCENE_CENTER_TIME")])) or None
    mask = _mask(path, package, scene.shape[1:]) if screen else None
    return products.finish(
        path, scene, f"Landsat {satellites} L2", acquired, mask,
        parts=", ".join(f"B{number}" for number in numbers),
        quality=None if mask is None else "no data where QA_PIXEL says cloud, shadow or cirrus",
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _product(path: Path, head: bytes) -> tuple[Package, dict[int, str]] | None:
    """The product's files, and number -> file of each band of reflectance; None without one product."""
    found = products.numbered_bands(path, head, _BAND)
    if found is None:
        return None
    package, files = found
    known, _ = _sensor(next(iter(files.values())).rpartition("/")[2])
    files = {number: name for number, name in files.items() if number in known}
    return (package, files) if files else None


def _sensor(name: str) -> tuple[dict[int, tuple[float, float]], str]:
    """Bands and satellites of the product of this name."""
    return _SENSORS[name[:2].upper()]


def _stated(package: Package, name: str, group: str) -> dict[str, str]:
    """The parameters of a group of the description. Those of a text without this group are all its parameters."""
    if name.lower().endswith(".xml"):
        return {item.tag: (item.text or "").strip() for found in package.xml(name).iter(group) for item in found}
    if name.lower().endswith(".json"):
        with damage(package.place(name), "description"):
            found = json.loads(package.text(name))["LANDSAT_METADATA_FILE"].get(group, {})
            return {key: str(value) for key, value in found.items()}
    return parameters(package.text(name), group)


def _scales(path: Path, stated: dict[str, str], numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of each band. If only some are stated, and they agree, they count for all bands."""
    columns = []
    for key in ("REFLECTANCE_MULT_BAND_", "REFLECTANCE_ADD_BAND_"):
        known = {number: stated[f"{key}{number}"] for number in range(1, 8) if f"{key}{number}" in stated}
        values = {number: packages.number(path, key, text) for number, text in known.items()}
        common = set(values.values())
        if not values or (len(common) > 1 and not set(numbers) <= set(values)):
            raise HsisrError(f"{path}: states {key} of {len(values)} bands, expected bands {numbers}; get it again")
        columns.append(np.array([values.get(number, next(iter(common))) for number in numbers]))
    return columns[0], columns[1]


def _mask(path: Path, package: Package, size: tuple[int, int]) -> np.ndarray | None:
    """Valid pixels by QA_PIXEL; None without this file, or if its bits contradict each other."""
    name = package.first(r".*_QA_PIXEL\.TIFF?")
    if name is None:
        return None
    bits = products.layer(package, name, size)
    seen = bits[(bits & _FILL) == 0]
    if (((seen & _CLEAR) != 0) & ((seen & (_CLOUD | _DILATED)) != 0)).any():
        notice(f"{path}: its QA_PIXEL says clear and cloud of the same pixels; it is left out")
        return None
    return (bits & (_FILL | _DILATED | _CIRRUS | _CLOUD | _SHADOW)) == 0
