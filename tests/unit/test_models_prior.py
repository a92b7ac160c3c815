"""hsisr.models.prior: each part against brute force, the whole where the right answer is known."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from hsisr import degrade
from hsisr.degrade import Sensor, gaussian_footprint, sensor_of
from hsisr.degrade.sampling import Sampler
from hsisr.degrade.sensor import Footprint
from hsisr.errors import HsisrError
from hsisr.models import registry
from hsisr.models.classical.bicubic import bicubic
from hsisr.models.classical.gsa import gsa
from hsisr.models.prior import _strips, estimate, prior, solve
from hsisr.models.prior.agreement import Moments, guide_gain, move
from hsisr.models.prior.clipping import clipping_bias, is_clipped
from hsisr.models.prior.features import KERNELS, SLOPES, Bumps, GuideFeatures, Kernel, places, seen_features
from hsisr.models.prior.kriging import Field, SmoothFields, whiten
from hsisr.models.prior.regression import Sums, regress, regress_arrays
from hsisr.models.windows import HeldImages
from hsisr.scene import Scene
from tests.unit.conftest import small_scene
from tests.unit.test_degrade_estimation import scene

WAVELENGTHS_NM = np.linspace(400, 700, 31)


def psnr(reference: np.ndarray, estimate: np.ndarray) -> float:
    return float(-10 * np.log10(((reference - estimate) ** 2).mean()))


def test_regression_is_the_gaussian_process_of_greatest_evidence():
    """Against the textbook: covariance over the samples, evidence on a grid, mean and variance by n x n matrices."""
    rng = np.random.default_rng(0)
    features, new = rng.standard_normal((5, 60)), rng.standard_normal((5, 7))
    targets = np.stack([rng.standard_normal(5) @ features + 3, rng.standard_normal(5) @ features])
    targets += np.array([[0.1], [2.0]]) * rng.standard_normal((2, 60))
    fit = regress_arrays(features, targets)
    mean = features.mean(axis=1, keepdims=True)
    z, z_new = features - mean, new - mean
    for k, target in enumerate(targets - targets.mean(axis=1, keepdims=True)):
        best = np.inf
        for ridge in 10.0 ** np.arange(-12, 1.5, 0.5):
            covariance = np.eye(60) + z.T @ z / (ridge * 60)  # over the noise's variance
            noise = target @ np.linalg.solve(covariance, target) / 60
            surprise = 59 * np.log(noise) + np.linalg.slogdet(covariance)[1]
            if surprise < best:
                gain = z_new.T @ z / (ridge * 60) @ np.linalg.inv(covariance)
                best, expected, level = surprise, gain @ target, noise
                spread = noise * (z_new.T @ z_new / (ridge * 60) - gain @ z.T @ z_new / (ridge * 60))
        np.testing.assert_allclose(fit(new)[k] - targets[k].mean(), expected, atol=1e-9)
        np.testing.assert_allclose(fit.noise[k], level, rtol=1e-9)
        np.testing.assert_allclose(fit.variance(new)[k], np.diag(spread), rtol=1e-6)


def test_few_samples_are_not_fitted_exactly():
    """As many features as samples explain any target; a target that has nothing to do with them must not follow."""
    errors = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        features, target, new = (rng.standard_normal(shape) for shape in ((3, 4), (1, 4), (3, 100)))
        errors.append(regress_arrays(features, target)(new) - target.mean())
    assert np.median(np.abs(errors)) < 0.3  # an exact fit: about 2


def test_rounding_is_not_taken_for_an_exact_fit():
    """More features than samples, most of them nearly dependent: as products of 16 channels at 11 x 11 LR pixels."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        vectors = np.linalg.qr(rng.standard_normal((152, 152)))[0]
        features = 100 * vectors @ (10.0 ** -np.linspace(0, 8, 152)[:, None] * rng.standard_normal((152, 121)))
        targets = rng.standard_normal((3, 8)) @ vectors[:, :8].T @ features + 0.1 * rng.standard_normal((3, 121))
        assert (regress_arrays(features, targets).noise > 0.3 * 0.1**2).all()


