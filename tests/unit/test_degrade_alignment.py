"""Shifts: exact ones against the published findings, measured ones against the exact."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from hsisr.degrade import CustomProtocol, Pair, measure_shift, pair, registration, shift_of
from hsisr.errors import HsisrError
from hsisr.scene import Scene


def read_cave(folder, name: str) -> Scene:
    files = sorted((folder / f"{name}_ms").rglob(f"{name}_ms_[0-9][0-9].png"))
    cube = np.stack([np.asarray(Image.open(file)) for file in files]) / np.float32(65535)
    return Scene(cube, name, wavelengths_nm=np.arange(400, 701, 10.0))


@pytest.fixture(scope="module")
def feathers(extra_data) -> Scene:
    return read_cave(extra_data / "data" / "cave" / "complete_ms_data", "feathers")


@pytest.fixture
def texture() -> Scene:
    cube = np.random.default_rng(0).random((4, 96, 96))
    smooth = cube + np.roll(cube, 1, axis=1) + np.roll(cube, 1, axis=2)
    return Scene(smooth / 3, "texture", wavelengths_nm=np.array([450.0, 520.0, 580.0, 640.0]))


@pytest.mark.parametrize(("scale", "rows", "columns"), [(4, 1.50, 1.17), (8, 3.44, 2.54), (16, 5.61, 4.29)])
def test_published_shift_of_mulsr(scale, rows, columns):
    assert shift_of("mulsr", scale) == pytest.approx((rows, columns), abs=0.01)


@pytest.mark.parametrize("name", ["mulsr-aligned", "mixup", "wald", "full"])  # of the leagues: test_leagues.py
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8, 16])
def test_every_other_protocol_is_aligned(name, scale):
    assert shift_of(name, scale) == pytest.approx((0, 0), abs=1e-9)


def test_shift_of_strided_sampling_is_its_phase():
    corner = CustomProtocol("corner", {"psf": "none", "sampling": "strided", "phase": 0})
    assert shift_of(corner, 4) == pytest.approx((-1.5, -1.5))


@pytest.mark.parametrize(
    ("protocol", "scale"), [("mulsr", 4), ("mulsr", 8), ("mulsr", 16), ("mulsr-aligned", 8), ("wald", 8)]
)
def test_measured_shift_on_cave(feathers, protocol, scale):
    side = min(512, 32 * scale)
    found = registration(pair(feathers.window(slice(0, side), slice(0, side)), protocol, scale, noise=0))
    assert found.shift_px == pytest.approx(shift_of(protocol, scale), abs=0.1)
    assert found.unexplained < 0.001


def test_measured_width_on_cave(feathers):
    found = registration(pair(feathers.window(slice(0, 256), slice(0, 256)), "wald", 8))
    assert found.sigma_px == pytest.approx((3.397, 3.397), abs=0.05)


def test_measured_shift_of_a_moved_image(texture):
    made = pair(texture, "wald", 4)
    moved = pair(Scene(np.roll(texture.cube, (-1, -2), axis=(1, 2)), "moved"), "wald", 4, response="none")
    rows, columns = measure_shift(moved.lr, made.guide, 4)
    assert (rows, columns) == pytest.approx((1, 2), abs=0.1)


def test_a_channel_of_another_image_does_not_count(texture):
    made = pair(texture.window(slice(0, 64), slice(0, 64)), "wald", 4)
    guide = np.concatenate([made.guide, np.random.default_rng(0).random((3, 64, 64))])
    assert measure_shift(made.lr, guide, 4) == pytest.approx((0, 0), abs=0.1)


@pytest.mark.parametrize("which", ["guide", "lr"])
def test_saturated_pixels_do_not_count(which):
    """Their true values are unknown: one in ten of them made the PSF look many times too wide."""
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((4, 192, 192)), (0, 6, 6))
    bands = np.array([450.0, 520.0, 580.0, 640.0])
    made = pair(Scene(0.1 * np.exp(smooth / smooth.std()), "few bright spots", wavelengths_nm=bands), "wald", 4)
    images = {"guide": made.guide, "lr": made.lr}
    images[which] = np.minimum(images[which], np.percentile(images[which], 90, axis=(1, 2), keepdims=True))
    seen = Pair(images["lr"], images["guide"], None, None, made.metadata)
    clean, found = registration(made), registration(seen)
    assert found.shift_px == pytest.approx(clean.shift_px, abs=0.05)
    assert found.sigma_px == pytest.approx(clean.sigma_px, rel=0.05)
    assert found.unexplained < 0.01
    # of a drawing, nothing would be left
    drawing = np.where(made.guide > np.median(made.guide), 1.0, 0.2)
    assert registration(Pair(made.lr, drawing, None, None, made.metadata)).shift_px == pytest.approx((0, 0), abs=0.5)
    drawing = np.where(made.lr[:1] > np.median(made.lr[:1]), 1.0, 0.2)
    assert registration(Pair(drawing, made.guide, None, None, made.metadata)).shift_px == pytest.approx((0, 0), abs=0.5)


def test_masked_pixels_do_not_count(texture):
    made = pair(texture, "wald", 4)
    mask = np.ones((96, 96), dtype=bool)
    mask[40:60, 40:60] = False
    spoilt = made.lr.copy()
    spoilt[:, 10:15, 10:15] = np.random.default_rng(0).random((4, 5, 5))
    clean = registration(made)
    assert registration(Pair(spoilt, made.guide, made.hr, None, made.metadata)).unexplained > 0.02
    masked = registration(Pair(spoilt, made.guide, made.hr, mask, made.metadata))
    assert masked.shift_px == pytest.approx(clean.shift_px, abs=0.1)
    assert masked.unexplained < 0.01


def test_what_cannot_be_measured_is_refused(texture):
    with pytest.raises(HsisrError, match="no guide"):
        registration(pair(texture, "mixup", 4))
    with pytest.raises(HsisrError, match="6 x 6 or more"):
        registration(pair(texture, "wald", 24))
    with pytest.raises(HsisrError, match="do not differ by scale 2"):
        measure_shift(np.ones((4, 24, 24)), np.ones((3, 96, 96)), 2)
    with pytest.raises(HsisrError, match="no detail"):
        measure_shift(np.full((4, 24, 24), 0.3), np.full((3, 96, 96), 0.3), 4)
    with pytest.raises(HsisrError, match="NaN"):
        measure_shift(np.full((4, 24, 24), np.nan), np.ones((3, 96, 96)), 4)
    made = pair(texture, "wald", 4)
    with pytest.raises(HsisrError, match="mask leaves 0"):
        registration(Pair(made.lr, made.guide, made.hr, np.zeros((96, 96), dtype=bool), made.metadata))
