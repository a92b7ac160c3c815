"""Products of agencies, written small in their published layout: values, masks, places; and what is refused."""

import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from hsisr.cli.app import app
from hsisr.datasets import read_scene
from hsisr.datasets.readers import READERS, describe, is_product, packages
from hsisr.datasets.readers.packages import parse_xml
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.evaluation.quality import spectrum
from hsisr.inference.align import resample
from hsisr.inference.images import Source, open_lazily

from . import product_files as made
from .product_files import COLUMNS, LEFT, PIXEL_M, ROWS, TOP

GRID = (PIXEL_M, 0.0, LEFT, 0.0, -PIXEL_M, TOP)


def invalid(scene) -> list[tuple[int, int]]:
    """Rows and columns of the pixels that are not valid."""
    return [] if scene.mask is None else [tuple(map(int, place)) for place in np.argwhere(~scene.mask)]


def refused(path, pattern, **options):
    with pytest.raises(HsisrError, match=pattern) as caught:
        read_scene(path, **options)
    assert "\n" not in str(caught.value)


def test_every_module_of_a_product_is_registered():
    from hsisr.datasets import readers

    names = {
        name for name in READERS if name not in ("scene", "numpy", "matlab", "band_images", "hdf5", "rgb", "raster")
    }
    assert names == set(readers.PRODUCTS)


