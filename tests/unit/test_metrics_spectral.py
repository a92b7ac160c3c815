"""SAM, SID and ERGAS."""

import math

import numpy as np
import pytest

from hsisr import metrics
from hsisr.errors import HsisrError

EPSILON = 2.2204e-16


@pytest.fixture
def pair():
    rng = np.random.default_rng(7)
    reference = rng.uniform(0.1, 1, (6, 40, 9))
    return reference, np.abs(reference + 0.05 * rng.normal(size=reference.shape))


def angle(x, y, epsilon=None):
    """Of one pixel, in degrees, as the definition reads."""
    if epsilon is not None:
        x, y = np.where(x == 0, epsilon, x), np.where(y == 0, epsilon, y)
    cosine = np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y) + (epsilon or 0))
    return math.degrees(math.acos(min(max(cosine, -1), 1)))


def test_sam_is_the_mean_angle_of_valid_pixels(pair):
    mask = np.random.default_rng(8).random((40, 9)) < 0.5
    for valid in (np.ones_like(mask), mask):
        expected = np.mean([angle(x, y) for x, y in zip(pair[0][:, valid].T, pair[1][:, valid].T, strict=True)])
        assert metrics.sam(*pair, mask=valid) == pytest.approx(expected, rel=1e-12)


def test_sam_of_known_angles(pair):
    x = np.zeros((2, 1, 3))
    x[0] = 1
    y = np.array([[1.0, 0.0, -1.0], [1.0, 2.0, 0.0]])[:, None]
    assert metrics.sam(x, y) == pytest.approx((45 + 90 + 180) / 3)
    assert metrics.sam(pair[0], pair[0]) == 0
    assert metrics.sam(pair[0], 3 * pair[0]) == pytest.approx(0, abs=1e-5)  # blind to brightness


def test_sam_leaves_black_pixels_out(pair):
    reference, estimate = (image.copy() for image in pair)
    expected = metrics.sam(reference[:, 3:], estimate[:, 3:])
    reference[:, 0], estimate[:, 1], reference[:, 2], estimate[:, 2] = 0, 0, 0, 0
    assert metrics.sam(reference, estimate) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(HsisrError, match="every pixel has a zero spectrum"):
        metrics.sam(0 * reference, estimate)


def test_sam_with_epsilon_counts_every_pixel(pair):
    reference, estimate = (image.copy() for image in pair)
    reference[:, 0], estimate[:, 1], reference[:, 2], estimate[:, 2] = 0, 0, 0, 0
    reference[2, 5], estimate[3, 5] = 0, 0
    spectra = zip(reference.reshape(6, -1).T, estimate.reshape(6, -1).T, strict=True)
    expected = np.mean([angle(x, y, EPSILON) for x, y in spectra])
    assert metrics.sam(reference, estimate, epsilon=EPSILON) == pytest.approx(expected, rel=1e-12)
    black = np.zeros((3, 2, 2))
    assert metrics.sam(black, black, epsilon=EPSILON) == pytest.approx(90)


def test_sid_is_the_symmetric_divergence_of_normalised_spectra(pair):
    p, q = (image / image.sum(axis=0) for image in pair)
    expected = (p * np.log(p / q) + q * np.log(q / p)).sum(axis=0).mean()
    assert metrics.sid(*pair) == pytest.approx(expected, rel=1e-9)
    assert metrics.sid(pair[1], pair[0]) == pytest.approx(expected, rel=1e-9)
    assert metrics.sid(pair[0], 0.3 * pair[0]) == pytest.approx(0, abs=1e-12)


def test_sid_raises_zeros_to_the_floor_and_leaves_black_pixels_out(pair):
    reference, estimate = (image.copy() for image in pair)
    estimate[2, 5:] = 0
    expected = metrics.sid(reference[:, 5:], np.maximum(estimate[:, 5:], 1e-3), floor=1e-9)
    reference[:, 0], estimate[:, 1:5] = 0, 0
    assert metrics.sid(reference, estimate, floor=1e-3) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(HsisrError, match="every pixel is black"):
        metrics.sid(reference, 0 * estimate)
    with pytest.raises(HsisrError, match="floor"):
        metrics.sid(reference, estimate, floor=0)


def test_ergas_definition(pair):
    mse = ((pair[0] - pair[1]) ** 2).mean(axis=(1, 2))
    expected = 100 / 8 * np.sqrt(np.mean(mse / pair[0].mean(axis=(1, 2)) ** 2))
    assert metrics.ergas(*pair, 8) == pytest.approx(expected, rel=1e-12)
    assert metrics.ergas(*pair, 4) == pytest.approx(2 * expected)
    assert metrics.ergas(pair[0], pair[0], 8) == 0


def test_ergas_leaves_bands_of_mean_zero_out(pair):
    reference, estimate = (image.copy() for image in pair)
    reference[2] = 0
    kept = [0, 1, 3, 4, 5]
    assert metrics.ergas(reference, estimate, 4) == pytest.approx(metrics.ergas(reference[kept], estimate[kept], 4))
    with pytest.raises(HsisrError, match="every band of the reference has mean 0"):
        metrics.ergas(0 * reference, estimate, 4)


@pytest.mark.parametrize("scale", [0, -4, math.nan, math.inf, None, "x4"])
def test_ergas_refuses_an_impossible_scale(pair, scale):
    with pytest.raises(HsisrError, match="scale is"):
        metrics.ergas(*pair, scale)
