"""hsisr.models.Hybrid: starts as the prior, learns what it leaves, stays in agreement with the guide."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hsisr import degrade, evaluation, super_resolve
from hsisr.config import Config, Training
from hsisr.degrade import Sensor
from hsisr.errors import HsisrError
from hsisr.inference import load_model, predict, save_model
from hsisr.models import registry
from hsisr.models.apply import Method
from hsisr.models.hybrid import _looked_at as looked_at
from hsisr.models.hybrid.agreement import agreed, contradiction
from hsisr.models.hybrid.channels import remarks_on
from hsisr.models.hybrid.filters import (
    Details,
    Learnt,
    Light,
    Moments,
    believed,
    believed_share,
    filter_length,
    fitted,
    locally_affine,
    response_of,
    strength,
)
from hsisr.models.hybrid.held import HeldOut, Solved
from hsisr.models.hybrid.maps import cosines, stack
from hsisr.models.hybrid.pieces import Piece
from hsisr.models.hybrid.samples import PriorPatches, solved
from hsisr.models.prior import prior, solve
from hsisr.models.shipped import made_model
from hsisr.pipeline import benchmark, pair_files, paths
from hsisr.scene import Scene
from hsisr.training import train_one
from tests.unit.conftest import CONFIG
from tests.unit.test_degrade_estimation import scene


@pytest.fixture(scope="module")
def pair() -> degrade.Pair:
    return degrade.pair(Scene(scene(31, 128), "s", wavelengths_nm=np.linspace(400, 700, 31)), "mulsr", 4)


def test_untrained_it_is_the_prior(pair):
    network = registry.build("hybrid", 4, 31, 3)
    found = predict(network, pair.lr, pair.guide)
    np.testing.assert_allclose(found, prior(pair.lr, pair.guide, scale=4), atol=1e-6)


def test_it_is_told_what_is_known_of_the_sensor(pair):
    network = registry.build("hybrid", 4, 31, 3)
    mask = np.ones(pair.hr.shape[1:], bool)
    mask[:, :40] = False
    footprint = degrade.gaussian_footprint(4)
    method = Method("hybrid", 4, True, network)
    assert method.takes_sensor
    found = method(pair.lr, pair.guide, sensor=Sensor(footprint=footprint, mask=mask))
    expected = prior(pair.lr, pair.guide, scale=4, sensor=Sensor(footprint=footprint, mask=mask))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    blind = method(pair.lr, pair.guide)  # not the pair that is kept, though the images are the same
    np.testing.assert_allclose(blind, prior(pair.lr, pair.guide, scale=4), atol=1e-6)
    assert np.abs(found - blind).max() > 1e-3


@pytest.mark.parametrize("learnt_on_another_prior", [True, False])
def test_a_file_of_another_version_is_refused_in_one_line(tmp_path, monkeypatch, learnt_on_another_prior):
    with monkeypatch.context() as another:
        if learnt_on_another_prior:
            another.setattr("hsisr.models.hybrid.EDITION", 1)
        network = registry.build("hybrid", 4, 8, 1)
    if not learnt_on_another_prior:
        network.strength = network.strength[:-1]
    said = {"base": "hybrid", "options": {}, "scale": 4, "bands": 8, "guide_channels": 1, "wavelengths_nm": None}
    save_model(tmp_path / "model.safetensors", network, said)
    with pytest.raises(HsisrError, match="do not fit hybrid as this version of hsisr builds it; train it again$"):
        load_model(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    made_model(4).parent.mkdir(parents=True)
    (tmp_path / "model.safetensors").rename(made_model(4))
    with pytest.raises(HsisrError, match="; `hsisr weights hybrid-cave-x4 --overwrite` makes them anew$"):
        load_model(made_model(4))


@pytest.mark.parametrize(("bands", "channels", "size"), [(8, 1, 48), (40, 4, 50), (5, 2, 51)])
def test_any_bands_channels_and_sizes(bands, channels, size):
    scale = 3 if size % 3 == 0 else 2
    hr = scene(bands, size, rank=3)
    guide = hr[:channels]
    lr = degrade.gaussian_footprint(scale).sampler(scale, hr.shape[1:])(hr).astype(np.float32)
    network = registry.build("hybrid", scale, bands, channels, {"width": 8, "blocks": 1})
    torch.nn.init.normal_(network.last.weight)
    found = predict(network, lr, guide)
    assert found.shape == hr.shape
    alone = network.super_resolve(
        *(torch.from_numpy(image)[None] for image in (lr, guide))
    )  # with gradients switched on
    np.testing.assert_allclose(alone[0].numpy(), found, atol=1e-5)
    patches = torch.zeros(1, channels, 2, 2)
    with pytest.raises(HsisrError, match=r"hybrid: learns from what its prepare_training\(pairs\) returns, not"):
        network(patches, patches)
    assert network.hold_out(patches) is None
    torch.nn.init.constant_(network.last.weight, np.nan)
    with pytest.raises(HsisrError, match="hybrid: its network makes NaN or infinity: its training diverged"):
        predict(network, lr, guide)


def test_images_that_it_was_not_built_for_are_refused(pair):
    network = registry.build("hybrid", 4, 31, 3)
    with pytest.raises(HsisrError, match=r"Hybrid: the image has shape \(1, 8, 32, 32\), expected \(N, 31, h, w\)"):
        predict(network, pair.lr[:8], pair.guide)
    with pytest.raises(HsisrError, match=r"the guide has shape \(1, 2, 128, 128\), expected \(1, 3, 128, 128\)"):
        predict(network, pair.lr, pair.guide[:2])


def test_cosines_are_orthonormal_and_slowest_first():
    basis = cosines(6, 31)
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-6)
    assert [(np.diff(np.sign(row)) != 0).sum() for row in basis] == list(range(6))


def test_the_result_contradicts_the_guide_no_more_than_is_usual(pair):
    solution = solve(pair.lr, pair.guide, 4)
    image, response = solution.image(), response_of([(pair, solution, 4)])
    np.testing.assert_allclose(agreed(image, solution.guide, response, solution), image, atol=1e-6)
    noise = np.random.default_rng(0).normal(0, 0.05, (len(solution.coefficients), *image.shape[1:]))
    wrong = image + np.tensordot(solution.subspace.basis, noise, 1).astype(np.float32)
    before = contradiction(wrong, pair.guide, response)
    right = agreed(wrong, pair.guide, response, solution)
    assert contradiction(right, pair.guide, response) < 0.05 * before
    assert ((right - pair.hr) ** 2).mean() < ((wrong - pair.hr) ** 2).mean()
    np.testing.assert_allclose(agreed(wrong, pair.guide, response, solution, usual=before), wrong, atol=1e-7)
    assert agreed(wrong, pair.guide, 0 * response, solution) is wrong  # no camera is known


def test_contradiction_counts_valid_pixels_in_units_of_the_guide(pair):
    response = np.random.default_rng(0).random((3, 32))
    made = np.tensordot(response[:, :-1], pair.hr.astype(np.float64), 1) + response[:, -1:, None]
    assert contradiction(pair.hr, made, response) < 1e-10
    assert contradiction(pair.hr, made / 0.9, response) == pytest.approx(0.01, rel=1e-3)
    valid = np.ones(made.shape[1:], bool)
    valid[:10] = False
    made[:, :10] = 7
    assert contradiction(pair.hr, made, response, valid) < 1e-10


@pytest.mark.parametrize("size", [5, 9])
def test_mixtures_of_two_materials_are_locally_affine(size):
    """Where guide and image mix the same two spectra, the fit gives the image back."""
    share = scene(1, 40)[0]
    guide = np.stack([0.2 + 0.5 * share, 0.7 - 0.3 * share])
    image = np.stack([0.9 * share, 0.1 + 0.2 * share, 0.4 - 0.4 * share])
    np.testing.assert_allclose(locally_affine(image, guide, size, guide.var()), image, atol=2e-3)
    alike = np.full_like(guide, 0.3)  # a guide that says nothing: the mean of the window is left
    inner = locally_affine(image, alike, 3, alike.var())[:, 1:-1, 1:-1]
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(1, 2))
    np.testing.assert_allclose(inner, windows.mean(axis=(-1, -2)), atol=1e-6)


def test_filters_are_those_of_least_squares(pair):
    """What known filters make of a scene is found again, from all of it and from the parts of it."""
    details = Details(Piece(pair.lr, pair.guide, solve(pair.lr, pair.guide, 4)), 4, np.zeros((3, 32)))
    assert details.of_band(3).shape == (filter_length(3), pair.hr[0].size)
    true = np.zeros((2, 31, filter_length(3)))
    true[0] = 0.1 * np.random.default_rng(0).standard_normal(true[0].shape)
    wanted = details.filtered(true)
    np.testing.assert_allclose(wanted[7].ravel(), true[0, 7] @ details.of_band(7), atol=1e-5)
    filters, (same,) = fitted([Moments.of(details, wanted)], np.zeros_like(true[0]))
    found = details.filtered(np.stack([filters, true[1]]))
    assert ((found - wanted) ** 2).mean() < 1e-3 * (wanted**2).mean()
    assert same is filters


def test_filters_in_the_dark_work_there_and_are_learnt_in_units_of_the_brightness(pair):
    solution = solve(pair.lr, pair.guide, 4)
    noisy = replace(solution, sensor=replace(solution.sensor, noise_sigma=0.1))
    details = Details(Piece(pair.lr, pair.guide, noisy), 4, np.zeros((3, 32)))
    size = np.sqrt((solution.image() ** 2).mean(axis=0))
    np.testing.assert_allclose(details.darkness, np.exp(-(size + 4e-3) / 0.12), rtol=1e-4)
    true = np.zeros((2, 31, filter_length(3)))
    true[1] = 0.1 * np.random.default_rng(0).standard_normal(true[1].shape)
    wanted = details.filtered(true)
    values = details.of_band(7)
    np.testing.assert_allclose(wanted[7].ravel(), details.darkness.ravel() * (true[1, 7] @ values), atol=1e-5)
    parts = Moments.of(details, wanted, dark=True)
    expected = (details.darkness * wanted[7] / details.brightness**2).ravel()
    np.testing.assert_allclose(sum(part.cross for part in parts)[7], values @ expected, rtol=1e-3)
    power = sum(part.power for part in parts)
    np.testing.assert_allclose(power, ((wanted / details.brightness) ** 2).sum(axis=(1, 2)), rtol=1e-4)
    left = sum(part.left(true[1]) for part in parts)
    assert (np.abs(left) < 1e-3 * power).all()


def test_a_scene_without_dark_pixels_teaches_no_filters_for_the_dark(pair):
    """The darkness of 1e-30 had taught filters of 1e283, whose network was not a number."""
    solution = solve(pair.lr, pair.guide, 4)
    least = np.sqrt((np.maximum(solution.image(), 0) ** 2).mean(axis=0)).min()
    bright = replace(solution, sensor=replace(solution.sensor, noise_sigma=least / 72))
    details = Details(Piece(pair.lr, pair.guide, bright), 4, np.zeros((3, 32)))
    assert 0 < details.darkness.max() < 1e-25
    start = np.zeros((31, filter_length(3)))
    filters, _ = fitted([Moments.of(details, pair.hr - details.image, dark=True)], start)
    assert not filters.any()


def test_what_filters_leave_of_few_pixels_is_no_rounding(pair):
    """In float32 it was less than nothing, so that the weakest ridge won."""
    rows = slice(0, 8)
    details = Details(Piece(pair.lr, pair.guide, solve(pair.lr, pair.guide, 4)), 4, np.zeros((3, 32)))
    valid = np.zeros(pair.hr.shape[1:], bool)
    valid[rows, :16] = True
    missing = (pair.hr - details.image) * np.float32(1e-4)
    parts = [part for part in Moments.of(details, missing, valid) if part.power.any()]
    for part in parts:
        system = part.gram + 1e-9 * np.trace(part.gram, axis1=1, axis2=2)[:, None, None] * np.eye(part.gram.shape[1])
        filters = np.linalg.solve(system, part.cross[..., None])[..., 0]
        assert (part.left(filters) >= -1e-9 * part.power).all()


def test_filters_see_how_bands_and_guide_grow_outwards(pair):
    """A lens that magnifies a band by 1 + m about the middle of the scene adds m times this."""
    solution = solve(pair.lr, pair.guide, 4)
    inner = slice(1, -1), slice(1, -1)
    values = Details(Piece(pair.lr, pair.guide, solution), 4, np.zeros((3, 32))).of_band(5).reshape(-1, 128, 128)
    for image, found in ((pair.guide[0], values[9]), (solution.image()[5], values[-8])):
        downwards, rightwards = np.gradient(image.astype(np.float64))
        rows, columns = np.indices(image.shape) - 63.5
        expected = (rows * downwards + columns * rightwards) / 256
        np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)


def test_filters_see_the_dark_as_far_as_there_is_noise(pair):
    solution = solve(pair.lr, pair.guide, 4)

    def dark(sigma: float) -> np.ndarray:
        taken = replace(solution, sensor=replace(solution.sensor, noise_sigma=sigma))
        return Details(Piece(pair.lr, pair.guide, taken), 4, np.zeros((3, 32))).of_band(0)[[30, -1]]

    assert not dark(0.0).any()
    little, much = dark(0.01)[0], dark(0.1)[0]
    assert (much > little).all() and (little >= 0).all()
    size = np.sqrt((solution.image() ** 2).mean(axis=0)).ravel()
    assert (np.diff(much[np.argsort(size)]) <= 0).all()  # the darker, the more


def test_filters_for_a_scene_have_not_seen_it_and_what_does_not_hold_elsewhere_is_not_learnt():
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((50, 4)) for _ in range(3)]

    def parts(truths):
        return [
            [Moments((f.T @ f)[None], (f.T @ (f @ w))[None], np.array([(f @ w) @ (f @ w)]))]
            for f, w in zip(features[: len(truths)], truths, strict=True)
        ]

    common = np.array([1.0, -2.0, 0.5, 0.0])
    filters, unseen = fitted(parts([common, common, common]), np.zeros((1, 4)))
    np.testing.assert_allclose([filters, *unseen], np.broadcast_to(common, (4, 1, 4)), atol=1e-3)
    changed = fitted(parts([common, common, 5 - common]), np.zeros((1, 4)))[1]
    np.testing.assert_allclose(changed[2], common[None], atol=0.1)
    two_bands = [
        [Moments(np.repeat(part.gram, 2, axis=0), *(np.concatenate([x, x * share]) for x in (part.cross, part.power)))]
        for (part,), share in zip(parts([common] * 3), (1, 1e-12, 0), strict=True)
    ]  # the second one dead in two scenes, but for rounding
    filters, _ = fitted(two_bands, np.zeros((2, 4)))
    np.testing.assert_allclose(filters, [common, common], atol=1e-3)
    flat = degrade.Pair(np.ones((3, 8, 8), np.float32), np.ones((1, 32, 32)), np.ones((3, 32, 32)))
    with pytest.raises(HsisrError, match="training scene field: every pixel is the same, which teaches nothing"):
        registry.build("hybrid", 4, 3, 1).prepare_training([("field", flat)])
    start = np.ones((1, 4))
    kept, unseen = fitted(parts([common + 1, 1 - common]), start)  # what one says is wrong in the other
    assert kept is start and unseen == [start, start]


def test_response_of_the_camera_is_found_again_from_valid_pixels(pair):
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.random((3, 31)), [[0.1], [0.0], [-0.2]]], axis=1)
    hr = rng.random((31, 128, 128)).astype(np.float32)
    guide = np.tensordot(true[:, :-1], hr, 1) + true[:, -1:, None]
    valid = np.ones((128, 128), bool)
    valid[20:50] = False
    solution = solve(pair.lr, pair.guide, 4)
    far = np.where(valid, guide, 9.0)  # which the sensor mixes into what lies around
    holed, whole = (
        replace(pair, hr=hr, guide=image.astype(np.float32), mask=mask) for image, mask in ((far, valid), (guide, None))
    )
    np.testing.assert_allclose(response_of([(whole, solution, 4)]), true, atol=5e-3)
    left = [np.abs(response_of([(one, solution, 4)]) - true).max() for one in (holed, replace(holed, mask=None))]
    assert left[0] < 0.3 * left[1]


def test_another_exposure_or_tone_curve_of_the_guide_is_undone(pair):
    """The same camera's guide is left as it is; what another exposure or a gamma made of it is brought back."""
    response = response_of([(pair, solve(pair.lr, pair.guide, 4), 4)])

    def taken(guide, response=response):
        piece = Piece(pair.lr, guide, solve(pair.lr, guide, 4))
        return Light.of([piece], 4, response).as_by_camera(piece)

    assert taken(pair.guide) is pair.guide
    exposed = np.float32(0.6) * pair.guide
    assert taken(exposed, 0 * response) is exposed
    few = solve(pair.lr[:, :2, :2], exposed[:, :8, :8], 4)
    piece = Piece(pair.lr[:, :2, :2], exposed[:, :8, :8], few)
    assert Light.of([piece], 4, response).tones is None  # cannot be told
    for changed, tolerance in ((exposed, 1e-3), (pair.guide**0.45, 0.01), (pair.guide**2.2, 0.02)):
        found = taken(changed)
        assert np.sqrt(((found - pair.guide) ** 2).mean()) < tolerance
        assert found.dtype == pair.guide.dtype