class TestPrisma:
    FILE = "PRS_L2D_STD_20230824100356_20230824100400_0001.he5"

    def test_detectors_are_joined_where_they_overlap(self, tmp_path):
        stored = made.prisma(tmp_path / self.FILE)
        scene = read_scene(tmp_path / self.FILE)
        assert scene.wavelengths_nm.tolist() == [450, 700, 940, 960, 1000, 1600, 2300]
        expected = np.concatenate([stored["VNIR"][[3, 2]], stored["SWIR"][::-1]])
        assert np.array_equal(scene.stored, expected) and scene.scale == pytest.approx(1 / 65535)
        assert scene.fwhm_nm.tolist() == [13, 12, 14, 13, 12, 11, 10]
        assert scene.transform == pytest.approx(GRID) and invalid(scene) == [(0, 0)]
        assert scene.provenance["acquired"] == "2023-08-24T10:03:56.000"
        assert "the bands of SWIR are kept and 2 of VNIR left out" in scene.provenance["detectors"]

    def test_the_user_chooses_the_detector(self, tmp_path):
        made.prisma(tmp_path / self.FILE)
        scene = read_scene(tmp_path / self.FILE, overlap="vnir")
        assert scene.wavelengths_nm.tolist() == [450, 700, 950, 970, 1000, 1600, 2300]
        refused(tmp_path / self.FILE, "overlap=both: expected vnir or swir", overlap="both")

    def test_pan_is_the_guide_and_an_image_of_its_own(self, tmp_path):
        stored = made.prisma(tmp_path / self.FILE)
        scene, pan = read_scene(tmp_path / self.FILE), read_scene(tmp_path / self.FILE, cube="pan")
        assert np.array_equal(scene.guide.stored[0], stored["PAN"]) and np.array_equal(pan.stored, scene.guide.stored)
        assert pan.transform == pytest.approx((5, 0, LEFT, 0, -5, TOP))  # the same ground
        assert spectrum.reach_nm(Source(scene.guide, "pan")) == (400, 700)  # beyond, detail is a claim of the model
        made.prisma(tmp_path / "no_pan.he5", pan=False)
        assert read_scene(tmp_path / "no_pan.he5").guide is None
        refused(tmp_path / "no_pan.he5", "holds no panchromatic image", cube="pan")

    def test_outer_corners_are_told_from_middles(self, tmp_path):
        made.prisma(tmp_path / self.FILE, corners="outer")
        scene = read_scene(tmp_path / self.FILE)
        assert scene.transform == pytest.approx(GRID)
        assert scene.guide.transform == pytest.approx((5, 0, LEFT, 0, -5, TOP))

    @pytest.mark.parametrize("write", [str, lambda n: np.bytes_(str(n)), lambda n: np.array([n], np.float32)])
    def test_numbers_may_be_texts_or_lists(self, tmp_path, write):
        made.prisma(tmp_path / self.FILE)
        with h5py.File(tmp_path / self.FILE, "a") as file:
            for name in ("Epsg_Code", "Product_ULcorner_easting", "L2ScaleVnirMax"):
                file.attrs[name] = write(file.attrs[name])
        scene = read_scene(tmp_path / self.FILE)
        assert scene.transform == pytest.approx(GRID) and "zone 33N" in scene.crs and scene.scale == 1 / 65535

    @pytest.mark.parametrize("name", ["Epsg_Code", "Product_ULcorner_easting", "Product_LRcorner_northing"])
    def test_a_grid_that_lacks_a_part_is_left_out(self, tmp_path, name):
        stored = made.prisma(tmp_path / self.FILE)
        with h5py.File(tmp_path / self.FILE, "a") as file:
            del file.attrs[name]
        scene = read_scene(tmp_path / self.FILE)
        assert scene.transform is None and scene.provenance["georeference"] == f"a grid, but without {name}"
        assert np.array_equal(scene.guide.stored[0], stored["PAN"]) and scene.guide.transform is None

    def test_flagged_samples_hold_no_data(self, tmp_path):
        pixel = [("VNIR", 1, band, 2, 3) for band in range(5)] + [("SWIR", 4, band, 2, 3) for band in range(5)]
        made.prisma(tmp_path / self.FILE, errors=(*pixel, ("SWIR", 2, 0, 4, 5)))
        scene = read_scene(tmp_path / self.FILE)
        assert invalid(scene) == [(0, 0), (2, 3)] and scene.stored[6, 4, 5] == 0 and scene.stored[5, 4, 5] != 0
        assert invalid(read_scene(tmp_path / self.FILE, quality="none")) == [(0, 0)]
        window = Source(open_lazily(tmp_path / self.FILE), "x").window((2, 3), (2, 5))
        assert window[1].tolist() == [[True, False, True]]

    def test_detectors_of_different_scales_become_values(self, tmp_path):
        stored = made.prisma(tmp_path / self.FILE, swir_most=0.5)
        scene = read_scene(tmp_path / self.FILE)
        assert scene.stored.dtype == np.float32 and np.isnan(scene.nodata)
        np.testing.assert_allclose(scene.cube[-1, 1], stored["SWIR"][0, 1] * 0.5 / 65535, rtol=1e-6)

    def test_level_2c_has_a_place_for_each_pixel(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        made.prisma(tmp_path / "PRS_L2C.he5", level="L2C")
        scene = read_scene("PRS_L2C.he5")
        assert scene.transform is None and "no affine follows" in scene.provenance["georeference"]
        with pytest.raises(HsisrError, match="--read georeference=none"):
            app(["predict", "PRS_L2C.he5", "--model", "gsa", "-o", "out.tif"], standalone_mode=False)
        words = ["predict", "PRS_L2C.he5", "--model", "gsa", "-o", "out.tif", "--read", "georeference=none"]
        app(words, standalone_mode=False)
        assert read_scene("out.tif").shape == (7, 6 * ROWS, 6 * COLUMNS)

    def test_level_2c_without_places_of_its_panchromatic_image(self, tmp_path):
        stored = made.prisma(tmp_path / self.FILE, "L2C")
        with h5py.File(tmp_path / self.FILE, "a") as file:
            del file["HDFEOS/SWATHS/PRS_L2C_PCO/Geolocation Fields"]
        scene = read_scene(tmp_path / self.FILE)
        assert np.array_equal(scene.guide.stored[0], stored["PAN"]) and scene.guide.transform is None
        assert "which no affine follows" in scene.provenance["georeference"]

    def test_its_folder_says_which_file_to_name(self, tmp_path):
        made.prisma(tmp_path / self.FILE)
        refused(tmp_path, f"it holds {self.FILE}, name the file that is meant")

    def test_other_levels_are_refused(self, tmp_path):
        made.prisma(tmp_path / "PRS_L1.he5", level="L1")
        refused(tmp_path / "PRS_L1.he5", "a PRISMA product of level 1; expected level 2B, 2C or 2D")

    def test_level_2b_is_radiance(self, tmp_path):
        stored = made.prisma(tmp_path / self.FILE, "L2B", swir_most=1.0)
        scene = read_scene(tmp_path / self.FILE)
        assert scene.provenance["product"] == "PRISMA L2B" and scene.guide.shape == (1, 6 * ROWS, 6 * COLUMNS)
        np.testing.assert_allclose(scene.cube[-1, 1], stored["SWIR"][0, 1] / 65535, rtol=1e-6)
        assert "no affine follows" in scene.provenance["georeference"]

    @pytest.mark.parametrize(
        ("name", "value", "pattern"),
        [("Epsg_Code", 1, "crs=EPSG:1: not a CRS"), ("L2ScaleSwirMax", np.nan, "must be finite"),
         ("List_Fwhm_Swir", np.full(5, np.inf), "its widths of bands are not all numbers")],
    )  # fmt: skip
    def test_numbers_that_are_none_are_refused(self, tmp_path, name, value, pattern):
        made.prisma(tmp_path / self.FILE)
        with h5py.File(tmp_path / self.FILE, "a") as file:
            file.attrs[name] = value
        refused(tmp_path / self.FILE, pattern)

    def test_a_list_of_another_length_is_refused(self, tmp_path):
        made.prisma(tmp_path / self.FILE)
        with h5py.File(tmp_path / self.FILE, "a") as file:
            file.attrs["List_Cw_Swir"] = np.arange(4.0)
        refused(tmp_path / self.FILE, "List_Cw_Swir holds 4 numbers for the 5 bands of SWIR_Cube")


class TestEnmap:
    def test_folder_archive_image_and_description_are_the_product(self, tmp_path):
        folder, stored = made.enmap(tmp_path)
        archive = made.zipped(folder, tmp_path / "any}.zip")
        for path in (folder, archive, *folder.glob("*METADATA*"), *folder.glob("*SPECTRAL*")):
            scene = read_scene(path)
            assert np.array_equal(scene.stored, stored[[0, 2, 1, 3]])  # in order of wavelength
            assert scene.wavelengths_nm.tolist() == [450, 902, 905, 2400] and scene.scale == 1e-4
            assert scene.transform == GRID and invalid(scene) == [(ROWS - 1, COLUMNS - 1)]
            assert scene.bad_bands.tolist() == [False, False, False, True]  # expected: 1, 2 and 3
            assert scene.provenance["acquired"] == "2022-07-24T10:45:26.123Z"

    def test_quality_layers_are_the_mask(self, tmp_path):
        folder, _ = made.enmap(tmp_path)
        for layer, place, number in (("QUALITY_CLOUD", (0, 1), 1), ("QUALITY_CLOUDSHADOW", (0, 2), 1),
                                     ("QUALITY_CIRRUS", (0, 3), 3), ("QUALITY_CLASSES", (0, 4), 3)):  # fmt: skip
            plane = np.zeros((1, ROWS, COLUMNS), np.uint8)
            plane[0, *place] = number
            plane[0, 3, 3] = 1 if layer == "QUALITY_CIRRUS" else 0  # thin
            made.tiff(folder / f"{folder.name}-QL_{layer}.TIF", plane)
        expected = [(0, 1), (0, 2), (0, 3), (0, 4), (ROWS - 1, COLUMNS - 1)]
        assert invalid(read_scene(folder)) == expected
        assert invalid(read_scene(folder, quality="none")) == expected[-1:]
        assert invalid(read_scene(made.zipped(folder, tmp_path / "a.zip"))) == expected
        refused(folder, "quality=yes: expected mask, or none", quality="yes")

    def test_pixel_masks_take_single_samples(self, tmp_path):
        folder, stored = made.enmap(tmp_path)
        flags = np.zeros((4, ROWS, COLUMNS), np.uint8)
        flags[0, 1, 1], flags[:, 2, 2] = 1, 1
        made.tiff(folder / f"{folder.name}-QL_PIXELMASK.TIF", flags)
        scene = read_scene(folder)
        assert invalid(scene) == [(2, 2), (ROWS - 1, COLUMNS - 1)]
        assert scene.stored[0, 1, 1] == -32768 and scene.stored[1, 1, 1] == stored[2, 1, 1]

    @pytest.mark.parametrize(("ending", "driver"), [("JP2", "JP2OpenJPEG"), ("BIL", "ENVI"), ("GEOTIFF", "GTiff")])
    def test_images_and_layers_of_any_format_that_dlr_offers(self, tmp_path, ending, driver):
        folder, stored = made.enmap(tmp_path)
        next(folder.glob("*SPECTRAL*")).unlink()
        cloud = np.zeros((1, ROWS, COLUMNS), np.uint8)
        cloud[0, 1, 1] = 1
        for name, planes in (("SPECTRAL_IMAGE", stored), ("QL_QUALITY_CLOUD", cloud)):
            made.tiff(folder / f"{folder.name}-{name}.{ending}", planes, driver=driver)
        for path in (folder, *folder.glob("*SPECTRAL*." + ending)):
            scene = read_scene(path)
            assert np.array_equal(scene.stored, stored[[0, 2, 1, 3]]) and scene.transform == GRID
            assert invalid(scene) == [(1, 1), (ROWS - 1, COLUMNS - 1)]

    def test_a_mask_for_each_detector_counts_for_all_bands(self, tmp_path):
        folder, _ = made.enmap(tmp_path)
        for detector, place in (("VNIR", (1, 1)), ("SWIR", (2, 2))):
            plane = np.zeros((1, ROWS, COLUMNS), np.uint8)
            plane[0, *place] = 1
            made.tiff(folder / f"{folder.name}-QL_PIXELMASK_{detector}.TIF", plane)
        assert invalid(read_scene(folder)) == [(1, 1), (2, 2), (ROWS - 1, COLUMNS - 1)]

    def test_gains_that_differ_make_values(self, tmp_path):
        folder, stored = made.enmap(tmp_path, gains=(1e-4, 2e-4, 1e-4, 1e-4))
        scene = read_scene(folder)
        np.testing.assert_allclose(scene.cube[2, 0], stored[1, 0] * 2e-4, rtol=1e-6)

    def test_other_variants_are_refused_in_a_line(self, tmp_path):
        refused(made.enmap(tmp_path / "a", level="L1C")[0], "an EnMAP product of level 1C; expected level 2A")
        folder, _ = made.enmap(tmp_path / "f", level="L1B")
        image = next(folder.glob("*SPECTRAL*"))  # its grid of latitudes and longitudes is only rough
        image = image.rename(image.with_name(image.name.replace("_IMAGE", "_IMAGE_VNIR")))
        refused(image, "an EnMAP product of level 1B; expected level 2A")
        refused(made.enmap(tmp_path / "b", described=3)[0], "METADATA.XML: describes 3 bands, the image has 4")
        folder, _ = made.enmap(tmp_path / "c")
        next(folder.glob("*SPECTRAL*")).unlink()
        refused(folder, "without its SPECTRAL_IMAGE.TIF")
        folder, _ = made.enmap(tmp_path / "d")
        made.tiff(folder / f"{folder.name}-QL_QUALITY_CLOUD.TIF", np.zeros((1, 4, 4), np.uint8))
        refused(folder, "does not fit the image of 6 x 8 pixels; leave the quality layers out")
        folder, _ = made.enmap(tmp_path / "e")
        made.tiff(folder / f"{folder.name}-QL_QUALITY_CLOUD.TIF", np.ones((1, ROWS, COLUMNS), np.uint8))
        refused(folder, "its quality layers leave no pixel; leave them out with --read quality=none")


def test_desis(tmp_path):
    folder, stored = made.desis(tmp_path / "product")
    for path in (folder, made.zipped(folder, tmp_path / "a.zip"), *folder.glob("*SPECTRAL*")):
        scene = read_scene(path)
        assert np.array_equal(scene.stored, stored) and scene.scale == 1e-4 and scene.nodata == -32768
        assert scene.wavelengths_nm.tolist() == [500, 600, 700] and scene.fwhm_nm.tolist() == [3.5] * 3
        assert invalid(scene) == [(0, 1), (0, 2), (0, 3)] and scene.transform == GRID
        assert scene.provenance["acquired"] == "2019-12-03T02:11:28Z"


class TestEmit:
    def test_geometry_of_the_sensor(self, tmp_path, capsys):
        path, values = made.emit(tmp_path)
        scene = read_scene(path)
        assert np.array_equal(scene.stored, values) and scene.bad_bands.tolist() == [False, True, False]
        assert invalid(scene) == [(2, 3), (4, 5), (4, 6)] and scene.transform is None  # water is no reason
        assert "--read ortho=true" in capsys.readouterr().err
        assert invalid(read_scene(path, quality="none")) == [(2, 3)]

    def test_its_lookup_table_lays_it_on_a_grid(self, tmp_path):
        path, values = made.emit(tmp_path)
        scene = read_scene(path, ortho="true")
        expected = values[:, :, ::-1].copy()
        expected[:, 0] = -9999
        assert np.array_equal(scene.stored, expected)
        assert scene.transform == (0.0005, 0.0, 13.5, 0.0, -0.0005, 52.3) and "4326" in scene.crs
        mirrored = [(row, COLUMNS - 1 - column) for row, column in [(2, 3), (4, 6), (4, 5)]]
        assert invalid(scene) == [(0, column) for column in range(COLUMNS)] + mirrored
        lazy = open_lazily(path, ortho="true")
        assert np.array_equal(lazy.window(slice(1, 3), slice(2, 5)).stored, expected[:, 1:3, 2:5])

    def test_negative_numbers_of_a_lookup_table_are_filled_pixels(self, tmp_path):
        path, _ = made.emit(tmp_path)
        whole = read_scene(path, ortho=True)
        with h5py.File(path, "a") as file:
            for name in ("glt_x", "glt_y"):
                file[f"location/{name}"][1, 2:5] *= -1
        assert np.array_equal(read_scene(path, ortho=True).stored, whole.stored)

    @pytest.mark.parametrize("image", ["EMIT_L2A_RFL_001_20220815T042838_2222703_003.nc",
                                       "EMIT_L2A_RFL_002_20220815T042838.nc"])  # fmt: skip
    def test_flags_of_a_later_version_count(self, tmp_path, image):
        path, _ = made.emit(tmp_path)
        path = path.rename(tmp_path / image)
        old = next(tmp_path.glob("EMIT_L2A_MASK_001_*"))
        names = ["Cloud Flag", "Cirrus Flag", "Water Flag", "Dilated Cloud Flag", "SpecTf-Cloud Probability",
                 "SpecTf-Cloud Flag", "SpecTf-Buffer Distance"]  # fmt: skip
        with h5py.File(tmp_path / "EMIT_L2A_MASK_003_20220815T042838.nc", "w") as file:
            file["mask"] = np.zeros((ROWS, COLUMNS, len(names)), np.float32)
            file["mask"][..., 4], file["mask"][..., 6], file["mask"][3, 1, 5] = 0.2, 7, 1
            file["sensor_band_parameters/mask_bands"] = np.array(names, dtype=h5py.string_dtype())
        scene = read_scene(path)
        assert old.exists() and invalid(scene) == [(2, 3), (3, 1)] and "MASK_003" in scene.provenance["quality"]

    def test_other_products_and_tables_are_refused(self, tmp_path):
        path, _ = made.emit(tmp_path)
        refused(path, "ortho=maybe: expected true or false", ortho="maybe")
        with h5py.File(path, "a") as file:
            file["location/glt_x"][3, 3] = 99
        refused(path, "its lookup table .* does not fit its image of 6 x 8", ortho="true")
        (tmp_path / "b").mkdir()
        path, _ = made.emit(tmp_path / "b")
        with h5py.File(path, "a") as file:
            file.move("reflectance", "radiance")
        refused(path, "an EMIT product that holds radiance; expected `reflectance`, level 2A")


class TestSentinel2:
    def test_bands_of_10_m_with_their_offsets(self, tmp_path):
        safe, stored = made.sentinel2(tmp_path)
        for path in (safe, safe / "MTD_MSIL2A.xml", made.zipped(safe, tmp_path / "a.zip")):
            scene = read_scene(path)
            for k, (number, band) in enumerate(((1, "B02"), (2, "B03"), (3, "B04"), (7, "B08"))):
                expected = (stored[band].astype(float) - 1000 - number) / 10_000
                expected[0:2, :10] = scene.cube[k, 0:2, :10]  # under the mask
                np.testing.assert_allclose(scene.cube[k], expected, atol=1e-7)
            assert scene.wavelengths_nm.tolist() == [492.1, 559.8, 664.6, 832.8]
            assert scene.transform == (10.0, 0.0, LEFT, 0.0, -10.0, TOP)
            assert scene.provenance["acquired"] == "2022-07-22T10:25:59.024Z"

    def test_clouds_are_masked_where_the_classes_say_so(self, tmp_path):
        scene = read_scene(made.sentinel2(tmp_path)[0])
        assert invalid(scene) == [(row, column) for row in (0, 1) for column in range(10)]  # snow is no cloud
        assert read_scene(tmp_path / "S2B_MSIL2A_20220722T102559_N0400_R108_T33UUU_20220722T120000.SAFE",
                          quality="none").mask is None  # fmt: skip

    def test_an_export_and_an_aligned_guide_keep_the_mask(self, tmp_path):
        scene = read_scene(made.sentinel2(tmp_path)[0])
        export(scene, tmp_path / "out.tif")
        assert invalid(read_scene(tmp_path / "out.tif")) == invalid(scene)
        low = Source(read_scene(made.enmap(tmp_path)[0]), "LR")
        aligned = resample(low, Source(scene, "guide"), 6, tmp_path)  # pixels of 5 m
        assert aligned.window((0, 4), (0, 24))[1][:, :19].sum() == 0 and aligned.window((8, 9), (0, 9))[1].all()

    def test_bands_and_resolution_are_chosen(self, tmp_path):
        safe, stored = made.sentinel2(tmp_path)
        scene = read_scene(safe, resolution=20)
        assert scene.shape == (3, 12, 16) and scene.wavelengths_nm.tolist() == [704.1, 864.7, 1613.7]
        np.testing.assert_allclose(scene.cube[1, 5], (stored["B8A"][5].astype(float) - 1008) / 10_000, atol=1e-7)
        assert read_scene(safe, bands="B04,B03").wavelengths_nm.tolist() == [559.8, 664.6]
        refused(safe, "has no band B05 of 10 m; it holds B02, B03, B04, B08", bands="B05")
        refused(safe, "resolution=15: Sentinel-2 has bands of 10, 20 and 60 m", resolution=15)

    def test_only_stated_offsets_are_applied(self, tmp_path, capsys):
        safe, stored = made.sentinel2(tmp_path, offsets=False)
        scene = read_scene(safe)
        assert scene.scale == 1e-4 and scene.offset == 0 and np.array_equal(scene.stored[0], stored["B02"])
        assert "of processing baseline 04.00, but its description states no BOA_ADD_OFFSET" in capsys.readouterr().err

    def test_offsets_of_some_bands_are_not_those_of_all(self, tmp_path):
        path, _ = made.sentinel2(tmp_path)
        text = (path / "MTD_MSIL2A.xml").read_text()
        (path / "MTD_MSIL2A.xml").write_text(re.sub('<BOA_ADD_OFFSET band_id="7">[^/]*/BOA_ADD_OFFSET>', "", text))
        refused(path, "states no BOA_ADD_OFFSET of B08; get it again")
        assert read_scene(path, bands="B02,B04").shape[0] == 2

    def test_images_may_be_geotiffs(self, tmp_path):
        safe, stored = made.sentinel2(tmp_path)
        for file in safe.rglob("*.jp2"):
            with rasterio.open(file) as image:
                made.tiff(file.with_suffix(".tif"), image.read(), image.res[0])
            file.unlink()
        scene = read_scene(safe)
        np.testing.assert_allclose(scene.cube[1, 5], (stored["B03"][5].astype(float) - 1002) / 10_000, atol=1e-7)
        assert len(invalid(scene)) == 20 and scene.wavelengths_nm.tolist() == [492.1, 559.8, 664.6, 832.8]

    def test_level_1c_names_its_files_offsets_and_clouds_otherwise(self, tmp_path):
        safe, stored = made.sentinel2(tmp_path, level="1C")
        for path in (safe, safe / "MTD_MSIL1C.xml", made.zipped(safe, tmp_path / "a.zip")):
            scene = read_scene(path)
            assert scene.provenance["product"] == "Sentinel-2 L1C"
            assert scene.provenance["parts"] == "B02, B03, B04, B08"
            np.testing.assert_allclose(scene.cube[3, 6:], (stored["B08"][6:].astype(float) - 1007) / 10_000, atol=1e-7)
            assert invalid(scene) == [(row, column) for row in range(6) for column in range(12)]  # no snow
        assert read_scene(safe, resolution=20).wavelengths_nm.tolist() == [704.1, 864.7, 1613.7]
        refused(safe, "has no band B05 of 10 m; it holds B02, B03, B04, B08", bands="B05")

    def test_other_levels_are_refused(self, tmp_path):
        refused(made.sentinel2(tmp_path, level="1B")[0], "of another level .MTD_MSIL1B.xml.; expected level 2A or 1C")


def test_landsat(tmp_path):
    folder, stored = made.landsat(tmp_path)
    for path in (folder, made.zipped(folder, tmp_path / "a.zip"), made.tarred(folder, tmp_path / "a.tar")):
        scene = read_scene(path)
        assert np.array_equal(scene.stored, stored) and (scene.scale, scene.offset) == (2.75e-5, -0.2)
        assert scene.wavelengths_nm.tolist() == [443.0, 482.0, 561.4, 654.6]
        assert invalid(scene) == [(0, 0), (0, 1), (0, 2), (0, 3)]
        assert scene.provenance["acquired"] == "2022-07-24T10:03:12.3Z"


def test_level_1_of_landsat_beside_level_2(tmp_path):
    """Its description, which states other scales, is not that of level 2."""
    folder, stored = made.landsat(tmp_path)
    other = folder.name.replace("L2SP", "L1TP")
    made.tiff(folder / f"{other}_B1.TIF", np.ones((1, ROWS, COLUMNS), np.uint16))
    made.tiff(folder / f"{other}_QA_PIXEL.TIF", np.ones((1, ROWS, COLUMNS), np.uint16))
    (folder / f"{other}_MTL.txt").write_text("REFLECTANCE_MULT_BAND_1 = 2e-5\nREFLECTANCE_ADD_BAND_1 = -0.1\n")
    scene = read_scene(folder)
    assert np.array_equal(scene.stored, stored) and (scene.scale, scene.offset) == (2.75e-5, -0.2)
    assert len(invalid(scene)) == 4


@pytest.mark.parametrize("ending", ["xml", "json"])
def test_other_descriptions_of_landsat(tmp_path, ending):
    """With the same groups. Level 1 repeats the names with other numbers, after level 2."""
    folder, stored = made.landsat(tmp_path)
    groups = {
        "IMAGE_ATTRIBUTES": {"DATE_ACQUIRED": "2022-07-24", "SCENE_CENTER_TIME": "10:03:12.3Z"},
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {"REFLECTANCE_MULT_BAND_1": 2.75e-5, "REFLECTANCE_ADD_BAND_1": -0.2},
        "LEVEL1_RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_1": 2e-5, "REFLECTANCE_ADD_BAND_1": -0.1},
    }
    text = json.dumps({"LANDSAT_METADATA_FILE": groups})
    if ending == "xml":
        inside = "".join(
            f"<{group}>{''.join(f'<{key}>{value}</{key}>' for key, value in held.items())}</{group}>"
            for group, held in groups.items()
        )
        text = f"<LANDSAT_METADATA_FILE>{inside}</LANDSAT_METADATA_FILE>"
    mtl = next(folder.glob("*_MTL.txt"))
    mtl.with_suffix(f".{ending}").write_text(text)
    mtl.unlink()
    scene = read_scene(folder)
    assert np.array_equal(scene.stored, stored) and (scene.scale, scene.offset) == (2.75e-5, -0.2)
    assert scene.provenance["acquired"] == "2022-07-24T10:03:12.3Z"
    mtl.with_suffix(f".{ending}").write_text(text.replace("_MULT_", "_FACTOR_"))
    refused(folder, "states REFLECTANCE_MULT_BAND_ of 0 bands")


