"""Writers: what is exported reads back the same, here and with other libraries."""

import errno
import os

import h5py
import numpy as np
import pytest
import rasterio
from rasterio.env import get_gdal_config
from scipy.io import loadmat

from hsisr import scene as scenes
from hsisr.datasets import read_scene, show, writers
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference.images import Source
from hsisr.lazy_array import LazyArray
from hsisr.scene import Scene

RNG = np.random.default_rng(0)
TRANSFORM = (30.0, 0.0, 366015.0, 0.0, -30.0, 5809965.0)
RASTERS = [("a.tif", None), ("a.tif", "cog"), ("a.img", None), ("a.hdr", None), ("a.nc", None)]
TYPES = ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def scene(dtype="uint16", shape=(5, 150, 140), **facts) -> Scene:
    facts = {
        "scale": 0.0001, "offset": 0.5, "nodata": 0.0, "wavelengths_nm": np.array([418.24, 423.874, 500.1, 600, 1026]),
        "fwhm_nm": np.linspace(6, 9, 5), "bad_bands": np.array([0, 0, 0, 1, 0], bool), "crs": "EPSG:32633",
        "transform": TRANSFORM, **facts,
    }  # fmt: skip
    stored = np.random.default_rng(1).integers(1, 250, shape).astype(dtype)
    stored[3] = 0
    return Scene(stored, "s", **facts)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "format"), RASTERS)
def test_rasters_keep_everything(tmp_path, dtype, name, format):
    original = scene(dtype)
    path = export(original, tmp_path / name, format)
    found = read_scene(path)
    assert np.array_equal(found.stored, original.stored) and found.stored.dtype == original.stored.dtype
    assert np.array_equal(found.cube, original.cube)
    for key in ("scale", "offset", "nodata", "transform"):
        assert getattr(found, key) == getattr(original, key), key
    for key in ("wavelengths_nm", "fwhm_nm", "bad_bands"):
        assert np.array_equal(getattr(found, key), getattr(original, key)), key
    assert rasterio.CRS.from_wkt(found.crs) == rasterio.CRS.from_epsg(32633)
    assert {p.name for p in tmp_path.iterdir()} == ({name} if name in ("a.tif", "a.nc") else {"a.img", "a.hdr"})


@pytest.mark.parametrize("name", ["a.tif", "a.img"])
@pytest.mark.filterwarnings("error")
def test_scene_that_knows_nothing_of_itself(tmp_path, name):
    export(Scene(np.ones((2, 20, 30), np.float32)), tmp_path / name)
    found = read_scene(tmp_path / name)
    assert (found.wavelengths_nm, found.crs, found.transform, found.nodata, found.bad_bands) == (None,) * 5
    assert (found.scale, found.offset) == (1, 0)


def test_by_strips_equals_at_once(tmp_path, monkeypatch):
    original = scene()
    export(original, tmp_path / "a.tif")
    monkeypatch.setattr(scenes, "STRIP_BYTES", 1)
    for name, format in (("b.tif", None), ("b.img", None), ("b.nc", None), ("b.npy", None), ("b.mat", "matlab7.3")):
        export(original, tmp_path / name, format)
        options = {"axes": "BHW", "nodata": np.nan} if name.endswith("npy") else {}
        assert np.array_equal(read_scene(tmp_path / name, **options).cube, original.cube), name


def test_cog_has_tiles_and_overviews(tmp_path):
    export(scene(shape=(5, 1100, 600)), tmp_path / "a.tif", "cog")
    with rasterio.open(tmp_path / "a.tif") as image:
        assert image.profile["tiled"] and image.overviews(1)
        assert image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_bigtiff_where_the_file_may_outgrow_tiff(tmp_path, monkeypatch):
    options = writers._tiff_options(scene())
    assert options["bigtiff"] == "if_safer"
    export(scene(), tmp_path / "small.tif")
    assert (tmp_path / "small.tif").read_bytes()[:4] == b"II*\0"
    monkeypatch.setattr(writers, "_tiff_options", lambda scene: {**options, "bigtiff": "yes"})
    export(scene(), tmp_path / "big.tif")
    assert (tmp_path / "big.tif").read_bytes()[:4] == b"II+\0"
    assert np.array_equal(read_scene(tmp_path / "big.tif").stored, read_scene(tmp_path / "small.tif").stored)


