"""Reader of the reflectance of AVIRIS-3, AVIRIS-5 and AVIRIS-NG, level 2A on a grid, as netCDF (`*_RFL_ORT.nc`).

`/reflectance/reflectance` is (bands, rows, columns) of float32, -9999 for no data, beside `wavelength` and `fwhm` in
nm. The empty variable `/transverse_mercator`, or the one that `grid_mapping` names, states the CRS and GDAL's
`GeoTransform`; files without the latter have vectors `easting` and `northing`. The reader of rasters reads the same
products as ENVI files.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hsisr import hdf5
from hsisr.datasets.readers import cf, ground, products
from hsisr.datasets.readers.arrays import LazyCube, scene_name
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.hdf5 import GuardedDataset, list_own, open_for_strips
from hsisr.scene import Scene

_GROUP, _CUBE = "reflectance", "reflectance/reflectance"
_NODATA = -9999.0


def matches(path: Path, head: bytes) -> bool:
    """True for a netCDF 4 file with the group `reflectance`, which holds the cube and its wavelengths."""
    return products.holds_hdf5(path, head, _CUBE, f"{_GROUP}/wavelength")


def read(path: Path, crs: str | None = None) -> Scene:
    """Scene of the product. crs: replaces the file's, such as EPSG:32734; files of southern campaigns may state a zone
    of the north. Raises HsisrError if its parts do not fit together.
    """
    with damage(path, "AVIRIS product"):
        file = open_for_strips(path)
        stored = hdf5.dataset(file, _CUBE, "f", 3)
        group = hdf5.group(file, _GROUP)
        centres = products.vector_of(path, "reflectance", group, "wavelength", stored.shape[0])
        widths = products.widths_of(path, "reflectance", group, "fwhm", stored.shape[0])
        nodata = products.number_of(stored, "_FillValue", _NODATA)
        place = _place(path, file, stored.shape, crs)
    cube = LazyCube(path, GuardedDataset(path, stored), (0, 1, 2), nodata)
    scene = Scene(cube, scene_name(path), nodata=nodata, **products.spectral(centres, widths))
    flown = re.search(r"(?:AV[35]|ang)(\d{4})(\d\d)(\d\d)t(\d\d)(\d\d)(\d\d)", path.name)
    scene = replace(scene, crs=place.crs, transform=place.transform)
    return products.finish(
        path, products.in_order(scene), "AVIRIS L2A", products.time_of(flown), georeference=place.unused
    )


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _place(path: Path, file: Any, shape: tuple[int, ...], crs: str | None) -> ground.Georeference:
    """The grid. shape: of the cube, (bands, rows, columns). crs: replaces the file's."""
    for name in set(file) & {*cf.MAPPINGS, "easting", "northing"}:
        hdf5.child(file, name)  # refuses what leads to another file
    _, rows, columns = shape
    place = cf.georeference(path, _CUBE, list_own(path, file), rows, columns)
    if place.crs is not None and place.transform is None:
        return ground.Georeference(unused="a grid mapping without a GeoTransform")
    return ground.as_told(path, place, crs, None)
