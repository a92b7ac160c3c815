"""What metrics accept and refuse, before anything is computed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from hsisr import metrics
from hsisr.errors import HsisrError

SHAPE = (3, 40, 37)
FUNCTIONS = {
    "psnr": metrics.psnr,
    "psnr_per_band": metrics.psnr_per_band,
    "rmse": metrics.rmse,
    "rmse_per_band": metrics.rmse_per_band,
    "mae": metrics.mae,
    "cc": metrics.cc,
    "ssim": metrics.ssim,
    "ssim_per_band": metrics.ssim_per_band,
    "uiqi": metrics.uiqi,
    "uiqi_per_band": metrics.uiqi_per_band,
    "scc": metrics.scc,
    "sam": metrics.sam,
    "sid": metrics.sid,
    "ergas": lambda x, y, **options: metrics.ergas(x, y, 4, **options),
    "q2n": metrics.q2n,
}
everyone = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def images(shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    reference = np.clip(0.5 + 0.05 * rng.normal(size=shape).cumsum(axis=-1), 0.02, 1)
    return reference, np.clip(reference + 0.04 * rng.normal(size=shape), 0.01, 1)


@everyone
def test_batch_equals_loop(function):
    reference, estimate = images((3, *SHAPE))
    one_by_one = [function(x, y) for x, y in zip(reference, estimate, strict=True)]
    batch = function(reference, estimate)
    assert isinstance(batch, np.ndarray) and len(batch) == 3
    np.testing.assert_array_equal(batch, one_by_one)


@everyone
def test_border_is_cut_off_before_anything_else(function):
    reference, estimate = images()
    spoilt = estimate.copy()
    spoilt[:, :2] = spoilt[:, -2:] = spoilt[:, :, :2] = spoilt[:, :, -2:] = np.nan
    expected = function(reference[:, 2:-2, 2:-2], estimate[:, 2:-2, 2:-2])
    np.testing.assert_array_equal(function(reference, spoilt, border=2), expected)


@everyone
def test_mask_hides_what_lies_below_it(function):
    reference, estimate = images()
    mask = np.ones(SHAPE[1:], bool)
    mask[33:, :] = mask[:, 34:] = False
    first = function(np.where(mask, reference, np.nan), np.where(mask, estimate, 7), mask=mask)
    second = function(np.where(mask, reference, 0.3), np.where(mask, estimate, np.inf), mask=mask)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, function(reference[:, :33, :34], estimate[:, :33, :34]), rtol=1e-12)


@everyone
def test_mask_of_ones_changes_nothing(function):
    reference, estimate = images()
    np.testing.assert_array_equal(
        function(reference, estimate, mask=np.ones(SHAPE[1:], np.uint8)), function(reference, estimate)
    )


@everyone
def test_torch_and_other_types_agree_with_float64(function):
    reference, estimate = (image.astype(np.float32) for image in images())
    expected = function(reference.astype(np.float64), estimate.astype(np.float64))
    np.testing.assert_array_equal(function(reference, estimate), expected)
    tensors = torch.from_numpy(reference), torch.from_numpy(estimate).requires_grad_()
    np.testing.assert_array_equal(function(*tensors), expected)
    half = torch.from_numpy(estimate).bfloat16()
    np.testing.assert_array_equal(function(reference, half), function(reference, half.float().numpy()))


@everyone
def test_strided_views_are_read_right(function):
    reference, estimate = images()
    last = [np.ascontiguousarray(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in (reference, estimate)]
    np.testing.assert_array_equal(function(*last), function(reference, estimate))


@everyone
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(function, value):
    reference, estimate = images()
    bad = estimate.copy()
    bad[1, 5, 6] = value
    with pytest.raises(HsisrError, match="the estimate holds NaN or infinity in band 1"):
        function(reference, bad)
    with pytest.raises(HsisrError, match="the reference holds NaN or infinity in band 1"):
        function(bad, estimate)


@everyone
def test_shapes_must_agree(function):
    reference, estimate = images()
    with pytest.raises(HsisrError, match=r"\(3, 40, 37\), the estimate \(3, 40, 36\)"):
        function(reference, estimate[:, :, :-1])
    with pytest.raises(HsisrError, match=r"expected \(bands, rows, columns\) or"):
        function(reference[0], estimate[0])
    with pytest.raises(HsisrError, match="none of them 0"):
        function(reference[:0], estimate[:0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": np.ones((3, 3), bool)}, r"mask is \(3, 3\)"),
        ({"mask": np.ones(SHAPE[1:])}, "of float64; expected .* of bool"),
        ({"mask": np.zeros(SHAPE[1:], bool)}, "no valid pixel"),
        ({"border": 19}, "from 0 to 18"),
        ({"border": -1}, "border is -1"),
        ({"border": 1.5}, "border is 1.5"),
    ],
)
def test_masks_and_borders_that_do_not_fit(options, message):
    with pytest.raises(HsisrError, match=message):
        metrics.rmse(*images(), **options)


@pytest.mark.parametrize("values", [np.zeros(SHAPE, complex), "text", [[1, 2], [3]], None])
def test_only_real_numbers(values):
    with pytest.raises(HsisrError, match="metrics: estimate"):
        metrics.rmse(images()[0], values)


def test_importing_and_using_metrics_leaves_torch_alone():
    code = (
        "import sys, numpy as np, hsisr.metrics as m; x = np.linspace(0.1, 1, 3 * 12 * 12).reshape(3, 12, 12);"
        "m.score(x, x * 0.9, 4); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("function", [metrics.psnr, metrics.psnr_per_band, metrics.ssim, metrics.ssim_per_band])
def test_integers_need_a_peak(function):
    dark = np.ones((3, 16, 16), np.uint8)  # within [0, 1], so that their values do not tell that they are of 255
    with pytest.raises(HsisrError, match="the reference holds uint8; .* give peak"):
        function(dark, dark.astype(float))
    with pytest.raises(HsisrError, match="the estimate holds bool; .* give peak"):
        function(dark.astype(float), dark > 0)
    grey = 100 * dark
    assert np.all(function(grey, grey + 1, peak=255) < function(grey, grey, peak=255))


@pytest.mark.parametrize("shape", [(64, 48, 8), (2, 64, 48, 8)])
def test_bands_that_seem_to_come_last_are_warned_of(shape, recwarn):
    image = np.random.default_rng(0).random(shape)
    with pytest.warns(UserWarning, match="read as 64 bands of 48 x 8 pixels; if the bands come last, give np.moveaxis"):
        metrics.sam(image, image)
    assert recwarn.list == []
    metrics.sam(*(np.moveaxis(image, -1, -3),) * 2)
    assert recwarn.list == []


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda image: metrics.sam(image, image, epsilon=float("nan")), "epsilon is nan"),
        (lambda image: metrics.sam(image, image, epsilon=-1e-8), "epsilon is -1e-08"),
        (
            lambda image: metrics.ssim(image, image, window=7),
            r"window is 7; give a Window, such as uniform_window\(7\)",
        ),
        (lambda image: metrics.gaussian_window(11, 0), "sigma_px is 0"),
        (lambda image: metrics.gaussian_window(0, 1.5), "the window's size is 0"),
        (lambda image: metrics.uniform_window(0), "the window's size is 0"),
        (lambda image: metrics.uniform_window(1, sample_covariance=True), "one pixel has no sample covariance"),
    ],
)
def test_choices_that_give_no_score_are_refused(call, fault):
    with pytest.raises(HsisrError, match=fault):
        call(np.random.default_rng(0).random((3, 16, 16)))


def test_a_peak_far_above_the_values_is_warned_of(recwarn):
    image = np.random.default_rng(0).random((3, 16, 16))
    for score in (metrics.psnr, metrics.ssim, lambda x, y, peak: metrics.score(x, y, 4, peak=peak)):
        with pytest.warns(UserWarning, match="only reaches 0.9.*, and the peak is 255.* leave peak out"):
            score(image, 0.9 * image, peak=255)
        score(image * 255, 0.9 * image * 255, peak=255)
        score(image, 0.9 * image, peak=1)
    assert recwarn.list == []
