"""hsisr.models.bicubic and gsa: known right answers."""

import numpy as np
import pytest
import torch

from hsisr.degrade.psf import GaussianPsf
from hsisr.degrade.sampling import build_sampler
from hsisr.errors import HsisrError
from hsisr.models import bicubic, gsa


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_is_torch_interpolation_between_block_centres(scale):
    lr = random(3, 5, 7)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(lr)[None], scale_factor=scale, mode="bicubic", align_corners=False
    )[0].numpy()
    assert np.abs(bicubic(lr, scale=scale) - expected).max() < 1e-12


def test_bicubic_keeps_the_type():
    assert bicubic(random(2, 3, 3).astype(np.float32), scale=2).dtype == np.float32


def block_mean(image: np.ndarray, scale: int) -> np.ndarray:
    bands, height, width = image.shape
    return image.reshape(bands, height // scale, scale, width // scale, scale).mean((2, 4))


@pytest.mark.parametrize(("channels", "bands", "scale"), [(1, 4, 2), (3, 5, 4), (3, 40, 4), (4, 6, 3)])
def test_gsa_is_exact_where_bands_are_mixtures_of_the_guide(channels, bands, scale):
    guide = random(channels, 8 * scale, 6 * scale)
    mixture = np.random.default_rng(1).standard_normal((bands, channels))
    hr = np.tensordot(mixture, guide, 1) + random(bands, 1, 1, seed=2)
    assert np.abs(gsa(block_mean(hr, scale), guide, scale=scale) - hr).max() < 1e-9


def test_gsa_is_exact_for_the_psf_that_it_is_told():
    guide = random(3, 32, 40)
    hr = np.tensordot(np.random.default_rng(1).standard_normal((5, 3)), guide, 1)
    kernel = GaussianPsf(sigma_lr=0.4).kernel(4, even=True)
    lr = build_sampler(kernel, "centre", 4, (32, 40))(hr)
    assert np.abs(gsa(lr, guide, scale=4, sigma_lr=0.4) - hr).max() < 1e-9
    assert np.abs(gsa(lr, guide, scale=4) - hr).max() > 1e-3


def test_gsa_with_a_panchromatic_guide_is_the_published_method():
    """Aiazzi et al. 2007, by their formulas: fitted intensity, gain cov(band, intensity) / var(intensity)."""
    lr, pan = random(4, 10, 12), random(1, 40, 48, seed=1)
    low_pan = block_mean(pan, 4).ravel()
    design = np.stack([*lr.reshape(4, -1), np.ones(120)], axis=1)
    weights = np.linalg.solve(design.T @ design, design.T @ low_pan)
    intensity = design @ weights
    upsampled = bicubic(lr, scale=4)
    up_intensity = np.tensordot(weights[:4], upsampled, 1) + weights[4]
    expected = np.empty((4, 40, 48))
    for band in range(4):
        covariance = np.cov(lr[band].ravel(), intensity)
        expected[band] = upsampled[band] + covariance[0, 1] / covariance[1, 1] * (pan[0] - up_intensity)
    assert np.abs(gsa(lr, pan, scale=4) - expected).max() < 1e-10


def test_gsa_adds_nothing_from_a_constant_guide():
    lr = random(3, 5, 5)
    assert np.allclose(gsa(lr, np.full((2, 10, 10), 0.3), scale=2), bicubic(lr, scale=2), atol=1e-12)


@pytest.mark.parametrize(
    ("lr", "guide"), [((3, 5, 5), (2, 10, 12)), ((3, 5, 5), (10, 10)), ((5, 5), (2, 10, 10)), ((3, 5, 5), (2, 5, 5))]
)
def test_gsa_refuses_images_that_do_not_fit(lr, guide):
    with pytest.raises(HsisrError, match=r"gsa: lr .* and guide .* do not fit"):
        gsa(np.zeros(lr), np.zeros(guide), scale=2)


@pytest.mark.parametrize("which", ["lr", "guide"])
def test_gsa_refuses_nan(which):
    images = {"lr": random(3, 5, 5), "guide": random(2, 10, 10)}
    images[which][0, 0, 0] = np.nan
    with pytest.raises(HsisrError, match="NaN"):
        gsa(**images, scale=2)
