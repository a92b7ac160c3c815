"""Protocols against the published vectors and against their definitions, step by step."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from hsisr import metrics
from hsisr.degrade import PROTOCOLS, CustomProtocol, Noise, anisotropic_gaussian, degrade, imresize
from hsisr.degrade.protocols import CONVENTIONS
from hsisr.degrade.psf import FWHM_PER_SIGMA
from hsisr.errors import HsisrError

CUBE = np.random.default_rng(0).random((3, 48, 64))


def at_centres(cube: np.ndarray, scale: int, weight, reach: float) -> np.ndarray:
    """Literal sum over the pixels within `reach` rows and columns of each LR pixel's centre; borders mirrored."""
    height, width = (size // scale for size in cube.shape[1:])
    cube = cube[:, : height * scale, : width * scale]
    pad = int(np.ceil(reach)) + scale
    padded = np.pad(cube, ((0, 0), (pad, pad), (pad, pad)), mode="symmetric")
    low = np.zeros((len(cube), height, width))
    for i in range(height):
        for j in range(width):
            cy, cx = i * scale + (scale - 1) / 2, j * scale + (scale - 1) / 2
            ys = np.arange(int(np.ceil(cy - reach)), int(np.floor(cy + reach)) + 1)
            xs = np.arange(int(np.ceil(cx - reach)), int(np.floor(cx + reach)) + 1)
            weights = weight(ys[:, None] - cy, xs[None, :] - cx)
            patch = padded[:, ys[0] + pad : ys[-1] + pad + 1, xs[0] + pad : xs[-1] + pad + 1]
            low[:, i, j] = (patch * weights).sum(axis=(1, 2)) / weights.sum()
    return low


@pytest.mark.parametrize("scale", [4, 8, 16])
def test_mulsr_is_the_published_program(extra_data, scale):
    vectors = np.load(extra_data / "reference" / "mulsr_degradation.npz")
    expected = vectors[f"lr_x{scale}"]
    found = degrade(vectors["hr"], "mulsr", scale, noise=0)
    assert np.abs(found - expected).max() <= 1e-9 * expected.max()


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_mulsr_is_correlation_then_torch_bicubic(scale):
    kernel = anisotropic_gaussian(13, scale, 2.0, 10.0, np.pi / 2)
    rows, columns = (size // scale * scale for size in CUBE.shape[1:])
    blurred = np.stack([ndimage.correlate(band[:rows, :columns], kernel, mode="reflect") for band in CUBE])
    low = torch.nn.functional.interpolate(torch.from_numpy(blurred)[None], scale_factor=1 / scale, mode="bicubic")
    np.testing.assert_allclose(degrade(CUBE, "mulsr", scale, noise=0), low[0].clip(0, 1).numpy(), rtol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 8])
def test_aligned_samples_the_same_gaussian_at_centres(scale):
    reach = 6.5 if scale % 2 == 0 else 6.0
    expected = at_centres(CUBE, scale, lambda dy, dx: np.exp(-0.5 * (dy**2 / 2 + dx**2 / 10)), reach)
    np.testing.assert_allclose(degrade(CUBE, "mulsr-aligned", scale, noise=0), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_wald_samples_a_gaussian_at_centres(scale):
    sigma = scale / FWHM_PER_SIGMA
    offsets = np.arange(0.5 if scale % 2 == 0 else 0.0, 99)
    reach = offsets[offsets > 4 * sigma][0]
    expected = at_centres(CUBE, scale, lambda dy, dx: np.exp(-0.5 * (dy**2 + dx**2) / sigma**2), reach)
    np.testing.assert_allclose(degrade(CUBE, "wald", scale), expected, rtol=1e-12)


def test_mixup_is_imresize():
    np.testing.assert_allclose(degrade(CUBE, "mixup", 4), imresize(CUBE, 0.25), atol=1e-14)


def test_sizes_are_cropped_at_the_bottom_and_right():
    for name in ("mulsr", "mulsr-aligned", "wald"):
        np.testing.assert_array_equal(degrade(CUBE, name, 5), degrade(CUBE[:, :45, :60], name, 5))


def test_mixup_rounds_sizes_up_as_matlab_does():
    cube = CUBE[:, :47, :61]
    lr = degrade(cube, "mixup", 5)
    assert lr.shape == (len(CUBE), 10, 13)
    np.testing.assert_allclose(lr, imresize(cube, 1 / 5), atol=1e-12)


def test_a_constant_stays_constant():
    flat = np.full((2, 40, 40), 0.3)
    for name in ("mulsr", "mulsr-aligned", "mixup", "wald"):
        np.testing.assert_allclose(degrade(flat, name, 4, noise=0), 0.3, rtol=1e-12)


def test_type_follows_the_input():
    double, single = degrade(CUBE, "mulsr", 4), degrade(CUBE.astype(np.float32), "mulsr", 4)
    assert double.dtype == np.float64
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-6)
    np.testing.assert_array_equal(degrade(CUBE.astype(">f8"), "mulsr", 4), double)  # as FITS stores them


def test_mulsr_noise_is_three_levels_of_255_and_clipped():
    middle = np.full((4, 256, 256), 0.5)
    assert np.std(degrade(middle, "mulsr", 4)) == pytest.approx(3 / 255, rel=0.03)
    black = degrade(np.zeros((1, 64, 64)), "mulsr", 4)
    assert black.min() == 0
    assert black.max() > 0


@pytest.mark.parametrize("name", ["mulsr", "mulsr-aligned"])
def test_training_draws_cover_the_published_ranges(name):
    rng = np.random.default_rng(0)
    draws = [PROTOCOLS[name].training(rng, 8) for _ in range(2000)]
    sizes = {max(draw.kernel.shape) for draw in draws if draw.sampling in ("bicubic", "bilinear")}
    assert sizes == {7, 9, 13, 15, 21}
    strided = "strided" if name == "mulsr" else "centre"
    share = {kind: np.mean([draw.sampling == kind for draw in draws]) for kind in ("bicubic", "bilinear", strided)}
    assert all(abs(value - 1 / 3) < 0.04 for value in share.values())
    assert all((draw.border == "nearest") == (draw.sampling == strided) for draw in draws)
    levels = np.array([draw.noise.sigma * 255 for draw in draws])
    assert np.mean(levels > 0) == pytest.approx(0.8, abs=0.03)
    assert {round(level) for level in levels} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", ["mulsr", "mulsr-aligned"])
def test_isotropic_half_is_centred_before_an_interpolating_sampler(name):
    rng = np.random.default_rng(1)
    kernels = [
        draw.kernel for draw in (PROTOCOLS[name].training(rng, 8) for _ in range(400)) if draw.sampling == "bicubic"
    ]
    symmetric = [np.allclose(kernel, kernel.T) and np.allclose(kernel, kernel[::-1]) for kernel in kernels]
    assert np.mean(symmetric) == pytest.approx(0.5, abs=0.12)


def gaussian_of(line: np.ndarray) -> tuple[float, float]:
    """Sigma and peak index of a sampled Gaussian, from its last three samples."""
    before, last = np.diff(np.log(line[-3:]))
    sigma = (before - last) ** -0.5
    return sigma, len(line) - 1.5 + sigma**2 * last


def test_isotropic_kernels_draw_sigma_and_are_centred_as_said():
    rng = np.random.default_rng(3)
    sigmas = []
    for draw in (PROTOCOLS["mulsr"].training(rng, 8) for _ in range(1500)):
        kernel, middle = draw.kernel, len(draw.kernel) // 2
        if kernel[0].min() < 1e-200 or not np.allclose(kernel, np.outer(kernel[0], kernel[0]) / kernel[0, 0], 1e-9):
            continue
        sigma, peak = gaussian_of(kernel[-1])
        assert peak == pytest.approx(middle + 3.5 if draw.sampling == "strided" else middle, abs=1e-5)
        sigmas.append(sigma)
    assert len(sigmas) > 600
    assert max(sigmas) == pytest.approx(8, abs=0.1)
    assert np.median(sigmas) == pytest.approx(4.1, abs=0.4)


def test_literal_isotropic_kernels_are_a_quarter_gaussian_and_all_else_is_mulsrs():
    isotropic, unclipped = 0, 0
    for seed in range(60):
        ours, literal = (
            PROTOCOLS[name].training(np.random.default_rng(seed), 8) for name in ("mulsr", "mulsr-literal")
        )
        assert (literal.sampling, literal.border, literal.noise) == (ours.sampling, ours.border, ours.noise)
        assert literal.clips == (literal.noise.sigma > 0) and ours.clips
        unclipped += not literal.clips
        if np.array_equal(literal.kernel, ours.kernel):
            continue
        isotropic += 1
        size = len(literal.kernel)
        assert literal.kernel[0, 0] == literal.kernel.max()
        width = -0.5 / np.log(literal.kernel[0, 1] / literal.kernel[0, 0]) if literal.kernel[0, 1] else 1e-3
        squares = np.arange(size)[:, None] ** 2 + np.arange(size) ** 2
        expected = np.exp(-0.5 * squares / width)
        np.testing.assert_allclose(literal.kernel, expected / expected.sum(), atol=1e-12)
    assert 20 < isotropic < 40 and 4 < unclipped < 24


def test_literal_training_leaves_values_beyond_one_only_without_noise():
    edge = np.zeros((1, 64, 64))
    edge[:, :, 33:] = 1.0
    beyond = 0
    for seed in range(80):
        draw = PROTOCOLS["mulsr-literal"].training(np.random.default_rng(seed), 4)
        lr = degrade(edge, "mulsr-literal", 4, seed=seed, training=True)
        if draw.noise.sigma > 0:
            assert lr.min() >= 0 and lr.max() <= 1
        beyond += bool(lr.min() < -1e-6 or lr.max() > 1 + 1e-6)
    assert beyond > 0


def test_literal_tests_are_mulsrs():
    np.testing.assert_array_equal(degrade(CUBE, "mulsr-literal", 4, seed=3), degrade(CUBE, "mulsr", 4, seed=3))


def test_aligned_training_never_shifts():
    rng = np.random.default_rng(2)
    for _ in range(60):
        draw = PROTOCOLS["mulsr-aligned"].training(rng, 4)
        weights = draw.sampler(4, (60, 60)).impulse_response(7, 7)
        rows, columns = np.indices(weights.shape) - (7 * 4 + 1.5)
        assert abs((weights * rows).sum()) < 1e-9
        assert abs((weights * columns).sum()) < 1e-9


def test_training_degradation_is_its_draw():
    cube = CUBE[:, :32, :32]
    for seed in range(12):
        draw = PROTOCOLS["mulsr"].training(np.random.default_rng(seed), 4)
        found = degrade(cube, "mulsr", 4, noise=0, seed=seed, training=True)
        half = len(draw.kernel) // 2
        if draw.sampling == "strided":
            padded = np.pad(cube, ((0, 0), (half, half), (half, half)), mode="edge")
            windows = np.lib.stride_tricks.sliding_window_view(padded, draw.kernel.shape, axis=(1, 2))[:, ::4, ::4]
            expected = (windows * draw.kernel).sum(axis=(-2, -1))
        else:
            blurred = np.stack([ndimage.correlate(band, draw.kernel, mode="reflect") for band in cube])
            expected = torch.nn.functional.interpolate(
                torch.from_numpy(blurred)[None], scale_factor=0.25, mode=draw.sampling
            )[0].numpy()
        np.testing.assert_allclose(found, expected.clip(0, 1), rtol=1e-10)


def test_training_is_decided_by_the_seed():
    one, same, other = (degrade(CUBE, "mulsr", 4, seed=seed, training=True) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_training_of_a_fixed_protocol_is_its_test():
    np.testing.assert_array_equal(degrade(CUBE, "wald", 4, training=True), degrade(CUBE, "wald", 4))


def test_registry_says_what_configuration_asks():
    leagues = ["uestc", "dhif", "mogdcn", "dian", "ual", "ual-seven", "ual-nine", "ual-thirteen", "ual-fifteen"]
    assert list(PROTOCOLS) == ["mulsr", "mulsr-literal", "mulsr-aligned", "mixup", "wald", "full", *leagues]
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert re.fullmatch("[a-z][a-z-]*", name)
        assert protocol.description
        assert protocol.random_training == name.startswith(("mulsr", "ual"))
        assert protocol.convention is None or protocol.convention in metrics.CONVENTIONS
    conventions = [protocol.convention for protocol in PROTOCOLS.values()]
    assert conventions[:6] == ["mulsr", "mulsr", "mulsr", "mixup", "mulsr", None]
    assert conventions[6:] == ["uestc", "dhif", "mogdcn", "dian", *["ual"] * 5]
    assert list(metrics.CONVENTIONS) == list(CONVENTIONS)
    guides = [protocol.needs_guide for protocol in PROTOCOLS.values()]
    assert guides == [True, True, True, False, True, False, *[True] * 9]


def test_protocols_travel_between_processes():
    custom = CustomProtocol("mine", {"psf": {"kind": "mean"}})
    for protocol in (*PROTOCOLS.values(), custom):
        assert pickle.loads(pickle.dumps(protocol)) == protocol


def test_importing_is_cheap():
    code = "import sys, hsisr.degrade; print([m for m in ('torch', 'scipy', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("cube", "protocol", "scale", "message"),
    [
        (
            CUBE,
            "bicubic",
            4,
            f"unknown protocol 'bicubic'; choose one of {', '.join(PROTOCOLS)}",
        ),
        (CUBE, "full", 4, "degrades nothing"),
        (CUBE, "mulsr", 0, "whole number >= 1"),
        (CUBE, "mulsr", -4, "whole number >= 1"),
        (CUBE, "mulsr", 2.5, "whole number >= 1"),
        (CUBE, "mulsr", 49, "smaller than the scale 49"),
        (CUBE[0], "mulsr", 4, "(bands, rows, columns)"),
        (CUBE[:0], "mulsr", 4, "(bands, rows, columns)"),
        (np.full((2, 16, 16), np.nan), "mulsr", 4, "512 NaN or infinite"),
        (np.ones((2, 16, 16), dtype=np.uint16), "mulsr", 4, "not uint16; divide it by its peak"),
    ],
)
def test_undefined_input_is_refused(cube, protocol, scale, message):
    with pytest.raises(HsisrError, match=re.escape(message)):
        degrade(cube, protocol, scale)


def test_custom_protocols_do_as_told():
    mean = CustomProtocol("block-mean", {"psf": {"kind": "mean"}})
    blocks = CUBE.reshape(3, 12, 4, 16, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(degrade(CUBE, mean, 4), blocks, rtol=1e-12)

    corner = CustomProtocol("corner", {"psf": "none", "sampling": "strided", "phase": 1})
    np.testing.assert_array_equal(degrade(CUBE, corner, 4), CUBE[:, 1::4, 1::4])

    kernel = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 2]])
    own = CustomProtocol("own", {"psf": {"kind": "array", "weights": kernel.tolist()}, "sampling": "strided"})
    blurred = np.stack([ndimage.correlate(band, kernel / 10, mode="reflect") for band in CUBE])
    np.testing.assert_allclose(degrade(CUBE, own, 4), blurred[:, ::4, ::4], rtol=1e-12)

    sensor = CustomProtocol("sensor", {"psf": {"kind": "gaussian", "mtf_gain": 0.3}, "noise": {"snr_db": 35}})
    assert sensor.noise == Noise(snr_db=35)
    assert sensor.response == "nikon_d700"
    sigma = 4 / np.pi * np.sqrt(-2 * np.log(0.3))
    same = CustomProtocol("same", {"psf": {"kind": "gaussian", "sigma_px": sigma}})
    np.testing.assert_allclose(degrade(CUBE, sensor, 4, noise=0), degrade(CUBE, same, 4), rtol=1e-12)


