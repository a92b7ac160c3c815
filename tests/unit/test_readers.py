"""Readers: every format gives the same Scene, with its metadata; chosen by content."""

import h5py
import numpy as np
import pytest
import rasterio
from scipy.io import savemat

import hsisr
from hsisr import datasets
from hsisr.cli.app import app
from hsisr.datasets.readers import arrays, describe, images, matlab, read_plane, read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.scene import Scene

from .fakes import make_fakes

CUBE = np.random.default_rng(0).integers(1, 4096, (6, 9, 7)).astype(np.uint16)
CENTRES = np.array([450.0, 500.0, 550.5, 600.0, 650.0, 700.25])
TRANSFORM = (30.0, 0.0, 366015.0, 0.0, -30.0, 5809965.0)


def write_tiff(path, cube=CUBE, tags=None, **profile):
    band_tags = tags or {}
    profile = {"driver": "GTiff", "count": len(cube), "height": cube.shape[1], "width": cube.shape[2], **profile}
    with rasterio.open(path, "w", dtype=profile.pop("dtype", cube.dtype.name), **profile) as image:
        image.write(cube)
        for index in range(len(cube)):
            image.update_tags(index + 1, **{key: values[index] for key, values in band_tags.items()})
    return path


def write_v73(path, variables):
    path.write_bytes(make_fakes.matlab73(variables))
    return path


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file["science/cube"] = CUBE
        file["science/centres"] = CENTRES
    return path


def write_band_images(folder, cube=CUBE, name="band_{}.png"):
    folder.mkdir()
    for number, plane in enumerate(cube, 1):
        write_tiff(folder / name.format(number), plane[None], driver="PNG")
    return folder


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
class TestEveryFormat:
    """The same cube in every format, under names whose ending says nothing or lies."""

    def made(self, tmp_path) -> dict:
        np.save(tmp_path / "cube.npy", CUBE)
        np.savez(tmp_path / "cube.npz", cube=CUBE, centres=CENTRES)
        savemat(tmp_path / "five.mat", {"cube": np.moveaxis(CUBE, 0, -1), "centres": CENTRES})
        write_v73(tmp_path / "seven.mat", {"cube": CUBE, "centres": CENTRES})
        write_hdf5(tmp_path / "plain.h5")
        write_tiff(tmp_path / "cube.tif")
        write_tiff(tmp_path / "cube.img", driver="ENVI")
        Scene(CUBE).save(tmp_path / "scene.h5")
        write_band_images(tmp_path / "bands")
        return {
            "cube.npy": {"axes": "BHW"}, "cube.npz": {"axes": "BHW", "variable": "cube"}, "five.mat": {},
            "seven.mat": {}, "plain.h5": {"axes": "BHW"}, "cube.tif": {}, "cube.img": {}, "cube.hdr": {},
            "scene.h5": {}, "bands": {},
        }  # fmt: skip

    def test_same_cube(self, tmp_path):
        for name, options in self.made(tmp_path).items():
            scene = hsisr.read_scene(tmp_path / name, **options)
            assert np.array_equal(scene.stored[...], CUBE), name
            assert scene.stored.dtype == np.uint16, name

    def test_content_decides_not_the_ending(self, tmp_path):
        for name, options in self.made(tmp_path).items():
            if name.endswith((".img", ".hdr")) or (tmp_path / name).is_dir():
                continue
            (tmp_path / name).rename(tmp_path / f"renamed-{name}.xyz")
            assert np.array_equal(read_scene(tmp_path / f"renamed-{name}.xyz", **options).stored[...], CUBE), name

    def test_describe_names_format_and_shape(self, tmp_path):
        for name in self.made(tmp_path):
            text = str(describe(tmp_path / name))
            assert "format" in text and "9" in text and "7" in text, name
            assert datasets.info(tmp_path / name).startswith(f"{tmp_path / name}\n  format")


@pytest.mark.parametrize("axes", ["HWB", "BHW", "WHB", "BWH", "HBW", "WBH", "hwb"])
def test_any_order_of_axes(tmp_path, axes):
    np.save(tmp_path / "a.npy", CUBE.transpose(["BHW".index(letter) for letter in axes.upper()]))
    assert np.array_equal(read_scene(tmp_path / "a.npy", axes=axes).stored, CUBE)


def test_fortran_order_and_foreign_byte_order(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(CUBE.astype(">u2")))
    scene = read_scene(tmp_path / "a.npy", axes="BHW")
    assert np.array_equal(scene.stored, CUBE) and scene.stored.dtype == np.uint16


