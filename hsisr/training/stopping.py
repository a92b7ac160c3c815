"""SIGINT and SIGTERM as requests: training ends at a moment from which it can resume to the same result."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hsisr.errors import HsisrError


class Interrupted(HsisrError):
    """Training was asked to stop (SIGINT or SIGTERM) and left a state to resume from."""


class StopRequested(BaseException):
    """Stops the training. It is not an Exception, so that no `except Exception` catches it."""


class StopRequests:
    """A context manager that receives SIGINT and SIGTERM in place of the process.

    at_once: leave work marked `interruptible` in its middle. Several processes that train together cannot do this. They
    agree on the step after which they stop.
    In a thread other than the main one, the calling program gets the signals.
    """

    def __init__(self, at_once: bool = True) -> None:
        self.at_once, self.requested = at_once, False
        self._interruptible = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        try:
            self._previous = {n: signal.signal(n, self._receive) for n in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread
            self._previous = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Around work whose changes can all be undone. A signal raises StopRequested within it, or at its start."""
        self._interruptible = self.at_once
        try:
            if self.at_once:
                self.check()
            yield
        finally:
            self._interruptible = False

    def check(self) -> None:
        """Raise StopRequested if a signal has come."""
        if self.requested:
            raise StopRequested

    def _receive(self, number: int, frame: Any) -> None:
        self.requested = True
        if self._interruptible:
            self._interruptible = False
            raise StopRequested
