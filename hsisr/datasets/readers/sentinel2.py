"""Reader of Sentinel-2's reflectance, level 2A: the folder `.SAFE`, or its zip archive, as a guide or as an image.

Bands are `.jp2` files of uint16, of some services `.tif`, 0 for no data, in the folders R10m, R20m and R60m. Value =
(stored + offset) / quantification. `MTD_MSIL2A.xml` states `BOA_QUANTIFICATION_VALUE` and, since processing baseline
04.00, `BOA_ADD_OFFSET`. The scene classification (SCL) shows where clouds are.
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
#: Band -> centre and width in nm for Sentinel-2A (ESA's spectral responses), in the order of the descriptions' band_id.
_BANDS = {
    "B01": (442.7, 20.0), "B02": (492.7, 65.0), "B03": (559.8, 35.0), "B04": (664.6, 30.0), "B05": (704.1, 14.0),
    "B06": (740.5, 14.0), "B07": (782.8, 19.0), "B08": (832.8, 105.0), "B8A": (864.7, 21.0), "B09": (945.1, 19.0),
    "B10": (1373.5, 29.0), "B11": (1613.7, 90.0), "B12": (2202.4, 174.0),
}  # fmt: skip
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
        raise HsisrError(f"{path}: no Sentinel-2 product; expected its .SAFE folder, its zip archive or MTD_MSIL2A.xml")
    metadata = package.find(_METADATA)[0]
    if not metadata.upper().endswith("MTD_MSIL2A.XML"):
        found = metadata.rpartition("/")[2]
        raise HsisrError(f"{path}: a Sentinel-2 product of another level ({found}); expected level 2A, MTD_MSIL2A.xml")
    root = package.xml(metadata)
    names = _choose_files(path, package, resolution, bands)
    places = [package.place(name) for name in names.values()]
    one_band = [replace(products.raster(package, name), nodata=0.0) for name in names.values()]
    scene = stack(one_band, [str(place) for place in places], one_band[0].name)
    centres, widths = zip(*(_spectral(root, band) for band in names), strict=True)
    scene = replace(scene, **products.spectral(centres, widths))
    scale, offsets = _scale(path, package.place(metadata), root)
    unsaid = [band for band in names if offsets and band not in offsets]
    if unsaid:
        raise HsisrError(f"{package.place(metadata)}: states no BOA_ADD_OFFSET of {', '.join(unsaid)}; get it again")
    scene = products.scale_bands(
        path, scene, np.full(len(names), scale), np.array([scale * offsets.get(band, 0.0) for band in names])
    )
    coarse = max(resolution, 20)
    classes = package.first(rf"R{coarse}m/[^/]*_SCL_{coarse}m{_ENDING}")
    mask = None
    if screen and classes is not None:
        mask = ~np.isin(products.layer(package, classes, scene.shape[1:]), _MASKED)
    return products.finish(
        path, products.in_order(scene), "Sentinel-2 L2A", packages.text_of(root, "PRODUCT_START_TIME"), mask,
        parts=", ".join(names), quality=None if mask is None else "no data where SCL says cloud, shadow or defect",
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of its bands of 10 m."""
    return products.describe(path, read)


def _package(path: Path, head: bytes) -> Package | None:
    if path.is_file() and _FILE.fullmatch(path.name):
        return Package.of(path.parent)
    return products.package_of(path, head, _FILE, _METADATA)


def _choose_files(path: Path, package: Package, resolution: int, bands: str | None) -> dict[str, str]:
    """Band -> file, of one resolution."""
    if resolution not in (10, 20, 60):
        raise HsisrError(f"{path}: resolution={resolution}: Sentinel-2 has bands of 10, 20 and 60 m")
    found = package.find(rf"R{resolution}m/[^/]*_B\w\w_{resolution}m{_ENDING}")
    names = {name.rpartition("/")[2].split("_")[-2].upper(): name for name in found}
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


def _scale(path: Path, metadata: Path, root: Element) -> tuple[float, dict[str, float]]:
    """One over the quantification, and the offset that the description states for each band."""
    stated = packages.text_of(root, "BOA_QUANTIFICATION_VALUE")
    scale = 1 / (packages.number(metadata, "BOA_QUANTIFICATION_VALUE", stated) if stated else _QUANTIFICATION)
    order = list(_BANDS)
    offsets = {}
    for element in root.iter("BOA_ADD_OFFSET"):
        index = element.get("band_id", "")
        if not index.isdigit() or int(index) >= len(order):
            raise HsisrError(f"{metadata}: BOA_ADD_OFFSET of an unknown band_id {index!r}")
        offsets[order[int(index)]] = packages.number(metadata, "BOA_ADD_OFFSET", element.text)
    named = re.search(r"_N(\d{4})_", path.name)
    baseline = packages.text_of(root, "PROCESSING_BASELINE") or (f"{int(named[1]) / 100:.2f}" if named else "")
    if not offsets and baseline and packages.number(metadata, "PROCESSING_BASELINE", baseline) >= _WITH_OFFSET:
        notice(
            f"{path}: of processing baseline {baseline}, but its description states no BOA_ADD_OFFSET; none is applied"
        )
    return scale, offsets


def _spectral(root: Element, band: str) -> tuple[float, float]:
    """Centre and width of a band. The centre is that of its satellite, if the description states it."""
    physical = re.sub(r"^B0", "B", band)
    for element in root.iter("Spectral_Information"):
        centre = element.findtext("Wavelength/CENTRAL")
        if element.get("physicalBand") == physical and centre:
            return packages.number(Path(band), "CENTRAL", centre), _BANDS[band][1]
    return _BANDS[band]
