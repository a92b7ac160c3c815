"""Functions of the guide's colour and of the place, of which every coefficient of the image is taken to be a sum."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from hsisr.degrade.sampling import Sampler

#: Kernel bumps, each at a pixel of the scene; more gain little (docs/model-hybrid.md).
WAVES = 512


class Kernel(NamedTuple):
    """Widths of a bump: of colour, in units of its standard deviation over all channels (sum of squares 3), and of
    place, in units of the image's longer side."""

    colour: float
    place: float


#: Kernels among which a scene chooses.
KERNELS = (Kernel(1.5, 0.2), Kernel(2.2, 0.2), Kernel(2.2, 0.4), Kernel(3.0, 0.5))
#: Pixels, drawn at random, among which centres are chosen, and the kernel in whose widths they are to lie apart.
_CANDIDATES_PX, _APART = 8192, Kernel(1.5, 0.2)
#: Variance that is added to a bump's own so that those of nearly the same place can be told apart.
_JITTER = 1e-6
#: Standard deviation of channels and products, against that of the bumps together, 1: what is linear comes first.
_PLAIN = 10.0
#: Colour is compared after a square root, which evens out what light does to it; this keeps black apart from itself.
_DARK = 1e-3
#: Channels of which all products are features; of more, only those of so many principal components are, as their number
#: grows with the square.
MOST_MULTIPLIED = 20
#: Bumps that are made at a time for the whole image.
_CHUNK = 8
#: Pixels whose distances from the centres are found at a time.
_STRIP_PX = 1 << 14
#: LR pixels whose bumps are whitened at a time.
_TURNED_LR_PX = 4096


class Bumps:
    """Squared-exponential bumps around centres (d, M) in z = (colour, place): features of a Gaussian process.

    Turned by `whitening` (M, M), sums of them with independent normal weights are that process as far as its values at
    the centres determine it (Nystroem; Williams and Seeger, Using the Nystroem method to speed up kernel machines,
    NIPS 2000). Away from all centres they vanish, and leave what is linear in the guide.
    """

    def __init__(self, centres: np.ndarray, kernel: Kernel) -> None:
        width = np.full((len(centres), 1), kernel.colour, np.float32)
        width[-2:] = kernel.place
        self._middle, self._width = centres.mean(axis=1, keepdims=True), width
        scaled = self._scaled(centres)
        # exp(-|a - b|^2 / 2) with the distance as one product: a . b - |a|^2 / 2 - |b|^2 / 2
        self._around = np.concatenate([scaled, -_half_square(scaled), np.ones_like(scaled[:1])]).T.copy()
        exact = scaled.astype(np.float64)
        products = exact.T @ exact
        squares = np.diag(products)
        alike = np.exp(products - (squares[:, None] + squares) / 2)
        self.whitening = np.linalg.inv(np.linalg.cholesky(alike + _JITTER * np.eye(len(alike))))

    def __call__(self, place: np.ndarray, which: slice = slice(None)) -> np.ndarray:
        """The bumps (M, n), or some of them, not yet whitened, at z (d, n), float32."""
        around = self._around[which]
        values = np.empty((len(around), place.shape[1]), np.float32)
        for first in range(0, place.shape[1], _STRIP_PX):
            part = slice(first, first + _STRIP_PX)
            scaled = self._scaled(place[:, part])
            values[:, part] = around @ np.concatenate([scaled, np.ones_like(scaled[:1]), -_half_square(scaled)])
        np.minimum(values, 0, out=values)  # rounding
        return np.exp(values, out=values)

    def _scaled(self, place: np.ndarray) -> np.ndarray:
        return (place - self._middle) / self._width


