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

from tests.workflow.conftest import Project

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


@pytest.fixture
def careful(untrained) -> Project:
    """A project in which training saves its state after every batch, which changes no result."""
    untrained.configure(save_every_seconds=1e-6)
    return untrained


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


def test_killed_trainer_ends_with_the_same_result(careful, scored):
    workflow = start(careful, "snakemake", RESULTS, "--cores", "2")
    wait_for(lambda: steps_saved(careful) and trainer_pid(careful))
    os.kill(trainer_pid(careful), signal.SIGKILL)
    assert workflow.wait(120) != 0
    assert not (careful.folder / WEIGHTS).exists()
    done = careful.snakemake(RESULTS, "--cores", "2")
    assert re.search(r"resumes at step \d+ of 6", done.stdout)
    assert comparable(careful) == comparable(scored)


def test_killed_snakemake_leaves_an_orphan_that_is_not_joined(careful, scored):
    workflow = start(careful, "snakemake", RESULTS, "--cores", "2")
    wait_for(lambda: steps_saved(careful) and trainer_pid(careful))
    orphan = trainer_pid(careful)
    os.kill(orphan, signal.SIGSTOP)  # keep it alive and in possession of the lock
    workflow.kill()
    workflow.wait(30)

    locked = careful.snakemake(RESULTS, "--cores", "2", check=False)
    assert locked.returncode != 0 and "unlock" in locked.stdout
    careful.snakemake("--unlock")
    refused = careful.snakemake(RESULTS, "--cores", "2", check=False)
    assert refused.returncode != 0
    assert f"process {orphan} is training here" in refused.stdout

    os.kill(orphan, signal.SIGKILL)
    wait_for(lambda: trainer_pid(careful) is None)
    careful.snakemake(RESULTS, "--cores", "2")
    assert comparable(careful) == comparable(scored)


def test_sigterm_saves_and_says_so(untrained):
    untrained.configure(max_steps=10_000, validate_every_steps=5_000, save_every_seconds=3600)
    trainer = subprocess.Popen(
        [sys.executable, "-m", "hsisr", "train", "indian_pines_x4", "mulsr-demo"],
        cwd=untrained.folder,
        env=untrained.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: trainer_pid(untrained))
    time.sleep(3)
    trainer.send_signal(signal.SIGTERM)
    _, errors = trainer.communicate(timeout=60)
    assert trainer.returncode == 1
    assert re.search(r"stopped at step \d+ of 10000; the same command resumes", errors)
    assert "Traceback" not in errors and steps_saved(untrained)


def test_half_written_state_is_refused_not_used(scored_copy):
    state = scored_copy.folder / RUN / "state/last.pt"
    state.write_bytes(state.read_bytes()[:1000])
    done = scored_copy.hsisr("train", "indian_pines_x4", "mulsr-demo", check=False)
    assert done.returncode == 1 and "damaged training state" in done.stdout and "Traceback" not in done.stdout


def test_state_of_other_settings_is_set_aside(scored_copy):
    scored_copy.configure(max_steps=4)
    scored_copy.hsisr("train", "indian_pines_x4", "mulsr-demo")
    summary = json.loads((scored_copy.folder / RUN / "train.json").read_text())
    assert summary["steps"] == 4
    assert len(list((scored_copy.folder / RUN / "state").glob("last.pt.*"))) == 1
