"""Bayesian linear regression with several targets; the evidence chooses features and ridge for each target."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

#: Number of samples that are copied at a time.
_CHUNK = 512
#: Ridges that are tried: noise variance / weight variance / number of samples. Smaller ones than the rounding of the
#: gram matrix are not: where there are more features than samples, rounding would seem to explain the targets exactly.
_RIDGES = 10.0 ** np.arange(-12, 1.5, 0.5)


@dataclass(frozen=True, eq=False)
class Fit:
    """Targets (K, n) as weights (K, D) @ features (D, n) + offset (K, 1), with their uncertainty.

    noise: (K,) variance that the features do not explain, as the evidence estimates it.
    surprise: (K,) minus twice the log evidence, up to a constant.
    """

    weights: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    surprise: np.ndarray
    _level: np.ndarray
    _vectors: np.ndarray
    _shrinkage: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Targets at features (D, m), in the features' type."""
        kind = features.dtype
        targets: np.ndarray = (features.T @ self.weights.T.astype(kind)).T  # twice as fast as the other way round
        targets += self.offset.astype(kind)
        return targets

    def variance(self, features: np.ndarray) -> np.ndarray:
        """Posterior variance (K, m) of the targets at features (D, m), without noise."""
        kind = features.dtype
        turned = self._vectors.T.astype(kind) @ features - self._level.astype(kind)
        return self._shrinkage.T.astype(kind) @ turned**2

    def before(self, turn: np.ndarray) -> "Fit":
        """The same fit for other features (D, m): turn (D, D) @ these features are the features of the fit."""
        return replace(self, weights=self.weights @ turn, _vectors=turn.T @ self._vectors)


class Sums:
    """Sums over samples for a regression, added part by part: so the samples need not be in memory together.

    features, targets: their numbers D and K.
    """

    def __init__(self, features: int, targets: int) -> None:
        self.features, self.targets, self.count = features, targets, 0
        self._near = np.zeros((features + targets, 1))
        self._products = np.zeros((features + targets + 1,) * 2)

    def add(self, features: np.ndarray, targets: np.ndarray, constant: np.ndarray | None = None) -> None:
        """Add samples: features (D, n), targets (K, n), and the values of the constant, (1, n); None: ones."""
        constant = np.ones((1, features.shape[1])) if constant is None else constant
        if not self.count and features.shape[1]:
            every = np.concatenate([features @ constant.T, targets @ constant.T])
            self._near = every / (constant**2).sum()  # sums around a near level stay exact
        for first in range(0, features.shape[1], _CHUNK):
            part = slice(first, min(first + _CHUNK, features.shape[1]))
            here = np.empty((len(self._products), part.stop - first))
            here[: self.features], here[self.features : -1], here[-1:] = (
                values[:, part] for values in (features, targets, constant)
            )
            here[:-1] -= self._near * here[-1]
            self._products += here @ here.T
        self.count += features.shape[1]

    def leading(self, features: int) -> "Sums":
        """The sums for the first features alone."""
        result, kept = Sums(features, self.targets), np.r_[:features, self.features : len(self._products)]
        result.count, result._near = self.count, self._near[kept[:-1]]
        result._products = self._products[np.ix_(kept, kept)]
        return result

    def turned(self, turn: np.ndarray) -> "Sums":
        """The sums for features turn @ features. turn: (D, D)."""
        result, own = Sums(self.features, self.targets), slice(0, self.features)
        result.count, result._near, result._products = self.count, self._near.copy(), self._products.copy()
        result._near[own] = turn @ result._near[own]
        result._products[own] = turn @ result._products[own]
        result._products[:, own] = result._products[:, own] @ turn.T
        return result

    def projected(self, basis: np.ndarray, mean: np.ndarray) -> "Sums":
        """The sums for targets basis.T @ (targets - mean), if the constant is 1. basis: (K, L). mean: (K, 1)."""
        result, first, all_ = Sums(self.features, basis.shape[1]), self.features, self._products
        half = np.concatenate([all_[:first], basis.T @ all_[first:-1], all_[-1:]])
        result._products = np.concatenate([half[:, :first], half[:, first:-1] @ basis, half[:, -1:]], axis=1)
        result._near = np.concatenate([self._near[:first], basis.T @ (self._near[first:] - mean)])
        result.count = self.count
        return result

    def target_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (K, 1) and covariance (K, K) of the targets."""
        beyond = self._products[self.features : -1, -1:] / self._products[-1, -1]
        squares = self._products[self.features : -1, self.features : -1] / self.count
        return self._near[self.features :] + beyond, squares - beyond @ beyond.T

    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Level (D + K, 1); without it, per sample: gram (D, D), products with targets (D, K), their power (K,)."""
        beyond = self._products[:-1, -1:] / self._products[-1, -1]
        left = (self._products[:-1, :-1] - beyond @ self._products[-1:, :-1]) / self.count
        gram, cross = left[: self.features, : self.features], left[: self.features, self.features :]
        return self._near + beyond, gram, cross, np.maximum(np.diag(left)[self.features :], 0)