class Functions:
    """Smooth functions f_j(colour, place), learnt from a guide and made for any part of it.

    The channels themselves and their products (of more than 20 channels, those of 20 principal components), all of one
    variance; then bumps in z = (square root of colour, place).

    guide: (G, H, W), float32, all of it or a sample.
    """

    bumps: Bumps

    def __init__(self, guide: np.ndarray) -> None:
        channels = len(guide)
        multiplied = min(channels, MOST_MULTIPLIED)
        self._pairs = [(i, j) for i in range(multiplied) for j in range(i, multiplied)]
        self._principal = _principal(guide) if channels > MOST_MULTIPLIED else None
        self._peak = max(float(np.abs(guide).max()), float(np.finfo(np.float32).tiny))
        roots = [(root.mean(), root.var()) for root in map(self._root, guide)]
        self._colour_mean = np.array([mean for mean, _ in roots], np.float32)
        spread = float(sum(variance for _, variance in roots))
        self._colour_gain = np.float32(np.sqrt(3 / spread)) if spread > 0 else np.float32(1)
        self._gains = np.ones(channels + len(self._pairs), np.float32)
        deviation = np.array([plane.std() for plane in self.planes(guide)])
        self._gains = (_PLAIN / np.where(deviation > 1e-6 * self._peak, deviation, 1)).astype(np.float32)

    def __len__(self) -> int:
        return self.plain + len(self.bumps.whitening)

    @property
    def plain(self) -> int:
        """Channels and their products."""
        return len(self._gains)

    def __call__(self, guide: np.ndarray, place: np.ndarray) -> np.ndarray:
        """All features at guide (G, n, m), place (2, n, m), the bumps not yet whitened: (len(self), n m), float32."""
        return np.concatenate([self.polynomial(guide), self.bumps(self.where(guide, place))])

    def where(self, guide: np.ndarray, place: np.ndarray) -> np.ndarray:
        """z of guide (G, n, m) at place (2, n, m), as `places` gives it: (G + 2, n m), float32."""
        found = np.empty((len(guide) + 2, *guide.shape[1:]), np.float32)
        for channel, mean, result in zip(guide, self._colour_mean, found, strict=False):
            result[...] = (self._root(channel) - mean) * self._colour_gain
        found[-2:] = place
        return found.reshape(len(found), -1)

    def polynomial(self, guide: np.ndarray) -> np.ndarray:
        """Channels and products of guide (G, n, m): (plain, n m)."""
        found = np.empty((self.plain, guide[0].size), np.float32)
        for plane, result in zip(self.planes(guide), found, strict=True):
            result[...] = plane.ravel()
        return found

    def planes(self, guide: np.ndarray) -> Iterator[np.ndarray]:
        """The same, one after the other: (n, m) each."""
        factors = guide
        if self._principal is not None:
            mean, basis = self._principal
            factors = np.stack([_sum(weights, guide, mean) for weights in basis])
        for channel, gain in zip(guide, self._gains, strict=False):
            yield channel * gain
        for (i, j), gain in zip(self._pairs, self._gains[len(guide) :], strict=True):
            yield factors[i] * factors[j] * gain

    def _root(self, guide: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(guide / self._peak, 0) + np.float32(_DARK))


def places(rows: tuple[int, int], columns: tuple[int, int], longer: int) -> np.ndarray:
    """Row and column of pixels [start, stop), in units of the image's longer side: (2, n, m), float32."""
    down, across = (np.arange(*span) / longer for span in (rows, columns))
    found = np.empty((2, len(down), len(across)), np.float32)
    found[0], found[1] = down[:, None], across
    return found


