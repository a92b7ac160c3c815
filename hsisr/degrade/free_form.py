"""Footprints of any form along each axis, for pairs whose guide neither a Gaussian nor a block's mean explains.

Rows and columns take turns. While the taps of one axis are fixed, linear equations give the taps of the other axis.
The taps bring the guide to the LR grid, and the LR image's principal components explain it there. The equations find
the taps that leave the least share of the guide unexplained, as in canonical correlation (Hotelling 1936). Dinkelbach's
steps (Management Science 1967) lead to this least share. A ridge draws the taps to the start. Without the ridge, in
a scene of few spatial frequencies, other weights of the components could make up for a wrong form.
Side lobes, single pixels and asymmetries come out as they are. A free form is taken only if it better explains pixels
to which it was not fitted.
"""

import math
from collections.abc import Iterable

import numpy as np

from hsisr.degrade.sampling import correlation_axis
from hsisr.degrade.sensor import Footprint

#: Reach of the taps on either side of the known centroid, in LR pixels.
_REACH_LR_PX = 2.0
#: How often rows and columns take turns.
_TURNS = 3
#: Ridges that are tried, as parts of a tap's mean power. A ridge is good enough if it leaves no more than `_NEARLY`
#: times as much as the best ridge. The greatest of these is taken.
_RIDGES, _NEARLY = (1e-4, 1e-3, 1e-2, 1e-1), 1.1
#: Dinkelbach's steps towards the least share.
_STEPS = 3
#: Pixels are divided by squares of this side, in LR pixels: half of the squares fit, the others judge.
_SQUARE_LR_PX = 4
#: Each half needs at least this many pixels for each tap of an axis. With fewer, chance decides.
_LEAST_PX_A_TAP = 1
#: A free form must explain this part of what the start leaves, in both halves. No form can if the start is the PSF.
GAIN_ON_GAUSSIAN, GAIN_ON_BLOCK = 0.04, 0.5
#: If the start leaves less than this share unexplained, there is nothing to gain.
_NOTHING_LEFT = 1e-5
#: Number of principal components of the LR image that explain the guide. More would begin to explain its blur.
_COMPONENTS = 10


def improved(
    start: Footprint, lr: np.ndarray, guide: np.ndarray, scale: int, inside: np.ndarray, gain: float
) -> Footprint:
    """A free-form footprint; or `start`, if the form explains too little more of pixels to which it was not fitted.

    gain: the part, 0 to 1, of what `start` leaves unexplained that the form must explain.
    start: the footprint so far. lr: (B, h, w). guide: (G, h s, w s), the channels that show the same as the LR image.
    inside: (h, w), LR pixels to use: valid, and clear of the borders.
    """
    halves = _halves(inside)
    if min(int(fit.sum()) for fit, _ in halves) < _LEAST_PX_A_TAP * _length(scale):
        return start
    components, guide = _components(lr, inside), guide.astype(np.float64, copy=False)
    known = [_unexplained(start, components, guide, scale, fit, judge) for fit, judge in halves]
    if max(known) < _NOTHING_LEFT:
        return start
    along = np.ascontiguousarray(guide.transpose(0, 2, 1)), guide
    left = dict.fromkeys(_RIDGES, 0.0)
    for ridge in _RIDGES:
        for before, (fit, judge) in zip(known, halves, strict=True):
            if math.isinf(left[ridge]):
                break  # one half is enough to reject it
            found = _fitted(start, components, along, scale, fit, ridge)
            now = _unexplained(found, components, guide, scale, fit, judge)
            left[ridge] += now if now < (1 - gain) * before else math.inf
    least = min(left.values())
    if math.isinf(least):
        return start
    cautious = max(ridge for ridge in _RIDGES if left[ridge] <= _NEARLY * least)
    return _fitted(start, components, along, scale, inside, cautious)


def _length(scale: int) -> int:
    """Taps of an axis."""
    return 2 * math.ceil(_REACH_LR_PX * scale) + 1


