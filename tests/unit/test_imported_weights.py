"""Weights that exist, in a benchmark: scored, costed and reported beside what is trained here."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hsisr import evaluation, inference, metrics, report
from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.files import file_hash, read_json
from hsisr.models import load_official, registry
from hsisr.pipeline import benchmark, pair_files, paths, steps
from hsisr.training import train, train_one
from tests.unit.conftest import CONFIG
from tests.unit.plain_mulsr import PlainMulSR


@pytest.fixture
def checkpoint(small, tmp_path) -> Path:
    """Random weights in the authors' layout, as their program writes them."""
    torch.manual_seed(4)
    path = tmp_path / "epoch_200.pth"
    weights = {f"module.{key}": value for key, value in PlainMulSR(4).state_dict().items()}
    torch.save({"epoch": 200, "model": weights, "optimizer": {"state": {}}}, path)
    return path


def with_weights(path: Path, **recipe) -> benchmark.Benchmark:
    published = {"base": "mulsr", "weights": str(path), **recipe}
    content = CONFIG | {
        "models": CONFIG["models"] | {"published": published},
        "benchmarks": {"indian_pines_x4": {"models": ["bicubic", "published", "tiny"]}},
        "evaluation": {"classification": False},
    }
    config = Config.parse(content)
    benchmark.check(config)
    return benchmark.resolve(config, "indian_pines_x4")


def test_published_checkpoint_is_a_row_of_results_and_report(small, checkpoint, tmp_path, one_thread):
    chosen = with_weights(checkpoint)
    folders = train(chosen.config)
    assert [folder.parent.name for folder in folders] == ["published", "tiny", "tiny"]
    summary = read_json(folders[0] / "train.json", "training")
    assert (summary["steps"], summary["parameters"]) == (0, 4635548)
    assert summary["source_sha256"] == file_hash(checkpoint)

    evaluation.evaluate_benchmark(chosen, "a command")
    row = json.loads(Path(chosen.path(paths.RESULTS)).read_text())["models"]["published"]
    assert row["weights"] == {"file": "epoch_200.pth", "sha256": file_hash(checkpoint)}
    assert row["training_steps"] == 0 and "training_seconds" not in row["timing"]
    assert row["flops_per_value"] > 1e5 and row["timing"]["seconds_per_megapixel_band"] > 0
    pair = pair_files.read(chosen.path(paths.PAIR, item="indian_pines-test"))
    network = load_official(registry.build("mulsr", 4, 5, 3), checkpoint)
    expected = metrics.score(pair.hr, inference.predict(network, pair.lr, pair.guide), 4, "mulsr")
    assert row["mean"]["psnr"] == pytest.approx(expected["psnr"], abs=1e-4)

    report.build([chosen], paths.REPORT, chosen.config.report, paths.FIGURES)
    page = Path(paths.REPORT).read_text()
    assert "Imported weights" in page and "published: epoch_200.pth" in page
    table = page[page.index("<table") :]
    assert "published" in table and "4,635,548" in table


def test_model_file_of_ours_is_taken_too(small, monkeypatch):
    folder = train_one(small, small.model("tiny"), seed=0)
    options = {
        key: value for key, value in CONFIG["models"]["tiny"].items() if key not in ("base", "seeds", "training")
    }
    elsewhere = inference.read_metadata(folder) | {"wavelengths_nm": [400.0, 410, 420, 430, 440]}
    inference.save_model(folder / "model.safetensors", inference.load_model(folder), elsewhere)
    chosen = with_weights(folder / "model.safetensors", **options)
    run = train_one(chosen, chosen.model("published"), seed=0)
    assert inference.read_metadata(run)["wavelengths_nm"][0] == 400
    ours, theirs = (inference.load_model(path).state_dict() for path in (folder, run))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    chosen = with_weights(folder / "model.safetensors")
    with pytest.raises(HsisrError, match="of another network: options .*; name what the file holds"):
        train_one(chosen, chosen.model("published"), seed=0)

    for foreign in ("text", {"dataset": "cave"}, {"dataset": "cave", "items": [{"x": 1}]}):
        damaged = folder.parent / "damaged.safetensors"
        inference.save_model(damaged, inference.load_model(folder), elsewhere | {"trained_on": foreign})
        with pytest.raises(HsisrError, match="damaged.safetensors"):
            train_one(with_weights(damaged, **options), with_weights(damaged, **options).model("published"), seed=0)

    learnt, tested = (chosen.parts[part][0] for part in ("train", "test"))
    exchanged = {"train": [tested], "validation": [], "test": [learnt], "unlabelled": []}
    monkeypatch.setattr(benchmark.Benchmark, "parts", exchanged)
    with pytest.raises(HsisrError, match="weights: learnt from indian_pines-train, which indian_pines_x4 tests;"):
        train_one(chosen, chosen.model("published"), seed=0)


def test_another_file_is_another_identity(small, checkpoint):
    chosen = with_weights(checkpoint)
    before = steps.scoring(chosen, "published").settings
    assert before["weights"] == file_hash(checkpoint) and "training" not in before
    train_one(chosen, chosen.model("published"), seed=0)
    torch.save({key: value + 1 for key, value in PlainMulSR(4).state_dict().items()}, checkpoint)
    chosen = with_weights(checkpoint)
    assert steps.scoring(chosen, "published").settings != before
    with pytest.raises(HsisrError, match="trained with other settings"):
        evaluation.evaluate_model(chosen, "published", "a command")


def test_weights_that_cannot_be_are_one_line(small, checkpoint, tmp_path):
    with pytest.raises(HsisrError, match=r"models.published.weights: .*absent.pth: no such file"):
        with_weights(tmp_path / "absent.pth")
    with pytest.raises(HsisrError, match=r"models.m.weights: .: no such file; name the file in it"):
        train(
            Config.parse(
                {"benchmarks": {"cave_x4": {"models": ["m"]}}, "models": {"m": {"base": "mulsr", "weights": "."}}}
            )
        )
    with pytest.raises(HsisrError, match=r"models.published.weights: gsa is no network"):
        with_weights(checkpoint, base="gsa")
    with pytest.raises(HsisrError, match=r"models.published.seeds: weights from a file are one run"):
        with_weights(checkpoint, seeds=[0, 1])
    chosen = with_weights(checkpoint, width=16)
    with pytest.raises(HsisrError, match="wrong shape: .*") as error:
        train_one(chosen, chosen.model("published"), seed=0)
    assert "\n" not in str(error.value)


def test_what_cannot_be_imported_is_one_line(checkpoint, tmp_path):
    ours, facts = tmp_path / "ours.safetensors", {"scale": 4, "bands": 5, "guide_channels": 3}
    inference.save_model(ours, registry.build("mulsr-xs", 4, 5, 3), {"base": "mulsr-xs", "options": {}, **facts})
    for file, base, bands, fault in (
        (ours, "mulsr-xs", 5, "ours.safetensors: is a model file of hsisr already, of mulsr-xs x4; use it"),
        (checkpoint, "gsa", 5, "model gsa: is no network"),
        (checkpoint, "mulsr", 0, "bands 0: expected"),
    ):
        with pytest.raises(HsisrError, match=fault):
            inference.import_checkpoint(file, base, 4, bands, tmp_path / "out.safetensors")


def test_weights_need_no_validation_part_and_no_objectives(small, checkpoint):
    chosen = with_weights(checkpoint)
    empty = replace(chosen)
    empty.parts["validation"].clear()
    empty.check_validation("published")
    with pytest.raises(HsisrError, match="no validation part"):
        empty.check_validation("tiny")
