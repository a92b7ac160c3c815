"""Kriging: a smooth field out of what a sensor with a separable footprint saw of it, exactly and in closed form."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hsisr.degrade.sampling import Sampler

#: Correlation lengths that are tried, in LR pixels, and ratios of noise to field variance.
_LENGTHS_LR_PX = (0.5, 1.0, 2.0, 4.0)
_RATIOS = 10.0 ** np.arange(-4, 4.5, 0.5)


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of what the sensor sees of a field: eigenvalues, eigenvectors, and the way from those to the field."""

    values: np.ndarray
    vectors: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True, eq=False)
class Correlation:
    """A squared-exponential correlation as the sensor sees it, with a ratio of noise to field variance."""

    rows: _Axis
    columns: _Axis
    ratio: float

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues (h, w) of the observations' covariance, in units of the field's variance."""
        return np.outer(self.rows.values, self.columns.values) + self.ratio

    def turned(self, images: np.ndarray) -> np.ndarray:
        """Images (K, h, w) in the eigenvectors of that covariance, which are the same for every ratio."""
        return self.rows.vectors.T @ images @ self.columns.vectors


class SmoothFields:
    """Gaussian processes on the HR grid, observed at LR pixels with white noise.

    Correlation and footprint are both separable, so that the covariance of the observations is a Kronecker product and
    two small eigenproblems a correlation length do for everything (Saatci, Scalable inference for structured Gaussian
    process models, Cambridge 2011, chapter 5). Lengths and ratios of noise to field are those of greatest evidence.
    """

    def __init__(self, sampler: Sampler, scale: int) -> None:
        lengths = [
            (_axis(sampler.rows, length * scale), _axis(sampler.columns, length * scale)) for length in _LENGTHS_LR_PX
        ]
        self._lengths = [[Correlation(*axes, float(ratio)) for ratio in _RATIOS] for axes in lengths]

    def shared_correlation(self, observed: np.ndarray) -> Correlation:
        """The correlation that explains all of the images (K, h, w) best, each with a variance of its own."""
        surprises = self._surprises(observed).sum(axis=1)
        return self._candidates[int(np.argmin(surprises))]

    def kriged(self, observed: np.ndarray) -> np.ndarray:
        """Posterior means (K, H, W), float32, of the fields behind images (K, h, w), each with its own correlation."""
        chosen = [self._candidates[best] for best in self._surprises(observed).argmin(axis=0)]
        return np.stack([_posterior_mean(*pair) for pair in zip(chosen, observed, strict=True)])

    @property
    def _candidates(self) -> list[Correlation]:
        return [candidate for ratios in self._lengths for candidate in ratios]

    def _surprises(self, observed: np.ndarray) -> np.ndarray:
        """Minus twice the log evidence per observation, but for a constant: (candidates, K)."""
        found = []
        for ratios in self._lengths:
            power = (ratios[0].turned(observed) ** 2).reshape(len(observed), -1)
            for candidate in ratios:
                spectrum = candidate.spectrum.ravel()
                scaled = power @ (1 / spectrum) / len(spectrum)
                found.append(np.log(np.maximum(scaled, np.finfo(float).tiny)) + np.log(spectrum).mean())
        return np.array(found)


def whitened(images: np.ndarray, correlation: Correlation) -> np.ndarray:
    """Images (K, h, w) turned and scaled such that field and noise together are white, (K, h w)."""
    scaled = correlation.turned(images) * np.sqrt((1 + correlation.ratio) / correlation.spectrum)
    return scaled.reshape(len(images), -1)


def _posterior_mean(correlation: Correlation, observed: np.ndarray) -> np.ndarray:
    scaled = correlation.turned(observed[None])[0] / correlation.spectrum
    return (correlation.rows.spread @ scaled @ correlation.columns.spread.T).astype(np.float32)


def _axis(matrix: Any, length_px: float) -> _Axis:
    places = np.arange(matrix.shape[1])
    correlation = np.exp(-0.5 * ((places[:, None] - places) / length_px) ** 2)
    seen = matrix @ correlation
    values, vectors = np.linalg.eigh(matrix @ seen.T)
    return _Axis(np.maximum(values, 0.0), vectors, seen.T @ vectors)
