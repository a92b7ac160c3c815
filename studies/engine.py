"""The cost of the training engine: its steps per second against a bare loop with the same network and data.

    python studies/engine.py                 # a minute on one core
    python studies/engine.py --steps 310 --repeats 5

Both take the same batches of the same patch file through the same network, loss and Adam. The bare loop is a plain
program by hand: it has no state, no progress and no check of the loss. The two take turns. Ratios are medians of the
repeats' ratios, in wall time and in processor time, which other programs disturb less. Work done once in a run (start,
last save, last validation) is not a step, and is left out of both.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr.config import Training
from hsisr.models import MulSR
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import engine, fit
from hsisr.training.batches import Batch
from hsisr.training.objectives import Supervised
from studies.patches import make_patch_file

SCALE, BANDS = 4, 31
TRAINING = {"epochs": None, "batch_size": 4, "bands_per_step": 1, "threads": 1, "device": "cpu", "select": "last"}


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=31, help="optimiser steps of one repeat; 31 are a batch")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.h5"
        make_patch_file(path, count=64, bands=BANDS, size=12, scale=SCALE)
        rates: dict[str, list[tuple[float, float]]] = {"bare loop": [], "engine": []}
        for repeat in range(options.repeats + 1):
            for name, run in (("bare loop", bare), ("engine", ours)):
                rate = run(PatchFile(path), options.steps, Path(folder) / f"run{repeat}")
                if repeat:  # the first repeat warms up
                    rates[name].append(rate)
    print(f"torch {torch.__version__}, 1 thread, MulSR x{SCALE} of width 16, batches of 4, {options.steps} steps")
    for kind, unit in enumerate(("steps/s", "steps per second of processor time")):
        for name, values in rates.items():
            print(f"{name:10} {statistics.median(value[kind] for value in values):7.2f} {unit}")
        ratios = [a[kind] / b[kind] for a, b in zip(rates["engine"], rates["bare loop"], strict=True)]
        print(f"engine / bare loop: {100 * statistics.median(ratios):.1f} % (wanted: at least 97 %)")


def network() -> nn.Module:
    """The same network each time."""
    torch.manual_seed(0)
    return MulSR(SCALE, width=16, blocks=1)


def clocks() -> np.ndarray:
    """Wall time and processor time, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def bare(patches: PatchFile, steps: int, folder: Path) -> tuple[float, float]:
    """Steps per second of a loop written by hand, in wall time and in processor time."""
    settings, model = Training(max_steps=steps, **TRAINING), network()
    objective = Supervised(settings, 0, patches.rule)
    adam = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    done, number, start = 0, 0, clocks()
    while done < steps:
        samples = [patches[k] for k in range(4 * number, 4 * number + 4)]
        batch = Batch.of(samples, torch.device("cpu"))
        for loss in itertools.islice(objective.losses(model, batch, number), steps - done):
            loss.backward()
            adam.step()
            adam.zero_grad()
            done += 1
        number += 1
    return tuple(steps / (clocks() - start))


def ours(patches: PatchFile, steps: int, folder: Path) -> tuple[float, float]:
    """Steps per second of the engine, between its first batch and the end of its last."""
    spans: list[np.ndarray] = []
    train_on_batch = engine.Run._train_on_batch

    def timed(run: engine.Run) -> None:
        start = clocks()
        train_on_batch(run)
        spans.append(clocks() - start)

    engine.Run._train_on_batch = timed
    try:
        fit(network(), patches, folder, Training(max_steps=steps, validate_every_steps=steps, **TRAINING))
    finally:
        engine.Run._train_on_batch = train_on_batch
    return tuple(steps / sum(spans))


if __name__ == "__main__":
    main()
