"""What a notebook shows: lines, cards, plots, arrays, and DataArrays there and back."""

import base64
import importlib
import pkgutil
import re
from dataclasses import replace
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from PIL import Image

import hsisr
from hsisr import degrade
from hsisr.errors import HsisrError
from hsisr.scene import Scene

matplotlib.use("Agg")


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    return Scene(
        rng.integers(1, 1000, (6, 40, 50)).astype(np.uint16),
        "field-3",
        scale=1e-3,
        wavelengths_nm=np.linspace(450, 900, 6),
        fwhm_nm=np.full(6, 10.0),
        bad_bands=np.arange(6) == 5,
        mask=rng.random((40, 50)) > 0.1,
        labels=rng.integers(0, 3, (40, 50)),
        label_names=("none", "wheat", "maize"),
        crs="EPSG:32633",
        transform=(30.0, 0.0, 5e5, 0.0, -30.0, 4e6),
        provenance={"origin": "made for a test"},
    )


def pictures(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(BytesIO(base64.b64decode(text))) for text in found]


def test_a_scene_is_one_line(scene):
    assert repr(scene) == "Scene('field-3': 6 bands of 40 x 50, uint16, 450 to 900 nm, EPSG:32633)"
    assert repr(Scene(np.zeros((1, 2, 3)))) == "Scene('scene': 1 band of 2 x 3, float64)"
    assert repr(replace(scene, guide=Scene(np.zeros((3, 80, 100))), crs="no CRS")).endswith(
        "no CRS, guide 3 x 80 x 100)"
    )


def test_a_card_shows_picture_and_facts(scene):
    html = replace(scene, name="<b>")._repr_html_()
    assert "&lt;b&gt;" in html and "<b><" not in html
    for words in ("6 x 40 x 50", "450.0 to 900.0 nm", "EPSG:32633", "30 x 30", "stored x 0.001", "in memory"):
        assert words in html
    (picture,) = pictures(html)
    assert picture.size == (50, 40) and np.ptp(np.asarray(picture)) > 200


