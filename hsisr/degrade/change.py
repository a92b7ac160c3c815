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
_ROUNDS, _MISFIT = 20, 2.0
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
    degree = outlined(view, found, sharp - left, left, spread).astype(np.float32)
    return Change(degree, response, offset, view.cell, view.samples)


def _fit(view: View, sharp: np.ndarray, detail: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (G, 1 + P) of the components, what they leave (G, h, w), and its misfit (h, w), mean left^2 / detail."""
    low = np.concatenate([np.ones((1, *view.shape)), view.low]).reshape(-1, view.valid.size)
    trust = view.valid.astype(float)
    for turn in range(_ROUNDS):
        weights = np.stack([fit_channel(low, c, trust / d) for c, d in zip(sharp, detail, strict=True)])
        left = sharp - (weights @ low).reshape(sharp.shape)
        misfit = (left**2 / detail).mean(axis=0)
        level = max(float(np.median(misfit[view.valid])), np.finfo(float).tiny)
        if turn < _ROUNDS // 2:
            trust = view.valid / np.sqrt(misfit / level + 1e-3)
        else:
            trust = view.valid / (1 + misfit / (_MISFIT**2 * level)) ** 4
    return weights, left, misfit


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
