"""Resizing and sampling against MATLAB's vectors, torch, scipy and literal sums."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from hsisr.degrade import anisotropic_gaussian, imresize, interpolate
from hsisr.degrade.sampling import build_crop_sampler, build_sampler, interpolation_at
from hsisr.errors import HsisrError

FACTORS = {"0.3333": 1 / 3}


def test_imresize_is_matlabs(extra_data):
    vectors = np.load(extra_data / "reference" / "matlab_imresize.npz")
    names = [name for name in vectors if not name.endswith("_in")]
    assert len(names) == 14
    for name in names:
        parity, factor = name.split("_")
        expected = vectors[name].astype(float)
        found = imresize(vectors[f"{parity}_in"], FACTORS.get(factor, float(factor)))
        assert found.shape == expected.shape, name
        assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max(), name


def literal_imresize(line: np.ndarray, factor: float, antialiasing: bool) -> np.ndarray:
    """MATLAB's rule in one dimension, sample by sample, 1-based as in its source."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    squeeze = min(factor, 1.0) if antialiasing else 1.0
    size = len(line)
    resized = []
    for x in range(1, int(np.ceil(size * factor)) + 1):
        u = x / factor + 0.5 * (1 - 1 / factor)
        reads = np.arange(np.floor(u - 2 / squeeze), np.ceil(u + 2 / squeeze) + 1).astype(int)
        weights = np.array([cubic(squeeze * (u - k)) for k in reads])
        mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])
        resized.append(weights @ line[mirrored[(reads - 1) % (2 * size)]] / weights.sum())
    return np.array(resized)


@pytest.mark.parametrize("antialiasing", [True, False])
@pytest.mark.parametrize("factor", [0.5, 1 / 3, 0.37, 1 / 16, 1.0, 2.5, 3.0])
def test_imresize_is_its_definition(factor, antialiasing):
    image = np.random.default_rng(0).random((19, 24))
    columns = np.apply_along_axis(literal_imresize, 0, image, factor, antialiasing)
    expected = np.apply_along_axis(literal_imresize, 1, columns, factor, antialiasing)
    np.testing.assert_allclose(imresize(image, factor, antialiasing), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 5, 1 / 8, 0.4, 1.5, 2, 4])
def test_interpolate_is_torchs(factor, kind):
    cube = np.random.default_rng(1).random((3, 40, 56))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(cube)[None], scale_factor=factor, mode=kind, align_corners=False
    )[0].numpy()
    np.testing.assert_allclose(interpolate(cube, factor, kind), expected, atol=1e-13)


def test_resizing_keeps_type_and_leading_axes():
    batch = np.random.default_rng(2).random((2, 3, 8, 12), dtype=np.float32)
    for resize in (imresize, interpolate):
        resized = resize(batch, 0.5)
        assert resized.dtype == np.float32
        assert resized.shape == (2, 3, 4, 6)
        np.testing.assert_array_equal(resized[1, 2], resize(batch[1, 2], 0.5))


def test_one_over_the_size_leaves_one_pixel():
    assert imresize(np.ones((49, 49)), 1 / 49).shape == (1, 1)
    assert interpolate(np.ones((49, 49)), 1 / 49).shape == (1, 1)


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf])
def test_impossible_factors_are_refused(factor):
    with pytest.raises(HsisrError, match="factor"):
        imresize(np.ones((4, 4)), factor)


