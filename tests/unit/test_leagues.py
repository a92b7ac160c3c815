"""The published leagues: protocols, conventions, splits and presets are those under which others print their tables."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

from hsisr import datasets, metrics
from hsisr.config import load
from hsisr.degrade import PROTOCOLS, degrade, imresize, pair, shift_of
from hsisr.errors import HsisrError
from hsisr.metrics import structure
from hsisr.pipeline import benchmark
from hsisr.report.published import find_published
from hsisr.scene import Scene

ROOT = Path(__file__).parents[2]
#: Benchmark -> scene -> PSNR, SAM, ERGAS, from the recipes by a program of its own.
FINGERPRINTS = yaml.safe_load((Path(__file__).parent / "league_fingerprints.yaml").read_text())
SCENES = sorted(FINGERPRINTS["uestc_x8"])
#: Scenes that show what all of them show: dark and light ones, smooth ones and fine detail.
FEW = ("beads", "egyptian_statue", "flowers", "oil_painting")
CUBE = np.random.default_rng(0).random((2, 64, 80))


@pytest.fixture(scope="session")
def scenes(extra_data, tmp_path_factory) -> Path:
    """A raw folder of the CAVE scenes at hand."""
    raw = tmp_path_factory.mktemp("leagues") / "raw"
    datasets.fetch("cave", raw, source=str(extra_data / "data" / "cave"), progress=False)
    return raw


@pytest.fixture
def without_ssim(monkeypatch):
    """Scores lack SSIM, which takes half of their time."""
    monkeypatch.setattr(structure.Ssim, "add", lambda *_: None)
    monkeypatch.setattr(structure.Ssim, "per_band", lambda _: np.full(1, np.nan))


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in SCENES])
def test_bicubic_has_the_fingerprint_of_every_league(scenes, without_ssim, tmp_path, name):
    scene = datasets.convert("cave", name, scenes, tmp_path / f"{name}.h5")
    for league, expected in FINGERPRINTS.items():
        protocol, scale = league.split("_x")
        made = pair(scene, protocol, int(scale), response="none")
        found = metrics.score(
            made.hr, imresize(made.lr, int(scale)), int(scale), PROTOCOLS[protocol].convention, mask=made.mask
        )
        assert [found[key] for key in ("psnr", "sam", "ergas")] == pytest.approx(expected[name], abs=0.01), league


@pytest.mark.parametrize(
    ("protocol", "scale", "shift"),
    [
        ("uestc", 4, 0.5),
        ("uestc", 8, 0.5),
        ("dhif", 4, 0),
        ("dhif", 8, 0),
        ("dhif", 16, 0),
        ("mogdcn", 8, 1),
        ("dian", 8, -4),
        ("ual", 8, 0),
        ("ual-seven", 8, -3.5),
        ("ual-nine", 8, -3.5),
        ("ual-thirteen", 8, -3.5),
        ("ual-fifteen", 8, -3.5),
    ],
)
def test_shift_is_the_registered_one(protocol, scale, shift):
    assert shift_of(protocol, scale) == pytest.approx((shift, shift), abs=1e-9)


def gaussian(taps: int, sigma: float) -> np.ndarray:
    """(taps, taps), sum 1."""
    offsets = np.arange(taps) - (taps - 1) / 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def test_uestc_is_a_mirrored_blur_read_behind_the_middle():
    blurred = np.stack([ndimage.correlate(band, gaussian(3, 0.5), mode="reflect") for band in CUBE])
    np.testing.assert_allclose(degrade(CUBE, "uestc", 8), blurred[:, 4::8, 4::8], rtol=1e-12)


@pytest.mark.parametrize(("protocol", "start"), [("dhif", 3), ("mogdcn", 4)])
def test_blur_of_dhif_goes_around_the_image(protocol, start):
    kernel = np.zeros(CUBE.shape[1:])
    kernel[:8, :8] = gaussian(8, 2.0)
    transfer = np.fft.fft2(np.roll(kernel, (-4, -4), axis=(0, 1)))
    blurred = np.fft.ifft2(np.fft.fft2(CUBE) * transfer).real
    np.testing.assert_allclose(degrade(CUBE, protocol, 8), blurred[:, start::8, start::8], rtol=1e-12)


def test_ual_trains_on_its_five_kernels():
    drawn = {
        (training.kernel.shape, training.phase)
        for training in (PROTOCOLS["ual"].training(np.random.default_rng(seed), 8) for seed in range(40))
    }
    odd = {((taps, taps), 0) for taps in (7, 9, 13, 15)}
    assert drawn == {((8, 8), 4), *odd}
    trained = {degrade(CUBE, "ual", 8, seed=seed, training=True).round(9).tobytes() for seed in range(40)}
    tested = {degrade(CUBE, name, 8).round(9).tobytes() for name in PROTOCOLS if name.startswith("ual")}
    assert trained == tested and len(tested) == 5


def test_ual_scores_in_units_of_the_range_and_counts_black_pixels():
    rng = np.random.default_rng(3)
    reference = 0.25 * rng.random((4, 16, 16)) + 0.05
    estimate = reference + 0.01 * rng.standard_normal(reference.shape)
    found = metrics.score(reference, estimate, 8, "ual")
    x, y = reference / np.ptp(reference), estimate / np.ptp(reference)
    error = (np.rint(255 * x) - np.rint(255 * y)) ** 2
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=1e-9)
    assert found["rmse"] == pytest.approx(255 * np.sqrt(((x - y) ** 2).mean()), rel=1e-9)
    estimate[:, 0, 0] = 0
    angles = np.degrees(np.arccos((x * y).sum(0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0)))
    angles[0, 0] = 90
    assert metrics.score(reference, estimate, 8, "ual")["sam"] == pytest.approx(angles.mean(), rel=1e-9)


@pytest.mark.parametrize("convention", ["uestc", "dhif", "mogdcn", "dian", "ual"])
def test_a_peak_changes_no_score_of_a_league(convention):
    """But those that are in the images' unit: RMSE where the convention has none of its own, and MAE."""
    rng = np.random.default_rng(5)
    reference = rng.random((3, 24, 24))
    reference[:, :4] = 0
    estimate = np.clip(reference + 0.05 * rng.standard_normal(reference.shape), 0, 1)
    expected = metrics.score(reference, estimate, 8, convention)
    found = metrics.score(4096 * reference, 4096 * estimate, 8, convention, peak=4096)
    units = {"rmse": 1 if convention in ("dian", "ual") else 4096, "mae": 1 if convention == "ual" else 4096}
    assert found == pytest.approx({key: value * units.get(key, 1) for key, value in expected.items()}, rel=1e-9)


