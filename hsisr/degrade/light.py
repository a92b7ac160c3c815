"""Light: how, from place to place, a guide shows the ground brighter, darker or hazier than the LR image does.

The sun, the angle of view or a lens multiply each channel by a gain that varies smoothly over the scene; haze also adds
light. Both are splines, the first of the gain's logarithm. They are fitted together with the channel's response
(Gauss-Newton): what the LR image's principal components make of the channel, times the gain, plus what is added, is to
be the channel. Cells that do not fit count little. Bending costs; how much, the evidence says (MacKay, Neural
Computation 1992).

Other differences vary smoothly too: the guide may see what the bands do not see. Then an added image explains the
channel about as well. Only if a gain explains it clearly better is it light. And a part of the guide may be exposed
otherwise, with a sharp outline (`hsisr.degrade.exposure`). So light must explain all cells, not only those that fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hsisr.degrade.explaining import alike, fit_channel, own_detail, ridged
from hsisr.degrade.spline import SplineGrid, even_intervals
from hsisr.degrade.view import View, read_at

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
#: With fewer cells, or fewer bands or components of the LR image, nobody can tell light from what the bands do not see.
_LEAST_CELLS, LEAST_BANDS = 100, 10
#: How many times better light must explain the channels than the components alone: the cells that fit, and all cells.
#: With fewer cells than this, it is more, by the square of what is missing.
_BETTER, _ENOUGH_CELLS = 8.0, 400
#: The same beside what is only added, and beside a gain alone: else the light has a gain, and nothing added.
_THAN_ADDED, _THAN_GAIN = 2.0, 5.0
#: Gains that differ by less (root mean square) are not worth it.
_LEAST = 0.01


@dataclass(frozen=True, eq=False)
class Light:
    """gain, added: (G, h, w), of the guide's channels at the cells of a view: the guide = gain * what it shows in the
    usual light + added. Both vary about 1 and 0. side: HR pixels of a cell."""

    gain: np.ndarray
    added: np.ndarray
    side: int

    @property
    def largest(self) -> float:
        """The largest difference of the gain from 1."""
        return float(np.abs(self.gain - 1).max())

    def evened(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Values of the guide (G, n, m) as in the usual light. places: (2, n, m), HR rows and columns of any value."""
        cells = (places + 0.5) / self.side - 0.5
        evened: np.ndarray = (values - read_at(self.added, cells, order=1)) / read_at(self.gain, cells, order=1)
        return evened


