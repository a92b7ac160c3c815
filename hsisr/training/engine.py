"""The training loop: it takes batches, makes optimiser steps, validates, saves its state, and ends with the model."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hsisr.config import Training
from hsisr.errors import HsisrError, notice
from hsisr.models.network import a_weight
from hsisr.samples import TrainingSamples
from hsisr.system import gpu_is_full
from hsisr.training import state
from hsisr.training.average import Average
from hsisr.training.feeding import Feed, worker_ended
from hsisr.training.generators import Before, generators, set_generators
from hsisr.training.gradients import average_over_processes
from hsisr.training.history import HISTORY_COLUMNS as HISTORY_COLUMNS
from hsisr.training.history import History
from hsisr.training.losses import Losses, NotFinite
from hsisr.training.objectives import Iteration
from hsisr.training.optimiser import build_optimiser
from hsisr.training.progress import Progress, memory_mb
from hsisr.training.schedules import learning_rate
from hsisr.training.stopping import Interrupted as Interrupted
from hsisr.training.stopping import StopRequested, StopRequests

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Run:
    """A training run. It can stop after any optimiser step and resume with the same result.

    fabric: device, precision and processes. model: the network, on the device. patches: the labelled samples. feed:
    their batches. objective: turns a batch into losses. identity: plain values that identify the run; a state with
    another identity is not used. unreadable: classes without a readable source. validate: returns the PSNR in dB of a
    network on the validation part; None without such a part.
    export: writes a network as a checkpoint to a path; None: no checkpoints.
    """

    fabric: "Fabric"
    folder: Path
    model: nn.Module
    patches: TrainingSamples
    feed: Feed
    objective: Iteration
    training: Training
    identity: dict[str, Any]
    validate: Callable[[nn.Module], float] | None = None
    export: Callable[[Path, nn.Module], None] | None = None
    unreadable: tuple[str, ...] = ()
    batch: int = 0
    steps_of_batch: int = 0
    step: int = 0
    seconds: float = 0.0
    #: The used part of `max_minutes`, the same in all processes.
    time_used: float = 0.0
    best_psnr: float = -math.inf
    best_step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    validations_since_best: int = 0

    def __post_init__(self) -> None:
        settings = self.training
        self.device = next(self.model.parameters()).device
        prepared = self.fabric.setup_optimizers(build_optimiser(self.model, settings))
        assert not isinstance(prepared, tuple)  # only one was given
        self.optimiser = prepared
        self.average = None if settings.ema_decay is None else Average(self.model, settings.ema_decay)
        self.losses = Losses()
        self.history = History(self.folder, [])
        self.stop = StopRequests(at_once=self.fabric.world_size == 1)
        self.samples_per_epoch = self.objective.samples_per_epoch(len(self.patches))
        self.total_steps = self._count_steps()
        self.total_epochs = math.inf if settings.epochs is None else settings.epochs
        self.total_seconds = math.inf if settings.max_minutes is None else 60 * settings.max_minutes
        self._before: Before | None = None
        self._at_row = (0.0, 0.0)
        self._stop_agreed = False
        self._saved = self._clock = time.monotonic()

    def train(self) -> None:
        """Train to the end. Afterwards, the model holds the selected weights.

        Raises Interrupted after SIGINT or SIGTERM, and HsisrError if the loss is not finite or the disk is full.
        """
        self._resume()
        self.model.train()  # a network that was loaded to predict is not in this mode
        with self.stop, Progress(self.total_steps, self.step, self.device, self.fabric.is_global_zero) as self.progress:
            try:
                while True:
                    if self._validation_due():
                        self._validate()
                    if self.finished:
                        break
                    self._train_on_batch()
            except StopRequested:
                self._leave()
            except torch.OutOfMemoryError:
                advice = "lower training.batch_size, or raise training.accumulate, which takes it in more parts"
                raise gpu_is_full(self.device, advice) from None
            except (RuntimeError, ConnectionError, EOFError) as error:
                if not worker_ended(error, self.feed.workers):
                    raise
                raise HsisrError(
                    f"{self.folder}: a process that prepares batches was ended from outside, as where memory is full; "
                    "the same command resumes, and training.workers says how many there are: fewer take less memory"
                ) from error
            finally:
                self.feed.close()
        self._save()
        self.model.load_state_dict(self._selected_weights())
        if not all(weight.isfinite().all() for weight in self.model.parameters() if weight.requires_grad):
            raise self._diverged(f"the weights became NaN or infinite at step {self.step}")
        for part in self.objective.parts:
            if part.setting is not None and part.setting.start_epoch >= self.epoch and self.fabric.is_global_zero:
                notice(
                    f"training.objectives.{part.name}: start_epoch {part.setting.start_epoch:g} was not reached, as "
                    f"training ended after {self.epoch:.3g} epochs; it taught nothing"
                )

    @property
    def network(self) -> nn.Module:
        """The network that is validated and kept: the trained one, or its moving average."""
        return self.model if self.average is None else self.average.network

    @property
    def epoch(self) -> float:
        """Finished epochs, with the fraction of the present one."""
        done = self.steps_of_batch and self.steps_of_batch / self._steps_in_batch()
        return (self.batch + done) * self.training.batch_size / self.samples_per_epoch

    @property
    def finished(self) -> bool:
        """Whether training has reached its end: by steps, time or patience."""
        patience = self.training.patience_validations
        tired = patience is not None and self.validations_since_best >= patience
        return self.step >= self.total_steps or self.time_used >= 1 or tired

    def _train_on_batch(self) -> None:
        with self.stop.interruptible():
            batch = self.feed.batch(self.batch, self.device, a_weight(self.model).dtype)
        count, shares = self._steps_in_batch(), self.training.accumulate
        steps = self.objective.steps(self.model, batch, self.batch, self._epoch_of_batch(), self.steps_of_batch, shares)
        for losses in steps:
            self._take_step(losses, shares)
            self.step += 1
            self.steps_of_batch += 1
            if self.steps_of_batch >= count:
                self.batch, self.steps_of_batch = self.batch + 1, 0
            self._before = None
            self._after_step()
            if self.finished:
                break

    def _take_step(self, losses: Iterable[tuple[str, Tensor]], shares: int) -> None:
        """One optimiser step. Until the optimiser changes the weights, every change can be undone."""
        self._before = Before(self.model, self.device)
        self.optimiser.zero_grad(set_to_none=True)
        taken: list[tuple[str, Tensor]] = []
        with self.stop.interruptible():
            losses = iter(losses)
            while True:
                with self.fabric.autocast():
                    found = next(losses, None)  # computes the next loss
                if found is None:
                    break
                name, loss = found
                taken.append((name, loss.detach()))
                self.fabric.backward(loss if shares == 1 else loss / shares)
        if self.fabric.world_size > 1:
            signs = [float(self.stop.requested), self.seconds / self.total_seconds]
            taken, (stop, self.time_used) = average_over_processes(self.fabric, self.model, taken, signs)
            self._stop_agreed = stop > 0
        self._record(taken)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        if self.training.clip_gradient is not None:
            self.fabric.clip_gradients(
                self.model, self.optimiser, max_norm=self.training.clip_gradient, error_if_nonfinite=False
            )
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.model, self.step + 1)

    def _after_step(self) -> None:
        """The work after a step, at a moment from which the run could resume."""
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        if self.fabric.world_size == 1:
            self.time_used = self.seconds / self.total_seconds
        if self.progress.due(self.step):
            self._read_losses()
            rows = self.history.rows
            loss = self.losses.mean() if self.losses.row or not rows else rows[-1][2]
            self.progress.update(self.step, loss, rows[-1][3] if rows else None, self.total_seconds - self.seconds)
        if self._stop_agreed or (self.stop.requested and self.fabric.world_size == 1):
            raise StopRequested
        if now - self._saved > self.training.save_every_seconds:
            self._save()

    def _record(self, losses: list[tuple[str, Tensor]]) -> None:
        """Record the losses of a step. Raises HsisrError if one is not finite."""
        try:
            self.losses.add(losses, self.step, self.batch)
        except NotFinite as error:
            raise self._not_finite(error) from None

    def _read_losses(self) -> None:
        try:
            self.losses.read()
        except NotFinite as error:
            raise self._not_finite(error) from None

    def _not_finite(self, error: NotFinite) -> HsisrError:
        where = f"in the objective {error.name}"
        if error.name == "labelled":
            first = error.batch * self.training.batch_size
            scenes = {self.patches.scene_of(first + n) for n in range(self.training.batch_size)}
            where = f"on patches of {', '.join(sorted(scenes))}"
        return self._diverged(f"{error}, {where}")

    def _diverged(self, what: str) -> HsisrError:
        best = self.folder / "checkpoints" / "best.safetensors"
        kept = f"; {best} holds the best weights so far" if self.best_step and best.is_file() else ""
        return HsisrError(f"{self.folder}: {what}; lower training.learning_rate or check the data{kept}")

    def _epoch_of_batch(self) -> float:
        return self.batch * self.training.batch_size / self.samples_per_epoch

    def _steps_in_batch(self) -> int:
        return self.objective.step_count(self.model, self.patches.bands, self._epoch_of_batch())

    def _count_steps(self) -> int:
        """Optimiser steps of the whole run. Their number differs between batches if objectives start or stop."""
        settings = self.training
        if settings.epochs is None:
            assert settings.max_steps is not None  # either steps or epochs are given
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
        total = max(1, total)
        return total if settings.max_steps is None else min(total, settings.max_steps)

    def _learning_rate(self) -> float:
        training = self.training
        return learning_rate(
            training.learning_rate,
            training.schedule,
            self.step,
            self.epoch,
            self.total_steps,
            self.total_epochs,
            self.time_used,
        )

    def _validation_due(self) -> bool:
        """Whether to validate: after the batch that reaches a multiple of `validate_every_steps`, and at the end."""
        done = self.history.rows[-1][0] if self.history.rows else 0
        if self.finished:
            return self.step > done
        every = self.training.validate_every_steps
        return self.steps_of_batch == 0 and self.step // every > done // every

    def _validate(self) -> None:
        self._read_losses()
        self._before = Before(self.model, self.device)
        psnr = None
        if self.validate is not None:
            with self.stop.interruptible():
                self.network.eval()
                psnr = self._psnr(self.validate) if self.fabric.is_global_zero else 0.0
                psnr = self.fabric.broadcast(psnr)
            self.model.train()
            self._before.restore(self.model)  # validation must not change later steps
        self._before = None
        self._keep(psnr)
        self._add_row(psnr)

    def _psnr(self, validate: Callable[[nn.Module], float]) -> float:
        """PSNR of the network, as a number of Python: a state holds no others. Raises HsisrError for none."""
        found = validate(self.network)
        try:
            psnr = float(found)
        except (TypeError, ValueError):
            raise HsisrError(f"validate: returned {found!r:.80}; expected the PSNR of the network, a number") from None
        if not psnr > -math.inf:
            raise self._diverged(f"validation gives {psnr} at step {self.step}")
        return psnr

    def _keep(self, psnr: float | None) -> None:
        """Keep the weights if they are the best so far."""
        better = psnr is not None and psnr > self.best_psnr
        self.validations_since_best = 0 if better or psnr is None else self.validations_since_best + 1
        if psnr is not None and better:
            self.best_psnr, self.best_step = psnr, self.step
            self.best_weights = _copy_weights(self.network)
        if self.export is not None and self.fabric.is_global_zero:
            self.export(self.folder / "checkpoints" / "last.safetensors", self.network)
            if better:
                self.export(self.folder / "checkpoints" / "best.safetensors", self.network)

    def _add_row(self, psnr: float | None) -> None:
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        patches, seconds = self.epoch * self.samples_per_epoch, self.seconds
        rate = (patches - self._at_row[0]) / max(1e-9, seconds - self._at_row[1])
        self._at_row = (patches, seconds)
        row = [self.step, round(self.epoch, 4), self.losses.mean(), psnr, self._learning_rate()]
        row += [round(self.seconds, 1), round(rate, 1), round(memory_mb(self.device), 1)]
        if self.fabric.is_global_zero:
            self.history.add(row, last=self.finished)
        else:
            self.history.rows.append(row)
        self.losses.row.clear()

    def _selected_weights(self) -> dict[str, Tensor]:
        if self.training.select == "validation" and self.validate is not None:
            return self.best_weights
        return _copy_weights(self.network)

    def _leave(self) -> None:
        """Save and end, wherever the signal came. Raises Interrupted."""
        if self._before is not None:
            self._before.restore(self.model)
        self._save()
        of = f" of {self.total_steps}" if math.isinf(self.total_seconds) else ""  # else the time ends the run
        raise Interrupted(f"{self.folder}: stopped at step {self.step}{of}; the same command resumes") from None

    def _save(self) -> None:
        self._read_losses()
        self._saved = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        content = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "generators": generators(self.device),
            "history": self.history.rows,
            "losses": self.losses.row,
            **{name: getattr(self, name) for name in _PROGRESS},
        }
        state.save(self.folder, self.identity, content)

    def _resume(self) -> None:
        content = state.load(self.folder, self.identity, self.unreadable) if self.fabric.is_global_zero else None
        content = self.fabric.broadcast(content) if self.fabric.world_size > 1 else content
        self._clock = time.monotonic()
        self._at_row = (0.0, 0.0)
        if content is None:
            return
        self.model.load_state_dict(content["model"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.fabric.strategy.precision.load_state_dict(content["precision"])
        if self.average is not None:
            self.average.network.load_state_dict(content["average"])
        set_generators(content["generators"], self.device)
        self.history.rows, self.losses.row = content["history"], content["losses"]
        for name in _PROGRESS:
            setattr(self, name, content[name])
        self.time_used = self.seconds / self.total_seconds
        self._at_row = (self.epoch * self.samples_per_epoch, self.seconds)


#: Attributes of a run that its state holds, beside weights and optimiser.
_PROGRESS = (
    "batch",
    "steps_of_batch",
    "step",
    "seconds",
    "best_psnr",
    "best_step",
    "best_weights",
    "validations_since_best",
)


def _copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
