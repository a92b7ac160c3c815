"""Evaluation: results files and previews, made by the functions that the pipeline runs."""

import dataclasses
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import hsisr
from hsisr import degrade, evaluation, metrics
from hsisr.cli import steps as cli_steps
from hsisr.config import Config, Evaluation
from hsisr.degrade import Pair
from hsisr.errors import HsisrError
from hsisr.evaluation import compare, preview, results
from hsisr.evaluation.analysis import classification, runtime
from hsisr.evaluation.full_resolution import full_scores, score_full
from hsisr.files import stamp
from hsisr.pipeline import benchmark, pair_files, paths
from hsisr.scene import Scene
from hsisr.training import train_one
from tests.unit.conftest import CONFIG


@pytest.fixture(autouse=True)
def few_splits(monkeypatch):
    """Classification in two divisions and runtimes of one round: enough to see that they are there."""
    monkeypatch.setattr(classification, "SPLITS", 2)
    monkeypatch.setattr(classification, "RANDOM_SPLITS", 1)
    monkeypatch.setattr(runtime, "ROUNDS", 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder that the trained networks of this module are copied from."""
    return tmp_path_factory.mktemp("trained") / "runs"


@pytest.fixture
def trained(small, runs):
    if not runs.exists():
        for seed in small.model("tiny").seeds:
            train_one(small, small.model("tiny"), seed)
        shutil.copytree("runs", runs)
    shutil.copytree(runs, "runs", dirs_exist_ok=True)
    return small


def test_results_hold_every_model_and_seed(trained, tmp_path):
    Path("config.yaml").write_text(json.dumps(trained.config.model_dump(exclude_unset=True)))
    found = hsisr.evaluate("config.yaml")["indian_pines_x4"]
    assert found == results.read("results/indian_pines_x4.json", results.Results)
    assert list(found.models) == ["bicubic", "gsa", "tiny"]
    tiny = found.models["tiny"]
    assert set(tiny.seeds) == {"0", "3"} and tiny.parameters > 0 and tiny.training_steps == 6
    assert tiny.mean["psnr"] == pytest.approx(np.mean([scores["psnr"] for scores in tiny.seeds.values()]))
    spread = np.std([scores["psnr"] for scores in tiny.seeds.values()], ddof=1)
    assert tiny.seed_std["psnr"] == pytest.approx(spread)
    assert found.models["bicubic"].seeds == {} and found.models["bicubic"].parameters == 0


def test_scores_are_those_of_the_method_on_the_test_part(small):
    scores = evaluation.evaluate_model(small, "bicubic", "a command")
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-test"))
    estimate = hsisr.models.bicubic(pair.lr, None, scale=4)
    expected = hsisr.metrics.score(pair.hr, estimate, 4, "mulsr")
    assert scores.result.scenes["indian_pines-test"] == pytest.approx(expected, rel=1e-6)
    assert scores.command == "a command"


def test_a_reference_that_the_convention_clips_is_named_and_the_advice_works(small):
    path = small.path(paths.PAIR, item="indian_pines-test")
    pair = pair_files.read(path)
    bright = Pair(1.3 * pair.lr, pair.guide, 1.3 * pair.hr, pair.mask, pair.metadata)
    pair_files.write(path, pair.name, bright, Scene(bright.hr))
    with pytest.raises(HsisrError, match="indian_pines_x4, indian_pines-test: .* choose convention plain, which clips"):
        evaluation.evaluate_model(small, "bicubic", "")
    plain = CONFIG | {"benchmarks": {small.name: {"models": ["bicubic"], "convention": "plain"}}}
    scores = evaluation.evaluate_model(benchmark.resolve(Config.parse(plain), small.name), "bicubic", "")
    expected = hsisr.metrics.score(bright.hr, hsisr.models.bicubic(bright.lr, None, scale=4), 4)
    assert scores.result.scenes["indian_pines-test"] == pytest.approx(expected, rel=1e-6)


def test_scores_of_other_settings_are_not_merged(small, capsys):
    """The table prints them, and says so."""
    for name in ("bicubic", "gsa"):
        evaluation.evaluate_model(small, name, "")
    bare = CONFIG | {"benchmarks": {small.name: {"models": ["bicubic", "gsa"]}}}
    bare["evaluation"] = {"runtime": False, "classification": False}
    evaluation.merge(benchmark.resolve(Config.parse(bare), small.name), "")
    for seed, warned in ((0, False), (1, True)):
        bare["benchmarks"][small.name]["seed"] = seed
        Path("config.yaml").write_text(json.dumps(bare))
        cli_steps.table([Path("config.yaml")])
        out, err = capsys.readouterr()
        assert "bicubic" in out and ("may not be the scores of the present configuration" in err) is warned
    Path("config.yaml").write_text(json.dumps({"benchmarks": {"cave_x8": {}}}))
    with pytest.raises(HsisrError, match="results/cave_x8.json: is not made yet; `snakemake results/cave_x8.json"):
        cli_steps.table([Path("config.yaml")])
    noisy = CONFIG | {"benchmarks": {small.name: {"models": ["bicubic", "gsa"], "noise": 0.01}}}
    with pytest.raises(HsisrError, match=r"results/indian_pines_x4/bicubic.json: made with other settings"):
        evaluation.merge(benchmark.resolve(Config.parse(noisy), small.name), "")


def test_weights_of_other_settings_are_not_scored(trained):
    other = json.loads(json.dumps(CONFIG))
    other["models"]["tiny"]["training"]["learning_rate"] = 5e-4
    with pytest.raises(HsisrError, match="trained with other settings"):
        evaluation.evaluate_model(benchmark.resolve(Config.parse(other), trained.name), "tiny", "")


def test_missing_scores_and_foreign_files_are_one_line(small):
    with pytest.raises(HsisrError, match="no such file of scores; `hsisr evaluate` makes it"):
        evaluation.merge(small, "")
    path = Path(small.path(paths.SCORES, model="bicubic"))
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "hsisr/scores/1", "model": 3}')
    with pytest.raises(HsisrError, match="not a valid scores file"):
        evaluation.merge(small, "")


def test_preview_shows_the_error_where_it_is(small):
    evaluation.evaluate_model(small, "gsa", "")
    found = preview.read(small.path(paths.PREVIEW, model="gsa"))["indian_pines-test"]
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-test"))
    assert found.composite.shape == (80, 48, 3) and found.lr_composite.shape == (20, 12, 3)
    np.testing.assert_array_equal(found.reference_composite[..., 1], pair.hr[found.composite_bands[1]])
    assert found.samples.shape == found.reference_samples.shape == (40, 24, 5)
    pixel = (slice(None), found.sample_rows[3], found.sample_columns[5])
    np.testing.assert_array_equal(found.reference_samples[3, 5], pair.hr[pixel])
    estimate = np.clip(hsisr.models.gsa(pair.lr, pair.guide, scale=4), 0, 1)
    np.testing.assert_allclose(found.samples[3, 5], estimate[pixel], atol=1e-6)
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


def test_a_preview_shows_what_is_scored():
    """Pixels without data do not count, and the estimate is clipped only where scores clip it."""
    rng = np.random.default_rng(0)
    reference = 1.2 * rng.random((4, 24, 24), dtype=np.float32)
    estimate = reference + 0.01 * rng.standard_normal(reference.shape, dtype=np.float32)
    mask = np.ones((24, 24), bool)
    mask[:8, :8] = False
    estimate[:, ~mask] = 9
    shown = preview.make(reference[:, ::4, ::4], estimate, reference, None, mask=mask)
    scores = metrics.score(reference, estimate, 4, mask=mask)
    assert np.sqrt((shown.error[mask].astype(float) ** 2).mean()) == pytest.approx(scores["rmse"], rel=1e-5)
    assert shown.spectral_angle[mask].mean(dtype=float) == pytest.approx(scores["sam"], rel=1e-5)
    assert -10 * np.log10((10 ** (-shown.band_psnr / 10)).mean()) == pytest.approx(scores["psnr"])
    assert mask[tuple(shown.worst_point)] and mask[tuple(shown.points.T)].all()
    assert shown.error[~mask].max() == shown.spectral_angle[~mask].max() == 0
    assert preview.make(reference, estimate, reference, None, clip=(0, 1)).samples.max() == 1


@pytest.mark.parametrize(
    ("wavelengths", "expected"),
    [([450, 550, 650], (2, 1, 0)), ([450, 550, 650, 830], (3, 2, 1)), (None, (3, 2, 0))],
)
def test_composites_are_natural_or_colour_infrared(wavelengths, expected):
    assert preview.composite_bands(4 if wavelengths is None else len(wavelengths), wavelengths) == expected


def test_super_resolve_takes_arrays_scenes_and_files(trained, tmp_path):
    pair = pair_files.read(trained.path(paths.PAIR, item="indian_pines-test"))
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


def test_results_hold_costs_bands_and_classification(trained):
    found = evaluation.evaluate_benchmark(trained, "a command")
    tiny, bicubic = found.models["tiny"], found.models["bicubic"]
    assert tiny.flops_per_value > 0 and bicubic.flops_per_value is None
    for model in found.models.values():
        assert model.timing["seconds_per_megapixel_band"] > 0
        assert set(model.bands) == set(found.reference_bands) == {"neighbourhood_grouping", "entropy_and_correlation"}
        assert set(model.classification) == set(found.classification.reference) == {"svm", "forest"}
    assert bicubic.classification == found.classification.lr  # the same image
    assert list(found.classification.classes) == ["alfalfa", "corn-notill"]
    changed = trained.config.model_copy(update={"evaluation": Evaluation(runtime=False, classification=False)})
    for path in (paths.RUNTIME, paths.CLASSIFICATION):
        Path(trained.path(path)).unlink()
    plain = evaluation.merge(dataclasses.replace(trained, config=changed), "a command")
    assert plain.classification is None and "peak_memory_mb" not in plain.models["tiny"].timing


def test_equal_runs_differ_in_timing_and_environment_only(small):
    def run() -> dict:
        evaluation.evaluate_model(small, "gsa", "a command")
        evaluation.evaluate_model(small, "bicubic", "a command")
        without = {"bicubic": small.models["bicubic"], "gsa": small.models["gsa"]}
        chosen = dataclasses.replace(small, models=without)
        evaluation.measure_runtime(chosen, "a command")
        evaluation.classify(chosen, "a command")
        content = evaluation.merge(chosen, "a command").model_dump()
        content.pop("environment")
        for model in content["models"].values():
            assert model.pop("timing")
        return content

    assert run() == run()


def test_labels_are_needed_to_classify(small):
    evaluation.evaluate_model(small, "bicubic", "")
    evaluation.evaluate_model(small, "gsa", "")
    path = small.path(paths.PAIR, item="indian_pines-test")
    with h5py.File(path, "r+") as file:
        del file["labels"]
    with pytest.raises(HsisrError, match="the pair of indian_pines-test holds no labels"):
        evaluation.classify(small, "")


@pytest.fixture
def written(tmp_path):
    """Writes results files that differ as told; returns their paths."""

    def write(name: str, models: tuple[str, ...] = ("bicubic",), **changes) -> Path:
        scores = {"psnr": 30.0, "ssim": 0.9, "sam": 2.0, "ergas": 3.0, "rmse": 0.03, "cc": 0.9}
        model = {"base": "bicubic", "options": {}, "mean": scores, "std": scores, "scenes": {}, "seeds": {}}
        model |= {"seed_std": {}, "parameters": 0, "training_steps": 0, "timing": {"seconds": 1.0}}
        content = {
            **stamp("results"),
            **{"dataset": "cave", "scale": 8, "protocol": "mulsr", "convention": "mulsr", "command": ""},
            **{"parts": {"test": ["paints"]}, "response": "nikon_d700", "environment": {}},
            "models": {key: model for key in models},
        }
        results.write(tmp_path / name, results.Results.model_validate(content | changes))
        return tmp_path / name

    return write


def test_results_of_one_kind_are_compared(written, tmp_path):
    table = compare.compare(written("a.json"), written("b.json", models=("bicubic", "gsa")))
    assert list(table.columns[0].cells) == ["bicubic", "bicubic", "", "gsa"]
    assert list(table.columns[1].cells) == ["first", "second", "change", "second"]
    assert list(table.columns[2].cells) == ["30.00", "30.00", "+0.00", "30.00"] and table.caption is None
    changed = json.loads(written("c.json").read_text())
    changed["models"]["bicubic"]["mean"]["psnr"] = 31.0
    (tmp_path / "c.json").write_text(json.dumps(changed))
    caption = compare.compare(written("a.json"), tmp_path / "c.json").caption
    assert "bicubic learns nothing, and scores differently in the two: they test on different images" in caption
    older = written("older.json")
    older.write_text(older.read_text().replace('"cc": 0.9', '"mae": 0.9'))
    for files in ((written("a.json"), older), (older, written("a.json"))):
        with pytest.raises(HsisrError, match="results of bicubic: without cc; evaluate it again"):
            compare.compare(*files)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": "wald"}, "protocol is mulsr in the first and wald in the second$"),
        ({"convention": "mixup"}, "convention is mulsr in the first and mixup in the second$"),
        (
            {"protocol": "full", "convention": None},
            "protocol is .* full .*; convention is mulsr .* and none in the second",
        ),
        ({"dataset": "harvard"}, "data set is cave in the first and harvard"),
        ({"scale": 4}, "scale is 8 in the first and 4"),
        ({"response": "pan"}, "response of the guide is nikon_d700 in the first and pan"),
        ({"parts": {"test": ["paints", "beads"]}}, r"different scenes \(beads in one only\)"),
    ],
)
def test_results_of_different_kinds_are_not_compared(written, changes, said):
    with pytest.raises(HsisrError, match=f"a.json and .*b.json cannot be compared: .*{said}") as caught:
        compare.compare(written("a.json"), written("b.json", **changes))
    assert "\n" not in str(caught.value)


def test_guides_of_other_channels_than_the_response_get_no_consistency(small):
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-test"))
    scored = score_full(pair, pair.hr, 4, "pan")  # one channel; the guide has three
    assert scored["consistency_guide"] is None and scored["consistency_lr"] is not None
    assert score_full(pair, pair.hr, 4, "color_infrared")["consistency_guide"] == pytest.approx(0, abs=1e-6)


def test_values_above_1_agree_with_an_lr_image_that_has_them_too(small):
    """Bright reflectances had been cut off in the estimate alone, so that the best one did not fit its inputs."""
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-test"))
    bright = dataclasses.replace(pair, lr=2 * pair.lr, guide=2 * pair.guide)
    assert pair.hr.max() > 0.6
    found, expected = (score_full(*given, 4, "color_infrared") for given in ((bright, 2 * pair.hr), (pair, pair.hr)))
    assert found["consistency_lr"] == pytest.approx(2 * expected["consistency_lr"], rel=1e-5)


def test_pixels_that_the_mask_leaves_out_do_not_count_at_full_resolution(small):
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-test"))
    estimate = degrade.imresize(pair.lr, 4)
    spoilt, mask = estimate.copy(), np.ones(estimate.shape[1:], bool)
    mask[:12, :12] = False
    # not up to the mask's edge, as the PSF carries it into LR pixels that count
    spoilt[:, :4, :4] = 1 - spoilt[:, :4, :4]
    masked = dataclasses.replace(pair, mask=mask)
    whole, changed = (score_full(masked, image, 4, "color_infrared") for image in (estimate, spoilt))
    assert whole["consistency_guide"] == changed["consistency_guide"] > 0
    assert whole["consistency_lr"] == pytest.approx(changed["consistency_lr"], rel=0.02)
    assert score_full(pair, spoilt, 4, "color_infrared")["consistency_lr"] > 1.1 * whole["consistency_lr"]
    nothing_whole = dataclasses.replace(pair, mask=np.arange(mask.size).reshape(mask.shape) % 61 != 0)
    one_hole = np.ones((24, 24), bool)
    one_hole[1, 1] = False  # in the only tile of 16 x 16, but not in all of 8 x 8
    image = np.random.default_rng(0).random((3, 96, 96))
    low = degrade.degrade(image, "wald", 4)
    assert full_scores(image, low, None, 4, lr_mask=one_hole)["d_lambda"] == pytest.approx(0, abs=1e-6)
    holed = score_full(nothing_whole, estimate, 4, "color_infrared")
    assert holed["d_lambda"] is None and holed["consistency_lr"] is not None
