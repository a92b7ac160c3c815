"""Exported scenes in other programs: GDAL, SPy and xarray find values, wavelengths, widths, bad bands and place."""

import numpy as np
import pytest
import rasterio

from hsisr.datasets import netcdf, read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.scene import Scene
from tests.unit.test_datasets_writers import TRANSFORM, scene

WGS84 = (0.01, 0.0, 12.0, 0.0, -0.01, 52.0)


def values(original: Scene) -> np.ndarray:
    """Its values, NaN where there are none."""
    return np.where(original.without_data(original.stored), np.nan, original.cube)


@pytest.mark.parametrize("format", ["geotiff", "cog"])
def test_gdal_finds_the_spectrum_of_a_geotiff(tmp_path, format):
    """In the domain IMAGERY as of GDAL 3.10, and as GDAL names it when it reads ENVI."""
    original = scene()
    with rasterio.open(export(original, tmp_path / "a.tif", format)) as image:
        imagery = [image.tags(band, ns="IMAGERY") for band in image.indexes]
        plain = [image.tags(band) for band in image.indexes]
    centres, widths = ([float(tags[key]) * 1000 for tags in imagery] for key in ("CENTRAL_WAVELENGTH_UM", "FWHM_UM"))
    assert np.allclose(centres, original.wavelengths_nm, atol=1e-6) and np.allclose(widths, original.fwhm_nm)
    assert [float(tags["wavelength"]) for tags in plain] == list(original.wavelengths_nm)
    assert {tags["wavelength_units"] for tags in plain} == {"Nanometers"}
    assert [tags["bbl"] for tags in plain] == ["1", "1", "1", "0", "1"]


def test_scene_without_widths_has_none_in_its_file(tmp_path):
    with rasterio.open(export(scene(fwhm_nm=None), tmp_path / "a.tif")) as image:
        assert set(image.tags(1, ns="IMAGERY")) == {"CENTRAL_WAVELENGTH_UM"}


def test_spy_reads_envi(tmp_path):
    envi = pytest.importorskip("spectral.io.envi", reason="SPy (spectral) is not installed")
    centres = np.array([450.0, 550, 650, 860, 2200])
    original = scene(offset=0.0, wavelengths_nm=centres, provenance={"acquired": "2022-07-24T10:45:26Z"})
    export(original, tmp_path / "a.img")
    image = envi.open(tmp_path / "a.hdr", tmp_path / "a.img")
    assert np.allclose(np.moveaxis(image.load(), -1, 0), original.cube, atol=1e-6)
    assert image.bands.centers == list(centres) and image.bands.band_unit == "Nanometers"
    assert np.allclose(image.bands.bandwidths, original.fwhm_nm)
    assert image.metadata["bbl"] == [1, 1, 1, 0, 1]
    assert image.metadata["data ignore value"] == "0"
    assert image.metadata["map info"][:7] == ["UTM", "1", "1", "366015", "5809965", "30", "30"]
    assert image.metadata["default bands"] == ["3", "2", "1"]
    assert image.metadata["acquisition time"] == "2022-07-24T10:45:26Z"


TURN = rasterio.Affine.translation(366015, 5809965) @ rasterio.Affine.rotation(40)


@pytest.mark.parametrize(
    "grid", [rasterio.Affine(*TRANSFORM), rasterio.Affine(30, 0, 366015, 0, -20, 5809965), TURN @ TURN.scale(20, -20)]
)
def test_envi_keeps_the_grid(tmp_path, grid):
    found = read_scene(export(scene(transform=tuple(grid)[:6]), tmp_path / "a.img"))
    assert np.allclose(found.transform, tuple(grid)[:6], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "grid",
    [TURN @ TURN.scale(20, -25), TURN @ TURN.scale(20, 20), TURN @ TURN.shear(10) @ TURN.scale(20, -20),
     rasterio.Affine(-30, 0, 366015, 0, -30, 5809965), rasterio.Affine(-30, 0, 366015, 0, 30, 5809965)],
)  # fmt: skip
def test_envi_refuses_a_grid_that_its_map_info_cannot_express(tmp_path, grid):
    """GDAL would write another one without a word."""
    original = scene(transform=tuple(grid)[:6])
    with pytest.raises(HsisrError, match="map info expresses no grid"):
        export(original, tmp_path / "a.img")
    assert not list(tmp_path.iterdir())
    assert np.allclose(read_scene(export(original, tmp_path / "a.tif")).transform, original.transform)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_xarray_reads_netcdf(tmp_path, dtype):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf", reason="xarray reads netCDF through h5netcdf, which is not installed")
    original = scene(dtype)
    path = export(original, tmp_path / "a.nc")
    with xarray.open_dataset(path, engine="h5netcdf", decode_coords="all") as found:
        cube = found["cube"]
        assert cube.dims == ("wavelength", "y", "x")
        assert np.allclose(cube, values(original), atol=1e-6, equal_nan=True)
        assert np.array_equal(found["wavelength"], original.wavelengths_nm) and found["wavelength"].units == "nm"
        assert np.array_equal(cube.coords["fwhm"], original.fwhm_nm)
        assert np.array_equal(cube.coords["good_wavelengths"], [1, 1, 1, 0, 1])
        assert float(found["x"][0]) == TRANSFORM[2] + 15 and float(found["y"][-1]) == TRANSFORM[5] - 30 * 149.5
        assert found["x"].standard_name == "projection_x_coordinate"
        place = cube.coords["spatial_ref"].attrs
        assert rasterio.CRS.from_wkt(place["crs_wkt"]).to_epsg() == 32633
        assert place["grid_mapping_name"] == "transverse_mercator" and place["longitude_of_central_meridian"] == 15


