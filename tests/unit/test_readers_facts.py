"""Readers: what files say of themselves in ways that are easily overlooked, and what is said of what is left out."""

import h5py
import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from scipy.io import savemat

from hsisr import degrade
from hsisr.datasets import overview, read_scene
from hsisr.datasets.readers import describe, wavelengths
from hsisr.errors import HsisrError
from hsisr.missing import fill_samples, missing_pixels
from hsisr.scene import Scene

CUBE = np.random.default_rng(0).integers(1, 4096, (6, 9, 7)).astype(np.uint16)
CENTRES = np.array([450.0, 500.0, 550.5, 600.0, 650.0, 700.25])
TRANSFORM = rasterio.Affine(30.0, 0.0, 366015.0, 0.0, -30.0, 5809965.0)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_tiff(path, cube=CUBE, **profile):
    profile = {"driver": "GTiff", "count": len(cube), "height": cube.shape[1], "width": cube.shape[2], **profile}
    with rasterio.open(path, "w", dtype=cube.dtype.name, **profile) as image:
        image.write(cube)
    return path


def write_envi(path, cube=CUBE, lines=()):
    """path: of the header; the data lie beside it, under the whole name before `.hdr`, with .img."""
    data = path.with_name(path.name.removesuffix(".hdr") + ".img")
    data.write_bytes(np.ascontiguousarray(cube).tobytes())
    code = {"uint8": 1, "int16": 2, "float32": 4, "uint16": 12}[cube.dtype.name]
    bands, rows, columns = cube.shape
    head = ["ENVI", f"samples = {columns}", f"lines = {rows}", f"bands = {bands}", f"data type = {code}"]
    path.write_text("\n".join([*head, "interleave = bsq", "byte order = 0", *lines]) + "\n")
    return path


def write_hdf5(path, cube=CUBE, attributes=None, **beside):
    with h5py.File(path, "w") as file:
        file["science/cube"] = cube
        file["science/cube"].attrs.update(attributes or {})
        for name, (values, units) in beside.items():
            file[f"science/{name}"] = values
            file[f"science/{name}"].attrs.update({"units": units} if units else {})
    return path


class TestWavelengths:
    @pytest.mark.parametrize(
        ("numbers", "units"),
        [
            (CENTRES * 10, "Angstroms"), (CENTRES / 1e3, "um"), (1e7 / CENTRES, "Wavenumber"), (1e7 / CENTRES, "cm-1"),
            (2.99792458e8 / CENTRES, "GHz"), (CENTRES / 1e6, "mm"), (CENTRES / 1e3, "Unknown"), (CENTRES, ""),
        ],
    )  # fmt: skip
    def test_any_unit(self, tmp_path, numbers, units):
        listed = "{" + ", ".join(str(number) for number in numbers) + "}"
        header = write_envi(tmp_path / "a.hdr", lines=[f"wavelength = {listed}", f"wavelength units = {units}"])
        np.testing.assert_allclose(read_scene(header).wavelengths_nm, CENTRES)
        path = write_hdf5(tmp_path / "a.h5", Wavelengths=(numbers, units))
        np.testing.assert_allclose(read_scene(path, axes="BHW").wavelengths_nm, CENTRES)

    @pytest.mark.parametrize(
        ("numbers", "units", "said"),
        [
            (np.arange(1, 7), "Index", "no unit of length"), (np.arange(1, 7), "", "the bands' numbers"),
            (CENTRES, "furlongs", "no unit of length"), (CENTRES / 1e3, "nm", "none that an imaging sensor has"),
            (np.zeros(6), "nm", "all 0"),
        ],
    )  # fmt: skip
    def test_what_is_no_wavelength_is_left_out_with_a_line(self, tmp_path, capsys, numbers, units, said):
        listed = "{" + ", ".join(str(number) for number in numbers) + "}"
        header = write_envi(tmp_path / "a.hdr", lines=[f"wavelength = {listed}", f"wavelength units = {units}"])
        assert read_scene(header).wavelengths_nm is None
        assert said in capsys.readouterr().err

    def test_widths_go_with_their_centres(self):
        nm = wavelengths.spectral_facts("x", 2, [20000, 10000], "wavenumber", [40.0, 10.0])
        np.testing.assert_allclose(nm["wavelengths_nm"], [500, 1000])
        np.testing.assert_allclose(nm["fwhm_nm"], [1, 1])

    def test_bands_that_are_not_used(self, tmp_path):
        bbl = "bbl = {1, -1, 0, 1, 1.0, 1}"
        assert np.flatnonzero(read_scene(write_envi(tmp_path / "a.hdr", lines=[bbl])).bad_bands).tolist() == [1, 2]
        centres = "wavelength = {450, 500, 0, 600, 650, 0}"
        assert np.flatnonzero(read_scene(write_envi(tmp_path / "b.hdr", lines=[centres])).bad_bands).tolist() == [2, 5]

    def test_the_advice_for_bands_without_one_works(self, tmp_path):
        path = write_tiff(tmp_path / "a.tif")
        with rasterio.open(path, "r+") as image:
            image.update_tags(1, wavelength="450")
        with pytest.raises(HsisrError, match=r"1 of 6 bands only; set all of them with --read wavelengths_nm"):
            read_scene(path)
        assert read_scene(path, wavelengths_nm="450,500,550,600,650,700").wavelengths_nm[-1] == 700


