"""What a user sees of running work: a bar on a terminal, a line now and then in a log."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hsisr.inference.plan import duration
from hsisr.screen import is_quiet, say

#: Seconds between lines where there is no terminal.
LINE_EVERY_SECONDS = 10


class Progress:
    """Show what is done, in the unit `what`, and the time left. A context manager."""

    def __init__(self, total: int, done: int, what: str = "tile") -> None:
        self.what, self.total, self.done, self.first = what, total, done, done
        self.started = self.last_line = time.monotonic()
        self.bar = Bar(
            TextColumn("super-resolving"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{what}s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=is_quiet() or not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("", total=total, completed=done)

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self) -> None:
        """One more tile is done."""
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        now = time.monotonic()
        if self.bar.disable and (now - self.last_line > LINE_EVERY_SECONDS or self.done == self.total > 1):
            left = (self.total - self.done) * (now - self.started) / (self.done - self.first)
            say(f"{self.what} {self.done} of {self.total}, {duration(left)} left")
            self.last_line = now
