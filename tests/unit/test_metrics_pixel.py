"""PSNR, RMSE, MAE and correlation."""

import math

import numpy as np
import pytest

from hsisr import metrics
from hsisr.errors import HsisrError
from hsisr.metrics.pixel import mean_band_psnr, whole_cube_psnr


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    reference = rng.uniform(0.1, 1, (4, 70, 23))  # two strips, the last one short
    return reference, reference + 0.1 * rng.normal(size=reference.shape)


@pytest.fixture
def mask():
    return np.random.default_rng(2).random((70, 23)) < 0.6


def test_definitions_over_valid_pixels(pair, mask):
    x, y = (image[:, mask] for image in pair)
    mse = ((x - y) ** 2).mean(axis=1)
    options = {"mask": mask}
    assert metrics.psnr(*pair, **options) == pytest.approx(10 * np.log10(1 / mse.mean()), rel=1e-12)
    assert metrics.psnr_per_band(*pair, **options) == pytest.approx(10 * np.log10(1 / mse), rel=1e-12)
    assert metrics.rmse(*pair, **options) == pytest.approx(np.sqrt(mse.mean()), rel=1e-12)
    assert metrics.rmse_per_band(*pair, **options) == pytest.approx(np.sqrt(mse), rel=1e-12)
    assert metrics.mae(*pair, **options) == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)])
    assert metrics.cc(*pair, **options) == pytest.approx(expected, rel=1e-12)


def test_peak_shifts_psnr_by_its_decibels(pair):
    shift = 20 * math.log10(255)
    assert metrics.psnr(*pair, peak=255) == pytest.approx(metrics.psnr(*pair) + shift)
    assert metrics.psnr_per_band(*pair, peak=255) == pytest.approx(metrics.psnr_per_band(*pair) + shift)
    for peak in (0, -1, math.nan, math.inf, "one"):
        with pytest.raises(HsisrError, match="peak"):
            metrics.psnr(*pair, peak=peak)


def test_mean_of_bands_is_never_below_whole_cube(pair):
    mse = metrics.rmse_per_band(*pair) ** 2
    assert mean_band_psnr(mse) == pytest.approx(metrics.psnr_per_band(*pair).mean())
    assert mean_band_psnr(mse) > whole_cube_psnr(mse)  # Jensen


def test_identical_images(pair):
    reference, _ = pair
    assert metrics.psnr(reference, reference) == math.inf
    assert (metrics.psnr_per_band(reference, reference) == math.inf).all()
    assert metrics.rmse(reference, reference) == metrics.mae(reference, reference) == 0
    assert metrics.cc(reference, reference) == pytest.approx(1, abs=1e-15)


def test_bands_without_error_are_left_out_of_the_mean():
    assert mean_band_psnr(np.array([0.01, 0.0, 0.0001])) == pytest.approx(30)
    assert mean_band_psnr(np.zeros(2)) == math.inf


def test_single_pixel_has_errors_but_no_correlation():
    reference, estimate = np.full((2, 1, 1), 0.5), np.full((2, 1, 1), 0.25)
    assert metrics.rmse(reference, estimate) == metrics.mae(reference, estimate) == 0.25
    assert metrics.psnr(reference, estimate) == pytest.approx(20 * math.log10(4))
    with pytest.raises(HsisrError, match="every band of the reference is constant"):
        metrics.cc(reference, estimate)


def test_correlation_with_constant_bands(pair):
    reference, estimate = (image.copy() for image in pair)
    others = metrics.cc(reference[1:], estimate[1:])
    reference[0] = 0.3  # a value whose mean over pixels is not exact in binary
    assert metrics.cc(reference, estimate) == pytest.approx(others, rel=1e-12)
    flat = np.full_like(estimate, 0.7)
    flat[2:] = estimate[2:]
    assert metrics.cc(reference, flat) == pytest.approx(metrics.cc(reference[2:], estimate[2:]) * 2 / 3, rel=1e-12)


def test_low_contrast_keeps_its_digits(pair):
    reference, estimate = pair
    faint = metrics.cc(1000 + 1e-6 * reference, 1000 + 1e-6 * estimate)
    # 1000 + 1e-6 x is stored to 1e-13: a relative 1e-7 of the contrast
    assert faint == pytest.approx(metrics.cc(reference, estimate), rel=1e-6)
