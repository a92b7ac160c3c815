"""Writer of netCDF-4 by the CF conventions (1.11), through h5py: a netCDF-4 file is an HDF5 file with named axes.

The one variable `cube` (wavelength, y, x) has the stored numbers, scale, offset and fill value. Bands and pixels have
coordinates. CRS and transform stand in `spatial_ref`, as GDAL and rioxarray write them.
"""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hsisr
from hsisr import hdf5
from hsisr.files import atomic_path
from hsisr.scene import CHUNK, Scene

#: PROJ's names -> the parameters of CF's transverse Mercator.
_TRANSVERSE_MERCATOR = {
    "lon_0": "longitude_of_central_meridian", "lat_0": "latitude_of_projection_origin",
    "k": "scale_factor_at_central_meridian", "x_0": "false_easting", "y_0": "false_northing",
}  # fmt: skip


def write(scene: Scene, out: Path) -> None:
    """Write a scene by strips, completely or not at all.

    The bands' axis is called `wavelength` if the centres only rise or only fall, as CF requires; else `band`. Masked
    pixels hold the fill value. Without a nodata value, the mask becomes the variable `valid`.
    """
    with atomic_path(out, suffix=".nc") as new, hdf5.create(new, track_order=True) as file:
        hdf5.set_attributes(file, _file_attributes(scene))
        axes = _axes(file, scene)
        beside = _bands(file, scene, axes[0])
        cube = _cube(file, scene, axes, beside)
        for rows, block in scene.strips():
            cube[:, rows] = scene.without_masked(rows, block)


def _file_attributes(scene: Scene) -> dict[str, Any]:
    """Attributes of the file, including the tags of the result."""
    about = {"Conventions": "CF-1.11", "title": scene.name, "source": f"hsisr {hsisr.__version__}"}
    if scene.provenance.get("acquired"):
        about["time_coverage_start"] = str(scene.provenance["acquired"])
    tags = scene.provenance.get("tags", {})
    return about | {key: str(value) for key, value in tags.items() if re.fullmatch(r"[A-Za-z]\w*", key)}


def _axes(file: h5py.File, scene: Scene) -> tuple[h5py.Dataset, h5py.Dataset, h5py.Dataset]:
    """The axes of the cube. Each has its coordinates: band centres, and pixel centres if the grid is upright."""
    bands, height, width = scene.shape
    centres = scene.wavelengths_nm
    steps = None if centres is None else np.diff(np.asarray(centres, float))
    if steps is not None and ((steps > 0).all() or (steps < 0).all()):
        first = _variable(file, "wavelength", np.asarray(centres, float), _CENTRES)
    else:
        first = _variable(file, "band", np.arange(1, bands + 1, dtype=np.int32), {"long_name": "number of the band"})
    first.make_scale(first.name[1:])
    if scene.transform is None or scene.transform[1] or scene.transform[3]:
        return first, _bare_axis(file, "y", height), _bare_axis(file, "x", width)
    a, _, c, _, e, f = scene.transform
    of_x, of_y = _ground_axes(scene.crs)
    y = _variable(file, "y", e * (np.arange(height) + 0.5) + f, of_y)
    x = _variable(file, "x", a * (np.arange(width) + 0.5) + c, of_x)
    for axis in (y, x):
        axis.make_scale(axis.name[1:])
    return first, y, x


def _bare_axis(file: h5py.File, name: str, size: int) -> h5py.Dataset:
    """An axis without coordinates, marked as the netCDF library marks one."""
    axis = file.create_dataset(name, (size,), ">f4")
    axis.make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:10d}")
    return axis


def _bands(file: h5py.File, scene: Scene, axis: h5py.Dataset) -> list[str]:
    """Write further facts about the bands as variables along their axis, and return their names."""
    known: dict[str, tuple[Any, dict[str, Any]]] = {}
    if scene.wavelengths_nm is not None and axis.name != "/wavelength":
        known["wavelength"] = (np.asarray(scene.wavelengths_nm, float), _CENTRES)
    if scene.fwhm_nm is not None:
        said = {"long_name": "full width at half maximum", "units": "nm"}
        known["fwhm"] = (np.asarray(scene.fwhm_nm, float), said)
    if scene.bad_bands is not None:
        known["good_wavelengths"] = ((~np.asarray(scene.bad_bands, bool)).astype(np.int8), _flags("bad", "good"))
    for name, (values, said) in known.items():
        _variable(file, name, values, said).dims[0].attach_scale(axis)
    return list(known)


