"""Functions of the guide's colour and slopes and of the place. Every coefficient of the image is a sum of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hsisr.degrade.sampling import Sampler

#: Number of kernel bumps, each at a pixel of the scene, in a scene of up to 64 x 64 LR pixels. More bumps gain little
#: (docs/model-hybrid.md). A larger scene takes more bumps: the number grows with this power of the pixels, up to four
#: times as many pixels.
WAVES = 512
_WAVES_LR_PX, _GROWTH, _MOST_GROWN = 64**2, 0.3, 4


class Kernel(NamedTuple):
    """Widths of a bump: in colour, in units of its standard deviation over all channels (sum of squares 3); and in
    place, in units of the image's longer side."""

    colour: float
    place: float


#: Kernels; each scene chooses one.
KERNELS = (Kernel(1.5, 0.2), Kernel(2.2, 0.2), Kernel(2.2, 0.4), Kernel(3.0, 0.5))
#: Number of random pixels from which centres are chosen; kernel whose widths are the units of the distances between
#: centres.
CANDIDATES_PX, _APART = 8192, Kernel(1.5, 0.2)
#: Variance that is added to a bump's own variance, so that bumps at nearly the same place stay independent.
_JITTER = 1e-6
#: Standard deviation of channels and products; that of all bumps together is 1. So linear features come first.
_PLAIN = 10.0
#: Colour is compared after a square root, which evens out the effect of light. This offset keeps noise in black small.
_DARK = 1e-3
#: Up to this many channels, all products of two channels are features, and all slopes. With more channels, those of
#: this many principal components are features, because the number of products grows with the square.
MOST_MULTIPLIED = 20
#: Number of slopes of a channel (`slopes`), and standard deviation of their weights, in HR pixels: how far from the
#: guide, about, a component of standard deviation 1 lies. Chosen on training scenes (docs/model-hybrid.md).
SLOPES, _SLOPE_PX = 4, 0.05
#: Values that are made at a time: some features, at all pixels.
_CHUNK_VALUES = 1 << 23
#: Numbers of bumps, HR rows and HR columns that the sensor reads at a time: so they stay in the cache.
_SEEN_BUMPS, _SEEN_ROWS, _SEEN_COLUMNS = 32, 16, 128


