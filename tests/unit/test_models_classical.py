"""Methods without training: known right answers."""

import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hsisr.degrade import Footprint, Sensor, gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.models import bicubic, bicubic_ibp, cnmf, glp_hs, gsa, hysure, nearest, registry, sfim_hs
from hsisr.models.classical.cnmf import vertex_components
from hsisr.models.classical.regression import shared_directions


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


def block_mean_sensor(scale: int) -> Sensor:
    return Sensor(footprint=Footprint(np.full(scale, 1 / scale), np.full(scale, 1 / scale), (0, 0)))


def mixtures(guide: np.ndarray, bands: int, seed: int = 1) -> np.ndarray:
    """An image whose bands are positive mixtures of the guide's channels and a constant."""
    weights = np.random.default_rng(seed).random((bands, len(guide)))
    return np.tensordot(weights, guide, 1) + random(bands, 1, 1, seed=2)


def seen(image: np.ndarray, sensor: Sensor, scale: int) -> np.ndarray:
    return sensor.footprint.sampler(scale, image.shape[1:])(image)


@pytest.mark.parametrize("method", [gsa, glp_hs, sfim_hs])
@pytest.mark.parametrize(("channels", "bands", "scale"), [(1, 4, 2), (3, 5, 4), (3, 40, 4), (4, 6, 3)])
def test_injection_is_exact_where_bands_are_mixtures_of_the_guide(method, channels, bands, scale):
    guide = random(channels, 8 * scale, 6 * scale)
    hr = mixtures(guide, bands)
    estimate = method(block_mean(hr, scale), guide, scale=scale, sensor=block_mean_sensor(scale))
    assert np.abs(estimate - hr).max() < 1e-9


@pytest.mark.parametrize("method", [gsa, glp_hs, sfim_hs])
def test_injection_is_exact_for_the_footprint_that_it_is_told(method):
    guide = random(3, 32, 40)
    hr = mixtures(guide, 5)
    sensor = Sensor(footprint=gaussian_footprint(4, shift_px=(1.5, -0.7), sigma_px=(1.2, 2.0)))
    lr = seen(hr, sensor, 4)
    assert np.abs(method(lr, guide, scale=4, sensor=sensor) - hr).max() < 1e-9
    assert np.abs(method(lr, guide, scale=4, sensor=block_mean_sensor(4)) - hr).max() > 1e-2


def test_injection_leaves_masked_pixels_out_of_its_fits():
    guide = random(2, 32, 32)
    hr = mixtures(guide, 4)
    mask = np.ones((32, 32), bool)
    mask[:8, :8] = False
    lr = block_mean(hr, 4)
    lr[:, :2, :2] = 100.0
    sensor = block_mean_sensor(4)
    for method in (gsa, glp_hs):
        found = method(lr, guide, scale=4, sensor=Sensor(footprint=sensor.footprint, mask=mask))
        assert np.abs(found - hr)[:, 16:, 16:].max() < 1e-9


def test_nearest_repeats_pixels():
    lr = random(2, 3, 4)
    assert np.array_equal(nearest(lr, scale=3)[:, ::3, 2::3], lr) and nearest(lr, scale=3).shape == (2, 9, 12)


@pytest.mark.parametrize(
    ("lr", "scale", "message"),
    [
        (np.full((2, 4, 4), 200, np.uint8), 2, "bicubic-ibp: expected a LR image of floats .* not uint8"),
        (np.ones((4, 4)), 2, r"bicubic-ibp: expected a LR image of floats \(bands, rows, columns\), not float64"),
        (np.full((2, 4, 4), np.nan), 2, "bicubic-ibp: the LR image holds NaN"),
        (np.ones((2, 4, 4)), 2.5, "scale must be a whole number >= 1, not 2.5"),
    ],
)
def test_back_projection_refuses_what_it_would_spoil(lr, scale, message):
    with pytest.raises(HsisrError, match=message):
        bicubic_ibp(lr, scale=scale)


