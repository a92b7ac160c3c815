"""Reader of DESIS's reflectance, level 2A: a folder, or its archive, as DLR delivers it.

`*-SPECTRAL_IMAGE.tif` holds int16 with -32768 for no data. `*-METADATA.xml`, or the header `*-SPECTRAL_IMAGE.hdr`,
states centre, width, gain and offset of each band (value = stored gain + offset). `*-QL_QUALITY-2.tif` has a layer for
each class: 1 shadow, 6 and 7 cloud over land and over water.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from hsisr.datasets.readers import packages, products, wavelengths
from hsisr.datasets.readers.packages import Package
from hsisr.errors import HsisrError
from hsisr.scene import Scene

_FILE = re.compile(r"(DESIS-HSI-.*-)(METADATA\.xml|SPECTRAL_IMAGE\.(?:tiff?|hdr))", re.IGNORECASE)
_METADATA = r"DESIS-HSI-.*-METADATA\.xml"
_NODATA = -32768.0
#: Layers of QL_QUALITY-2, from 0: shadow, cloud over land, cloud over water.
_MASKED = (0, 5, 6)


def matches(path: Path, head: bytes) -> bool:
    """True for the folder or archive of one product, and for its image, header or description next to the others."""
    return _package(path, head) is not None


def read(path: Path, quality: str = "mask") -> Scene:
    """Scene of the product. quality: with `mask`, clouds and shadows hold no data; with `none`, they count.

    Raises HsisrError for other levels, and for a description that does not fit the image.
    """
    screen = products.uses_quality(path, quality)
    package = _package(path, products.first_bytes(path))
    if package is None:
        raise HsisrError(f"{path}: no DESIS product; expected its folder, its archive or its METADATA.xml")
    metadata = package.find(_METADATA)[0]
    products.check_level(path, "a DESIS product", re.search(r"HSI-(L\d\w)-", metadata, re.IGNORECASE))
    name = package.first(r".*-SPECTRAL_IMAGE\.tiff?")
    if name is None:
        raise HsisrError(f"{path}: a DESIS product without its SPECTRAL_IMAGE.tif; get it again")
    root = package.xml(metadata)
    scene = products.raster(package, name)
    centres, widths, gains, offsets = _bands(package, metadata, root, scene.shape[0])
    scene = replace(scene, nodata=_NODATA if scene.nodata is None else scene.nodata)
    scene = products.scale_bands(path, replace(scene, **products.spectral(centres, widths)), gains, offsets)
    mask, layers = None, package.first(r".*-QL_QUALITY-2\.tiff?")
    if screen and layers is not None:
        planes = [products.layer(package, layers, scene.shape[1:], band) for band in _MASKED]
        mask = ~np.logical_or.reduce([plane > 0 for plane in planes])
    return products.finish(
        path, products.in_order(scene), "DESIS L2A", packages.text_of(root, "startTime"), mask,
        quality=None if mask is None else "no data where QL_QUALITY-2 says cloud or shadow",
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _package(path: Path, head: bytes) -> Package | None:
    return products.package_of(path, head, _FILE, _METADATA)


def _bands(package: Package, metadata: str, root: Element, count: int) -> list[np.ndarray]:
    """Centres, widths, gains and offsets from the description, or else from the header."""
    path = package.place(metadata)
    keys = ("wavelengthCenterOfBand", "wavelengthWidthOfBand", "gainOfBand", "offsetOfBand")
    rows = [
        [packages.number(path, key, band.findtext(key)) for key in keys]
        for characterisation in root.iter("bandCharacterisation")
        for band in characterisation.iter("band")
    ]
    header = package.first(r".*-SPECTRAL_IMAGE\.hdr")
    if rows or header is None:
        if len(rows) != count:
            raise HsisrError(f"{path}: describes {len(rows)} bands, the image has {count}")
        return list(np.array(rows).T)
    fields = dict(re.findall(r"^([a-z][a-z ]*?)\s*=\s*\{([^}]*)\}", package.text(header), re.MULTILINE | re.IGNORECASE))
    names = ("wavelength", "fwhm", "data gain values", "data offset values")
    place = package.place(header)
    for name in names:
        if name not in fields:
            raise HsisrError(f"{place}: lacks `{name}`, and {path.name} describes no bands; get the product again")
    return [wavelengths.numbers(place, fields[name], name, count)[0] for name in names]
