"""Reader of PRISMA's level 2 (.he5): two spectrometers as one cube, and the panchromatic image.

Levels 2C and 2D are reflectance of the surface, level 2B radiance at the surface.

The layout follows ASI's product specification and public readers. Cubes are (rows, bands, columns) of uint16, bands by
falling wavelength, with a centre of 0 for unused bands. Value = min + stored (max - min) / 65535, and 0 is no data. An
error matrix beside each cube holds 0 for good samples, else a code: 1 fault in the raw data, 2 negative reflectance,
4 saturation. The panchromatic camera sees 400 to 700 nm (ASI's mission page on eoPortal); the file does not state it.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import hdf5
from hsisr.datasets.readers import ground, products
from hsisr.datasets.readers.arrays import LazyCube, scene_name
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.hdf5 import GuardedDataset, open_for_strips
from hsisr.errors import HsisrError
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

_SWATHS, _ERRORS = "HDFEOS/SWATHS", "PIXEL_L2_ERR_MATRIX"
_LEVELS, _MOST = ("L2B", "L2C", "L2D"), 65535
#: Metres per pixel of the cubes.
_PIXEL_M = 30.0
#: Attributes that state the grid of level 2D.
_CORNERS = tuple(f"Product_{corner}corner_{axis}" for corner in ("UL", "LR") for axis in ("easting", "northing"))
_EPSG = "Epsg_Code"
#: Centre and width of the panchromatic image in nm.
_PAN_NM, _PAN_WIDTH_NM = 550.0, 300.0


def matches(path: Path, head: bytes) -> bool:
    """True for an HDF5 file with a swath named as in PRISMA's products."""
    if not products.holds_hdf5(path, head, _SWATHS):
        return False
    with damage(path, "HDF5 file"), hdf5.open_any(path) as file:
        return any(name.startswith("PRS_L") for name in hdf5.group(file, _SWATHS))


def read(
    path: Path,
    cube: str = "hyperspectral",
    overlap: str = "swir",
    quality: str = "mask",
    georeference: str | None = None,
) -> Scene:
    """Scene of the cube, with the panchromatic image as its guide if the file holds one.

    cube: `hyperspectral`, or `pan` for only the panchromatic image. overlap: `vnir` or `swir`, the spectrometer whose
    bands are kept where both measure. quality: with `mask`, samples flagged by the error matrices hold no data; with
    `none`, they count. georeference: `none` leaves it out, such as the latitudes and longitudes of level 2C.
    Raises HsisrError for other levels, and if parts do not fit together.
    """
    screen = products.uses_quality(path, quality)
    if cube not in ("hyperspectral", "pan"):
        raise HsisrError(f"{path}: cube={cube}: expected hyperspectral or pan")
    with damage(path, "PRISMA product"):
        file = open_for_strips(path)
        level = _level(path, file)
        pan = _pan(path, file, level, screen, georeference)
        if cube == "pan":
            if pan is None:
                raise HsisrError(f"{path}: holds no panchromatic image")
            return pan
        vnir, swir = (_detector(path, file, level, name, screen) for name in ("VNIR", "SWIR"))
        held = list(hdf5.group(file, _fields(level, "HCO")))
        flags = [name for name in ("VNIR_" + _ERRORS, "SWIR_" + _ERRORS) if screen and name in held]
        scene, detectors = products.join(path, vnir, swir, ("VNIR", "SWIR"), overlap)
        place = _place(path, file, level, "HCO", scene.shape[1:], georeference)
    scene = replace(scene, guide=pan)
    return _finish(path, file, level, scene, place, detectors=detectors, quality=products.name_flags(flags))


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _level(path: Path, file: Any) -> str:
    found = [re.fullmatch(r"PRS_(L\d\w?)_HCO", name) for name in hdf5.group(file, _SWATHS)]
    levels = [match[1] for match in found if match]
    if not levels or levels[0] not in _LEVELS:
        raise HsisrError(
            f"{path}: a PRISMA product of level {', '.join(levels)[1:] or 'unknown'}; expected level 2B, 2C or 2D"
        )
    return levels[0]


def _fields(level: str, part: str) -> str:
    """The group of the cubes (part HCO) or of the panchromatic image (PCO)."""
    return f"{_SWATHS}/PRS_{level}_{part}/Data Fields"


def _detector(path: Path, file: Any, level: str, name: str, screen: bool) -> Scene:
    """The used bands of a spectrometer, by rising wavelength."""
    fields, key = _fields(level, "HCO"), name.capitalize()
    stored = hdf5.dataset(file, f"{fields}/{name}_Cube", "u", 3)
    count = stored.shape[1]
    centres = products.vector_of(path, f"{name}_Cube", file, f"List_Cw_{key}", count)
    widths = products.widths_of(path, f"{name}_Cube", file, f"List_Fwhm_{key}", count)
    used = centres > 0
    if f"List_Cw_{key}_Flags" in file.attrs:
        used &= products.vector_of(path, f"{name}_Cube", file, f"List_Cw_{key}_Flags", count) > 0
    if not used.any():
        raise HsisrError(f"{path}: none of the {count} bands of {name}_Cube has a wavelength")
    cube = LazyCube(path, GuardedDataset(path, stored), (1, 0, 2), None)
    scene = Scene(
        _screen(path, file, f"{fields}/{name}_{_ERRORS}", cube, (1, 0, 2)) if screen else cube,
        scene_name(path), **_scale(file, key), nodata=0.0, **products.spectral(centres, widths),
    )  # fmt: skip
    order = np.argsort(centres, kind="stable")
    return products.pick(scene, order[used[order]])