def test_impossible_arrays_are_refused():
    for array in (np.ones(4), np.ones((4, 4), dtype=int), np.ones((0, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(HsisrError, match="resize"):
            imresize(array, 0.5)
    with pytest.raises(HsisrError, match="no pixel"):
        interpolate(np.ones((4, 4)), 0.1)
    with pytest.raises(HsisrError, match="bicubic, bilinear"):
        interpolate(np.ones((4, 4)), 0.5, "lanczos")


@pytest.mark.parametrize("kind", ["bicubic", "bilinear"])
def test_interpolation_at_places_is_that_of_the_grid_and_goes_on_between(kind):
    image, shift = np.random.default_rng(0).random((7, 9)), (0.6, -1.2)
    grid = interpolate(image, 4, kind, shift)
    rows, columns = np.mgrid[:28, :36].astype(float)
    turned = np.stack([rows, columns])[:, ::-1, 5:]
    found = interpolation_at((7, 9), turned, 4, kind, shift) @ image.ravel()
    np.testing.assert_allclose(found.reshape(28, 31), grid[::-1, 5:], atol=1e-6)
    slope = (np.arange(9.0) + 2 * np.arange(7.0)[:, None]).ravel()
    between = np.array([[[13.3, 9.8]], [[17.9, 20.05]]])
    right = (between[1] + 0.5) / 4 - 0.5 + 2 * ((between[0] + 0.5) / 4 - 0.5)
    tolerance = 1e-5 if kind == "bilinear" else 0.1  # the cubic kernel of torch bends a slope
    np.testing.assert_allclose(interpolation_at((7, 9), between, 4, kind) @ slope, right[0], atol=tolerance)


@pytest.mark.parametrize("theta", [0.0, 0.7, np.pi / 2])
@pytest.mark.parametrize("scale", [3, 4])
def test_folded_blur_and_interpolation_equal_the_two_steps(scale, theta):
    cube = np.random.default_rng(3).random((2, 36, 48))
    kernel = anisotropic_gaussian(15, scale, 0.9, 7.0, theta)
    blurred = np.stack([ndimage.correlate(band, kernel, mode="reflect") for band in cube])
    for kind in ("bicubic", "bilinear"):
        found = build_sampler(kernel, kind, scale, (36, 48))(cube)
        np.testing.assert_allclose(found, interpolate(blurred, 1 / scale, kind), rtol=1e-12)


def test_strided_is_torchs_convolution_with_replicated_border():
    cube = np.random.default_rng(4).random((2, 24, 32))
    kernel = anisotropic_gaussian(9, 4, 1.5, 6.0, 1.1)
    padded = torch.nn.functional.pad(torch.from_numpy(cube)[:, None], (4, 4, 4, 4), mode="replicate")
    expected = torch.nn.functional.conv2d(padded, torch.from_numpy(kernel)[None, None], stride=4)[:, 0].numpy()
    found = build_sampler(kernel, "strided", 4, (24, 32), border="nearest")(cube)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_strided_phase_reads_that_pixel():
    image = np.arange(64.0).reshape(1, 8, 8)
    found = build_sampler(None, "strided", 4, (8, 8), phase=3)(image)
    np.testing.assert_array_equal(found, image[:, 3::4, 3::4])


def test_kernel_larger_than_the_image_reflects_again_and_again():
    line = np.array([[[1.0, 0.0, 0.0, 0.0]]]).repeat(4, axis=1)
    kernel = np.ones((1, 25)) / 25
    expected = ndimage.correlate(line[0], kernel, mode="reflect")
    np.testing.assert_allclose(build_sampler(kernel, "strided", 1, (4, 4))(line)[0], expected, atol=1e-15)


def test_centre_needs_taps_that_meet_the_centre():
    with pytest.raises(HsisrError, match="centre"):
        build_sampler(np.ones((3, 3)) / 9, "centre", 4, (8, 8))


def test_impulse_response_is_what_an_impulse_gives():
    sampler = build_sampler(anisotropic_gaussian(7, 3, 1.0, 4.0, 0.5), "bicubic", 3, (12, 15))
    impulses = np.eye(12 * 15).reshape(-1, 12, 15)
    expected = sampler(impulses)[:, 2, 3].reshape(12, 15)
    np.testing.assert_allclose(sampler.impulse_response(2, 3), expected, atol=1e-15)


@pytest.mark.parametrize("sampling", ["strided", "bicubic", "bilinear", "imresize", "centre"])
@pytest.mark.parametrize(("scale", "shape"), [(8, (96, 64)), (4, (16, 24)), (3, (12, 15)), (2, (8, 8))])
def test_crop_sampler_is_the_sampler(sampling, scale, shape):
    rng = np.random.default_rng(2)
    taps = 14 if sampling == "centre" and scale % 2 == 0 else 13
    kernel = rng.random((taps, taps))  # of full rank
    cube = rng.random((3, *shape))
    for border in ("reflect", "nearest"):
        arguments = (kernel / kernel.sum(), sampling, scale, shape, border)
        expected = build_sampler(*arguments)(cube)
        np.testing.assert_allclose(build_crop_sampler(*arguments)(cube), expected, rtol=0, atol=1e-8)
    unblurred = build_crop_sampler(None, "strided", scale, shape)(cube)
    np.testing.assert_allclose(unblurred, cube[:, ::scale, ::scale], atol=1e-12)
