"""The noise of a guide: how strong it is, and a guide without most of it.

A method that learns from the LR image how colours of the guide become spectra sees the guide through the footprint,
where noise averages out. It applies what it learnt to single pixels of the guide, where noise does not average out. So
the noise is taken out first, by thresholds on the discrete cosine transforms of all overlapping blocks (Yu and Sapiro,
DCT image denoising: a simple and effective image denoising algorithm, IPOL 2011). The noise of a camera grows with the
light, so values are first brought to units in which it has one strength (Foi et al., Practical Poissonian-Gaussian
noise modeling and fitting for single-image raw-data, IEEE TIP 2008). The channels are turned before, so that the signal
gathers in few of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hsisr.degrade.estimation import fit_response
from hsisr.degrade.sensor import Footprint
from hsisr.errors import percent
from hsisr.models.windows import HeldImages, Images, Span, Window

#: Side of a block, in pixels.
BLOCK_PX = 8
#: Up to the first, in deviations of the noise, a coefficient counts as noise, from the second on as signal. A jump at
#: one value would let rounding decide, and parts of a scene would differ from the whole.
_NOISE, _SIGNAL = 2.5, 3.5
#: Frequencies of a block, sum of rows' and columns', from which on noise is measured, and from which on up to those it
#: is looked for texture. Those below choose the blocks, so that the choice makes neither smaller.
_HIGH, _MIDDLE = 10, 7
#: Power of texture at middle frequencies over that at high ones: it falls with the square of the frequency (Field,
#: Relations between the statistics of natural images, JOSA A 1987). Noise has the same power at both.
_TEXTURE = 2.0
#: Groups of blocks by brightness. In each, the share of the blocks that are smooth enough to show noise alone, and how
#: many are taken at least; a window may hold this many times as many of them as others.
_GROUPS, _SMOOTH_SHARE, _FEWEST, _CANDIDATES = 4, 0.03, 8, 4
#: Share of a window's pixels that have its least or its greatest value, from which on values are clipped there: clipped
#: noise is less.
_CLIPPED_SHARE = 2e-3
#: How many times as large the variance is in the brightest blocks as in the darkest, from which on it grows with the
#: light: less is chance.
_RISE = 1.5
#: Least variance of the noise in the dark, over its mean.
_DARK_SHARE = 1e-2
#: Root mean square of noise over that of the guide or of a channel, up to which noise does no harm.
_NEGLIGIBLE = 3e-3
#: Mean of a channel over its deviation, up to which it counts in that root mean square. A greater one, as of kelvin,
#: would hide noise.
_LEVEL = 5.0
#: Deviation of noise over that of a channel, from which on it is nothing but noise: no cleaning makes an image of it.
_NOTHING_ELSE = 0.8
#: Values whose transforms are made at a time; they stay in the cache.
_STRIP_VALUES = 1 << 17


@dataclass(frozen=True, eq=False)
class GuideNoise:
    """The noise of a guide, and how its channels are turned.

    constant, linear: (G,), at least 0; the variance at a value v is constant + linear * max(v, 0), above 0. mean: (G,),
    of the guide. turn: (G, G), orthogonal, from channels in units of their noise to channels in which the signal
    gathers in the first. noisy: (G,), channels that lose their noise; the others stay as they are. share: root mean
    square of the noise over that of the guide.
    """

    constant: np.ndarray
    linear: np.ndarray
    mean: np.ndarray
    turn: np.ndarray
    noisy: np.ndarray
    share: float

    @property
    def remark(self) -> str:
        """A line for the user."""
        return f"has noise, about {percent(self.share)} of its values (RMS); most of it is taken out before use"

    def reach_lr_px(self, scale: int) -> int:
        """LR pixels around a part of the guide that its cleaning reads."""
        return -(-(BLOCK_PX - 1) // scale)

    def deviation(self, guide: np.ndarray) -> np.ndarray:
        """Standard deviation of the noise of a guide (G, n, m)."""
        constant, linear = _by_channel(self.constant, self.linear)
        found: np.ndarray = np.sqrt(_variance_at(constant, linear, guide))
        return found

    def cleaned(self, guide: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A part of the guide (G, n, m) without most of its noise, in its own type; of integers, float.

        mask: (n, m), its valid pixels; None: all. The values of the others are not read.
        """
        turn, edge = self.turn.astype(np.float32), BLOCK_PX - 1
        mean = self._evened(*_by_channel(self.mean))
        planes = np.tensordot(turn, self._evened(guide.astype(np.float32)) - mean, 1)
        if mask is not None:
            planes[:, ~mask] = 0
        planes = np.pad(planes, ((0, 0), (edge, edge), (edge, edge)), "symmetric")
        found, weights = np.zeros_like(planes), np.zeros(planes.shape[1:], np.float32)
        height, width = (size - edge for size in planes.shape[1:])
        step = max(1, _STRIP_VALUES // (BLOCK_PX**2 * width))
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height) + edge)
            _clean(planes[:, rows], found[:, rows], weights[rows])
        found /= weights
        found = np.tensordot(turn.T, found[:, edge:-edge, edge:-edge], 1)
        cleaned = guide.astype(np.result_type(guide, np.float32))
        cleaned[self.noisy] = self._values(found + mean)[self.noisy]
        return cleaned

    def _evened(self, values: np.ndarray) -> np.ndarray:
        """Values (G, n, m) in units in which the noise has a deviation of 1 everywhere."""
        constant, linear = _by_channel(self.constant, self.linear)
        evened: np.ndarray = 2 * values / (np.sqrt(_variance_at(constant, linear, values)) + np.sqrt(constant))
        return evened

    def _values(self, evened: np.ndarray) -> np.ndarray:
        """The inverse of `_evened`."""
        constant, linear = _by_channel(self.constant, self.linear)
        values: np.ndarray = evened * np.sqrt(constant) + linear / 4 * np.maximum(evened, 0) ** 2
        return values