@pytest.mark.parametrize("case", ["a dead channel", "other bands"])
def test_filters_go_by_what_their_own_camera_would_see_where_another_one_took_the_guide(pair, capsys, case):
    guide = pair.hr[[3, 12, 27]] if case == "other bands" else pair.guide.copy()
    if case == "a dead channel":
        guide[0] = 0.3
    network = registry.build("hybrid", 4, 31, 3)
    network.response.copy_(torch.from_numpy(response_of([(pair, solve(pair.lr, pair.guide, 4), 4)])))
    filters = np.zeros(network.filters.shape)
    filters[0, :, 4] = 0.05  # of the first channel: it adds a share of the guide itself
    network.filters.copy_(torch.from_numpy(filters))
    network.strength.fill_(torch.inf)
    network.contradiction.fill_(1)

    def added(guide):
        return super_resolve(pair.lr, guide, model=network) - prior(pair.lr, guide, scale=4)

    own = added(pair.guide)
    assert "the weights learnt from" not in capsys.readouterr().err
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert np.abs(added(guide) - own).mean() < 0.1 * np.abs(own).mean()
    assert "the weights learnt from" in capsys.readouterr().err
    said = [str(one.message) for one in told]
    flat = "its band 0 (from 0) is the same number everywhere, and Hybrid learnt from guides whose bands all hold"
    assert any(flat in line for line in said) == (case == "a dead channel")
    assert not any("other ground" in line for line in said)


