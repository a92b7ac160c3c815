"""SSIM, UIQI and SCC."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from hsisr import metrics
from hsisr.errors import HsisrError
from hsisr.metrics import GAUSSIAN_11, UNIFORM_7
from hsisr.metrics.windows import WindowMeans

WINDOWS = pytest.mark.parametrize("window", [GAUSSIAN_11, UNIFORM_7], ids=["gaussian", "uniform"])


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    reference = np.clip(0.5 + 0.1 * rng.normal(size=(2, 71, 45)).cumsum(axis=2), 0, 1)
    return reference, np.clip(reference + 0.1 * rng.normal(size=reference.shape), 0, 1)


@pytest.fixture
def mask():
    mask = np.ones((71, 45), bool)
    mask[40, 20] = mask[3, 44] = mask[70, 0] = False
    return mask


def moments(x, y, size, weights):
    """Moments over every window, each computed on its own, about its means."""
    weights = np.outer(weights, weights)
    x, y = sliding_window_view(x, (size, size)), sliding_window_view(y, (size, size))
    mean_x, mean_y = (x * weights).sum((2, 3)), (y * weights).sum((2, 3))
    dx, dy = x - mean_x[..., None, None], y - mean_y[..., None, None]
    return mean_x, mean_y, *((a * b * weights).sum((2, 3)) for a, b in ((dx, dx), (dy, dy), (dx, dy)))


def ssim_map(x, y, window):
    mean_x, mean_y, xx, yy, xy = moments(x, y, window.size, window.weights)
    c1, c2 = 1e-4, 9e-4
    xx, yy, xy = (window.bias * value for value in (xx, yy, xy))
    return (2 * mean_x * mean_y + c1) * (2 * xy + c2) / ((mean_x**2 + mean_y**2 + c1) * (xx + yy + c2))


def uiqi_map(x, y, block):
    mean_x, mean_y, xx, yy, xy = moments(x, y, block, np.full(block, 1 / block))
    return 4 * xy * mean_x * mean_y / ((xx + yy) * (mean_x**2 + mean_y**2))


def free_of_masked_pixels(mask, size):
    return sliding_window_view(mask, (size, size)).all(axis=(2, 3))


def test_windows_are_what_they_say():
    assert GAUSSIAN_11.size == 11 and UNIFORM_7.size == 7
    assert sum(GAUSSIAN_11.weights) == pytest.approx(1) and sum(UNIFORM_7.weights) == pytest.approx(1)
    impulse = np.zeros(41)
    impulse[20] = 1
    expected = ndimage.gaussian_filter1d(impulse, 1.5, radius=5)[15:26]
    np.testing.assert_allclose(GAUSSIAN_11.weights, expected, rtol=1e-12)
    assert UNIFORM_7.bias == 49 / 48


@pytest.mark.parametrize("shape", [(1, 11, 11), (2, 12, 600), (4, 50, 43)])
def test_window_means(shape):
    planes = np.random.default_rng(4).random(shape)
    work = np.empty(shape)
    means = WindowMeans(GAUSSIAN_11.weights, work)
    weights = np.outer(GAUSSIAN_11.weights, GAUSSIAN_11.weights)
    expected = (sliding_window_view(planes, (11, 11), axis=(1, 2)) * weights).sum(axis=(3, 4))
    for _ in range(2):  # the second time in used buffers
        work[...] = planes
        np.testing.assert_allclose(means(), expected, rtol=1e-12)


@WINDOWS
def test_ssim_is_the_mean_over_windows_without_masked_pixels(pair, mask, window):
    maps = [ssim_map(x, y, window) for x, y in zip(*pair, strict=True)]
    expected = [values.mean() for values in maps]
    assert metrics.ssim_per_band(*pair, window=window) == pytest.approx(expected, rel=1e-12)
    assert metrics.ssim(*pair, window=window) == pytest.approx(np.mean(expected), rel=1e-12)
    whole = free_of_masked_pixels(mask, window.size)
    assert 0 < whole.sum() < whole.size
    expected = [values[whole].mean() for values in maps]
    assert metrics.ssim_per_band(*pair, window=window, mask=mask) == pytest.approx(expected, rel=1e-12)


@WINDOWS
def test_ssim_follows_the_peak(pair, window):
    scaled = [255 * image for image in pair]
    assert metrics.ssim(*scaled, window=window, peak=255) == pytest.approx(metrics.ssim(*pair, window=window))


@WINDOWS
def test_ssim_of_identical_and_constant_images(pair, window):
    assert metrics.ssim(pair[0], pair[0], window=window) == 1
    black = np.zeros_like(pair[0])
    assert metrics.ssim(black, black, window=window) == 1
    grey = np.full_like(black, 0.5)
    assert metrics.ssim(black, grey, window=window) == pytest.approx(1e-4 / (0.25 + 1e-4), rel=1e-9)


@pytest.mark.parametrize(("block", "stride"), [(8, 1), (32, 1), (8, 8), (32, 32), (7, 3)])
def test_uiqi_is_the_mean_over_blocks(pair, mask, block, stride):
    every = (slice(None, None, stride), slice(None, None, stride))
    maps = [uiqi_map(x, y, block)[every] for x, y in zip(*pair, strict=True)]
    options = {"block": block, "stride": stride}
    expected = [values.mean() for values in maps]
    assert metrics.uiqi_per_band(*pair, **options) == pytest.approx(expected, rel=1e-9)
    assert metrics.uiqi(*pair, **options) == pytest.approx(np.mean(expected), rel=1e-9)
    whole = free_of_masked_pixels(mask, block)[every]
    if whole.any():
        expected = [values[whole].mean() for values in maps]
        assert metrics.uiqi_per_band(*pair, **options, mask=mask) == pytest.approx(expected, rel=1e-9)


def test_uiqi_where_its_factors_are_undefined(pair):
    constant = np.full((1, 9, 9), 0.3)
    black = np.zeros_like(constant)
    assert metrics.uiqi(constant, constant) == 1
    assert metrics.uiqi(black, black) == 1
    assert metrics.uiqi(black, constant) == 0
    assert metrics.uiqi(constant, 2 * constant) == pytest.approx(0.8)  # the same contrast, another brightness
    assert metrics.uiqi(constant, pair[1][:1, :9, :9]) == pytest.approx(0, abs=1e-12)
    assert metrics.uiqi(pair[0], pair[0]) == pytest.approx(1)


def test_uiqi_of_a_black_corner_beside_a_bright_area():
    reference = np.random.default_rng(5).random((1, 16, 64))
    reference[:, :, 20:] = 0
    estimate = 0.9 * reference
    expected = np.ones((9, 57))
    expected[:, :20] = uiqi_map(reference[0, :, :27], estimate[0, :, :27], 8)
    assert metrics.uiqi(reference, estimate) == pytest.approx(expected.mean(), rel=1e-9)


def test_scc_is_the_correlation_of_laplacians(pair, mask):
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8
    detail = [np.array([ndimage.correlate(band, kernel) for band in image])[:, 1:-1, 1:-1] for image in pair]
    assert metrics.scc(*pair) == pytest.approx(metrics.cc(*detail), rel=1e-10)
    whole = free_of_masked_pixels(mask, 3)
    assert metrics.scc(*pair, mask=mask) == pytest.approx(metrics.cc(*detail, mask=whole), rel=1e-10)


def test_scc_is_blind_to_slopes_and_undefined_without_detail(pair):
    rows = np.linspace(0, 1, 71)[None, :, None]
    assert metrics.scc(pair[0], pair[1] + rows) == pytest.approx(metrics.scc(*pair))
    with pytest.raises(HsisrError, match="constant"):
        metrics.scc(np.full_like(pair[0], 0.3), pair[1])


@pytest.mark.parametrize(
    ("function", "size", "name"),
    [(metrics.ssim, 11, "SSIM"), (metrics.uiqi, 8, "UIQI"), (metrics.scc, 3, "SCC"), (metrics.q2n, 32, "Q2n")],
)
def test_images_smaller_than_the_window(function, size, name):
    image = np.random.default_rng(6).random((1, size, size))
    if function is not metrics.scc:  # a single value of detail correlates with nothing
        assert function(image, image) == pytest.approx(1)
    with pytest.raises(HsisrError, match=rf"{name} needs images of at least {size} x {size} .* are {size - 1} x"):
        function(image[:, 1:], image[:, 1:])
    with pytest.raises(HsisrError, match=f"are {size - 2} x {size - 2} after cropping"):
        function(image, image, border=1)


@pytest.mark.parametrize("function", [metrics.ssim, metrics.uiqi, metrics.q2n, metrics.scc])
def test_no_window_without_a_masked_pixel(pair, function):
    mask = np.ones((71, 45), bool)
    mask[::2, ::2] = False
    with pytest.raises(HsisrError, match="without a masked pixel; (mask less, or take .* need no|use a smaller block)"):
        function(*pair, mask=mask)


def test_blocks_and_strides_are_whole_numbers(pair):
    for options in ({"block": 0}, {"block": 2.5}, {"stride": 0}):
        with pytest.raises(HsisrError, match="whole number above 0"):
            metrics.uiqi(*pair, **options)
