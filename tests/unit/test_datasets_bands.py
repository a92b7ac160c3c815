"""Bands: choose, drop, average, resample; noted in the scene."""

import numpy as np
import pytest

from hsisr.datasets import bands
from hsisr.errors import HsisrError
from hsisr.scene import Scene

CENTRES = np.array([400.0, 410.0, 425.0, 430.0, 450.0, 500.0])


def scene(values=None, **facts) -> Scene:
    stored = np.random.default_rng(0).integers(0, 1000, (6, 4, 5)) if values is None else values
    facts = {"wavelengths_nm": CENTRES, "scale": 0.001, **facts}
    return Scene(stored, "s", **facts)


def linear(slope: float, offset: float) -> Scene:
    """A scene whose spectra are straight lines."""
    return scene((slope * CENTRES + offset)[:, None, None] * np.ones((1, 3, 3)), scale=1.0)


def test_choose():
    picked = bands.choose(scene(), [5, 0])
    assert np.array_equal(picked.stored, scene().stored[[5, 0]])
    assert picked.wavelengths_nm.tolist() == [500, 400]
    assert picked.provenance["bands"] == [{"choose": [5, 0]}]


@pytest.mark.parametrize("indices", [[6], [-1], []])
def test_choose_what_does_not_exist(indices):
    with pytest.raises(HsisrError, match="do not exist; it has 0 to 5"):
        bands.choose(scene(), indices)


def test_drop_bad():
    dropped = bands.drop_bad(scene(bad_bands=np.array([0, 1, 0, 0, 1, 0], bool)))
    assert dropped.wavelengths_nm.tolist() == [400, 425, 430, 500]
    assert dropped.bad_bands is None
    assert dropped.provenance["bands"] == [{"drop": [1, 4]}]
    assert bands.drop_bad(scene()).shape == (6, 4, 5)
    with pytest.raises(HsisrError, match="all 6 bands are bad"):
        bands.drop_bad(scene(bad_bands=np.ones(6, bool)))


@pytest.mark.parametrize(("count", "groups"), [(1, 6), (2, 3), (4, 1), (6, 1)])
def test_average_is_the_mean_of_groups(count, groups):
    averaged = bands.average(scene(), count)
    cube = scene().cube[: groups * count].reshape(groups, count, 4, 5)
    np.testing.assert_allclose(averaged.cube, cube.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(averaged.wavelengths_nm, CENTRES[: groups * count].reshape(groups, count).mean(axis=1))


def test_average_needs_good_bands_and_a_fitting_count():
    with pytest.raises(HsisrError, match="1 bands are bad; drop them"):
        bands.average(scene(bad_bands=np.eye(6, dtype=bool)[0]), 2)
    for count in (0, 7):
        with pytest.raises(HsisrError, match=f"cannot average {count} of its 6 bands"):
            bands.average(scene(), count)


def test_resampling_to_the_same_centres_without_width_changes_nothing():
    np.testing.assert_allclose(bands.resample(scene(), CENTRES, 0.0).cube, scene().cube, rtol=1e-6)


@pytest.mark.parametrize("fwhm", [0.0, 3.0, 15.0, None])
def test_straight_spectra_stay_straight(fwhm):
    targets = np.array([420.0, 440.0, 460.0, 480.0])
    resampled = bands.resample(linear(0.01, -3), targets, fwhm)
    np.testing.assert_allclose(resampled.cube[:, 1, 1], 0.01 * targets - 3, rtol=1e-6)


@pytest.mark.parametrize("fwhm", [-5.0, np.nan, [5.0], [5.0, 5.0, 5.0]])
def test_widths_that_are_none_are_refused(fwhm):
    """Widths below 0 had counted as 0."""
    with pytest.raises(HsisrError, match="the new widths must be one number, or one for each band, none below 0"):
        bands.resample(linear(0.01, -3), [420.0, 440.0], fwhm)


def test_resampling_is_the_mean_of_the_interpolated_spectrum():
    spectrum = np.array([1.0, 5.0, 2.0, 8.0, 3.0, 7.0])
    resampled = bands.resample(
        scene(spectrum[:, None, None] * np.ones((1, 2, 2)), scale=1.0), [430.0, 445.0], [40.0, 7.0]
    )
    for value, centre, width in zip(resampled.cube[:, 0, 0], (430, 445), (40, 7), strict=True):
        fine = np.linspace(centre - width / 2, centre + width / 2, 200_001)
        assert value == pytest.approx(np.interp(fine, CENTRES, spectrum).mean(), rel=1e-5)


def test_resampling_leaves_bad_bands_out_and_sorts():
    shuffled = scene(bad_bands=np.array([0, 0, 1, 0, 0, 0], bool)).bands([3, 0, 5, 1, 2, 4])
    good = scene().bands([0, 1, 3, 4, 5])
    np.testing.assert_allclose(bands.resample(shuffled, [415.0], 12.0).cube, bands.resample(good, [415.0], 12.0).cube)


def test_resampling_outside_the_range():
    assert bands.resample(scene(), [396.0, 404.0]).shape[0] == 2  # within half of the width of 8
    with pytest.raises(HsisrError, match="390 nm lies outside its 400 to 500 nm"):
        bands.resample(scene(), [390.0, 398.0])
    with pytest.raises(HsisrError, match="wavelengths are not known"):
        bands.resample(scene(wavelengths_nm=None), [400.0])
    with pytest.raises(HsisrError, match="must be a list of numbers"):
        bands.resample(scene(), [np.nan])


def test_pixels_without_data_leave_the_mask():
    stored = np.random.default_rng(0).integers(1, 1000, (6, 4, 5))
    stored[1, 2, 3] = 0
    stored[5, 0, 0] = 0
    averaged = bands.average(scene(stored, nodata=0.0), 2)
    assert np.argwhere(~averaged.mask).tolist() == [[0, 0], [2, 3]]
    resampled = bands.resample(scene(stored, nodata=0.0), [402.0], 2.0)  # the last band takes no part
    assert np.argwhere(~resampled.mask).tolist() == [[2, 3]]


def test_samson_to_cave(extra_data):
    from hsisr.datasets import entry, read_scene

    samson = read_scene(extra_data / "data/samson/samson_1.mat", wavelengths_nm=np.linspace(401, 889, 156))
    resampled = bands.resample(samson, entry("cave").wavelengths_nm)
    assert resampled.shape == (31, 95, 95)
    centre = samson.cube[samson.nearest_band(550)]
    assert np.corrcoef(resampled.cube[15].ravel(), centre.ravel())[0, 1] > 0.999


def test_steps_and_what_they_note(tmp_path):
    steps = [{"drop": "bad"}, {"choose": [0, 1, 2, 3, 4]}, {"resample": {"first": 400, "last": 450, "count": 3}}]
    result = bands.apply(scene(bad_bands=np.eye(6, dtype=bool)[1]), steps)
    assert result.wavelengths_nm.tolist() == [400, 425, 450]
    result.save(tmp_path / "s.h5")
    noted = Scene.open(tmp_path / "s.h5").provenance["bands"]
    assert noted[:2] == [{"drop": [1]}, {"choose": [0, 1, 2, 3, 4]}]
    assert noted[2]["resample"]["fwhm_nm"] == [25, 25, 25]


@pytest.mark.parametrize("step", [{"drop": "worst"}, {"sort": 1}, {"choose": [0], "average": 2}, {}])
def test_unknown_steps(step):
    with pytest.raises(HsisrError, match="expected one of choose"):
        bands.apply(scene(), [step])
    with pytest.raises(HsisrError, match="first, last and count"):
        bands.apply(scene(), [{"resample": {"first": 400}}])