@dataclass(frozen=True, eq=False)
class CleanImages:
    """Images whose guide has lost most of its noise. kept: all of them; None: the guide is cleaned as it is read."""

    images: Images
    scale: int
    noise: GuideNoise
    kept: HeldImages | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the LR image."""
        return self.images.size

    def window(self, rows: Span, columns: Span) -> Window:
        """The part of LR rows and columns [start, stop)."""
        if self.kept is not None:
            return self.kept.window(rows, columns)
        edge = self.noise.reach_lr_px(self.scale)
        first = [max(0, start - edge) for start, _ in (rows, columns)]
        last = [min(size, stop + edge) for (_, stop), size in zip((rows, columns), self.size, strict=True)]
        lr, guide, mask = self.images.window(*zip(first, last, strict=True))
        part = HeldImages(lr, self.noise.cleaned(guide, mask), self.scale, mask)
        inner = [(start - origin, stop - origin) for (start, stop), origin in zip((rows, columns), first, strict=True)]
        return part.window(*inner)

    def own_guide(self, rows: Span, columns: Span) -> tuple[np.ndarray, np.ndarray]:
        """The guide's pixels of which the result is made, with their noise, and its valid ones."""
        return self.images.own_guide(rows, columns)

    def held(self) -> "CleanImages":
        """The same, all in memory."""
        lr, guide, mask = self.window((0, self.size[0]), (0, self.size[1]))
        return replace(self, kept=HeldImages(lr, guide, self.scale, mask))

    def tell(self, done: float, total: float) -> None:
        """Pass it on."""
        self.images.tell(done, total)


def learn_noise(
    images: Images, windows: Sequence[tuple[Span, Span]], most: Callable[[], np.ndarray]
) -> GuideNoise | None:
    """The noise of the guide of images; None: it is too weak to do harm.

    windows: LR rows and columns of the windows that show it. The guide is read there as it lies: one that was moved has
    less noise at high frequencies. most: gives the greatest standard deviation (G,) that the LR image leaves room for
    (`most_noise`); it is asked only if the guide itself shows noise.
    """
    shown, total, products, pixels = [], np.zeros(()), np.zeros(()), 0
    for rows, columns in windows:
        guide, valid = images.own_guide(rows, columns)
        shown.append(_blocks(guide, valid))
        values = guide[:, valid].astype(np.float64)
        total, products, pixels = total + values.sum(axis=1), products + values @ values.T, pixels + values.shape[1]
    if not np.any(products):
        return None
    mean, whole = total / pixels, np.diag(products) / pixels
    spread = products / pixels - np.outer(mean, mean)
    own = np.where(np.diag(spread) > np.finfo(np.float32).eps ** 2 * whole, np.diag(spread), 0)  # beyond rounding
    power = np.minimum(whole, (1 + _LEVEL**2) * own)
    constant, linear = _curve(shown)

    def that_counts() -> np.ndarray:
        found = _variance_at(constant, linear, mean)
        return np.where((found > _NEGLIGIBLE**2 * power) & (found < _NOTHING_ELSE**2 * own), found, 0)

    variance, enough = that_counts(), _NEGLIGIBLE**2 * power.sum()
    if variance.sum() > enough:
        limit = most() ** 2
        kept = np.divide(limit, variance, out=np.ones_like(variance), where=limit < variance)
        constant, linear = kept * constant, kept * linear
        variance = that_counts()
    if variance.sum() <= enough:
        return None
    share = float(np.sqrt(variance.sum() / whole.sum()))
    least = np.maximum(_DARK_SHARE * variance, _NEGLIGIBLE**2 * np.maximum(power, _DARK_SHARE * power.max()))
    constant = np.maximum(constant, least)
    level = np.sqrt(_variance_at(constant, linear, mean))
    turn = np.linalg.eigh(spread / np.outer(level, level))[1].T[::-1]
    return GuideNoise(constant, linear, mean, turn, variance > 0, share)