class TestVectorsBesideTheCube:
    """Files of arrays without attributes: what a vector holds, its name and its length say."""

    @staticmethod
    def write(path, **arrays):
        if path.suffix == ".npz":
            np.savez(path, **arrays)
        elif path.stem == "new":
            with h5py.File(path, "w") as file:
                for name, array in arrays.items():
                    file.create_dataset(name, data=np.atleast_2d(array).T).attrs["MATLAB_class"] = np.bytes_("double")
        else:
            savemat(path, arrays)
        return path

    @pytest.mark.parametrize("name", ["old.mat", "new.mat", "a.npz"])
    def test_wavelengths_and_widths(self, tmp_path, name):
        cube, options = CUBE.transpose(1, 2, 0).astype(float), {"axes": "HWB"} if name == "a.npz" else {}
        path = self.write(tmp_path / name, cube=cube, Wavelength=CENTRES / 1e3, fwhm=np.full(6, 0.01), wl=CENTRES[:5])
        scene = read_scene(path, **options)
        np.testing.assert_allclose(scene.wavelengths_nm, CENTRES)
        np.testing.assert_allclose(scene.fwhm_nm, np.full(6, 10))
        told = read_scene(path, wavelengths_nm="401,402,403,404,405,406", **options)
        assert told.wavelengths_nm.tolist() == [401, 402, 403, 404, 405, 406]

    def test_they_tell_which_axis_holds_the_bands(self, tmp_path, capsys):
        path = self.write(tmp_path / "a.mat", cube=CUBE, wavelength=CENTRES)
        assert np.array_equal(read_scene(path).stored[...], CUBE)
        assert "holds bands, rows, columns, in this order, as its 6 wavelengths say" in capsys.readouterr().err

    def test_a_first_axis_that_is_the_shortest_gets_a_line(self, tmp_path, capsys):
        path = self.write(tmp_path / "a.mat", cube=CUBE)
        assert read_scene(path).shape == (7, 6, 9)
        assert "if it holds 6 bands, say so with --read axes=BHW" in capsys.readouterr().err
        assert read_scene(path, axes="BHW").shape == CUBE.shape
        capsys.readouterr()
        read_scene(self.write(tmp_path / "b.mat", cube=CUBE, wavelength=np.linspace(400, 700, CUBE.shape[-1])))
        assert capsys.readouterr().err == ""  # wavelengths of the last axis leave no doubt

    def test_the_overview_says_how_the_cube_is_taken(self, tmp_path):
        path = self.write(tmp_path / "a.mat", cube=CUBE.transpose(1, 2, 0), wavelength=CENTRES)
        assert "6 bands, 9 rows, 7 columns, 450 to 700.25 nm" in overview.info(path)

    def test_structs_alone(self, tmp_path):
        path = self.write(tmp_path / "a.mat", hsi={"Data": CUBE})
        with pytest.raises(HsisrError, match=r"structs, cells or objects alone \(hsi\).*cube = hsi\.FIELD"):
            read_scene(path)


