"""A wrong configuration is one line that names the key, the value and what is allowed; status 1, no traceback."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hsisr import config
from hsisr.errors import HsisrError
from hsisr.pipeline import benchmark
from tests.workflow.conftest import ROOT

CASES = {
    "unknown section": ({"trainning": {}}, "trainning: unknown key; did you mean training?"),
    "unknown key": ({"training": {"batchsize": 4}}, "training.batchsize: unknown key; did you mean batch_size?"),
    "negative patch": ({"patches": {"size_lr_px": -3}}, "patches.size_lr_px: -3 is not allowed"),
    "unknown model": (
        {"benchmarks": {"indian_pines_x4": {"models": ["mulsrr"]}}},
        "unknown model 'mulsrr'; did you mean mulsr? known: ",
    ),
    "odd scale": ({"benchmarks": {"indian_pines_x3": {"models": ["mulsr"]}}}, "scale"),
    "missing data set": ({"benchmarks": {"indian_pine_x4": {}}}, "indian_pine"),
    "unknown protocol": (
        {"benchmarks": {"indian_pines_x4_walt": {}}},
        "unknown protocol 'walt'; did you mean wald? known: ",
    ),
    "not a benchmark": ({"benchmarks": {"indian_pines": {}}}, "'indian_pines' is not a benchmark"),
    "impossible width": ({"models": {"mine": {"base": "mulsr", "width": 17}}}, "models.mine.width: 17"),
    "unknown option": ({"models": {"mine": {"base": "mulsr", "depth": 2}}}, "models.mine.depth: unknown key"),
    "unknown base": ({"models": {"mine": {"base": "mulsar"}}}, "models.mine.base: "),
    "no end of training": (
        {"models": {"mine": {"base": "mulsr", "training": {"epochs": None}}}},
        "models.mine.training: epochs or max_steps",
    ),
    "unknown scene": ({"scenes": {"cave": ["ballons"]}, "benchmarks": {"cave_x8": {}}}, "ballons"),
    "key named twice": ("report: {title: a}\nreport: {title: b}\n", "names report twice, lines 1 and 2"),
    "unknown split": (
        {"splits": {"cave": "usuall"}, "benchmarks": {"cave_x8": {}}},
        "unknown split 'usuall'; did you mean usual? known: ",
    ),
    "settings of a fold": (
        {"benchmarks": {"cave_x8": {"folds": 3}, "cave_x8-fold1": {"models": ["gsa"]}}},
        "benchmarks.cave_x8-fold1: a fold has the settings of benchmarks.cave_x8",
    ),
    "noise without a simulation": (
        {"benchmarks": {"roman_colosseum_x4_full": {"noise": 0.1}}},
        "roman_colosseum_x4_full.noise: protocol full simulates no image",
    ),
    "response without a guide": (
        {"benchmarks": {"cave_x4_mixup": {"response": "pan"}}},
        "cave_x4_mixup.response: protocol mixup makes no guide",
    ),
    "model without its guide": (
        {"benchmarks": {"cave_x8": {"models": ["bicubic", "gsa"], "response": "none"}}},
        "benchmarks.cave_x8.models: gsa needs a guide, and `response: none` leaves it out",
    ),
    "response of a data set": (
        {"datasets": {"cave": {"response": "pam"}}, "benchmarks": {"cave_x8": {}}},
        "datasets.cave.response: unknown response 'pam'; did you mean pan?",
    ),
    "switch for a number": ({"benchmarks": {"cave_x8": {"noise": True}}}, "cave_x8.noise: True is not allowed"),
    "switch for a seed": ({"models": {"mine": {"base": "mulsr", "seeds": [True]}}}, "models.mine.seeds: [True] is"),
    "switch for an option": ({"models": {"mine": {"base": "mulsr", "blocks": True}}}, "models.mine.blocks: True is"),
    "endless number": ({"benchmarks": {"cave_x8": {"noise": float("inf")}}}, "cave_x8.noise: inf is not allowed"),
    "seed twice": ({"models": {"mine": {"base": "mulsr", "seeds": [1, 1]}}}, "a seed is listed twice"),
    "unknown model of a prediction": (
        {"predict": {"mine": {"lr": "a.tif", "model": "prier"}}},
        "predict.mine.model: unknown model 'prier'; did you mean prior?",
    ),
    "run that nothing trains": (
        {"predict": {"mine": {"lr": "a.tif", "model": "runs/cave_x8/none/seed0"}}},
        "predict.mine.model: runs/cave_x8/none/seed0: cave_x8: no model 'none' in this benchmark; there are bicubic, ",
    ),
    "network of a prediction": (
        {"predict": {"mine": {"lr": "a.tif", "model": "mulsr"}}},
        "predict.mine.model: mulsr is a network; give its run folder or its model file",
    ),
    "micrometres": (
        {"datasets": {"cave": {"bands": 2, "wavelengths_nm": [0.4, 0.7]}}, "benchmarks": {"cave_x8": {}}},
        "datasets.cave.wavelengths_nm: [0.4, 0.7] is not allowed; 0.4 is no wavelength in nm",
    ),
    "wavelengths in words": (
        {"datasets": {"cave": {"wavelengths_nm": {"first": "blue", "last": "red"}}}, "benchmarks": {"cave_x8": {}}},
        "datasets.cave: wavelengths_nm: a rule needs exactly `first` and `last`, numbers",
    ),
    "no factor": (
        {"datasets": {"cave": {"scale": "1/0"}}, "benchmarks": {"cave_x8": {}}},
        "datasets.cave.scale: '1/0' is not allowed; expected a number above 0 such as 1/10000",
    ),
}


#: Cases that Snakemake is given as well: one that the sections refuse, one that the benchmarks refuse, one of a model,
#: and one that Snakemake would read in silence.
THROUGH_SNAKEMAKE = ("unknown key", "missing data set", "unknown option", "key named twice")


def written(tmp_path, case) -> Path:
    file = tmp_path / "wrong.yaml"
    content = CASES[case][0]
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return file


@pytest.mark.parametrize("case", CASES)
def test_wrong_configuration_is_refused(tmp_path, case):
    with pytest.raises(HsisrError) as caught:
        benchmark.check(config.load([ROOT / "config.yaml", written(tmp_path, case)]))
    assert CASES[case][1] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("case", THROUGH_SNAKEMAKE)
def test_wrong_configuration_is_one_line(finished, tmp_path, case):
    file, expected = written(tmp_path, case), CASES[case][1]
    planned = finished.snakemake("--dry-run", "--configfile", str(file), check=False)
    assert planned.returncode == 1
    lines = [line for line in planned.stdout.splitlines() if line.startswith("hsisr: error: ")]
    assert len(lines) == 1 and expected in lines[0], planned.stdout
    assert "Traceback" not in planned.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "indian_pines_x4", "nothing"], "no model 'nothing' in this benchmark; there are bicubic"),
        (["pairs", "indian_pines_x4", "nothing"], "no scene or region 'nothing'"),
        (["pairs", "x4"], "'x4' is not a benchmark"),
        (["fetch", "nothing"], "nothing"),
        (["table", "--config", "absent.yaml"], "absent.yaml: no such configuration file"),
        (["schema", "nothing"], "unknown schema 'nothing'; known: config, result"),
    ],
)
def test_wrong_command_is_one_line(finished, words, expected):
    done = finished.hsisr(*words, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("hsisr: error: ") and expected in done.stdout
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "\x00"])
def test_file_that_is_no_configuration(finished, tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    done = finished.hsisr("table", "--config", str(file), check=False)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 1 and "Traceback" not in done.stdout


@pytest.mark.parametrize("name", ["pairs/indian_pines_x4/indian_pines-test.h5", "patches/indian_pines_x4/train.h5"])
def test_damaged_intermediate_file_is_named(untrained, name):
    path = untrained.folder / "data" / name
    path.write_bytes(path.read_bytes()[:1000])
    step = ["train", "indian_pines_x4", "mulsr-demo"] if "patches" in name else ["evaluate", "indian_pines_x4", "gsa"]
    done = untrained.hsisr(*step, check=False)
    assert done.returncode == 1 and f"data/{name}: damaged" in done.stdout
    assert "Traceback" not in done.stdout


def test_make_adds_nothing_to_a_reason(tmp_path):
    """`make demo` with a Snakemake that fails: the last line is the reason, and the status is not 0."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    (programs / "snakemake").write_text("#!/bin/sh\necho 'hsisr: error: config.yaml: no such key' >&2\nexit 1\n")
    (programs / "snakemake").chmod(0o755)
    for name in ("pyproject.toml", "requirements.lock", "venv/bin/python", "venv/.demo"):
        (tmp_path / name).touch()
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # not make test's own
    done = subprocess.run(["make", "demo", "VENV=venv"], cwd=tmp_path, env=alone, capture_output=True, text=True)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).splitlines() == ["hsisr: error: config.yaml: no such key"]