def most_noise(bands: np.ndarray, guide: np.ndarray, footprint: Footprint) -> np.ndarray:
    """The greatest standard deviation (G,) of a guide's noise: all that an LR image does not explain of its averages.

    bands: (B, n), of the LR image. guide: (G, n), as the sensor sees it through the footprint, which averages noise.
    """
    response, offset = fit_response(bands, guide)
    left = ((guide - response @ bands - offset[:, None]) ** 2).mean(axis=1)
    most: np.ndarray = np.sqrt(left / ((footprint.rows**2).sum() * (footprint.columns**2).sum()))
    return most


def noise_level(guide: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Standard deviation (G,) of the noise of a guide (G, n, m), in the mean of its values; 0 if there is none.

    mask: (n, m), its valid pixels.
    """
    constant, linear = _curve([_blocks(guide, mask)])
    mean = guide[:, mask].mean(axis=1, dtype=np.float64) if mask.any() else np.zeros(len(guide))
    level: np.ndarray = np.sqrt(_variance_at(constant, linear, mean))
    return level


def _clean(planes: np.ndarray, found: np.ndarray, weights: np.ndarray) -> None:
    """Add all blocks of planes (C, n, m) without noise to `found`, and their weights to `weights` (n, m).

    A block with less signal weighs more: less noise is left in it.
    """
    transform = _transform()
    size = planes.shape[1] - BLOCK_PX + 1, planes.shape[2] - BLOCK_PX + 1
    signals, kept = [], np.zeros(size[0] * size[1], np.float32)
    for plane in planes:
        blocks = sliding_window_view(plane, (BLOCK_PX, BLOCK_PX)).transpose(2, 3, 0, 1)
        values = transform @ blocks.reshape(BLOCK_PX**2, -1)
        gain = np.abs(values)
        gain -= _NOISE
        gain /= _SIGNAL - _NOISE
        np.clip(gain, 0, 1, out=gain)
        gain[0] = 1  # the mean
        kept += gain.sum(axis=0)
        signals.append(np.multiply(values, gain, out=values))
    weight = (1 / kept).reshape(size)
    for signal, plane in zip(signals, found, strict=True):
        signal *= weight.ravel()
        blocks = (transform.T @ signal).reshape(BLOCK_PX, BLOCK_PX, *size)
        for row, column in np.ndindex(BLOCK_PX, BLOCK_PX):
            plane[row : row + size[0], column : column + size[1]] += blocks[row, column]
    for row, column in np.ndindex(BLOCK_PX, BLOCK_PX):
        weights[row : row + size[0], column : column + size[1]] += weight


@cache
def _transform() -> np.ndarray:
    """Orthonormal discrete cosine transform (64, 64) of a block's pixels, row by row."""
    along = np.arange(BLOCK_PX)
    one = np.cos(np.pi * np.outer(along, along + 0.5) / BLOCK_PX) * np.sqrt(2 / BLOCK_PX)
    one[0] /= np.sqrt(2)
    transform: np.ndarray = np.kron(one, one).astype(np.float32)
    return transform


class _Blocks(NamedTuple):
    """Blocks: roughness (n,), means (G, n), and middle and high frequencies (G, F, n)."""

    rough: np.ndarray
    mean: np.ndarray
    fine: np.ndarray

    def smoothest(self, share: float) -> list["_Blocks"]:
        """The smoothest ones, of each group that share of its blocks, or a few."""
        groups = np.array_split(np.argsort(self.mean.sum(axis=0), kind="stable"), _GROUPS)
        smooth = [group[np.argsort(self.rough[group], kind="stable")] for group in groups if len(group)]
        return [self._some(group[: max(_FEWEST, math.ceil(share * len(group)))]) for group in smooth]

    def _some(self, chosen: np.ndarray) -> "_Blocks":
        return _Blocks(*(part[..., chosen] for part in self))


def _joined(parts: Sequence[_Blocks]) -> _Blocks:
    return _Blocks(*(np.concatenate(each, axis=-1) for each in zip(*parts, strict=True)))


def _blocks(guide: np.ndarray, mask: np.ndarray) -> _Blocks:
    """Of a window's blocks of valid pixels the smoothest, more than are needed.

    Blocks that are the same number everywhere lie outside the image's ground, or are cut off: they show no noise. Those
    that are cut off in part show too little.
    """
    height, width = (size // BLOCK_PX for size in guide.shape[1:])
    guide, mask = (part[..., : height * BLOCK_PX, : width * BLOCK_PX] for part in (guide, mask))
    shape = height, BLOCK_PX, width, BLOCK_PX
    blocks = guide.reshape(len(guide), *shape)
    valid = mask.reshape(shape).all(axis=(1, 3)) & (blocks.min(axis=(2, 4)) < blocks.max(axis=(2, 4))).any(axis=0)
    whole = valid & ~_clipped(guide, mask).reshape(shape).any(axis=(1, 3))
    if whole.any():
        valid = whole
    frequency = _frequency()
    rough, mean, fine = np.zeros(int(valid.sum())), [], []
    for plane in guide:
        pixels = plane.reshape(shape).transpose(1, 3, 0, 2)[:, :, valid].reshape(BLOCK_PX**2, -1)
        values = _transform() @ pixels.astype(np.float32)
        rough += np.square(values[(frequency > 0) & (frequency < _MIDDLE)], dtype=np.float64).sum(axis=0)
        mean.append(values[0] / BLOCK_PX)
        fine.append(values[frequency >= _MIDDLE])
    found = _Blocks(rough, np.stack(mean), np.stack(fine))
    return _joined(found.smoothest(_CANDIDATES * _SMOOTH_SHARE)) if len(rough) else found


def _clipped(guide: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels (n, m) at the least or the greatest value of a channel, if many are; guide: (G, n, m)."""
    clipped = np.zeros_like(mask)
    if not mask.any():
        return clipped
    for plane in guide:
        values = plane[mask]
        ends = values.min(), values.max()
        for end in ends if ends[0] < ends[1] else ():
            if np.count_nonzero(values == end) > _CLIPPED_SHARE * values.size:
                clipped |= plane == end
    return clipped


def _curve(shown: Sequence[_Blocks]) -> tuple[np.ndarray, np.ndarray]:
    """Constant and linear part (G,) of the variance of the noise in the smooth blocks that windows show; 0 without any.

    Of each group of blocks, the variance and the mean; through these a line, or, if it hardly rises, their median.
    """
    from scipy.optimize import nnls

    groups = _joined(shown).smoothest(1 / _CANDIDATES)
    found = np.zeros((2, shown[0].mean.shape[0]))
    if not groups:
        return found[0], found[1]
    variances = np.array([_variance(group.fine) for group in groups])
    means = np.array([np.maximum(group.mean, 0).mean(axis=1, dtype=np.float64) for group in groups])
    for channel, (variance, mean) in enumerate(zip(variances.T, means.T, strict=True)):
        size = max(float(mean.max()), np.finfo(float).tiny)
        line = np.stack([np.ones_like(mean), mean / size], axis=1)
        sure = 1 / np.maximum(variance + variance.mean(), np.finfo(float).tiny)  # a strong one is known less well
        fitted = nnls(line * sure[:, None], variance * sure)[0]
        rises = np.ptp(line @ fitted) > (_RISE - 1) * (line @ fitted).min()
        found[:, channel] = fitted / (1, size) if rises else (np.median(variance), 0)
    return found[0], found[1]


def _variance(fine: np.ndarray) -> np.ndarray:
    """Variance (G,) of the noise in middle and high frequencies (G, F, n) of smooth blocks.

    What other channels explain is texture. So is what is weaker, the higher the frequency.
    """
    frequency = _frequency()
    high = frequency[frequency >= _MIDDLE] >= _HIGH
    at_high, at_middle = (_unexplained(fine[:, which]) for which in (high, ~high))
    noise: np.ndarray = at_high * np.clip(1 - (at_middle / at_high - 1) / (_TEXTURE - 1), 0, 1)
    return noise


def _unexplained(values: np.ndarray) -> np.ndarray:
    """Mean square (G,) of what a linear function of the other channels leaves of each of values (G, F, n)."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    spread = flat @ flat.T / flat.shape[1]
    spread += np.eye(len(spread)) * max(1e-12 * np.trace(spread), np.finfo(float).tiny)
    left: np.ndarray = 1 / np.diag(np.linalg.inv(spread))
    return left


def _frequency() -> np.ndarray:
    """Frequency (64,) of a block's coefficients, sum of rows' and columns'."""
    return np.add.outer(np.arange(BLOCK_PX), np.arange(BLOCK_PX)).ravel()


def _by_channel(*values: np.ndarray) -> list[np.ndarray]:
    """Values (G,) as (G, 1, 1), float32."""
    return [each.astype(np.float32)[:, None, None] for each in values]


def _variance_at(constant: np.ndarray, linear: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Variance of the noise at values; all of shapes that broadcast."""
    found: np.ndarray = constant + linear * np.maximum(values, 0)
    return found
