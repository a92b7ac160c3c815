"""Blind estimation: footprints, responses, noise and subspaces that are known are found again."""

import warnings

import numpy as np
import pytest

from hsisr import degrade
from hsisr.degrade import (
    PROTOCOLS,
    Footprint,
    Sensor,
    estimate_sensor,
    free_form,
    gaussian_footprint,
    noise_level,
    sensor_of,
)
from hsisr.degrade.estimation import fit_positive_response, fit_response, spectral_subspace, valid_lr_pixels
from hsisr.degrade.registration import register
from hsisr.degrade.sensor import footprint_of
from hsisr.errors import HsisrError
from hsisr.scene import Scene


def scene(bands: int = 12, size: int = 256, rank: int = 4, seed: int = 0) -> np.ndarray:
    """A random image (bands, size, size) in [0.1, 0.9] of smooth spectra, with detail at all scales."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.standard_normal((rank, size, size)))
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    maps = np.fft.irfft2(spectrum / (0.02 + np.hypot(rows, columns)) ** 1.5, s=(size, size))
    centres = np.linspace(0, bands, rank)
    spectra = np.exp(-0.5 * ((np.arange(bands)[:, None] - centres) / 3) ** 2)
    cube = np.tensordot(spectra, maps, 1)
    cube -= cube.min()
    return (0.1 + 0.8 * cube / cube.max()).astype(np.float32)


@pytest.mark.parametrize("protocol", ["mulsr", "mulsr-aligned", "wald"])
@pytest.mark.parametrize("scale", [4, 8])
def test_footprint_of_a_protocol_is_found_blind(protocol, scale):
    pair = degrade.pair(Scene(scene(31), "s", wavelengths_nm=np.linspace(400, 700, 31)), protocol, scale)
    true = sensor_of(pair.metadata).footprint
    found = estimate_sensor(pair.lr, pair.guide, scale).footprint
    np.testing.assert_allclose(true.shift_px(scale), degrade.shift_of(protocol, scale), atol=1e-9)
    np.testing.assert_allclose(found.shift_px(scale), true.shift_px(scale), atol=0.3)
    np.testing.assert_allclose(found.sigma_px(), true.sigma_px(), rtol=0.2)


def test_estimations_take_images_of_finite_floats_that_fit():
    """A NaN in the guide had made a response of 0; a mask of another grid, integers and lists ended in tracebacks."""
    pair = degrade.pair(Scene(scene(6, 64), "s", wavelengths_nm=np.linspace(450, 650, 6)), "wald", 4)
    nan = pair.guide.copy()
    nan[0, 3, 3] = np.nan
    masked = np.ma.masked_greater(pair.lr, 0.5)
    for measure in (estimate_sensor, degrade.estimate_footprint, degrade.measure_displacement, degrade.measure_shift):
        for lr, guide, message in (
            (pair.lr, nan, "holds 1 NaN"),
            (masked, pair.guide, "may be no masked array"),
            (pair.lr, pair.guide[:, :60], "do not differ by scale 4"),
            (pair.lr[0], pair.guide, "must be .bands, rows, columns."),
        ):
            with pytest.raises(HsisrError, match=message):
                measure(lr, guide, 4)
    for mask in (np.ones((16, 16), bool), np.ones((64, 64))):
        with pytest.raises(HsisrError, match=r"the mask is .* expected \(64, 64\) of bool"):
            degrade.estimate_footprint(pair.lr, pair.guide, 4, mask)
        with pytest.raises(HsisrError, match=r"the mask is .* expected \(64, 64\) of bool"):
            degrade.measure_displacement(pair.lr, pair.guide, 4, mask)
    for measure in (noise_level, spectral_subspace):
        for bands, message in ((pair.lr, "expected bands"), (nan.reshape(3, -1), "NaN"), (masked[:, 0], "no masked")):
            with pytest.raises(HsisrError, match=message):
                measure(bands)
    lists = estimate_sensor(pair.lr.tolist(), pair.guide.tolist(), 4)
    np.testing.assert_allclose(lists.footprint.rows, estimate_sensor(pair.lr, pair.guide, 4).footprint.rows, atol=1e-5)


@pytest.mark.parametrize("size", [6, 8, 12, 16])
@pytest.mark.parametrize("seed", range(3))
def test_few_noisy_pixels_tell_a_footprint_that_is_not_far_off(size, seed):
    """Where they say little, the footprint stays near a usual one; chance had moved it by LR pixels."""
    psf = {"kind": "gaussian", "sigma_lr": 0.28}
    protocol = degrade.CustomProtocol("sharp", {"psf": psf, "noise": {"snr_db": 30.0}})
    cube = scene(31, 6 * size, seed=seed)
    pair = degrade.pair(Scene(cube, "s", wavelengths_nm=np.linspace(400, 700, 31)), protocol, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that it cannot be measured
        found = degrade.estimate_footprint(pair.lr, pair.guide, 6)
        masked = degrade.estimate_footprint(pair.lr, pair.guide, 6, np.ones(pair.guide.shape[1:], bool))
    assert masked.shift_px(6) == found.shift_px(6)
    np.testing.assert_allclose(found.shift_px(6), 0, atol=6 * 0.15)
    np.testing.assert_allclose(found.sigma_px(), 6 * 0.28, rtol=0.5)


@pytest.mark.parametrize("size", [8, 16, 40])
def test_the_mean_of_the_block_is_found_exactly(size):
    protocol = degrade.CustomProtocol("block", {"psf": {"kind": "mean"}, "noise": {"snr_db": 40.0}})
    pair = degrade.pair(Scene(scene(31, 4 * size), "s", wavelengths_nm=np.linspace(400, 700, 31)), protocol, 4)
    found = degrade.estimate_footprint(pair.lr, pair.guide, 4)
    assert found.start == (0, 0)
    for taps in (found.rows, found.columns):
        np.testing.assert_allclose(taps, np.full(4, 1 / 4))


@pytest.mark.parametrize("name", ["jelly_beans", "oil_painting", "thread_spools", "watercolors"])
def test_shift_of_real_scenes(extra_data, tmp_path, name):
    from hsisr import datasets

    folder = extra_data / "data/cave"
    datasets.fetch("cave", tmp_path / "raw", source=str(folder), progress=False)
    real = datasets.convert("cave", name, tmp_path / "raw", tmp_path / "scene.h5")
    for protocol, shift in (("mulsr", (3.44, 2.54)), ("mulsr-aligned", (0, 0))):
        pair = degrade.pair(real, protocol, 8)
        found = degrade.estimate_footprint(pair.lr, pair.guide, 8)
        np.testing.assert_allclose(found.shift_px(8), shift, atol=0.3)


@pytest.mark.parametrize(("protocol", "scale"), [(p, s) for p in PROTOCOLS if p != "full" for s in (3, 4)])
def test_a_known_footprint_is_the_degradation_away_from_borders(protocol, scale):
    cube = scene(2, 24 * scale)
    lr = degrade.degrade(cube.astype(float), protocol, scale, noise=0)
    footprint = footprint_of(PROTOCOLS[protocol].degradation(scale), scale)
    seen = footprint.sampler(scale, cube.shape[1:])(cube)
    np.testing.assert_allclose(seen[:, 6:-6, 6:-6], lr[:, 6:-6, 6:-6], atol=1e-6)


def test_gaussian_footprint_has_the_moments_asked_for():
    footprint = gaussian_footprint(5, shift_px=(1.2, -0.4), sigma_px=(2.5, 3.0), skew=(0.3, 0.0))
    np.testing.assert_allclose(footprint.shift_px(5), (1.2, -0.4), atol=1e-2)
    np.testing.assert_allclose(footprint.sigma_px(), (2.5, 3.0), rtol=1e-2)


def test_what_is_known_is_kept():
    lr, guide = np.random.default_rng(0).random((3, 18, 18)), np.random.default_rng(1).random((2, 36, 36))
    known = Sensor(gaussian_footprint(2), np.full((2, 3), 1 / 3), noise_sigma=0.25)
    found = estimate_sensor(lr, guide, 2, known)
    assert found.footprint is known.footprint and found.response is known.response and found.noise_sigma == 0.25
    assert found.offset is None


@pytest.mark.parametrize("size", [4, 18])
def test_a_pair_that_cannot_tell_its_psf_says_so(size):
    """Too few pixels; or a guide that has nothing to do with the LR image."""
    lr, guide = (
        np.random.default_rng(0).random((3, size, size)),
        np.random.default_rng(1).random((1, 4 * size, 4 * size)),
    )
    with pytest.warns(UserWarning, match="the PSF cannot be measured .* a centred Gaussian"):
        found = estimate_sensor(lr, guide, 4).footprint
    np.testing.assert_allclose(found.shift_px(4), 0, atol=1e-9)


def test_masked_pixels_do_not_count():
    cube = scene(31)
    mask = np.ones(cube.shape[1:], bool)
    mask[:70, :90] = False
    spoilt = np.where(mask, cube, 0).astype(np.float32)
    pair = degrade.pair(Scene(spoilt, "s", wavelengths_nm=np.linspace(400, 700, 31), mask=mask), "mulsr", 4)
    found = estimate_sensor(pair.lr, pair.guide, 4, Sensor(mask=pair.mask)).footprint
    np.testing.assert_allclose(found.shift_px(4), degrade.shift_of("mulsr", 4), atol=0.3)
    assert not valid_lr_pixels(pair.lr, 4, mask)[:18, :22].any() and valid_lr_pixels(pair.lr, 4, mask)[18:].all()
    with pytest.raises(HsisrError, match="leaves no LR pixel whole"):
        valid_lr_pixels(pair.lr, 4, np.zeros_like(mask))


@pytest.mark.parametrize("sigma", [0.002, 0.02])
@pytest.mark.parametrize("clipped", [False, True])
def test_noise_level(sigma, clipped):
    bands = scene(31, 64).reshape(31, -1) * 1.2 - (0.15 if clipped else 0)
    bands = bands + sigma * np.random.default_rng(0).standard_normal(bands.shape)
    assert noise_level(np.clip(bands, 0, 1) if clipped else bands) == pytest.approx(sigma, rel=0.1)


def test_subspace_has_the_rank_of_the_signal_and_a_margin():
    bands = scene(31, 64, rank=4).reshape(31, -1).astype(float)
    noisy = bands + 0.001 * np.random.default_rng(0).standard_normal(bands.shape)
    subspace = spectral_subspace(noisy)
    assert subspace.basis.shape == (31, 6)
    np.testing.assert_allclose(subspace.basis.T @ subspace.basis, np.eye(6), atol=1e-12)
    back = subspace.spectra(subspace.coefficients(bands))
    assert np.abs(back - bands).max() < 0.002
    assert spectral_subspace(noisy, most=3).basis.shape == (31, 3)


def test_response_is_found_where_spectra_span_all_bands():
    rng = np.random.default_rng(0)
    bands, response, offset = rng.random((6, 400)), rng.random((3, 6)), np.array([0.1, 0.0, -0.2])
    found, found_offset = fit_response(bands, response @ bands + offset[:, None])
    np.testing.assert_allclose(found, response, atol=1e-6)
    np.testing.assert_allclose(found_offset, offset, atol=1e-6)


def test_response_of_smooth_spectra_in_single_precision():
    """Their small eigenvalues are far below the rounding of float32, which `validate` gives."""
    rng = np.random.default_rng(0)
    shapes = np.exp(-(((np.linspace(0, 1, 20)[:, None] - [0.2, 0.4, 0.6, 0.8]) / 0.3) ** 2))
    bands = (np.rint(1e4 * shapes @ rng.random((4, 144))) / 1e4).astype(np.float32)
    wanted = 5000 * rng.random((2, 20)).astype(np.float32) @ bands
    response, offset = fit_response(bands, wanted)
    left = response @ bands + offset[:, None] - wanted
    assert np.sqrt((left**2).mean()) < 1e-3 * wanted.std(axis=1).min()


def test_positive_response_is_found_and_never_negative():
    rng = np.random.default_rng(0)
    bands, response = rng.random((6, 400)), np.array([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0.2, 0.3, 0.5, 0]])
    np.testing.assert_allclose(fit_positive_response(bands, response @ bands), response, atol=1e-9)
    assert (fit_positive_response(bands, rng.random((2, 400))) >= 0).all()


def test_footprint_of_a_phase_is_that_of_its_pair():
    protocol = degrade.CustomProtocol("strided", {"psf": {"kind": "mean"}, "sampling": "strided", "phase": 1})
    pair = degrade.pair(Scene(scene(4, 64), "s"), protocol, 4, response=np.full((1, 4), 0.25))
    footprint = sensor_of(pair.metadata).footprint
    assert isinstance(footprint, Footprint)
    seen = footprint.sampler(4, (64, 64))(pair.hr)
    np.testing.assert_allclose(seen[:, 2:-2, 2:-2], pair.lr[:, 2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize("family", ["sinc", "airy", "lorentzian", "delta"])
@pytest.mark.parametrize("snr_db", [None, 40])
def test_footprint_without_a_gaussian_form_is_found_blind(family, snr_db):
    settings = {"psf": {"kind": "family", "family": family, "shift_px": [0.3, -0.6]}}
    protocol = degrade.CustomProtocol("mine", settings if snr_db is None else {**settings, "noise": {"snr_db": snr_db}})
    pair = degrade.pair(Scene(scene(31), "s", wavelengths_nm=np.linspace(400, 700, 31)), protocol, 4)
    true = degrade.degrade(pair.guide.astype(float), protocol, 4, noise=0)[:, 5:-5, 5:-5]
    found = degrade.estimate_footprint(pair.lr, pair.guide, 4)
    related = register(pair.lr, pair.guide, 4)
    gaussian = gaussian_footprint(4, related.shift_px, related.sigma_px, related.skew)
    errors = [
        np.sqrt(((footprint.sampler(4, pair.guide.shape[1:])(pair.guide)[:, 5:-5, 5:-5] - true) ** 2).mean())
        for footprint in (found, gaussian)
    ]
    assert errors[0] < 0.05 * true.std()
    assert errors[0] <= errors[1] * (1 if family == "delta" else 0.7)


def test_a_masked_half_leaves_the_gaussian():
    protocol = degrade.CustomProtocol("mine", {"psf": {"kind": "family", "family": "sinc"}})
    pair = degrade.pair(Scene(scene(31, 128), "s", wavelengths_nm=np.linspace(400, 700, 31)), protocol, 4)
    start, inside = gaussian_footprint(4), np.zeros((32, 32), bool)
    inside[8:12, 8:12] = inside[8:12, 16:20] = inside[16:20, 8:12] = True  # squares of one colour
    assert free_form.improved(start, pair.lr, pair.guide, 4, inside, 0.04) is start
    inside[4:-4, 4:-4] = True
    assert free_form.improved(start, pair.lr, pair.guide, 4, inside, 0.04) is not start


@pytest.mark.parametrize("noise", [{"sigma": 0}, {"snr_db": 30}, {"snr_db": 20}])
@pytest.mark.parametrize("sigma_px", [0.5, 1.7, 3.0])
def test_a_gaussian_footprint_stays_the_gaussian(noise, sigma_px):
    protocol = degrade.CustomProtocol("mine", {"psf": {"kind": "gaussian", "sigma_px": sigma_px}, "noise": noise})
    pair = degrade.pair(Scene(scene(31), "s", wavelengths_nm=np.linspace(400, 700, 31)), protocol, 4)
    found = degrade.estimate_footprint(pair.lr, pair.guide, 4)
    related = register(pair.lr, pair.guide, 4)
    expected = gaussian_footprint(4, related.shift_px, related.sigma_px, related.skew)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.columns, expected.columns)


def _few_waves(side: int) -> np.ndarray:
    """A scene (20, side, side) of four materials, each a wave of one frequency: weights can make up for a PSF."""
    rows, columns = np.mgrid[:side, :side]
    waves = [np.sin(2 * np.pi * (columns * np.cos(k) + rows * np.sin(k)) / (9 + 6 * k) + k) for k in range(4)]
    blocks = [(columns // (5 + 3 * k) + rows // (7 + 2 * k)) % 2 for k in range(4)]
    spectra = np.exp(-(((np.arange(20)[:, None] - [2, 5, 12, 17]) / [3, 5, 5, 4]) ** 2))
    return 0.05 + 0.1 * np.tensordot(spectra, np.array(waves) + 1 + np.array(blocks), 1)


@pytest.mark.parametrize("side_lr", [16, 20, 48])
def test_a_free_form_does_no_harm_where_weights_can_make_up_for_it(side_lr, monkeypatch):
    """Seen wrong: of 48 x 48 LR pixels with little noise, taps by which the guide came out three times as wrong."""
    hr = _few_waves(4 * side_lr)
    guide = hr[[1, 3, 6]]
    mean = hr.reshape(20, side_lr, 4, side_lr, 4).mean((2, 4))
    lr = mean + np.random.default_rng(0).normal(0, 0.003, mean.shape)

    def error(footprint):
        return np.sqrt(np.mean((footprint.sampler(4, guide.shape[1:])(guide) - mean[[1, 3, 6]]) ** 2))

    found = error(degrade.estimate_footprint(lr, guide, 4))
    monkeypatch.setattr(free_form, "improved", lambda start, *pair: start)
    assert found <= 1.05 * error(degrade.estimate_footprint(lr, guide, 4))