@pytest.mark.parametrize(("start", "centres", "satellites"), [
    ("LE07", [483, 560, 662, 1648], "7"), ("LT05", [485, 569, 660, 1676], "4/5")])  # fmt: skip
def test_landsat_of_earlier_satellites(tmp_path, start, centres, satellites):
    folder, stored = made.landsat(tmp_path)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.replace("LC08", start).replace("SR_B4", "SR_B5").replace("ST_B10", "ST_B6"))
    scene = read_scene(folder)
    assert np.array_equal(scene.stored, stored) and (scene.scale, scene.offset) == (2.75e-5, -0.2)
    assert scene.wavelengths_nm.tolist() == centres and len(invalid(scene)) == 4
    assert scene.provenance["product"] == f"Landsat {satellites} L2"


def test_hyperion(tmp_path):
    folder, stored = made.hyperion(tmp_path)
    scene = read_scene(folder)
    order = (20, 57, 80, 70, 200)  # VNIR's band 70 lies beyond SWIR's band 80
    for k, band in enumerate(order):
        np.testing.assert_allclose(scene.cube[k], stored[band] / (40 if band <= 70 else 80), rtol=1e-6)
    assert scene.bad_bands.tolist() == [False, False, False, True, False] and scene.mask is None
    np.testing.assert_allclose(scene.wavelengths_nm, [548.92, 925.41, 942.73, 1057.68, 2153.34], atol=0.12)
    np.testing.assert_allclose(scene.fwhm_nm, [11.0245, 11.2754, 11.0457, 11.2754, 10.6834], atol=0.1)
    assert scene.provenance["acquired"] == "2009-05-04T10:03:56"
    (folder / "EO1A1400432009124110PY_MTL_L1T.TXT").write_text("ACQUISITION_DATE = 2001-01-01\n")  # of ALI
    assert np.array_equal(read_scene(folder).stored, scene.stored)


