"""Place and valid pixels of a cube in a netCDF file, by the CF conventions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.datasets.readers.ground import Georeference
from hsisr.datasets.readers.products import text_attribute
from hsisr.errors import HsisrError

#: Usual names of grid mappings: of rioxarray, GDAL, JPL and hytools.
MAPPINGS = ("spatial_ref", "crs", "transverse_mercator", "projection")
#: Largest distance of a coordinate from the evenly spaced one, in pixels.
_TOLERANCE_PX = 0.01


def georeference(path: Path, name: str, datasets: Mapping[str, Any], rows: int, columns: int) -> Georeference:
    """CRS and transform by the grid mapping of the cube `name`; empty without one.

    datasets: all datasets, by path. The attribute `grid_mapping` names the mapping; files whose writer lost it keep the
    mapping under a usual name. The CRS is the WKT in `crs_wkt` or `spatial_ref`. The transform comes from evenly spaced
    coordinates of the pixels' centres; else from GDAL's `GeoTransform`. Coordinates come first, because a cut of the
    image keeps them right, but not the attribute. If both are there and lie half a pixel apart, the coordinates are
    those of the pixels' upper left edges, as some programs write them.
    """
    stated = text_attribute(datasets[name], "grid_mapping")
    names = MAPPINGS if stated is None else (stated.partition(":")[0],)
    place = next((item for key in names if (item := _find_variable(name, key, datasets)) is not None), None)
    if place is None:
        return Georeference()
    wkt, geotransform = text_attribute(place, "crs_wkt", "spatial_ref"), text_attribute(place, "GeoTransform")
    x, y = _coordinates(name, _X, columns, datasets), _coordinates(name, _Y, rows, datasets)
    transform = None if geotransform is None else _geotransform(path, geotransform)
    if x is not None and y is not None:
        (step_x, left), (step_y, top) = x, y
        if transform is not None and _are_edges((step_x, left, step_y, top), transform):
            left, top = left + step_x / 2, top + step_y / 2
        transform = (step_x, 0.0, left, 0.0, step_y, top)
    return Georeference(None if wkt is None else _check_wkt(path, wkt), transform)


def valid_pixels(name: str, datasets: Mapping[str, Any], rows: int, columns: int) -> np.ndarray | None:
    """Mask (rows, columns): the variable `valid`, if the cube names it as ancillary; else None."""
    names = (text_attribute(datasets[name], "ancillary_variables") or "").split()
    found = _find_variable(name, "valid", datasets) if "valid" in names else None
    if found is None or found.shape != (rows, columns):
        return None
    valid: np.ndarray = found[...] > 0
    return valid


_X, _Y = ("x", "easting", "lon", "longitude"), ("y", "northing", "lat", "latitude")


def _find_variable(cube: str, name: str, datasets: Mapping[str, Any]) -> Any:
    """The variable of this name in the cube's group, or else in the root group."""
    group = cube.rpartition("/")[0]
    return datasets.get(f"{group}/{name.strip()}".strip("/"), datasets.get(name.strip()))


def _coordinates(
    cube: str, names: tuple[str, ...], size: int, datasets: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Step of evenly spaced coordinates, and outer edge of the first pixel; None without such coordinates."""
    found = next((item for key in names if (item := _find_variable(cube, key, datasets)) is not None), None)
    if found is None or found.shape != (size,) or size < 2 or found.dtype.kind not in "uif":
        return None
    places = np.asarray(found[...], float)
    step = (places[-1] - places[0]) / (size - 1)
    even = places[0] + step * np.arange(size)
    if not step or not np.allclose(places, even, rtol=0, atol=_TOLERANCE_PX * abs(step)):
        return None
    return float(step), float(places[0] - step / 2)


def _are_edges(centred: tuple[float, float, float, float], stated: tuple[float, ...]) -> bool:
    """Whether coordinates are those of edges, because the stated grid lies half a pixel off.

    centred: step and left of x, step and top of y, if the coordinates are centres. stated: the transform of the image,
    or of a larger one that it was cut from.
    """
    step_x, left, step_y, top = centred
    apart = np.array([(stated[2] - left) / step_x, (stated[5] - top) / step_y])
    same_steps = np.allclose((step_x, 0, 0, step_y), (stated[0], stated[1], stated[3], stated[4]), rtol=1e-6, atol=0)
    return same_steps and bool(np.all(np.abs(apart % 1 - 0.5) < _TOLERANCE_PX))


def _geotransform(path: Path, text: str) -> tuple[float, ...]:
    try:
        c, a, b, f, d, e = (float(word) for word in text.split())
    except ValueError:
        raise HsisrError(f"{path}: its GeoTransform {text!r} is not six numbers") from None
    return a, b, c, d, e, f


def _check_wkt(path: Path, wkt: str) -> str:
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return str(CRS.from_user_input(wkt).to_wkt())
    except (CRSError, ValueError) as error:
        raise HsisrError(f"{path}: its grid mapping names no CRS ({' '.join(str(error).split())})") from error
