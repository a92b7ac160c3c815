"""Filters of every band, learnt in closed form: the part of what the prior leaves that is linear in the pixels around.

Bands that a camera takes one after the other differ in sharpness and place (focus and magnification depend on the
wavelength), and at edges between two materials the prior's function of colour takes mixtures for other materials. Both
are linear in what is seen here, and learnt from a few scenes, where a network learns them slowly and badly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hsisr.degrade import Pair
from hsisr.degrade.estimation import valid_lr_pixels
from hsisr.models.hybrid.pieces import Ground, Piece, lr_views
from hsisr.models.prior import Solution

#: Windows, in LR pixels, in which the prior's image is compared with an affine function of the guide.
_WINDOWS_LR_PX = (0.5, 1.5)
#: Ridge of that comparison over the guide's variance.
_AFFINE_RIDGE = 5e-5
#: Window, in LR pixels, of the mean that the guide modulates, and what is added to the guide's own mean there, over its
#: mean in the whole image.
_MODULATED_LR_PX, _DARK = 1.0, 0.2
#: Ridge, over the spectra's mean power, with which a camera's response is learnt.
_RESPONSE_RIDGE = 1e-6
#: Share of a guide's contradiction to what a camera would see that a tone curve has to leave, at most, to be applied.
_OTHER_CAMERA = 0.25
#: What a guide contradicts, mean square: below this part of the variance it does no harm. Beyond so many times what the
#: prior's image leaves of the LR image, seen by the same camera, another camera took the guide. Chosen on pieces of
#: CAVE's training scenes and of three other sensors' scenes (no command prints this).
_HARMLESS, _FOREIGN = 1e-4, 100.0
#: Strength of what filters add, over the usual one, from which on they are believed less.
_BEYOND_USUAL = 1.5
#: Ridges that are tried, over the features' mean power; the last leaves the filters as they are.
_RIDGES = (*10.0 ** np.arange(-7.0, 1.0), np.inf)
#: Power of what a band lacks, over that of the band that lacks most, up to which only rounding is to be learnt.
_NOTHING = 1e-10
#: Parts that a lone scene is cut into, so that filters can be tried on what they have not seen.
_PARTS = 4
#: Pixels whose systems of equations are solved, or that are filtered, at a time.
_CHUNK_PX = 1 << 12
#: Products of channels whose means are held at a time.
_PRODUCTS = 1 << 22
#: Pixels of one band that are filtered at a time.
_STRIP_PX = 1 << 14
#: What a filter weighs of a plane: 3 x 3 pixels, and how it grows outwards.
_AROUND = 10
#: HR pixels from the scene's middle, along each axis, up to which a lens displaces a band more and more.
_FIELD_PX = 256
#: Brightness of a spectrum, RMS over the bands, within which it is dark, over the noise of the LR image; the least
#: noise, and the least brightness.
_DARK_NOISE, _NO_NOISE, _DARKEST = 1.2, 1e-12, 4e-3
#: Darkness from which on a pixel teaches filters for the dark; brighter ones would teach filters without bounds.
_LEAST_DARKNESS = 1e-3
#: Pixels that rows are held apart while means are taken.
_APART_PX = 8


def filter_length(guide_channels: int) -> int:
    """T, weights of a band's filter: 3 x 3 pixels and the outward slope of each channel and of the band; one for every
    window, for the LR image's remainder, and for the modulation by each channel; two for the dark."""
    return _AROUND * (guide_channels + 1) + len(_WINDOWS_LR_PX) + 1 + guide_channels + 2


@dataclass(frozen=True, eq=False)
class Learnt:
    """What `hybrid` learns in closed form.

    filters: (2, B, T), for every band: those of all pixels, and what is added to them in the dark, times the darkness.
    strength: (B,), the greatest of what they add to an image in training (`strength`). response: (G, B + 1), of the
    camera that they are for, the last column an offset. contradiction: (), the greatest of a true HR image to its guide
    (`hsisr.models.hybrid.agreement`).
    """

    filters: np.ndarray
    strength: np.ndarray
    response: np.ndarray
    contradiction: np.ndarray

    @classmethod
    def nothing(cls, bands: int, guide_channels: int) -> "Learnt":
        """All zero, as it is before training."""
        shapes = (2, bands, filter_length(guide_channels)), (bands,), (guide_channels, bands + 1), ()
        return cls(*(np.zeros(shape) for shape in shapes))


