"""The noise of a guide: how strong it is, and a guide without most of it.

A method that learns from the LR image how colours of the guide become spectra sees the guide through the footprint,
where noise averages out. It applies what it learnt to single pixels of the guide, where noise does not average out. So
the noise is taken out first, by thresholds on the discrete cosine transforms of all overlapping blocks (Yu and Sapiro,
DCT image denoising: a simple and effective image denoising algorithm, IPOL 2011). The channels are turned before, so
that the signal gathers in few of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hsisr.degrade.estimation import fit_response
from hsisr.degrade.sensor import Footprint
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
#: Share of the blocks that are smooth enough to show noise alone; a window may hold this many times as many of them as
#: others.
_SMOOTH_SHARE, _CANDIDATES = 0.03, 4
#: Root mean square of noise over that of the guide, up to which noise does no harm.
_NEGLIGIBLE = 3e-3
#: Least noise of a channel, over the strongest channel's: one without noise stays as it is.
_LEAST_LEVEL = 1e-3
#: Values whose transforms are made at a time; they stay in the cache.
_STRIP_VALUES = 1 << 17


@dataclass(frozen=True, eq=False)
class GuideNoise:
    """The noise of a guide, and how its channels are turned.

    level: (G,), standard deviation, above 0. mean: (G,), of the guide. turn: (G, G), orthogonal, from channels in units
    of their noise to channels in which the signal gathers in the first. share: root mean square of the noise over that
    of the guide.
    """

    level: np.ndarray
    mean: np.ndarray
    turn: np.ndarray
    share: float

    @property
    def remark(self) -> str:
        """A line for the user."""
        return f"has noise, about {self.share:.1%} of its values (RMS); most of it is taken out before use"

    def reach_lr_px(self, scale: int) -> int:
        """LR pixels around a part of the guide that its cleaning reads."""
        return -(-(BLOCK_PX - 1) // scale)

    def cleaned(self, guide: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A part of the guide (G, n, m) without most of its noise, in its own type; of integers, float.

        mask: (n, m), its valid pixels; None: all. The values of the others are not read.
        """
        level, mean = (values.astype(np.float32)[:, None, None] for values in (self.level, self.mean))
        turn, edge = self.turn.astype(np.float32), BLOCK_PX - 1
        planes = np.tensordot(turn, (guide.astype(np.float32) - mean) / level, 1)
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
        cleaned: np.ndarray = (found * level + mean).astype(np.result_type(guide, np.float32))
        return cleaned


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
    power = float(np.trace(products)) / max(1, pixels)
    if not power:
        return None
    level = _level(shown)
    if (level**2).sum() > _NEGLIGIBLE**2 * power:
        level = np.minimum(level, most())
    if (level**2).sum() <= _NEGLIGIBLE**2 * power:
        return None
    share = float(np.sqrt((level**2).sum() / power))
    level = np.maximum(level, _LEAST_LEVEL * level.max())
    mean = total / pixels
    spread = (products / pixels - np.outer(mean, mean)) / np.outer(level, level)
    return GuideNoise(level, mean, np.linalg.eigh(spread)[1].T[::-1], share)


def most_noise(bands: np.ndarray, guide: np.ndarray, footprint: Footprint) -> np.ndarray:
    """The greatest standard deviation (G,) of a guide's noise: all that an LR image does not explain of its averages.

    bands: (B, n), of the LR image. guide: (G, n), as the sensor sees it through the footprint, which averages noise.
    """
    response, offset = fit_response(bands, guide)
    left = ((guide - response @ bands - offset[:, None]) ** 2).mean(axis=1)
    most: np.ndarray = np.sqrt(left / ((footprint.rows**2).sum() * (footprint.columns**2).sum()))
    return most


def noise_level(guide: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Standard deviation (G,) of the noise of a guide (G, n, m), from its smoothest blocks; 0 if there is none.

    mask: (n, m), its valid pixels.
    """
    return _level([_blocks(guide, mask)])


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


def _blocks(guide: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a window's smoothest blocks of valid pixels: roughness (n,), and middle and high frequencies (G, F, n).

    Blocks that are the same number everywhere lie outside the image's ground, or are cut off: they show no noise.
    """
    height, width = (size // BLOCK_PX for size in guide.shape[1:])
    rows, columns = height * BLOCK_PX, width * BLOCK_PX
    shape = height, BLOCK_PX, width, BLOCK_PX
    valid = mask[:rows, :columns].reshape(shape).all(axis=(1, 3))
    blocks = guide[:, :rows, :columns].reshape(len(guide), *shape)
    valid &= (blocks.min(axis=(2, 4)) < blocks.max(axis=(2, 4))).any(axis=0)
    frequency = _frequency()
    rough, fine = np.zeros(int(valid.sum())), []
    for plane in guide[:, :rows, :columns]:
        pixels = plane.reshape(shape).transpose(1, 3, 0, 2)[:, :, valid].reshape(BLOCK_PX**2, -1)
        values = _transform() @ pixels.astype(np.float32)
        rough += np.square(values[(frequency > 0) & (frequency < _MIDDLE)], dtype=np.float64).sum(axis=0)
        fine.append(values[frequency >= _MIDDLE])
    smooth = np.argsort(rough)[: math.ceil(_CANDIDATES * _SMOOTH_SHARE * len(rough))]
    return rough[smooth], np.stack(fine)[:, :, smooth]


def _level(shown: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Standard deviation (G,) of the noise in the smoothest blocks that windows show; 0 without any.

    What other channels explain is texture. So is what is weaker, the higher the frequency.
    """
    rough, fine = (np.concatenate(parts, axis=-1) for parts in zip(*shown, strict=True))
    smooth = np.argsort(rough)[: math.ceil(len(rough) / _CANDIDATES)]
    if not len(smooth):
        return np.zeros(len(fine))
    frequency = _frequency()
    high = frequency[frequency >= _MIDDLE] >= _HIGH
    values = fine[:, :, smooth].astype(np.float64)
    spread = np.einsum("gfn,hfn->gh", values[:, high], values[:, high]) / (high.sum() * len(smooth))
    spread += np.eye(len(spread)) * max(1e-12 * np.trace(spread), np.finfo(float).tiny)
    inverse = np.linalg.inv(spread)
    unexplained = 1 / np.diag(inverse)
    middle = np.einsum("gh,hfn->gfn", unexplained[:, None] * inverse, values[:, ~high])
    steep = (middle**2).sum(axis=(1, 2)) / middle[0].size / unexplained
    level: np.ndarray = np.sqrt(unexplained * np.clip(1 - (steep - 1) / (_TEXTURE - 1), 0, 1))
    return level


def _frequency() -> np.ndarray:
    """Frequency (64,) of a block's coefficients, sum of rows' and columns'."""
    return np.add.outer(np.arange(BLOCK_PX), np.arange(BLOCK_PX)).ravel()
