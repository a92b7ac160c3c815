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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.degrade.view import View

#: Rows and columns.
Box = tuple[slice, slice]
#: Values (G, n o, m o) of a box of cells, given the box and its samples.
Like = Callable[[Box, Box], np.ndarray]
#: Change may reach this many cells beyond the cells found; cells this far inside them have changed for certain.
_AROUND, _INSIDE = 2, 3


@dataclass(frozen=True)
class Costs:
    """Cost of an outline of a cell's length, and of a changed cell. steps: of the method for each sample along a cell's
    side; more steps change little."""

    outline: float
    changed: float
    steps: int


#: What has changed is known by a stand-in alone. So a sample without evidence counts as unchanged.
CHANGED = Costs(0.12, 0.032, 15)
#: Of ground in another light, the guide itself tells what it would show, so little evidence is enough.
LIT = Costs(0.02, 0.0, 60)
#: Difference between neighbours, in standard deviations of the guide, at which the outline costs half.
_EDGE = 1.0
#: Step of the variables of the outline. The steps of the samples follow from it and from the misfit.
_DUAL_STEP = 0.5
#: Cells up to this distance from a region have footprints that reach into it.
_REACH = 3


def outlined(
    view: View, found: np.ndarray, like: Like, off: np.ndarray, spread: np.ndarray, costs: Costs
) -> np.ndarray:
    """The part that has changed of each sample of the view, (h o, w o), 0 to 1.

    found: (h, w), cells that show change. like: gives what the guide would show without change, of a box of cells and
    its samples: (G, n o, m o). off: (G, h, w), the guide at the cells, less what the LR image makes of it. spread:
    (G,), standard deviation of the guide's channels. costs: `CHANGED` or `LIT`.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, find_objects, label

    samples = view.samples
    inside = binary_erosion(found, iterations=_INSIDE)
    around = binary_dilation(found, iterations=_AROUND)
    numbers, _ = label(around)
    part = np.zeros(view.sharp.shape[1:], np.float32)
    for number, place in enumerate(find_objects(numbers), 1):
        box, fine = _boxes(place, found.shape, samples)
        own = numbers[box] == number
        sharp, unchanged, left = (
            (values / spread[:, None, None]).astype(np.float32)
            for values in (view.sharp[:, *fine], like(box, fine), off[:, *box])
        )
        axes = [view.footprints(length).astype(np.float32) for length in own.shape]
        seen = own & view.valid[box]
        free, fixed = (_fine(cells, samples) for cells in (own, inside[box] & own))
        # all costs are multiplied by samples^2, so that a sample's cost does not depend on the number of samples
        shown, left = samples * (sharp - unchanged), samples * np.where(seen, left, 0)
        outline = samples * costs.outline * _share_of_cost(sharp)
        part[fine] += _explained(shown, left, seen, free, fixed, axes, outline, costs.changed, samples * costs.steps)
    return part


def _boxes(place: Box, shape: tuple[int, ...], samples: int) -> tuple[Box, Box]:
    """A region's place and what its footprints reach, in cells and in samples."""
    rows, columns = (
        slice(max(0, axis.start - _REACH), min(size, axis.stop + _REACH))
        for axis, size in zip(place, shape, strict=True)
    )
    fine = [slice(axis.start * samples, axis.stop * samples) for axis in (rows, columns)]
    return (rows, columns), (fine[0], fine[1])


def _share_of_cost(sharp: np.ndarray) -> np.ndarray:
    """(n, m), 0 to 1: what an outline costs at each sample of a guide (G, n, m), in its standard deviations."""
    steps = np.mean([np.square(_differences(channel)).sum(axis=0) for channel in sharp], axis=0)
    share: np.ndarray = 1 / (1 + np.sqrt(steps) / _EDGE)
    return share


def _explained(
    shown: np.ndarray,
    left: np.ndarray,
    seen: np.ndarray,
    free: np.ndarray,
    fixed: np.ndarray,
    axes: list[Any],
    outline: np.ndarray,
    changed: float,
    steps: int,
) -> np.ndarray:
    """The changed part of each sample: part * `shown` (G, n o, m o), brought to the cells, gives `left` (G, n, m).

    seen: (n, m), the cells that count.

    free: samples that may have changed. fixed: samples that have changed. axes: `View.footprints` along rows, columns.
    outline: (n o, m o), what it costs at each sample. changed: cost of a changed cell. steps: of the method.
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
        slope = misfit(part, shown) - wanted - _divergence(edges) + changed
        new = np.where(fixed, 1.0, np.clip(part - step * slope, 0, 1) * free)
        edges += _DUAL_STEP * _differences(2 * new - part)
        edges /= np.maximum(1, np.hypot(*edges) / outline)
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
