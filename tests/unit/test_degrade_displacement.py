"""Displacement fields against those that made the images, and splines against plain sums."""

import numpy as np
import pytest

from hsisr import degrade
from hsisr.degrade import measure_displacement
from hsisr.degrade.change import find_change
from hsisr.degrade.exposure import even
from hsisr.degrade.sampling import interpolate_at
from hsisr.degrade.spline import SplineGrid
from hsisr.degrade.view import view_of
from hsisr.errors import HsisrError
from tests.unit.warped import SCALE, inverse, moved_by, smooth_field, textured_cube

SIDE = 192
#: Ground that every field here leaves inside the moved guide.
INNER = (slice(12, -12), slice(12, -12))


@pytest.fixture(scope="module")
def pair():
    cube = textured_cube(SIDE)
    return degrade.degrade(cube, "wald", SCALE, noise=0), cube[:3]


def error_px(found, truth) -> float:
    at = found.at(np.arange(SIDE), np.arange(SIDE))
    return float(np.sqrt(((at - truth) ** 2).sum(axis=0)[INNER].mean()))


def test_a_smooth_field_is_found(pair):
    lr, guide = pair
    field = smooth_field(SIDE, 2 * SCALE, degrees=0.5)
    found = measure_displacement(lr, moved_by(guide, field), SCALE)
    assert found.is_evident and found.unexplained[1] < 0.1 * found.unexplained[0]
    assert error_px(found, inverse(field)) < 0.15
    assert 0.7 * 2 * SCALE < found.largest_px < 1.5 * 2 * SCALE and found.rms_px < found.largest_px


def test_nothing_is_found_where_nothing_is(pair):
    found = measure_displacement(*pair, SCALE)
    assert found.rms_px < 0.05 and not found.is_evident


def test_a_turn_is_an_affine_map(pair):
    lr, guide = pair
    field = smooth_field(SIDE, 0.0, degrees=1.0) + 3.0
    found = measure_displacement(lr, moved_by(guide, field), SCALE, model="affine")
    assert found.is_evident and error_px(found, inverse(field)) < 0.1


def test_clouds_and_holes_do_not_move_the_rest(pair):
    lr, guide = pair
    field = smooth_field(SIDE, SCALE)
    cloudy = moved_by(guide, field)
    cloudy[:, 20:70, 90:150] = 0.9 + 0.05 * textured_cube(SIDE, seed=7)[:3, 20:70, 90:150]
    mask = np.ones((SIDE, SIDE), bool)
    mask[140:170, 30:70] = False
    cloudy[:, ~mask] = np.nan_to_num(np.inf, posinf=1e3)
    found = measure_displacement(lr, cloudy, SCALE, mask)
    off = found.at(np.arange(SIDE), np.arange(SIDE)) - inverse(field)
    clear = np.zeros((SIDE, SIDE), bool)
    clear[INNER] = True
    clear[10:80, 80:160] = clear[130:180, 20:80] = False
    assert np.sqrt((off**2).sum(axis=0)[clear].mean()) < 0.3
    assert found.fitting < 0.95


def test_images_that_do_not_fit_or_are_too_small_are_refused(pair):
    lr, guide = pair
    with pytest.raises(HsisrError, match="16 x 16 or more"):
        measure_displacement(lr[:, :8, :8], guide[:, : 8 * SCALE, : 8 * SCALE], SCALE)
    with pytest.raises(HsisrError, match="do not differ by scale 4"):
        measure_displacement(lr, guide[:, :-1], SCALE)
    with pytest.raises(HsisrError, match="choose one of affine, field"):
        measure_displacement(lr, guide, SCALE, model="spline")
    with pytest.raises(HsisrError, match="no valid pixel in common"):
        measure_displacement(lr, guide, SCALE, np.zeros((SIDE, SIDE), bool))


def test_a_guide_of_zeros_is_refused(pair):
    lr, guide = pair[0][:, :20, :20], np.zeros((3, 20 * SCALE, 20 * SCALE))
    for measure in (lambda: measure_displacement(lr, guide, SCALE), lambda: find_change(view_of(lr, guide, SCALE))):
        with pytest.raises(HsisrError, match="the guide has no detail"):
            measure()


