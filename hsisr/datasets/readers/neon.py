"""Reader of the surface reflectance of NEON's airborne observatory (`NEON_*_reflectance.h5`).

`/SITE/Reflectance/Reflectance_Data` is (rows, columns, bands) of int16 with `Scale_Factor` (a divisor) and
`Data_Ignore_Value`. The group `Metadata` holds `Spectral_Data/Wavelength` and `FWHM`, and `Coordinate_System/Map_Info`
and `EPSG Code`. Bands in the windows `Band_Window_*_Nanometers`, where the air absorbs, are bad.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import hdf5
from hsisr.datasets.readers import ground, products
from hsisr.datasets.readers.arrays import LazyCube, scene_name
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.hdf5 import GuardedDataset, open_for_strips
from hsisr.errors import HsisrError, notice
from hsisr.scene import Scene

_CUBE, _METADATA = "Reflectance/Reflectance_Data", "Reflectance/Metadata"


def matches(path: Path, head: bytes) -> bool:
    """True for an HDF5 file with one group, named after the site, that holds NEON's cube."""
    if not products.holds_hdf5(path, head):
        return False
    with damage(path, "HDF5 file"), hdf5.open_any(path) as file:
        sites = list(file)
    return len(sites) == 1 and products.holds_hdf5(path, head, f"{sites[0]}/{_CUBE}", f"{sites[0]}/{_METADATA}")


def read(path: Path) -> Scene:
    """Scene of the product. Raises HsisrError if its parts do not fit together."""
    with damage(path, "NEON product"):
        file = open_for_strips(path)
        site = hdf5.group(file, next(iter(file)))
        stored = hdf5.dataset(site, _CUBE, "iuf", 3)
        spectral = hdf5.group(site, f"{_METADATA}/Spectral_Data")
        count = stored.shape[2]
        centres = products.vector_of(path, "Reflectance_Data", spectral, "Wavelength", count)
        widths = products.widths_of(path, "Reflectance_Data", spectral, "FWHM", count)
        factor, nodata = (products.number_of(stored, name) for name in ("Scale_Factor", "Data_Ignore_Value"))
        good = np.ones(count, bool)
        for owner in (hdf5.group(site, "Reflectance"), stored):
            for name in owner.attrs:
                if name.startswith("Band_Window_") and name.endswith("_Nanometers"):
                    least, most = products.vector_of(path, "a window", owner, name, 2)
                    good &= (centres < least) | (centres > most)
        place = _place(path, hdf5.group(site, f"{_METADATA}/Coordinate_System"))
    cube = LazyCube(path, GuardedDataset(path, stored), (2, 0, 1), nodata)
    if not factor > 0:
        raise HsisrError(f"{path}: its Scale_Factor {factor:g} must be above 0")
    scene = Scene(
        cube, scene_name(path), scale=1 / factor, nodata=nodata, crs=place.crs, transform=place.transform,
        **products.spectral(centres, widths, good),
    )  # fmt: skip
    flown = re.search(r"_DP1_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_", path.name)  # of one line, not of a mosaic
    return products.finish(
        path, products.in_order(scene), "NEON reflectance", products.time_of(flown), georeference=place.unused
    )


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _place(path: Path, system: Any) -> ground.Georeference:
    """The grid by `Map_Info`, as in ENVI: projection, a pixel (from 1), its coordinates, sizes of pixels."""
    words = [word.strip() for word in _entry(system, "Map_Info").split(",")]
    turned = [word for word in words if word.lower().startswith("rotation") and float(word.partition("=")[2] or 0)]
    if turned:
        return ground.Georeference(unused=f"a grid that is turned ({turned[0]})")
    try:
        column, row, x, y, width, height = (float(word) for word in words[1:7])
    except ValueError:
        notice(f"{path}: its Map_Info is not understood and left out: {', '.join(words)}")
        return ground.Georeference()
    transform = (width, 0.0, x - (column - 1) * width, 0.0, -height, y + (row - 1) * height)
    code = _entry(system, "EPSG Code").strip() if "EPSG Code" in list(system) else None
    return ground.as_told(path, ground.Georeference(None, transform), None if code is None else f"EPSG:{code}", None)


def _entry(group: Any, name: str) -> str:
    """The text or whole number of a data set, also if it stands in a list. Raises ValueError for several."""
    stored = hdf5.dataset(group, name, "SOiu")
    if stored.size != 1:
        raise ValueError(f"{name} holds {stored.size} entries, expected one")
    value = np.ravel(stored[...])[0]
    return value.decode() if isinstance(value, bytes) else str(value)