def test_netcdf_library_reads_netcdf(tmp_path):
    """GDAL's driver reads through the netCDF library, which knows nothing of h5py."""
    original = scene()
    path = export(original, tmp_path / "a.nc")
    with rasterio.Env() as environment:
        if "netCDF" not in environment.drivers():
            pytest.skip("this GDAL has no netCDF driver")
    with rasterio.open(f"netcdf:{path}:cube") as image:
        assert np.array_equal(image.read(), original.stored)
        assert image.crs.to_epsg() == 32633 and tuple(image.transform)[:6] == TRANSFORM
        assert (image.nodata, image.scales[0], image.offsets[0]) == (0, 0.0001, 0.5)
        assert [float(image.tags(band)["NETCDF_DIM_wavelength"]) for band in image.indexes] == list(
            original.wavelengths_nm
        )


@pytest.mark.parametrize(
    ("crs", "name", "transform"),
    [
        ("EPSG:4326", "latitude_longitude", WGS84),
        ("EPSG:32733", "transverse_mercator", TRANSFORM),
        ("EPSG:3035", None, TRANSFORM),
        ("EPSG:32633", "transverse_mercator", (20.0, 10.0, 366015.0, 10.0, -20.0, 5809965.0)),
        (None, None, TRANSFORM),
    ],
)
def test_netcdf_keeps_the_place(tmp_path, crs, name, transform):
    original = scene(crs=crs, transform=transform)
    found = read_scene(export(original, tmp_path / "a.nc"))
    assert netcdf.grid_mapping(original).get("grid_mapping_name") == name
    assert np.allclose(found.transform, transform, rtol=1e-12)
    expected = None if crs is None else rasterio.CRS.from_user_input(crs)
    assert (None if found.crs is None else rasterio.CRS.from_wkt(found.crs)) == expected


def test_netcdf_of_a_scene_that_knows_nothing_of_itself(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf", reason="xarray reads netCDF through h5netcdf, which is not installed")
    path = export(Scene(np.ones((2, 20, 30), np.uint16)), tmp_path / "a.nc")
    found = read_scene(path)
    assert (found.wavelengths_nm, found.crs, found.transform, found.nodata, found.bad_bands) == (None,) * 5
    with xarray.open_dataset(path, engine="h5netcdf") as opened:
        assert opened["cube"].dims == ("band", "y", "x") and set(opened.coords) == {"band"}


def test_netcdf_of_the_south_has_its_false_northing():
    place = netcdf.grid_mapping(scene(crs="EPSG:32733"))
    assert (place["false_northing"], place["longitude_of_central_meridian"]) == (10_000_000, 15)


def test_netcdf_of_bands_out_of_order(tmp_path):
    """An axis of CF rises or falls; two detectors that overlap do not."""
    centres = np.array([500.0, 900, 880, 920, 2000])
    found = read_scene(export(scene(wavelengths_nm=centres), tmp_path / "a.nc"))
    assert np.array_equal(found.wavelengths_nm, centres)
    assert np.array_equal(found.stored, scene().stored)


def test_netcdf_keeps_a_mask_without_a_nodata_value(tmp_path):
    mask = np.random.default_rng(0).random((150, 140)) > 0.1
    found = read_scene(export(scene(nodata=None, mask=mask), tmp_path / "a.nc"))
    assert np.array_equal(found.mask, mask) and found.nodata is None


def test_netcdf_puts_the_fill_value_where_the_mask_hides(tmp_path):
    mask = np.ones((150, 140), bool)
    mask[:70] = False
    found = read_scene(export(scene(mask=mask), tmp_path / "a.nc"))
    assert np.array_equal(found.mask, mask) and not found.stored[:, :70].any()


def test_cut_netcdf_lies_where_its_coordinates_say(tmp_path):
    """xarray keeps GDAL's attribute as it was when it cuts an image; the coordinates are right."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf", reason="xarray reads netCDF through h5netcdf, which is not installed")
    path = export(scene(), tmp_path / "a.nc")
    with xarray.open_dataset(path, engine="h5netcdf", decode_coords="all") as whole:
        whole.isel(y=slice(10, 60), x=slice(20, 100)).to_netcdf(tmp_path / "cut.nc", engine="h5netcdf")
    found = read_scene(tmp_path / "cut.nc")
    assert found.shape == (5, 50, 80)
    assert np.allclose(found.transform, (30, 0, TRANSFORM[2] + 20 * 30, 0, -30, TRANSFORM[5] - 10 * 30))


def test_netcdf_whose_grid_mapping_names_no_crs(tmp_path):
    import h5py

    path = export(scene(), tmp_path / "a.nc")
    with h5py.File(path, "r+") as file:
        file["spatial_ref"].attrs["crs_wkt"] = "nonsense"
    with pytest.raises(HsisrError, match=r"a\.nc: its grid mapping names no CRS"):
        read_scene(path)
