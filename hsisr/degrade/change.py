"""Change: where a guide shows other ground than the LR image, for a cloud, another date or another exposure."""

from dataclasses import dataclass

import numpy as np

from hsisr.degrade.explaining import fit_channel, own_detail
from hsisr.degrade.outline import outlined
from hsisr.degrade.view import View

#: A pixel has changed beyond so many times the usual misfit, and where it touches one, beyond so many.
_CORE, _RIM = 8.0, 4.0
#: Misfits below these parts of the guide's own detail are none, however small the usual one is.
_CORE_FLOOR, _RIM_FLOOR = 0.3, 0.1
#: Rounds of the robust fit, and times the usual misfit from which on a pixel counts little in it.
_ROUNDS, _MISFIT = 10, 2.0
#: Parts along each axis from which the fit may start, and about as many cells as show which start is best.
_PARTS, _STARTING_CELLS = 4, 1 << 14
#: Smallest change in cells.
_LEAST_CELLS = 6


@dataclass(frozen=True, eq=False)
class Change:
    """degree: (h o, w o), 0 where guide and LR image show the same, 1 where they do not; o samples a side of a cell.

    response: (G, B), offset: (G,): the guide's channels of the LR image's bands, fitted where nothing changed.
    cell: LR pixels a side of a cell. samples: o.
    """

    degree: np.ndarray
    response: np.ndarray
    offset: np.ndarray
    cell: int
    samples: int = 1

    @property
    def changed(self) -> np.ndarray:
        """(h, w), cells of which at least half has changed."""
        height, width = (size // self.samples for size in self.degree.shape)
        blocks = self.degree.reshape(height, self.samples, width, self.samples)
        changed: np.ndarray = blocks.mean(axis=(1, 3)) >= 0.5
        return changed

    @property
    def share(self) -> float:
        """Part of the ground that changed, 0 to 1."""
        return float(self.changed.mean())


def find_change(view: View) -> Change:
    """Find where the guide's channels, at LR resolution, are not what the LR image's bands make elsewhere.

    The response is fitted robustly; the threshold comes from the misfits' own spread (median absolute deviation), grows
    into fainter change that touches it (hysteresis), and is cleaned of single pixels and holes. Where it ends,
    `hsisr.degrade.outline` says.
    Cells that are not valid have not changed.
    """
    sharp = view.at_cells(view.sharp)
    spread = sharp[:, view.valid].std(axis=1)
    detail, _ = own_detail(sharp, spread)
    weights, left, misfit = _fit(view, sharp, detail)
    response = weights[:, 1:] @ view.components
    offset = weights[:, 0] - response @ view.mean
    found = _regions(np.sqrt(misfit), view.valid)
    degree = outlined(view, found, sharp - left, left, spread)
    return Change(degree, response, offset, view.cell, view.samples)


def _fit(view: View, sharp: np.ndarray, detail: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (G, 1 + P) of the components, what they leave (G, h, w), and its misfit (h, w), mean left^2 / detail."""
    low = np.concatenate([np.ones((1, *view.shape)), view.low]).reshape(-1, view.valid.size)

    def left_by(weights: np.ndarray) -> np.ndarray:
        left: np.ndarray = sharp - (weights @ low).reshape(sharp.shape)
        return left

    weights = _start(low, sharp, detail, view.valid)
    for _ in range(_ROUNDS):
        misfit = _misfit(left_by(weights), detail)
        level = max(float(np.median(misfit[view.valid])), np.finfo(float).tiny)
        weights = _weights(low, sharp, detail, view.valid / (1 + misfit / (_MISFIT**2 * level)) ** 4)
    left = left_by(weights)
    return weights, left, _misfit(left, detail)


def _start(low: np.ndarray, sharp: np.ndarray, detail: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Weights (G, 1 + P) that explain the better half of the valid cells best: least trimmed squares.

    A fit to all cells may explain bright ground that has changed, and not other bright ground. So fits to parts of the
    image are tried too; some parts show no change. Each fit is repeated on the half of the cells that it explains best
    (Rousseeuw and Van Driessen, Data Mining and Knowledge Discovery 2006).
    """
    cells = np.flatnonzero(valid)
    cells = cells[:: -(-len(cells) // _STARTING_CELLS)]
    low, sharp, detail = (image.reshape(len(image), -1)[:, cells] for image in (low, sharp, detail))
    places = zip(np.unravel_index(cells, valid.shape), valid.shape, strict=True)
    row, column = (place * _PARTS // size for place, size in places)
    part = row * _PARTS + column
    found = []
    for trust in [np.ones(len(cells)), *(part == number for number in np.unique(part))]:
        for _ in range(_ROUNDS):
            weights = _weights(low, sharp, detail, trust)
            misfit = _misfit(sharp - weights @ low, detail)
            trust = misfit <= np.median(misfit)
        found.append((np.median(misfit), weights))
    return min(found, key=lambda one: one[0])[1]


def _weights(low: np.ndarray, sharp: np.ndarray, detail: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Weights (G, 1 + P) of components (1 + P, n) that explain channels (G, n). trust: (n,), what a cell counts."""
    return np.stack([fit_channel(low, channel, trust / d) for channel, d in zip(sharp, detail, strict=True)])


def _misfit(left: np.ndarray, detail: np.ndarray) -> np.ndarray:
    """Mean over the channels of left^2 / detail; both (G, ...)."""
    misfit: np.ndarray = (left**2 / detail).mean(axis=0)
    return misfit


def _regions(misfit: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Changed cells (h, w) by their misfit, a multiple of the guide's own detail."""
    from scipy.ndimage import (
        binary_closing,
        binary_fill_holes,
        binary_propagation,
        gaussian_filter,
        label,
    )

    smooth = gaussian_filter(np.where(valid, misfit, 0.0), 1.0, mode="nearest")
    middle = float(np.median(smooth[valid]))
    usual = middle + 1.4826 * float(np.median(np.abs(smooth[valid] - middle)))
    core = valid & (smooth > max(_CORE * usual, _CORE_FLOOR))
    rim = valid & (smooth > max(_RIM * usual, _RIM_FLOOR))
    found = binary_propagation(core, mask=rim)
    found = binary_fill_holes(binary_closing(np.pad(found, 2), iterations=2))[2:-2, 2:-2]
    numbers, count = label(found)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    return np.asarray(found & (sizes[numbers] >= _LEAST_CELLS))
