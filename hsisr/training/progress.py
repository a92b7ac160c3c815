"""What a user sees of a running training: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

#: Seconds between lines where there is no terminal.
LINE_EVERY_SECONDS = 10


class Progress:
    """Show step, loss, validation PSNR, rate and time left. A context manager."""

    def __init__(self, total_steps: int, done: int = 0) -> None:
        self.total, self.first, self.started, self.last_line = total_steps, done, time.monotonic(), time.monotonic()
        self.bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("", total=total_steps, completed=done, text="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        if self.first:
            print(f"training: resumes at step {self.first} of {self.total}", file=sys.stderr, flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, step: int, losses: Sequence[float], history: Sequence[Sequence[float]]) -> None:
        """Show the state after `step`; losses since the last validation; history rows of the run."""
        now = time.monotonic()
        rate = (step - self.first) / max(1e-9, now - self.started)
        text = f"loss {sum(losses) / len(losses):.5f}"
        if history:
            text += f", validation {history[-1][3]:.2f} dB"
        text += f", {rate:.1f} steps/s"
        self.bar.update(self.task, completed=step, text=text)
        if self.bar.disable and (now - self.last_line > LINE_EVERY_SECONDS or step >= self.total):
            left = (self.total - step) / max(rate, 1e-9)
            print(f"training: step {step}/{self.total}, {text}, {left:.0f} s left", file=sys.stderr, flush=True)
            self.last_line = now