def test_evidence_leaves_out_what_is_not_needed():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 60))
    linear = rng.standard_normal((2, 2)) @ features[:2] + 0.1 * rng.standard_normal((2, 60))
    rich = rng.standard_normal((1, 40)) @ features + 0.1 * rng.standard_normal((1, 60))
    fit = regress_arrays(features, np.concatenate([linear, rich]), simpler=(2, 10))
    alone, all_of_them = regress_arrays(features[:2], linear), regress_arrays(features, rich)
    np.testing.assert_allclose(fit.weights[:2, :2], alone.weights, rtol=1e-9)
    assert not fit.weights[:2, 2:].any()
    np.testing.assert_allclose(fit.weights[2:], all_of_them.weights, rtol=1e-9)
    others = rng.standard_normal((40, 7))
    expected = np.concatenate([alone.variance(others[:2]), all_of_them.variance(others)])
    np.testing.assert_allclose(fit.variance(others), expected, rtol=1e-6)


def test_sums_of_parts_are_those_of_the_whole_also_of_projected_targets():
    rng = np.random.default_rng(3)
    features, bands = rng.standard_normal((6, 500)) + 100, rng.standard_normal((4, 500)) + 1000
    sums = Sums(6, 4)
    for part in (slice(0, 100), slice(100, 101), slice(101, 500)):
        sums.add(features[:, part], bands[:, part])
    mean, covariance = sums.target_moments()
    np.testing.assert_allclose(mean, bands.mean(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(bands, bias=True), rtol=1e-9, atol=1e-12)
    basis = np.linalg.qr(rng.standard_normal((4, 2)))[0]
    one, other = regress(sums.projected(basis, mean)), regress_arrays(features, basis.T @ (bands - mean))
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-9)
    np.testing.assert_allclose(one.offset, other.offset, atol=1e-6)


