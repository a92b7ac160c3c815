"""The noise of a guide: how strong it is found to be, and what `prior` and `hybrid` make of a noisy guide."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsisr.datasets import read_scene
from hsisr.degrade import gaussian_footprint
from hsisr.inference import predict, super_resolve_file
from hsisr.models import prior as prior_model
from hsisr.models import registry
from hsisr.models.denoising import GuideNoise, learn_noise, most_noise, noise_level
from hsisr.models.prior import solve
from hsisr.models.windows import HeldImages
from tests.unit.large_scene import CPU, SCALE, TILES, TOLERANCE, largest_difference, write_pair

SIZE = 160


def ground(seed: int = 0) -> np.ndarray:
    """Three smooth channels with edges, between 0 and 1."""
    rng = np.random.default_rng(seed)
    fields = gaussian_filter(rng.standard_normal((3, SIZE, SIZE)), (0, 8, 8))
    fields = np.where(fields > 0, 0.6, 0.3) + 2 * fields
    return np.clip(fields, 0, 1).astype(np.float32)


def noisy(image: np.ndarray, *levels: float) -> np.ndarray:
    """An image with noise of these deviations, one for each channel."""
    noise = np.random.default_rng(1).standard_normal(image.shape)
    return (image + np.array(levels)[:, None, None] * noise).astype(np.float32)


def found(guide: np.ndarray, most: float = np.inf, mask: np.ndarray | None = None) -> GuideNoise | None:
    size = guide.shape[1] // SCALE, guide.shape[2] // SCALE
    images = HeldImages(np.zeros((1, *size), np.float32), guide, SCALE, mask)
    return learn_noise(images, [((0, size[0]), (0, size[1]))], lambda: np.full(len(guide), most))


def error(image: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((image - truth) ** 2).mean()))


def test_noise_is_measured_channel_by_channel():
    levels = np.array([0.01, 0.02, 0.05])
    np.testing.assert_allclose(noise_level(noisy(ground(), *levels), np.ones((SIZE, SIZE), bool)), levels, rtol=0.2)


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_ground_that_is_one_number_does_not_hide_noise(number):
    guide = noisy(ground(), 0.01, 0.02, 0.05)
    guide[:, :, :24] = number
    np.testing.assert_allclose(noise_level(guide, np.ones((SIZE, SIZE), bool)), [0.01, 0.02, 0.05], rtol=0.2)
    guide[:] = number
    assert (noise_level(guide, np.ones((SIZE, SIZE), bool)) == 0).all()


def test_a_level_far_above_the_contrast_does_not_hide_noise():
    """Kelvin, for example."""
    clean, level = ground(), np.float32(100)
    guide = noisy(clean, 0.02, 0.02, 0.02)
    noise = found(guide + level)
    assert noise is not None and "under 0.1%" in noise.remark
    left = error(noise.cleaned(guide + level) - level, clean)
    assert left == pytest.approx(error(found(guide).cleaned(guide), clean), rel=0.1) and left < 0.015


def test_noise_is_told_from_texture_that_channels_share():
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2)
    guide = np.stack([0.5 + 0.2 * texture, 0.4 + 0.3 * texture, 0.3 + 0.1 * texture])
    valid, levels = np.ones((SIZE, SIZE), bool), (0.01, 0.02, 0.005)
    np.testing.assert_allclose(noise_level(noisy(guide, *levels), valid), levels, rtol=0.25)
    assert (noise_level(guide, valid) < 1e-4).all()
    assert (noise_level(noisy(guide, *levels), np.zeros_like(valid)) == 0).all()


def camera(image: np.ndarray, share: float) -> np.ndarray:
    """What a camera of 8 bits makes of an image: noise that grows with the light, cut off at black and white."""
    noise = share * np.sqrt(image * image.mean()) * np.random.default_rng(1).standard_normal(image.shape)
    return (np.round(255 * np.clip(image + noise, 0, 1)) / 255).astype(np.float32)


def test_noise_that_grows_with_the_light_is_measured_and_taken_out():
    truth = np.where(np.arange(SIZE) < SIZE // 2, 0.04, 1) * ground()
    guide = camera(truth, 0.15)
    noise = found(guide)
    assert noise is not None
    dark, bright = (noise.deviation(np.full((3, 1, 1), value)).mean() for value in (0.02, 0.5))
    np.testing.assert_allclose([dark, bright], 0.15 * np.sqrt(np.array([0.02, 0.5]) * truth.mean()), rtol=0.25)
    assert error(noise.cleaned(guide), truth) < 0.7 * error(guide, truth)


def test_values_that_are_cut_off_do_not_hide_noise():
    truth = ground()
    truth[:, :, : SIZE // 2] = 1.5
    guide = np.clip(noisy(truth, 0.04, 0.04, 0.04), 0, 1)
    assert noise_level(guide, np.ones((SIZE, SIZE), bool)).mean() == pytest.approx(0.04, rel=0.3)


def test_a_guide_without_noise_stays_as_it_is():
    assert found(ground()) is None
    assert found(np.zeros((2, 32, 32), np.float32)) is None
    assert found(ground()[:, :6, :6]) is None  # not one block


@pytest.mark.parametrize("number", [0.0, 0.3])
def test_a_guide_of_one_number_has_no_noise(number):
    assert found(np.full((3, SIZE, SIZE), number, np.float32)) is None


def test_a_channel_that_is_nothing_but_noise_stays_and_so_does_one_without():
    guide = noisy(ground(), 0.05, 0, 0)
    guide[1] = 0.1 * np.random.default_rng(2).standard_normal((SIZE, SIZE))
    noise = found(guide)
    assert noise is not None
    np.testing.assert_array_equal(noise.cleaned(guide)[1:], guide[1:])
    assert error(noise.cleaned(guide)[0], ground()[0]) < 0.7 * error(guide[0], ground()[0])


def test_texture_that_the_lr_image_explains_is_no_noise():
    rng = np.random.default_rng(0)
    texture = (ground()[:2] + 0.1 * rng.standard_normal((2, SIZE, SIZE))).astype(np.float32)
    footprint = gaussian_footprint(4)
    seen = footprint.sampler(4, (SIZE, SIZE))
    bands = np.tensordot(rng.random((8, 2)), texture, 1)
    low, averages = (seen(image.astype(np.float64)).reshape(len(image), -1) for image in (bands, texture))
    assert found(texture) is not None
    most = most_noise(low, averages, footprint)
    assert most.max() < 1e-3
    assert found(texture, float(most.max())) is None
    more = seen(noisy(texture, 0.03, 0.05).astype(np.float64)).reshape(2, -1)
    np.testing.assert_allclose(most_noise(low, more, footprint), [0.03, 0.05], rtol=0.1)


def test_most_of_the_noise_is_taken_out_and_edges_stay():
    truth = ground()
    guide = noisy(truth, 0.03, 0.03, 0.03)
    noise = found(guide)
    assert noise is not None
    cleaned = noise.cleaned(guide)
    assert error(cleaned, truth) < 0.7 * error(guide, truth)
    assert cleaned.dtype == guide.dtype
    counts = noise.cleaned((1000 * guide).astype(np.uint16))
    assert counts.dtype == np.float32 and (counts % 1).any()
    assert "noise, about 5" in noise.remark or "noise, about 6" in noise.remark


def test_parts_of_a_guide_are_cleaned_as_the_whole():
    guide = noisy(ground(), 0.03, 0.03, 0.03)
    noise = found(guide)
    assert noise is not None
    edge = noise.reach_lr_px(SCALE) * SCALE
    part = noise.cleaned(guide[:, 30 - edge : 90 + edge, 50 - edge :])[:, edge:-edge, edge:]
    np.testing.assert_allclose(part, noise.cleaned(guide)[:, 30:90, 50:], atol=2e-6)


def test_values_without_data_are_not_read():
    guide, mask = noisy(ground(), 0.03, 0.03, 0.03), np.ones((SIZE, SIZE), bool)
    mask[20:60, 30:70] = False
    other = np.where(mask, guide, np.float32(40))
    one, two = (found(image, mask=mask) for image in (guide, other))
    assert one is not None and two is not None
    np.testing.assert_array_equal(one.deviation(guide)[:, mask], two.deviation(guide)[:, mask])
    np.testing.assert_array_equal(one.cleaned(guide, mask)[:, mask], two.cleaned(other, mask)[:, mask])


@pytest.mark.parametrize("model", ["prior", "hybrid"])
def test_a_noisy_guide_costs_little(model, monkeypatch, tmp_path):
    lr, guide, sharp = write_pair(tmp_path, 64, 64, holes=False, noise=0.03)
    low, seen = (read_scene(path).cube for path in (lr, guide))
    errors = []
    for learn in (lambda *_: None, learn_noise):
        monkeypatch.setattr(prior_model, "learn_noise", learn)
        errors.append(error(predict(registry.build(model, SCALE, len(low), 3), low, seen), sharp))
    assert errors[1] < 0.75 * errors[0]


def test_the_solution_says_which_guide_it_went_by(tmp_path):
    lr, guide, _ = write_pair(tmp_path, holes=False, noise=0.03)
    low, seen = (read_scene(path).cube for path in (lr, guide))
    clean = read_scene(write_pair(tmp_path, holes=False)[1]).cube
    assert error(solve(low, seen, SCALE).guide, clean) < 0.8 * error(seen, clean)


@pytest.mark.parametrize("model", ["prior", "hybrid"])
@pytest.mark.parametrize("large", [False, True])
def test_a_scene_with_a_noisy_guide_has_one_result_and_a_line(tmp_path, model, large, request, capsys):
    if large:
        request.getfixturevalue("small_blocks")
    lr, guide, _ = write_pair(tmp_path, noise=0.03)
    model = request.getfixturevalue("hybrid") if model == "hybrid" else model
    made, said = [], []
    for name in ("whole", "small tiles"):
        out, sigma = tmp_path / f"{name}.npy", tmp_path / f"{name}-sigma.npy"
        super_resolve_file(lr, guide, model, out, replace(CPU, **TILES[name]), uncertainty=sigma)
        made.append(np.load(out))
        said.append(np.load(sigma))
    assert largest_difference(*made) < TOLERANCE
    assert largest_difference(*said) < TOLERANCE
    assert "guide.tif: has noise, about " in capsys.readouterr().err