def _cube(
    file: h5py.File, scene: Scene, axes: tuple[h5py.Dataset, h5py.Dataset, h5py.Dataset], beside: list[str]
) -> h5py.Dataset:
    """The empty variable of the pixels, with its attributes."""
    bands, height, width = scene.shape
    dtype = np.dtype(scene.stored.dtype).newbyteorder("=")
    fill = {} if scene.nodata is None else {"fillvalue": np.asarray(scene.nodata).astype(dtype)}
    cube = file.create_dataset(
        "cube", scene.shape, dtype, chunks=(bands, min(CHUNK, height), min(CHUNK, width)), compression="gzip",
        compression_opts=1, shuffle=True, track_order=True, **fill,
    )  # fmt: skip
    for number, axis in enumerate(axes):
        cube.dims[number].attach_scale(axis)
    said: dict[str, Any] = {"long_name": scene.name}
    if scene.nodata is not None:
        cube.attrs["_FillValue"] = np.asarray([scene.nodata]).astype(dtype)
    if (scene.scale, scene.offset) != (1.0, 0.0):
        said |= {"scale_factor": float(scene.scale), "add_offset": float(scene.offset)}
    if beside:
        said["coordinates"] = " ".join(beside)
    if scene.crs is not None or scene.transform is not None:
        place = _variable(file, "spatial_ref", np.int32(0), grid_mapping(scene))
        said["grid_mapping"] = place.name[1:]
    if scene.mask is not None and scene.nodata is None:
        valid = _variable(file, "valid", np.asarray(scene.mask, np.int8), _flags("missing", "valid"))
        for number, axis in enumerate(axes[1:]):
            valid.dims[number].attach_scale(axis)
        said["ancillary_variables"] = "valid"
    hdf5.set_attributes(cube, said)
    return cube


def grid_mapping(scene: Scene) -> dict[str, Any]:
    """Attributes of the variable that holds a scene's georeference.

    They are the CRS as WKT, and the transform in GDAL's order. CF's own parameters are added for latitude and
    longitude, and for transverse Mercator (UTM included). Other projections have only the WKT.
    """
    said: dict[str, Any] = {}
    if scene.crs is not None:
        from rasterio.crs import CRS

        crs = CRS.from_user_input(scene.crs)
        wkt = crs.to_wkt()
        said = {"crs_wkt": wkt, "spatial_ref": wkt, **_parameters(crs, wkt)}
    if scene.transform is not None:
        a, b, c, d, e, f = (repr(float(number)) for number in scene.transform)
        said["GeoTransform"] = " ".join((c, a, b, f, d, e))
    return said


def _parameters(crs: Any, wkt: str) -> dict[str, Any]:
    """CF's parameters of a CRS, for the two kinds that nearly all products use."""
    found = crs.to_dict(projjson=False)
    ellipsoid = re.search(r'(?:SPHEROID|ELLIPSOID)\["[^"]*",\s*([\d.]+),\s*([\d.]+)', wkt)
    if ellipsoid is None:
        return {}
    size = {"semi_major_axis": float(ellipsoid[1]), "inverse_flattening": float(ellipsoid[2])}
    if crs.is_geographic:
        return {"grid_mapping_name": "latitude_longitude", **size}
    if crs.to_epsg() and (utm := re.fullmatch(r"32([67])(\d\d)", str(crs.to_epsg()))):
        found = {"proj": "tmerc", "lon_0": 6 * int(utm[2]) - 183, "lat_0": 0, "k": 0.9996, "x_0": 500_000}
        found["y_0"] = 10_000_000 if utm[1] == "7" else 0
    if found.get("proj") != "tmerc":
        return {}
    defaults = {"k": 1.0}
    named = {name: float(found.get(key, defaults.get(key, 0.0))) for key, name in _TRANSVERSE_MERCATOR.items()}
    return {"grid_mapping_name": "transverse_mercator", **size, **named}


def _ground_axes(crs: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes of x and y."""
    if crs is None:
        return {"long_name": "x"}, {"long_name": "y"}
    from rasterio.crs import CRS

    known = CRS.from_user_input(crs)
    if known.is_geographic:
        return (
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
        )
    unit = {"metre": "m", "meter": "m"}.get(known.linear_units, known.linear_units)
    return (
        {"standard_name": "projection_x_coordinate", "units": unit, "axis": "X"},
        {"standard_name": "projection_y_coordinate", "units": unit, "axis": "Y"},
    )


_CENTRES = {"standard_name": "radiation_wavelength", "long_name": "centre of the band", "units": "nm"}


def _flags(no: str, yes: str) -> dict[str, Any]:
    """Attributes of a variable of 0 and 1."""
    return {"flag_values": np.array([0, 1], np.int8), "flag_meanings": f"{no} {yes}"}


def _variable(file: h5py.File, name: str, values: Any, said: dict[str, Any]) -> h5py.Dataset:
    dataset = file.create_dataset(name, data=values, track_order=True)
    hdf5.set_attributes(dataset, said)
    return dataset
