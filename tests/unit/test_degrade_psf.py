"""Kernels against the published vectors and against their definitions."""

import math
import re

import numpy as np
import pytest

from hsisr.degrade import anisotropic_gaussian
from hsisr.degrade.psf import (
    AnisotropicPsf,
    ArrayPsf,
    BlockMeanPsf,
    BlockShiftedPsf,
    GaussianPsf,
    centred_offsets,
    sigma_of_mtf,
)
from hsisr.errors import HsisrError


def centroid(kernel: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(kernel.shape)
    return float((kernel * rows).sum()), float((kernel * columns).sum())


def test_published_kernels(extra_data):
    vectors = np.load(extra_data / "reference" / "mulsr_degradation.npz")
    cases = {f"kernel_x{scale}": (13, scale, 2.0, 10.0, math.pi / 2) for scale in (4, 8, 16)}
    for name in vectors:
        match = re.fullmatch(r"kernel_(\d+)_x(\d+)_([\d.]+)_([\d.]+)_([\d.]+)", name)
        if match:
            size, scale, *shape = match.groups()
            cases[name] = (int(size), int(scale), *map(float, shape))
    assert len(cases) == 6
    for name, arguments in cases.items():
        expected = vectors[name]
        assert np.abs(anisotropic_gaussian(*arguments) - expected).max() <= 1e-9 * expected.max(), name


def test_anisotropic_gaussian_is_its_formula():
    size, scale, l1, l2, theta = 9, 3, 0.7, 4.0, 0.4
    rotation = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    inverse = np.linalg.inv(rotation @ np.diag([l1, l2]) @ rotation.T)
    m = size // 2 + 0.5 * (scale - size % 2)
    expected = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            v = np.array([column - m, row - m])
            expected[row, column] = math.exp(-0.5 * v @ inverse @ v)
    np.testing.assert_allclose(anisotropic_gaussian(size, scale, l1, l2, theta), expected / expected.sum(), rtol=1e-12)


def test_narrow_kernel_far_outside_its_window_is_finite():
    kernel = anisotropic_gaussian(7, 64, 0.2, 0.2, 0.0)
    assert np.isfinite(kernel).all()
    assert kernel[-1, -1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "arguments", [(12, 8, 2, 10, 0), (13, 0, 2, 10, 0), (0, 8, 2, 10, 0), (13, 8, 0, 10, 0), (13, 8, 2, math.inf, 0)]
)
def test_impossible_kernels_are_refused(arguments):
    with pytest.raises(HsisrError):
        anisotropic_gaussian(*arguments)


def test_offsets_reach_the_first_sample_beyond():
    np.testing.assert_array_equal(centred_offsets(6.79, even=True), np.arange(-7.5, 8))
    np.testing.assert_array_equal(centred_offsets(6.4, even=True), np.arange(-6.5, 7))
    np.testing.assert_array_equal(centred_offsets(6.79, even=False), np.arange(-7, 8))


def test_mtf_gain_is_met_at_nyquist():
    scale, gain = 4, 0.3
    sigma = sigma_of_mtf(gain, scale)
    frequency = 1 / (2 * scale)  # cycles per HR pixel
    assert math.exp(-2 * (math.pi * frequency * sigma) ** 2) == pytest.approx(gain, rel=1e-12)
    assert GaussianPsf(mtf_gain=gain).sigma(scale) == pytest.approx(sigma)


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize(
    "psf",
    [
        GaussianPsf(sigma_px=1.7),
        GaussianPsf(sigma_lr=0.42),
        GaussianPsf(mtf_gain=0.25),
        AnisotropicPsf(2.0, 10.0, 0.3, 13),
        BlockMeanPsf(),
    ],
)
@pytest.mark.parametrize("scale", [1, 2, 5, 8])
def test_psfs_are_centred_and_sum_to_one(psf, scale, even):
    kernel = psf.kernel(scale, even)
    assert all(n % 2 == (not even) for n in kernel.shape)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert centroid(kernel) == pytest.approx([(n - 1) / 2 for n in kernel.shape], abs=1e-9)
    assert psf.description


def test_block_mean_is_flat():
    np.testing.assert_allclose(BlockMeanPsf().kernel(4, even=True), np.full((4, 4), 1 / 16))


def test_published_psf_is_the_published_kernel():
    np.testing.assert_array_equal(
        BlockShiftedPsf(2.0, 10.0, 0.5, 13).kernel(8, even=False), anisotropic_gaussian(13, 8, 2.0, 10.0, 0.5)
    )


def test_array_psf_is_normalised_and_checked():
    assert ArrayPsf([[1, 2, 1]]).kernel(3, even=False).sum() == 1
    with pytest.raises(HsisrError, match="even number"):
        ArrayPsf([[1, 2, 1]]).kernel(4, even=True)
    for weights in ([1, 2], [[1, -1]], [[np.nan]], [[1, 2], [3]], []):
        with pytest.raises(HsisrError, match="PSF array"):
            ArrayPsf(weights)


@pytest.mark.parametrize(
    "width", [{}, {"sigma_px": 1, "sigma_lr": 1}, {"sigma_px": 0}, {"mtf_gain": 1.5}, {"sigma_lr": math.inf}]
)
def test_gaussian_needs_one_positive_width(width):
    with pytest.raises(HsisrError):
        GaussianPsf(**width)