def test_a_blank_channel_shows_no_change(pair):
    """At the cells, rounding makes it vary."""
    blank = pair[1].copy()
    blank[1] = blank[1].mean()
    lr = degrade.degrade(textured_cube(SIDE), "wald", 6, noise=0)
    assert find_change(view_of(lr, blank, 6)).share == 0


def test_change_is_found_where_it_is_and_not_elsewhere(pair):
    lr, guide = pair
    assert find_change(view_of(lr, guide, SCALE)).share == 0
    other = guide.copy()
    other[:, 40:100, 80:140] = textured_cube(SIDE, seed=3)[:3, 40:100, 80:140]
    changed = find_change(view_of(lr, other, SCALE)).changed
    truth = np.zeros((SIDE // SCALE,) * 2, bool)
    truth[10:25, 20:35] = True
    assert changed[truth].mean() > 0.9 and changed[~truth].mean() < 0.03


def test_change_ends_within_a_third_of_an_lr_pixel(pair):
    lr, guide = pair
    truth = np.zeros((SIDE, SIDE), bool)
    truth[42:101, 79:138] = True
    other = np.where(truth, textured_cube(SIDE, seed=3)[:3], guide)
    found = find_change(view_of(lr, other, SCALE))
    side = SCALE // found.samples
    wrong = (found.degree >= 0.5).repeat(side, axis=0).repeat(side, axis=1) != truth
    assert wrong.sum() / (4 * 59) < SCALE / 3  # HR pixels for each of the outline


def test_change_ends_where_the_guide_shows_it(pair):
    _, guide = pair
    lr = degrade.degrade(textured_cube(SIDE), "wald", 8, noise=0)
    truth = np.zeros((SIDE, SIDE), bool)
    truth[43:102, 79:138] = True
    other = np.where(truth, textured_cube(SIDE, seed=3)[:3], guide)
    found = find_change(view_of(lr, other, 8, fine=True))
    assert found.degree.shape == truth.shape
    assert ((found.degree >= 0.5) != truth).sum() / (4 * 59) < 0.3  # HR pixels for each of the outline


def test_a_strip_between_change_and_border_has_not_changed(pair):
    lr, guide = pair
    truth = np.zeros((SIDE, SIDE), bool)
    truth[8:100, 60:160] = True
    found = find_change(view_of(lr, np.where(truth, 1 - guide, guide), SCALE, fine=True))
    assert found.degree[truth].mean() > 0.95 and found.degree[:8].max() < 0.5


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.1), (3.0, 0.0), ((0.3, 0.4, 0.6), (0.02, 0.01, 0.0))])
def test_another_exposure_is_no_change_and_is_evened_out(pair, gain, offset):
    lr, guide = pair
    gain, offset = (np.broadcast_to(np.reshape(one, (-1, 1, 1)), (3, 1, 1)) for one in (gain, offset))
    truth = np.zeros((SIDE, SIDE), bool)
    truth[30:110, 60:160] = True
    view = view_of(lr, np.where(truth, gain * guide + offset, guide), SCALE, fine=True)
    found = find_change(view)
    [exposure] = found.exposures
    assert found.share == 0
    np.testing.assert_allclose(exposure.gain, gain[:, 0, 0], rtol=0.02)
    np.testing.assert_allclose(exposure.offset, offset[:, 0, 0], atol=0.01)
    assert ((exposure.degree >= 0.5) != truth).sum() < 20  # HR pixels, of 360 along the outline
    well = np.abs(exposure.degree - truth) < 0.01
    assert np.abs(even(view, found.exposures).sharp - guide)[:, well].max() < 0.05


def test_other_ground_in_another_exposure_has_changed(pair):
    lr, guide = pair
    other = np.where(np.arange(SIDE) < 80, 0.5 * guide + 0.1, guide)
    other[:, 60:100, 20:60] = textured_cube(SIDE, seed=3)[:3, 60:100, 20:60]
    found = find_change(view_of(lr, other, SCALE))
    assert len(found.exposures) == 1 and found.changed[17:23, 7:13].all() and found.share < 0.08


