"""Light: how much brighter or darker, from place to place, a guide shows the ground than the LR image does.

The sun, the angle of view, thin haze or a lens multiply each channel by a gain that varies smoothly over the scene. The
gain's logarithm is a spline. It is fitted together with the channel's response (Gauss-Newton): what the LR image's
principal components make of the channel, times the gain, is to be the channel. Cells that do not fit count little.
Bending costs; how much, the evidence says (MacKay, Neural Computation 1992).

Other differences vary smoothly too: the guide may see what the bands do not see. Then a smooth sum explains the channel
about as well as a gain does. Only if the gain explains it clearly better is it light.
"""

from dataclasses import dataclass

import numpy as np

from hsisr.degrade.explaining import alike, fit_channel, own_detail, ridged
from hsisr.degrade.spline import SplineGrid, even_intervals
from hsisr.degrade.view import View

#: Most cells along a side that are compared: light varies slowly.
MOST_LIGHT_CELLS = 256
#: Cells between control points, and fewest and most intervals along an axis.
_SPACING, _INTERVALS = 8.0, (1, 12)
#: Steps, and times the usual misfit from which on a cell counts little.
_STEPS, _MISFIT = 10, 3.0
#: Cost of bending to start with, that of differing at all, and that of a mean which is not 0: a response could hold it.
_BENDING, _BEING, _MEAN = 1e2, 0.3, 1e6
#: Most cells that misfits which resemble each other are taken to be one.
_ALIKE = 30.0
#: Logarithms of gains stay within this while they are fitted; and no light differs by a larger factor than this.
_WITHIN, _LARGEST_GAIN = 2.0, 2.0
#: A channel's detail is no smaller than this part of its spread: in the dark, little misfit means nothing.
_DETAIL_FLOOR = 0.2
#: With fewer cells, or fewer components of the LR image, nobody can tell light from what the bands do not see.
_LEAST_CELLS, _LEAST_COMPONENTS = 100, 10
#: How many times better the channels must be explained with a gain than without, and than with a sum (geometric means).
#: With fewer cells than this, the first must be greater by the square of what is missing.
_BETTER, _THAN_SUM, _ENOUGH_CELLS = 8.0, 1.5, 400
#: Gains that differ by less (root mean square) are not worth it.
_LEAST = 0.01