def _pan(path: Path, file: Any, level: str, screen: bool, georeference: str | None) -> Scene | None:
    """The panchromatic image; None if the file has none."""
    fields = _fields(level, "PCO")
    if f"PRS_{level}_PCO" not in list(hdf5.group(file, _SWATHS)):
        return None
    stored = hdf5.dataset(file, f"{fields}/Cube", "u", 2)
    cube: LazyArray = LazyCube(path, products.Plane(GuardedDataset(path, stored)), (0, 1, 2), None)
    if screen:
        cube = _screen(path, file, f"{fields}/{_ERRORS}", cube)
    facts = _scale(file, "Pan") | products.spectral([_PAN_NM], [_PAN_WIDTH_NM])
    scene = Scene(cube, scene_name(path), **facts, nodata=0.0)
    return _finish(path, file, level, scene, _place(path, file, level, "PCO", stored.shape, georeference), " pan")


def _screen(path: Path, file: Any, name: str, cube: LazyArray, order: tuple[int, ...] | None = None) -> LazyArray:
    """The cube without the samples flagged by an error matrix; the unchanged cube without such a matrix."""
    fields, _, last = name.rpartition("/")
    if last not in list(hdf5.group(file, fields)):
        return cube
    flags = GuardedDataset(path, hdf5.dataset(file, name, "ui", 2 if order is None else 3))
    source = products.Plane(flags) if order is None else flags
    lazy = LazyCube(path, source, order or (0, 1, 2), None)
    if lazy.shape != cube.shape:
        raise HsisrError(f"{path}: {name} is {lazy.shape} (bands, rows, columns), its cube {cube.shape}")
    return products.Screened(cube, lazy, 0.0)


def _scale(file: Any, key: str) -> dict[str, Any]:
    least, most = (products.number_of(file, f"L2Scale{key}{end}") for end in ("Min", "Max"))
    return {"scale": (most - least) / _MOST, "offset": least}


def _place(
    path: Path, file: Any, level: str, cube: str, size: tuple[int, ...], georeference: str | None
) -> ground.Georeference:
    """Place of a cube: on a grid (2D), or by the latitude and longitude of each pixel (others), if the file has it."""
    swath = hdf5.group(file, f"{_SWATHS}/PRS_{level}_{cube}")
    if level == "L2D":
        found = _grid(path, file, size)
    elif "Geolocation Fields" not in list(swath):
        found = ground.Georeference()
    else:
        places = [hdf5.dataset(swath, f"Geolocation Fields/{name}", "f", 2) for name in ("Latitude", "Longitude")]
        found = products.from_places(*places) if places[0].shape == places[1].shape == size else ground.Georeference(
            unused="latitudes and longitudes of another size"
        )  # fmt: skip
    return ground.as_told(path, found, None, georeference)


def _grid(path: Path, file: Any, size: tuple[int, ...]) -> ground.Georeference:
    """The grid of level 2D, from the coordinates of two corners of the product.

    Public readers take them as the centres of the cube's corner pixels. If they lie a whole pixel further apart, they
    are outer corners. The panchromatic image has six times as many pixels and covers the same ground.
    """
    missing = [name for name in (*_CORNERS, _EPSG) if name not in file.attrs]
    if missing:
        return ground.Georeference(unused=f"a grid, but without {', '.join(missing)}")
    left, top, right, bottom = (products.number_of(file, name) for name in _CORNERS)
    epsg = int(products.number_of(file, _EPSG))
    cube = hdf5.dataset(file, f"{_fields('L2D', 'HCO')}/VNIR_Cube", "u", 3).shape
    rows, columns = cube[0], cube[2]
    finer = (size[0] / rows, size[1] / columns)
    pixel = (_PIXEL_M / finer[0], _PIXEL_M / finer[1])
    apart = ((top - bottom) / _PIXEL_M, (right - left) / _PIXEL_M)
    outer = all(abs(a - n) < 0.5 for a, n in zip(apart, (rows, columns), strict=True))
    middles = all(abs(a - n + 1) < 0.5 for a, n in zip(apart, (rows, columns), strict=True))
    if not (outer or middles):
        return ground.Georeference(
            unused=f"corners {apart[0]:g} x {apart[1]:g} pixels of {_PIXEL_M:g} m apart, for {rows} x {columns} pixels"
        )
    half = 0.0 if outer else _PIXEL_M / 2
    transform = (pixel[1], 0.0, left - half, 0.0, -pixel[0], top + half)
    return ground.as_told(path, ground.Georeference(None, transform), f"EPSG:{epsg}", None)


def _finish(
    path: Path, file: Any, level: str, scene: Scene, place: ground.Georeference, part: str = "", **told: Any
) -> Scene:
    return products.finish(
        path,
        replace(scene, crs=place.crs, transform=place.transform),
        f"PRISMA {level}{part}",
        products.text_attribute(file, "Product_StartTime"),
        georeference=place.unused,
        **told,
    )