def test_both_matlab_versions_mean_the_same(tmp_path):
    savemat(tmp_path / "five.mat", {"cube": np.moveaxis(CUBE, 0, -1), "lbl": CUBE[0] > 2000, "nm": CENTRES})
    with h5py.File(tmp_path / "seven.mat", "w", userblock_size=512) as file:
        for name, value in {"cube": CUBE.transpose(0, 2, 1), "lbl": CUBE[0].T > 2000, "nm": CENTRES[:, None]}.items():
            file[name] = value
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(tmp_path / "seven.mat", "rb+") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    for name in ("five.mat", "seven.mat"):
        scene = read_scene(tmp_path / name, mask="lbl", wavelengths_nm="nm")
        assert np.array_equal(scene.stored, CUBE)
        assert np.array_equal(scene.mask, CUBE[0] > 2000)
        assert np.array_equal(scene.wavelengths_nm, CENTRES)


def test_matrix_of_spectra_runs_down_the_columns(tmp_path):
    matrix = np.stack([plane.T.ravel() for plane in CUBE])
    sizes = {"nRow": 9, "nCol": 7, "nBand": 6}
    savemat(tmp_path / "a.mat", {"V": matrix, **sizes})
    savemat(tmp_path / "b.mat", {"V": matrix.T, "other": np.ones((6, 6))})
    assert np.array_equal(read_scene(tmp_path / "a.mat").stored, CUBE)
    assert np.array_equal(read_scene(tmp_path / "a.mat", variable="V", axes="BP", rows="nRow", columns=7).stored, CUBE)
    assert np.array_equal(read_scene(tmp_path / "b.mat", variable="V", axes="PB", rows=9, columns=7).stored, CUBE)


def test_layer_of_a_matlab_file_is_a_scene_of_one_band(tmp_path):
    savemat(tmp_path / "a.mat", {"I_MS": np.moveaxis(CUBE, 0, -1), "I_PAN": CUBE[2]})
    assert np.array_equal(read_scene(tmp_path / "a.mat", variable="I_PAN").stored, CUBE[2:3])
    assert np.array_equal(read_scene(tmp_path / "a.mat").stored, CUBE)


def test_planes(tmp_path):
    labels = (CUBE[0] % 5).astype(np.uint8)
    np.save(tmp_path / "a.npy", labels)
    savemat(tmp_path / "a.mat", {"gt": labels, "n": 3})
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_tiff(tmp_path / "a.tif", labels[None])
    for name in ("a.npy", "a.mat", "a.tif"):
        assert np.array_equal(read_plane(tmp_path / name), labels)


def test_geotiff_metadata(tmp_path):
    tags = {
        "wavelength": CENTRES / 1000, "wavelength_units": ["Micrometers"] * 6, "fwhm": np.full(6, 0.0075),
        "bbl": [1, 1, 0, 1, 1, 1],
    }  # fmt: skip
    cube = CUBE.astype(np.int16)
    cube[:, 0, 0] = -1
    cube[4] = -1
    path = write_tiff(
        tmp_path / "a.tif", cube, tags, crs="EPSG:32633", transform=rasterio.Affine(*TRANSFORM), nodata=-1
    )
    with rasterio.open(path, "r+") as image:
        image.scales, image.offsets = [0.5] * 6, [2.0] * 6
    scene = read_scene(path)
    np.testing.assert_allclose(scene.wavelengths_nm, CENTRES)
    np.testing.assert_allclose(scene.fwhm_nm, 7.5)
    assert scene.bad_bands.tolist() == [False, False, True, False, True, False]
    assert scene.mask.sum() == 9 * 7 - 1 and not scene.mask[0, 0]
    assert (scene.scale, scene.offset, scene.nodata, scene.transform) == (0.5, 2.0, -1, TRANSFORM)
    assert rasterio.CRS.from_wkt(scene.crs) == rasterio.CRS.from_epsg(32633)
    assert scene.cube[0, 0, 0] == 0 and (scene.cube[4] == 0).all()
    assert scene.cube[0, 1, 1] == CUBE[0, 1, 1] * 0.5 + 2


def test_wavelengths_in_gdals_imagery_domain(tmp_path):
    path = write_tiff(tmp_path / "a.tif", crs="EPSG:32633", transform=rasterio.Affine(*TRANSFORM))
    with rasterio.open(path, "r+") as image:
        for index, centre in enumerate(CENTRES, 1):
            image.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=centre / 1000, FWHM_UM=0.01)
    scene = read_scene(path)
    np.testing.assert_allclose(scene.wavelengths_nm, CENTRES)
    np.testing.assert_allclose(scene.fwhm_nm, 10)


