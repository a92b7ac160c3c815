"""Reader of EnMAP's reflectance, level 2A: a folder, or its archive, as DLR delivers it.

`*-SPECTRAL_IMAGE.TIF` (or .BSQ, .BIL, .BIP, .JP2) holds int16 with -32768 for no data. `*-METADATA.XML` states centre,
width, gain and offset of each band (value = stored gain + offset). Quality layers: cloud and cloud shadow (1 where
present), cirrus (2 medium, 3 thick), classes (3 background). Pixel masks have a layer for each band, above 0 where a
sample is defect.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from hsisr.datasets.readers import packages, products
from hsisr.datasets.readers.packages import Package
from hsisr.errors import HsisrError
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

#: Endings of images and quality layers in the formats that DLR offers.
_ENDING = r"(?:_COG)?\.(?:TIFF?|GEOTIFF|BSQ|BIL|BIP|JP2)"
_FILE = re.compile(rf"(ENMAP\d*-.*-)(METADATA\.XML|SPECTRAL_IMAGE(?:_VNIR|_SWIR)?{_ENDING})", re.IGNORECASE)
_METADATA = r"ENMAP\d*-.*-METADATA\.XML"
_IMAGE = rf".*-SPECTRAL_IMAGE{_ENDING}"
_NODATA = -32768.0
#: Quality layer -> smallest and largest number of masked pixels.
_MASKED = {
    "CLOUD": (1, 255),
    "CLOUDSHADOW": (1, 255),
    "CIRRUS": (2, 3),
    "CLASSES": (3, 3),
}


def matches(path: Path, head: bytes) -> bool:
    """True for the folder or archive of one product, and for its image or description next to the others."""
    return _package(path, head) is not None


def read(path: Path, quality: str = "mask") -> Scene:
    """Scene of the product. quality: with `mask`, clouds, their shadows, thick cirrus and defect samples hold no data;
    with `none`, they count.

    Raises HsisrError for other levels, and for a description that does not fit the image.
    """
    screen = products.uses_quality(path, quality)
    package = _package(path, products.first_bytes(path))
    if package is None:
        raise HsisrError(f"{path}: no EnMAP product; expected its folder, its archive or its METADATA.XML")
    metadata = package.find(_METADATA)[0]
    products.check_level(path, "an EnMAP product", re.search(r"_(L\d\w)-", metadata))
    name = package.first(_IMAGE)
    if name is None:
        raise HsisrError(f"{path}: an EnMAP product without its SPECTRAL_IMAGE.TIF; get it again")
    root = package.xml(metadata)
    scene = products.raster(package, name)
    bands = _bands(package.place(metadata), root, scene.shape[0])
    scene = replace(scene, nodata=_NODATA if scene.nodata is None else scene.nodata)
    scene = replace(scene, **products.spectral(bands[0], bands[1], _find_expected(root, scene.shape[0])))
    mask, used = (None, []) if not screen else _mask(package, scene.shape[1:])
    if screen:
        scene, flagged = _screen(package, scene)
        used += flagged
    scene = products.in_order(products.scale_bands(path, scene, bands[2], bands[3]))
    return products.finish(
        path, scene, "EnMAP L2A", packages.text_of(root, "startTime"), mask,
        quality=products.name_flags(used),
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _package(path: Path, head: bytes) -> Package | None:
    return products.package_of(path, head, _FILE, _METADATA)


def _bands(path: Path, root: Element, count: int) -> np.ndarray:
    """Centre, width, gain and offset (4, bands) of each band, in the order of their numbers."""
    keys = ("wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand")
    rows = [
        [packages.number(path, "number of a bandID", band.get("number"))]
        + [packages.number(path, key, band.findtext(key)) for key in keys]
        for characterisation in root.iter("bandCharacterisation")
        for band in characterisation.iter("bandID")
    ]
    if len(rows) != count:
        raise HsisrError(f"{path}: describes {len(rows)} bands, the image has {count}")
    return np.array(sorted(rows)).T[1:]


def _find_expected(root: Element, count: int) -> np.ndarray | None:
    """True where a band is among the expected bands of both detectors; None if a detector lists none."""
    texts = [root.findtext(f".//{detector}ProductQuality/expectedChannelsList") for detector in ("vnir", "swir")]
    if not all(texts):
        return None
    numbers = [int(word) for text in texts for word in re.findall(r"\d+", text or "")]
    return np.isin(np.arange(1, count + 1), numbers)


def _mask(package: Package, size: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Valid pixels by the layers of clouds and classes, and the names of these layers."""
    valid, used = np.ones(size, bool), []
    for layer, (least, most) in _MASKED.items():
        name = package.first(rf".*-QL_QUALITY_{layer}{_ENDING}")
        if name is not None:
            plane = products.layer(package, name, size)
            valid &= (plane < least) | (plane > most)
            used.append(f"QL_QUALITY_{layer}")
    return valid, used


def _screen(package: Package, scene: Scene) -> tuple[Scene, list[str]]:
    """The scene without the samples flagged by pixel masks, and the masks: one for all bands, or one a detector."""
    names = package.find(rf".*-QL_PIXELMASK(?:_VNIR|_SWIR)?{_ENDING}")
    names.sort(key=lambda name: "SWIR" in name.upper())
    masks = [products.raster(package, name) for name in names]
    planes = sum(mask.shape[0] for mask in masks)
    if not masks or scene.nodata is None:
        return scene, []
    if any(mask.shape[1:] != scene.shape[1:] for mask in masks) or planes not in (scene.shape[0], len(masks)):
        raise HsisrError(
            f"{package.place(names[0])}: {planes} layers of {masks[0].shape[1]} x {masks[0].shape[2]} pixels for an "
            f"image of {scene.shape[0]} bands, {scene.shape[1]} x {scene.shape[2]}; leave them out with --read "
            "quality=none"
        )
    flags = _Flags([mask.stored for mask in masks], scene.shape)
    return replace(scene, stored=products.Screened(scene.stored, flags, scene.nodata)), ["QL_PIXELMASK"]


class _Flags(LazyArray):
    """Flags of all bands, from masks that follow each other. A mask of one layer counts for all bands."""

    def __init__(self, masks: list[LazyArray], shape: tuple[int, ...]) -> None:
        self._masks, self.shape, self.dtype = masks, shape, np.dtype(bool)

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """Flags of a window, True where a sample is defect."""
        planes = [mask[:, rows, columns] != 0 for mask in self._masks]
        if sum(len(plane) for plane in planes) == self.shape[0]:
            return np.concatenate(planes)[bands]
        every = np.logical_or.reduce([plane.any(axis=0) for plane in planes])
        return np.broadcast_to(every, (len(range(self.shape[0])[bands]), *every.shape))
