"""Responses against the published matrices and against their definitions."""

import numpy as np
import pytest
from scipy.io import loadmat

from hsisr.degrade import (
    RESPONSES,
    RGB_TO_EIGHT,
    CustomProtocol,
    apply_response,
    pair,
    response,
    spectral_mixup_matrix,
)
from hsisr.degrade.response import load_response
from hsisr.errors import HsisrError
from hsisr.scene import Scene

VISIBLE_NM = np.arange(400, 701, 10.0)
WIDE_NM = np.arange(365, 1050, 5.0)


def test_nikon_d700_is_the_published_matrix(extra_data):
    published = loadmat(extra_data / "data" / "srf" / "mulsr_P_N_V2.mat")["P"]
    np.testing.assert_allclose(response("nikon_d700", VISIBLE_NM), published, atol=1e-12)
    np.testing.assert_allclose(response("nikon_d700", VISIBLE_NM, np.full(31, 10.0)), published, atol=1e-12)


def test_spectral_mixup_matrix_is_the_published_one(extra_data):
    published = loadmat(extra_data / "data" / "srf" / "hifb_HSISR_conversion_8channels.mat")["conversion_matrx"]
    assert np.abs(spectral_mixup_matrix(VISIBLE_NM) - published).max() <= 1e-6 * published.max()


def test_cameras_are_the_published_database(extra_data):
    lines = (extra_data / "data" / "srf" / "camspec_database_28cameras.txt").read_text().splitlines()
    start = lines.index("Canon 60D") + 1
    published = np.array([line.split() for line in lines[start : start + 3]], dtype=float)
    np.testing.assert_allclose(load_response("camera_canon_60d").values.T, published)
    assert sum(name.startswith("camera_") for name in RESPONSES) == 28


def test_ikonos_is_the_published_table(extra_data):
    published = loadmat(extra_data / "data" / "srf" / "HySure_ikonos_spec_resp.mat")["ikonos_sp"]
    table = load_response("ikonos")
    np.testing.assert_allclose(table.wavelengths_nm, published[:, 0])
    np.testing.assert_allclose(table.values, published[:, 2:6], atol=1e-9)


@pytest.mark.parametrize("name", RESPONSES)
def test_every_table_is_whole(name):
    table = load_response(name)
    assert table.kind in ("measured", "boxcar")
    assert table.source
    assert (np.diff(table.wavelengths_nm) > 0).all()
    assert table.values.shape == (len(table.wavelengths_nm), len(table.channels))
    assert (table.values >= 0).all()
    for fwhm in (None, np.full(len(WIDE_NM), 6.0)):
        matrix = response(name, WIDE_NM, fwhm)
        assert matrix.shape == (len(table.channels), len(WIDE_NM))
        assert (matrix >= 0).all()
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_boxcars_are_flat_between_their_edges():
    matrix = response("worldview2", WIDE_NM)
    inside = (WIDE_NM >= 510) & (WIDE_NM <= 580)
    np.testing.assert_allclose(matrix[2], inside / inside.sum())
    assert load_response("color_infrared").channels == ("nir", "red", "green")
    nir, red, green = response("color_infrared", WIDE_NM)
    for row, low, high in ((nir, 760, 900), (red, 630, 690), (green, 520, 600)):
        np.testing.assert_array_equal(row > 0, (low <= WIDE_NM) & (high >= WIDE_NM))


def test_without_widths_the_table_is_interpolated_linearly():
    table = load_response("nikon_d700")
    centres = np.array([433.0, 555.5, 640.0, 712.0])
    expected = np.array([np.interp(centres, table.wavelengths_nm, curve, right=0) for curve in table.values.T])
    np.testing.assert_allclose(response("nikon_d700", centres), expected / expected.sum(axis=1, keepdims=True))


def test_widths_average_the_table_over_each_band():
    centres, fwhm = np.array([450.0, 546.0, 655.0]), np.array([8.0, 30.0, 60.0])
    table = load_response("cie1964")
    fine = np.arange(200, 1000, 0.01)
    expected = np.empty((3, 3))
    for band, (centre, width) in enumerate(zip(centres, fwhm, strict=True)):
        gaussian = np.exp(-4 * np.log(2) * ((fine - centre) / width) ** 2)
        curves = [np.interp(fine, table.wavelengths_nm, curve, left=0, right=0) for curve in table.values.T]
        expected[:, band] = curves @ (gaussian / gaussian.sum())
    found = response("cie1964", centres, fwhm)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), rtol=0.01, atol=1e-4)


