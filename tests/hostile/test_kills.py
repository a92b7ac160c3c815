"""Steps that are killed at any moment: the next run gives the same bytes, and nothing stays behind."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .test_full_disk import STEPS, finished  # noqa: F401  # a fixture

#: Kills of each step: `HSISR_KILLS=10 pytest -m slow tests/hostile/test_kills.py`.
KILLS = int(os.environ.get("HSISR_KILLS", "2"))
#: What may differ between two equal runs.
_TIMED = ("history.csv", "training.png", "lock")


def start(words: list[str], folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-m", "hsisr", *words], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """File -> hash; of what holds times, that it is there."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        timed = file.name in _TIMED or file.suffix == ".json"
        found[file.relative_to(folder).as_posix()] = "" if timed else hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def debris(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".tmp-" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STEPS if name != "report"])
def test_a_killed_step_gives_the_same_bytes_and_leaves_nothing(name, finished, record_property):  # noqa: F811
    folder, words = STEPS[name]
    place = finished / folder
    lasted = timed(words, finished)
    whole = contents(place)
    inside = 0
    for number in range(KILLS):
        if name in ("fetch", "train"):  # which would see that there is nothing to do
            for file in [path for path in place.rglob("*") if path.is_file()]:
                file.unlink()
        process = start(words, finished)
        time.sleep(random.Random(number).uniform(0.2, 1) * lasted)
        if process.poll() is None:
            inside += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        timed(words, finished)
        assert contents(place) == whole
        assert debris(place) == []
    record_property("killed inside the step", inside)
    print(f"{name}: {inside} of {KILLS} killed before it had ended")


def timed(words: list[str], folder: Path) -> float:
    """Run a step to its end; returns its seconds."""
    began = time.monotonic()
    process = start(words, folder)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return time.monotonic() - began