class Bumps:
    """Squared-exponential bumps around centres (d, M) in z = (colour, place): features of a Gaussian process.

    `whitening` (M, M) turns them into other features. A sum of these with independent normal weights is the Gaussian
    process, as far as its values at the centres determine it (Nystroem; Williams and Seeger, Using the Nystroem method
    to speed up kernel machines, NIPS 2000). Far from all centres, the bumps vanish, and the linear part remains.
    """

    def __init__(self, centres: np.ndarray, kernel: Kernel) -> None:
        width = np.full((len(centres), 1), kernel.colour, np.float32)
        width[-2:] = kernel.place
        self._middle, self._width = centres.mean(axis=1, keepdims=True), width
        scaled = self._scaled(centres)
        # exp(-|a - b|^2 / 2); one product gives the exponent: a . b - |a|^2 / 2 - |b|^2 / 2
        self._around = np.concatenate([scaled, -_half_square(scaled), np.ones_like(scaled[:1])]).T.copy()
        products = scaled.T @ scaled
        squares = np.diag(products)
        alike = np.exp(products - (squares[:, None] + squares) / 2)
        self.whitening = _inverse(np.linalg.cholesky(alike + _JITTER * np.eye(len(alike))))

    def __call__(self, place: np.ndarray, which: slice = slice(None)) -> np.ndarray:
        """The bumps (M, n), or some of them, not yet whitened, at z (d, n), float32."""
        factors = self.factors(place)
        return self.made(factors, which, np.empty((len(self._around[which]), place.shape[1]), np.float32))

    def factors(self, place: np.ndarray) -> np.ndarray:
        """The place z (d, n) in the form that `made` needs: (d + 2, n), float64."""
        scaled = self._scaled(place)
        return np.concatenate([scaled, np.ones_like(scaled[:1]), -_half_square(scaled)])

    def made(self, factors: np.ndarray, which: slice, out: np.ndarray) -> np.ndarray:
        """Some of the bumps (M, n), written to `out`.

        The exponent is summed in float64. Its terms cancel each other, and hundreds of bumps cancel each other later:
        rounding in float32 would make a pixel depend on its position in a matrix product.
        """
        out[...] = self._around[which] @ factors
        return np.exp(out, out=out)

    def whitening_beside(self, others: int) -> np.ndarray:
        """Matrix that whitens the bumps, and keeps so many features before them."""
        whole = np.eye(others + len(self.whitening))
        whole[others:, others:] = self.whitening
        return whole

    def _scaled(self, place: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (place.astype(np.float64) - self._middle) / self._width
        return scaled


class Functions:
    """Smooth functions f_j(colour, place), learnt from a guide and made for any part of it.

    First come the channels and their products, all with the same variance, and the channels' slopes. With more than 20
    channels, these are products and slopes of 20 principal components. Then come bumps in z = (square root of colour,
    place).

    guide: (G, H, W), float32, whole or a sample.
    """

    bumps: Bumps

    def __init__(self, guide: np.ndarray) -> None:
        channels = len(guide)
        multiplied = min(channels, MOST_MULTIPLIED)
        self._pairs = [(i, j) for i in range(multiplied) for j in range(i, multiplied)]
        self._principal = _principal(guide) if channels > MOST_MULTIPLIED else None
        self._peak = max(float(np.abs(guide).max()), float(np.finfo(np.float32).tiny))
        self._colour_mean = self._root(guide).mean(axis=(1, 2), keepdims=True)
        spread = float(((self._root(guide) - self._colour_mean) ** 2).mean(axis=(1, 2)).sum())
        self._colour_gain = np.float32(np.sqrt(3 / spread)) if spread > 0 else np.float32(1)
        self._gains = np.ones((channels + len(self._pairs), 1), np.float32)
        parts = chunks(self.products, guide[0].size)
        deviation = np.concatenate([self.polynomial(guide, part).std(axis=1, keepdims=True) for part in parts])
        self._gains = (_PLAIN / np.where(deviation > 1e-6 * self._peak, deviation, 1)).astype(np.float32)
        factors = self._factors(guide, range(multiplied)).reshape(multiplied, -1).std(axis=1)
        self._steepness = (_SLOPE_PX / np.where(factors > 1e-6 * self._peak, factors, 1)).astype(np.float32)

    def __len__(self) -> int:
        return self.plain + len(self.bumps.whitening)

    @property
    def products(self) -> int:
        """Number of channels and products."""
        return len(self._gains)

    @property
    def plain(self) -> int:
        """Number of channels, products and slopes."""
        return self.products + self.sloping

    @property
    def sloping(self) -> int:
        """Number of slopes."""
        return SLOPES * len(self._steepness)

    def without_slopes(self) -> None:
        """Drop the slopes: there are none from now on."""
        self._steepness = self._steepness[:0]

    def __call__(self, guide: np.ndarray, place: np.ndarray, slopes: np.ndarray, out: np.ndarray) -> np.ndarray:
        """All features at some pixels, the bumps not yet whitened, written to `out`: (len(self), n m), float32.

        guide: (G, n, m). place: (2, n, m). slopes: (sloping, n, m).
        """
        out[: self.products] = self.polynomial(guide)
        out[self.products : self.plain] = slopes.reshape(self.sloping, out.shape[1])
        self.bumps.made(self.bumps.factors(self.where(guide, place)), slice(None), out[self.plain :])
        return out

    def slopes(
        self, guide: np.ndarray, place: np.ndarray, valid: np.ndarray | None, which: slice = slice(None)
    ) -> np.ndarray:
        """How some channels of guide (G, n, m) change at each pixel: (4 c, n, m), float32.

        First differences between columns and between rows, half of the sum of second differences, and the slope
        outwards from the scene's middle. Cameras take bands one after the other, and focus each a little differently.
        What is a little shifted against the guide, less sharp, or magnified is the same function of the guide and, to
        first order, these.

        place: (2, n, m), as `places` gives it. valid: (n, m), pixels whose values count; None: all. A neighbour that is
        not valid or lies outside counts as equal to the pixel. which: of the channels, or of the principal components.
        """
        steepness = self._steepness[which]
        factors = self._factors(guide, range(len(self._steepness))[which]) * steepness[:, None, None]
        if valid is not None:
            factors = np.where(valid, factors, np.float32(np.nan))
        left, right, above, below = (np.zeros_like(factors) for _ in range(4))
        columns, rows = np.diff(factors, axis=2), np.diff(factors, axis=1)
        left[:, :, 1:], right[:, :, :-1], above[:, 1:], below[:, :-1] = -columns, columns, -rows, rows
        for away in (left, right, above, below):
            np.nan_to_num(away, copy=False, nan=0.0)
        sharper = (left + right + above + below) / 2
        across, down = (right - left) / 2, (below - above) / 2
        return np.concatenate([across, down, sharper, 2 * (place[0] * down + place[1] * across)])

    def where(self, guide: np.ndarray, place: np.ndarray) -> np.ndarray:
        """z of guide (G, n, m) at place (2, n, m), as `places` gives it: (G + 2, n m), float32."""
        colour = (self._root(guide) - self._colour_mean) * self._colour_gain
        return np.concatenate([colour, place]).reshape(len(guide) + 2, -1).astype(np.float32)

    def polynomial(self, guide: np.ndarray, which: slice = slice(None)) -> np.ndarray:
        """Channels and products of guide (G, n, m), or some of them: (products, n m)."""
        factors = self._factors(guide, range(min(len(guide), MOST_MULTIPLIED)))
        numbers = range(self.products)[which]
        own, products = ([n for n in numbers if (n < len(guide)) == plain] for plain in (True, False))
        pairs = [self._pairs[number - len(guide)] for number in products]
        made = np.concatenate([guide[own], *((factors[i] * factors[j])[None] for i, j in pairs)])
        return made.reshape(len(numbers), -1) * self._gains[which]

    def _factors(self, guide: np.ndarray, numbers: range) -> np.ndarray:
        """Some of what is multiplied, and whose slopes count: channels of guide (G, n, m), or principal components."""
        part = slice(numbers.start, numbers.stop)
        if self._principal is None:
            return guide[part]
        mean, basis = self._principal
        components: np.ndarray = np.tensordot(basis[part], guide - mean, axes=1)
        return components

    def _root(self, guide: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(guide / self._peak, 0) + np.float32(_DARK))


def bump_count(waves: int, lr_px: int) -> int:
    """Number of bumps in a scene of `lr_px` LR pixels. waves: number in a scene of up to 64 x 64 LR pixels."""
    return round(waves * min(max(lr_px / _WAVES_LR_PX, 1), _MOST_GROWN) ** _GROWTH)


def feature_count(guide_channels: int, waves: int, lr_px: int) -> int:
    """Number of features: channels, products, slopes and bumps. waves, lr_px: as for `bump_count`."""
    multiplied = min(guide_channels, MOST_MULTIPLIED)
    return guide_channels + multiplied * (multiplied + 1) // 2 + SLOPES * multiplied + bump_count(waves, lr_px)


def chunks(count: int, pixels: int) -> list[slice]:
    """Divide features 0 .. count - 1 into parts, each small enough to be made at `pixels` pixels at once."""
    step = max(1, _CHUNK_VALUES // pixels)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def places(rows: tuple[int, int], columns: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Row and column of pixels [start, stop), as `place_of` gives them: (2, n, m), float32. size: of the image."""
    return place_of(np.mgrid[slice(*rows), slice(*columns)], size)


def place_of(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Rows and columns (2, n, m), from the image's middle in units of its longer side: float32.

    size: rows and columns of the image.
    """
    middle = (np.array(size)[:, None, None] - 1) / 2
    return ((pixels - middle) / max(size)).astype(np.float32)


class GuideFeatures:
    """`Functions` at every pixel of a guide, made on demand, with bumps around pixels of the guide.

    Half of the centres are random pixels; the other half are far from all others. The features are at HR and the sensor
    is linear. So the sensor's view of a sum of features is the sum of its views of each feature (`seen_by`).

    guide: (G, H, W). waves: number of bumps, at most one for each pixel. mask: (H, W), the pixels that may be centres;
    None: all. place: (2, H, W), places of the guide's pixels (`places`), if the guide is part of a larger image.
    candidates: guide (G, 1, n) and place (2, 1, n) of pixels, in random order, from which the centres are chosen;
    None: pixels of this guide.
    """

    def __init__(
        self,
        guide: np.ndarray,
        waves: int = WAVES,
        seed: int = 0,
        mask: np.ndarray | None = None,
        place: np.ndarray | None = None,
        candidates: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._guide = guide.astype(np.float32)
        self._height, self._width = guide.shape[1:]
        size = self._height, self._width
        self._place = places((0, size[0]), (0, size[1]), size) if place is None else place
        self.functions = Functions(self._guide)
        if candidates is None:
            pixels = np.arange(guide[0].size) if mask is None else np.flatnonzero(mask)
            drawn = np.random.default_rng(seed).permutation(pixels)[:CANDIDATES_PX]
            where = self._where()[:, drawn]
        else:
            where = self.functions.where(*candidates)
        self._centres = _centres(where, waves)
        self.functions.bumps = Bumps(self._centres, _APART)

    def __len__(self) -> int:
        return len(self.functions)

    @property
    def simpler(self) -> tuple[int, int]:
        """Numbers of leading features that may be enough alone: the channels; the channels and their products."""
        return len(self._guide), self.functions.products

    def choose(self, sampler: Sampler, pixels: np.ndarray, surprise: Callable[[np.ndarray, np.ndarray], float]) -> None:
        """Take the kernel with the least surprise.

        pixels: n indices of LR pixels. surprise: function of features (D, n) at these pixels, not yet whitened, and of
        the matrix (D, D) that whitens them.

        Here, bumps are made from the sensor's view of colour and place. They are nearly the sensor's view of the bumps,
        and much quicker to make.
        """
        whole = self._where().reshape(-1, self._height, self._width)
        place = sampler(whole).reshape(len(whole), -1)[:, pixels].astype(np.float32)
        # slopes say nothing of the kernel
        plain = _seen_polynomial(self.functions, self._guide, sampler)[:, pixels]
        least = np.inf
        for bumps in (Bumps(self._centres, kernel) for kernel in KERNELS):
            found = surprise(np.concatenate([plain, bumps(place)]), bumps.whitening_beside(len(plain)))
            if found < least:
                least, self.functions.bumps = found, bumps

    @property
    def whitening(self) -> np.ndarray:
        """Matrix (D, D) from the functions to these with whitened bumps."""
        return self.functions.bumps.whitening_beside(self.functions.plain)

    def _where(self) -> np.ndarray:
        return self.functions.where(self._guide, self._place)


def seen_features(
    functions: Functions, guide: np.ndarray, place: np.ndarray, sampler: Sampler, valid: np.ndarray | None = None
) -> np.ndarray:
    """All features of guide (G, H, W) at place (2, H, W) as the sensor sees them: (D, h w), float64.

    The bumps are not yet whitened. valid: (H, W), as for `Functions.slopes`.
    """
    bumps, plain = functions.bumps, _seen_polynomial(functions, guide, sampler)
    if functions.sloping:
        plain = np.concatenate([plain, _seen_slopes(functions, guide, place, valid, sampler)])
    factors = bumps.factors(functions.where(guide, place)).reshape(-1, *guide.shape[1:])
    down, across = _pieces(sampler.rows, _SEEN_ROWS), _pieces(sampler.columns, _SEEN_COLUMNS)
    height, width = sampler.rows.shape[0], sampler.columns.shape[0]
    seen = np.empty((len(functions), height, width))
    seen[: len(plain)] = plain.reshape(-1, height, width)
    for first in range(len(plain), len(seen), _SEEN_BUMPS):
        part = slice(first, min(first + _SEEN_BUMPS, len(seen)))
        which = slice(part.start - len(plain), part.stop - len(plain))
        low = np.zeros((part.stop - first, height, guide.shape[2]), np.float32)
        for rows, read, weights in down:
            here = factors[:, rows].reshape(len(factors), -1)
            values = bumps.made(here, which, np.empty((len(low), here.shape[1]), np.float32))
            low[:, read] += weights.astype(np.float32) @ values.reshape(len(low), -1, guide.shape[2])
        seen[part] = 0
        for columns, read, weights in across:
            seen[part, :, read] += low[:, :, columns] @ weights.T
    return seen.reshape(len(seen), -1)


def _pieces(matrix: Any, step: int) -> list[tuple[slice, slice, np.ndarray]]:
    """A sampler's axis, sparse (h, H), in pieces of `step` inputs.

    A piece is these inputs, the outputs that read them, and the weights (outputs, inputs).
    """
    pieces = []
    for first in range(0, matrix.shape[1], step):
        inputs = slice(first, min(first + step, matrix.shape[1]))
        part = matrix[:, inputs]
        reading = np.flatnonzero(np.diff(part.indptr))
        outputs = slice(reading[0], reading[-1] + 1) if len(reading) else slice(0, 0)
        pieces.append((inputs, outputs, part[outputs].toarray()))
    return pieces


def _seen_polynomial(functions: Functions, guide: np.ndarray, sampler: Sampler) -> np.ndarray:
    shape = -1, *guide.shape[1:]
    parts = chunks(functions.products, guide[0].size)
    seen = [sampler(functions.polynomial(guide, part).reshape(shape)) for part in parts]
    return np.concatenate([low.reshape(len(low), -1) for low in seen])


def _seen_slopes(
    functions: Functions, guide: np.ndarray, place: np.ndarray, valid: np.ndarray | None, sampler: Sampler
) -> np.ndarray:
    shown = range(functions.sloping // SLOPES)
    seen = [sampler(functions.slopes(guide, place, valid, slice(number, number + 1))) for number in shown]
    # of each slope every channel, as in `Functions.slopes`
    return np.stack(seen, axis=1).reshape(SLOPES * len(shown), -1)


def _principal(guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (G, 1, 1) and the strongest principal components (MOST_MULTIPLIED, G) of a guide (G, H, W)."""
    pixels = guide.reshape(len(guide), -1)
    mean = pixels.mean(axis=1, keepdims=True, dtype=np.float64)
    power = np.zeros((len(guide),) * 2)
    step = max(1, _CHUNK_VALUES // len(guide) // 8)
    for first in range(0, pixels.shape[1], step):
        away = pixels[:, first : first + step] - mean
        power += away @ away.T
    vectors = np.linalg.eigh(power)[1]
    basis = vectors[:, ::-1][:, :MOST_MULTIPLIED].T
    return mean[..., None].astype(np.float32), basis.astype(np.float32)


def _inverse(triangle: np.ndarray) -> np.ndarray:
    """The inverse of a lower triangle."""
    from scipy.linalg.lapack import dtrtri

    inverse: np.ndarray = dtrtri(triangle, lower=1)[0]
    return inverse


def _half_square(columns: np.ndarray) -> np.ndarray:
    """Half of the squared lengths, (1, n), of columns (d, n)."""
    half: np.ndarray = 0.5 * (columns**2).sum(axis=0, keepdims=True)
    return half


def _centres(places: np.ndarray, count: int) -> np.ndarray:
    """Choose at most `count` of places (d, n), which have a random order.

    The first half are the first places. Then each is the place that is farthest from all chosen ones.
    """
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
