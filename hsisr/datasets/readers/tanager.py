"""Reader of Planet's Tanager, surface reflectance, on its grid (ortho) or in the geometry of the sensor (basic), HDF5.

`/HDFEOS/GRIDS/HYP` (or `SWATHS/HYP`) `/Data Fields/surface_reflectance` is (bands, rows, columns) of float32 with
`wavelengths`, `fwhm` and `good_wavelengths` as attributes. Beside it are `nodata_pixels`, `beta_cloud_mask` and
`beta_cirrus_mask`, 1 where present. `StructMetadata.0` states the grid; `epsg_code` of the group, or else its
`ZoneCode`, the CRS.
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
from hsisr.errors import HsisrError
from hsisr.scene import Scene

_GRID, _SWATH = "HDFEOS/GRIDS/HYP", "HDFEOS/SWATHS/HYP"
_NODATA = -9999.0
_CLOUDS = ("beta_cloud_mask", "beta_cirrus_mask")


def matches(path: Path, head: bytes) -> bool:
    """True for an HDF5 file with Tanager's grid or swath."""
    return any(products.holds_hdf5(path, head, f"{group}/Data Fields") for group in (_GRID, _SWATH))


def read(path: Path, quality: str = "mask", georeference: str | None = None) -> Scene:
    """Scene of the product.

    quality: with `mask`, clouds, cirrus and pixels without data hold no data; with `none`, clouds and cirrus count.
    georeference: `none` leaves it out, such as the latitudes and longitudes of a basic product.
    Raises HsisrError for radiance, and if parts do not fit together.
    """
    screen = products.uses_quality(path, quality)
    with damage(path, "Tanager product"):
        file = open_for_strips(path)
        top = _GRID if products.holds_hdf5(path, hdf5.MAGIC, _GRID) else _SWATH
        fields = hdf5.group(file, f"{top}/Data Fields")
        if "surface_reflectance" not in list(fields):
            held = ", ".join(fields)
            raise HsisrError(f"{path}: a Tanager product that holds {held}; expected surface_reflectance")
        stored = hdf5.dataset(fields, "surface_reflectance", "f", 3)
        centres = products.vector_of(path, "surface_reflectance", stored, "wavelengths", stored.shape[0])
        widths, good = None, None
        if "fwhm" in stored.attrs:
            widths = products.vector_of(path, "surface_reflectance", stored, "fwhm", stored.shape[0])
        if "good_wavelengths" in stored.attrs:
            good = products.vector_of(path, "surface_reflectance", stored, "good_wavelengths", stored.shape[0]) > 0
        nodata = products.number_of(stored, "_FillValue", _NODATA)
        names = [name for name in ("nodata_pixels", *(_CLOUDS if screen else ())) if name in list(fields)]
        layers = [hdf5.dataset(fields, name, "iuf", 2) for name in names]
        if any(layer.shape != stored.shape[1:] for layer in layers):
            raise HsisrError(f"{path}: its masks are of another size than surface_reflectance, {stored.shape[1:]}")
        planes = [layer[...] != 0 for layer in layers]
        place = _grid(path, file, stored.shape) if top == _GRID else _places(file, top)
        place = ground.as_told(path, place, None, georeference)
    cube = LazyCube(path, GuardedDataset(path, stored), (0, 1, 2), nodata)
    scene = Scene(
        cube, scene_name(path), nodata=nodata, crs=place.crs, transform=place.transform,
        **products.spectral(centres, widths, good),
    )  # fmt: skip
    mask = ~np.logical_or.reduce(planes) if planes else None
    acquired = re.match(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", path.name)
    return products.finish(
        path, products.in_order(scene), "Tanager surface reflectance",
        products.time_of(acquired), mask,
        quality=products.name_flags(names), georeference=place.unused,
    )  # fmt: skip


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _grid(path: Path, file: Any, shape: tuple[int, ...]) -> ground.Georeference:
    """The grid, from the outer corners in `StructMetadata.0`. shape: of the cube, (bands, rows, columns)."""
    text = hdf5.read_text(file, "HDFEOS INFORMATION/StructMetadata.0")
    corners = [re.search(rf"{key}=\(([^)]+)", text) for key in ("UpperLeftPointMtrs", "LowerRightMtrs")]
    epsg = int(products.number_of(hdf5.group(file, _GRID), "epsg_code", 0)) or _epsg_of_zone(text)
    if not all(corners) or epsg is None:
        return ground.Georeference(unused="a grid that StructMetadata.0 does not describe")
    (left, upper), (right, lower) = ([float(x) for x in match[1].split(",")] for match in corners if match)
    transform = ((right - left) / shape[2], 0.0, left, 0.0, (lower - upper) / shape[1], upper)
    return ground.as_told(path, ground.Georeference(None, transform), f"EPSG:{epsg}", None)


def _epsg_of_zone(text: str) -> int | None:
    """EPSG's code of the UTM zone in `StructMetadata.0`, WGS 84; a zone below 0 lies in the south. None without one."""
    zone = re.search(r"ZoneCode=(-?)(\d+)", text)
    return None if zone is None else (32700 if zone[1] else 32600) + int(zone[2])


def _places(file: Any, top: str) -> ground.Georeference:
    return products.from_places(
        *(hdf5.dataset(file, f"{top}/Geolocation Fields/{name}", "f", 2) for name in ("Latitude", "Longitude"))
    )
