"""Functions of the guide's colour and of the place, of which every coefficient of the image is taken to be a sum."""

import numpy as np

from hsisr.degrade.sampling import Sampler

#: Random waves; more gain little (docs/model-hybrid.md).
WAVES = 512
#: Range of length scales (drawn log-uniformly): of colour, in units of its standard deviation over all channels
#: (sum of squares 3), and of place, in units of the image's longer side.
_COLOUR_SCALES = (1.5, 3.0)
_PLACE_SCALES = (0.2, 0.5)
#: Colour is compared after a square root, which evens out what light does to it; this keeps black apart from itself.
_DARK = 1e-3
#: Channels of which all products are features; of more, only those of so many principal components are, as their number
#: grows with the square.
_MOST_MULTIPLIED = 20
#: Features that are made at a time for the whole image.
_CHUNK = 32


class GuideFeatures:
    """Smooth functions f_j(colour, place) at every HR pixel, made when they are asked for.

    The channels themselves and their products (of more than 20 channels, those of 20 principal components), of unit
    variance; then waves cos(w . z + b), whose random frequencies
    make sums of them with independent normal weights a Gaussian process with a mixture of squared-exponential kernels
    in z = (square root of colour, place) (Rahimi and Recht, Random features for large-scale kernel machines, NIPS
    2007). As the features live at HR and the sensor is linear, what it sees of a sum of them is the same sum of what
    it sees of each (`seen_by`).
    """

    def __init__(self, guide: np.ndarray, waves: int = WAVES, seed: int = 0) -> None:
        self._guide = guide.astype(np.float32)
        channels, self._height, self._width = guide.shape
        multiplied = min(channels, _MOST_MULTIPLIED)
        self._pairs = [(i, j) for i in range(multiplied) for j in range(i, multiplied)]
        self._principal = _principal(self._guide) if channels > _MOST_MULTIPLIED else None
        self._waves = waves
        self._peak = max(float(np.abs(guide).max()), float(np.finfo(np.float32).tiny))
        self._colour_mean = self._root(self._guide).mean(axis=(1, 2), keepdims=True)
        spread = float(((self._root(self._guide) - self._colour_mean) ** 2).mean(axis=(1, 2)).sum())
        self._colour_gain = np.float32(np.sqrt(3 / spread)) if spread > 0 else np.float32(1)
        rng = np.random.default_rng(seed)
        ranges = (np.log(_COLOUR_SCALES), np.log(_PLACE_SCALES))
        lengths = [np.exp(rng.uniform(low, high, waves)) for low, high in ranges]
        colour, place = (
            rng.standard_normal((waves, n)) / s[:, None] for n, s in zip((channels, 2), lengths, strict=True)
        )
        self._frequencies = np.concatenate([colour, place], axis=1).astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, (waves, 1)).astype(np.float32)
        self._gains = self._unit_variance()

    def __len__(self) -> int:
        return len(self._guide) + len(self._pairs) + self._waves

    @property
    def simpler(self) -> tuple[int, int]:
        """Numbers of leading features that may do alone: the channels; the channels and their products."""
        return len(self._guide), len(self._guide) + len(self._pairs)

    def rows(self, part: slice) -> np.ndarray:
        """All features at the HR rows `part`: (len(self), pixels), float32."""
        guide = self._guide[:, part]
        waves = self._wave_values(slice(0, self._waves), self._place(part, guide))
        return np.concatenate([self._polynomial(guide), waves])

    def seen_by(self, sampler: Sampler) -> np.ndarray:
        """All features as the sensor sees them: (len(self), h w), float64."""
        whole = slice(0, self._height)
        low = [sampler(self._polynomial(self._guide).reshape(-1, self._height, self._width))]
        place = self._place(whole, self._guide)
        for first in range(0, self._waves, _CHUNK):
            waves = self._wave_values(slice(first, min(first + _CHUNK, self._waves)), place)
            low.append(sampler(waves.reshape(-1, self._height, self._width)))
        return np.concatenate(low).reshape(len(self), -1)

    def _root(self, guide: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(guide / self._peak, 0) + np.float32(_DARK))

    def _place(self, part: slice, guide: np.ndarray) -> np.ndarray:
        """z of the rows `part`: (channels + 2, pixels)."""
        longer = max(self._height, self._width)
        rows, columns = np.mgrid[part.start : part.stop, 0 : self._width] / np.float32(longer)
        colour = (self._root(guide) - self._colour_mean) * self._colour_gain
        return np.concatenate([colour, rows[None], columns[None]]).reshape(len(colour) + 2, -1).astype(np.float32)

    def _wave_values(self, which: slice, place: np.ndarray) -> np.ndarray:
        angles = self._frequencies[which] @ place
        angles += self._phases[which]
        np.cos(angles, out=angles)
        angles *= np.float32(np.sqrt(2 / self._waves))
        return angles

    def _unit_variance(self) -> np.ndarray:
        self._gains = np.ones((len(self._guide) + len(self._pairs), 1), np.float32)
        spread = self._polynomial(self._guide).std(axis=1, keepdims=True)
        return (1 / np.where(spread > 1e-6 * self._peak, spread, 1)).astype(np.float32)

    def _polynomial(self, guide: np.ndarray) -> np.ndarray:
        factors = guide
        if self._principal is not None:
            mean, basis = self._principal
            factors = np.tensordot(basis, guide - mean, axes=1)
        products = [factors[i] * factors[j] for i, j in self._pairs]
        return np.concatenate([guide, products]).reshape(len(self._gains), -1) * self._gains


def _principal(guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (G, 1, 1) and the strongest principal components (_MOST_MULTIPLIED, G) of a guide (G, H, W)."""
    pixels = guide.reshape(len(guide), -1).astype(np.float64)
    mean = pixels.mean(axis=1, keepdims=True)
    vectors = np.linalg.eigh((pixels - mean) @ (pixels - mean).T)[1]
    basis = vectors[:, ::-1][:, :_MOST_MULTIPLIED].T
    return mean[..., None].astype(np.float32), basis.astype(np.float32)