class GuideFeatures:
    """`Functions` at every pixel of a guide, made when they are asked for, with bumps around pixels of it.

    Half of the pixels are drawn at random, half are far from all others. As the features live at HR and the sensor is
    linear, what it sees of a sum of them is the same sum of what it sees of each (`seen_by`).

    guide: (G, H, W). waves: bumps, at most one a pixel. mask: (H, W), the pixels that may be centres, or None for all.
    place: (2, H, W), where its pixels lie (`places`), if it is not an image of its own.
    """

    def __init__(
        self,
        guide: np.ndarray,
        waves: int = WAVES,
        seed: int = 0,
        mask: np.ndarray | None = None,
        place: np.ndarray | None = None,
    ) -> None:
        self._guide = guide.astype(np.float32, copy=False)
        self._height, self._width = guide.shape[1:]
        self._place = places((0, self._height), (0, self._width), max(guide.shape[1:])) if place is None else place
        self.functions = Functions(self._guide)
        pixels = np.arange(guide[0].size) if mask is None else np.flatnonzero(mask)
        rng = np.random.default_rng(seed)
        drawn = rng.permutation(pixels)[:_CANDIDATES_PX]
        guide, place = (part.reshape(len(part), 1, -1)[..., drawn] for part in (self._guide, self._place))
        self._centres = _centres(self.functions.where(guide, place), waves)
        self.functions.bumps = Bumps(self._centres, _APART)

    def __len__(self) -> int:
        return len(self.functions)

    @property
    def simpler(self) -> tuple[int, int]:
        """Numbers of leading features that may do alone: the channels; the channels and their products."""
        return len(self._guide), self.functions.plain

    def choose(self, sampler: Sampler, pixels: np.ndarray, surprise: Callable[[np.ndarray], float]) -> None:
        """Take the kernel of least surprise, a function of features (len(self), n) at LR pixels of these n indices.

        Kernels are told apart by bumps of what the sensor sees of colour and place, which are nearly what it sees of
        the bumps, and soon made.
        """
        whole = self._where().reshape(-1, self._height, self._width)
        place = sampler(whole).reshape(len(whole), -1)[:, pixels].astype(np.float32)
        plain = np.empty((self.functions.plain, len(pixels)))
        self._plain_seen_by(sampler, plain, pixels)
        candidates = [Bumps(self._centres, kernel) for kernel in KERNELS]
        surprises = [surprise(np.concatenate([plain, bumps.whitening @ bumps(place)])) for bumps in candidates]
        self.functions.bumps = candidates[int(np.argmin(surprises))]

    def rows(self, part: slice) -> np.ndarray:
        """All features at the HR rows `part`, the bumps not yet whitened: (len(self), pixels), float32."""
        return self.functions(self._guide[:, part], self._place[:, part])

    def seen_by(self, sampler: Sampler) -> np.ndarray:
        """All features as the sensor sees them, whitened: (len(self), h w), float64."""
        place, bumps, plain = self._where(), self.functions.bumps, self.functions.plain
        pixels = sampler.rows.shape[0] // sampler.terms * sampler.columns.shape[0]
        seen = np.empty((len(self), pixels))
        self._plain_seen_by(sampler, seen)
        for first in range(plain, len(self), _CHUNK):
            images = bumps(place, slice(first - plain, first - plain + _CHUNK))
            low = sampler(images.reshape(-1, self._height, self._width))
            seen[first : first + len(low)] = low.reshape(-1, pixels)
        for first in range(0, pixels, _TURNED_LR_PX):
            part = seen[plain:, first : first + _TURNED_LR_PX]
            part[...] = bumps.whitening @ part
        return seen

    @property
    def whitening(self) -> np.ndarray:
        """What turns the features of `rows` into those of `seen_by`: (len(self), len(self))."""
        plain = self.functions.plain
        whole = np.eye(len(self))
        whole[plain:, plain:] = self.functions.bumps.whitening
        return whole

    def _where(self) -> np.ndarray:
        return self.functions.where(self._guide, self._place)

    def _plain_seen_by(self, sampler: Sampler, seen: np.ndarray, pixels: slice | np.ndarray = slice(None)) -> None:
        """Write channels and products at LR pixels to the first of `seen` (at least plain, n)."""
        for plane, row in zip(self.functions.planes(self._guide), seen, strict=False):
            row[...] = sampler(plane[None]).reshape(-1)[pixels]


def _principal(guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (G, 1, 1) and the strongest principal components (MOST_MULTIPLIED, G) of a guide (G, H, W)."""
    pixels = guide.reshape(len(guide), -1)
    mean = pixels.mean(axis=1, keepdims=True, dtype=np.float64)
    power = np.zeros((len(guide),) * 2)
    for first in range(0, pixels.shape[1], _STRIP_PX):
        away = pixels[:, first : first + _STRIP_PX] - mean
        power += away @ away.T
    vectors = np.linalg.eigh(power)[1]
    basis = vectors[:, ::-1][:, :MOST_MULTIPLIED].T
    return mean[..., None].astype(np.float32), basis.astype(np.float32)


def _sum(weights: np.ndarray, guide: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Weights (G,) times the channels of a guide (G, n, m) less their means (G, 1, 1)."""
    found = np.zeros(guide.shape[1:], np.float32)
    for weight, channel, level in zip(weights, guide, mean, strict=True):
        found += weight * (channel - level)
    return found


def _half_square(columns: np.ndarray) -> np.ndarray:
    """(d, n) -> (1, n)."""
    half: np.ndarray = 0.5 * (columns**2).sum(axis=0, keepdims=True)
    return half


def _centres(places: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of places (d, n), which come in random order: the first half of them, then always the farthest
    from those chosen."""
    width = np.full((len(places), 1), _APART.colour, np.float32)
    width[-2:] = _APART.place
    scaled = (places - places.mean(axis=1, keepdims=True)) / width
    count, half_square = min(count, places.shape[1]), _half_square(scaled)[0]
    chosen: list[int] = []
    nearest = np.full(places.shape[1], np.inf, np.float32)
    for number in range(count):
        new = number if 2 * number < count else int(nearest.argmax())
        chosen.append(new)
        np.minimum(nearest, half_square + half_square[new] - scaled[:, new] @ scaled, out=nearest)
    return places[:, chosen]
