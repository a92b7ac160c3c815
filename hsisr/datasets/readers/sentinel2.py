"""Reader of Sentinel-2's reflectance: the folder `.SAFE`, or its archive, as a guide or as an image.

Level 2A is reflectance of the surface, level 1C reflectance at the top of the atmosphere. Bands are `.jp2` files of
uint16, of some services `.tif`, 0 for no data: of 2A in the folders R10m, R20m and R60m, of 1C each at its own
resolution. Value = (stored + offset) / quantification. `MTD_MSIL2A.xml` states `BOA_QUANTIFICATION_VALUE` and, since
processing baseline 04.00, `BOA_ADD_OFFSET`; `MTD_MSIL1C.xml` states `QUANTIFICATION_VALUE` and `RADIO_ADD_OFFSET`.
Clouds are in the scene classification (SCL) of 2A. For 1C they are in the mask `MSK_CLASSI_B00.jp2` of three layers:
opaque clouds, cirrus, snow. Before baseline 04.00, 1C has its clouds as polygons (`.gml`), which are not read.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from hsisr.datasets.readers import packages, products
from hsisr.datasets.readers.packages import Package
from hsisr.datasets.stacking import stack
from hsisr.errors import HsisrError, notice
from hsisr.scene import Scene

_METADATA = r"MTD_MSI\w+\.xml"
_FILE = re.compile(r"()MTD_MSI\w+\.xml", re.IGNORECASE)
#: Level -> the elements of its description that state the quantification and the offsets.
_LEVELS = {"2A": ("BOA_QUANTIFICATION_VALUE", "BOA_ADD_OFFSET"), "1C": ("QUANTIFICATION_VALUE", "RADIO_ADD_OFFSET")}
#: Band -> centre and width in nm for Sentinel-2A (ESA's spectral responses), in the order of the descriptions' band_id.
_BANDS = {
    "B01": (442.7, 20.0), "B02": (492.7, 65.0), "B03": (559.8, 35.0), "B04": (664.6, 30.0), "B05": (704.1, 14.0),
    "B06": (740.5, 14.0), "B07": (782.8, 19.0), "B08": (832.8, 105.0), "B8A": (864.7, 21.0), "B09": (945.1, 19.0),
    "B10": (1373.5, 29.0), "B11": (1613.7, 90.0), "B12": (2202.4, 174.0),
}  # fmt: skip
#: Bands of 10 and of 20 metres; the others have 60. Files of level 1C do not say so.
_OWN_M = {10: ("B02", "B03", "B04", "B08"), 20: ("B05", "B06", "B07", "B8A", "B11", "B12"), 60: ("B01", "B09", "B10")}
#: Masked classes of SCL: no data, defect, cloud shadow, cloud of medium and of high probability, thin cirrus.
_MASKED = (0, 1, 3, 8, 9, 10)
_QUANTIFICATION = 10_000.0
#: Endings of images: ESA's, and those of services that deliver the product as GeoTIFF.
_ENDING = r"\.(?:jp2|tiff?)"
#: From this processing baseline on, descriptions state an offset.
_WITH_OFFSET = 4.0


def matches(path: Path, head: bytes) -> bool:
    """True for the folder or archive of one product, and for its description."""
    return _package(path, head) is not None


def read(path: Path, resolution: int = 10, bands: str | None = None, quality: str = "mask") -> Scene:
    """Scene of the product's bands of one resolution, by wavelength.

    resolution: 10, 20 or 60 metres. bands: a choice, such as `B02,B03,B04`. quality: with `mask`, clouds, their shadows
    and defect pixels hold no data; with `none`, they count. Raises HsisrError for other levels, and for missing bands.
    """
    screen = products.uses_quality(path, quality)
    package = _package(path, products.first_bytes(path))
    if package is None:
        raise HsisrError(f"{path}: no Sentinel-2 product; expected its .SAFE folder, its archive or MTD_MSIL2A.xml")
    metadata = package.find(_METADATA)[0]
    found = metadata.rpartition("/")[2]
    level = found.upper().removeprefix("MTD_MSIL").removesuffix(".XML")
    if level not in _LEVELS:
        raise HsisrError(f"{path}: a Sentinel-2 product of another level ({found}); expected level 2A or 1C")
    root = package.xml(metadata)
    names = _choose_files(path, package, level, resolution, bands)
    places = [package.place(name) for name in names.values()]
    one_band = [replace(products.raster(package, name), nodata=0.0) for name in names.values()]
    scene = stack(one_band, [str(place) for place in places], one_band[0].name)
    centres, widths = zip(*(_spectral(root, band) for band in names), strict=True)
    scene = replace(scene, **products.spectral(centres, widths))
    scale, offsets = _scale(path, package.place(metadata), root, level)
    unsaid = [band for band in names if offsets and band not in offsets]
    if unsaid:
        _, element = _LEVELS[level]
        raise HsisrError(f"{package.place(metadata)}: states no {element} of {', '.join(unsaid)}; get it again")
    scene = products.scale_bands(
        path, scene, np.full(len(names), scale), np.array([scale * offsets.get(band, 0.0) for band in names])
    )
    mask = _mask(package, level, resolution, scene.shape[1:]) if screen else None
    layer = {"2A": "SCL says cloud, shadow or defect", "1C": "MSK_CLASSI says opaque cloud or cirrus"}[level]
    return products.finish(
        path, products.in_order(scene), f"Sentinel-2 L{level}", packages.text_of(root, "PRODUCT_START_TIME"), mask,
        parts=", ".join(names), quality=None if mask is None else f"no data where {layer}",
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of its bands of 10 m."""
    return products.describe(path, read)


