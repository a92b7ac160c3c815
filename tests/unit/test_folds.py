"""Cross-validation: folds are dealt by a seed, share their pairs, and give a mean with its spread."""

from pathlib import Path

import numpy as np
import pytest

from hsisr import datasets, evaluation
from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.evaluation import results
from hsisr.evaluation.compare import compare
from hsisr.evaluation.table import meaning, print_table
from hsisr.pipeline import benchmark, pair_files, patch_files, paths, steps
from hsisr.report import content, tables, words
from hsisr.scene import Scene
from hsisr.training import train
from tests.unit.conftest import CONFIG, small_scene

PARTS = ("train", "validation", "test")


def names(parts, part: str) -> list[str]:
    return [item.name for item in parts[part]]


# ----- the split


def test_every_scene_tests_once_and_never_where_it_trains():
    pool = {item.name for part in PARTS for item in datasets.parts("cave")[part]}
    folds = [datasets.fold("cave", number, 5) for number in range(1, 6)]
    tested = [name for parts in folds for name in names(parts, "test")]
    assert len(pool) == 32 and sorted(tested) == sorted(pool)
    assert sorted(len(parts["test"]) for parts in folds) == [6, 6, 6, 7, 7]
    for parts in folds:
        assert {name for part in PARTS for name in names(parts, part)} == pool
        assert len(parts["validation"]) == round((32 - len(parts["test"])) / 10)


def test_folds_follow_from_the_seed():
    first = names(datasets.fold("cave", 1, 4), "test")
    assert first == names(datasets.fold("cave", 1, 4, seed=0), "test") != names(datasets.fold("cave", 1, 4, 1), "test")


def test_unlabelled_scenes_stay_unlabelled():
    whole = datasets.parts("cave", split="mixup")
    parts = datasets.fold("cave", 2, 3, split="mixup")
    assert parts["unlabelled"] == whole["unlabelled"]
    assert not {item.name for item in whole["unlabelled"]} & {name for part in PARTS for name in names(parts, part)}


def test_regions_of_a_scene_are_dealt_too_and_keep_their_distance():
    for number in (1, 2, 3):
        parts = datasets.fold("indian_pines", number, 3)
        assert [len(parts[part]) for part in PARTS] == [1, 1, 1]
    near = {"train": [{"scene": "a", "region": [0, 16, 0, 16]}, {"scene": "a", "region": [0, 16, 16, 32], "name": "b"}],
            "test": [{"scene": "a", "region": [0, 16, 48, 64]}]}  # fmt: skip
    extra = {"mine": {"path": ".", "scenes": ["a"], "splits": {"near": {"guard_px": 16, **near}}}}
    with pytest.raises(HsisrError, match="lie 0 pixels apart, expected at least 16"):
        [datasets.fold("mine", number, 3, extra=extra) for number in (1, 2, 3)]


# ----- benchmarks


@pytest.mark.parametrize(
    ("name", "choice", "message"),
    [
        ("cave_x8", {"folds": 1}, "folds: 1 is not allowed; must be greater than or equal to 2"),
        ("cave_x8", {"folds": 40}, "cave: 40 folds need at least 40 scenes or regions, and its split has 32"),
        (
            "roman_colosseum_x4_full",
            {"folds": 2},
            "roman_colosseum under full is not scored against a reference",
        ),
    ],
)
def test_folds_that_cannot_be(name, choice, message):
    with pytest.raises(HsisrError, match=message):
        benchmark.check(Config.parse({"benchmarks": {name: choice}}))


def test_a_fold_that_is_not_there():
    config = Config.parse({"benchmarks": {"cave_x8": {"folds": 3}}})
    with pytest.raises(HsisrError, match="benchmarks.cave_x8.folds is 3; there is no fold 4"):
        benchmark.resolve(config, "cave_x8-fold4")
    with pytest.raises(HsisrError, match="benchmarks.cave_x4.folds is not given; there is no fold 1"):
        benchmark.resolve(config, "cave_x4-fold1")