def test_order_of_bands_does_not_matter():
    shuffled = np.random.default_rng(0).permutation(len(WIDE_NM))
    np.testing.assert_allclose(response("ikonos", WIDE_NM[shuffled]), response("ikonos", WIDE_NM)[:, shuffled])
    np.testing.assert_allclose(spectral_mixup_matrix(WIDE_NM[shuffled]), spectral_mixup_matrix(WIDE_NM)[shuffled])


def test_guide_stays_in_range_and_keeps_type():
    cube = np.random.default_rng(0).random((31, 70, 9), dtype=np.float32)
    matrix = response("nikon_d700", VISIBLE_NM)
    guide = apply_response(matrix, cube)
    assert guide.dtype == np.float32
    assert guide.min() >= 0
    assert guide.max() <= 1
    np.testing.assert_allclose(guide, np.einsum("gb,bhw->ghw", matrix, cube), rtol=1e-6)


@pytest.mark.parametrize("cube", [np.ones((2, 3, 3), np.uint8), np.ones((3, 3, 3)), np.ones((2, 3))])
def test_response_takes_floats_that_fit(cube):
    """Integers would lose the guide's fractions."""
    with pytest.raises(HsisrError, match=r"response: expected a matrix \(G, B\) and a cube of floats \(B, H, W\), got"):
        apply_response(np.full((1, 2), 0.5), cube)


def test_mixup_matrix_follows_the_band_spacing():
    coarse, fine = spectral_mixup_matrix(np.arange(400, 701, 10.0)), spectral_mixup_matrix(np.arange(400, 701, 5.0))
    np.testing.assert_allclose(fine[::2], coarse / 2, rtol=1e-12)
    assert RGB_TO_EIGHT.shape == (3, 8)
    np.testing.assert_allclose(RGB_TO_EIGHT.sum(axis=0), [1, 1, 1.1, 1, 1, 1, 1, 1])


def test_no_overlap_is_an_error_that_names_the_channels():
    with pytest.raises(HsisrError, match=r"nikon_d700: red, green, blue \(table 400-700 nm\).*900-1700 nm"):
        response("nikon_d700", np.arange(900, 1701, 10.0))
    with pytest.raises(HsisrError, match="worldview2: red_edge, nir1, nir2"):
        response("worldview2", VISIBLE_NM)
    with pytest.raises(HsisrError, match="visible"):
        spectral_mixup_matrix(np.arange(900, 1701, 10.0))


def test_unknown_response_names_the_known():
    with pytest.raises(HsisrError, match=r"nikon_d70'.*choose one of.*worldview2"):
        response("nikon_d70", VISIBLE_NM)


@pytest.mark.parametrize("wavelengths", [[], [[500.0]], [np.nan], [-500.0]])
def test_impossible_wavelengths_are_refused(wavelengths):
    with pytest.raises(HsisrError, match="wavelengths_nm"):
        response("pan", wavelengths)


def test_widths_must_match_the_bands():
    with pytest.raises(HsisrError, match="fwhm_nm: expected 31"):
        response("pan", VISIBLE_NM + 1, [10.0])


def test_response_by_index_is_the_table_whatever_the_wavelengths():
    published = response("nikon_d700", np.linspace(400, 700, 31))
    harvard = np.linspace(420, 720, 31)
    np.testing.assert_allclose(response("nikon_d700@index", harvard), published, rtol=1e-14)
    moved = np.abs(response("nikon_d700", harvard) - published).sum(axis=1) / 2
    assert (moved > 0.15).all() and (moved < 0.25).all()
    with pytest.raises(HsisrError, match="response nikon_d700@index: its table is for 31 bands .* scene has 30"):
        response("nikon_d700@index", harvard[:30])


def test_scene_without_wavelengths_takes_a_response_by_index():
    cube = np.random.default_rng(0).random((31, 16, 16)).astype(np.float32)
    made = pair(Scene(cube, "unknown"), "wald", 4, response="nikon_d700@index")
    assert made.guide.shape == (3, 16, 16) and made.metadata["response"] == "nikon_d700@index"
    own = CustomProtocol("own", {"psf": {"kind": "mean"}, "response": "nikon_d700@index"})
    np.testing.assert_array_equal(pair(Scene(cube, "unknown"), own, 4).guide, made.guide)
