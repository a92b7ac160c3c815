"""Metrics against torchmetrics, scikit-image and sewar, with the known difference of each.

Not comparable at all: sewar's `uqi` (and its D_lambda and D_s, which use it) takes means of windows for sums, and its
`scc` correlates in windows of 8 pixels; torchmetrics' D_lambda and D_s use the UIQI under a Gaussian window.
"""

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as torchmetrics
from scipy.stats import entropy
from sewar import full_ref as sewar
from sewar.utils import Filter
from skimage.measure import pearson_corr_coeff
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hsisr import metrics

SCALE = 8
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(12)
    reference = np.clip(0.5 + 0.1 * rng.normal(size=(5, 64, 49)).cumsum(axis=2), 0.02, 1)
    return reference, np.clip(reference + 0.05 * rng.normal(size=reference.shape), 0.01, 1)


def tensors(pair):
    """(estimate, reference), each with a batch axis, as torchmetrics wants them."""
    return [torch.from_numpy(image)[None] for image in reversed(pair)]


def last(pair):
    """Bands last, as sewar wants them."""
    return [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in pair]


def test_psnr(pair):
    assert metrics.psnr(*pair) == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1), rel=TOLERANCE)
    assert metrics.psnr(*pair) == pytest.approx(
        float(torchmetrics.peak_signal_noise_ratio(*tensors(pair), data_range=1.0)), rel=TOLERANCE
    )
    per_band = [peak_signal_noise_ratio(x, y, data_range=1) for x, y in zip(*pair, strict=True)]
    assert metrics.psnr_per_band(*pair) == pytest.approx(per_band, rel=TOLERANCE)


def test_rmse(pair):
    assert metrics.rmse(*pair) == pytest.approx(sewar.rmse(*last(pair)), rel=TOLERANCE)


def test_gaussian_ssim(pair):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(*pair, channel_axis=0, data_range=1, **options)
    assert metrics.ssim(*pair) == pytest.approx(expected, rel=TOLERANCE)
    # torchmetrics averages over mirrored borders too
    _, maps = torchmetrics.structural_similarity_index_measure(*tensors(pair), data_range=1.0, return_full_image=True)
    assert metrics.ssim(*pair) == pytest.approx(float(maps[..., 5:-5, 5:-5].mean()), rel=TOLERANCE)
    # sewar has a uniform window of 11 pixels if not told
    window = {"fltr": Filter.GAUSSIAN, "ws": 11, "sigma": 1.5}
    assert metrics.ssim(*pair) == pytest.approx(sewar.ssim(*last(pair), MAX=1.0, fltr_specs=window)[0], rel=TOLERANCE)


def test_uniform_ssim(pair):
    expected = structural_similarity(*pair, channel_axis=0, data_range=1)
    assert metrics.ssim(*pair, window=metrics.UNIFORM_7) == pytest.approx(expected, rel=TOLERANCE)


def test_sam(pair):
    radians = np.radians(metrics.sam(*pair))  # both give radians
    assert radians == pytest.approx(sewar.sam(*last(pair)), rel=TOLERANCE)
    assert radians == pytest.approx(float(torchmetrics.spectral_angle_mapper(*tensors(pair))), rel=TOLERANCE)


def test_ergas(pair):
    # sewar wants 1 / scale and takes 1/4 if not told; torchmetrics wants the scale and takes 4
    assert metrics.ergas(*pair, SCALE) == pytest.approx(sewar.ergas(*last(pair), r=1 / SCALE), rel=TOLERANCE)
    expected = torchmetrics.error_relative_global_dimensionless_synthesis(*tensors(pair), ratio=SCALE)
    assert metrics.ergas(*pair, SCALE) == pytest.approx(float(expected), rel=TOLERANCE)


def test_cc(pair):
    expected = np.mean([pearson_corr_coeff(x, y)[0] for x, y in zip(*pair, strict=True)])
    assert metrics.cc(*pair) == pytest.approx(expected, rel=TOLERANCE)


def test_uiqi(pair):
    # torchmetrics has a Gaussian window; an endless sigma makes it uniform
    expected = torchmetrics.universal_image_quality_index(*tensors(pair), kernel_size=(7, 7), sigma=(1e6, 1e6))
    assert metrics.uiqi(*pair, block=7) == pytest.approx(float(expected), rel=TOLERANCE)


def test_sid(pair):
    x, y = pair
    expected = (entropy(x, y, axis=0) + entropy(y, x, axis=0)).mean()
    assert metrics.sid(*pair) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_q2n(pair, bands):
    # sewar standardises each tile by the reference, as the toolboxes do, which is no change for standardised tiles
    x, y = (image[:bands, :32, :32] for image in pair)
    mean, deviation = x.mean(axis=(1, 2), keepdims=True), x.std(axis=(1, 2), keepdims=True, ddof=1)
    standardised = [(image - mean) / deviation + 1 for image in (x, y)]
    assert metrics.q2n(*standardised) == pytest.approx(sewar.q2n(*last(standardised)), rel=TOLERANCE)