def regress(sums: Sums, simpler: Sequence[int] = (), least_ratio: float = 0.0) -> Fit:
    """Regression of targets (K, n) on features (D, n) and a constant.

    simpler: numbers of leading features that may be enough alone. least_ratio: least ratio of noise to weight variance
    for all features together. The evidence knows no error except noise. Without noise, it would allow many strong
    features that cancel each other at the samples, and nowhere else.

    Weights have independent normal priors of equal variance; the offset has no prior. For each target, the evidence
    chooses the features (all, or the first ones as in `simpler`) and the ratio of noise to weights. Its noise level is
    the best one for each choice (MacKay, Bayesian interpolation, Neural Computation 1992).
    """
    level, gram, products, power = sums.moments()
    count, sizes = sums.count, (len(gram), *simpler)
    least = (least_ratio / count, *[0.0] * len(simpler))
    vectors, values = np.zeros((len(gram), sum(sizes))), np.empty(sum(sizes))
    choices = [slice(stop - size, stop) for size, stop in zip(sizes, accumulate(sizes), strict=True)]
    for size, columns in zip(sizes, choices, strict=True):
        found, vectors[:size, columns] = np.linalg.eigh(gram[:size, :size])
        values[columns] = np.maximum(found, 0.0)
    cross = vectors.T @ products
    floor = np.maximum(1e-14 * power, np.finfo(float).tiny)
    best, noise = np.full(len(power), np.inf), power.copy()
    shrunk = np.zeros_like(cross)
    for columns, least_ridge in zip(choices, least, strict=True):
        strength, explained = values[columns, None], cross[columns] ** 2
        rounding = np.finfo(float).eps * len(strength) * strength.max()
        for ridge in _RIDGES[max(least_ridge, rounding) <= _RIDGES]:
            left = np.maximum(power - (explained / (strength + ridge)).sum(axis=0), floor)
            # the offset takes a degree of freedom; without that, few samples would seem to be explained exactly
            surprise = (count - 1) * np.log(left) + np.log1p(strength / ridge).sum()
            better = surprise < best
            best[better], noise[better] = surprise[better], left[better]
            shrunk[:, better] = 0
            shrunk[columns, better] = 1 / (strength + ridge)
    weights = (vectors @ (shrunk * cross)).T
    mean, offset = level[: len(gram)], level[len(gram) :]
    return Fit(weights, offset - weights @ mean, noise, best, vectors.T @ mean, vectors, shrunk * noise / count)


def regress_arrays(
    features: np.ndarray, targets: np.ndarray, simpler: Sequence[int] = (), least_ratio: float = 0.0
) -> Fit:
    """`regress` of targets (K, n) on features (D, n) that are in memory together."""
    sums = Sums(len(features), len(targets))
    sums.add(features, targets)
    return regress(sums, simpler, least_ratio)
