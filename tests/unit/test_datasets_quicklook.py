"""Quicklook: the right bands, stretched, invalid pixels black."""

import numpy as np
import pytest

from hsisr.datasets.quicklook import quicklook, show
from hsisr.datasets.readers import images
from hsisr.errors import HsisrError
from hsisr.scene import Scene


def scene(**facts) -> Scene:
    stored = np.random.default_rng(0).integers(1, 1000, (7, 20, 30)).astype(np.float32)
    return Scene(stored, "s", **{"wavelengths_nm": np.array([400, 455, 500, 550, 600, 645, 900.0]), **facts})


def test_wavelengths_choose_red_green_blue():
    assert np.array_equal(quicklook(scene()), quicklook(scene(), [5, 3, 1]))


def test_stretch_between_the_first_and_last_percent():
    picture = quicklook(scene(), [5, 3, 1])
    values = scene().cube[[5, 3, 1]]
    low, high = np.percentile(values, (1, 99))
    expected = np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)
    assert picture.dtype == np.uint8 and picture.shape == (20, 30, 3)
    assert np.abs(np.moveaxis(picture, -1, 0) - expected).max() <= 1


def test_one_band_is_grey_and_three_bands_are_rgb():
    grey = quicklook(scene(), [2])
    assert np.array_equal(grey[..., 0], grey[..., 2])
    rgb = scene(wavelengths_nm=None).bands([0, 1, 2])
    assert np.array_equal(quicklook(rgb), quicklook(rgb, [0, 1, 2]))


def test_invalid_pixels_are_black_and_do_not_count():
    stored = scene().stored.copy()
    stored[:, 0, 0] = 1e6
    mask = np.ones((20, 30), bool)
    mask[0, 0] = False
    masked = Scene(stored, "s", mask=mask)
    assert quicklook(masked, [0, 1, 2])[0, 0].tolist() == [0, 0, 0]
    assert quicklook(masked, [0, 1, 2])[1:].mean() > 50
    nodata = Scene(stored, "s", nodata=1e6)
    assert np.array_equal(quicklook(nodata, [0, 1, 2]), quicklook(masked, [0, 1, 2]))


def test_constant_scene_makes_a_picture():
    assert quicklook(Scene(np.ones((3, 4, 4), np.float32))).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("change", "bands", "fault"),
    [
        ({"wavelengths_nm": None}, None, r"say which of its 7 bands make .*: --bands R,G,B"),
        ({"wavelengths_nm": np.linspace(1000, 2500, 7)}, None, "do not cover the visible"),
        ({}, [0, 1], r"bands \[0, 1\] make no picture; give 3, or 1, of 0 to 6"),
        ({}, [0, 1, 7], "make no picture"),
        ({"mask": np.zeros((20, 30), bool)}, None, "no pixel is valid"),
    ],
)
def test_what_makes_no_picture(change, bands, fault):
    with pytest.raises(HsisrError, match=fault):
        quicklook(scene(**change), bands)


@pytest.mark.filterwarnings("error")
def test_show_writes_the_picture(tmp_path):
    show(scene(), tmp_path / "deep" / "x.png")
    assert np.array_equal(np.moveaxis(images.decode(tmp_path / "deep" / "x.png"), 0, -1), quicklook(scene()))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.png"]