def test_around_the_swath_of_hyperion_there_is_no_data(tmp_path):
    folder, _ = made.hyperion(tmp_path)
    for path in folder.glob("*.TIF"):
        with rasterio.open(path, "r+") as image:
            plane = image.read()
            plane[:, 0], plane[:, 3, 3] = 0, plane[:, 3, 3] * (path.stem[-7:-4] != "200")
            image.write(plane)
    scene = read_scene(folder)
    assert invalid(scene) == [(0, column) for column in range(COLUMNS)]
    assert np.isnan(scene.stored[4, 3, 3]) and np.isnan(scene.nodata)


def test_aviris(tmp_path):
    path = tmp_path / "AV320231008t181518_003_L2A_OE_4a1b_RFL_ORT.nc"
    values = made.aviris(path)
    scene = read_scene(path)
    assert np.array_equal(scene.stored, values) and scene.wavelengths_nm.tolist() == [400, 1400, 2400]
    assert scene.transform == (3.0, 0.0, LEFT, 0.0, -3.0, TOP) and invalid(scene) == [(0, 0)]
    assert scene.provenance["acquired"] == "2023-10-08T18:15:18" and "UTM zone 33N" in scene.crs


def test_other_ways_in_which_aviris_says_its_place(tmp_path):
    path = tmp_path / "ang20231029t104631_000_L2A_OE_main_RFL_ORT.nc"
    made.aviris(path)
    grid = (3.0, 0.0, LEFT, 0.0, -3.0, TOP)
    with h5py.File(path, "a") as file:
        file.move("transverse_mercator", "projection")
    assert read_scene(path).transform == grid and "zone 33N" in read_scene(path).crs
    assert "zone 34S" in read_scene(path, crs="EPSG:32734").crs
    with h5py.File(path, "a") as file:
        file.move("projection", "any")
        del file["any"].attrs["GeoTransform"]
        file["reflectance/reflectance"].attrs["grid_mapping"] = "any"
    assert read_scene(path).provenance["georeference"] == "a grid mapping without a GeoTransform"
    with h5py.File(path, "a") as file:
        file["easting"], file["northing"] = LEFT + 1.5 + 3.0 * np.arange(COLUMNS), TOP - 1.5 - 3.0 * np.arange(ROWS)
    assert read_scene(path).transform == grid and "zone 33N" in read_scene(path).crs