@pytest.mark.parametrize(
    ("units", "factor"), [("Nanometers", 1), ("nm", 1), ("Micrometers", 1e3), ("um", 1e3), ("", 1)]
)
def test_envi_header(tmp_path, units, factor):
    path = write_tiff(
        tmp_path / "a.img", driver="ENVI", crs="EPSG:32633", transform=rasterio.Affine(*TRANSFORM), nodata=4095
    )
    lines = [
        "wavelength = {" + ", ".join(f"{value / factor}" for value in CENTRES) + "}",
        "fwhm = {" + ", ".join(["%g" % (8 / factor)] * 6) + "}",
        "bbl = {1, 1, 1, 1, 1, 0}",
        "data gain values = {" + ", ".join(["0.25"] * 6) + "}",
    ] + ([f"wavelength units = {units}"] if units else [])
    header = tmp_path / "a.hdr"
    header.write_text(header.read_text() + "\n".join(lines) + "\n")
    (tmp_path / "a.img.aux.xml").unlink(missing_ok=True)
    for given in (path, header):
        scene = read_scene(given)
        np.testing.assert_allclose(scene.wavelengths_nm, CENTRES)
        np.testing.assert_allclose(scene.fwhm_nm, 8)
        assert np.flatnonzero(scene.bad_bands).tolist() == [5]
        assert (scene.scale, scene.nodata, scene.transform) == (0.25, 4095, TRANSFORM)


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize("ending", ["img", "dat", "bsq", "raw", ""])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_envi_interleaves_and_endings(tmp_path, interleave, ending):
    path = write_tiff(tmp_path / "a.img", driver="ENVI", interleave=interleave)
    path.rename(path.with_suffix(f".{ending}" if ending else ""))
    assert np.array_equal(read_scene(tmp_path / "a.hdr").stored, CUBE)


def test_scale_of_its_own_for_each_band_is_applied(tmp_path):
    path = write_tiff(tmp_path / "a.tif", crs="EPSG:32633", transform=rasterio.Affine(*TRANSFORM), nodata=4095)
    scales = [0.1 * (i + 1) for i in range(6)]
    with rasterio.open(path, "r+") as image:
        image.scales = scales
    scene = read_scene(path)
    expected = (CUBE * np.array(scales)[:, None, None]).astype(np.float32)
    assert np.array_equal(scene.cube, np.where(CUBE == 4095, 0, expected))
    assert scene.scale == 1


def test_internal_mask(tmp_path):
    path = write_tiff(tmp_path / "a.tif", crs="EPSG:32633", transform=rasterio.Affine(*TRANSFORM))
    with rasterio.open(path, "r+") as image:
        image.write_mask(CUBE[0] > 1000)
    assert np.array_equal(read_scene(path).mask, CUBE[0] > 1000)


def test_declared_nan_is_missing_data(tmp_path):
    cube = CUBE.astype(np.float32)
    cube[:4, 2, 3] = np.nan
    cube[1, 5, 5] = np.nan  # a single sample: its pixel has data
    np.save(tmp_path / "a.npy", cube)
    scene = read_scene(tmp_path / "a.npy", axes="BHW", nodata=np.nan)
    assert np.isfinite(scene.cube).all()
    assert not scene.mask[2, 3] and scene.mask.sum() == 62


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_photographs(tmp_path, channels, dtype):
    pixels = np.resize(CUBE, (channels, 9, 7)).astype(dtype)
    write_tiff(tmp_path / "a.png", pixels, driver="PNG")
    scene = read_scene(tmp_path / "a.png")
    assert np.array_equal(scene.stored, pixels[:3])
    np.testing.assert_allclose(scene.cube, pixels[:3] / np.iinfo(dtype).max, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_palette_is_replaced_by_its_colours(tmp_path):
    with rasterio.open(tmp_path / "a.png", "w", driver="PNG", count=1, height=2, width=2, dtype="uint8") as image:
        image.write(np.array([[[0, 1], [1, 0]]], np.uint8))
        image.write_colormap(1, {0: (10, 20, 30, 255), 1: (200, 100, 50, 255)})
    assert images.decode(tmp_path / "a.png")[:, 0].tolist() == [[10, 200], [20, 100], [30, 50]]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_band_images_are_in_the_order_of_their_numbers(tmp_path):
    cube = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 4), np.uint8)
    write_band_images(tmp_path / "a", cube, "x_{}.png")  # x_10 sorts before x_2 as text
    write_tiff(tmp_path / "a" / "overview.png", cube[:1], driver="PNG")
    assert np.array_equal(read_scene(tmp_path / "a").stored, cube)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_folder_that_only_holds_a_folder_stands_for_it(tmp_path):
    (tmp_path / "balloons_ms").mkdir()
    inner = write_band_images(tmp_path / "balloons_ms" / "balloons_ms")
    np.testing.assert_array_equal(read_scene(tmp_path / "balloons_ms").stored, read_scene(inner).stored)
    assert describe(tmp_path / "balloons_ms")["bands"] == len(CUBE)
    (tmp_path / "balloons_ms" / "notes.txt").write_text("not alone")
    with pytest.raises(HsisrError, match="content not recognised"):
        read_scene(tmp_path / "balloons_ms")