def test_a_large_scene_is_thinned(tmp_path):
    large = Scene(np.arange(4 * 500 * 700, dtype=np.float32).reshape(4, 500, 700))
    assert pictures(large._repr_html_())[0].size == (-(-700 // 3), -(-500 // 3))
    large.save(tmp_path / "large.h5")
    lazy = Scene.open(tmp_path / "large.h5")
    assert np.array_equal(np.asarray(pictures(lazy._repr_html_())[0]), np.asarray(pictures(large._repr_html_())[0]))
    assert "large.h5" in lazy._repr_html_()


def test_a_scene_without_a_valid_pixel_has_a_card_without_picture(scene):
    empty = replace(scene, mask=np.zeros((40, 50), bool))
    assert pictures(empty._repr_html_()) == [] and "0.0%" in empty._repr_html_()


def test_a_pair_is_one_line_and_a_card(scene):
    pair = degrade.pair(replace(scene, mask=None), "wald", 2, seed=0)
    assert re.fullmatch(
        r"Pair\('pair': lr 6 x 20 x 25, guide . x 40 x 50, hr 6 x 40 x 50, scale 2, protocol wald\)", repr(pair)
    )
    assert [image.size for image in pictures(pair._repr_html_())] == [(25, 20), (50, 40), (50, 40)]


def test_a_pair_is_shown_in_the_colours_of_its_scene(scene):
    known = degrade.pair(replace(scene, mask=None), "wald", 2, seed=0)
    unknown = replace(known, wavelengths_nm=None)
    np.testing.assert_array_equal(known.wavelengths_nm, scene.wavelengths_nm)
    hr = Scene(known.hr, wavelengths_nm=scene.wavelengths_nm)
    shown = [np.asarray(pictures(pair._repr_html_())[-1]) for pair in (known, unknown)]
    assert np.array_equal(shown[0], np.asarray(pictures(hr._repr_html_())[0]))
    assert not np.array_equal(*shown)


def test_plot_draws_the_bands_it_names(scene):
    axes = scene.plot()
    assert axes.get_title() == "field-3 (630, 540, 450 nm)" and axes.images[0].get_array().shape == (40, 50, 3)
    assert scene.plot(bands=[2], ax=axes) is axes and axes.get_title() == "field-3 (630 nm)"
    assert Scene(np.random.default_rng(0).random((5, 8, 8))).plot().get_title() == "scene (bands 4, 2, 0)"
    with pytest.raises(HsisrError, match="make no picture"):
        scene.plot(bands=[0, 9, 1])
    matplotlib.pyplot.close("all")


def test_numpy_reads_the_values(scene):
    values = np.asarray(scene)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, scene.cube)
    assert np.asarray(scene, dtype=np.float64).dtype == np.float64
    assert np.array(scene).mean() == pytest.approx(scene.cube.mean())
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(scene, copy=False)


def test_parts_of_a_scene(scene):
    part = scene[1:4, 10:20, 5:25]
    assert part.shape == (3, 10, 20) and part.transform[2] == 5e5 + 5 * 30 and part.transform[5] == 4e6 - 10 * 30
    np.testing.assert_array_equal(part.stored, scene.stored[1:4, 10:20, 5:25])
    np.testing.assert_array_equal(part.wavelengths_nm, scene.wavelengths_nm[1:4])
    np.testing.assert_array_equal(part.mask, scene.mask[10:20, 5:25])
    np.testing.assert_array_equal(scene[-1].stored, scene.stored[-1:])
    np.testing.assert_array_equal(scene[[3, 0]].stored, scene.stored[[3, 0]])
    np.testing.assert_array_equal(scene[~scene.bad_bands].stored, scene.stored[:5])
    assert [band.shape for band in scene] == [(1, 40, 50)] * 6  # a loop ends: numbers past the last raise IndexError
    with pytest.raises(TypeError, match=r"scene\[bands, rows, columns\]"):
        scene[0, 1]
    with pytest.raises(HsisrError, match="steps of 1"):
        scene[:, ::2, :]


def test_there_and_back_by_xarray(scene):
    pytest.importorskip("xarray")
    array = scene.to_xarray()
    assert array.dims == ("wavelength", "y", "x") and array.name == "field-3"
    assert float(array.x[0]) == 5e5 + 15 and float(array.y[0]) == 4e6 - 15
    assert array.spatial_ref.attrs["GeoTransform"] == "500000.0 30.0 0.0 4000000.0 0.0 -30.0"
    back = Scene.from_xarray(array)
    np.testing.assert_array_equal(back.cube, scene.cube)
    for key in ("wavelengths_nm", "fwhm_nm", "bad_bands", "mask", "labels"):
        np.testing.assert_array_equal(getattr(back, key), getattr(scene, key))
    assert (back.name, back.transform, back.label_names, back.provenance) == (
        scene.name, scene.transform, scene.label_names, scene.provenance,
    )  # fmt: skip
    assert "UTM zone 33N" in back.crs and "EPSG:32633" in repr(back)


def test_samples_without_data_are_nan_in_xarray(scene):
    pytest.importorskip("xarray")
    stored = scene.stored.copy()
    stored[:, 3, 4] = 0
    array = replace(scene, stored=stored, nodata=0).to_xarray()
    assert np.isnan(array.values[:, 3, 4]).all() and np.isnan(array.values).sum() == 6
    back = Scene.from_xarray(array)
    assert np.isnan(back.nodata)
    np.testing.assert_array_equal(back.cube, replace(scene, stored=stored, nodata=0).cube)


def test_arrays_of_others(scene):
    xarray = pytest.importorskip("xarray")
    array = scene.to_xarray()
    cut = Scene.from_xarray(array[:, 10:20, 5:25])  # its GeoTransform is that of the whole
    assert cut.transform == pytest.approx((30, 0, 5e5 + 150, 0, -30, 4e6 - 300))
    plain = xarray.DataArray(np.zeros((2, 3, 4), np.float32), dims=("band", "y", "x"))
    assert Scene.from_xarray(plain).wavelengths_nm is None and Scene.from_xarray(plain).transform is None
    microns = plain.assign_coords(wavelength=("band", [0.5, 0.6], {"units": "um"}))
    np.testing.assert_allclose(Scene.from_xarray(microns).wavelengths_nm, [500, 600])
    rotated = replace(scene, transform=(30.0, 1.0, 5e5, 1.0, -30.0, 4e6))
    assert (
        "x" not in rotated.to_xarray().coords and Scene.from_xarray(rotated.to_xarray()).transform == rotated.transform
    )
    for wrong, words in (
        (plain.transpose("y", "x", "band"), "transpose"),
        (plain.astype(complex), "real numbers"),
        (microns.assign_coords(wavelength=("band", [0.5, 0.6], {"units": "eV"})), "'ev'"),
        (plain.assign_coords(x=[0, 1, 5, 6], y=[0, 1, 2]), "evenly"),
    ):
        with pytest.raises(HsisrError, match=words):
            Scene.from_xarray(wrong)


@pytest.mark.parametrize(
    "name", ["hsisr", *(f"hsisr.{part.name}" for part in pkgutil.iter_modules(hsisr.__path__) if part.ispkg)]
)
def test_dir_lists_every_public_name_and_each_is_there(name):
    package = importlib.import_module(name)
    public = getattr(package, "__all__", [])
    assert set(public) <= set(dir(package))
    for key in dir(package):
        assert getattr(package, key, None) is not None or key.startswith("__")


def test_docs_names_of_packages_are_attributes():
    for name in (
        "datasets",
        "degrade",
        "evaluation",
        "finetuning",
        "inference",
        "metrics",
        "models",
        "ops",
        "report",
        "training",
    ):
        assert getattr(hsisr, name).__name__ == f"hsisr.{name}"