class Details:
    """What a band's filter weighs at every pixel of the prior's image (B, H, W): T values.

    * The guide's channels and the band itself, 3 x 3 pixels around.
    * What the band lacks to a function that is affine in the guide within a window (He et al., Guided image filtering,
      ECCV 2010): mixtures of two materials are affine.
    * What the LR image has beyond what the sensor sees of the band, interpolated at the right phase.
    * The band's local mean, modulated as the guide's channel is modulated about its own: shade and texture change all
      bands in proportion.
    * How guide and band grow outwards from the scene's middle, times the distance: a lens magnifies each wavelength a
      little differently.
    * In the dark a constant, and as much of the spectrum's own colour: both fade away where a spectrum is brighter than
      the noise. Noise that is cut off at zero has a mean, of which the prior leaves some.

    The piece's guide (G, H, W) is kept as the camera of that response (G, B + 1) would have taken it. light: how that
    is and how bright it is, known from the scene that the piece is a part of; None: found here.
    image: the prior's. brightness: (H, W), of its spectra, RMS over the bands. darkness: (H, W), 1 in the black; it
    fades away where a spectrum is brighter than the noise. ground: where the pixels lie, and what the LR image has
    there.
    """

    def __init__(self, piece: Piece, scale: int, response: np.ndarray, light: "Light | None" = None) -> None:
        light = light or Light.of([piece], scale, response)
        solution = piece.solution
        self.guide = guide = light.as_by_camera(piece)
        self.image = solution.image()
        self.ground = piece.ground or Ground.on_grid(piece, self.image, scale)
        power = np.zeros_like(self.image[0])
        for plane in self.image:
            power += np.square(np.maximum(plane, 0))
        self.brightness = np.sqrt(power / len(self.image)) + _DARKEST
        noise = max(_DARK_NOISE * solution.sensor.noise_sigma, _NO_NOISE)
        self.darkness = np.exp(-self.brightness / noise).astype(np.float32)
        lifted = noise * self.darkness
        self._dark = (lifted / self.brightness).astype(np.float32)
        self._place = [np.clip(axis / _FIELD_PX, -1, 1).astype(np.float32) for axis in self.ground.place]
        shared = [*(np.stack(self._around(channel)) for channel in guide), lifted[None]]
        self._guide = np.concatenate(shared).reshape(-1, guide[0].size).astype(np.float32)
        self._basis = solution.subspace.basis.astype(np.float32)
        self._affine = []
        for size in (_odd(window, scale) for window in _WINDOWS_LR_PX):
            affine = locally_affine(solution.coefficients, guide, size, light.variance)
            affine -= solution.coefficients
            self._affine.append(affine)
        self._size = _odd(_MODULATED_LR_PX, scale)
        level = _mean(guide, self._size)
        self._modulation = ((guide - level) / (np.maximum(level, 0) + light.dark)).astype(np.float32)

    def of_band(self, band: int) -> np.ndarray:
        """(T, H W) float32."""
        affine = [np.tensordot(self._basis[band], part, 1)[None] for part in self._affine]
        own = np.concatenate([np.stack(self._around(self.image[band])), *affine, *self._others(band)])
        return np.concatenate([self._guide, own.reshape(len(own), -1)])

    def filtered(self, filters: np.ndarray) -> np.ndarray:
        """What filters (2, B, T) add to the image: (B, H, W) float32."""
        if not filters.any():
            return np.zeros_like(self.image)
        added = np.empty_like(self.image)
        # as `of_band`, but what bands share is weighed for all of them together
        parts, bands = (len(self._guide), _AROUND, len(self._affine)), len(added)
        shared, around, affine, others = np.split(filters.astype(np.float32), np.cumsum(parts), axis=2)
        flat, dark = added.reshape(bands, -1), self.darkness.ravel()
        weighed = [(shared.reshape(2 * bands, -1), self._guide)]
        for weights, planes in zip(np.moveaxis(affine, 2, 0), self._affine, strict=True):
            on_basis = (weights[..., None] * self._basis).reshape(2 * bands, -1)
            weighed.append((on_basis, planes.reshape(len(planes), -1)))
        for first in range(0, flat.shape[1], _CHUNK_PX):  # a piece of the sum stays in the cache
            part = slice(first, first + _CHUNK_PX)
            everywhere, in_dark = np.split(sum(weights @ planes[:, part] for weights, planes in weighed), 2)
            in_dark *= dark[part]
            np.add(everywhere, in_dark, out=flat[:, part])
        rows_at_once = max(1, _STRIP_PX // added.shape[2])
        for band, plane in enumerate(added):
            own = [*self._around(self.image[band]), *(seen for planes in self._others(band) for seen in planes)]
            weights = np.concatenate([around[:, band], others[:, band]], axis=1)
            for first in range(0, len(plane), rows_at_once):
                rows = slice(first, first + rows_at_once)
                everywhere, in_dark = np.tensordot(weights, np.stack([seen[rows] for seen in own]), 1)
                plane[rows] += everywhere + self.darkness[rows] * in_dark
        return added

    def _others(self, band: int) -> list[np.ndarray]:
        """Of a band the LR image's remainder, what is modulated, and its part of the dark: G + 2 times (H, W)."""
        image = self.image[band][None]
        remainder = self.ground.enlarged(self.ground.remainder[band][None])
        return [remainder, _mean(image, self._size) * self._modulation, self._dark * image]

    def _around(self, plane: np.ndarray) -> list[np.ndarray]:
        """The 3 x 3 pixels around each pixel of (H, W), as views, and its outward slope: 10 times (H, W)."""
        height, width = plane.shape
        wide = np.pad(plane, 1, mode="edge")
        found = [wide[row : row + height, column : column + width] for row, column in np.ndindex(3, 3)]
        rows, columns = self._place
        return [*found, rows * (found[7] - found[1]) / 2 + columns * (found[5] - found[3]) / 2]


@dataclass(frozen=True, eq=False)
class Moments:
    """What a least-squares fit needs to know of some pixels. gram: (B, T, T). cross: (B, T). power: (B,)."""

    gram: np.ndarray
    cross: np.ndarray
    power: np.ndarray

    @classmethod
    def of(
        cls, details: Details, missing: np.ndarray, valid: np.ndarray | None = None, dark: bool = False
    ) -> "list[Moments]":
        """Of `_PARTS` horizontal parts of a scene.

        missing: (B, H, W), what is to be added. valid: (H, W) or None. dark: for filters that work in the dark, and
        relative to the brightness of each pixel, as angles are.
        """
        darkness, weight = np.ones((2, missing[0].size), np.float32)
        if dark:
            weight = (1 / details.brightness).astype(np.float32).ravel()
            darkness = np.where(details.darkness >= _LEAST_DARKNESS, details.darkness, 0).ravel() * weight
        rows = np.arange(missing.shape[1]) * _PARTS // missing.shape[1]
        part = np.broadcast_to(rows[:, None], missing.shape[1:]).ravel()
        part = part if valid is None else np.where(valid.ravel(), part, -1)
        places = [np.flatnonzero(part == number) for number in range(_PARTS)]
        found: list[tuple[list[np.ndarray], list[np.ndarray], list[float]]] = [([], [], []) for _ in places]
        for band, wanted in enumerate(missing.reshape(len(missing), -1)):
            values = details.of_band(band)
            values *= darkness
            for place, (gram, cross, power) in zip(places, found, strict=True):
                # in float32, what filters leave of few pixels would be rounding, and could be less than nothing
                seen, target = (x.astype(np.float64) for x in (values[:, place], wanted[place] * weight[place]))
                gram.append(seen @ seen.T)
                cross.append(seen @ target)
                power.append(float(target @ target))
        return [cls(*(np.array(values) for values in moments)) for moments in found]

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.gram + other.gram, self.cross + other.cross, self.power + other.power)

    def normalised(self) -> "Moments":
        """In units of the power of each band, so that every scene and band counts for its decibels.

        A band that lacks nothing, such as a dead one, counts for nothing.
        """
        counts = self.power > _NOTHING * self.power.max()
        scale = counts / np.where(counts, self.power, 1)
        return Moments(self.gram * scale[:, None, None], self.cross * scale[:, None], self.power * scale)

    def left(self, filters: np.ndarray) -> np.ndarray:
        """Power (B,) of what filters (B, T) leave."""
        applied = (self.gram @ filters[..., None])[..., 0]
        return self.power + ((applied - 2 * self.cross) * filters).sum(axis=1)


