"""Progress of a running training: a bar on a terminal, or a line from time to time in a log."""

import math
import sys
import time

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hsisr.screen import is_quiet
from hsisr.system import most_memory_mb

#: Seconds between lines without a terminal, and between updates of the bar on one.
LINE_EVERY_SECONDS = 10.0
BAR_EVERY_SECONDS = 0.1


class Progress:
    """Show step, loss, validation PSNR, rate, memory and time left. A context manager.

    shown: True only for the first of several processes. A closed terminal or log does not stop training.
    """

    def __init__(self, total_steps: int, done: int, device: torch.device, shown: bool = True) -> None:
        self.shown = shown and not is_quiet()
        self.total, self.first, self.device = total_steps, done, device
        self.started = self.looked = time.monotonic()
        self.on_terminal = self.shown and sys.stderr.isatty()
        self.bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self.on_terminal,
        )
        self.task = self.bar.add_task("", total=total_steps, completed=done, text="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        if self.first:
            self._say(f"training: resumes at step {self.first} of {self.total}")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.bar.stop()
        except OSError:
            self.shown = False

    def due(self, step: int) -> bool:
        """Whether an update is due. Asking costs next to nothing."""
        every = BAR_EVERY_SECONDS if self.on_terminal else LINE_EVERY_SECONDS
        return self.shown and (step >= self.total or time.monotonic() - self.looked > every)

    def update(self, step: int, loss: float, psnr: float | None, seconds_left: float = math.inf) -> None:
        """Show the state after `step`. loss: mean since the last validation. psnr: of the last validation.

        seconds_left: of a time budget, in which fewer steps may fit than are left.
        """
        self.looked = time.monotonic()
        rate = (step - self.first) / max(1e-9, self.looked - self.started)
        total = int(min(self.total, step + rate * max(0.0, seconds_left)))
        text = f"loss {loss:.5f}"
        if psnr is not None:
            text += f", validation {psnr:.2f} dB"
        text += f", {rate:.1f} steps/s, {memory_mb(self.device):.0f} MB"
        if self.on_terminal:
            self.bar.update(self.task, completed=step, total=total, text=text)
        else:
            left = (total - step) / max(rate, 1e-9)
            self._say(f"training: step {step}/{total}, {text}, {left:.0f} s left")

    def _say(self, line: str) -> None:
        if not self.shown:
            return
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:  # the reader of the log has gone, for instance when Ctrl-C ends a whole pipe
            self.shown = False


def memory_mb(device: torch.device) -> float:
    """Largest memory in use so far, in MB: of the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return most_memory_mb()
