"""Exposure: ground that a guide shows in another light: haze, a cloud's shadow, a seam in a mosaic.

There each channel is a gain times what it shows elsewhere, plus an offset. So it can be evened out, and its detail
stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hsisr.degrade.explaining import fit_channels, misfit_of
from hsisr.degrade.view import View

#: Another exposure is sought in at least so many cells, this far from where it ends.
_LEAST_CELLS, _INSIDE = 40, 2
#: How often exposure and response are fitted in turns, and the share of the cells that count, the best explained ones.
_TURNS, _COUNTED = 10, 0.6
#: It must explain this share of the variance of each channel, and have a gain between these.
_EXPLAINED, _GAINS = 0.9, (0.1, 10.0)


@dataclass(frozen=True, eq=False)
class Exposure:
    """Ground of another exposure.

    degree: (h o, w o), 1 there and 0 elsewhere, for each sample of a view. gain, offset: (G,), the guide there = gain *
    what it shows elsewhere + offset.
    """

    degree: np.ndarray
    gain: np.ndarray
    offset: np.ndarray

    def evened(self, values: np.ndarray, share: np.ndarray | float = 1.0) -> np.ndarray:
        """Values of the guide (G, n, m) as of the usual exposure, where the share (n, m) is 1."""
        evened = np.empty_like(values)
        for plane, result, gain, offset in zip(values, evened, self.gain, self.offset, strict=True):
            result[...] = plane + share * ((plane - offset) / gain - plane)
        return evened


def find_exposures(
    view: View, sharp: np.ndarray, detail: np.ndarray, found: np.ndarray, limit: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Regions (h, w) of the cells `found` that another exposure explains, with its gain (G,) and offset (G,).

    sharp, detail: (G, h, w), the guide at the cells, and the variance of its detail. limit: a greater misfit (root)
    is change.
    Exposure and response are fitted in turns: the region may show colours of which the rest says little.
    """
    from scipy.ndimage import binary_erosion, label

    low = np.concatenate([np.ones((1, *view.shape)), view.low]).reshape(-1, view.valid.size)
    sharp, detail = (image.reshape(len(image), -1) for image in (sharp, detail))
    numbers, count = label(found)
    for number in range(1, count + 1):
        region = numbers == number
        inside = (binary_erosion(region, iterations=_INSIDE) & view.valid).ravel()
        if inside.sum() < _LEAST_CELLS:
            continue
        usual = (view.valid & ~found).ravel()
        like = fit_channels(low, sharp, detail, usual) @ low
        counted = np.flatnonzero(inside)
        for _ in range(_TURNS):
            tones = [np.polyfit(*pair, 1) for pair in zip(like[:, counted], sharp[:, counted], strict=True)]
            gain, offset = np.array(tones).T[:, :, None]
            if gain.min() < _GAINS[0] or gain.max() > _GAINS[1]:
                break
            misfit = misfit_of(sharp[:, inside] - gain * like[:, inside] - offset, detail[:, inside])
            counted = np.flatnonzero(inside)[misfit <= np.quantile(misfit, _COUNTED)]
            trust, evened = usual.copy(), sharp.copy()
            trust[counted] = True
            evened[:, counted] = (sharp[:, counted] - offset) / gain
            like = fit_channels(low, evened, detail, trust) @ low
        else:
            left = sharp[:, counted] - gain * like[:, counted] - offset
            explained = 1 - left.var(axis=1) / np.maximum(sharp[:, counted].var(axis=1), np.finfo(float).tiny)
            if explained.min() >= _EXPLAINED and misfit_of(left, detail[:, counted]).max() <= limit**2:
                yield region, gain[:, 0], offset[:, 0]


def even(view: View, exposures: Sequence[Exposure]) -> View:
    """The view with the guide as of the usual exposure."""
    sharp = view.sharp
    for exposure in exposures:
        sharp = exposure.evened(sharp, exposure.degree)
    return replace(view, sharp=sharp)
