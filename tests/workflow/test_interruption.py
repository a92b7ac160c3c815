"""Killed at any moment, the same command ends with the same result; equal runs give equal bytes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import Project, copy_project

RESULTS = "results/indian_pines_x4.json"
RUN = "runs/indian_pines_x4/mulsr-demo/seed0"
WEIGHTS = f"{RUN}/model.safetensors"


def comparable(project: Project) -> str:
    """A results file without the two fields that may differ."""
    results = json.loads((project.folder / RESULTS).read_text())
    del results["environment"]
    for model in results["models"].values():
        del model["timing"]
    return json.dumps(results)


def wait_for(condition, seconds: float = 120) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def trainer_pid(project: Project) -> int | None:
    """Process that trains in the project now."""
    lock = project.folder / RUN / "state/lock"
    if not lock.is_file() or not (words := lock.read_text().split()):
        return None
    return int(words[0]) if Path(f"/proc/{words[0]}").exists() else None


def steps_saved(project: Project) -> bool:
    return (project.folder / RUN / "state/last.pt").is_file()


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> str:
    """The result of a run that nothing disturbs, with the settings of the disturbed ones."""
    project = slow_down(copy_project(tmp_path_factory.mktemp("reference")))
    project.snakemake(RESULTS, "--cores", "2")
    return comparable(project)


def slow_down(project: Project) -> Project:
    """Let it train for some seconds and save its state after every batch."""
    project.configure(scores_only=True, max_steps=40, validate_every_steps=10, save_every_seconds=1e-6)
    return project


def start(project: Project, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_equal_runs_give_equal_bytes(project, finished):
    project.snakemake(RESULTS, "--cores", "2")
    assert comparable(project) == comparable(finished)


def test_killed_trainer_ends_with_the_same_result(project, reference):
    slow_down(project)
    workflow = start(project, "snakemake", RESULTS, "--cores", "2")
    wait_for(lambda: steps_saved(project) and trainer_pid(project))
    os.kill(trainer_pid(project), signal.SIGKILL)
    assert workflow.wait(120) != 0
    assert not (project.folder / WEIGHTS).exists()
    done = project.snakemake(RESULTS, "--cores", "2")
    assert re.search(r"resumes at step \d+ of 40", done.stdout)
    assert comparable(project) == reference


def test_killed_snakemake_leaves_an_orphan_that_is_not_joined(project, reference):
    slow_down(project)
    workflow = start(project, "snakemake", RESULTS, "--cores", "2")
    wait_for(lambda: steps_saved(project) and trainer_pid(project))
    orphan = trainer_pid(project)
    os.kill(orphan, signal.SIGSTOP)  # keep it alive and in possession of the lock
    workflow.kill()
    workflow.wait(30)

    locked = project.snakemake(RESULTS, "--cores", "2", check=False)
    assert locked.returncode != 0 and "unlock" in locked.stdout
    project.snakemake("--unlock")
    refused = project.snakemake(RESULTS, "--cores", "2", check=False)
    assert refused.returncode != 0
    assert f"process {orphan} is training here" in refused.stdout

    os.kill(orphan, signal.SIGKILL)
    wait_for(lambda: trainer_pid(project) is None)
    project.snakemake(RESULTS, "--cores", "2")
    assert comparable(project) == reference


def test_sigterm_saves_and_says_so(project):
    project.configure(max_steps=10_000, validate_every_steps=5_000, save_every_seconds=3600)
    project.snakemake(
        "data/patches/indian_pines_x4/train.h5", "data/pairs/indian_pines_x4/indian_pines-validation.h5", "--cores", "2"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-m", "hsisr", "train", "indian_pines_x4", "mulsr-demo"],
        cwd=project.folder,
        env=project.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: trainer_pid(project))
    time.sleep(3)
    trainer.send_signal(signal.SIGTERM)
    _, errors = trainer.communicate(timeout=60)
    assert trainer.returncode == 1
    assert re.search(r"stopped at step \d+ of 10000; the same command resumes", errors)
    assert "Traceback" not in errors and steps_saved(project)


def test_half_written_state_is_refused_not_used(project):
    project.snakemake(WEIGHTS, "--cores", "2")
    state = project.folder / RUN / "state/last.pt"
    state.write_bytes(state.read_bytes()[:1000])
    done = project.hsisr("train", "indian_pines_x4", "mulsr-demo", check=False)
    assert done.returncode == 1 and "damaged training state" in done.stdout and "Traceback" not in done.stdout


def test_state_of_other_settings_is_set_aside(project):
    project.snakemake(WEIGHTS, "--cores", "2")
    project.configure(max_steps=4)
    project.hsisr("train", "indian_pines_x4", "mulsr-demo")
    summary = json.loads((project.folder / RUN / "train.json").read_text())
    assert summary["steps"] == 4
    assert len(list((project.folder / RUN / "state").glob("last.pt.*"))) == 1
