"""Progress of running work: a bar on a terminal, or a line from time to time in a log."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from hsisr.inference.plan import duration
from hsisr.lazy_array import LazyArray
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


class Watched(LazyArray):
    """An image that tells how many rows have been read of it. stored: (bands, H, W). tell: gets each number of rows."""

    def __init__(self, stored: Any, tell: Callable[[int], None]) -> None:
        self._stored, self._tell, self.shape, self.dtype = stored, tell, stored.shape, stored.dtype

    def block(self, bands: slice, rows: slice, columns: slice) -> np.ndarray:
        """The same numbers."""
        block: np.ndarray = self._stored[bands, rows, columns]
        self._tell(rows.stop - rows.start)
        return block


class Learning:
    """Lines on the time to learn a scene, and to make its result.

    Call it with the work that is done and with all the work of learning, as now expected, in seconds of a usual core.
    name: of the method. ahead: the work for the rest of the run, in such seconds.
    """

    def __init__(self, name: str, ahead: float) -> None:
        self.name, self.ahead = name, ahead
        self.started, self.last_line = time.monotonic(), -math.inf

    def __call__(self, done: float, total: float) -> None:
        if not done:  # nothing says yet how long the rest takes
            return
        now = time.monotonic()
        if now - self.started > FIRST_SECONDS and now - self.last_line > LINE_EVERY_SECONDS:
            left = duration(seconds_left(done, total + self.ahead, now - self.started))
            say(f"{self.name} learns the scene, {done / total:.0%} done, {left} left with all that follows")
            self.last_line = now


class Progress:
    """Show the amount of work done, in the unit `what`, and the time left. A context manager.

    ahead: time for the work after `total`, divided by the time for `total`. doing: the work, for a bar.
    short: whether short work has a line too, at its end.
    """

    def __init__(
        self,
        total: int,
        done: int,
        what: str = "tile",
        ahead: float = 0.0,
        doing: str = "super-resolving",
        short: bool = True,
    ) -> None:
        self.short = short
        self.what, self.total, self.done, self.first, self.ahead = what, total, done, done, ahead
        self.started = self.last_line = time.monotonic()
        self.bar = Bar(
            TextColumn(doing),
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

    def advance(self, count: int = 1) -> None:
        """Count more as finished."""
        self.done = min(self.done + count, self.total)
        now = time.monotonic()
        self.bar.update(self.task, completed=self.done, left=f"{duration(self._left(now))} left")
        ends = self.short and self.done == self.total > 1
        if self.bar.disable and (now - self.last_line > LINE_EVERY_SECONDS or ends):
            left = self._left(now)
            say(f"{self.what} {self.done} of {self.total}, {duration(left)} left")
            self.last_line = now

    def _left(self, now: float) -> float:
        total, done = self.total - self.first, self.done - self.first
        return seconds_left(done, total, now - self.started, self.ahead * self.total / total)
