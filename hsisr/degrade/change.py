"""Change: where a guide shows other ground than the LR image, for a cloud or another date."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from hsisr.degrade.explaining import fit_channels, misfit_of, own_detail
from hsisr.degrade.exposure import Exposure, even, find_exposures
from hsisr.degrade.outline import CHANGED, LIT, Box, outlined
from hsisr.degrade.sampling import interpolate
from hsisr.degrade.view import View
from hsisr.errors import HsisrError

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
    cell: LR pixels a side of a cell. samples: o. exposures: ground of another exposure, which has not changed.
    """

    degree: np.ndarray
    response: np.ndarray
    offset: np.ndarray
    cell: int
    samples: int = 1
    exposures: tuple[Exposure, ...] = ()

    @property
    def changed(self) -> np.ndarray:
        """(h, w), cells of which at least half has changed."""
        return self._cells(self.degree)

    @property
    def exposed(self) -> np.ndarray:
        """(h, w), cells of which at least half has another exposure."""
        exposed = np.zeros(tuple(size // self.samples for size in self.degree.shape), bool)
        for one in self.exposures:
            exposed |= self._cells(one.degree)
        return exposed

    @property
    def share(self) -> float:
        """Part of the ground that changed, 0 to 1."""
        return float(self.changed.mean())

    def _cells(self, degree: np.ndarray) -> np.ndarray:
        height, width = (size // self.samples for size in degree.shape)
        blocks = degree.reshape(height, self.samples, width, self.samples)
        cells: np.ndarray = blocks.mean(axis=(1, 3)) >= 0.5
        return cells


def find_change(view: View) -> Change:
    """Find where the guide's channels, at LR resolution, are not what the LR image's bands make elsewhere.

    The response is fitted robustly; the threshold comes from the misfits' own spread (median absolute deviation), grows
    into fainter change that touches it (hysteresis), and is cleaned of single pixels and holes. Where it ends,
    `hsisr.degrade.outline` says. Ground of another exposure has not changed: it is evened out, and what then still
    differs has changed.
    Cells that are not valid have not changed. Raises HsisrError for a guide without detail.
    """
    exposures, explained, lit = [], _Explained.of(view), np.zeros(view.shape, bool)
    for region, gain, offset in list(explained.lit()):
        like = partial(_evened, view.sharp, Exposure(region, gain, offset))
        part = outlined(view, region, like, explained.left, explained.spread, LIT)
        exposures.append(Exposure(part, gain, offset))
        lit |= region
    if exposures:
        explained = _Explained.of(even(view, exposures))
    # where such ground fades out, a ring may be left, which is no reason to give up what it surrounds
    found, view = explained.found & ~(lit & explained.fitting), explained.view
    made = explained.sharp - explained.left
    degree = outlined(
        view, found, lambda box, _: interpolate(made[:, *box], view.samples), explained.left, explained.spread, CHANGED
    )
    response = explained.weights[:, 1:] @ view.components
    offset = explained.weights[:, 0] - response @ view.mean
    return Change(degree, response, offset, view.cell, view.samples, tuple(exposures))


def _evened(sharp: np.ndarray, exposure: Exposure, _: Box, fine: Box) -> np.ndarray:
    return exposure.evened(sharp[:, *fine])


@dataclass(frozen=True, eq=False)
class _Explained:
    """A guide as the LR image explains it.

    sharp, detail, left: (G, h, w), the guide at the cells, the variance of its detail, and what is not explained.
    spread: (G,), standard deviation of the guide. weights: (G, 1 + P), of the components. misfit: (h, w), mean of
    left^2 / detail.
    """

    view: View
    sharp: np.ndarray
    spread: np.ndarray
    detail: np.ndarray
    weights: np.ndarray
    left: np.ndarray
    misfit: np.ndarray

    @classmethod
    def of(cls, view: View) -> "_Explained":
        """The guide of a view."""
        sharp = view.at_cells(view.sharp)
        spread = sharp[:, view.valid].std(axis=1)
        if not spread.any():
            raise HsisrError("change: the guide has no detail to compare")
        detail, _ = own_detail(sharp, spread)
        return cls(view, sharp, spread, detail, *_fit(view, sharp, detail))

    @cached_property
    def found(self) -> np.ndarray:
        """Cells (h, w) that are not explained."""
        return _regions(np.sqrt(self.misfit), self.view.valid)

    @property
    def fitting(self) -> np.ndarray:
        """Cells (h, w) that alone would count as explained."""
        return self.misfit <= self._limit**2

    def lit(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Regions (h, w) of them that another exposure explains, with its gain (G,) and offset (G,)."""
        return find_exposures(self.view, self.sharp, self.detail, self.found, self._limit)

    @cached_property
    def _limit(self) -> float:
        return max(_CORE * float(np.median(np.sqrt(self.misfit[self.view.valid]))), _CORE_FLOOR)


def _fit(view: View, sharp: np.ndarray, detail: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (G, 1 + P) of the components, what they leave (G, h, w), and its misfit (h, w), mean left^2 / detail."""
    low = np.concatenate([np.ones((1, *view.shape)), view.low]).reshape(-1, view.valid.size)

    def left_by(weights: np.ndarray) -> np.ndarray:
        left: np.ndarray = sharp - (weights @ low).reshape(sharp.shape)
        return left

    weights = _start(low, sharp, detail, view.valid)
    for _ in range(_ROUNDS):
        misfit = misfit_of(left_by(weights), detail)
        level = max(float(np.median(misfit[view.valid])), np.finfo(float).tiny)
        weights = fit_channels(low, sharp, detail, view.valid / (1 + misfit / (_MISFIT**2 * level)) ** 4)
    left = left_by(weights)
    return weights, left, misfit_of(left, detail)


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
            weights = fit_channels(low, sharp, detail, trust)
            misfit = misfit_of(sharp - weights @ low, detail)
            trust = misfit <= np.median(misfit)
        found.append((np.median(misfit), weights))
    return min(found, key=lambda one: one[0])[1]


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
