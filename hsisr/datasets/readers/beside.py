"""Opening rasters that name other files: VRT, HFA and ERS. hsisr follows only files in the same folder or below.

A VRT is a text that may name any file of the machine, any address, and code. hsisr opens only plain mosaics and stacks
of images. It refuses every other element before GDAL sees it.
"""

import os
from pathlib import Path
from typing import Any

from hsisr.datasets.readers.damage import first_bytes
from hsisr.datasets.readers.images import driver_of, gdal_name, raster_driver_of
from hsisr.datasets.readers.packages import parse_xml
from hsisr.errors import HsisrError

#: Elements of a VRT that describe an image, or copy parts of other images unchanged.
_PLAIN = frozenset(
    ("VRTDataset", "SRS", "GeoTransform", "GCPList", "GCP", "Metadata", "MDI", "VRTRasterBand", "NoDataValue",
     "HideNoDataValue", "ColorInterp", "ColorTable", "Entry", "Description", "UnitType", "Offset", "Scale",
     "CategoryNames", "Category", "Histograms", "HistItem", "HistMin", "HistMax", "BucketCount", "IncludeOutOfRange",
     "Approximate", "HistCounts", "SimpleSource", "ComplexSource", "SourceFilename", "SourceBand", "SourceProperties",
     "SrcRect", "DstRect", "NODATA", "ScaleOffset", "ScaleRatio", "UseMaskBand", "MaskBand", "OverviewList",
     "BlockXSize", "BlockYSize")
)  # fmt: skip
#: Longest chain of VRTs that name VRTs.
_MOST_DEPTH = 4
_MOST_BYTES = 64 * 2**20


def open_image(path: Path, driver: str, sources: str) -> Any:
    """An image of rasterio. driver: GDAL's name of its format. sources: `beside` or `any`, where its files may lie.

    Raises HsisrError for another word, and for files in a forbidden place.
    """
    import rasterio

    if sources not in ("beside", "any"):
        raise HsisrError(f"{path}: sources={sources}: expected beside, or any for files that lie elsewhere")
    if driver == "VRT":
        _check_vrt(path, sources == "any", set())
    image = rasterio.open(gdal_name(path), driver=driver)
    for file in image.files:
        if sources != "any" and not lies_below(Path(file), path.parent):
            image.close()
            raise HsisrError(_say_elsewhere(path, file))
    return image


def _check_vrt(path: Path, anywhere: bool, checked: set[Path], depth: int = 1) -> None:
    """Raise HsisrError for a VRT that is more than a plain mosaic or stack, or that names a forbidden file.

    checked: files that have already been checked.
    """
    if depth > _MOST_DEPTH:
        raise HsisrError(f"{path}: VRTs that name each other more than {_MOST_DEPTH} deep; refused")
    if path.stat().st_size > _MOST_BYTES:
        raise HsisrError(f"{path}: a VRT of more than {_MOST_BYTES:,} bytes; refused")
    for element in parse_xml(path, path.read_bytes()).iter():
        if element.tag not in _PLAIN or element.get("subClass"):
            what = element.get("subClass") or element.tag
            raise HsisrError(
                f"{path}: a VRT with {what}, of which only plain mosaics and stacks are read; make a GeoTIFF of it "
                "(gdal_translate)"
            )
        if element.tag == "SourceFilename":
            named = (element.text or "").strip()
            file = path.parent / named if element.get("relativeToVRT") == "1" else Path(named)
            if not anywhere and (not lies_below(file, path.parent) or ":" in named):  # to GDAL, a colon can mean more
                raise HsisrError(_say_elsewhere(path, named))
            if file not in checked:
                _check_source(path, file, anywhere, checked, depth)
                checked.add(file)


def _check_source(vrt: Path, file: Path, anywhere: bool, checked: set[Path], depth: int) -> None:
    if not file.is_file():
        raise HsisrError(f"{vrt}: names {file} as its source, and there is no such file")
    head = first_bytes(file, 1024)
    if raster_driver_of(head) == "VRT":
        _check_vrt(file, anywhere, checked, depth + 1)
    elif raster_driver_of(head) is None and driver_of(head) is None:
        raise HsisrError(f"{vrt}: names {file} as its source, which is no image of a known format")


def lies_below(file: Path, folder: Path) -> bool:
    """Whether a written path leads into a folder. Links are the user's own and are not resolved."""
    whole, top = (Path(os.path.abspath(one)) for one in (file, folder))
    return top == whole.parent or top in whole.parents


def _say_elsewhere(path: Path, named: str) -> str:
    return (
        f"{path}: takes its pixels from {named}, which does not lie beside it; if you trust it, read it with --read "
        "sources=any (a guide: --read-guide sources=any)"
    )