@pytest.mark.parametrize(
    ("lr", "scale", "message"),
    [
        (np.ones((2, 4, 4)), 2.5, "scale must be a whole number >= 1, not 2.5"),
        (
            np.ones((1, 2, 4, 4)),
            2,
            r"expected a LR image of floats \(bands, rows, columns\), not float64 \(1, 2, 4, 4\)",
        ),
    ],
)
def test_nearest_refuses_parts_of_a_pixel_and_batches(lr, scale, message):
    with pytest.raises(HsisrError, match=message):
        nearest(lr, scale=scale)


@pytest.mark.parametrize("method", [bicubic, bicubic_ibp, cnmf, glp_hs, gsa, hysure, nearest, sfim_hs])
def test_masked_arrays_and_lists_are_not_taken_for_arrays(method):
    """Their mask was lost in silence where the footprint was known."""
    lr, guide, sensor = random(3, 8, 8), random(2, 16, 16), Sensor(gaussian_footprint(2))
    known = {} if method in (bicubic, nearest) else {"sensor": sensor}
    masked = np.ma.masked_greater(lr, 0.9)
    with pytest.raises(HsisrError, match="mask"):
        method(masked, guide, scale=2, **known)
    if method not in (bicubic, bicubic_ibp, nearest):
        with pytest.raises(HsisrError, match="guide is a list; expected a numpy array"):
            method(lr, guide.tolist(), scale=2, **known)


def test_back_projection_gives_the_lr_image_back_at_the_right_phase():
    rows, columns = np.mgrid[0:64, 0:64] / 64
    hr = np.stack([np.sin(7 * rows + 3 * columns), np.cos(9 * columns - 2 * rows)])
    sensor = Sensor(footprint=gaussian_footprint(4, shift_px=(1.5, -1.0)))
    lr = seen(hr, sensor, 4)
    estimate = bicubic_ibp(lr, scale=4, sensor=sensor)
    assert np.abs(seen(estimate, sensor, 4) - lr).max() < 2e-4
    inner = (slice(None), slice(8, -8), slice(8, -8))
    errors = [np.abs(found - hr)[inner].mean() for found in (estimate, bicubic_ibp(lr, scale=4), bicubic(lr, scale=4))]
    assert errors[0] < 0.15 * min(errors[1:])


def smooth(channels: int, size: int, seed: int = 0) -> np.ndarray:
    """A random image in [0, 1] with detail at all scales."""
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((channels, size, size)))
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    image = np.fft.irfft2(spectrum / (0.01 + np.hypot(rows, columns)) ** 1.5, s=(size, size))
    image -= image.min(axis=(1, 2), keepdims=True)
    return image / image.max(axis=(1, 2), keepdims=True)


def mixed_scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, Sensor]:
    """HR, LR and guide of a scene that mixes a few spectra, with pure pixels, and its sensor."""
    labels = np.argmax(smooth(3, 64), axis=0)
    abundances = np.eye(3)[labels].transpose(2, 0, 1) * (0.5 + 0.5 * smooth(1, 64, seed=5))
    response = np.kron(np.eye(3), np.full(4, 0.25))
    hr = np.tensordot(2 * response.T + 0.2 * random(12, 3, seed=6), abundances, 1)
    sensor = Sensor(footprint=gaussian_footprint(4), response=response, noise_sigma=0.0)
    return hr, seen(hr, sensor, 4), np.tensordot(response, hr, 1), sensor


def psnr(reference: np.ndarray, estimate: np.ndarray) -> float:
    return float(-10 * np.log10(((reference - estimate) ** 2).mean()))