def test_sums_of_leading_features_are_those_of_these_features():
    features, targets = np.random.default_rng(0).standard_normal((2, 6, 50))
    every, few = Sums(6, 6), Sums(2, 6)
    every.add(features, targets)
    few.add(features[:2], targets)
    for found, expected in zip(every.leading(2).moments(), few.moments(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_sums_of_turned_features_are_those_of_the_features_turned():
    rng = np.random.default_rng(2)
    features, targets, turn = (rng.standard_normal(shape) for shape in ((5, 300), (2, 300), (5, 5)))
    sums, turned = Sums(5, 2), Sums(5, 2)
    sums.add(features + 10, targets)
    turned.add(turn @ (features + 10), targets)
    for one, other in zip(sums.turned(turn).moments(), turned.moments(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_regression_in_other_coordinates_is_generalised_least_squares():
    rng = np.random.default_rng(1)
    features, root = rng.standard_normal((2, 30)), np.linalg.cholesky(np.eye(30) + 0.9)
    target = np.array([[2.0, -1.0]]) @ features + 5
    turn = np.linalg.inv(root).T
    sums = Sums(2, 1)
    sums.add(features @ turn, target @ turn, np.ones((1, 30)) @ turn)
    fit = regress(sums)
    np.testing.assert_allclose(fit.weights, [[2, -1]], rtol=1e-6)
    np.testing.assert_allclose(fit(features), target, rtol=1e-6)


def test_kriging_is_the_posterior_mean_of_greatest_evidence():
    scale, shape = 2, (12, 10)
    sampler = gaussian_footprint(scale, shift_px=(0.5, 0.0)).sampler(scale, shape)
    observed = np.random.default_rng(0).standard_normal((1, 6, 5)).cumsum(axis=1)
    matrix = np.kron(sampler.rows.toarray(), sampler.columns.toarray())
    places = np.stack(np.mgrid[: shape[0], : shape[1]]).reshape(2, -1)
    distances = ((places[:, :, None] - places[:, None]) ** 2).sum(axis=0)
    best = np.inf
    for length in (0.5, 1, 2, 4):
        field = np.exp(-0.5 * distances / (length * scale) ** 2)
        for ratio in 10.0 ** np.arange(-4, 4.5, 0.5):
            covariance = matrix @ field @ matrix.T + ratio * np.eye(30)
            solved = np.linalg.solve(covariance, observed.ravel())
            surprise = np.log(observed.ravel() @ solved / 30) + np.linalg.slogdet(covariance)[1] / 30
            if surprise < best:
                best, expected = surprise, (field @ matrix.T @ solved).reshape(shape)
    np.testing.assert_allclose(
        Field.of(SmoothFields(sampler, scale).correlations(observed)[0], observed[0]).at(0), expected, atol=1e-5
    )


def test_whitening_whitens():
    scale, rng = 4, np.random.default_rng(0)
    sampler = gaussian_footprint(scale).sampler(scale, (64, 64))
    rough = rng.standard_normal((40, 20, 20)).repeat(4, axis=1).repeat(4, axis=2)[:, :64, :64]
    observed = np.stack([sampler(image[None])[0] for image in rough]) + 0.05 * rng.standard_normal((40, 16, 16))
    correlation = SmoothFields(sampler, scale).shared_correlation(observed)
    white = whiten(observed, correlation).reshape(40, -1)
    spectrum = (white**2).mean(axis=0)
    raw = (correlation.turned(observed) ** 2).mean(axis=0)
    assert spectrum.std() / spectrum.mean() < 0.6 < raw.std() / raw.mean()


def all_places(guide: np.ndarray) -> np.ndarray:
    height, width = guide.shape[1:]
    return places((0, height), (0, width), (height, width))


def made(features: GuideFeatures, guide: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
    """All features at all pixels or at some rows, not yet whitened, in the strips in which the prior makes them."""
    guide = guide.astype(np.float32)
    rows = slice(*rows.indices(guide.shape[1]))
    found = np.empty((len(features), (rows.stop - rows.start) * guide.shape[2]), np.float32)
    for part, values in _strips(features.functions, guide, all_places(guide), None, rows):
        found[:, part] = values[:, : part.stop - part.start]
    return found


def seen(features: GuideFeatures, guide: np.ndarray, sampler: Sampler) -> np.ndarray:
    """All features as the sensor sees them, whitened."""
    return features.whitening @ seen_features(features.functions, guide.astype(np.float32), all_places(guide), sampler)


def test_features_are_seen_as_they_are_made():
    """A fit of what the sensor sees of the features holds for the features; strips fit together."""
    rng = np.random.default_rng(0)
    guide = rng.random((2, 24, 20))
    features = GuideFeatures(guide, waves=40)
    sampler = gaussian_footprint(4).sampler(4, (24, 20))
    whole = made(features, guide)
    assert len(features) == 2 + 3 + 2 * SLOPES + 40
    low = seen(features, guide, sampler)
    whitened = (features.whitening @ whole).reshape(-1, 24, 20)
    np.testing.assert_allclose(low, sampler(whitened).reshape(len(features), -1), atol=1e-4)
    fit = regress_arrays(low, rng.standard_normal((3, low.shape[1])))
    at_hr = fit.before(features.whitening)(whole.astype(np.float64)).reshape(3, 24, 20)
    np.testing.assert_allclose(sampler(at_hr).reshape(3, -1), fit(low), atol=1e-4)
    np.testing.assert_allclose(
        fit.before(features.whitening).variance(whole.astype(np.float64)),
        fit.variance(whitened.reshape(len(features), -1)),
        rtol=1e-4,
    )
    cut = made(features, guide, slice(7, 11))
    np.testing.assert_allclose(cut, whole.reshape(-1, 24, 20)[:, 7:11].reshape(len(features), -1), atol=1e-6)
    np.testing.assert_allclose(whole[:5].std(axis=1), 10, rtol=1e-4)


def test_bumps_are_a_gaussian_process_that_its_centres_determine():
    """Whitened bumps have the kernel as their product wherever the process is known from its values at centres."""
    rng = np.random.default_rng(0)
    centres = np.concatenate([rng.standard_normal((3, 60)), rng.random((2, 60))]).astype(np.float32)
    bumps = Bumps(centres, Kernel(1.5, 0.5))
    scaled = centres.astype(np.float64) / np.array([[1.5]] * 3 + [[0.5]] * 2)
    alike = np.exp(-0.5 * ((scaled[:, :, None] - scaled[:, None]) ** 2).sum(axis=0))
    np.testing.assert_allclose(bumps(centres), alike, atol=1e-5)
    whitened = bumps.whitening @ bumps(centres)
    np.testing.assert_allclose(whitened.T @ whitened, alike, atol=1e-3)
    np.testing.assert_array_equal(bumps(centres, slice(5, 9)), bumps(centres)[5:9])
    assert np.abs(bumps(centres + 100)).max() < 1e-6


def test_a_bump_does_not_depend_on_the_pixels_beside_it():
    place = np.random.default_rng(0).random((6, 533)).astype(np.float32)
    bumps = Bumps(place[:, :512], Kernel(1.5, 0.2))
    np.testing.assert_array_equal(bumps(place[:, 5:]), bumps(place)[:, 5:])


def test_holes_are_no_centres():
    guide = np.random.default_rng(0).random((1, 16, 16)).astype(np.float32)
    mask = np.ones((16, 16), bool)
    mask[:8] = False
    guide[:, :8] = 7.0
    features = GuideFeatures(guide, waves=200, mask=mask)
    assert len(features) == 1 + 1 + SLOPES + 128
    bumps = made(features, guide).reshape(-1, 16, 16)[2 + SLOPES :]
    assert np.abs(bumps[:, :4]).max() < 0.2 < bumps[:, 8:].max()


def test_slopes_are_those_of_a_plane_and_do_not_read_holes():
    rows, columns = np.mgrid[:9, :12].astype(np.float32)
    guide = np.stack([2 * rows - 3 * columns, (columns - 5.5) ** 2]) / 50
    features, place = GuideFeatures(guide, waves=8), all_places(guide)
    found = (
        features.functions.slopes(guide, place, None).reshape(SLOPES, 2, 9, 12) * guide.std(axis=(1, 2))[:, None, None]
    )
    inside = np.s_[:, :, 1:-1, 1:-1]
    across, down, sharper, outwards = found[inside] / 0.05  # the prior's standard deviation, in HR pixels
    np.testing.assert_allclose(across[0], -3 / 50, atol=1e-5)
    np.testing.assert_allclose(down[0], 2 / 50, atol=1e-5)
    np.testing.assert_allclose(across[1], ((columns - 5.5) / 25)[1:-1, 1:-1], atol=1e-5)
    np.testing.assert_allclose(sharper[0], 0, atol=1e-5)
    np.testing.assert_allclose(sharper[1], 1 / 50, atol=1e-5)
    away = (np.mgrid[:9, :12] - np.array([4, 5.5])[:, None, None])[:, 1:-1, 1:-1] / 6
    np.testing.assert_allclose(outwards, away[0] * down + away[1] * across, atol=1e-5)
    valid = np.ones((9, 12), bool)
    valid[4, 5:7] = False
    other = np.where(valid, guide, np.float32(99))
    holes = [features.functions.slopes(image, place, valid)[:, valid] for image in (guide, other)]
    np.testing.assert_array_equal(*holes)
    assert np.isfinite(holes).all()


def shifted_bands() -> tuple[np.ndarray, np.ndarray, np.ndarray, Footprint]:
    """HR image whose bands each lie off the guide by another part of a pixel, LR image, guide, footprint."""
    rng = np.random.default_rng(0)
    texture = gaussian_filter(rng.standard_normal((3, 96, 96)), (0, 1.5, 1.5))
    guide = np.clip(0.5 + 0.1 * texture / texture.std(), 0, 1).astype(np.float32)
    mixed = np.tensordot(rng.random((6, 3)) / 3, guide, 1)
    steps = 0.1 * (np.arange(6) - 2.5)
    hr = np.stack(
        [shift(band, (step, -step), order=3, mode="nearest") for step, band in zip(steps, mixed, strict=True)]
    )
    footprint = gaussian_footprint(4)
    return hr, footprint.sampler(4, (96, 96))(hr).astype(np.float32), guide, footprint


def test_bands_that_lie_off_the_guide_are_found():
    """The prior errs less than the best linear function of the guide."""
    hr, lr, guide, footprint = shifted_bands()
    result = prior(lr, guide, scale=4, sensor=Sensor(footprint=footprint))
    known = np.concatenate([guide, np.ones((1, 96, 96))]).reshape(4, -1)
    best = (hr.reshape(6, -1) @ np.linalg.pinv(known) @ known).reshape(hr.shape)
    inner = np.s_[:, 4:-4, 4:-4]
    assert psnr(hr[inner], result[inner]) > psnr(hr[inner], best[inner]) + 10


def test_slopes_count_only_beside_a_guide_that_fits():
    """Beside haze in a part of the guide, slopes would imitate what the haze changes."""
    _, lr, guide, footprint = shifted_bands()
    hazy = guide.copy()
    hazy[:, 20:60, 30:70] = 0.5 * guide[:, 20:60, 30:70] + 0.1
    known = Sensor(footprint=footprint)
    found = [estimate(HeldImages(lr, image, 4), 4, known).functions.sloping for image in (guide, hazy)]
    assert found == [3 * SLOPES, 0]


def test_the_kernel_is_the_one_of_least_surprise():
    guide = np.random.default_rng(0).random((3, 96, 96)).astype(np.float32)
    sampler, pixels = gaussian_footprint(2).sampler(2, (96, 96)), np.arange(0, 48 * 48, 3)
    features, found, tried = GuideFeatures(guide, waves=64), [], []
    for kernel in range(len(KERNELS)):
        tried.clear()
        features.choose(
            sampler, pixels, lambda low, turn, k=kernel: tried.append(turn @ low) or float(len(tried) - 1 != k)
        )
        assert len(tried) == len(KERNELS)
        assert tried[kernel].shape == (len(features) - features.functions.sloping, len(pixels))
        found.append(seen(features, guide, sampler))
    # in colours that hardly differ within an LR pixel, what stood for the features is near to them
    smooth = gaussian_filter(guide, (0, 8, 8)).astype(np.float32)
    features = GuideFeatures(smooth, waves=64)
    features.choose(sampler, pixels, lambda low, turn: tried.append(turn @ low) or -float(len(tried)))
    functions = features.functions
    without = np.delete(seen(features, smooth, sampler), np.s_[functions.products : functions.plain], axis=0)
    np.testing.assert_allclose(tried[-1], without[:, pixels], atol=0.05)
    assert all(np.abs(one - other).max() > 0.01 for one, other in pairwise(found))


def test_without_noise_weights_stay_small():
    """Where features cancel each other but for what the samples do not show, a ridge keeps them from being used."""
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((2, 200))
    twins = rng.standard_normal((1, 200)) + 1e-5 * rng.standard_normal((2, 200))
    features = np.concatenate([plain, twins])
    targets = np.array([[1.0, -2.0]]) @ plain + 1e-4 * (twins[:1] - twins[1:]) / 1e-5
    weights = regress_arrays(features, targets, least_ratio=1e-3).weights[0]
    np.testing.assert_allclose(weights[:2], [1, -2], atol=1e-3)
    assert np.abs(weights[2:]).max() < 1 < np.abs(regress_arrays(features, targets).weights[0, 2:]).max()


def test_what_cannot_be_negative_is_not():
    hr = np.maximum(scene(8, 96) - 0.4, 0)
    guide = np.tensordot(np.full((3, 8), 0.125) * np.array([[1], [2], [3]]), hr, 1).astype(np.float32)
    lr = gaussian_footprint(4).sampler(4, (96, 96))(hr).astype(np.float32)
    assert solve(lr, guide, 4).image().min() == 0
    assert solve(lr - 0.1, guide, 4).image().min() < -0.05


def test_a_linear_scene_without_noise_comes_back():
    hr = scene(8, 96, rank=3)
    guide = np.tensordot(np.random.default_rng(2).random((3, 8)) / 8, hr, 1).astype(np.float32)
    sensor = Sensor(footprint=gaussian_footprint(4))
    lr = sensor.footprint.sampler(4, (96, 96))(hr).astype(np.float32)
    assert psnr(hr, prior(lr, guide, scale=4, sensor=sensor)) > 60


def test_clipping_bias_is_the_mean_of_clipped_noise():
    values = np.array([-0.02, 0.0, 0.01, 0.5, 0.995, 1.0])
    noisy = values[:, None] + 0.01 * np.random.default_rng(0).standard_normal((6, 400_000))
    np.testing.assert_allclose(clipping_bias(values, 0.01), np.clip(noisy, 0, 1).mean(axis=1) - values, atol=1e-4)
    assert is_clipped(np.clip(noisy, 0, 1)) and not is_clipped(noisy) and not is_clipped(np.array([0.2, 0.8]))


def test_agreement_with_the_guide_is_exact_where_the_response_is():
    rng = np.random.default_rng(0)
    response, true = rng.standard_normal((2, 4)), rng.standard_normal((4, 8, 8))
    guide = np.tensordot(response, true, 1) + 0.5
    coefficients = (true + 0.1 * rng.standard_normal(true.shape)).astype(np.float32)
    before = ((coefficients - true) ** 2).mean()
    offset, moments = np.array([[0.5], [0.5]]), Moments(4, 2)
    for rows in (slice(0, 3), slice(3, 8)):
        moments.add(coefficients[:, rows], guide[:, rows])
    missing = guide - offset[..., None] - np.tensordot(response, coefficients, 1)
    beyond = moments.beyond(response, offset)
    np.testing.assert_allclose(beyond, (missing**2).mean(), rtol=1e-9)
    np.testing.assert_allclose(moments.spread(), coefficients.reshape(4, -1).var(axis=1, dtype=np.float64), rtol=1e-9)
    move(coefficients, guide, response, offset, guide_gain(moments.spread(), beyond, response, 1e-12))
    np.testing.assert_allclose(np.tensordot(response, coefficients, 1) + 0.5, guide, atol=1e-4)
    assert ((coefficients - true) ** 2).mean() < 0.7 * before


@pytest.mark.parametrize("known", [False, True])
def test_bands_that_are_functions_of_colour_come_out_sharp(known):
    """Noise-free, bands cubic in one colour: far beyond what bicubic and a linear map can do."""
    colour = scene(3, 128, rank=3)
    hr = np.concatenate([colour, colour**2, colour[:1] ** 3, np.sin(3 * colour)]).astype(np.float32)
    sensor = Sensor(footprint=gaussian_footprint(4, shift_px=(1.0, -0.5)))
    lr = sensor.footprint.sampler(4, (128, 128))(hr).astype(np.float32)
    estimate = prior(lr, colour, scale=4, sensor=sensor if known else None)
    assert estimate.dtype == np.float32
    assert psnr(hr, estimate) > max(50, psnr(hr, bicubic(lr, scale=4)) + 15)


@pytest.mark.parametrize(("channels", "bands"), [(1, 4), (3, 31), (4, 60), (13, 20)])
@pytest.mark.parametrize("scale", [2, 3, 8])
def test_any_number_of_bands_and_channels_at_any_scale(channels, bands, scale):
    hr = scene(bands, 18 * scale, rank=3)
    weights = np.random.default_rng(1).random((channels, bands))
    guide = np.tensordot(weights / weights.sum(1, keepdims=True), hr, 1).astype(np.float32)
    lr = gaussian_footprint(scale).sampler(scale, hr.shape[1:])(hr).astype(np.float32)
    assert psnr(hr, prior(lr, guide, scale=scale, waves=64)) > psnr(hr, bicubic(lr, scale=scale)) + 2


@pytest.mark.parametrize("known", [False, True])
def test_few_bands_without_noise_lose_nothing(known):
    """Eigenvalues of five bands do not tell noise from signal; what is cut off would be forced onto the guide."""
    hr = small_scene().cube[:, :96, :96]
    response = np.kron(np.eye(2), [[0.5, 0.5]])
    pair = degrade.pair(Scene(hr[:4], "s"), "wald", 4, response=response)
    sensor = sensor_of(pair.metadata) if known else None
    fused = [psnr(pair.hr, method(pair.lr, pair.guide, scale=4, sensor=sensor)) for method in (prior, gsa)]
    assert fused[0] > fused[1] - 0.3 > psnr(pair.hr, bicubic(pair.lr, scale=4)) + 3


def test_masked_pixels_are_ignored():
    hr = scene(31, 128)
    mask = np.ones((128, 128), bool)
    mask[:40, :40] = False
    pair = degrade.pair(Scene(hr, "s", wavelengths_nm=WAVELENGTHS_NM, mask=mask), "wald", 4)
    lr = pair.lr.copy()
    lr[:, :9, :9] = 1.0
    far = (slice(None), slice(64, None), slice(64, None))
    spoilt = prior(lr, pair.guide, scale=4, sensor=Sensor(mask=mask))
    assert psnr(hr[far], spoilt[far]) > psnr(hr[far], bicubic(pair.lr, scale=4)[far]) + 7


def test_a_hole_costs_little_where_one_channel_explains_little():
    rng = np.random.default_rng(0)
    detail = scene(1, 128)[0]
    fields = gaussian_filter(rng.standard_normal((6, 128, 128)), (0, 12, 12), mode="mirror")
    hr = (0.5 + 0.2 * detail + 2 * fields).astype(np.float32)
    lr = gaussian_footprint(4).sampler(4, (128, 128))(hr).astype(np.float32)
    mask = np.ones((128, 128), bool)
    mask[20:80, :60] = False
    spoilt = lr.copy()
    spoilt[:, 5:20, :15] = 1.0
    whole, holed = (
        prior(image, detail[None], scale=4, sensor=Sensor(footprint=gaussian_footprint(4), mask=known))
        for image, known in ((lr, None), (spoilt, mask))
    )
    far = (slice(None), slice(96, None), slice(None))
    assert psnr(hr[far], holed[far]) > psnr(hr[far], whole[far]) - 1


def test_bumps_do_not_hide_the_field_that_one_channel_leaves():
    """Four smooth covers under one channel: what it cannot tell is smooth in place, not a curve of brightness."""
    rng = np.random.default_rng(0)
    shares = gaussian_filter(rng.standard_normal((4, 96, 96)), (0, 5, 5), mode="wrap")
    shares = np.exp(1.5 * shares / shares.std(axis=(1, 2), keepdims=True))
    hr = np.tensordot(rng.uniform(0.05, 0.5, (12, 4)), shares / shares.sum(axis=0), 1).astype(np.float32)
    sensor = Sensor(footprint=gaussian_footprint(4))
    seen = sensor.footprint.sampler(4, (96, 96))(hr)
    lr = (seen + 1e-3 * rng.standard_normal(seen.shape)).astype(np.float32)
    fused = [psnr(hr, method(lr, hr[:4].mean(0)[None], scale=4, sensor=sensor)) for method in (prior, gsa)]
    assert fused[0] > fused[1] + 2 > psnr(hr, bicubic(lr, scale=4)) + 2


def test_noise_and_shift_of_mulsr_are_dealt_with_blind():
    pair = degrade.pair(Scene(scene(31), "s", wavelengths_nm=WAVELENGTHS_NM), "mulsr", 8)
    blind, known = (solve(pair.lr, pair.guide, 8, sensor) for sensor in (None, sensor_of(pair.metadata)))
    floor = psnr(pair.hr, bicubic(pair.lr, scale=8))
    assert psnr(pair.hr, blind.image()) > floor + 7
    assert abs(psnr(pair.hr, blind.image()) - psnr(pair.hr, known.image())) < 1
    seen = np.tensordot(known.response, known.coefficients, 1) + known.offset[:, :, None]
    assert np.abs(seen - pair.guide).mean() < 5e-4


def test_it_is_registered_and_repeatable():
    pair = degrade.pair(Scene(scene(31, 128), "s", wavelengths_nm=WAVELENGTHS_NM), "mulsr", 4)
    method = registry.build("prior", 4, 31, 3, {"waves": 32})
    np.testing.assert_array_equal(*(method.super_resolve(pair.lr, pair.guide) for _ in range(2)))
    with pytest.raises(HsisrError, match=r"prior: lr .* and guide .* do not fit"):
        method.super_resolve(pair.lr, pair.guide[:, :-4])


def test_products_of_many_channels_do_not_grow_without_limit():
    rng = np.random.default_rng(5)
    guide = rng.random((150, 8, 8)).astype(np.float32)
    assert len(GuideFeatures(guide[:20], waves=8)) == 20 + 210 + 20 * SLOPES + 8
    many = GuideFeatures(guide, waves=8)
    plain = 150 + 210 + 20 * SLOPES
    assert len(many) == plain + 8 and many.simpler == (150, 360)
    values = made(many, guide)
    assert values.shape == (plain + 8, 64) and np.isfinite(values).all()
    part = made(many, guide, slice(2, 5))
    np.testing.assert_allclose(part, values.reshape(-1, 8, 8)[:, 2:5].reshape(len(many), -1), atol=1e-4)