@pytest.mark.parametrize(
    ("name", "lost"),
    [("a.tif", "labels and guide"), ("a.npy", "labels and guide and list of bad bands"), ("a.h5", None)],
)
def test_what_the_format_has_no_place_for_is_said(tmp_path, capsys, name, lost):
    labelled = scene(shape=(5, 4, 4), labels=np.ones((4, 4), np.uint8), guide=Scene(np.ones((1, 8, 8), np.float32)))
    export(labelled, tmp_path / name)
    export(scene(shape=(5, 4, 4), bad_bands=np.zeros(5, bool)), tmp_path / name)
    line = f"hsisr: warning: {tmp_path / name}: its format has no place for the scene's {lost}; a scene file (.h5) "
    assert capsys.readouterr().err == (f"{line}keeps all\n" if lost else "")


def test_mask_without_nodata_becomes_the_files_mask(tmp_path):
    mask = RNG.random((150, 140)) > 0.1
    export(scene(nodata=None, mask=mask), tmp_path / "a.tif")
    assert np.array_equal(read_scene(tmp_path / "a.tif").mask, mask)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(("dtype", "free"), [("float32", np.nan), ("uint8", 0), ("int16", -32768)])
def test_mask_without_nodata_becomes_a_number_that_envi_can_name(tmp_path, monkeypatch, capsys, dtype, free):
    monkeypatch.setattr(scenes, "STRIP_BYTES", 1)
    mask = RNG.random((150, 140)) > 0.1
    original = scene(dtype, nodata=None, mask=mask)
    original.stored[3] = 7
    found = read_scene(export(original, tmp_path / "a.img"))
    assert np.array_equal(found.mask, mask) and np.array_equal(found.nodata, free, equal_nan=True)
    assert np.array_equal(found.stored[:, mask], original.stored[:, mask])
    if dtype == "uint8":
        original.stored[0, 0, :2] = 0, 255
        assert read_scene(export(original, tmp_path / "a.img")).mask is None
        assert f"its {(~mask).sum()} masked pixels look like the others" in capsys.readouterr().err


def test_mask_becomes_nan_in_npy(tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "STRIP_BYTES", 1)
    mask = RNG.random((150, 140)) > 0.1
    for nodata in (None, 0.0):
        original = scene(nodata=nodata, mask=mask)
        stored = np.load(export(original, tmp_path / "a.npy"))
        assert np.isnan(stored[:, ~mask]).all() and np.array_equal(stored[0][mask], original.cube[0][mask])


def test_matlab_5_as_scipy_reads_it(tmp_path):
    original = scene(mask=RNG.random((150, 140)) > 0.1)
    export(original, tmp_path / "a.mat")
    content = loadmat(tmp_path / "a.mat")
    assert np.array_equal(content["cube"], np.moveaxis(original.cube, 0, -1))
    assert np.array_equal(content["wavelengths_nm"][0], original.wavelengths_nm)
    assert content["name"][0] == "s"


def test_matlab_73_as_h5py_reads_it(tmp_path):
    original = scene()
    export(original, tmp_path / "a.mat", "matlab7.3")
    assert (tmp_path / "a.mat").read_bytes().startswith(b"MATLAB 7.3 MAT-file")
    with h5py.File(tmp_path / "a.mat") as file:
        assert np.array_equal(file["cube"][...].T, np.moveaxis(original.cube, 0, -1))
        assert file["cube"].attrs["MATLAB_class"] == b"single"
        assert bytes(file["name"][:, 0].astype(np.uint16)).decode("utf-16-le") == "s"


@pytest.mark.parametrize("format", ["matlab5", "matlab7.3"])
def test_matlab_reads_back(tmp_path, format):
    original = scene(mask=RNG.random((150, 140)) > 0.1)
    export(original, tmp_path / "a.mat", format)
    found = read_scene(tmp_path / "a.mat")
    assert np.array_equal(found.cube, original.cube)
    assert np.array_equal(found.mask, original.mask)
    assert np.array_equal(found.wavelengths_nm, original.wavelengths_nm)
    assert np.array_equal(found.fwhm_nm, original.fwhm_nm)


@pytest.mark.parametrize(("name", "format"), [("a.mat", "matlab5"), ("a.mat", "matlab7.3"), ("a.npy", "npy")])
def test_values_alone_tell_what_has_no_data(tmp_path, monkeypatch, name, format):
    monkeypatch.setattr(scenes, "STRIP_BYTES", 1)
    original = scene("float32", nodata=-1.0)
    original.stored[:, 70:, :9] = -1
    path = export(original, tmp_path / name, format)
    if format == "npy":
        np.testing.assert_array_equal(np.isnan(np.load(path)), original.stored == -1)
    found = read_scene(path, **({"axes": "BHW", "nodata": np.nan} if format == "npy" else {}))
    np.testing.assert_array_equal(found.cube, original.cube)
    np.testing.assert_array_equal(Source(found, "a").window((0, 150), (0, 140))[1], original.stored[0] != -1)