def test_band_images_with_channels(tmp_path):
    (tmp_path / "a").mkdir()
    for number in (1, 2):
        write_tiff(tmp_path / "a" / f"x_{number}.png", np.stack([CUBE[number]] * 3).astype(np.uint8), driver="PNG")
    assert np.array_equal(read_scene(tmp_path / "a").stored, CUBE[1:3].astype(np.uint8))
    write_tiff(tmp_path / "a" / "x_2.png", CUBE[:3].astype(np.uint8), driver="PNG")
    assert np.array_equal(read_scene(tmp_path / "a", channel=1).stored[1], CUBE[1].astype(np.uint8))


class TestLargerThanMemory:
    """With the limit set to nothing, every array format stays on the disk and reads what is asked for."""

    @pytest.fixture(autouse=True)
    def _limit(self, monkeypatch):
        monkeypatch.setattr(arrays, "IN_MEMORY_BYTES", 0)

    def test_windows_equal_the_whole(self, tmp_path):
        np.save(tmp_path / "a.npy", CUBE.transpose(1, 2, 0))
        write_v73(tmp_path / "a.mat", {"cube": CUBE})
        write_hdf5(tmp_path / "a.h5")
        write_tiff(tmp_path / "a.tif", crs="EPSG:32633", transform=rasterio.Affine(*TRANSFORM))
        for name, options in {"a.npy": {"axes": "HWB"}, "a.mat": {}, "a.h5": {"axes": "BHW"}, "a.tif": {}}.items():
            scene = read_scene(tmp_path / name, **options)
            assert isinstance(scene.stored, arrays.LazyCube)
            assert np.array_equal(scene.window(slice(2, 5), slice(1, 7)).stored, CUBE[:, 2:5, 1:7]), name
            assert np.array_equal(scene.cube, CUBE), name
            scene.save(tmp_path / "s.h5")
            assert np.array_equal(Scene.open(tmp_path / "s.h5").cube, CUBE), name

    def test_masks_are_found_by_strips(self, tmp_path):
        cube = CUBE.astype(np.int16)
        cube[3] = -1
        cube[:, 8, 6] = -1
        np.save(tmp_path / "a.npy", cube)
        scene = read_scene(tmp_path / "a.npy", axes="BHW", nodata=-1)
        assert np.flatnonzero(scene.bad_bands).tolist() == [3]
        assert scene.mask.sum() == 62 and not scene.mask[8, 6]

    def test_nan_is_found_when_it_is_read(self, tmp_path):
        cube = CUBE.astype(np.float32)
        cube[5, 8, 6] = np.nan
        np.save(tmp_path / "a.npy", cube)
        scene = read_scene(tmp_path / "a.npy", axes="BHW")
        with pytest.raises(HsisrError, match="1 values are not finite"):
            scene.save(tmp_path / "s.h5")
        assert not (tmp_path / "s.h5").exists()


