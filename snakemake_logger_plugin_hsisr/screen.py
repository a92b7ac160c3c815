"""Lines on a stream and, on a terminal, a bar below them."""

import os
import shutil
import threading
from collections.abc import Callable
from typing import TextIO

#: Seconds between two pictures of the bar, and between two looks where there is none.
_REDRAW_SECONDS = 0.5
_LOOK_SECONDS = 5.0

_ERASE = "\r\x1b[2K"
_COLOURS = {"red": "\x1b[31m", "green": "\x1b[32m"}
_RESET = "\x1b[0m"


class Screen:
    """Where a run is shown.

    stream: where to. colour: whether colours are wanted; they are used on a terminal only, and never where NO_COLOR is
    set. bar: gives the text of the bar, at most so many characters wide. look: called now and then where there is no
    terminal, to say something. A stream that is closed at its other end ends nothing but the output.
    """

    def __init__(self, stream: TextIO, colour: bool, bar: Callable[[int], str], look: Callable[[], None]) -> None:
        self.stream = stream
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.colour = colour and terminal and not os.environ.get("NO_COLOR")
        self._bar, self._look = bar, look
        self._drawn = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._paint if terminal else self._watch, daemon=True)

    def start(self) -> None:
        """Begin to draw the bar, or to look."""
        if not self._thread.is_alive():
            self._thread.start()

    def say(self, text: str, colour: str | None = None) -> None:
        """Write lines above the bar."""
        if colour and self.colour:
            text = f"{_COLOURS[colour]}{text}{_RESET}"
        with self._lock:
            self._write((_ERASE if self._drawn else "") + text + "\n")
            self._drawn = False

    def close(self) -> None:
        """Take the bar away."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            if self._drawn:
                self._write(_ERASE)
                self._drawn = False

    def _paint(self) -> None:
        while True:
            width = shutil.get_terminal_size().columns - 1
            text = self._bar(width)
            with self._lock:
                self._write(_ERASE + text)
                self._drawn = True
            if self._ended.wait(_REDRAW_SECONDS):
                return

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # the reader has left, or the stream is closed: the run goes on
            pass
