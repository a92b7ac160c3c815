"""Configuration: shipped files are valid, schemas are in step, errors are one line."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from hsisr import config
from hsisr.errors import HsisrError
from hsisr.evaluation import results
from hsisr.pipeline import benchmark, steps

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "workflow/presets").glob("*.yaml"))


def test_shipped_configuration_is_valid():
    benchmark.check(config.load(ROOT / "config.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_are_valid(preset):
    benchmark.check(config.load([ROOT / "config.yaml", preset]))


@pytest.mark.parametrize(("name", "schema"), [("config", config.json_schema), ("result", results.json_schema)])
def test_exported_schema_is_in_step(name, schema):
    exported = yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text())
    assert exported == json.loads(json.dumps(schema())), (
        f"run: hsisr schema {name} > workflow/schemas/{name}.schema.yaml"
    )


def test_shipped_configuration_follows_the_exported_schema():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    jsonschema.validate(yaml.safe_load((ROOT / "config.yaml").read_text()), schema)


def test_files_merge_by_section_and_the_last_wins(tmp_path):
    (tmp_path / "a.yaml").write_text("training: {batch_size: 4, beta1: 0.8}\nsources: {cave: /a}\n")
    (tmp_path / "b.yaml").write_text("training: {batch_size: 8}\n")
    merged = config.load([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert (merged.training.batch_size, merged.training.beta1, merged.sources) == (8, 0.8, {"cave": "/a"})


@pytest.mark.parametrize(
    "text, where",
    [
        ("report: {scenes: 2}\nmodels:\nreport: {title: x}\n", "report twice, lines 1 and 3"),
        ("a: {b: 1, b: 1}", "b twice, line 1"),
    ],
)
def test_a_key_that_is_named_twice_is_refused(tmp_path, text, where):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(HsisrError, match=f"a.yaml: names {where}; keep one"):
        config.load(tmp_path / "a.yaml")


def test_emptied_sections_mean_defaults(tmp_path):
    (tmp_path / "a.yaml").write_text("models:\nsources:\nbenchmarks: {cave_x8: }\n")
    merged = config.load(tmp_path / "a.yaml")
    assert merged.models == {} and merged.benchmarks["cave_x8"].models is None


def test_defaults_of_training_are_the_published_protocol():
    training = config.Training()
    assert (training.epochs, training.batch_size, training.bands_per_step, training.visit) == (200, 32, 1, "all")
    assert (training.learning_rate, training.beta2, training.schedule.every_epochs) == (1e-4, 0.99, 30)


def test_only_the_given_keys_of_patches_and_of_training_change():
    """Of a benchmark's patches, and of the sections inside a model's training; {} puts back the defaults."""
    content = {
        "patches": {"size_lr_px": 6},
        "training": {"schedule": {"kind": "cosine", "warmup_steps": 9}, "objectives": {"mixup": {"count": 2}}},
        "models": {
            "one": {"base": "mulsr", "training": {"schedule": {"warmup_steps": 3}}},
            "two": {"base": "mulsr", "training": {"schedule": {}, "objectives": {}}},
        },
        "benchmarks": {"cave_x8": {"models": ["one", "two"], "patches": {"stride_lr_px": 2}}},
    }
    chosen = benchmark.resolve(config.Config.parse(content), "cave_x8")
    assert (chosen.patches.size_lr_px, chosen.patches.stride_lr_px) == (6, 2)
    one, two = (chosen.model(name).training for name in ("one", "two"))
    assert (one.schedule.kind, one.schedule.warmup_steps, one.objectives.mixup.count) == ("cosine", 3, 2)
    assert two.schedule == config.Schedule() and two.objectives == config.Objectives()


def test_benchmark_takes_what_is_left_out_from_the_catalogue():
    chosen = benchmark.resolve(config.Config(), "cave_x8")
    assert (chosen.dataset, chosen.scale, chosen.protocol, chosen.response) == ("cave", 8, "mulsr", "nikon_d700")
    assert list(chosen.models) == list(benchmark.DEFAULT_MODELS) and chosen.convention == "mulsr"
    assert len(chosen.parts["test"]) == 12


def test_benchmark_chooses_another_convention(tmp_path):
    (tmp_path / "field.tif").write_text("x")
    own = {"mine": {"path": str(tmp_path)}}
    choices = dict.fromkeys(("cave_x8", "mine_x4_wald", "mine_x4_full"), {"convention": "plain"})
    parsed = config.Config.parse({"datasets": own, "benchmarks": choices})
    published, mine = benchmark.resolve(parsed, "cave_x8"), benchmark.resolve(parsed, "mine_x4_wald")
    assert (published.convention, published.peak, mine.convention, mine.peak) == ("plain", 1.0, "plain", None)
    assert benchmark.resolve(parsed, "mine_x4_full").convention is None
    before = benchmark.resolve(config.Config(), "cave_x8")
    assert steps.scoring(published, "bicubic").settings["convention"] == "plain"
    assert "convention" not in steps.scoring(before, "bicubic").settings
    with pytest.raises(HsisrError, match=r"benchmarks.cave_x8.convention: 'mine' is not known; choose one of mulsr"):
        benchmark.resolve(config.Config.parse({"benchmarks": {"cave_x8": {"convention": "mine"}}}), "cave_x8")


def test_data_set_names_may_hold_what_looks_like_a_scale():
    match = benchmark.NAME.match("set_x2_b_x4_mulsr-aligned")
    assert match.group("dataset", "scale", "protocol") == ("set_x2_b", "4", "mulsr-aligned")


def test_settings_change_with_what_the_step_reads_and_with_nothing_else():
    def settings(step, **change):
        parsed = config.Config.parse({"models": {"m": {"base": "mulsr"}}, **change})
        chosen = benchmark.resolve(parsed, "cave_x8")
        made = {
            "pairs": lambda: steps.pairing(chosen, "balloons"),
            "patches": lambda: steps.cutting(chosen),
            "train": lambda: steps.training(chosen, "mulsr", 0),
        }
        return made[step]().settings

    other_training = {"training": {"batch_size": 1}}
    assert settings("pairs") == settings("pairs", **other_training)
    assert settings("patches") == settings("patches", **other_training)
    assert settings("train") != settings("train", **other_training)
    assert settings("patches") != settings("patches", patches={"size_lr_px": 16})
    assert settings("train") == settings("train", report={"title": "x"})


def test_error_counts_what_follows_the_first():
    with pytest.raises(HsisrError, match=r"1 more problems? after this one"):
        config.Config.parse({"training": {"batch_size": 0, "beta1": 2}})
