"""The outline of changed ground, finer than an LR pixel: the line where guide and stand-in meet to make the LR image.

An LR pixel at the edge of change sees both kinds of ground. There, the guide at LR resolution differs from the guide
that the LR image makes: it shows the changed ground in a part of the footprint. For each sample, hsisr finds the part m
that changed, from 0 to 1. These parts explain the difference best and have a short outline (total variation; Rudin,
Osher, Fatemi, Physica D 1992). The outline costs less along edges of the guide, where change often ends (Bresson and
others, J. Math. Imaging Vis. 2007).

The method is the primal-dual one of Condat (J. Optim. Theory Appl. 2013) and Vu. Each sample has a step of its own
(Pock and Chambolle, ICCV 2011). One step for all fits the samples in which guide and stand-in differ most. It is much
too short for samples in which they are alike.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from hsisr.degrade.sampling import interpolate
from hsisr.degrade.view import View

#: Change may reach this many cells beyond the cells found; cells this far inside them have changed for certain.
_AROUND, _INSIDE = 2, 3
#: Cost of an outline of a cell's length, and of a changed cell. So a sample without evidence counts as unchanged.
_OUTLINE, _CHANGED = 0.12, 0.032
#: Difference between neighbours, in standard deviations of the guide, at which the outline costs half.
_EDGE = 1.0
#: Step of the variables of the outline. The steps of the samples follow from it and from the misfit.
_DUAL_STEP = 0.5
#: Steps of the method for each sample along a cell's side. More steps change little.
_STEPS = 15
#: Cells up to this distance from a region have footprints that reach into it.
_REACH = 3


def outlined(view: View, found: np.ndarray, made: np.ndarray, off: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The part that has changed of each sample of the view, (h o, w o), 0 to 1.

    found: (h, w), cells that show change. made: (G, h, w), the guide that the LR image makes. off: (G, h, w), the guide
    at the cells, less `made`. spread: (G,), standard deviation of the guide's channels.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, find_objects, label

    samples = view.samples
    inside = binary_erosion(found, iterations=_INSIDE)
    around = binary_dilation(found, iterations=_AROUND)
    numbers, _ = label(around)
    part = np.zeros(view.sharp.shape[1:], np.float32)
    for number, place in enumerate(find_objects(numbers), 1):
        box = tuple(
            slice(max(0, axis.start - _REACH), min(size, axis.stop + _REACH))
            for axis, size in zip(place, found.shape, strict=True)
        )
        fine = tuple(slice(axis.start * samples, axis.stop * samples) for axis in box)
        own = numbers[box] == number
        sharp, like, left = (
            (values / spread[:, None, None]).astype(np.float32)
            for values in (view.sharp[:, *fine], interpolate(made[:, *box], samples), off[:, *box])
        )
        axes = [view.footprints(length).astype(np.float32) for length in own.shape]
        seen = own & view.valid[box]
        free, fixed = (_fine(cells, samples) for cells in (own, inside[box] & own))
        # all costs are multiplied by samples^2, so that a sample's cost does not depend on the number of samples
        shown, left = samples * (sharp - like), samples * np.where(seen, left, 0)
        part[fine] += _explained(shown, left, seen, free, fixed, axes, samples * _costs(sharp), samples * _STEPS)
    return part


def _costs(sharp: np.ndarray) -> np.ndarray:
    """(n, m): what a cell's length of outline costs at each sample of a guide (G, n, m), in its standard deviations."""
    steps = np.mean([np.square(_differences(channel)).sum(axis=0) for channel in sharp], axis=0)
    costs: np.ndarray = _OUTLINE / (1 + np.sqrt(steps) / _EDGE)
    return costs


def _explained(
    shown: np.ndarray,
    left: np.ndarray,
    seen: np.ndarray,
    free: np.ndarray,
    fixed: np.ndarray,
    axes: list[Any],
    costs: np.ndarray,
    steps: int,
) -> np.ndarray:
    """The changed part of each sample: part * `shown` (G, n o, m o), brought to the cells, gives `left` (G, n, m).

    seen: (n, m), the cells that count.

    free: samples that may have changed. fixed: samples that have changed. axes: `View.footprints` along rows, columns.
    costs: (n o, m o), of the outline at each sample. steps: of the method.
    """
    rows, columns = axes

    def gathered(cells: Iterable[np.ndarray], shown: np.ndarray) -> np.ndarray:
        return np.asarray(sum((rows.T @ c @ columns) * channel for c, channel in zip(cells, shown, strict=True)))

    def misfit(part: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Half the gradient of the squared misfit, without the term of `left`."""
        return gathered((np.where(seen, rows @ (part * channel) @ columns.T, 0) for channel in shown), shown)

    wanted = gathered(left, shown)
    # The method needs these sums of rows of the misfit's matrix, and 8, which bounds the matrix of the differences.
    step = 1 / (misfit(np.ones(free.shape), np.abs(shown)) / 2 + 8 * _DUAL_STEP)
    part = fixed.astype(np.float32)
    edges = np.zeros((2, *part.shape), np.float32)
    for _ in range(steps):
        slope = misfit(part, shown) - wanted - _divergence(edges) + _CHANGED
        new = np.where(fixed, 1.0, np.clip(part - step * slope, 0, 1) * free)
        edges += _DUAL_STEP * _differences(2 * new - part)
        edges /= np.maximum(1, np.hypot(*edges) / costs)
        part = new
    return part


def _fine(cells: np.ndarray, samples: int) -> np.ndarray:
    """Cells (n, m) as samples (n o, m o)."""
    wide: np.ndarray = cells.repeat(samples, axis=0).repeat(samples, axis=1)
    return wide


def _differences(image: np.ndarray) -> np.ndarray:
    """(2, n, m): to the next row, and to the next column."""
    found = np.zeros((2, *image.shape), image.dtype)
    found[0, :-1], found[1, :, :-1] = np.diff(image, axis=0), np.diff(image, axis=1)
    return found


def _divergence(edges: np.ndarray) -> np.ndarray:
    """Minus the adjoint of `_differences`."""
    found: np.ndarray = edges[0] + edges[1]
    found[1:] -= edges[0, :-1]
    found[:, 1:] -= edges[1, :, :-1]
    return found
