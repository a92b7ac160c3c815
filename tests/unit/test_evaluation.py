"""Evaluation: results files and previews, made by the functions that the pipeline runs."""

import json
from pathlib import Path

import numpy as np
import pytest

import hsisr
from hsisr import benchmark, evaluation, pairs, paths
from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.evaluation import preview, results
from hsisr.training import train_one
from tests.unit.conftest import CONFIG


@pytest.fixture
def trained(small):
    for seed in small.model("tiny").seeds:
        train_one(small, small.model("tiny"), seed)
    return small


def test_results_hold_every_model_and_seed(trained, tmp_path):
    Path("config.yaml").write_text(json.dumps(trained.config.model_dump(exclude_unset=True)))
    found = hsisr.evaluate("config.yaml")["indian_pines_x4"]
    assert found == results.read("results/indian_pines_x4.json", results.Results)
    assert list(found.models) == ["bicubic", "gsa", "tiny"]
    tiny = found.models["tiny"]
    assert set(tiny.seeds) == {"0", "3"} and tiny.parameters > 0 and tiny.training_steps == 6
    assert tiny.mean["psnr"] == pytest.approx(np.mean([scores["psnr"] for scores in tiny.seeds.values()]))
    assert tiny.seed_std["psnr"] == pytest.approx(np.std([scores["psnr"] for scores in tiny.seeds.values()]))
    assert found.models["bicubic"].seeds == {} and found.models["bicubic"].parameters == 0


def test_scores_are_those_of_the_method_on_the_test_part(small):
    scores = evaluation.evaluate_model(small, "bicubic", "a command")
    pair = pairs.read(small.path(paths.PAIR, item="indian_pines-test"))
    estimate = hsisr.models.bicubic(pair.lr, None, scale=4)
    expected = hsisr.metrics.score(pair.hr, estimate, 4, "mulsr")
    assert scores.result.scenes["indian_pines-test"] == pytest.approx(expected, rel=1e-6)
    assert scores.command == "a command"


def test_scores_of_other_settings_are_not_merged(small):
    for name in ("bicubic", "gsa"):
        evaluation.evaluate_model(small, name, "")
    noisy = CONFIG | {"benchmarks": {small.name: {"models": ["bicubic", "gsa"], "noise": 0.01}}}
    with pytest.raises(HsisrError, match=r"results/indian_pines_x4/bicubic.json: made with other settings"):
        evaluation.merge(benchmark.resolve(Config.parse(noisy), small.name), "")


def test_weights_of_other_settings_are_not_scored(trained):
    other = json.loads(json.dumps(CONFIG))
    other["models"]["tiny"]["training"]["learning_rate"] = 5e-4
    with pytest.raises(HsisrError, match="trained with other settings"):
        evaluation.evaluate_model(benchmark.resolve(Config.parse(other), trained.name), "tiny", "")


def test_missing_scores_and_foreign_files_are_one_line(small):
    with pytest.raises(HsisrError, match="no such file"):
        evaluation.merge(small, "")
    path = Path(small.path(paths.SCORES, model="bicubic"))
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "hsisr/scores/1", "model": 3}')
    with pytest.raises(HsisrError, match="not a valid scores file"):
        evaluation.merge(small, "")


def test_preview_shows_the_error_where_it_is(small):
    evaluation.evaluate_model(small, "gsa", "")
    found = preview.read(small.path(paths.PREVIEW, model="gsa"))["indian_pines-test"]
    pair = pairs.read(small.path(paths.PAIR, item="indian_pines-test"))
    assert found.composite.shape == (80, 48, 3) and found.lr_composite.shape == (20, 12, 3)
    np.testing.assert_array_equal(found.reference_composite[..., 1], pair.hr[found.composite_bands[1]])
    rows, columns = found.points.T
    np.testing.assert_allclose(
        found.error[rows, columns],
        np.sqrt(np.mean((found.spectra - found.reference_spectra) ** 2, axis=1)),
        rtol=1e-5,
    )


def test_perfect_estimate_has_no_error():
    cube = np.random.default_rng(0).random((4, 8, 8)).astype(np.float32)
    shown = preview.make(cube[:, ::2, ::2], cube, cube, None)
    assert shown.error.max() == 0 and shown.spectral_angle.max() < 0.1 and shown.band_psnr.min() >= 100


@pytest.mark.parametrize(
    ("wavelengths", "expected"),
    [([450, 550, 650], (2, 1, 0)), ([450, 550, 650, 830], (3, 2, 1)), (None, (3, 2, 0))],
)
def test_composites_are_natural_or_colour_infrared(wavelengths, expected):
    assert preview.composite_bands(4 if wavelengths is None else len(wavelengths), wavelengths) == expected


def test_super_resolve_takes_arrays_scenes_and_files(trained, tmp_path):
    pair = pairs.read(trained.path(paths.PAIR, item="indian_pines-test"))
    folder = trained.path(paths.RUN, model="tiny", seed=0)
    expected = hsisr.super_resolve(pair.lr, pair.guide, model=folder)
    scene = hsisr.Scene(pair.lr, transform=(20.0, 0.0, 100.0, 0.0, -20.0, 500.0), crs="EPSG:32616")
    scene.save(tmp_path / "lr.h5")
    again = hsisr.super_resolve(tmp_path / "lr.h5", pair.guide, model=folder, out=tmp_path / "sr.h5")
    np.testing.assert_array_equal(again, expected)
    written = hsisr.Scene.open(tmp_path / "sr.h5")
    assert written.transform == (5.0, 0.0, 100.0, 0.0, -5.0, 500.0) and written.crs == "EPSG:32616"
    np.testing.assert_array_equal(written.cube, expected)
    with pytest.raises(HsisrError, match="guide"):
        hsisr.super_resolve(pair.lr, model=folder)
    with pytest.raises(HsisrError, match="guide"):
        hsisr.super_resolve(pair.lr, pair.guide[:, :-4], model=folder)