class TestEnviPairs:
    def test_a_data_file_with_a_dotted_name_and_no_ending_has_its_own_header(self, tmp_path):
        write_envi(tmp_path / "scan.hdr")
        write_envi(tmp_path / "scan.v2.hdr", CUBE[:, ::-1])
        (tmp_path / "scan.v2.img").rename(tmp_path / "scan.v2")
        (tmp_path / "scan.hdr").write_text((tmp_path / "scan.hdr").read_text() + "bbl = {0, 1, 1, 1, 1, 1}\n")
        for name in ("scan.v2", "scan.v2.hdr"):
            scene = read_scene(tmp_path / name)
            assert np.array_equal(scene.stored[...], CUBE[:, ::-1]) and scene.bad_bands is None

    def test_the_exact_spelling_wins(self, tmp_path):
        write_envi(tmp_path / "a.hdr")
        write_envi(tmp_path / "a.img.hdr", CUBE)
        (tmp_path / "a.img.img").unlink()
        header = tmp_path / "a.img.hdr"
        header.write_text(header.read_text() + "data ignore value = 7\n")
        assert read_scene(tmp_path / "a.img").nodata == 7

    @pytest.mark.parametrize("ending", ["zip", "txt", "gz"])
    def test_a_file_of_another_kind_is_not_the_data(self, tmp_path, ending):
        data = write_envi(tmp_path / "a.hdr").with_suffix(".img")
        (tmp_path / f"a.{ending}").write_bytes(data.read_bytes())
        with pytest.raises(HsisrError, match="expected one of the formats"):
            read_scene(tmp_path / f"a.{ending}")

    def test_several_that_could_be_meant(self, tmp_path):
        write_envi(tmp_path / "a.hdr")
        (tmp_path / "a.raw").write_bytes((tmp_path / "a.img").read_bytes())
        with pytest.raises(HsisrError, match=r"several files could be its data: a\.img, a\.raw"):
            read_scene(tmp_path / "a.hdr")
        assert read_scene(tmp_path / "a.raw").shape == CUBE.shape


class TestBandImages:
    @pytest.mark.parametrize(("name", "said"), [("x_{}nm.png", ""), ("{}.tif", "400 to 1000, as wavelengths in nm")])
    def test_names_that_state_wavelengths(self, tmp_path, capsys, name, said):
        for number, plane in zip((400, 1000, 450.5), CUBE, strict=False):
            write_tiff(tmp_path / name.format(number), plane[None], driver="PNG" if name.endswith("png") else "GTiff")
        scene = read_scene(tmp_path)
        assert scene.wavelengths_nm.tolist() == [400, 450.5, 1000]
        assert np.array_equal(scene.stored[...], CUBE[[0, 2, 1]])
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize(
        "numbers", [("400", "401", "403"), ("7", "9", "11"), ("a450nm", "b450nm"), ("0450", "0460")]
    )
    def test_other_numbers_are_bands(self, tmp_path, numbers):
        for number in numbers:
            write_tiff(tmp_path / f"{number}.png", CUBE[:1], driver="PNG")
        with pytest.raises(HsisrError, match=r"is missing|a number stands twice"):
            read_scene(tmp_path)


def test_a_photograph_that_viewers_turn(tmp_path, capsys):
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(CUBE[0].astype(np.uint8)).save(tmp_path / "a.jpg", exif=tags)
    assert read_scene(tmp_path / "a.jpg").shape == (1, 9, 7)
    assert "EXIF orientation 6" in capsys.readouterr().err