def _package(path: Path, head: bytes) -> Package | None:
    if path.is_file() and _FILE.fullmatch(path.name):
        return Package.of(path.parent)
    return products.package_of(path, head, _FILE, _METADATA)


def _choose_files(path: Path, package: Package, level: str, resolution: int, bands: str | None) -> dict[str, str]:
    """Band -> file, of one resolution."""
    if resolution not in _OWN_M:
        raise HsisrError(f"{path}: resolution={resolution}: Sentinel-2 has bands of 10, 20 and 60 m")
    if level == "2A":
        found = package.find(rf"R{resolution}m/[^/]*_B\w\w_{resolution}m{_ENDING}")
        names = {name.rpartition("/")[2].split("_")[-2].upper(): name for name in found}
    else:
        found = package.find(rf"IMG_DATA/[^/]*_(?:{'|'.join(_OWN_M[resolution])}){_ENDING}")
        names = {name.rpartition("_")[2].partition(".")[0].upper(): name for name in found}
    if len(names) != len(found):
        raise HsisrError(
            f"{path}: holds {len(found)} files of {len(names)} bands of {resolution} m; expected one granule"
        )
    wanted = (
        [word.strip().upper() for word in bands.split(",")] if bands else [band for band in _BANDS if band in names]
    )
    missing = [band for band in wanted if band not in names]
    if missing or not wanted:
        held = ", ".join(names) or "none"
        raise HsisrError(f"{path}: has no band {', '.join(missing)} of {resolution} m; it holds {held}")
    return {band: names[band] for band in wanted}


def _mask(package: Package, level: str, resolution: int, size: tuple[int, int]) -> np.ndarray | None:
    """Valid pixels by the product's own layer of clouds; None without this layer."""
    if level == "2A":
        coarse = max(resolution, 20)
        name = package.first(rf"R{coarse}m/[^/]*_SCL_{coarse}m{_ENDING}")
        return None if name is None else ~np.isin(products.layer(package, name, size), _MASKED)
    name = package.first(rf"QI_DATA/MSK_CLASSI_B00{_ENDING}")
    if name is None:
        return None
    opaque, cirrus = (products.layer(package, name, size, band) for band in (0, 1))
    return (opaque == 0) & (cirrus == 0)


def _scale(path: Path, metadata: Path, root: Element, level: str) -> tuple[float, dict[str, float]]:
    """One over the quantification, and the offset that the description states for each band."""
    quantification, offset = _LEVELS[level]
    stated = packages.text_of(root, quantification)
    scale = 1 / (packages.number(metadata, quantification, stated) if stated else _QUANTIFICATION)
    order = list(_BANDS)
    offsets = {}
    for element in root.iter(offset):
        index = element.get("band_id", "")
        if not index.isdigit() or int(index) >= len(order):
            raise HsisrError(f"{metadata}: {offset} of an unknown band_id {index!r}")
        offsets[order[int(index)]] = packages.number(metadata, offset, element.text)
    named = re.search(r"_N(\d{4})_", path.name)
    baseline = packages.text_of(root, "PROCESSING_BASELINE") or (f"{int(named[1]) / 100:.2f}" if named else "")
    if not offsets and baseline and packages.number(metadata, "PROCESSING_BASELINE", baseline) >= _WITH_OFFSET:
        notice(f"{path}: of processing baseline {baseline}, but its description states no {offset}; none is applied")
    return scale, offsets


def _spectral(root: Element, band: str) -> tuple[float, float]:
    """Centre and width of a band. The centre is that of its satellite, if the description states it."""
    physical = re.sub(r"^B0", "B", band)
    for element in root.iter("Spectral_Information"):
        centre = element.findtext("Wavelength/CENTRAL")
        if element.get("physicalBand") == physical and centre:
            return packages.number(Path(band), "CENTRAL", centre), _BANDS[band][1]
    return _BANDS[band]
