"""Killed at any moment, the same command ends with the same result; equal runs give equal bytes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from hsisr.training.state import save
from tests.workflow.conftest import Project

RESULTS = "results/indian_pines_x4.json"
RUN = "runs/indian_pines_x4/mulsr-demo/seed0"
WEIGHTS = f"{RUN}/model.safetensors"
#: Training settings that save the state after every batch; no result depends on them.
CAREFUL = {"save_every_seconds": 1e-6}


def comparable(project: Project) -> str:
    """A results file without the two fields that may differ."""
    results = json.loads((project.folder / RESULTS).read_text())
    del results["environment"]
    for model in results["models"].values():
        del model["timing"]
    return json.dumps(results)


def weights(project: Project) -> bytes:
    """The model file, from which the results follow."""
    return (project.folder / WEIGHTS).read_bytes()


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


def start(project: Project, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_second_run_gives_equal_bytes_even_if_its_trainer_is_killed(project, scored):
    project.configure(scores_only=True, **CAREFUL)
    workflow = start(project, "snakemake", RESULTS, "--cores", "2")
    wait_for(lambda: steps_saved(project) and trainer_pid(project))
    os.kill(trainer_pid(project), signal.SIGKILL)
    assert workflow.wait(120) != 0
    assert not (project.folder / WEIGHTS).exists()
    done = project.snakemake(RESULTS, "--cores", "2")
    assert re.search(r"resumes at step \d+ of 6", done.stdout)
    assert comparable(project) == comparable(scored)
    assert weights(project) == weights(scored)


def test_killed_snakemake_leaves_an_orphan_that_is_not_joined(untrained, scored):
    untrained.configure(**CAREFUL)
    workflow = start(untrained, "snakemake", RESULTS, "--cores", "2")
    wait_for(lambda: steps_saved(untrained) and trainer_pid(untrained))
    orphan = trainer_pid(untrained)
    os.kill(orphan, signal.SIGSTOP)  # keep it alive and in possession of the lock
    workflow.kill()
    workflow.wait(30)

    locked = untrained.snakemake(RESULTS, "--cores", "2", check=False)
    assert locked.returncode != 0 and "unlock" in locked.stdout
    untrained.snakemake("--unlock")
    refused = untrained.snakemake(RESULTS, "--cores", "2", check=False)
    assert refused.returncode != 0
    assert f"process {orphan} is training here" in refused.stdout

    os.kill(orphan, signal.SIGKILL)
    wait_for(lambda: trainer_pid(untrained) is None)
    untrained.snakemake(WEIGHTS, "--cores", "2")
    assert weights(untrained) == weights(scored)


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
    assert not state.exists()  # a finished run keeps none
    save(scored_copy.folder / RUN, {"settings": {}}, {"step": 3})
    state.write_bytes(state.read_bytes()[:1000])
    done = scored_copy.hsisr("train", "indian_pines_x4", "mulsr-demo", check=False)
    assert done.returncode == 1 and "damaged training state" in done.stdout and "Traceback" not in done.stdout


def test_state_of_other_settings_is_set_aside(scored_copy):
    scored_copy.configure(max_steps=4)
    known = json.loads((scored_copy.folder / RUN / "train.json").read_text())
    save(
        scored_copy.folder / RUN,
        {"step": "train"} | {key: known[key] for key in ("settings", "code", "data")},
        {"step": 3},
    )
    said = scored_copy.hsisr("train", "indian_pines_x4", "mulsr-demo").stdout
    assert "belongs to another run (" in said and "training.max_steps: 6, now 4" in said
    summary = json.loads((scored_copy.folder / RUN / "train.json").read_text())
    assert summary["steps"] == 4
    assert len(list((scored_copy.folder / RUN / "state").glob("last.pt.*"))) == 1
