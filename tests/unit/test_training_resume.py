"""Interrupted anywhere, by SIGTERM or kill -9, training resumes to the same bytes."""

import os
import signal
import time

import numpy as np
import torch

from hsisr.pipeline import paths
from tests.unit import interrupted
from tests.unit.interrupted import Told, context

PHASES = ("step", "save", "validation")


def start(patches, folder, slowly=0.0):
    told = Told()
    process = context.Process(target=interrupted.train, args=(told, str(patches), str(folder), slowly))
    process.start()
    return process, told


def interrupt(process, told, number, phase, delay) -> str:
    """Send a signal a while after the run has entered a phase; returns the phase it was in, or finished."""
    end = time.monotonic() + 60
    time.sleep(delay)
    while told.phase != phase and process.is_alive():
        assert time.monotonic() < end, "the phase was not reached"
        time.sleep(0.0005)
    found = told.phase
    if process.is_alive():
        os.kill(process.pid, number)
    sent = time.monotonic()
    process.join(60)
    assert time.monotonic() - sent < 5, "it did not leave within seconds"
    return found


def test_interrupted_anywhere_and_resumed_equals_uninterrupted(small, tmp_path):
    signals = [(number, PHASES[k % 3]) for number in (signal.SIGTERM, signal.SIGKILL) for k in range(5)]
    patches = small.path(paths.PATCHES)
    process, _ = start(patches, tmp_path / "whole")
    process.join(60)
    expected = torch.load(tmp_path / "whole/final.pt", weights_only=True)

    rng = np.random.default_rng()
    delays, found = [float(rng.uniform(0, 0.25)) for _ in signals], []
    for (number, phase), delay in zip(signals, delays, strict=True):
        process, told = start(patches, tmp_path / "parts", slowly=0.01)
        found.append((number, interrupt(process, told, number, phase, delay)))
        assert process.exitcode == (3 if number == signal.SIGTERM else -signal.SIGKILL), found
    process, _ = start(patches, tmp_path / "parts")
    process.join(60)
    print("interrupted in:", ", ".join(f"{signal.Signals(n).name} {phase}" for n, phase in found))

    assert {phase for _, phase in found} == {phase for _, phase in signals}
    weights = torch.load(tmp_path / "parts/final.pt", weights_only=True)
    for name, value in expected.items():
        assert torch.equal(weights[name], value), (name, delays, found)
    assert not list((tmp_path / "parts/state").glob(".*tmp*")), "a killed write was left behind"
    columns = [
        np.genfromtxt(tmp_path / run / "history.csv", delimiter=",", names=True)[["step", "loss", "validation_psnr"]]
        for run in ("whole", "parts")
    ]
    np.testing.assert_array_equal(*columns)
