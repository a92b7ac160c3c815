"""Super-resolving in memory: the same checks, warnings and refusals as for files, and masked arrays."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import shift as moved

import hsisr
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference import Options, predict, super_resolve_file
from hsisr.models import registry
from tests.unit import own_scene
from tests.unit.own_scene import SCALE, TRANSFORM

MODELS = [name for name in registry.names() if registry.entry(name).kind == "classical"]


@pytest.fixture
def pair(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 24, 20)
    return read_scene(lr).load(), read_scene(guide).load(), sharp


def lines(*args, **options):
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        hsisr.super_resolve(*args, **options)
    said = [warning for warning in found if warning.category is UserWarning]
    assert all(warning.filename == __file__ for warning in said), "warnings name the caller's line"
    return [str(warning.message) for warning in said]


def test_nothing_is_said_of_what_fits(pair):
    assert lines(*pair[:2], model="gsa") == []


def test_values_beyond_the_models_range(pair):
    lr, guide, _ = pair
    said = lines(replace(lr, scale=1.0), guide, model="gsa")
    assert len(said) == 1 and "LR image: its values reach" in said[0] and "divided by that for the model" in said[0]
    assert "--peak (in Python peak=...)" in said[0]
    large = hsisr.super_resolve(replace(lr, scale=1.0), guide, model="bicubic")
    np.testing.assert_allclose(large, hsisr.super_resolve(lr, guide, model="bicubic") / 1e-4, rtol=1e-4, atol=0.1)
    said = lines(replace(lr, stored=lr.cube / 100, scale=1.0), guide, model="gsa")
    assert len(said) == 1 and "only reach" in said[0] and "divided by that for the model" in said[0]
    faint = hsisr.super_resolve(replace(lr, stored=lr.cube * 1e-6, scale=1.0), guide, model="hysure")
    np.testing.assert_allclose(
        faint * 1e6, hsisr.super_resolve(replace(lr, stored=lr.cube * 1e4, scale=1.0), guide, model="hysure") / 1e4,
        rtol=1e-3, atol=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            1e4,
            ("holds 10000, and 95% of its pixels stay within 0.", "its values reach 10000; they are"),
        ),
        (-9999, ("holds -9999, and its largest value is", "its values go down to -9999; they are divided by 9999")),
    ],
)
def test_values_that_are_no_measurements(pair, value, said):
    """A hot pixel, or missing pixels that nothing marks: methods with a guide learn from all pixels of a scene."""
    cube = pair[0].cube.copy()
    cube[:, 0, 0] = value
    found = lines(replace(pair[0], stored=cube, scale=1.0), model="bicubic", scale=2)
    assert all(f"LR image: {words}" in line for words, line in zip(said, found, strict=True))
    assert "mark them as missing" in found[0]


def test_wavelengths_and_bands_that_are_not_those_of_the_training(pair, tmp_path):
    model = own_scene.random_network(tmp_path / "m.safetensors", wavelengths_nm=[400.0, 550.0, 700.0, 710.0])
    assert any("lie outside the 400 to 710 nm" in line for line in lines(*pair[:2], model=model))


def test_a_guide_that_covers_too_little_or_lies_off(tmp_path):
    low, _, sharp = own_scene.write_pair(tmp_path, 48, 48)
    fine = own_scene.finer(TRANSFORM)
    part = own_scene.scene_of(sharp[:3, : 40 * SCALE], fine)
    assert any("guide: covers 83.3% of the ground of lr.tif" in line for line in lines(low, part, model="gsa"))
    off = np.stack([moved(channel, (3.0, -2.5), order=3, mode="nearest") for channel in sharp[:3]])
    said = lines(low, own_scene.scene_of(np.clip(off, 0, 1), fine), model="gsa")
    assert len(said) == 1 and "lies +0.7" in said[0] and "(in Python correct_shift=True)" in said[0]


def test_a_guide_that_is_not_read(pair):
    lr, guide, _ = pair
    assert lines(lr, guide, model="bicubic") == ["bicubic uses no guide; guide is not read"]
    assert lines(replace(lr, guide=guide), model="bicubic") == []
    np.testing.assert_array_equal(
        hsisr.super_resolve(replace(lr, guide=guide), model="gsa"), hsisr.super_resolve(lr, guide, model="gsa")
    )


@pytest.mark.parametrize("model", [*MODELS, "network"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["lr", "guide"])
def test_no_model_takes_nan_or_infinity(pair, tmp_path, model, value, which):
    if model == "network":
        model = own_scene.random_network(tmp_path / "m.safetensors")
    elif which == "guide" and not registry.entry(model).needs_guide:
        return
    images = {"lr": pair[0].cube.copy(), "guide": pair[1].cube.copy()}
    images[which][1, 5, 5] = value
    with pytest.raises(HsisrError, match="(LR image|guide): holds NaN or infinite values; replace them") as caught:
        hsisr.super_resolve(*images.values(), model=model)
    assert "\n" not in str(caught.value)


def test_values_beyond_32_bit_floats_are_not_called_infinite(pair):
    values = pair[0].cube.astype(np.float64)
    values[1, 5, 5] = 1e200
    with pytest.raises(HsisrError, match="LR image: holds values beyond 3.4e38; replace them"):
        hsisr.super_resolve(values, pair[1].cube, model="bicubic")


def test_the_mask_of_a_masked_array_counts(pair):
    lr, guide, _ = pair
    hole = np.zeros(lr.shape, bool)
    hole[2, 5:8, 4:9] = True
    values = lr.cube.copy()
    values[hole] = np.nan
    found = hsisr.super_resolve(np.ma.masked_array(values, hole), guide.cube, model="gsa")
    np.testing.assert_array_equal(
        found, hsisr.super_resolve(hsisr.Scene(lr.cube, mask=~hole.any(axis=0)), guide.cube, model="gsa")
    )
    assert (found[:, 5 * SCALE : 8 * SCALE, 4 * SCALE : 9 * SCALE] == 0).all() and found[:, :20].all()
    seen = np.zeros(guide.shape, bool)
    seen[0, 40:44, 40:44] = True
    dark = hsisr.super_resolve(lr.cube, np.ma.masked_array(guide.cube, seen), model="gsa")
    assert (dark[:, 40:44, 40:44] == 0).all() and dark[:, :40].all()


def test_a_band_that_is_masked_whole_is_bad(pair):
    lr, guide, _ = pair
    mask = np.zeros(lr.shape, bool)
    mask[1] = True
    found = hsisr.super_resolve(np.ma.masked_array(lr.cube, mask), guide.cube, model="gsa")
    np.testing.assert_array_equal(found[1], lr.cube[1].repeat(SCALE, 0).repeat(SCALE, 1))
    np.testing.assert_array_equal(found[[0, 2, 3]], hsisr.super_resolve(lr.cube[[0, 2, 3]], guide.cube, model="gsa"))


def test_arrays_that_are_no_images(pair):
    for array in (np.zeros((4, 4)), np.zeros((0, 4, 4)), np.zeros((2, 8, 8), complex), np.full((2, 8, 8), None)):
        with pytest.raises(HsisrError, match=r"^LR image: an array of .*; expected numbers, \(bands, rows, columns\)"):
            hsisr.super_resolve(array, model="bicubic", scale=2)


def test_memory_and_file_say_the_same(pair, tmp_path, capsys):
    lr, guide, _ = pair
    dark = replace(lr, stored=lr.cube / 100, scale=1.0)
    export(dark, tmp_path / "lr.tif")
    export(guide, tmp_path / "guide.tif")
    said = lines(tmp_path / "lr.tif", tmp_path / "guide.tif", model="gsa", out=tmp_path / "memory.tif")
    capsys.readouterr()
    super_resolve_file(tmp_path / "lr.tif", tmp_path / "guide.tif", "gsa", tmp_path / "file.tif", Options(device="cpu"))
    printed = capsys.readouterr().err.splitlines()
    assert [f"hsisr: warning: {line}" for line in said] == [line for line in printed if "warning" in line] != []
    first, second = (read_scene(tmp_path / name) for name in ("memory.tif", "file.tif"))
    np.testing.assert_array_equal(first.cube, second.cube)
    assert first.provenance == second.provenance


@pytest.mark.parametrize("model", ["bicubic", "gsa", "mulsr-xs"])
def test_predict_refuses_what_no_model_takes(pair, model):
    lr, guide = pair[0].cube, pair[1].cube
    method = registry.build(model, SCALE, len(lr), len(guide))
    for wrong, said in (
        (np.where(lr == lr.max(), np.nan, lr), "LR image: holds NaN or infinite values"),
        (np.ma.masked_array(lr, lr > 0.5), "LR image: is a masked array"),
        (lr[0], r"LR image: an array of float32, \(24, 20\); expected \(bands, rows, columns\)"),
    ):
        with pytest.raises(HsisrError, match=said):
            predict(method, wrong, guide)
    with pytest.raises(HsisrError, match="guide: holds NaN or infinite values"):
        predict(method, lr, guide * np.inf)