@pytest.mark.parametrize(("method", "level"), [(cnmf, 100.0), (cnmf, -1.5), (sfim_hs, -1.5)])
def test_methods_for_positive_images_warn_of_others(method, level):
    """Of kelvin, for example, cnmf made 10 to 400 where the LR image goes from 100 to 101."""
    guide = random(3, 24, 24)
    hr, sensor = mixtures(guide, 5), block_mean_sensor(2)
    lr = block_mean(hr, 2)
    with pytest.warns(UserWarning, match="does not agree with the LR image|LR image below 0"):
        method(lr + level, guide, scale=2, sensor=sensor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(lr, guide, scale=2, sensor=sensor)


@pytest.mark.parametrize(("method", "options"), [(cnmf, {"endmembers": 4}), (hysure, {"components": 3})])
def test_unmixing_finds_a_scene_of_as_many_spectra_as_the_guide_has_channels(method, options):
    hr, lr, guide, sensor = mixed_scene()
    floor = psnr(hr, bicubic(lr, scale=4))
    assert psnr(hr, method(lr, guide, scale=4, sensor=sensor, **options)) > floor + 25
    assert psnr(hr, method(lr, guide, scale=4, **options)) > floor + 25  # PSF and response measured


def test_vertex_components_are_the_pure_pixels():
    pure = random(10, 4)
    abundances = np.random.default_rng(1).dirichlet(np.ones(4), 500).T * 0.9 + 0.025
    bands = np.concatenate([pure @ abundances, pure], axis=1)
    found = vertex_components(bands, 4)
    assert max(np.abs(found - spectrum[:, None]).max(axis=0).min() for spectrum in pure.T) < 1e-6


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
    assert np.abs(gsa(lr, pan, scale=4, sensor=block_mean_sensor(4)) - expected).max() < 1e-10


def test_gsa_adds_nothing_from_a_constant_guide():
    lr = random(3, 5, 5)
    with pytest.warns(UserWarning, match="the PSF cannot be measured .*a centred Gaussian"):
        estimate = gsa(lr, np.full((2, 10, 10), 0.3), scale=2)
    assert np.allclose(estimate, bicubic(lr, scale=2), atol=1e-12)


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


class TestRankDeficientGuides:
    """A guide whose channels depend on each other, are blank, or show what the bands do not, does no harm."""

    def images(self):
        rng = np.random.default_rng(3)
        maps = gaussian_filter(rng.random((3, 64, 64)), (0, 2, 2))
        maps = (maps - maps.min()) / np.ptp(maps)
        truth = np.tensordot(rng.random((12, 3)), maps, axes=1) / 3
        guide = np.tensordot(rng.random((3, 12)), truth, axes=1) / 12
        lr = truth.reshape(12, 16, 4, 16, 4).mean(axis=(2, 4))
        return lr, guide, truth

    @pytest.mark.parametrize("name", ["gsa", "glp-hs", "sfim-hs", "cnmf", "hysure", "prior"])
    @pytest.mark.parametrize("more", ["blank", "constant", "twice", "mixed", "rounded", "unrelated"])
    def test_more_channels_do_no_harm(self, name, more):
        lr, guide, truth = self.images()
        rng = np.random.default_rng(4)
        added = {
            "blank": np.zeros((1, 64, 64)),
            "constant": np.full((1, 64, 64), 0.4),
            "twice": guide[:1],
            "mixed": (0.3 * guide[0] + 0.7 * guide[1])[None],
            "rounded": np.round(0.5 * (guide[:1] + guide[1:2]), 3),
            "unrelated": rng.random((1, 64, 64)),
        }[more]

        def error(sharp):
            method = registry.build(name, 4, 12, len(sharp))
            return np.sqrt(np.mean((method.super_resolve(lr, sharp) - truth) ** 2))

        finest = 1e-3 / np.sqrt(12) if more == "rounded" else 1e-4  # rounded away; all but exact
        assert error(np.concatenate([guide, added])) < 1.35 * max(error(guide), finest)

    def test_channels_that_are_all_informative_stay_as_they_are(self):
        lr, guide, _ = self.images()
        low = guide.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(3, -1)
        assert np.array_equal(shared_directions(low, lr.reshape(12, -1)), np.eye(3))
        assert shared_directions(np.concatenate([low, 2 * low[:1]]), lr.reshape(12, -1)).shape == (4, 3)