def _components(lr: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The LR image's strongest principal components, (K, h, w)."""
    lr = lr.astype(np.float64)
    pixels = lr[:, inside] - lr[:, inside].mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(pixels @ pixels.T)
    kept = min(_COMPONENTS, int(np.sum(values > 1e-12 * values[-1])))
    components: np.ndarray = np.tensordot(vectors[:, -kept:].T, lr, 1)
    return components


def _halves(inside: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide the pixels into two halves, like the squares of a chessboard. Each half fits once and judges once."""
    rows, columns = np.indices(inside.shape) // _SQUARE_LR_PX
    white = (rows + columns) % 2 == 0
    return [(inside & white, inside & ~white), (inside & ~white, inside & white)]


def _unexplained(
    footprint: Footprint, components: np.ndarray, guide: np.ndarray, scale: int, fit: np.ndarray, judge: np.ndarray
) -> float:
    """Share of the guide that the components do not explain at the pixels `judge`.

    The footprint brings the guide to the LR grid. The regression on the components is fitted at the pixels `fit`.
    """
    low = footprint.sampler(scale, guide.shape[1:])(guide)
    known, wanted = _with_constant(components[:, fit]), low[:, fit]
    weights = np.linalg.lstsq(known.T, wanted.T, rcond=None)[0]
    left = low[:, judge] - weights.T @ _with_constant(components[:, judge])
    spread = low[:, judge] - low[:, judge].mean(axis=1, keepdims=True)
    return float(np.mean((left**2).sum(axis=1) / np.maximum((spread**2).sum(axis=1), np.finfo(float).tiny)))


def _fitted(
    start: Footprint,
    components: np.ndarray,
    along: tuple[np.ndarray, np.ndarray],
    scale: int,
    fit: np.ndarray,
    ridge: float,
) -> Footprint:
    """The footprint, drawn to `start`, that leaves the least share unexplained at the pixels `fit`.

    along: the guide with the rows as the last axis, and the guide with the columns as the last axis.
    """
    basis = np.linalg.qr(_with_constant(components[:, fit]).T)[0]
    length = _length(scale)
    shift = start.shift_px(scale)
    first = [math.floor((scale - 1) / 2 + offset + 0.5) - length // 2 for offset in shift]
    places = np.nonzero(fit)
    reads = [_reads(places[axis], along[axis].shape[2], (first[axis], length), scale) for axis in (0, 1)]
    taps = [start.rows, start.columns]
    starts = list(start.start)
    for turn in range(2 * _TURNS):
        axis = turn % 2
        narrow = correlation_axis(along[axis].shape[1], scale, starts[1 - axis], taps[1 - axis])
        # the values that each tap alone reads from a channel, (taps, pixels)
        seen = ((narrow @ channel)[places[1 - axis], reads[axis]] for channel in along[axis])
        usual = _placed(start.start[axis], (start.rows, start.columns)[axis], first[axis], length)
        taps[axis], starts[axis] = _best_taps(seen, usual, basis, ridge), first[axis]
    return Footprint(taps[0], taps[1], (starts[0], starts[1]))


def _reads(places: np.ndarray, size: int, taps: tuple[int, int], scale: int) -> np.ndarray:
    """Numbers (taps, pixels) of the HR pixels, 0 to `size` - 1 along an axis, that taps read for LR pixels at `places`.

    taps: the first tap's place within an LR pixel, and the number of taps.
    """
    reads = (np.arange(taps[1])[:, None] + taps[0] + places * scale) % (2 * size)
    mirrored: np.ndarray = np.minimum(reads, 2 * size - 1 - reads)
    return mirrored


def _placed(start: int, taps: np.ndarray, first: int, length: int) -> np.ndarray:
    """The taps that begin at pixel `start`, as `length` taps that begin at pixel `first`; with sum 1."""
    wide = np.zeros(length)
    for place, tap in enumerate(taps, start - first):
        if 0 <= place < length:
            wide[place] = tap
    wide /= wide.sum()
    return wide


def _best_taps(seen: Iterable[np.ndarray], usual: np.ndarray, basis: np.ndarray, ridge: float) -> np.ndarray:
    """The taps, with sum 1, that leave the least share unexplained; a ridge draws them to the `usual` taps.

    seen: for each channel, the values that each tap reads, (taps, pixels). basis: of the components, orthonormal.
    """
    length = len(usual)
    left, power = np.zeros((2, length, length))
    for channel in seen:
        centred = channel - channel.mean(axis=1, keepdims=True)
        known = centred @ basis
        size = max(float((centred**2).mean()), np.finfo(float).tiny)
        product = centred @ centred.T
        left += (product - known @ known.T) / size
        power += product / size
    unit = np.eye(length) * max(np.trace(power) / length, np.finfo(float).tiny)
    taps = usual
    for _ in range(_STEPS):
        share = (taps @ left @ taps) / max(taps @ power @ taps, np.finfo(float).tiny)
        pull = left - share * power + ridge * unit
        system = np.block([[pull, np.ones((length, 1))], [np.ones((1, length)), np.zeros((1, 1))]])
        taps = np.linalg.solve(system, np.append(ridge * unit @ usual, 1.0))[:length]
    return taps


def _with_constant(components: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((1, components.shape[1])), components])
