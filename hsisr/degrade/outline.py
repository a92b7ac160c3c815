"""The outline of changed ground, finer than an LR pixel: the line where guide and stand-in meet to make the LR image.

An LR pixel at the edge of change sees both kinds of ground. There, the guide at LR resolution differs from the guide
that the LR image makes: it shows the changed ground in a part of the footprint. For each sample, hsisr finds the part m
that changed, from 0 to 1. These parts explain the difference best and have a short outline (total variation; Rudin,
Osher, Fatemi, Physica D 1992). The method is the primal-dual one of Condat (J. Optim. Theory Appl. 2013) and Vu.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from hsisr.degrade.sampling import interpolate
from hsisr.degrade.view import View

#: Change may reach this many cells beyond the cells found; cells this far inside them have changed for certain.
_AROUND, _INSIDE = 2, 2
#: Cost of a sample's length of outline, and of a changed sample. So a sample without evidence counts as unchanged.
_OUTLINE, _CHANGED = 0.03, 0.001
#: Steps of the method. More steps make no visible difference.
_STEPS = 120
#: Cells up to this distance from a region have footprints that reach into it.
_REACH = 3


def outlined(view: View, found: np.ndarray, made: np.ndarray, off: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The part that has changed of each sample of the view, (h o, w o), 0 to 1.

    found: (h, w), cells that show change. made: (G, h, w), the guide that the LR image makes. off: (G, h, w), the guide
    at the cells, less `made`. spread: (G,), standard deviation of the guide's channels.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, find_objects, label

    samples = view.samples
    inside = binary_erosion(found, iterations=_INSIDE, border_value=1)
    around = binary_dilation(found, iterations=_AROUND)
    numbers, _ = label(around)
    part = np.zeros(view.sharp.shape[1:])
    for number, place in enumerate(find_objects(numbers), 1):
        box = tuple(
            slice(max(0, axis.start - _REACH), min(size, axis.stop + _REACH))
            for axis, size in zip(place, found.shape, strict=True)
        )
        fine = tuple(slice(axis.start * samples, axis.stop * samples) for axis in box)
        own = numbers[box] == number
        shown = view.sharp[:, *fine] - interpolate(made[:, *box], samples)
        shown, left = (values / spread[:, None, None] for values in (shown, off[:, *box]))
        axes = [_footprint(length, view) for length in own.shape]
        seen = own & view.valid[box]
        free, fixed = (_fine(cells, samples) for cells in (own, inside[box] & own))
        part[fine] += _explained(shown, np.where(seen, left, 0), seen, free, fixed, axes)
    return part


def _explained(
    shown: np.ndarray, left: np.ndarray, seen: np.ndarray, free: np.ndarray, fixed: np.ndarray, axes: list[Any]
) -> np.ndarray:
    """The changed part of each sample: part * `shown` (G, n o, m o), brought to the cells, gives `left` (G, n, m).

    seen: (n, m), the cells that count.

    free: samples that may have changed. fixed: samples that have changed. axes: `_footprint` of rows and of columns.
    """
    rows, columns = axes

    def gathered(cells: Iterable[np.ndarray]) -> np.ndarray:
        return np.asarray(sum((rows.T @ c @ columns) * channel for c, channel in zip(cells, shown, strict=True)))

    def misfit(part: np.ndarray) -> np.ndarray:
        """Half the gradient of the squared misfit, without the term of `left`."""
        return gathered(np.where(seen, rows @ (part * channel) @ columns.T, 0) for channel in shown)

    wanted = gathered(left)
    steepest = max(_largest(misfit, free), 1e-12)
    step, dual_step = 1 / steepest, steepest / 16
    part = fixed.astype(float)
    edges = np.zeros((2, *part.shape))
    for _ in range(_STEPS):
        slope = misfit(part) - wanted - _divergence(edges) + _CHANGED
        new = np.where(fixed, 1.0, np.clip(part - step * slope, 0, 1) * free)
        edges += dual_step * _differences(2 * new - part)
        edges /= np.maximum(1, np.hypot(*edges) / _OUTLINE)
        part = new
    return part


def _largest(operator: Any, free: np.ndarray) -> float:
    """The largest eigenvalue of a symmetric operator on the free samples, by power iteration."""
    vector, length = free / max(np.sqrt(free.sum()), 1), 0.0
    for _ in range(15):
        image = operator(vector) * free
        length = float(np.linalg.norm(image))
        vector = image / max(length, 1e-30)
    return length


def _footprint(count: int, view: View) -> Any:
    """Usual footprints of LR pixels along an axis of `count` cells, over their samples: sparse (count, count o)."""
    from scipy import sparse

    places, centres = np.arange(count * view.samples), np.arange(count) * view.samples + (view.samples - 1) / 2
    distance = (places - centres[:, None]) / view.blur_samples
    weights = np.where(np.abs(distance) < 4, np.exp(-0.5 * distance**2), 0)
    return sparse.csr_matrix(weights / weights.sum(axis=1, keepdims=True))


def _fine(cells: np.ndarray, samples: int) -> np.ndarray:
    """Cells (n, m) as samples (n o, m o)."""
    wide: np.ndarray = cells.repeat(samples, axis=0).repeat(samples, axis=1)
    return wide


def _differences(image: np.ndarray) -> np.ndarray:
    """(2, n, m): to the next row, and to the next column."""
    found = np.zeros((2, *image.shape))
    found[0, :-1], found[1, :, :-1] = np.diff(image, axis=0), np.diff(image, axis=1)
    return found


def _divergence(edges: np.ndarray) -> np.ndarray:
    """Minus the adjoint of `_differences`."""
    found: np.ndarray = edges[0] + edges[1]
    found[1:] -= edges[0, :-1]
    found[:, 1:] -= edges[1, :, :-1]
    return found