TURNING = {
    "wald": True,
    "mixup": True,
    "mulsr": False,  # shifted
    "mulsr-aligned": False,  # longer along the rows
    "corner": False,
    "mean": True,
    "smear": False,
}


@pytest.mark.parametrize("name", list(TURNING))
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_turning_is_what_happens_to_an_image(name, scale):
    own = {
        "corner": {"psf": "none", "sampling": "strided"},
        "mean": {"psf": {"kind": "mean"}},
        "smear": {"psf": {"kind": "anisotropic", "l1": 1.0, "l2": 4.0, "theta": 0.4, "taps": 9}},
    }
    protocol = CustomProtocol(name, own[name]) if name in own else PROTOCOLS[name]
    cube = np.random.default_rng(0).random((1, 12 * scale, 12 * scale))
    lr = degrade(cube, protocol, scale, noise=0)
    turns = (lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: np.rot90(x, axes=(1, 2)))
    found = all(np.allclose(degrade(turn(cube), protocol, scale, noise=0), turn(lr), atol=1e-6) for turn in turns)
    assert found == TURNING[name] == protocol.turns_with_scene(scale)


def test_custom_protocol_repeats_a_built_in_one():
    settings = {
        "psf": {"kind": "anisotropic", "l1": 2.0, "l2": 10.0, "theta": np.pi / 2, "taps": 13},
        "noise": {"sigma": 3 / 255},
        "clip": True,
    }
    custom = CustomProtocol("again", settings)
    np.testing.assert_array_equal(degrade(CUBE, custom, 8, seed=3), degrade(CUBE, "mulsr-aligned", 8, seed=3))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mulsr", {"psf": "none"}, "taken: mulsr"),
        ("Mine", {"psf": "none"}, "letters a-z"),
        ("mine", {}, "psf is missing"),
        ("mine", [], "expected a mapping"),
        ("mine", {"psf": "none", "blur": 3}, "unknown blur; allowed: psf, sampling"),
        ("mine", {"psf": "gaussian"}, "mapping with a kind"),
        ("mine", {"psf": {"kind": "airy"}}, "psf kind 'airy' is not known; "),
        (
            "mine",
            {"psf": {"kind": "gaussian", "sigma": 3}},
            "psf gaussian: unknown sigma; .*allowed: sigma_px",
        ),
        ("mine", {"psf": {"kind": "gaussian", "sigma_px": "wide"}}, "psf gaussian"),
        ("mine", {"psf": {"kind": "anisotropic", "l1": 2}}, "psf anisotropic.*it takes l1, l2, theta, taps"),
        ("mine", {"psf": {"kind": "anisotropic", "l1": 2, "l2": 2, "theta": 0, "taps": 4}}, "odd number"),
        ("mine", {"psf": "none", "sampling": "nearest"}, "sampling 'nearest' is not known; choose one of centre"),
        ("mine", {"psf": "none", "phase": 1}, "phase"),
        ("mine", {"psf": "none", "noise": {"snr": 3}}, "noise: unknown snr"),
        ("mine", {"psf": "none", "response": "canon"}, "response 'canon' is not known"),
        ("mine", {"psf": "none", "clip": 1}, "clip must be true or false"),
        ("mine", {"psf": "none", "convention": "mine"}, "convention 'mine'"),
    ],
)
def test_custom_settings_are_checked(name, settings, message):
    with pytest.raises(HsisrError, match=message):
        CustomProtocol(name, settings)


def test_no_psf_at_the_centre_of_an_even_block_says_what_to_do():
    with pytest.raises(HsisrError, match="1 taps has no tap at .* give an even number of taps, or another sampling"):
        degrade(CUBE, CustomProtocol("none", {"psf": "none"}), 4)


def test_phase_must_lie_inside_the_block():
    with pytest.raises(HsisrError, match="phase 4 must be smaller than the scale 4"):
        degrade(CUBE, CustomProtocol("late", {"psf": "none", "sampling": "strided", "phase": 4}), 4)