def measure_light(view: View) -> Light | None:
    """The light of a view's guide beside that of its LR image; None if it is the same, or nothing is evident."""
    cells = int(view.valid.sum())
    if cells < _LEAST_CELLS or len(view.low) < LEAST_BANDS:
        return None
    sharp = view.at_cells(view.sharp)
    spread = sharp[:, view.valid].std(axis=1)
    if not spread.all():
        return None
    detail = own_detail(sharp, spread)[0] + (_DETAIL_FLOOR * spread[:, None, None]) ** 2
    ground = _Ground.of(view)
    channels = [_Channel(ground, channel, variance) for channel, variance in zip(sharp, detail, strict=True)]
    alone = [channel.fitted() for channel in channels]
    lit = [channel.fitted(gained=True, added=True) for channel in channels]
    better = _BETTER * max(1.0, _ENOUGH_CELLS / cells) ** 2
    if _times_better(lit, alone) < better:
        return None
    gained = [channel.fitted(gained=True) for channel in channels]
    if _times_better(lit, gained) < _THAN_GAIN:
        lit = gained
    added = [channel.fitted(added=True) for channel in channels]
    if min(_times_better(lit, alone), _times_better(lit, alone, everywhere=True)) < better:
        return None
    if _times_better(lit, added) < _THAN_ADDED:
        return None
    gain, sums = (np.array(images, np.float32) for images in zip(*((fit.gain, fit.added) for fit in lit), strict=True))
    logs = np.log(gain[:, view.valid])
    if logs.std() < _LEAST or np.abs(logs).max() > np.log(_LARGEST_GAIN):
        return None
    return Light(gain, sums, view.scale)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What explains a channel beside the components. gain, added: (h, w). misfits: means over the cells that fit, and
    over all."""

    gain: np.ndarray
    added: np.ndarray
    misfits: tuple[float, float]


def _times_better(fits: list[_Fit], others: list[_Fit], everywhere: bool = False) -> float:
    """How many times smaller the misfits are than those of the others, a geometric mean over the channels."""
    left, beside = (np.array([fit.misfits[everywhere] for fit in channels]) for channels in (fits, others))
    return float(np.exp(np.mean(np.log(beside / left))))


@dataclass(frozen=True, eq=False)
class _Ground:
    """What all channels share. low: (1 + P, h, w), ones and the LR image's components. valid: (h, w). grid: of the
    splines. held: (points, points), cost of differing at all and of a mean which is not 0."""

    low: np.ndarray
    valid: np.ndarray
    grid: SplineGrid
    held: np.ndarray

    @classmethod
    def of(cls, view: View) -> "_Ground":
        ones = np.ones(view.shape)
        grid = SplineGrid(*view.shape, even_intervals(view.shape, _SPACING, _INTERVALS))
        mean = grid.gathered(ones) / ones.size
        held = _BEING * grid.gram(ones) + _MEAN * np.outer(mean, mean)
        return cls(np.concatenate([ones[None], view.low]), view.valid, grid, held)


class _Channel:
    """A channel of a guide at the cells of a view. values, detail: (h, w), and the variance of its detail."""

    def __init__(self, ground: _Ground, values: np.ndarray, detail: np.ndarray) -> None:
        self._low, self._valid, self._grid, self._held = ground.low, ground.valid, ground.grid, ground.held
        self._values, self._detail = values, detail
        self._unit = float(np.sqrt(detail.mean()))  # of what is added, so that costs mean about the same for both
        self._weights = fit_channel(self._low.reshape(len(self._low), -1), values, self._valid / detail)

    def fitted(self, gained: bool = False, added: bool = False) -> _Fit:
        """The best explanation with a gain, and with something added, if they are asked for."""
        kinds = [kind for kind, asked in (("gain", gained), ("added", added)) if asked]
        weights = self._weights
        controls, bending = np.zeros((len(kinds), self._grid.count)), np.full(len(kinds), _BENDING)
        for _ in range(_STEPS if kinds else 0):
            weights, controls, bending = self._step(kinds, weights, controls, bending)
        gain, sums = self._images(kinds, controls)
        left = self._values - gain * np.tensordot(weights, self._low, axes=1) - sums
        everywhere = float((left**2 / self._detail)[self._valid].mean())
        return _Fit(gain, sums, (self._trusted(left)[1], max(everywhere, float(np.finfo(float).tiny))))

    def _images(self, kinds: Sequence[str], controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gain and what is added, (h, w)."""
        surfaces = dict(zip(kinds, self._grid.surface(controls), strict=True))
        none = np.zeros(self._valid.shape)
        gain = np.exp(np.clip(surfaces.get("gain", none), -_WITHIN, _WITHIN))
        return gain, self._unit * surfaces.get("added", none)

    def _step(
        self, kinds: Sequence[str], weights: np.ndarray, controls: np.ndarray, bending: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of the components, controls and costs of bending after a step in which all move at once."""
        grid, count = self._grid, self._grid.count
        gain, sums = self._images(kinds, controls)
        like = gain * np.tensordot(weights, self._low, axes=1)
        left = self._values - like - sums
        slopes = [like if kind == "gain" else np.full(like.shape, self._unit) for kind in kinds]
        trust, usual = self._trusted(left)
        weight = trust / (self._detail * usual * alike(left * np.sqrt(trust / self._detail), _ALIKE))
        shown = (self._low * gain).reshape(len(self._low), -1)
        weighted = shown * weight.ravel()
        mixed = np.hstack([grid.gathered(weighted.reshape(self._low.shape) * slope) for slope in slopes])
        eliminated = np.linalg.solve(ridged(weighted @ shown.T), np.column_stack([mixed, weighted @ left.ravel()]))
        own = np.block([[grid.gram(weight * one * other) for other in slopes] for one in slopes])
        prior = np.kron(np.diag(bending), grid.bending) + np.kron(np.eye(len(kinds)), self._held)
        covariance = np.linalg.inv(own - mixed.T @ eliminated[:, :-1] + prior)
        right = np.concatenate([grid.gathered(weight * slope * left) for slope in slopes])
        step = covariance @ (right - mixed.T @ eliminated[:, -1] - prior @ controls.ravel())
        weights = weights + eliminated[:, -1] - eliminated[:, :-1] @ step
        controls = controls + step.reshape(controls.shape)
        parts = covariance.reshape(len(kinds), count, len(kinds), count)
        known = [
            count - 3 - bending[k] * float(np.tensordot(parts[k, :, k], grid.bending, 2)) for k in range(len(kinds))
        ]
        bent = np.maximum(np.einsum("kn,nm,km->k", controls, grid.bending, controls), 1e-12)
        bending = np.clip(np.maximum(known, 0.5) / bent, bending / 10, bending * 10)
        return weights, controls, bending

    def _trusted(self, left: np.ndarray) -> tuple[np.ndarray, float]:
        """Trust in each cell (h, w), by what is left of it, and the mean misfit of the cells that fit."""
        misfit, tiny = left**2 / self._detail, float(np.finfo(float).tiny)
        middle = max(float(np.median(misfit[self._valid])), tiny)
        trust = self._valid / (1 + misfit / (_MISFIT**2 * middle)) ** 2
        return trust, max(float((trust * misfit).sum() / trust.sum()), tiny)
