"""What an HDF5 or netCDF file states about a cube, by the CF conventions or in the words of vendors.

It states fill values and limits, scale and offset, and names of dimensions. Wavelengths, widths and good bands stand in
attributes of the cube or of the file, or in vectors beside the cube.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.arrays import Marks
from hsisr.datasets.readers.wavelengths import CENTRES, WIDTHS, plain_name, spectral_facts
from hsisr.errors import HsisrError, notice
from hsisr.limits import BANDS

#: Names as `plain_name` gives them.
_FILLS = ("fillvalue", "missingvalue", "dataignorevalue", "nodata", "nodatavalue", "ignorevalue", "novalue")
_FACTORS = ("scalefactor", "reflectancescalefactor", "datascalefactor", "scale", "slope", "gain")
_OFFSETS = ("addoffset", "offset", "intercept")
_GOOD = ("goodwavelengths", "goodbands", "bbl", "goodbandlist")
_UNITS = ("units", "unit", "wavelengthunits", "wavelengthunit")
#: Names of dimensions -> axis.
_ROWS = ("y", "row", "rows", "line", "lines", "lat", "latitude", "downtrack", "alongtrack", "northing", "height",
         "numberofscans", "scan", "scans", "nrows")  # fmt: skip
_COLUMNS = ("x", "column", "columns", "col", "cols", "sample", "samples", "lon", "longitude", "crosstrack",
            "acrosstrack", "easting", "width", "pixel", "pixels", "groundpixel", "ncols")  # fmt: skip
_BANDS = ("band", "bands", "wavelength", "wavelengths", "channel", "channels", "wl", "lambda", "spectral", "nbands",
          "wavelengthbands", "bandnumber", "z")  # fmt: skip
#: netCDF's fill value for floats that were never written (NC_FILL_FLOAT, NC_FILL_DOUBLE).
_NETCDF_FILL = float.fromhex("0x1.ep+122")
#: Variables of a lookup table. A cube with one is not on a grid: the table says where its pixels lie.
_LOOKUP = ("glt_x", "glt_y")


@dataclass(frozen=True)
class Stated:
    """What a file states about its cube. axes: such as HWB, None without names. dtype: of its numbers."""

    dtype: np.dtype
    nodata: float | None
    marks: Marks
    scale: float
    offset: float
    axes: str | None
    centres: Any
    units: str
    widths: Any
    good: Any

    def spectral_facts(self, path: Path, bands: int) -> dict[str, Any]:
        """Wavelengths, widths and bad bands of a Scene. Vectors of another length are left out."""
        columns = [None if v is None or np.size(v) not in (1, bands) else v for v in (self.centres, self.widths)]
        good = self.good if np.size(self.good) == bands and self.good is not None else None
        return dict(spectral_facts(path, bands, columns[0], self.units, columns[1], good))

    def describe(self) -> dict[str, Any]:
        """The lines of `hsisr info` about the cube."""
        found = {"nodata": self.nodata, "scale": self.scale, "offset": self.offset, "axes": self.axes}
        return {key: value for key, value in found.items() if value is not None}


def read(path: Path, name: str, datasets: Mapping[str, Any]) -> Stated:
    """What the file states about the dataset `name`. datasets: all numeric datasets, by path.

    In CF, `scale_factor` and `add_offset` mean: value = stored * factor + offset. Vendors often write the inverse,
    such as `Scale_Factor` 10000. So under any other spelling, hsisr divides by a factor above 1.
    netCDF may store unsigned numbers as signed ones (`_Unsigned`). Floats that were never written hold its default
    fill value.
    Raises HsisrError for attributes that contradict each other.
    """
    cube = datasets[name]
    own = dict(_attributes(cube))
    dtype = _dtype(own, np.dtype(cube.dtype))
    nodata, marks = _find_missing(path, own, dtype)
    if nodata is None and dtype.kind == "f" and _is_netcdf(path, cube):
        nodata = _NETCDF_FILL
    scale, offset = _scale(path, own)
    centres, units = _column(name, own, cube, datasets, CENTRES)
    widths, _ = _column(name, own, cube, datasets, WIDTHS)
    good, _ = _column(name, own, cube, datasets, _GOOD)
    if any(key.rpartition("/")[2] in _LOOKUP for key in datasets):
        notice(
            f"{path}: holds a table that says where its pixels lie (glt_x, glt_y), which is not applied: rows and "
            "columns are the sensor's; orthorectify it before it meets a guide"
        )
    return Stated(dtype, nodata, marks, scale, offset, _axes(own, cube), centres, units, widths, good)


def _dtype(own: dict[str, Any], stored: np.dtype) -> np.dtype:
    """The type that the file means: `_Unsigned` can differ from the stored type."""
    unsigned = str(own.get("_Unsigned", "")).lower() == "true"
    return np.dtype(f"u{stored.itemsize}").newbyteorder(stored.byteorder) if unsigned and stored.kind == "i" else stored


def _is_netcdf(path: Path, cube: Any) -> bool:
    return path.suffix.lower() in (".nc", ".nc4", ".cdf") or "_NCProperties" in cube.file.attrs


def _attributes(item: Any) -> Iterator[tuple[str, Any]]:
    """Attributes of a dataset or a group whose values are numbers or a text."""
    for key, value in item.attrs.items():
        if key in ("DIMENSION_LIST", "REFERENCE_LIST"):
            continue
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        array = np.asarray(value)
        if array.size and array.dtype.kind in "uifSUO":
            yield key, value


def _number(path: Path, key: str, value: Any) -> float:
    try:
        numbers = {float(number) for number in np.ravel(np.asarray(value, dtype=float))}
    except (TypeError, ValueError):
        raise HsisrError(f"{path}: its attribute {key} must be a number, not {value!r}") from None
    if len(numbers) != 1:
        raise HsisrError(f"{path}: its attribute {key} holds {len(numbers)} numbers that differ; expected one")
    return numbers.pop()


def _find_missing(path: Path, own: dict[str, Any], dtype: np.dtype) -> tuple[float | None, Marks]:
    """The nodata value, and the further marks of samples without data."""
    fills = [_number(path, key, value) for key, value in own.items() if plain_name(key) in _FILLS]
    if "_Unsigned" in own and dtype.kind == "u":  # the fill value is stored as signed, too
        fills = [fill % 2 ** (8 * dtype.itemsize) for fill in fills]
    fills = [fill for number, fill in enumerate(fills) if not any(_are_equal(fill, other) for other in fills[:number])]
    least = next((_number(path, key, value) for key, value in own.items() if key == "valid_min"), None)
    most = next((_number(path, key, value) for key, value in own.items() if key == "valid_max"), None)
    limits = next((np.ravel(value) for key, value in own.items() if key == "valid_range"), None)
    if limits is not None and len(limits) == 2:
        least, most = (_number(path, "valid_range", limit) for limit in limits)
    limited = least is not None or most is not None
    nodata = fills[0] if fills else _number_outside(least, most, dtype) if limited else None
    if nodata is None:
        return None, Marks()
    return nodata, Marks(tuple(fills[1:]), least, most)


def _number_outside(least: float | None, most: float | None, dtype: np.dtype) -> float | None:
    """A stored number outside the limits, as nodata value for all others outside; None if the type has none."""
    if dtype.kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    if least is not None and limits.min < least:
        return float(limits.min)
    return float(limits.max) if most is not None and limits.max > most else None


def _are_equal(first: float, second: float) -> bool:
    return first == second or (np.isnan(first) and np.isnan(second))


def _scale(path: Path, own: dict[str, Any]) -> tuple[float, float]:
    factor, offset = 1.0, 0.0
    for key, value in own.items():
        if key == "scale_factor":
            factor = _number(path, key, value)
        elif key == "add_offset":
            offset = _number(path, key, value)
        elif plain_name(key) in (*_FACTORS, *_OFFSETS):
            try:
                number = _number(path, key, value)
            except HsisrError as error:  # no convention asks for a number here
                notice(f"{error}; it is left out")
                continue
            if plain_name(key) in _OFFSETS:
                offset = number
            else:
                factor = 1 / number if number > 1 else number
    if not (np.isfinite(factor) and np.isfinite(offset) and factor):
        raise HsisrError(f"{path}: its scale {factor} and offset {offset} must be finite, and the scale not 0")
    return factor, offset


def _axes(own: dict[str, Any], cube: Any) -> str | None:
    """The cube's axes as letters, if the name of each axis is known."""
    labels = next((value for key, value in own.items() if plain_name(key) in ("dimensionlabels", "dimensions")), None)
    names: list[str]
    if isinstance(labels, str):
        names = re.split(r"[,;\s]+", labels.strip())
    else:
        names = [_dimension(dimension) for dimension in cube.dims]
    letters = [
        next((letter for letter, known in (("H", _ROWS), ("W", _COLUMNS), ("B", _BANDS)) if name in known), "")
        for name in map(plain_name, names)
    ]
    axes = "".join(letters)
    return axes if len(letters) == 3 and sorted(axes) == ["B", "H", "W"] else None