def test_another_exposure_of_the_guide_costs_little(pair):
    network = registry.build("hybrid", 4, 31, 3)
    network.response.copy_(torch.from_numpy(response_of([(pair, solve(pair.lr, pair.guide, 4), 4)])))
    network.filters.copy_(torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, network.filters.shape)))
    network.strength.fill_(torch.inf)

    def found(gain):
        return predict(network, pair.lr, np.float32(gain) * pair.guide)

    plain, exposed = found(1), found(0.6)
    network.response.zero_()
    assert np.abs(exposed - plain).mean() < 0.05 * np.abs(found(0.6) - found(1)).mean()


def test_invalid_pixels_teach_nothing(pair):
    solution = solve(pair.lr, pair.guide, 4)
    details = Details(Piece(pair.lr, pair.guide, solution), 4, np.zeros((3, 32)))
    valid = np.ones(pair.hr.shape[1:], bool)
    valid[40:60, 20:80] = False
    spoilt = pair.hr - details.image
    clean = [Moments.of(details, image, valid) for image in (spoilt, np.where(valid, spoilt, 1e3))]
    for one, other in zip(*clean, strict=True):
        np.testing.assert_array_equal(one.cross, other.cross)


def test_filters_are_believed_less_where_they_add_far_more_than_they_did(pair):
    rng = np.random.default_rng(0)
    image, added = rng.standard_normal((2, 3, 40, 40))
    valid = np.ones((40, 40), bool)
    valid[:9] = False
    spoilt = np.where(valid, added, 50)
    found = strength(spoilt, np.where(valid, image, 50), valid)
    np.testing.assert_allclose(found, [1, 1, 1], atol=0.06)
    np.testing.assert_allclose(strength(0.3 * added, 3 * image), 0.1 * strength(added, image))
    less = believed(added, believed_share(np.array([1.0, 1.5, 3.0]), np.ones(3)))
    np.testing.assert_allclose(less, added * np.array([1, 1, 0.25])[:, None, None])
    network = registry.build("hybrid", 4, 31, 3)
    network.prepare_training([("s", pair)])
    full = predict(network, pair.lr, pair.guide)
    assert network.strength.min() > 0
    network.strength.zero_()  # nothing is usual
    network.response.zero_()
    np.testing.assert_allclose(predict(network, pair.lr, pair.guide), prior(pair.lr, pair.guide, scale=4), atol=1e-6)
    assert np.abs(full - prior(pair.lr, pair.guide, scale=4)).max() > 1e-3