def test_ual_takes_the_range_of_valid_pixels():
    rng = np.random.default_rng(4)
    reference = rng.random((3, 24, 24))
    estimate = reference + 0.01
    mask = np.ones((24, 24), bool)
    mask[0, 0] = False
    expected = metrics.score(reference, estimate, 8, "ual", mask=mask)
    reference[:, 0, 0] = 7
    assert metrics.score(reference, estimate, 8, "ual", mask=mask) == expected


def test_ual_passes_over_masked_strips_and_names_nan():
    rng = np.random.default_rng(9)
    reference = rng.random((3, 200, 24))
    estimate = np.clip(reference + 0.05 * rng.standard_normal(reference.shape), 0, 1)
    mask = np.zeros((200, 24), bool)
    mask[150:] = True
    found = metrics.score(reference, estimate, 8, "ual", mask=mask)
    alone = metrics.score(reference[:, 150:], estimate[:, 150:], 8, "ual")
    assert found == pytest.approx(alone)
    reference[1, 160, 3] = np.nan
    with pytest.raises(HsisrError, match="the reference holds NaN or infinity in band 1"):
        metrics.score(reference, estimate, 8, "ual", mask=mask)


def test_a_constant_reference_has_no_range():
    with pytest.raises(HsisrError, match="the reference goes from 0.5 to 0.5"):
        metrics.score(np.full((2, 16, 16), 0.5), np.ones((2, 16, 16)), 8, "ual")