def test_a_fold_is_a_benchmark_that_shares_pairs():
    config = Config.parse({"benchmarks": {"cave_x8_wald": {"folds": 3, "models": ["mulsr"]}}})
    whole = benchmark.resolve(config, "cave_x8_wald")
    assert [fold.name for fold in whole.folds] == [f"cave_x8_wald-fold{number}" for number in (1, 2, 3)]
    fold = benchmark.resolve(config, "cave_x8_wald-fold2")
    assert (fold.protocol, fold.whole, fold.folds) == ("wald", "cave_x8_wald", [])
    assert fold.path(paths.PAIR, item="cd") == "data/pairs/cave_x8_wald/cd.h5"
    assert fold.path(paths.PATCHES) == "data/patches/cave_x8_wald-fold2/train.h5"
    assert steps.pairing(whole, "cd").digest == steps.pairing(fold, "cd").digest
    assert steps.cutting(whole.folds[0]).digest != steps.cutting(fold).digest
    assert steps.training(fold, "mulsr", 0).digest == steps.training(whole.folds[1], "mulsr", 0).digest
    assert steps.merging(whole).inputs == {"folds": [f"results/{one.name}.json" for one in whole.folds]}
    assert [one.measures_runtime for one in whole.folds] == [True, False, False]


# ----- scores


@pytest.fixture
def study(tmp_path, monkeypatch) -> benchmark.Benchmark:
    """Six scenes in three folds; pairs and patches are made."""
    monkeypatch.chdir(tmp_path)
    scenes = [f"s{number}" for number in range(6)]
    (tmp_path / "raw").mkdir()
    for number, scene in enumerate(scenes):
        whole = small_scene(32, 32, seed=number)
        found = Scene(whole.stored, scene, whole.scale, wavelengths_nm=whole.wavelengths_nm)
        found.save(paths.SCENE.format(dataset="mine", scene=scene))
    models = {"tiny": {**CONFIG["models"]["tiny"], "seeds": [0, 1]}}
    config = Config.parse({
        "datasets": {"mine": {"path": "raw", "scenes": scenes}},
        "benchmarks": {"mine_x4": {"models": ["bicubic", "tiny"], "folds": 3}},
        "models": models, "patches": CONFIG["patches"], "evaluation": {"runtime": False},
    })  # fmt: skip
    benchmark.check(config)
    chosen = benchmark.resolve(config, "mine_x4")
    for item in scenes:
        pair_files.make(chosen, item, chosen.path(paths.PAIR, item=item))
    for fold in chosen.folds:
        patch_files.make(fold, fold.path(paths.PATCHES))
    return chosen


def test_a_study_gives_mean_and_spread(study, capsys):
    train(study.config)
    found = evaluation.evaluate(study.config)["mine_x4"]
    read = [results.read(fold.path(paths.RESULTS), results.Results) for fold in study.folds]
    for name, model in found.models.items():
        psnr = [one.models[name].mean["psnr"] for one in read]
        assert len(set(psnr)) == 3 and [fold["psnr"] for fold in model.folds.values()] == psnr
        assert (model.mean["psnr"], model.fold_std["psnr"]) == pytest.approx((np.mean(psnr), np.std(psnr, ddof=1)))
        assert list(model.scenes) == [f"s{number}" for number in range(6)]
    tiny = found.models["tiny"]
    assert list(tiny.seeds) == ["0", "1"]
    expected = np.mean([one.models["tiny"].seeds["1"]["psnr"] for one in read])
    assert tiny.seeds["1"]["psnr"] == pytest.approx(expected)
    assert found.folds == {str(one.fold): {part: names(one.parts, part) for part in one.parts} for one in study.folds}
    assert found.parts["test"] == [f"s{number}" for number in range(6)] and found.parts["train"] == []

    print_table({"mine_x4": found})
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "convention mulsr, 3 folds" in said
        and "means over the folds" in said
        and f"\u00b1 {tiny.fold_std['psnr']:.2f}" in said
    )
    assert "6 scenes, each in the one of 3 folds that tests it" in meaning(found)

    page = content.read(study, 4)
    assert [scene.name for scene in page.scenes] == ["s0", "s1", "s2", "s3"] and len(page.histories) == 6
    assert tables.scores(found).rows["bicubic"][0].addition == f"\u00b1 {found.models['bicubic'].fold_std['psnr']:.2f}"
    facts = dict(words.facts(study, found))
    assert facts["Folds"].startswith("3, dealt with seed 0;") and facts["Test"].startswith("6 scenes: ")

    other = found.model_copy(update={"folds": {**found.folds, "1": found.folds["2"]}})
    results.write("other.json", other)
    with pytest.raises(HsisrError, match="they deal the scenes into other folds"):
        compare(study.path(paths.RESULTS), "other.json")
    Path(study.folds[1].path(paths.RESULTS)).unlink()
    with pytest.raises(HsisrError, match="results/mine_x4-fold2.json: no such file"):
        evaluation.merge(study, "here")


@pytest.mark.parametrize("number", [0, -1, 5])
def test_folds_are_counted_from_one(number):
    with pytest.raises(HsisrError, match=f"there is no fold {number} of 4; folds are counted from 1"):
        datasets.fold("cave", number, 4)