@pytest.mark.parametrize("cut", [0, 2])
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_coordinates_of_edges_or_middles(tmp_path, part, cut):
    """The GeoTransform tells which they are, also that of the larger image that this one was cut from."""
    made.aviris(tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc", "a") as file:
        file["easting"] = LEFT + 3.0 * (np.arange(COLUMNS) + part + cut)
        file["northing"] = TOP - 3.0 * (np.arange(ROWS) + part + cut)
    assert read_scene(tmp_path / "a.nc").transform == (3.0, 0.0, LEFT + 3 * cut, 0.0, -3.0, TOP - 3 * cut)


@pytest.mark.parametrize(
    ("maker", "widths"),
    [
        (made.prisma, "List_Fwhm_Vnir"),
        (lambda path: shutil.move(made.emit(path.parent)[0], path), "sensor_band_parameters/fwhm"),
        (made.aviris, "reflectance/fwhm"),
        (made.neon, "ABBY/Reflectance/Metadata/Spectral_Data/FWHM"),
        (made.tanager, "HDFEOS/GRIDS/HYP/Data Fields/surface_reflectance/fwhm"),
    ],
)
def test_a_product_without_widths_has_none(tmp_path, maker, widths):
    maker(tmp_path / "a.h5")
    whole = read_scene(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        owner, _, name = widths.rpartition("/")
        group = file[owner] if owner else file
        del (group.attrs if name in group.attrs else group)[name]
    scene = read_scene(tmp_path / "a.h5")
    assert whole.fwhm_nm is not None and scene.fwhm_nm is None
    assert np.array_equal(scene.wavelengths_nm, whole.wavelengths_nm) and np.array_equal(scene.stored, whole.stored)
    assert "fwhm" not in describe(tmp_path / "a.h5")


def test_wavelengths_in_micrometres(tmp_path):
    made.aviris(tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc", "a") as file:
        for name in ("wavelength", "fwhm"):
            file[f"reflectance/{name}"][...] = file[f"reflectance/{name}"][...] / 1000
    scene = read_scene(tmp_path / "a.nc")
    np.testing.assert_allclose(scene.wavelengths_nm, [400, 1400, 2400])
    np.testing.assert_allclose(scene.fwhm_nm, [7, 8, 9])


def test_neon(tmp_path):
    path = tmp_path / "NEON_D16_ABBY_DP1_20190825_145110_reflectance.h5"
    stored = made.neon(path)
    scene = read_scene(path)
    assert np.array_equal(scene.stored, stored) and scene.scale == 1e-4
    assert scene.bad_bands.tolist() == [False, False, True, False] and invalid(scene) == [(1, 1)]
    assert scene.transform == (1.0, 0.0, LEFT, 0.0, -1.0, TOP) and "UTM zone 33N" in scene.crs
    assert scene.provenance["acquired"] == "2019-08-25T14:51:10"


@pytest.mark.parametrize("write", [np.bytes_, lambda text: [np.bytes_(text)], lambda text: int(text[-5:])])
def test_other_ways_in_which_neon_writes_its_place(tmp_path, write):
    path = tmp_path / "NEON_D16_ABBY_DP3_500000_5799000_reflectance.h5"
    made.neon(path)
    with h5py.File(path, "a") as file:
        system = file["ABBY/Reflectance/Metadata/Coordinate_System"]
        del system["EPSG Code"]
        system["EPSG Code"] = write("32633")
    scene = read_scene(path)
    assert scene.transform == (1.0, 0.0, LEFT, 0.0, -1.0, TOP) and "UTM zone 33N" in scene.crs


class TestTanager:
    def test_on_its_grid(self, tmp_path):
        path = tmp_path / "20250601_120000_00_4001_ortho_sr_hdf5.h5"
        values = made.tanager(path)
        scene = read_scene(path)
        assert np.array_equal(scene.stored, values) and scene.transform == GRID
        assert invalid(scene) == [(0, 0), (0, 1)] and scene.bad_bands.tolist() == [False, True, False]
        assert invalid(read_scene(path, quality="none")) == [(0, 0)]
        assert scene.provenance["acquired"] == "2025-06-01T12:00:00"

    def test_its_grid_without_a_code_or_size(self, tmp_path):
        path = tmp_path / "20250601_120000_00_4001_ortho_sr_hdf5.h5"
        made.tanager(path)
        with h5py.File(path, "a") as file:
            del file["HDFEOS/GRIDS/HYP"].attrs["epsg_code"]
        assert read_scene(path).provenance["georeference"] == "a grid that StructMetadata.0 does not describe"
        for zone, named in (("33", "zone 33N"), ("-33", "zone 33S")):
            with h5py.File(path, "a") as file:
                text = file["HDFEOS INFORMATION/StructMetadata.0"][()].decode()
                del file["HDFEOS INFORMATION/StructMetadata.0"]
                text = re.sub(r"\t(XDim|YDim|ZoneCode)=.*\n", "", text).replace("END\n", f"\tZoneCode={zone}\nEND\n")
                file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text)
            assert read_scene(path).transform == GRID and named in read_scene(path).crs

    def test_of_the_sensor_with_an_affine_place(self, tmp_path):
        made.tanager(tmp_path / "a.h5", kind="SWATHS")
        scene = read_scene(tmp_path / "a.h5")
        assert scene.crs == "EPSG:4326"
        assert scene.transform == pytest.approx((0.2 / 7, 0, 13 - 0.1 / 7, 0, -0.02, 52.01), abs=1e-9)

    def test_radiance_is_refused(self, tmp_path):
        made.tanager(tmp_path / "a.h5", cube_name="toa_radiance")
        refused(tmp_path / "a.h5", "a Tanager product that holds .*toa_radiance; expected surface_reflectance")


def test_planet(tmp_path):
    path, stored = made.planet(tmp_path)
    scene = read_scene(path)
    assert np.array_equal(scene.stored, stored) and scene.scale == 1e-4 and scene.nodata == 0
    assert scene.wavelengths_nm.tolist() == [443, 490, 531, 565, 610, 665, 705, 865]
    assert invalid(scene) == [(0, 0), (0, 1), (0, 2)]  # light haze is not masked
    assert scene.provenance["acquired"] == "2023-08-01T10:15:30Z"


@pytest.mark.parametrize(
    ("start", "instrument", "written", "nir", "line"),
    [
        ("20230801", None, "xml", 865, False),
        ("20200801", None, "xml", 865, True),
        ("20200801", "PSB.SD", "xml", 865, False),
        ("20200801", "PS2", "xml", 820, False),
        ("20200801", "PS2", "json", 820, False),
        ("20200801", "PS2.SD", "json", 867, False),
        ("20200801", ["PS2"], "json", 865, True),
    ],
)
def test_planet_of_four_bands_has_those_of_its_instrument(tmp_path, capsys, start, instrument, written, nir, line):
    name = f"{start}_101530_0f42"
    made.tiff(tmp_path / f"{name}_3B_AnalyticMS_SR.tif", made.cube(4).astype(np.uint16), 3.0, nodata=0)
    if written == "json":
        description = {"id": name, "properties": {"instrument": instrument}}
        (tmp_path / f"{name}_metadata.json").write_text(json.dumps(description))
    elif instrument is not None:
        (tmp_path / f"{name}_3B_AnalyticMS_metadata.xml").write_text(
            "<ps:EO xmlns:ps='urn:a' xmlns:eop='urn:b'><eop:Platform><eop:shortName>PlanetScope</eop:shortName>"
            f"</eop:Platform><eop:Instrument><eop:shortName>{instrument}</eop:shortName></eop:Instrument></ps:EO>"
        )
    scene = read_scene(tmp_path / f"{name}_3B_AnalyticMS_SR.tif")
    assert scene.wavelengths_nm[3] == nir
    assert ("names its instrument" in capsys.readouterr().err) == line


def test_skysat_has_bands_of_its_own(tmp_path):
    path = made.tiff(tmp_path / "20230801_101530_ssc4_u0001_analytic_SR_clip.tif", made.cube(4).astype(np.uint16), 0.5)
    assert read_scene(path).wavelengths_nm.tolist() == [482.5, 555, 650, 820]
    refused(made.tiff(path, made.cube(3).astype(np.uint16)), "3 bands; expected 4 or 8")


class TestStac:
    def test_an_item_names_image_and_guide(self, tmp_path):
        scene = read_scene(made.stac(tmp_path))
        assert scene.scale == 1e-4 and scene.nodata == 0 and scene.wavelengths_nm.tolist() == [450, 650, 850]
        assert scene.guide.shape == (2, 2 * ROWS, 2 * COLUMNS) and scene.guide.stored[:, 0, 0].tolist() == [2, 3]
        assert read_scene(tmp_path / "item.json", asset="green").stored[0, 0, 0] == 3
        refused(tmp_path / "item.json", "has no asset red; it has cube, blue, green, far", asset="red")

    @pytest.mark.parametrize("href", ["../lr.tif", "/etc/passwd", "/vsicurl/http://x/a.tif", "a/../../b.tif"])
    def test_assets_elsewhere_are_not_followed(self, tmp_path, href):
        refused(made.stac(tmp_path, href), "does not lie beside it, and is not followed")

    @pytest.mark.parametrize("href", ["{folder}/lr.tif", "file://{folder}/lr.tif", "../{name}/lr.tif"])
    def test_however_an_asset_beside_the_item_is_written(self, tmp_path, href):
        href = href.format(folder=tmp_path, name=tmp_path.name)
        assert np.array_equal(read_scene(made.stac(tmp_path, href)).stored, made.cube(3))

    def edited(self, folder, change, properties: dict | None = None):
        """The scene of an item whose asset `cube` is changed."""
        path = made.stac(folder)
        item = json.loads(path.read_text())
        change(item["assets"]["cube"])
        path.write_text(json.dumps({**item, "properties": properties or {}}))
        return read_scene(path)

    def test_facts_on_all_bands_may_stand_in_the_asset(self, tmp_path):
        """As in the items of the Copernicus Data Space."""

        def change(asset):
            asset["bands"] = [{"name": name} for name in "abc"]
            asset |= {"raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0}

        scene = self.edited(tmp_path, change)
        assert (scene.scale, scene.offset, scene.nodata) == (1e-4, -0.1, 0)

    def test_bands_of_different_scales_become_values(self, tmp_path):
        scales, offsets, nodata = (1e-4, 2e-4, 1e-4), (0.0, -0.1, 0.0), (0, 0, int(made.cube(3)[2, 0, 0]))

        def change(asset):
            asset["bands"] = [
                {"raster:scale": a, "raster:offset": b, "nodata": c}
                for a, b, c in zip(scales, offsets, nodata, strict=True)
            ]

        scene = self.edited(tmp_path, change)
        expected = made.cube(3) * np.array(scales)[:, None, None] + np.array(offsets)[:, None, None]
        assert np.isnan(scene.stored[2, 0, 0]) and np.isnan(scene.stored).sum() == 1
        assert np.allclose(np.where(np.isnan(scene.stored), expected, scene.cube), expected, rtol=1e-6)

    @pytest.mark.parametrize(("applied", "offset"), [(True, 0.0), (False, -0.1)])
    def test_an_offset_is_applied_once(self, tmp_path, capsys, applied, offset):
        """Earth Search lists the offset of Sentinel-2 also where it was applied."""
        bands = [{"scale": 1e-4, "offset": -0.1, "nodata": 0}] * 3
        scene = self.edited(
            tmp_path, lambda asset: asset.update({"raster:bands": bands}), {"earthsearch:boa_offset_applied": applied}
        )
        assert (scene.scale, scene.offset) == (1e-4, offset)
        assert ("does not apply it again" in capsys.readouterr().err) == applied

    def test_facts_that_do_not_fit_are_left_out_with_a_line(self, tmp_path, capsys):
        def change(asset):
            asset["raster:bands"] = [{"scale": 2.0}]
            asset["bands"] = [{"eo:center_wavelength": 450.0}] * 3  # must be in micrometres

        scene = self.edited(tmp_path, change)
        assert scene.scale == 1 and scene.wavelengths_nm is None
        said = capsys.readouterr().err
        assert "raster:bands of its asset cube does not list the 3 bands" in said and "none that an imaging" in said

    def test_addresses_are_read_when_asked_for(self, tmp_path):
        made.stac(tmp_path)
        refused(tmp_path / "item.json", "far lies at https://example.com/far.tif; .* remote=true", asset="far")


class TestVrt:
    SOURCE = '<SourceFilename relativeToVRT="{}">{}</SourceFilename><SourceBand>1</SourceBand>'

    def vrt(self, folder, inside, band="", head="") -> str:
        text = (
            f'<VRTDataset rasterXSize="{COLUMNS}" rasterYSize="{ROWS}">{head}<VRTRasterBand dataType="UInt16" band="1"'
            f"{band}>{inside}</VRTRasterBand></VRTDataset>"
        )
        (folder / "a.vrt").write_text(text)
        return str(folder / "a.vrt")

    def test_a_plain_one_is_read(self, tmp_path):
        stored = made.cube(1).astype(np.uint16)
        made.tiff(tmp_path / "below" / "a.tif", stored)
        source = f"<SimpleSource>{self.SOURCE.format(1, 'below/a.tif')}</SimpleSource>"
        assert np.array_equal(read_scene(self.vrt(tmp_path, source)).stored, stored)

    @pytest.mark.parametrize("declaration", ["<?xml version='1.0' encoding='utf-8'?>\n", '<?xml version="1.0"?>'])
    def test_one_with_a_declaration_is_read_and_checked(self, tmp_path, declaration):
        made.tiff(tmp_path / "a.tif", made.cube(1).astype(np.uint16))
        path = Path(self.vrt(tmp_path, f"<SimpleSource>{self.SOURCE.format(1, 'a.tif')}</SimpleSource>"))
        path.write_text(declaration + path.read_text())
        assert np.array_equal(read_scene(path).stored, made.cube(1))
        (tmp_path / "below").mkdir()
        path.write_text(path.read_text().replace("a.tif", "../a.tif"))
        path.rename(tmp_path / "below" / "inner.vrt")
        source = f"<SimpleSource>{self.SOURCE.format(1, 'inner.vrt')}</SimpleSource>"
        refused(self.vrt(tmp_path / "below", source), "does not lie beside it")

    def test_files_elsewhere_are_read_when_asked_for(self, tmp_path):
        made.tiff(tmp_path / "a.tif", made.cube(1).astype(np.uint16))
        (tmp_path / "below").mkdir()
        for relative, name in ((1, "../a.tif"), (0, str(tmp_path / "a.tif"))):
            path = self.vrt(tmp_path / "below", f"<SimpleSource>{self.SOURCE.format(relative, name)}</SimpleSource>")
            refused(path, "does not lie beside it; if you trust it, read it with --read sources=any")
            assert read_scene(path, sources="any").shape == (1, ROWS, COLUMNS)

    @pytest.mark.parametrize(
        ("inside", "band", "head", "pattern"),
        [
            ("<SourceFilename>/etc/passwd</SourceFilename>", ' subClass="VRTRawRasterBand"', "", "VRTRawRasterBand"),
            ("<PixelFunctionType>f</PixelFunctionType>", ' subClass="VRTDerivedRasterBand"', "", "VRTDerived"),
            ("", "", "<GDALWarpOptions/>", "GDALWarpOptions"),
            ("<SimpleSource><OpenOptions/></SimpleSource>", "", "", "OpenOptions"),
            ("<SimpleSource><SourceFilename relativeToVRT='1'>/vsicurl/http://x/a.tif</SourceFilename></SimpleSource>",
             "", "", "does not lie beside it|no such file"),
            ("<SimpleSource><SourceFilename relativeToVRT='1'>a.vrt</SourceFilename></SimpleSource>", "", "",
             "more than 4 deep"),
            ("<SimpleSource><SourceFilename relativeToVRT='1'>note.txt</SourceFilename></SimpleSource>", "", "",
             "no image of a known format"),
        ],
    )  # fmt: skip
    def test_what_is_not_plain_is_refused(self, tmp_path, inside, band, head, pattern):
        (tmp_path / "note.txt").write_text("secret")
        refused(self.vrt(tmp_path, inside, band, head), pattern)

    def test_a_document_type_is_refused(self, tmp_path):
        (tmp_path / "a.vrt").write_text('<VRTDataset><!DOCTYPE x [<!ENTITY a "b">]></VRTDataset>')
        refused(tmp_path / "a.vrt", "damaged or cut XML file|document type")


@pytest.mark.parametrize("text", [
    '<!DOCTYPE a [<!ENTITY b "ccc">]><a>&b;</a>', '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    "<a>" * 101 + "</a>" * 101, "<a>", "", "<a>&b;</a>"])  # fmt: skip
def test_xml_that_is_refused(tmp_path, text):
    with pytest.raises(HsisrError):
        parse_xml(tmp_path / "a.xml", text.encode())


def test_archives_are_checked_before_they_are_read(tmp_path):
    folder, _ = made.enmap(tmp_path)
    archive = made.zipped(folder, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr("../outside.TIF", "x")
    refused(archive, "would be written outside the folder; refused")


def test_info_says_all_of_a_product(tmp_path, capsys):
    folder, _ = made.enmap(tmp_path)
    made.tiff(folder / f"{folder.name}-QL_QUALITY_CLOUD.TIF", np.zeros((1, ROWS, COLUMNS), np.uint8))
    app(["info", str(folder)], standalone_mode=False)
    said = capsys.readouterr().out
    for words in ("EnMAP L2A", "450 to 2400 nm", "  8.5 nm", "UTM zone 33N", "-32768", "2022-07-24T10:45:26.123Z",
                  "bad bands", "no data where QL_QUALITY_CLOUD"):  # fmt: skip
        assert words in said


def test_info_says_as_much_with_options(tmp_path, capsys):
    path, _ = made.emit(tmp_path)
    app(["info", str(path), "--read", "ortho=true"], standalone_mode=False)
    said = capsys.readouterr().out
    for words in ("EMIT L2A", "2022-08-15T04:28:38", "8 to 9 nm", "Dilated Cloud Flag", "pixel size"):
        assert words in said


def test_info_is_short_where_there_is_little_to_say(tmp_path, capsys):
    path = tmp_path / "PRS_L2D.he5"
    made.prisma(path)
    app(["info", str(path)], standalone_mode=False)
    said = {key: " ".join(value.split()) for key, value in (
        line.strip().split("  ", 1) for line in capsys.readouterr().out.splitlines()[1:])}  # fmt: skip
    assert said["type"] == "uint16, value = stored * 1.5259e-05"
    assert said["guide EPSG"].startswith("32633, WGS 84") and said["guide pixel size"] == "5 x 5 metre"
    assert said["quality"] == "no data where VNIR_PIXEL_L2_ERR_MATRIX, SWIR_PIXEL_L2_ERR_MATRIX say so"
    assert not {"crs", "guide crs"} & set(said)
    app(["info", str(made.landsat(tmp_path)[0])], standalone_mode=False)
    said = capsys.readouterr().out
    assert "value = stored * 2.75e-05 - 0.2" in said and "valid pixels  44 of 48" in said
    made.aviris(tmp_path / "a.nc")
    app(["info", str(tmp_path / "a.nc")], standalone_mode=False)
    assert " float32\n" in capsys.readouterr().out


def test_products_are_one_scene_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = made.enmap(tmp_path)
    safe, _ = made.sentinel2(tmp_path)
    assert is_product(folder) and is_product(safe) and not is_product(tmp_path)
    app(["predict", str(folder), "--guide", str(safe), "--scale", "3", "--model", "bicubic", "-o", "out.tif"],
        standalone_mode=False)  # fmt: skip
    assert read_scene("out.tif").shape == (4, 3 * ROWS, 3 * COLUMNS)


@pytest.mark.parametrize("more", [[], ["--align"], ["--read-guide", "quality=none"], ["--mask-change"]])
def test_clouds_of_a_guide_are_said(tmp_path, monkeypatch, capsys, more):
    monkeypatch.chdir(tmp_path)
    folder, _ = made.enmap(tmp_path)
    safe, _ = made.sentinel2(tmp_path)
    words = ["predict", str(folder), "--guide", str(safe), "--scale", "3", "--model", "gsa", "-o", "out.tif", *more]
    app(words, standalone_mode=False)
    said = re.search(r"S2B\S*: has no data on (\S+)% of the ground of ENMAP01\S*, and so has the result; --mask-change",
                     capsys.readouterr().err)  # fmt: skip
    holes = ~read_scene("out.tif").mask
    if "--mask-change" in more or "quality=none" in more:
        assert said is None and holes.sum() == 9  # the pixel that EnMAP lacks
    else:
        measured = (holes.sum() - 9) / (9 * (ROWS * COLUMNS - 1))
        assert measured > 0 and float(said[1]) == pytest.approx(100 * measured, abs=0.06)


def test_a_folder_of_scenes_takes_a_product_as_their_guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        made.tiff(tmp_path / "scenes" / f"{name}.tif", made.cube(4).astype(np.uint16))
    safe, _ = made.sentinel2(tmp_path)
    words = ["predict", "scenes", "--guide", safe.name, "--read-guide", "quality=none", "--model", "gsa", "-o", "out"]
    app(words, standalone_mode=False)
    assert read_scene("out/b.tif").shape == (4, 3 * ROWS, 3 * COLUMNS)


@pytest.mark.parametrize("maker", [made.enmap, made.desis, made.sentinel2, made.landsat, made.hyperion])
def test_a_product_in_folders_of_an_archive(tmp_path, maker):
    """Portals wrap it; macOS adds hidden files."""
    folder, _ = maker(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                inside = file.relative_to(folder)
                archive.write(file, f"order_1/LEVEL.2A/{folder.name}/{inside}")
                archive.writestr(f"__MACOSX/order_1/LEVEL.2A/{folder.name}/{inside.parent}/._{inside.name}", "x")
        archive.writestr("order_1/readme.html", "<html>")
    scene, expected = read_scene(tmp_path / "a.zip"), read_scene(folder)
    assert np.array_equal(scene.stored, expected.stored, equal_nan=True) and scene.transform == expected.transform
    assert invalid(scene) == invalid(expected)


@pytest.mark.parametrize("maker", [made.enmap, made.sentinel2, made.landsat])
def test_a_folder_around_a_product_says_which_folder_to_name(tmp_path, maker):
    folder, _ = maker(tmp_path / "order" / "LEVEL.2A")
    (tmp_path / "order" / "readme.html").write_text("<html>")
    refused(tmp_path / "order", "it holds the product LEVEL.2A, name that")
    assert is_product(tmp_path / "order" / "LEVEL.2A") and folder.parent.name == "LEVEL.2A"


def test_two_scenes_of_hyperion_in_a_folder_are_none(tmp_path):
    folder, _ = made.hyperion(tmp_path)
    for file in sorted(folder.glob("*_B*.TIF"))[:2]:
        shutil.copy(file, folder / file.name.replace("2009124", "2009125"))
    assert not is_product(folder)


@pytest.mark.parametrize("prefix", ["./", f"{'d' * 90}/{'e' * 90}/"])
def test_archives_name_their_files_in_several_ways(tmp_path, prefix):
    """Names that GDAL's own reader of tar archives does not find, and ./ at their beginning."""
    folder, stored = made.landsat(tmp_path)
    archive = made.tarred(folder, tmp_path / "a.tar", prefix)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as content:
        for file in folder.iterdir():
            member = zipfile.ZipInfo("file")
            member.filename = f"{prefix}{file.name}"
            content.writestr(member, file.read_bytes())
    for path in (archive, tmp_path / "a.zip"):
        assert np.array_equal(read_scene(path).stored, stored)


def test_an_archive_of_a_folder_by_its_dot(tmp_path):
    folder, stored = made.landsat(tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w") as content:
        content.add(folder, ".")
    assert np.array_equal(read_scene(tmp_path / "a.tar").stored, stored)


def test_an_image_with_a_header_in_a_tar_archive_is_refused(tmp_path):
    folder, _ = made.enmap(tmp_path)
    image = next(folder.glob("*SPECTRAL_IMAGE.TIF"))
    made.tiff(image.with_suffix(".BSQ"), made.cube(4).astype(np.int16), driver="ENVI")
    image.unlink()
    refused(made.tarred(folder, tmp_path / "a.tar"), "needs its header beside it; unpack the archive first")


def test_tar_archives_that_are_not_read_are_told(tmp_path):
    for name, mode, told in (("a.tar.gz", "w:gz", "a compressed tar archive; unpack it first .tar -xzf."),
                             ("a.tar", "w", "a tar archive; unpack it first")):  # fmt: skip
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(__file__, "no_product.py")
        refused(tmp_path / name, told)
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.add(__file__, "../out.py")
    refused(tmp_path / "b.tar", "its member '../out.py' would be written outside the folder")


def test_two_products_in_a_folder_are_none(tmp_path):
    made.enmap(tmp_path / "a")
    folder, _ = made.enmap(tmp_path / "a")
    shutil.copytree(folder, folder.with_name(folder.name.replace("_008_", "_009_")))
    assert not is_product(tmp_path / "a")


PRODUCTS = {
    "prisma": lambda folder: made.prisma(folder / "PRS.he5") and folder / "PRS.he5",
    "enmap": lambda folder: made.zipped(made.enmap(folder / "x")[0], folder / "a.zip"),
    "emit": lambda folder: made.emit(folder)[0],
    "desis": lambda folder: made.zipped(made.desis(folder / "x")[0], folder / "a.zip"),
    "sentinel2": lambda folder: made.zipped(made.sentinel2(folder / "x")[0], folder / "a.zip"),
    "landsat": lambda folder: made.zipped(made.landsat(folder / "x")[0], folder / "a.zip"),
    "tar": lambda folder: made.tarred(made.landsat(folder / "x")[0], folder / "a.tar"),
    "aviris": lambda folder: folder / "a.nc" if made.aviris(folder / "a.nc") is not None else None,
    "neon": lambda folder: folder / "a.h5" if made.neon(folder / "a.h5") is not None else None,
    "tanager": lambda folder: folder / "a.h5" if made.tanager(folder / "a.h5") is not None else None,
    "planet": lambda folder: made.planet(folder)[0],
    "stac": lambda folder: made.stac(folder),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PRODUCTS)
def test_damaged_products_are_a_scene_or_a_line(tmp_path, name):
    path = PRODUCTS[name](tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(len(name))
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(data)))
            match int(rng.integers(0, 3)):
                case 0:
                    data[at] ^= 1 << int(rng.integers(0, 8))
                case 1:
                    data[at : at + 16] = rng.bytes(min(16, len(data) - at))
                case 2:
                    del data[max(at, len(data) // 2) :]
        path.write_bytes(bytes(data))
        try:
            describe(path)
            assert np.isfinite(read_scene(path).cube).all()
        except HsisrError as error:
            assert "\n" not in str(error)


def test_a_folder_is_walked_once_while_its_reader_is_sought(tmp_path, monkeypatch):
    folder, _ = made.hyperion(tmp_path)
    walked = []
    of_folder = packages._files_below
    monkeypatch.setattr(packages, "_files_below", lambda path: walked.append(path) or of_folder(path))
    assert is_product(folder) and walked == [folder]
    made.tiff(folder / "EO1H1400432009124110PY_B999_L1T.TIF", made.cube(1).astype(np.int16))
    assert is_product(folder) and walked == [folder, folder]  # what was listed before is not kept


def test_options_that_are_true_or_false(tmp_path):
    refused(made.stac(tmp_path), "remote=yes: expected true or false", remote="yes")


def test_items_that_are_no_items(tmp_path):
    path = made.stac(tmp_path)
    item = json.loads(path.read_text())
    for assets in ({}, {"a": 3}, {"a": {"href": 7, "roles": ["lr"]}}, {"a": {"href": "lr.tif", "roles": 5}}):
        path.write_text(json.dumps({**item, "assets": assets}))
        refused(path, "item.json: ")
    path.write_text(json.dumps({"type": "FeatureCollection"}))
    refused(path, "content not recognised")