def test_hdf5_behind_a_user_block(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["x"] = CUBE
    assert np.array_equal(read_scene(tmp_path / "a.h5", axes="BHW").stored, CUBE)


def test_tools_hand_options_to_the_reader(tmp_path):
    savemat(tmp_path / "two.mat", {"a": CUBE.transpose(1, 2, 0), "b": CUBE.transpose(1, 2, 0)[::-1]})
    words = ["--read", "variable=b", "--read", "axes=HWB"]
    app(["export", str(tmp_path / "two.mat"), str(tmp_path / "b.npy"), *words], standalone_mode=False)
    np.testing.assert_array_equal(read_scene(tmp_path / "b.npy", axes="BHW").stored, CUBE[:, ::-1])
    with pytest.raises(HsisrError, match="--read variable: expected key=value"):
        app(["export", str(tmp_path / "two.mat"), str(tmp_path / "c.npy"), "--read", "variable"], standalone_mode=False)


def test_options_are_checked(tmp_path):
    np.save(tmp_path / "a.npy", CUBE)
    with pytest.raises(HsisrError, match=r"reader numpy has no option 'axis'; did you mean axes\? it knows variable"):
        read_scene(tmp_path / "a.npy", axis="BHW")
    with pytest.raises(HsisrError, match="unknown reader 'tif'"):
        read_scene(tmp_path / "a.npy", reader="tif")


def test_names_of_scenes_are_safe(tmp_path):
    np.save(tmp_path / "my scene (1).npy", CUBE)
    assert read_scene(tmp_path / "my scene (1).npy", axes="BHW").name == "my_scene_1"


@pytest.mark.parametrize(
    ("file", "options", "shape"),
    [
        ("worldview2/imgWV2.mat", {}, (8, 320, 320)),
        ("worldview2/imgWV2.mat", {"variable": "I_PAN"}, (1, 1280, 1280)),
        ("paris_eo1/paris_data_hs_pan.mat", {}, (128, 72, 58)),
        ("paris_eo1/paris_data_hs_pan.mat", {"variable": "PCim"}, (1, 216, 174)),
        ("paris_eo1/paris_data_hs_ms.mat", {"variable": "HSim"}, (128, 72, 72)),
        ("paris_eo1/paris_data_hs_ms.mat", {"variable": "MSim"}, (9, 72, 72)),
        ("samson/samson_1.mat", {}, (156, 95, 95)),
        ("jasper_ridge/jasperRidge2_R198.mat", {}, (198, 100, 100)),
        ("rgb/kodim15.png", {}, (3, 512, 768)),
        ("enmap_potsdam/enmap_potsdam_tile_96_96.tif", {}, (224, 32, 32)),
    ],
)
def test_real_files(extra_data, tmp_path, file, options, shape):
    scene = read_scene(extra_data / "data" / file, **options)
    assert scene.shape == shape
    assert np.isfinite(scene.cube).all()
    bands = None if scene.wavelengths_nm is not None or shape[0] in (1, 3) else [shape[0] // 2, shape[0] // 3, 1]
    datasets.show(scene, tmp_path / "x.png", bands)
    assert read_scene(tmp_path / "x.png").shape == (3, *shape[1:])


def test_real_spectral_matrix_is_reshaped_as_matlab_does(extra_data):
    from scipy.io import loadmat

    matrix = loadmat(extra_data / "data" / "samson" / "samson_1.mat")["V"]
    expected = matrix.reshape(156, 95, 95, order="F")
    assert np.array_equal(read_scene(extra_data / "data" / "samson" / "samson_1.mat").stored, expected)


def check_geotiff_round_trip(path, tmp_path):
    read_scene(path).save(tmp_path / "s.h5")
    export(Scene.open(tmp_path / "s.h5"), tmp_path / "out.tif")
    with rasterio.open(path) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert np.array_equal(before.read(), after.read())
        for key in ("crs", "transform", "nodatavals", "scales", "offsets", "dtypes", "descriptions", "shape"):
            assert getattr(before, key) == getattr(after, key), key
        assert before.tags() == after.tags()
        for band in range(1, 225):
            assert before.tags(band) == after.tags(band)


def test_real_enmap_tile_to_geotiff_and_back(extra_data, tmp_path):
    check_geotiff_round_trip(extra_data / "data" / "enmap_potsdam" / "enmap_potsdam_tile_96_96.tif", tmp_path)


@pytest.mark.slow
def test_every_real_enmap_tile_to_geotiff_and_back(extra_data, tmp_path):
    tiles = sorted((extra_data / "data" / "enmap_potsdam").glob("*.tif"))
    assert len(tiles) == 18
    for path in tiles:
        check_geotiff_round_trip(path, tmp_path)


def test_version_of_a_matlab_file_is_told_by_content(tmp_path):
    savemat(tmp_path / "a.mat", {"x": CUBE})
    assert describe(tmp_path / "a.mat")["format"] == "MATLAB version 5"
    write_v73(tmp_path / "b.mat", {"x": CUBE})
    assert describe(tmp_path / "b.mat")["format"].startswith("MATLAB version 7.3")
    assert matlab.matches(tmp_path / "b.mat", b"MATLAB 7.3 MAT-file")
