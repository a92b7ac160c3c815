"""Progress of running work: a bar on a terminal, or a line from time to time in a log."""

import math
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from hsisr.inference.plan import duration
from hsisr.screen import is_quiet, say

#: Seconds between lines without a terminal.
LINE_EVERY_SECONDS = 10


#: Seconds until the first line on the duration of learning.
FIRST_SECONDS = 2


def seconds_left(done: float, total: float, seconds: float, ahead: float = 0.0) -> float:
    """Seconds until the work ends, if `done` of `total` took `seconds`.

    ahead: time for the work after `total`, divided by the time for `total`.
    """
    return (total - done + ahead * total) * seconds / done


class Learning:
    """Lines on the time to learn a scene, and to make its result.

    Call it with the work that is done and with all the work of learning, as now expected, in seconds of a usual core.
    name: of the method. ahead: the work for the rest of the run, in such seconds.
    """

    def __init__(self, name: str, ahead: float) -> None:
        self.name, self.ahead = name, ahead
        self.started, self.last_line = time.monotonic(), -math.inf

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        if now - self.started > FIRST_SECONDS and now - self.last_line > LINE_EVERY_SECONDS:
            left = duration(seconds_left(done, total + self.ahead, now - self.started))
            say(f"{self.name} learns the scene, {done / total:.0%} done, {left} left with all that follows")
            self.last_line = now


class Progress:
    """Show the amount of work done, in the unit `what`, and the time left. A context manager.

    ahead: time for the work after `total`, divided by the time for `total`.
    """

    def __init__(self, total: int, done: int, what: str = "tile", ahead: float = 0.0) -> None:
        self.what, self.total, self.done, self.first, self.ahead = what, total, done, done, ahead
        self.started = self.last_line = time.monotonic()
        self.bar = Bar(
            TextColumn("super-resolving"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{what}s"),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            disable=is_quiet() or not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("", total=total, completed=done, left="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self) -> None:
        """Count one more finished tile."""
        self.done += 1
        now = time.monotonic()
        self.bar.update(self.task, completed=self.done, left=f"{duration(self._left(now))} left")
        if self.bar.disable and (now - self.last_line > LINE_EVERY_SECONDS or self.done == self.total > 1):
            left = self._left(now)
            say(f"{self.what} {self.done} of {self.total}, {duration(left)} left")
            self.last_line = now

    def _left(self, now: float) -> float:
        total, done = self.total - self.first, self.done - self.first
        return seconds_left(done, total, now - self.started, self.ahead * self.total / total)