def test_samples_are_the_same_whenever_they_are_asked_for(pair):
    none = Learnt.nothing(31, 3)
    patches, learnt = solved([("s", pair)], 4, cosines(5, 31), none, size_px=32, patches_per_scene=10)
    assert (len(patches), patches.guide_channels, patches.bands) == (10, 3 + 3 * 5, 5)
    stacked = patches.stack([3, 4])
    np.testing.assert_array_equal(stacked.hr[1], patches[4].hr)
    assert stacked.guide.shape == (2, 18, 32, 32) and patches.scene_of(7) == "s"
    assert learnt.filters.shape == (2, 31, filter_length(3)) and not none.filters.any()
    assert learnt.response.any() and not none.response.any() and learnt.contradiction < 0.05 * pair.guide.var()
    known = replace(none, response=np.ones((3, 32)))
    again = solved([("s", pair)], 4, cosines(5, 31), known, size_px=32, patches_per_scene=10)[1]
    np.testing.assert_array_equal(again.response, 1)  # of a camera that is known, filters are for that one


def test_maps_say_what_is_known_after_the_filters(pair):
    basis = cosines(5, 31)
    solution = solve(pair.lr, pair.guide, 4)
    filters = np.zeros((2, 31, filter_length(3)))
    filters[0, :, 10 * 3 + 1 + 4] = 0.1  # the band's own pixel
    learnt = replace(Learnt.nothing(31, 3), filters=filters, strength=np.ones(31))
    found = stack(Piece(pair.lr, pair.guide, solution), 4, basis, learnt)
    np.testing.assert_allclose(found.image, 1.1 * solution.image(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.maps[:3], pair.guide)
    expected = np.tensordot(basis, found.image, 1) / np.sqrt(31) * np.arange(1, 6)[:, None, None]
    np.testing.assert_allclose(found.maps[3:8], expected, atol=1e-5)
    added = np.tensordot(basis, found.image - solution.image(), 1) / 0.02
    np.testing.assert_allclose(found.maps[8:13], added, atol=1e-4)


@pytest.mark.parametrize(
    ("order", "said"),
    [((0, 1, 2), False), ((2, 1, 0), True), ((1, 2, 0), True)],
    ids=["as learnt", "blue first", "turned round"],
)
@pytest.mark.parametrize("gamma", [1.0, 1 / 2.2])
def test_channels_in_another_order_are_named(tmp_path, capsys, pair, order, said, gamma):
    network = registry.build("hybrid", 4, 31, 3)
    response = response_of([(pair, solve(pair.lr, pair.guide, 4), 4)])
    network.response.copy_(torch.from_numpy(response))
    facts = {"base": "hybrid", "options": {}, "scale": 4, "bands": 31, "guide_channels": 3, "wavelengths_nm": None}
    save_model(tmp_path / "model.safetensors", network, facts)
    guide = (pair.guide[list(order)] ** gamma).astype(np.float32)
    super_resolve(pair.lr, guide, model=tmp_path / "model.safetensors")
    told = capsys.readouterr().err
    back = ",".join(str(order.index(channel)) for channel in range(3))
    assert ("another order" in told) == said
    assert (f"--guide-bands {back} (in Python guide_bands='{back}')" in told) == said


def test_another_order_is_told_in_the_numbers_of_the_guide_itself():
    """Of a guide with --guide-bands 6,2,4 the last channel is band 4."""
    [line] = remarks_on((2, 1, 0), (6, 2, 4))
    assert "--guide-bands 4,2,6" in line


def test_the_engine_teaches_it(tmp_path):
    """A correction that follows from the maps is learnt by `hsisr.training.fit`, on samples of solved scenes."""
    from hsisr.training import fit

    torch.manual_seed(0)
    network = registry.build("hybrid", 4, 31, 3, {"width": 16, "blocks": 1, "components": 4})
    maps = scene(3 + 3 * 4, 64)
    wanted = 0.05 * (maps[3:7] - 0.5)
    patches = PriorPatches([Solved(maps, wanted)], ["s"], size_px=32, per_epoch=100)
    settings = Training(epochs=None, max_steps=150, batch_size=4, learning_rate=1e-2, device="cpu")
    fit(network, patches, tmp_path, settings)
    with torch.inference_mode():
        found = network(torch.zeros(1), torch.from_numpy(maps)[None])[0].numpy()
    assert ((found - wanted) ** 2).mean() < 0.2 * (wanted**2).mean()


def test_what_only_the_training_scenes_show_is_not_believed(tmp_path):
    """Of four scenes one is held out: where it contradicts the others, the filters alone are left, however long."""
    from hsisr.training import fit

    rng = np.random.default_rng(0)
    maps = [scene(3 + 3 * 4, 32) + 0.1 * rng.random((15, 32, 32), np.float32) for _ in range(4)]
    few = {"epochs": None, "max_steps": 30, "batch_size": 4, "validate_every_steps": 10}
    settings = Training(**few, learning_rate=1e-2, device="cpu")

    def added(sign: float) -> float:
        """What a network adds on the scene that is held out, over what is missing there: sign times that of others."""
        signs = (1, 1, sign, 1)  # the third is held out
        scenes = [Solved(one, factor * 0.05 * (one[3:7] - 0.5)) for one, factor in zip(maps, signs, strict=True)]
        torch.manual_seed(0)
        network = registry.build("hybrid", 4, 31, 3, {"width": 16, "blocks": 1, "components": 4})
        patches = PriorPatches(scenes, list("wxyz"), size_px=32, per_epoch=100)
        most, held = network.hold_out(patches)
        assert list(most.names) == list("wxz") and len(most) == 75 and held.scenes[0] is scenes[2]
        kept = {}

        def keep(path: Path, one: torch.nn.Module) -> None:
            kept[path.name] = one.last.weight.detach().clone()

        fit(network, patches, tmp_path / str(sign), settings, export=keep)
        torch.testing.assert_close(kept["best.safetensors"], network.last.weight.detach())
        with torch.inference_mode():
            found = network(torch.zeros(1), torch.from_numpy(maps[2])[None])[0].numpy()
        return float((found * scenes[2].missing).sum() / (scenes[2].missing ** 2).sum())

    assert added(-1) == 0
    assert added(1) > 0.5


def test_a_network_is_held_to_the_share_that_does_best_on_valid_pixels():
    network = registry.build("hybrid", 4, 31, 3, {"width": 8, "blocks": 1, "components": 4})
    torch.nn.init.normal_(network.last.weight, std=0.1)
    maps = scene(3 + 3 * 4, 34)[:, :33]
    says = network(torch.zeros(1), torch.nn.functional.pad(torch.from_numpy(maps)[None], (0, 0, 0, 1), "replicate"))
    says = says[0, :, :33].detach().numpy()
    valid = np.ones((33, 34), bool)
    valid[5:9] = False
    held = HeldOut([Solved(maps, 0.4 * says * valid, valid, outside=1e-6)], bands=31)
    assert held(network) == pytest.approx(60)  # what lies outside the basis is all that is left
    before = network.last.weight.detach().clone()
    held.settle(network)
    torch.testing.assert_close(network.last.weight, 0.4 * before)
    assert held(network) == pytest.approx(60)


def test_the_pipeline_trains_and_scores_it_and_tells_methods_the_sensor(small):
    few = CONFIG["models"]["tiny"]["training"] | {"max_steps": 2}
    config = CONFIG | {
        "benchmarks": {small.name: {"models": ["gsa", "told", "small"]}},
        "models": {
            "told": {"base": "gsa", "sensor": "known"},
            "small": {"base": "hybrid", "width": 8, "blocks": 1, "components": 3, "training": few},
        },
    }
    chosen = benchmark.resolve(Config.parse(config), small.name)
    train_one(chosen, chosen.model("small"), 0)
    scores = {name: evaluation.evaluate_model(chosen, name, "").result.mean["psnr"] for name in chosen.models}
    assert all(np.isfinite(list(scores.values())))
    assert scores["small"] > scores["gsa"] - 1  # two steps away from the prior
    assert (predict(load_model(chosen.path(paths.RUN, model="small", seed=0)), *images(chosen)) != 0).any()


def images(chosen: benchmark.Benchmark) -> tuple[np.ndarray, np.ndarray]:
    pair = pair_files.read(chosen.path(paths.PAIR, item=chosen.parts["test"][0].name))
    return pair.lr, pair.guide


@pytest.mark.parametrize(("scale", "count"), [(2, 8), (8, 2), (16, 1)])
def test_some_windows_of_a_large_scene_are_looked_at_whatever_their_size(scale, count):
    windows = [((row, row + 64), (0, 64)) for row in range(0, 8 * 64, 64)]
    assert len(looked_at(windows, scale)) == count