def _dimension(dimension: Any) -> str:
    """The name of a dimension: its label, or the name of the dataset that is its scale."""
    if dimension.label:
        return str(dimension.label)
    names = [scale.name.rpartition("/")[2] for scale in dimension.values() if scale.name]
    return names[0] if names else ""


def _column(
    name: str, own: dict[str, Any], cube: Any, datasets: Mapping[str, Any], keys: tuple[str, ...]
) -> tuple[Any, str]:
    """A vector with one of these names, and its unit: of the cube, of datasets near it, or of the file."""
    found = _in_attributes(own, keys)
    if found is None:
        vectors = [key for key, item in datasets.items() if _is_column(key, item, cube, keys)]
        if vectors:
            nearest = max(vectors, key=lambda key: len(_common(key, name)))
            attributes = {plain_name(key): value for key, value in _attributes(datasets[nearest])}
            unit = next((str(attributes[key]) for key in _UNITS if key in attributes), "")
            return np.ravel(datasets[nearest][...]), unit
        found = _in_attributes(dict(_attributes(cube.file)), keys)
    if found is None:
        return None, ""
    plain = {plain_name(key): value for key, value in {**dict(_attributes(cube.file)), **own}.items()}
    return found, next((str(plain[key]) for key in ("wavelengthunits", "wavelengthunit") if key in plain), "")


def _in_attributes(attributes: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value for key, value in attributes.items() if plain_name(key) in keys), None)


def _is_column(key: str, item: Any, cube: Any, keys: tuple[str, ...]) -> bool:
    if plain_name(key.rpartition("/")[2]) not in keys or item.dtype.kind not in "uif":
        return False
    longer = [size for size in item.shape if size > 1] or [1]
    return len(longer) == 1 and longer[0] in cube.shape and longer[0] <= BANDS.most


def _common(first: str, second: str) -> str:
    parts = zip(first.split("/"), second.split("/"), strict=False)
    shared = []
    for one, other in parts:
        if one != other:
            break
        shared.append(one)
    return "/".join(shared)
