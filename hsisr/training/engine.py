"""The training loop: batches in, optimiser steps, validation, a state to resume from, the finished model out."""

import csv
import io
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.files import write_text
from hsisr.patches import PatchFile
from hsisr.training import state
from hsisr.training.objectives import Batch, Iteration
from hsisr.training.progress import Progress
from hsisr.training.schedules import learning_rate

HISTORY_COLUMNS = ("step", "epoch", "loss", "validation_psnr", "learning_rate", "seconds")


class Interrupted(HsisrError):
    """Training was asked to stop (SIGINT or SIGTERM) and left a state to resume from."""


@dataclass
class Run:
    """A training run that can stop after any batch and go on from there with the same result.

    model: the network, on its device. patches: the labelled samples. objective: what is done with a batch of them.
    settings: what defines the run; a state of other settings is not used. validate: PSNR in dB of the validation
    part, called with the model in eval mode.
    """

    folder: Path
    model: nn.Module
    patches: PatchFile
    objective: Iteration
    training: Training
    settings: dict[str, Any]
    validate: Callable[[nn.Module], float]
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_psnr: float = -math.inf
    best_step: int = 0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.training
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=True
        )
        self.device = next(self.model.parameters()).device
        self.samples_per_epoch = self.objective.samples_per_epoch(len(self.patches))
        self.fraction_done = 0.0  # of the batch under way
        self.total_steps = self._count_steps()
        self.total_epochs = math.inf if settings.epochs is None else settings.epochs
        self.losses_since_row: list[float] = []

    def train(self) -> None:
        """Train to the end; afterwards the model holds the selected weights.

        Raises Interrupted after SIGINT or SIGTERM, and HsisrError if the loss is not a number.
        """
        self._resume()
        last_save = time.monotonic()
        with _stop_requests() as stop, Progress(self.total_steps, self.step) as progress:
            for samples in self.patches.batches(self.training.batch_size, self.batch):
                if self.step >= self.total_steps:
                    break
                started = time.monotonic()
                self._train_on(Batch.of(samples, self.device))
                if self._validation_due() or self.step >= self.total_steps:
                    self._validate()
                self.seconds += time.monotonic() - started
                progress.update(self.step, self.losses_since_row or [self.history[-1][2]], self.history)
                if stop:
                    self._save()
                    raise Interrupted(
                        f"{self.folder}: stopped at step {self.step} of {self.total_steps}; the same command resumes"
                    )
                if time.monotonic() - last_save > self.training.save_every_seconds:
                    self._save()
                    last_save = time.monotonic()
        self._save()
        if self.training.select == "validation":
            self.model.load_state_dict(self.best_weights)

    def history_csv(self) -> str:
        """The rows of the history: one per validation."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        writer.writerows(self.history)
        return text.getvalue()

    def _train_on(self, batch: Batch) -> None:
        self.model.train()
        count = self.objective.step_count(self.model, self.patches.bands, self.epoch)
        for done, losses in enumerate(self.objective.steps(self.model, batch, self.batch, self.epoch)):
            self.fraction_done = done / count
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate()
            self.optimiser.zero_grad(set_to_none=True)
            for name, loss in losses:
                self._record(name, loss.item())
                loss.backward()
            if self.training.clip_gradient is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_gradient)
            self.optimiser.step()
            self.step += 1
            if self.step >= self.total_steps:
                break
        self.batch += 1
        self.fraction_done = 0.0

    def _record(self, objective: str, loss: float) -> None:
        """Keep the losses on labelled patches, the ones to compare runs by. Raises HsisrError if it is no number."""
        if objective == "labelled":
            self.losses_since_row.append(loss)
        if math.isfinite(loss):
            return
        if objective == "labelled":
            first = self.batch * self.training.batch_size
            scenes = {self.patches.scene_of(first + n) for n in range(self.training.batch_size)}
            where = f"on patches of {', '.join(sorted(scenes))}"
        else:
            where = f"in the objective {objective}"
        raise HsisrError(
            f"{self.folder}: the loss became {loss} at step {self.step}, {where}; lower training.learning_rate or "
            "check the data"
        )

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction of the one under way."""
        return (self.batch + self.fraction_done) * self.training.batch_size / self.samples_per_epoch

    def _count_steps(self) -> int:
        """Optimiser steps of the whole run; objectives that start or stop make their number differ between batches."""
        settings = self.training
        if settings.epochs is None:
            return settings.max_steps
        epochs_per_batch = settings.batch_size / self.samples_per_epoch
        batches = round(settings.epochs / epochs_per_batch, 9)
        steps = [
            self.objective.step_count(self.model, self.patches.bands, number * epochs_per_batch)
            for number in range(math.ceil(batches))
        ]
        total = sum(steps[: math.floor(batches)])
        if len(steps) > math.floor(batches):  # the last batch ends with its epoch
            total += math.ceil((batches - math.floor(batches)) * steps[-1])
        return total if settings.max_steps is None else min(total, settings.max_steps)

    def _learning_rate(self) -> float:
        training = self.training
        return learning_rate(
            training.learning_rate, training.schedule, self.step, self.epoch, self.total_steps, self.total_epochs
        )

    def _validation_due(self) -> bool:
        done = self.history[-1][0] if self.history else 0
        return self.step // self.training.validate_every_steps > done // self.training.validate_every_steps

    def _validate(self) -> None:
        self.model.eval()
        psnr = self.validate(self.model)
        if psnr > self.best_psnr:
            self.best_psnr, self.best_step = psnr, self.step
            self.best_weights = {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}
        loss = sum(self.losses_since_row) / max(1, len(self.losses_since_row))
        rate = self._learning_rate()
        self.history.append([self.step, round(self.epoch, 4), loss, psnr, rate, round(self.seconds, 1)])
        self.losses_since_row = []
        write_text(self.folder / "history.csv", self.history_csv())

    def _save(self) -> None:
        content = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
            **{name: getattr(self, name) for name in _PROGRESS},
        }
        state.save(self.folder, self.settings, content)

    def _resume(self) -> None:
        content = state.load(self.folder, self.settings)
        if content is None:
            return
        self.model.load_state_dict(content["model"])
        self.optimiser.load_state_dict(content["optimiser"])
        torch.set_rng_state(content["torch_rng"])
        for name in _PROGRESS:
            setattr(self, name, content[name])


#: Attributes of a run that its state holds beside weights and optimiser.
_PROGRESS = (
    "batch",
    "step",
    "seconds",
    "best_psnr",
    "best_step",
    "best_weights",
    "history",
    "losses_since_row",
)


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that receives SIGINT and SIGTERM instead of the process, so that a batch can end first."""
    received: list[int] = []
    try:
        previous = {
            number: signal.signal(number, lambda signum, frame: received.append(signum))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not the main thread: the program that called us handles its signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
