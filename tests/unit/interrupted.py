"""A training run in a process of its own that says where it is, so that tests can end it just there."""

import contextlib
import multiprocessing
import os
import time
from ctypes import c_char
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hsisr import files
from hsisr.config import Training
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import engine, fit, state
from hsisr.training.stopping import Interrupted

#: Phases that a run tells: idle before it trains, finished after.
PHASES = {"idle": b"i", "step": b"t", "save": b"s", "validation": b"v", "finished": b"f"}

TRAINING = Training(
    epochs=None,
    max_steps=60,
    batch_size=4,
    bands_per_step=2,
    accumulate=2,
    ema_decay=0.9,
    learning_rate=1e-3,
    validate_every_steps=7,
    save_every_seconds=0.05,
    workers=2,
    threads=1,
    device="cpu",
)

#: Processes that start in no time: this server has imported torch before it makes them, and computed nothing.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["torch", "lightning_fabric", "matplotlib", "tests.unit.interrupted"])


class Restless(nn.Module):
    """A network with everything that a resumed run could get wrong: running means, dropout, several steps a batch."""

    guide_channels = 0

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.3), nn.Conv2d(8, 1, 1)
        )

    def super_resolve_bands(self, lr: torch.Tensor, guide: torch.Tensor | None, bands: torch.Tensor) -> torch.Tensor:
        """lr (N, B, h, w), bands (K,) -> (N, K, H, W)."""
        images = lr[:, bands].flatten(0, 1)[:, None]
        images = nn.functional.interpolate(images + self.layers(images), scale_factor=self.scale)
        return images[:, 0].unflatten(0, (len(lr), -1))


class Told:
    """The phase of a run, in memory that it shares with the test."""

    def __init__(self) -> None:
        self.value = context.Value(c_char, PHASES["idle"], lock=False)

    @property
    def phase(self) -> str:
        """Where the run is."""
        now = self.value.value  # read once: it changes while it is compared
        return next(name for name, sign in PHASES.items() if sign == now)

    @contextlib.contextmanager
    def during(self, phase: str):
        """Say that a phase goes on, then what went on before."""
        before, self.value.value = self.value.value, PHASES[phase]
        yield
        self.value.value = before


def train(told: Told, patches: str, folder: str, slowly: float) -> None:
    """Train a Restless network, each phase drawn out by `slowly` seconds; its exit status is 3 if it was stopped."""
    patch_file = PatchFile(patches, seed=5)
    torch.manual_seed(1)
    network = Restless(patch_file.scale)
    take_step, save, write = engine.Run._take_step, state.save, files.os.fsync

    def slow_step(run, losses, shares):
        def drawn_out():
            for loss in losses:
                time.sleep(slowly)
                yield loss

        with told.during("step"):
            take_step(run, drawn_out(), shares)

    def slow_save(*words):
        with told.during("save"):
            time.sleep(slowly)
            save(*words)

    def slow_write(file):  # the temporary file is there, the state is still the one before
        time.sleep(slowly)
        write(file)

    def validate(network):
        with told.during("validation"):
            time.sleep(5 * slowly)
            torch.rand(3), np.random.rand(3)  # a validation may draw numbers, training is not to notice
            return -float(sum(p.abs().sum() for p in network.parameters()))

    engine.Run._take_step, state.save, files.os.fsync = slow_step, slow_save, slow_write
    try:
        fit(network, patch_file, folder, TRAINING, seed=5, validate=validate)
    except Interrupted:
        os._exit(3)
    torch.save({**network.state_dict(), "drawn": torch.rand(4)}, Path(folder) / "final.pt")
    told.value.value = PHASES["finished"]