@dataclass(frozen=True, eq=False)
class Light:
    """gain: (G, h, w), of the guide's channels at the cells of a view; its logarithm has mean 0. side: HR pixels of a
    cell."""

    gain: np.ndarray
    side: int

    @property
    def largest(self) -> float:
        """The largest difference from the usual light, as a part of it."""
        return float(np.abs(self.gain - 1).max())

    def evened(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Values of the guide (G, n, m) as in the usual light. places: (2, n, m), HR rows and columns of any value."""
        from scipy.ndimage import map_coordinates

        cells = (places + 0.5) / self.side - 0.5
        evened = np.empty_like(values)
        for channel, result, gain in zip(values, evened, self.gain, strict=True):
            result[...] = channel / map_coordinates(gain, cells, order=1, mode="nearest")
        return evened


def measure_light(view: View) -> Light | None:
    """The light of a view's guide beside that of its LR image; None if it is the same, or nothing is evident."""
    cells = int(view.valid.sum())
    if cells < _LEAST_CELLS or len(view.low) < _LEAST_COMPONENTS:
        return None
    sharp = view.at_cells(view.sharp)
    spread = sharp[:, view.valid].std(axis=1)
    if not spread.all():
        return None
    detail = own_detail(sharp, spread)[0] + (_DETAIL_FLOOR * spread[:, None, None]) ** 2
    grid = SplineGrid(*view.shape, even_intervals(view.shape, _SPACING, _INTERVALS))
    fits = [_Fit(view, channel, variance, grid) for channel, variance in zip(sharp, detail, strict=True)]
    lit = [fit.with_gain() for fit in fits]
    gains = np.array([gain for gain, _ in lit])
    left = np.array([left for _, left in lit])
    if np.abs(np.log(gains)).max() > np.log(_LARGEST_GAIN):
        return None
    better = _BETTER * max(1.0, _ENOUGH_CELLS / cells) ** 2
    if _mean_ratio([fit.alone for fit in fits], left) < better or gains[:, view.valid].std() < _LEAST:
        return None
    if _mean_ratio([fit.with_sum() for fit in fits], left) < _THAN_SUM:
        return None
    return Light(gains.astype(np.float32), view.scale)


def _mean_ratio(first: list[float] | np.ndarray, second: np.ndarray) -> float:
    """Geometric mean of the ratios."""
    return float(np.exp(np.mean(np.log(np.asarray(first) / second))))


class _Fit:
    """A channel of a guide at the cells of a view, as the LR image's components explain it.

    channel, detail: (h, w), and the variance of its detail. alone: usual misfit of the components alone.
    """

    def __init__(self, view: View, channel: np.ndarray, detail: np.ndarray, grid: SplineGrid) -> None:
        self._channel, self._detail, self._valid, self._grid = channel, detail, view.valid, grid
        self._low = np.concatenate([np.ones((1, *view.shape)), view.low])
        self._weights = fit_channel(self._low.reshape(len(self._low), -1), channel, view.valid / detail)
        self._cells = grid.gram(np.ones(view.shape))
        self._mean = grid.gathered(np.ones(view.shape)) / view.valid.size
        self.alone = self._usual(self._channel - self._shown(self._weights))

    def with_gain(self) -> tuple[np.ndarray, float]:
        """The gain (h, w), and the usual misfit with it."""
        gain, weights = self._fitted(gained=True)
        return gain, self._usual(self._channel - gain * self._shown(weights))

    def with_sum(self) -> float:
        """The usual misfit with a smooth image that is added."""
        added, weights = self._fitted(gained=False)
        return self._usual(self._channel - self._shown(weights) - added)

    def _shown(self, weights: np.ndarray) -> np.ndarray:
        shown: np.ndarray = np.tensordot(weights, self._low, axes=1)
        return shown

    def _usual(self, left: np.ndarray) -> float:
        """Mean misfit of the cells that fit."""
        misfit, trust = self._trust(left)
        return max(float((trust * misfit).sum() / trust.sum()), np.finfo(float).tiny)

    def _trust(self, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Misfit and trust of each cell (h, w)."""
        misfit = left**2 / self._detail
        usual = max(float(np.median(misfit[self._valid])), np.finfo(float).tiny)
        return misfit, self._valid / (1 + misfit / (_MISFIT**2 * usual)) ** 2

    def _fitted(self, gained: bool) -> tuple[np.ndarray, np.ndarray]:
        """The gain, or what is added (h, w), and the components' weights.

        An added image is fitted in units of the channel's usual detail, so that the costs mean about the same.
        """
        grid, unit = self._grid, np.full(self._valid.shape, np.sqrt(self._detail.mean()))
        weights, controls, bending = self._weights, np.zeros(grid.count), _BENDING
        for _ in range(_STEPS):
            surface = grid.surface(controls)
            gain = np.exp(np.clip(surface, -_WITHIN, _WITHIN)) if gained else np.ones(surface.shape)
            like = gain * self._shown(weights)
            left, slope = (self._channel - like, like) if gained else (self._channel - like - surface * unit, unit)
            trust = self._trust(left)[1]
            level = self._usual(left)
            weight = trust / (self._detail * level * alike(left * np.sqrt(trust / self._detail), _ALIKE))
            shown = (self._low * gain).reshape(len(self._low), -1)
            weighted = shown * weight.ravel()
            mixed = grid.gathered(weighted.reshape(self._low.shape) * slope)
            eliminated = np.linalg.solve(ridged(weighted @ shown.T), np.column_stack([mixed, weighted @ left.ravel()]))
            prior = bending * grid.bending + _BEING * self._cells + _MEAN * np.outer(self._mean, self._mean)
            covariance = np.linalg.inv(grid.gram(weight * slope**2) - mixed.T @ eliminated[:, :-1] + prior)
            right = grid.gathered(weight * slope * left) - mixed.T @ eliminated[:, -1]
            step = covariance @ (right - prior @ controls)
            weights = weights + eliminated[:, -1] - eliminated[:, :-1] @ step
            controls = controls + step
            known = grid.count - 3 - bending * float(np.tensordot(covariance, grid.bending, 2))
            bent = max(float(controls @ grid.bending @ controls), 1e-12)
            bending = float(np.clip(max(known, 0.5) / bent, bending / 10, bending * 10))
        surface = grid.surface(controls)
        return (np.exp(np.clip(surface, -_WITHIN, _WITHIN)) if gained else surface * unit), weights