class TestMasks:
    def test_an_alpha_band_is_a_mask(self, tmp_path):
        alpha = np.full((1, 9, 7), 255, np.uint8)
        alpha[:, :2, :3] = 0
        pixels = np.concatenate([CUBE[:3].astype(np.uint8), alpha])
        write_tiff(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
        write_tiff(tmp_path / "a.png", pixels, driver="PNG")
        for name in ("a.tif", "a.png"):
            scene = read_scene(tmp_path / name)
            assert np.array_equal(scene.stored[...], pixels[:3]) and np.array_equal(scene.mask, alpha[0] > 0)

    def test_alpha_of_grey_images_and_of_envi_files(self, tmp_path):
        """In a grey PNG with transparency, as the last band of many in a GeoTIFF, and by its name in ENVI."""
        alpha = np.full((1, 9, 7), 255, np.uint8)
        alpha[:, :2, :3] = 0
        bands = CUBE[:5].astype(np.uint8)
        write_tiff(tmp_path / "grey.png", np.concatenate([bands[:1], alpha]), driver="PNG")
        assert np.array_equal(read_scene(tmp_path / "grey.png").stored[...], bands[:1])
        for name, driver in (("many.tif", "GTiff"), ("many.img", "ENVI")):
            write_tiff(tmp_path / name, np.concatenate([bands, alpha]), driver=driver)
            with rasterio.open(tmp_path / name, "r+") as image:
                if driver == "GTiff":
                    image.colorinterp = [*[ColorInterp.undefined] * 5, ColorInterp.alpha]
                else:
                    image.set_band_description(6, "Alpha")
        for name in ("grey.png", "many.tif", "many.img"):
            assert np.array_equal(read_scene(tmp_path / name).mask, alpha[0] > 0), name
        assert np.array_equal(read_scene(tmp_path / "many.tif").stored[...], bands)
        assert np.array_equal(read_scene(tmp_path / "many.img").stored[...], bands)

    def test_near_infrared_that_is_marked_as_alpha_is_a_band(self, tmp_path, capsys):
        pixels = CUBE[:4].astype(np.uint8)
        write_tiff(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
        assert np.array_equal(read_scene(tmp_path / "a.tif").stored[...], pixels)
        assert "marked as alpha but holds an image" in capsys.readouterr().err

    @pytest.mark.parametrize("opaque", [False, True])
    def test_a_mask_counts_beside_a_band_that_is_marked_as_alpha(self, tmp_path, opaque):
        """GDAL marks the fourth band of any 8-bit image. opaque: whether it is a true alpha band."""
        pixels, valid = CUBE[:4].astype(np.uint8), np.ones((9, 7), bool)
        if opaque:
            pixels[3] = 255
            pixels[3, :2, :3] = 0
        valid[5:7, 4] = False
        write_tiff(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / "a.tif", "r+") as image:
            image.write_mask(valid)
        scene = read_scene(tmp_path / "a.tif")
        assert np.array_equal(scene.stored[...], pixels[:3] if opaque else pixels)
        assert np.array_equal(scene.mask, valid & (pixels[3] > 0) if opaque else valid)

    def test_single_samples_are_missing_and_not_their_pixels(self, tmp_path):
        cube = CUBE.astype(np.int16)
        cube[2, 4] = -1
        cube[:4, 0, 0] = -1
        write_tiff(tmp_path / "a.tif", cube, nodata=-1)
        write_envi(tmp_path / "b.hdr", cube, ["data ignore value = -1"])
        write_hdf5(tmp_path / "c.h5", cube, {"missing_value": np.int16(-1)})
        np.save(tmp_path / "d.npy", cube)
        for name, options in {
            "a.tif": {},
            "b.hdr": {},
            "c.h5": {"axes": "BHW"},
            "d.npy": {"axes": "BHW", "nodata": -1},
        }.items():
            scene = read_scene(tmp_path / name, **options)
            assert np.argwhere(~scene.mask).tolist() == [[0, 0]], name
            filled = scene.filled_cube
            assert (scene.cube[2, 4] == 0).all() and (filled[2, 4] > 0).all()
            keep = np.ones(cube.shape, bool)
            keep[2, 4] = keep[:, 0, 0] = False
            assert np.array_equal(filled[keep], cube[keep])

    def test_samples_are_filled_from_their_band_and_else_from_the_next_bands(self):
        values = np.arange(4.0)[:, None, None] * np.ones((4, 3, 3), np.float32)
        missing = np.zeros(values.shape, bool)
        missing[1] = True
        missing[2, 0, 0] = True
        missing[0, 2, 2] = missing[3, 2, 2] = True
        values[missing] = 99
        assert np.argwhere(missing_pixels(missing)).tolist() == [[2, 2]]
        fill_samples(values, missing)
        assert values[1, 1, 1] == 1 and values[2, 0, 0] == 2
        assert values[0, 2, 2] == 99  # its pixel is missing as a whole

    def test_degrading_a_scene_with_such_samples_takes_no_zeros(self):
        stored = np.full((4, 8, 8), 500, np.int16)
        stored[1, 3, 3] = -1
        pair = degrade.pair(Scene(stored, scale=1e-3, nodata=-1), "wald", 2, 0, response="none", noise=0)
        assert pair.hr[1, 3, 3] == pytest.approx(0.5)

    @pytest.mark.parametrize("nodata", [-9999, np.nan, 70000])
    def test_a_nodata_value_that_the_type_does_not_hold_marks_nothing(self, tmp_path, capsys, nodata):
        np.save(tmp_path / "a.npy", CUBE)
        assert read_scene(tmp_path / "a.npy", axes="BHW", nodata=nodata).nodata is None
        assert "it marks nothing" in capsys.readouterr().err

    def test_nan_beside_a_declared_value(self, tmp_path):
        cube = CUBE.astype(np.float32)
        cube[:, 0, 0], cube[:, 1, 1] = np.nan, -9999
        write_tiff(tmp_path / "a.tif", cube, nodata=-9999)
        write_hdf5(tmp_path / "b.h5", cube, {"_FillValue": np.float32(-9999)})
        np.save(tmp_path / "c.npy", cube)
        for name, options in {"a.tif": {}, "b.h5": {"axes": "BHW"}, "c.npy": {"axes": "BHW", "nodata": -9999}}.items():
            scene = read_scene(tmp_path / name, **options)
            assert np.argwhere(~scene.mask).tolist() == [[0, 0], [1, 1]] and np.isfinite(scene.cube).all(), name


class TestHdf5:
    @pytest.mark.parametrize(
        ("attributes", "scale", "offset"),
        [
            ({"scale_factor": 1e-4, "add_offset": -0.1}, 1e-4, -0.1), ({"Scale_Factor": 10000.0}, 1e-4, 0),
            ({"Scale Factor": np.array([10000])}, 1e-4, 0), ({"scale_factor": 2.0}, 2.0, 0),
            ({"Reflectance_Scale_Factor": 1e-4}, 1e-4, 0), ({}, 1, 0),
        ],
    )  # fmt: skip
    def test_scales(self, tmp_path, attributes, scale, offset):
        scene = read_scene(write_hdf5(tmp_path / "a.h5", attributes=attributes), axes="BHW")
        assert (scene.scale, scene.offset) == pytest.approx((scale, offset))

    def test_floats_that_netcdf_never_wrote_are_missing(self, tmp_path):
        cube = CUBE.astype(np.float32)
        cube[:, 0, 0] = 9.969209968386869e36
        scene = read_scene(write_hdf5(tmp_path / "a.nc", cube), axes="BHW")
        assert np.argwhere(~scene.mask).tolist() == [[0, 0]] and scene.cube[:, 1:].max() < 1e6

    @pytest.mark.parametrize(("fill", "stored"), [(-1, 65535), (65535, 65535), (7, 7)])
    def test_numbers_that_netcdf_means_as_unsigned(self, tmp_path, fill, stored):
        cube = (CUBE.astype(np.uint16) + np.uint16(40_000)).astype(np.uint16)
        cube[:, 0, 0] = stored
        attributes = {"_Unsigned": "true", "_FillValue": np.int32(fill), "scale_factor": 0.5}
        scene = read_scene(write_hdf5(tmp_path / "a.nc", cube.view(np.int16), attributes), axes="BHW")
        assert scene.stored.dtype == np.uint16 and np.argwhere(~scene.mask).tolist() == [[0, 0]]
        assert np.array_equal(scene.stored[:, 1:], cube[:, 1:])

    @pytest.mark.parametrize("key", ["_FillValue", "missing_value", "Data_Ignore_Value", "nodata", "No Data"])
    def test_fill_values(self, tmp_path, key):
        cube = CUBE.astype(np.int16)
        cube[:, 0, 0] = -999
        scene = read_scene(write_hdf5(tmp_path / "a.h5", cube, {key: np.array([-999.0])}), axes="BHW")
        assert scene.nodata == -999 and (~scene.mask).sum() == 1

    def test_two_fill_values_and_limits(self, tmp_path):
        cube = CUBE.astype(np.int16)
        cube[:, 0, 0], cube[:, 1, 1], cube[:, 2, 2] = -999, -5, 9000
        attributes = {"_FillValue": np.int16(-999), "missing_value": np.int16(-5), "valid_max": np.int16(4096)}
        scene = read_scene(write_hdf5(tmp_path / "a.h5", cube, attributes), axes="BHW")
        assert np.argwhere(~scene.mask).tolist() == [[0, 0], [1, 1], [2, 2]]
        scene = read_scene(write_hdf5(tmp_path / "b.h5", cube, {"valid_range": np.array([0, 4096])}), axes="BHW")
        assert np.argwhere(~scene.mask).tolist() == [[0, 0], [1, 1], [2, 2]]

    def test_named_dimensions_good_bands_and_widths(self, tmp_path):
        path = write_hdf5(
            tmp_path / "a.h5", CUBE.transpose(1, 2, 0), {"Dimension_Labels": "Line, Sample, Wavelength"},
            wavelength=(CENTRES, "nm"), fwhm=(np.full(6, 8.5), None), good_wavelengths=([1, 1, 0, 1, 1, 1], None),
        )  # fmt: skip
        scene = read_scene(path)
        assert np.array_equal(scene.stored[...], CUBE) and np.flatnonzero(scene.bad_bands).tolist() == [2]
        assert np.array_equal(scene.wavelengths_nm, CENTRES) and (scene.fwhm_nm == 8.5).all()
        assert describe(path)["axes"] == "HWB"

    def test_dimension_scales(self, tmp_path):
        with h5py.File(tmp_path / "a.nc", "w") as file:
            for name, size in (("bands", 6), ("lat", 9), ("lon", 7)):
                file[name] = np.arange(size)
                file[name].make_scale(name)
            file["rho"] = CUBE
            for axis, name in enumerate(("bands", "lat", "lon")):
                file["rho"].dims[axis].attach_scale(file[name])
        assert np.array_equal(read_scene(tmp_path / "a.nc").stored[...], CUBE)

    @pytest.mark.parametrize(("mapping", "stated"), [("spatial_ref", None), ("utm", "utm"), ("utm", None)])
    def test_a_grid_mapping_may_be_a_text_and_unstated(self, tmp_path, mapping, stated):
        with h5py.File(tmp_path / "a.nc", "w") as file:
            for name, numbers in (("bands", np.arange(6)), ("y", 90 - 30.0 * np.arange(9)), ("x", 30.0 * np.arange(7))):
                file[name] = numbers
                file[name].make_scale(name)
            file["rho"], file[mapping] = CUBE, np.bytes_("")
            file[mapping].attrs["crs_wkt"] = rasterio.CRS.from_epsg(32633).to_wkt()
            for axis, name in enumerate(("bands", "y", "x")):
                file["rho"].dims[axis].attach_scale(file[name])
            file["rho"].attrs.update({} if stated is None else {"grid_mapping": stated})
        scene = read_scene(tmp_path / "a.nc")
        if (mapping, stated) == ("utm", None):
            assert scene.crs is None and scene.transform is None
        else:
            assert "zone 33N" in scene.crs and scene.transform == (30, 0, -15, 0, -30, 105)

    def test_a_vendors_word_that_is_no_number_is_left_out_with_a_line(self, tmp_path, capsys):
        scene = read_scene(write_hdf5(tmp_path / "a.h5", attributes={"Scale": "linear", "gain": CENTRES}), axes="BHW")
        assert (scene.scale, scene.offset) == (1, 0)
        said = capsys.readouterr().err
        assert "Scale must be a number" in said and "gain holds 6 numbers" in said

    def test_an_attribute_that_is_no_number(self, tmp_path):
        with pytest.raises(HsisrError, match="scale_factor must be a number"):
            read_scene(write_hdf5(tmp_path / "a.h5", attributes={"scale_factor": "ten"}), axes="BHW")


class TestPlace:
    def points(self, off_px=0.0):
        corners = [(0, 0), (0, 7), (9, 0), (9, 7), (4, 3)]
        return [GroundControlPoint(r, c, *(TRANSFORM @ (c + (off_px if r == 4 else 0), r))) for r, c in corners]

    def test_control_points_that_an_affine_follows(self, tmp_path):
        scene = read_scene(write_tiff(tmp_path / "a.tif", gcps=self.points(), crs="EPSG:32633"))
        np.testing.assert_allclose(scene.transform, tuple(TRANSFORM)[:6], atol=1e-6)
        assert scene.transform[1] == scene.transform[3] == 0  # without the rounding of a fit, so that x and y exist
        assert rasterio.CRS.from_wkt(scene.crs).to_epsg() == 32633

    def test_control_points_of_a_turned_grid(self, tmp_path):
        turned = rasterio.Affine(20, 0.01, 5e5, 0.01, -20, 5.8e6)
        points = [GroundControlPoint(r, c, *(turned @ (c, r))) for r, c in [(0, 0), (0, 7), (9, 0), (9, 7)]]
        scene = read_scene(write_tiff(tmp_path / "a.tif", gcps=points, crs="EPSG:32633"))
        np.testing.assert_allclose(scene.transform, tuple(turned)[:6], rtol=1e-6)

    def test_those_that_it_does_not_follow_are_named(self, tmp_path):
        scene = read_scene(write_tiff(tmp_path / "a.tif", gcps=self.points(2.0), crs="EPSG:32633"))
        assert scene.transform is None
        assert "5 ground control points, which no affine follows (up to 1.6" in scene.provenance["georeference"]

    @pytest.mark.parametrize("turn", [0, -31, 140])
    @pytest.mark.parametrize("tie", [(1.0, 1.0), (3.5, 2.0), (-99.0, -49.0)])
    def test_envi_lies_about_its_tie_point(self, tmp_path, tie, turn):
        """The tie point may be any pixel, also of a larger image; GDAL turns the grid about another point."""
        info = f"map info = {{UTM, {tie[0]}, {tie[1]}, 500000, 5800000, 5, 5, 11, North, WGS-84, rotation={turn}}}"
        scene = read_scene(write_envi(tmp_path / "a.hdr", lines=[info]))
        place = rasterio.Affine(*scene.transform)
        np.testing.assert_allclose(place @ (tie[0] - 1, tie[1] - 1), (500_000, 5_800_000), rtol=1e-12)
        assert turn or str(scene.transform).count("-0.0") == 0
        linear = rasterio.Affine.rotation(turn) @ rasterio.Affine.scale(5, -5)
        np.testing.assert_allclose((place.a, place.b, place.d, place.e), (linear.a, linear.b, linear.d, linear.e))

    def test_bands_in_a_file_each_keep_their_place(self, tmp_path):
        folder = tmp_path / "bands"
        folder.mkdir()
        for band, plane in enumerate(CUBE, 2):
            path = folder / f"T33_B{band:02}_10m.tif"
            write_tiff(path, plane[None], transform=TRANSFORM, crs="EPSG:32633", nodata=4095)
        scene = read_scene(folder)
        assert np.array_equal(scene.stored[...], CUBE)
        assert (scene.nodata, scene.transform) == (4095, tuple(TRANSFORM)[:6])

    @pytest.mark.parametrize(
        ("profile", "fault"),
        [
            ({"crs": "EPSG:32632", "transform": TRANSFORM}, "lies in EPSG:32632, but"),
            ({"crs": "EPSG:32633", "transform": TRANSFORM @ rasterio.Affine.translation(1, 0)}, "lies at"),
            ({"crs": "EPSG:32633"}, "lies at None"),
        ],
    )
    def test_bands_of_another_place(self, tmp_path, profile, fault):
        write_tiff(tmp_path / "B1.tif", CUBE[:1], crs="EPSG:32633", transform=TRANSFORM)
        write_tiff(tmp_path / "B2.tif", CUBE[:1], **profile)
        with pytest.raises(HsisrError, match=fault):
            read_scene(tmp_path)

    def test_bands_of_another_size(self, tmp_path):
        write_tiff(tmp_path / "B1.tif", CUBE[:1])
        write_tiff(tmp_path / "B2.tif", CUBE[:1, :8])
        with pytest.raises(HsisrError, match="has 8 x 7 pixels, but .*B1.tif 9 x 7 pixels"):
            read_scene(tmp_path)


class TestPages:
    def write(self, path, pages):
        from PIL import Image

        images = [Image.fromarray(page) for page in pages]
        images[0].save(path, save_all=True, append_images=images[1:])
        return path

    def test_pages_are_bands_in_their_order(self, tmp_path):
        cube = np.arange(12, dtype=np.uint16)[:, None, None] * np.ones((12, 9, 7), np.uint16)
        scene = read_scene(self.write(tmp_path / "a.tif", cube))
        assert np.array_equal(scene.stored[...], cube)

    def test_pages_that_differ(self, tmp_path):
        with pytest.raises(HsisrError, match="holds 2 pages that differ"):
            read_scene(self.write(tmp_path / "a.tif", [CUBE[0], CUBE[0, :4]]))


def test_a_library_of_spectra(tmp_path):
    header = write_envi(tmp_path / "a.hdr", CUBE[:1], ["file type = ENVI Spectral Library"])
    with pytest.raises(HsisrError, match="a library of spectra, not an image"):
        read_scene(header)
