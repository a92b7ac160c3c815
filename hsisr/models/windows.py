"""Windows: models that learn scenes read a scene and its guide part by part."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

#: Rows or columns [start, stop).
Span = tuple[int, int]


def hr_spans(rows: Span, columns: Span, scale: int) -> tuple[Span, Span]:
    """HR rows and columns [start, stop) of the same ground as these LR rows and columns."""
    return (rows[0] * scale, rows[1] * scale), (columns[0] * scale, columns[1] * scale)


def lr_span(axis: np.ndarray, size: int, scale: int, margin: int) -> Span:
    """The LR rows or columns, at least one, around HR rows or columns of any value, cut at the scene's ends.

    size: of the scene, LR pixels. margin: LR pixels on either side.
    """
    first = min(max(0, math.floor(axis.min() / scale) - margin), size - 1)
    return first, max(first + 1, min(size, math.ceil((axis.max() + 1) / scale) + margin))


def hr_places(corner: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Rows and columns (2, n, m) of the HR pixels of a part of that shape (n, m), whose first pixel is at `corner`."""
    (top, left), (height, width) = corner, shape
    return np.mgrid[top : top + height, left : left + width]


class Window(NamedTuple):
    """Part of a scene.

    lr: (B, n, m). guide: (G, scale n, scale m); G is 0 without one. mask: its valid HR pixels; None: all.
    """

    lr: np.ndarray
    guide: np.ndarray
    mask: np.ndarray | None

    @property
    def valid(self) -> np.ndarray:
        """The valid HR pixels (scale n, scale m)."""
        return np.ones(self.guide.shape[1:], bool) if self.mask is None else self.mask


class Images(Protocol):
    """An LR image with its guide, read by windows."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""

    def window(self, rows: Span, columns: Span) -> Window:
        """The part of LR rows and columns [start, stop)."""

    def own_guide(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
        """The guide's pixels of which the result is made, (G, n, m), and its valid ones (n, m).

        They are those of `window`, unless the result lies on the guide's grid: then these rows and columns of it.
        """

    def tell(self, done: float, total: float) -> None:
        """A model that learns the scene calls this with its work that is done, and with all of it, as now expected.

        done, total: seconds of a usual core, as in `Effort`.
        """


class Effort(NamedTuple):
    """Seconds that a usual core takes to learn a scene, and then to make all of it; 0: not known."""

    learning: float
    making: float


@dataclass(frozen=True, eq=False)
class Told:
    """Images for the first part of a model's learning. more: seconds of a usual core for the other parts."""

    images: Images
    more: float

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""
        return self.images.size

    def window(self, rows: Span, columns: Span) -> Window:
        """The part of LR rows and columns [start, stop)."""
        return self.images.window(rows, columns)

    def own_guide(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
        """The guide's pixels of which the result is made, and its valid ones."""
        return self.images.own_guide(rows, columns)

    def tell(self, done: float, total: float) -> None:
        """Pass it on, with the work of the other parts."""
        self.images.tell(done, total + self.more)


@dataclass(frozen=True, eq=False)
class HeldImages:
    """Images in memory. lr: (B, h, w). guide: (G, scale h, scale w). mask: (scale h, scale w), or None."""

    lr: np.ndarray
    guide: np.ndarray
    scale: int
    mask: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""
        return self.lr.shape[1], self.lr.shape[2]

    def window(self, rows: Span, columns: Span) -> Window:
        """The part of LR rows and columns [start, stop)."""
        high = tuple(slice(*span) for span in hr_spans(rows, columns, self.scale))
        mask = None if self.mask is None else self.mask[high]
        return Window(self.lr[:, slice(*rows), slice(*columns)], self.guide[:, *high], mask)

    def own_guide(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
        """The guide of the window, and its valid pixels."""
        window = self.window(rows, columns)
        return window.guide, window.valid

    def tell(self, done: float, total: float) -> None:
        """Do nothing: nobody follows the progress with images in memory."""