def test_mogdcn_adds_to_every_value_before_it_takes_angles():
    reference = np.random.default_rng(5).random((3, 16, 16))
    reference[:, 2, 3] = 0
    estimate = reference.copy()
    assert metrics.score(reference, estimate + 1e-9, 8, "mogdcn")["sam"] == pytest.approx(0, abs=1e-4)
    dark = metrics.score(1e-7 * reference, np.zeros_like(reference), 8, "mogdcn")["sam"]
    x = 1e-7 * reference + 1e-7
    cosines = x.sum(0) / (np.linalg.norm(x, axis=0) * np.sqrt(3))
    assert dark == pytest.approx(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean(), rel=1e-6)


def test_uestc_divides_by_the_means_of_the_estimate():
    rng = np.random.default_rng(6)
    reference, estimate = rng.random((2, 3, 16, 16))
    mse = ((reference - estimate) ** 2).mean(axis=(1, 2))
    expected = 100 / 4 * np.sqrt((mse / estimate.mean(axis=(1, 2)) ** 2).mean())
    assert metrics.score(reference, estimate, 4, "uestc")["ergas"] == pytest.approx(expected, rel=1e-12)


def test_dian_prints_its_rmse_in_255ths():
    reference, estimate = np.random.default_rng(7).random((2, 3, 16, 16))
    plain = metrics.score(reference, estimate, 8, "mulsr")["rmse"]
    assert metrics.score(reference, estimate, 8, "dian")["rmse"] == pytest.approx(255 * plain)


@pytest.mark.parametrize(("split", "train", "test"), [("uestc", 20, 11), ("dhif", 20, 12), ("ual", 12, 20)])
def test_splits_are_the_published_ones(split, train, test):
    lists = datasets.entry("cave").splits[split]
    assert (len(lists.train), len(lists.test)) == (train, test)
    assert not set(lists.train) & set(lists.test)
    everything = sorted(datasets.entry("cave").scenes)
    if split == "uestc":
        assert sorted({*lists.train, *lists.test, "watercolors"}) == everything
        assert "watercolors" not in lists.train
    else:
        assert [*lists.train, *lists.test] == everything


@pytest.mark.parametrize("league", ["uestc", "dhif", "mogdcn", "dian", "ual"])
def test_preset_is_scored_by_its_league(league):
    config = load([ROOT / "config.yaml", ROOT / f"workflow/presets/league-{league}.yaml"])
    benchmark.check(config)
    mine = [benchmark.resolve(config, name) for name in config.benchmarks if f"_{league}" in name]
    assert mine and all(chosen.convention == league and chosen.response == "nikon_d700" for chosen in mine)


def test_published_rows_of_the_same_protocol_come_with_their_source():
    rows = {row.method: row for row in find_published("cave", 8, guide=True) if row.protocol == "uestc"}
    assert rows["LE-Mamba"].scores == {"psnr": 49.86, "sam": 2.31, "ergas": 0.70}
    assert rows["bicubic"].scores == {"psnr": 29.96, "sam": 5.89, "ergas": 5.56}
    assert all(row.source and row.split == "uestc" for row in rows.values())


def test_a_guide_is_the_nikon_matrix_times_the_scene():
    cube = np.random.default_rng(8).random((31, 32, 32), dtype=np.float32)
    scene = Scene(cube, name="x", wavelengths_nm=np.linspace(400, 700, 31))
    made = pair(scene, "uestc", 8)
    np.testing.assert_allclose(made.guide, np.einsum("gb,brc->grc", made.metadata["response_matrix"], cube), atol=1e-6)
    np.testing.assert_allclose(made.metadata["response_matrix"].sum(axis=1), 1)
