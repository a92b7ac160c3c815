"""Q2n against UIQI, complex numbers, quaternions and the laws of the algebra."""

import numpy as np
import pytest

from hsisr import metrics
from hsisr.metrics.hypercomplex import unit_product_signs


def images(bands, rows=32, columns=32, seed=0):
    rng = np.random.default_rng((seed, bands))
    reference = np.clip(0.5 + 0.05 * rng.normal(size=(bands, rows, columns)).cumsum(axis=2), 0.05, 1)
    return reference, np.clip(0.9 * reference + 0.1 * rng.normal(size=reference.shape), 0, 1)


def quality(covariance, variances, norm_x, norm_y):
    return 2 * covariance / variances * 2 * norm_x * norm_y / (norm_x**2 + norm_y**2)


def literal(reference, estimate, product, conjugate):
    """Q2n of one tile from products of numbers given by their components (B, pixels)."""
    x, y = reference.reshape(len(reference), -1), estimate.reshape(len(estimate), -1)
    mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
    covariance = product(x, conjugate(y)).mean(axis=1) - product(mean_x, conjugate(mean_y))
    variances = sum((a**2).sum(axis=0).mean() - (m**2).sum() for a, m in ((x, mean_x), (y, mean_y)))
    return quality(np.linalg.norm(covariance), variances, np.linalg.norm(mean_x), np.linalg.norm(mean_y))


def hamilton(p, q):
    a, b, c, d = p
    e, f, g, h = q
    return np.array(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ]
    )


def conjugate(p):
    return np.concatenate([p[:1], -p[1:]])


def test_one_band_is_uiqi():
    reference, estimate = images(1, 96, 70)
    tiles = metrics.uiqi(reference, estimate, block=32, stride=32)
    assert metrics.q2n(reference, estimate) == pytest.approx(tiles, rel=1e-10)
    negative = metrics.q2n(reference, 1 - reference)  # the magnitude of a negative index
    assert negative == pytest.approx(-metrics.uiqi(reference, 1 - reference, block=32, stride=32), rel=1e-10)


def test_two_bands_are_complex_numbers():
    reference, estimate = images(2)
    x, y = reference[0] + 1j * reference[1], estimate[0] + 1j * estimate[1]
    covariance = abs((x * y.conj()).mean() - x.mean() * y.mean().conj())
    expected = quality(covariance, x.var() + y.var(), abs(x.mean()), abs(y.mean()))
    assert metrics.q2n(reference, estimate) == pytest.approx(expected, rel=1e-10)


def test_four_bands_are_quaternions():
    reference, estimate = images(4)
    assert metrics.q2n(reference, estimate) == pytest.approx(
        literal(reference, estimate, hamilton, conjugate), rel=1e-10
    )


def test_three_bands_are_quaternions_with_a_zero():
    reference, estimate = images(3)
    padded = [np.concatenate([image, np.zeros((1, 32, 32))]) for image in (reference, estimate)]
    assert metrics.q2n(reference, estimate) == pytest.approx(metrics.q2n(*padded), rel=1e-12)
    assert metrics.q2n(reference, estimate) == pytest.approx(literal(*padded, hamilton, conjugate), rel=1e-10)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 32])
def test_units_of_the_algebra(size):
    signs = unit_product_signs(size)
    assert set(np.unique(signs)) <= {-1.0, 1.0}
    assert (signs[0] == 1).all() and (signs[:, 0] == 1).all()  # e_0 is one
    assert (np.diag(signs)[1:] == -1).all()  # the others square to -1
    off = ~np.eye(size, dtype=bool)
    off[0] = off[:, 0] = False
    assert (signs[off] == -signs.T[off]).all()  # and anticommute


def test_octonions_compose_norms():
    signs = unit_product_signs(8)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 8))
    product = np.zeros(8)
    for i in range(8):
        for j in range(8):
            product[i ^ j] += signs[i, j] * x[i] * y[j]
    assert np.linalg.norm(product) == pytest.approx(np.linalg.norm(x) * np.linalg.norm(y))


def test_mean_over_whole_tiles_without_masked_pixels():
    reference, estimate = images(5, 70, 64)
    tiles = [
        metrics.q2n(reference[:, r : r + 32, c : c + 32], estimate[:, r : r + 32, c : c + 32])
        for r in (0, 32)
        for c in (0, 32)
    ]
    assert metrics.q2n(reference, estimate) == pytest.approx(np.mean(tiles), rel=1e-12)
    mask = np.ones((70, 64), bool)
    mask[40, 40] = False
    assert metrics.q2n(reference, estimate, mask=mask) == pytest.approx(np.mean(tiles[:3]), rel=1e-12)


def test_identical_constant_and_black_images():
    reference, _ = images(6)
    assert metrics.q2n(reference, reference) == pytest.approx(1)
    constant = np.full((3, 32, 32), 0.3)
    assert metrics.q2n(constant, constant) == pytest.approx(1)
    assert metrics.q2n(0 * constant, 0 * constant) == 1
    assert metrics.q2n(0 * constant, constant) == 0