def test_npy_and_scene(tmp_path):
    original = scene()
    export(original, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.nan_to_num(np.load(tmp_path / "a.npy")), original.cube)
    export(original, tmp_path / "a.h5")
    assert np.array_equal(Scene.open(tmp_path / "a.h5").cube, original.cube)


@pytest.mark.parametrize(
    ("name", "format", "change", "fault"),
    [
        ("a.xyz", None, {}, r"a\.xyz: no format '\.xyz'; endings: \.tif"),
        ("a.tif", "jpeg", {}, "no format 'jpeg'"),
        ("a.tif", None, {"stored": np.ones((2, 4, 4), np.float16)}, "stored as float16"),
        ("a.nc", None, {"stored": np.ones((2, 4, 4), np.float16)}, "stored as float16"),
        ("a.nc", None, {"nodata": -1.0}, "cannot be written"),
        ("a.tif", None, {"crs": "EPSG:no"}, "cannot be written"),
        ("a.tif", None, {"nodata": -1.0}, "cannot be written"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, format, change, fault):
    with pytest.raises(HsisrError, match=fault) as caught:
        export(Scene(**{"stored": np.ones((2, 4, 4), np.uint8), **change}), tmp_path / name, format)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value) or "float16" in fault
    assert list(tmp_path.iterdir()) == []


def test_too_large_for_matlab_5(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_MATLAB5_MOST_BYTES", 1000)
    with pytest.raises(HsisrError, match=r"export as matlab7\.3"):
        export(scene(), tmp_path / "a.mat")


@pytest.mark.parametrize("name", ["a.tif", "a.img", "a.npy"])
def test_numbers_in_the_other_byte_order_are_written_as_they_are(tmp_path, name):
    stored = np.arange(2 * 5 * 4, dtype=">u2").reshape(2, 5, 4)
    path = export(Scene(stored, "s"), tmp_path / name)
    options = {"axes": "BHW"} if name == "a.npy" else {}
    np.testing.assert_array_equal(read_scene(path, **options).cube, stored)


@pytest.mark.parametrize(("columns", "factors"), [(2048, []), (2049, [2, 4, 8]), (5000, [2, 4, 8, 16])])
def test_large_geotiffs_hold_overviews(columns, factors, tmp_path):
    stored = np.zeros((2, 130, columns), np.int16)
    stored[1, :, ::2] = 9
    stored[0, :2, :2] = -1
    writers.export(Scene(stored, "s", nodata=-1), tmp_path / "s.tif")
    with rasterio.open(tmp_path / "s.tif") as image:
        assert [image.overviews(band) for band in (1, 2)] == [factors, factors]
        np.testing.assert_array_equal(image.read(), stored)
    if factors:
        with rasterio.open(tmp_path / "s.tif", overview_level=0) as image:
            assert image.read(1, masked=True).mask[0, 0] and set(np.unique(image.read(2))) <= {4, 5}
    assert [file.name for file in tmp_path.iterdir()] == ["s.tif"]


def test_an_array_is_no_scene(tmp_path):
    for write in (export, show):
        with pytest.raises(HsisrError, match=r"takes a Scene, not a ndarray; hsisr.Scene\(array\) makes one"):
            write(np.zeros((3, 4, 5)), tmp_path / "x.png")
    with pytest.raises(HsisrError, match="from_xarray: takes a DataArray, not a ndarray"):
        Scene.from_xarray(np.zeros((3, 4, 5)))


def test_an_envi_image_whose_data_cannot_be_flushed_stays_as_it_was(tmp_path, monkeypatch):
    """A network file system tells of its quota only then. Before, the new header was beside the older data."""
    export(Scene(np.zeros((2, 40, 40), np.float32), "older"), tmp_path / "a.img")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def flush(number):
        if os.fstat(number).st_size > 10_000:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("hsisr.files.os.fsync", flush)
    with pytest.raises(HsisrError, match="a.img: cannot be written"):
        export(Scene(np.ones((4, 40, 40), np.float32), "newer"), tmp_path / "a.img")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("name", "largest"), [("a.img", 0), ("a.tif", None)])
def test_gdal_keeps_no_written_rows_of_envi(tmp_path, name, largest):
    class Seen(LazyArray):
        shape, dtype = (2, 8, 8), np.dtype(np.float32)

        def block(self, bands, rows, columns):
            caches.append(get_gdal_config("GDAL_CACHEMAX"))
            return np.zeros((2, rows.stop - rows.start, 8), np.float32)

    with rasterio.Env():
        usual, caches = get_gdal_config("GDAL_CACHEMAX"), []
        export(Scene(Seen()), tmp_path / name)
        assert set(caches) == {usual if largest is None else largest}
        assert get_gdal_config("GDAL_CACHEMAX") == usual