def fitted(scenes: Sequence[list[Moments]], start: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Filters (B, T) learnt from scenes, each given by its parts, and for each scene filters that have not seen it.

    start: (B, T), filters to which the fit is drawn. The ridge is the one whose filters do best, in decibels, on what
    was left out of their fit: a scene, or a part of the only one, whose own filters are then those of all of it.
    """
    wholes = [sum(parts[1:], parts[0]) for parts in scenes]
    groups = [group.normalised() for group in (wholes if len(wholes) > 1 else scenes[0])]
    total = sum(groups[1:], groups[0])
    best, kept = np.inf, [start] * len(groups)
    chosen = np.inf
    for ridge in _RIDGES:
        tried = [_solved(total, group, start, ridge) for group in groups]
        score = np.mean([np.log(_ratio(group, filters)).mean() for group, filters in zip(groups, tried, strict=True)])
        if score < best:
            best, kept, chosen = score, tried, ridge
    filters = _solved(total, None, start, chosen)
    return filters, kept if len(wholes) > 1 else [filters]


def locally_affine(images: np.ndarray, guide: np.ndarray, size: int, variance: float) -> np.ndarray:
    """Images (K, H, W) as affine functions of the guide (G, H, W), fitted in the window of size x size around a pixel
    and read at that pixel: (K, H, W) float32.

    variance: of the channels of the whole scene's guide, their mean; the fit has a ridge in proportion.
    """
    guide = guide.astype(np.float64)
    level = _mean(guide, size)
    ridge = max(_AFFINE_RIDGE * variance, np.finfo(float).tiny)
    weights, height = np.empty_like(guide), guide.shape[1]
    step = max(size, _PRODUCTS // (len(guide) ** 2 * guide.shape[2]))
    for first in range(0, height, step):  # with many channels, all products would take far more memory than the images
        rows = slice(first, min(first + step, height))
        wide = slice(max(0, rows.start - size // 2), min(height, rows.stop + size // 2))
        inside = slice(rows.start - wide.start, rows.stop - wide.start)
        weights[:, rows] = _affine_weights(guide[:, wide], level[:, wide], size, ridge, inside)
    constant = 1 - (weights * level).sum(axis=0)
    found = np.empty(images.shape, np.float32)
    for image, plane in zip(images, found, strict=True):
        image = image.astype(np.float64)
        affine = constant * _mean(image[None], size)[0]
        for weight, channel in zip(weights, guide, strict=True):
            affine += weight * _mean((channel * image)[None], size)[0]
        plane[...] = affine
    return found


def _affine_weights(guide: np.ndarray, level: np.ndarray, size: int, ridge: float, rows: slice) -> np.ndarray:
    """What the affine fit of a guide to itself divides by its covariance: (G, n, W), for some rows of it.

    guide, level: (G, H, W), a guide and its means in windows of size x size.
    """
    channels, width = len(guide), guide.shape[2]
    first, second = np.triu_indices(channels)
    products = np.empty((len(first), rows.stop - rows.start, width))
    for product, one, other in zip(products, first, second, strict=True):
        mean = _mean((guide[one] * guide[other])[None], size)[0, rows]
        product[...] = mean - level[one, rows] * level[other, rows]
    away = (guide[:, rows] - level[:, rows]).reshape(channels, -1)
    weights = np.empty_like(away)
    for start in range(0, weights.shape[1], _CHUNK_PX):
        part = slice(start, start + _CHUNK_PX)
        here = products.reshape(len(products), -1)[:, part]
        covariance = np.empty((channels, channels, here.shape[1]))
        covariance[first, second] = covariance[second, first] = here
        covariance += ridge * np.eye(channels)[..., None]
        weights[:, part] = _quotients(covariance, away[:, part])
    return weights.reshape(channels, -1, width)


def _quotients(matrices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Solutions x (G, n) of n positive definite systems, matrices (G, G, n) @ x = columns (G, n).

    By elimination for all of them together: they are many and small.
    """
    system = np.concatenate([matrices, columns[:, None]], axis=1)
    for row in range(len(system)):
        system[row, row + 1 :] /= system[row, row]
        system[row + 1 :, row + 1 :] -= system[row + 1 :, row, None] * system[row, row + 1 :]
    found = system[:, -1]
    for row in range(len(system) - 1, 0, -1):
        found[:row] -= system[:row, row] * found[row]
    return found


def strength(added: np.ndarray, image: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Size (B,) of what filters add to an image (B, H, W), RMS, over the spread of the image, all bands together.

    valid: (H, W), the pixels that count, or None for all.
    """
    return strength_of_parts([(added, image, valid)])


def strength_of_parts(parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """`strength` of an image that comes in parts, (added, image, valid) each."""
    count, power, level, square = 0, np.zeros(()), np.zeros(()), np.zeros(())
    for added, image, valid in parts:
        kept = slice(None) if valid is None else valid
        count += image[0].size if valid is None else int(valid.sum())
        power = power + np.array([_power(plane[kept].ravel()) for plane in added])
        square = square + np.array([_power(plane[kept].ravel()) for plane in image])
        level = level + np.array([plane[kept].sum(dtype=np.float64) for plane in image])
    spread = np.sqrt(max(0.0, float((square / count - (level / count) ** 2).mean())))
    return np.sqrt(power / count) / max(spread, float(np.finfo(np.float32).tiny))


def _power(values: np.ndarray) -> float:
    exact = values.astype(np.float64)
    return float(exact @ exact)


def believed(added: np.ndarray, share: np.ndarray) -> np.ndarray:
    """What filters add (B, H, W), as far as it is believed: a share (B,) of it."""
    return added * share.astype(added.dtype)[:, None, None]


def believed_share(found: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Share (B,) of what filters add that is believed, where its strength is `found` (B,) and `usual` (B,).

    Less than all where it goes far beyond what is usual: there filters weigh what they have not been learnt from, such
    as the solution of a pair of very few pixels.
    """
    share: np.ndarray = np.minimum(1, _BEYOND_USUAL * usual / np.maximum(found, np.finfo(np.float32).tiny)) ** 2
    return share


def guide_and_reference(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Guide (G, H, W) and HR image (B, H, W) of a training pair, which has both."""
    assert pair.guide is not None and pair.hr is not None
    return pair.guide, pair.hr


def response_of(scenes: Iterable[tuple[Pair, Solution, int]]) -> np.ndarray:
    """Response of the camera that took the guides of solved pairs, and its offset: (G, B + 1).

    Learnt at the LR image's resolution, at which it is asked for, from HR images seen through the sensor, which are
    free of noise. scenes: pair, its solution, scale.
    """
    power, cross = np.zeros(()), np.zeros(())
    for pair, solution, scale in scenes:
        guide, hr = guide_and_reference(pair)
        sampler = solution.sensor.footprint.sampler(scale, guide.shape[1:])
        valid = valid_lr_pixels(pair.lr, scale, pair.mask)
        spectra, colours = (sampler(image.astype(np.float64))[:, valid] for image in (hr, guide))
        spectra = np.concatenate([spectra, np.ones_like(spectra[:1])])
        power, cross = power + spectra @ spectra.T, cross + colours @ spectra.T
    ridge = max(_RESPONSE_RIDGE * float(np.trace(power)) / len(power), np.finfo(float).tiny)
    return np.linalg.solve(power + ridge * np.eye(len(power)), cross.T).T


@dataclass(frozen=True, eq=False)
class Light:
    """How the camera of training would have taken a guide.

    tones: (G, 4), weights of 1, root, value and square of each channel; None: as it is. camera: (G, B + 1), of that
    camera, if another one took the guide; None: the guide is its own, but for the tones. dark: what is added to a mean
    of the guide before it divides. variance: of a channel over the scene, the mean of all.
    """

    tones: np.ndarray | None
    camera: np.ndarray | None
    dark: float
    variance: float

    @classmethod
    def of(cls, pieces: Sequence[Piece], scale: int, response: np.ndarray) -> "Light":
        """Of a scene, by pieces of one size.

        Each channel becomes the combination of itself, its square, its root and a constant that, seen through the
        sensor, comes nearest to what the camera of that response (G, B + 1) would see of the LR image; but only where
        the guide as it is contradicts that image far more. Where it still contradicts it, the guide is what that camera
        would see of the prior's image, which agrees with the guide. A response of zeros, of filters that have not
        learnt yet, changes nothing.
        """
        light = cls(*_toned(pieces, scale, response), 0.0, 0.0) if response.any() else cls(None, None, 0.0, 0.0)
        sizes, levels, variances = [], [], []
        for piece in pieces:
            guide = light.as_by_camera(piece).astype(np.float64)
            sizes.append(np.abs(guide).mean())
            levels.append(guide.mean(axis=(1, 2)))
            variances.append(guide.var(axis=(1, 2)))
        variance = float((np.mean(variances, axis=0) + np.var(levels, axis=0)).mean())
        dark = max(_DARK * float(np.mean(sizes)), float(np.finfo(np.float32).tiny))
        return replace(light, dark=dark, variance=variance)

    def as_by_camera(self, piece: Piece) -> np.ndarray:
        """The guide (G, n, m) of a piece as that camera would have taken it."""
        if self.camera is not None:
            return _seen_by(self.camera, piece.solution.image()).astype(piece.guide.dtype)
        if self.tones is None:
            return piece.guide
        taken = np.empty_like(piece.guide)
        for channel, weights, result in zip(piece.guide.astype(np.float64), self.tones, taken, strict=True):
            result[...] = np.tensordot(weights, _curve(channel), 1)
        return taken


def _toned(pieces: Sequence[Piece], scale: int, response: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Tones and camera, as of `Light`."""
    tones, before, after, varies, pixels = [], 0.0, 0.0, 0.0, 0
    views = lr_views(pieces, scale)
    wanted = np.concatenate([_seen_by(response, piece.lr[:, valid]) for piece, _, valid in views], axis=1)
    for number, target in enumerate(wanted):
        parts = []
        for piece, sampler, valid in views:
            parts.append(sampler(_curve(piece.guide[number].astype(np.float64)))[:, valid])
        seen = np.concatenate(parts, axis=1)
        weights = np.linalg.pinv(seen @ seen.T, hermitian=True) @ (seen @ target)
        before += float(((seen[2] - target) ** 2).sum())
        after += float(((weights @ seen - target) ** 2).sum())
        varies += float(((target - target.mean()) ** 2).sum())
        tones.append(weights)
        pixels = seen.shape[1]
    free = 1 - 4 / max(4, pixels)  # four weights a channel fit few pixels by chance
    is_toned = after < _OTHER_CAMERA * free * before
    left = after if is_toned else before
    if left > _HARMLESS * varies:
        own = [sampler(_seen_by(response, piece.solution.image()))[:, valid] for piece, sampler, valid in views]
        if left > _FOREIGN * float(((np.concatenate(own, axis=1) - wanted) ** 2).sum()):
            return None, response
    return np.array(tones) if is_toned else None, None


def _seen_by(camera: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What a camera (G, B + 1) sees of an image (B, ...)."""
    seen: np.ndarray = np.tensordot(camera[:, :-1], image, 1)
    return seen + camera[:, -1].reshape(-1, *[1] * (image.ndim - 1))


def _curve(channel: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(channel), np.sqrt(np.maximum(channel, 0)), channel, channel**2])


def _odd(window_lr_px: float, scale: int) -> int:
    """Side of a window in HR pixels."""
    return 2 * max(1, round(window_lr_px * scale / 2)) + 1


def _mean(images: np.ndarray, size: int) -> np.ndarray:
    """Means of images (K, H, W) in the window of size x size around each pixel."""
    from scipy.ndimage import uniform_filter

    height, width = images.shape[1:]
    # rows of 512 pixels would all go to the same places of the cache
    apart = np.empty((2, height, width + _APART_PX), images.dtype)[..., :width]
    means = np.empty_like(images)
    for image, mean in zip(images, means, strict=True):
        apart[0] = image
        uniform_filter(apart[0], size, apart[1], mode="nearest")
        mean[...] = apart[1]
    return means


def _solved(total: Moments, without: Moments | None, start: np.ndarray, ridge: float) -> np.ndarray:
    if np.isinf(ridge):
        return start
    gram, cross = total.gram, total.cross
    if without is not None:
        gram, cross = gram - without.gram, cross - without.cross
    power = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
    system = gram + np.maximum(ridge * power, np.finfo(float).tiny)[:, None, None] * np.eye(gram.shape[1])
    return start + np.linalg.solve(system, (cross - (gram @ start[..., None])[..., 0])[..., None])[..., 0]


def _ratio(group: Moments, filters: np.ndarray) -> np.ndarray:
    """Share (B,) of a group's power that filters leave."""
    return np.maximum(group.left(filters), np.finfo(float).tiny) / np.maximum(group.power, np.finfo(float).tiny)
