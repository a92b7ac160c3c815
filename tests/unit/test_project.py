"""A project of one's own: its configuration, the scenes that lie there, what travels in every installation."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hsisr import datasets, sources
from hsisr.config import Config, load
from hsisr.errors import HsisrError
from hsisr.pipeline import benchmark, project, resources
from hsisr.system import wait_passively
from tests.unit.fakes import FOLDER

ROOT = Path(__file__).parents[2]


def test_the_configuration_to_start_from_is_what_init_writes(tmp_path):
    project.create(tmp_path / "study")
    written = (tmp_path / "study/config.yaml").read_text()
    assert (ROOT / "config/config.yaml").read_text() == written, "run: hsisr init X && cp X/config.yaml config/"
    assert (tmp_path / "study/profiles/slurm/config.yaml").is_file()


def cave(folder: Path, *scenes: str) -> Path:
    """Files in the published layout of CAVE, empty: only their names are looked at."""
    for scene in scenes:
        inner = folder / f"{scene}_ms" / f"{scene}_ms"
        inner.mkdir(parents=True)
        for band in range(1, 32):
            (inner / f"{scene}_ms_{band:02}.png").touch()
    return folder


def test_scenes_are_those_that_lie_there(tmp_path):
    source = cave(tmp_path / "CAVE", "balloons", "feathers", "face", "watercolors")
    assert datasets.find_scenes("cave", str(source)) == ["balloons", "face", "feathers", "watercolors"]
    project.create(tmp_path / "study", "cave", str(source), scale=8)
    config = load(tmp_path / "study/config.yaml")
    assert config.scenes == {"cave": ["balloons", "face", "feathers", "watercolors"]}
    assert config.sources == {"cave": str(source)}
    chosen = benchmark.resolve(config, "cave_x8")
    assert {item.name for items in chosen.parts.values() for item in items} <= set(config.scenes["cave"])


def test_a_whole_data_set_needs_no_list(tmp_path):
    source = cave(tmp_path / "CAVE", *datasets.entry("cave").scenes)
    project.create(tmp_path / "study", "cave", str(source))
    assert "scenes:" not in (tmp_path / "study/config.yaml").read_text()


def test_what_cannot_be_seen_is_not_listed(tmp_path):
    assert datasets.find_scenes("cave", "https://example.org/cave.zip") is None
    (tmp_path / "cave.zip").write_bytes(b"PK\x03\x04")
    assert datasets.find_scenes("cave", str(tmp_path / "cave.zip")) is None
    assert datasets.find_scenes("chikusei", str(FOLDER / "chikusei")) is None  # an archive that is not unpacked


def test_data_without_a_guide_gets_models_that_need_none(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.Benchmark, "has_guide", property(lambda self: False))
    project.create(tmp_path / "study")
    models = yaml.safe_load((tmp_path / "study/config.yaml").read_text())["benchmarks"]["indian_pines_x4"]["models"]
    assert models == ["bicubic", "deepshare-10min"]


WRONG = {
    "no such folder": (("cave", "/nowhere", 4), "/nowhere: no such file or folder"),
    "an empty folder": (("cave", "{empty}", 4), "holds no scene of it; expected "),
    "an unknown data set": (("cavee", None, 4), "cavee"),
    "photographs": (("rgb_photos", None, 4), "photographs help training, nothing is compared on them"),
    "an impossible scale": ((None, None, 1), "scale 1 is not allowed"),
    "a file that is no archive": ((None, "{empty}/file", 4), "empty holds no scene of it; expected Indian_pines"),
    "too few scenes": (("cave", "{one}", 4), "cave: 1 training scenes; at least 2 are needed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_written_that_cannot_run(tmp_path, case):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").write_text("no archive")
    (dataset, source, scale), expected = WRONG[case]
    places = {"empty": tmp_path / "empty", "one": cave(tmp_path / "one", "balloons")}
    with pytest.raises(HsisrError, match=re.escape(expected)):
        project.create(tmp_path / "study", dataset, source and source.format(**places), scale)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("present", ["Snakefile", "config.yaml", "README.md", "profiles/default/config.yaml"])
def test_nothing_is_overwritten(tmp_path, present):
    (tmp_path / present).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / present).write_text("mine")
    with pytest.raises(HsisrError, match="is there already, and is not overwritten"):
        project.create(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / present]


def test_folders_lie_in_the_package_or_beside_it(tmp_path, monkeypatch):
    """csrc, workflow and profiles: in a checkout, and as they travel in the wheel; with the same names of sources."""
    assert sources.workflow_folder() == ROOT / "workflow" and sources.profiles_folder() == ROOT / "profiles"
    package = tmp_path / "site-packages/hsisr"
    shutil.copytree(sources.PACKAGE.folder, package, ignore=shutil.ignore_patterns("__pycache__"))
    installed = sources.Sources(package)
    ours = sources.PACKAGE.hashes(["hsisr.errors"], [ROOT / "csrc/layout.h"])
    monkeypatch.setattr(sources, "PACKAGE", installed)
    with pytest.raises(HsisrError, match="lacks the folder workflow; install hsisr again"):
        sources.workflow_folder()
    for name in ("csrc", "workflow", "profiles"):
        shutil.copytree(ROOT / name, package / f"_{name}")
    assert sources.workflow_folder() == package / "_workflow" and sources.csrc_folder() == package / "_csrc"
    assert installed.hashes(["hsisr.errors"], [package / "_csrc/layout.h"]) == ours
    assert set(ours) == {"hsisr/errors.py", "csrc/layout.h"}


def test_methods_that_are_not_trained_are_scored_on_one_thread():
    models = {"mine": {"base": "mulsr-xs", "training": {"threads": 3}}}
    config = Config.parse({"benchmarks": {"indian_pines_x4": {"models": ["prior", "mulsr", "mine"]}}, "models": models})
    chosen = benchmark.resolve(config, "indian_pines_x4").models
    no_limit = SimpleNamespace(get=lambda name: SimpleNamespace(value=None))
    workflow = SimpleNamespace(cores=8, global_resources=no_limit, local_exec=True, remote_exec=False)
    assert [resources.scoring_threads(chosen[name], workflow) for name in ("prior", "mulsr", "mine")] == [1, 8, 3]


def test_memory_is_that_of_the_process_alone():
    """Not also that of the program that started it."""
    held = b"x" * 300 * 2**20
    words = [sys.executable, "-c", "from hsisr.system import most_memory_mb; print(most_memory_mb())"]
    used = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    del held
    assert 5 < float(used) < 200


def test_threads_wait_passively_unless_told_otherwise(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OPENBLAS_THREAD_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    wait_passively()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"]) == ("PASSIVE", "0")
    assert os.environ["OPENBLAS_THREAD_TIMEOUT"] == "14"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