def test_bright_ground_does_not_count_as_changed_in_place_of_what_has():
    cube = 0.05 * (textured_cube(SIDE) + textured_cube(SIDE, seed=1))
    cube[:, :110, 50:140] *= np.array([12, 6.4, 7.2, 8.8], np.float32)[:, None, None]
    lr = degrade.degrade(cube, "wald", SCALE, noise=0)
    truth = np.zeros((SIDE, SIDE), bool)
    truth[12:98, 84:170] = True
    dark = 0.05 * textured_cube(SIDE, seed=3)[:3]
    found = find_change(view_of(lr, np.where(truth, dark, cube[:3]), SCALE)).degree >= 0.5
    assert found[truth].mean() > 0.95 and found[~truth].mean() < 0.01


def test_the_guide_at_cells_is_what_the_usual_footprint_sees_to_the_border(pair):
    lr, guide = pair
    view = view_of(lr, guide, SCALE, fine=True)
    sampler = degrade.gaussian_footprint(SCALE).sampler(SCALE, guide.shape[1:])
    np.testing.assert_allclose(view.at_cells(view.sharp), sampler(guide), atol=1e-4)


def test_the_response_of_what_did_not_change_makes_the_guide(pair):
    lr, guide = pair
    other = guide.copy()
    other[:, :60, :60] = 1 - other[:, :60, :60]
    found = find_change(view_of(lr, other, SCALE))
    low = degrade.degrade(guide, "wald", SCALE, noise=0)
    made = np.tensordot(found.response, lr, axes=1) + found.offset[:, None, None]
    np.testing.assert_allclose(made, low, atol=0.01)


def test_interpolated_values_are_those_of_a_smooth_image_and_valid_where_their_neighbours_are():
    rows, columns = np.mgrid[:40, :50].astype(float)
    image = np.stack([np.sin(rows / 5) * np.cos(columns / 6)])
    valid = np.ones((40, 50), bool)
    valid[30:, :] = False
    places = np.stack(np.mgrid[5:35, 5:45]) + 0.37
    values, seen = interpolate_at(image, valid, places)
    truth = np.sin(places[0] / 5) * np.cos(places[1] / 6)
    np.testing.assert_allclose(values[0][seen][:600], truth[seen][:600], atol=2e-3)
    assert seen[:24].all() and not seen[24:].any()


def test_a_spline_grid_adds_up():
    grid = SplineGrid(20, 14, (3, 2))
    rng = np.random.default_rng(0)
    weight, image = rng.random((20, 14)), rng.random((20, 14))
    down, across = grid.weights(np.arange(20), np.arange(14))
    design = (down[:, None, :, None] * across[None, :, None, :]).reshape(280, -1)
    np.testing.assert_allclose(design.sum(axis=1), 1)
    np.testing.assert_allclose(grid.gram(weight), design.T @ (weight.ravel()[:, None] * design), atol=1e-12)
    np.testing.assert_allclose(grid.gathered(image), design.T @ image.ravel(), atol=1e-12)
    controls = rng.random(grid.count)
    np.testing.assert_allclose(grid.surface(controls).ravel(), design @ controls)


def test_bending_costs_what_its_second_derivatives_are():
    grid = SplineGrid(20, 14, (3, 2))
    rows, columns = np.mgrid[:20, :14] + 0.5
    down, across = grid.weights(np.arange(20), np.arange(14))
    design = (down[:, None, :, None] * across[None, :, None, :]).reshape(280, -1)
    for surface, energy in ((3 + 2 * rows - columns, 0.0), (rows**2, 4.0 * 280), (rows * columns, 2.0 * 280)):
        controls = np.linalg.lstsq(design, surface.ravel(), rcond=None)[0]
        assert controls @ grid.bending @ controls == pytest.approx(energy, abs=1e-6 * 280)
