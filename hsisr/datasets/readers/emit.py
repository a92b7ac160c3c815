"""Reader of EMIT's reflectance, level 2A (.nc), in the geometry of the sensor or laid on a grid by its lookup table.

`/reflectance` is (downtrack, crosstrack, bands) of float32, -9999 for no data. `/sensor_band_parameters` states
centres, widths and good bands. `/location/glt_x` and `glt_y` are the lookup table of a grid in latitude and longitude
(attribute `geotransform`): for each grid pixel, the column and row in the sensor's image, counted from 1, and 0 for
none. JPL's tables write negative numbers where the nearest pixel fills a gap. A second file, `EMIT_L2A_MASK_*`, often
of a later version, holds flags of clouds, cirrus and the spacecraft itself.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import hdf5
from hsisr.datasets.readers import ground, products
from hsisr.datasets.readers.arrays import LazyCube, check_claim, scene_name
from hsisr.datasets.readers.damage import damage
from hsisr.datasets.readers.hdf5 import GuardedDataset, open_for_strips
from hsisr.errors import HsisrError, notice
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

_CUBE, _BANDS = "reflectance", "sensor_band_parameters"
_NODATA = -9999.0
#: A pixel is masked if one of these flags is set. The case of their names differs between versions.
_MASKED = ("cloud flag", "cirrus flag", "spacecraft flag", "dilated cloud flag", "spectf-cloud flag")


def matches(path: Path, head: bytes) -> bool:
    """True for a netCDF 4 file with EMIT's groups."""
    return products.holds_hdf5(path, head, _BANDS, "location/glt_x", "location/glt_y")


def read(path: Path, ortho: Any = False, quality: str = "mask") -> Scene:
    """Scene of the product. ortho: whether (`true`) to lay it on its grid in latitude and longitude.

    quality: with `mask`, pixels that the file `EMIT_L2A_MASK_*` beside it flags as cloud, cirrus or spacecraft hold no
    data; with `none`, they count. Raises HsisrError for EMIT's other products, and if parts do not fit together.
    """
    screen = products.uses_quality(path, quality)
    on_grid = products.is_true(path, "ortho", ortho)
    with damage(path, "EMIT product"):
        file = open_for_strips(path)
        if _CUBE not in list(file):
            held = ", ".join(name for name in file if name not in (_BANDS, "location"))
            raise HsisrError(f"{path}: an EMIT product that holds {held}; expected `reflectance`, level 2A")
        stored = hdf5.dataset(file, _CUBE, "f", 3)
        count = stored.shape[2]
        bands = hdf5.group(file, _BANDS)
        centres = products.vector_of(path, _CUBE, bands, "wavelengths", count)
        widths = products.widths_of(path, _CUBE, bands, "fwhm", count)
        good = np.ones(count)
        if "good_wavelengths" in list(bands):
            good = products.vector_of(path, _CUBE, bands, "good_wavelengths", count)
        nodata = products.number_of(stored, "_FillValue", _NODATA)
        cube: LazyArray = LazyCube(path, GuardedDataset(path, stored), (2, 0, 1), nodata)
        valid, told = _valid(path, cube.shape[1:]) if screen else (None, None)
        acquired, place = products.text_attribute(file, "time_coverage_start"), ground.Georeference()
        if on_grid:
            table, place = _lookup(path, file, cube)
            cube = _OnGrid(cube, table, nodata)
            valid = None if valid is None else (table[0] < 0) | valid[table[0], table[1]]
        else:
            notice(
                f"{path}: rows and columns are the sensor's; --read ortho=true lays them on the grid of its lookup "
                "table (glt_x, glt_y), which a guide with a georeference needs",
            )
    scene = Scene(cube, scene_name(path), crs=place.crs, transform=place.transform, nodata=nodata)
    scene = replace(scene, **products.spectral(centres, widths, good > 0))
    return products.finish(path, products.in_order(scene), "EMIT L2A", acquired, valid, quality=told)


def describe(path: Path) -> dict[str, Any]:
    """What the product states about itself, and what hsisr makes of it."""
    return products.describe(path, read)


def _lookup(path: Path, file: Any, cube: LazyArray) -> tuple[np.ndarray, ground.Georeference]:
    """Row and column in the sensor's image (2, rows, columns of the grid), -1 for none; and the grid's place."""
    bands, height, width = cube.shape
    stored = [hdf5.dataset(file, f"location/{name}", "if", 2) for name in ("glt_x", "glt_y")]
    misfit = f"{path}: its lookup table (glt_x, glt_y) does not fit its image of {height} x {width} pixels"
    if stored[0].shape != stored[1].shape:
        raise HsisrError(misfit)
    check_claim(path, stored[0].size * max(bands * cube.dtype.itemsize, 2 * np.dtype(np.int32).itemsize))
    columns, rows = (_numbers_of(part) for part in stored)
    known = (rows > 0) & (columns > 0)
    if not known.any() or rows.max() > height or columns.max() > width:
        raise HsisrError(misfit)
    left, a, b, top, d, e = (
        float(number) for number in products.vector_of(path, "the geotransform", file, "geotransform", 6)
    )
    crs = products.text_attribute(file, "spatial_ref")
    table = np.where(known, np.stack([rows, columns]) - 1, -1)
    return table, ground.as_told(path, ground.Georeference(None, (a, b, left, d, e, top)), crs, None)


def _numbers_of(table: Any) -> np.ndarray:
    """Columns or rows of a lookup table, from 1; 0 for none."""
    numbers = np.nan_to_num(table[...])
    return np.abs(np.where(numbers == products.number_of(table, "_FillValue", 0.0), 0, numbers).astype(np.int32))


def _find_flags(path: Path) -> Path | None:
    """The file of flags beside this one, of the same name or the same time of acquisition; of several, the newest."""
    moment = re.search(r"\d{8}T\d{6}", path.name)
    found = [path.with_name(path.name.replace("_RFL_", "_MASK_"))] if "_RFL_" in path.name else []
    if moment is not None:
        found += path.parent.glob(f"EMIT_L2A_MASK_*_{moment[0]}*.nc")
    return max((file for file in found if file.is_file()), key=lambda file: file.name, default=None)


def _valid(path: Path, size: tuple[int, ...]) -> tuple[np.ndarray | None, str | None]:
    """Valid pixels by the file of flags beside this one, and the flags in words; (None, None) without such a file."""
    beside = _find_flags(path)
    if beside is None:
        return None, None
    with damage(beside, "EMIT mask"), hdf5.open_any(beside) as file:
        flags = hdf5.dataset(file, "mask", "fiu", 3)
        names = [bytes(name).decode() if isinstance(name, bytes) else str(name) for name in hdf5.dataset(
            file, f"{_BANDS}/mask_bands", "SO", 1)[...]]  # fmt: skip
        used = [k for k, name in enumerate(names) if name.strip().lower() in _MASKED]
        if flags.shape != (*size, len(names)) or not used:
            raise HsisrError(
                f"{beside}: flags of {flags.shape}, named {', '.join(names)}, do not fit {path.name}; leave them out "
                "with --read quality=none"
            )
        valid = ~np.logical_or.reduce([flags[:, :, k] > 0 for k in used])
    return valid, f"no data where {beside.name} says {', '.join(names[k] for k in used)}"


class _OnGrid(LazyArray):
    """A cube in the sensor's geometry, looked up on a grid. table: (2, rows, columns), -1 for none."""

    def __init__(self, cube: LazyArray, table: np.ndarray, nodata: float) -> None:
        self._cube, self._table, self._nodata = cube, table, nodata
        self.shape, self.dtype, self.files = (cube.shape[0], *table.shape[1:]), cube.dtype, cube.files

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """A window of the grid. Only the rectangle that it needs is read from the sensor's image."""
        y, x = self._table[:, rows, columns]
        known = y >= 0
        block = np.full((len(range(self.shape[0])[bands]), *y.shape), self._nodata, self.dtype)
        if known.any():
            y0, x0 = y[known].min(), x[known].min()
            part = self._cube[bands, slice(y0, y[known].max() + 1), slice(x0, x[known].max() + 1)]
            block[:, known] = part[:, y[known] - y0, x[known] - x0]
        return block
