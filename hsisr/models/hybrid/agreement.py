"""Data consistency of what filters and network made of the prior's image: how far it may contradict the guide."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hsisr.degrade.estimation import Subspace
from hsisr.models.prior import Solution
from hsisr.models.prior.agreement import guide_gain

#: Pixels that are looked at together.
_STRIP_PX = 1 << 12


def contradiction(image: np.ndarray, guide: np.ndarray, response: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Mean square of what a guide (G, H, W) has beyond a camera's view of an image (B, H, W), over the guide's own.

    response: (G, B + 1), the last column an offset. valid: (H, W), the pixels that count, or None for all.
    """
    missing, power = 0.0, 0.0
    for spectra, seen in _strips(image, guide, valid=valid):
        missing += float(((seen - response[:, :-1] @ spectra - response[:, -1:]) ** 2).sum())
        power += float((seen**2).sum())
    return missing / max(power, np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class Agreement:
    """How an image is moved within the scene's subspace where it contradicts the guide more than is usual.

    response: (G, B + 1), as for `contradiction`. gain: (K, G), or None where nothing is moved.
    """

    subspace: Subspace
    response: np.ndarray
    gain: np.ndarray | None

    @classmethod
    def of(
        cls,
        parts: Iterable[tuple[np.ndarray, np.ndarray, Solution]],
        response: np.ndarray,
        subspace: Subspace,
        usual: float = 0.0,
    ) -> "Agreement":
        """Of a scene by parts of one size: image (B, H, W), guide (G, H, W), the prior's solution.

        response: of zeros, of a camera that is not known yet, moves nothing. usual: contradiction of true HR images;
        the prior's own is allowed in any case.
        """
        if not response.any():
            return cls(subspace, response, None)
        found = cls(subspace, response, np.zeros(()))
        on_subspace = response[:, :-1] @ subspace.basis
        count, beyond, own, power, level, square = 0, 0.0, 0.0, 0.0, np.zeros(()), np.zeros(())
        for image, guide, solution in parts:
            shown = 0.0
            for spectra, seen in _strips(image, guide):
                before, missing = subspace.coefficients(spectra), found._missing(spectra, seen)
                beyond += float((missing**2).sum())
                shown += float((seen.astype(np.float64) ** 2).sum())
                level, square = level + before.sum(axis=1), square + (before**2).sum(axis=1)
            own += contradiction(solution.image(), guide, response) * max(shown, float(np.finfo(float).tiny))
            power += shown
            count += guide[0].size
        samples = count * len(response)
        spread = np.maximum(square / count - (level / count) ** 2, 0)
        floor = max(max(usual * power, own) / samples, float(np.finfo(np.float32).tiny))
        return cls(subspace, response, guide_gain(spread, beyond / samples, on_subspace, floor * np.eye(len(response))))

    def moved(self, image: np.ndarray, guide: np.ndarray) -> np.ndarray:
        """The image (B, n, m) of the scene or a part of it, moved."""
        if self.gain is None or not self.gain.any():
            return image
        moved = (self.gain @ self._missing(image, guide)).astype(np.float32)
        result: np.ndarray = (self.subspace.basis.astype(image.dtype) @ moved).reshape(image.shape)
        result += image
        return result

    def _missing(self, image: np.ndarray, guide: np.ndarray) -> np.ndarray:
        """What the guide has beyond the camera's view of an image: (G, n m)."""
        response = self.response.astype(image.dtype)
        seen = response[:, :-1] @ image.reshape(len(image), -1) + response[:, -1:]
        return guide.reshape(len(guide), -1) - seen


def agreed(
    image: np.ndarray, guide: np.ndarray, response: np.ndarray, solution: Solution, usual: float = 0.0
) -> np.ndarray:
    """The image (B, H, W) of a whole scene, moved by the `Agreement` of it."""
    return Agreement.of([(image, guide, solution)], response, solution.subspace, usual).moved(image, guide)


def _strips(*images: np.ndarray, valid: np.ndarray | None = None) -> Iterator[list[np.ndarray]]:
    """The same pixels of images (K, H, W), some at a time, (K, n) each: what is made of them stays in the cache.

    valid: (H, W), the pixels that count, or None for all.
    """
    flat = [image.reshape(len(image), -1) for image in images]
    kept = None if valid is None else np.flatnonzero(valid)
    for first in range(0, flat[0].shape[1] if kept is None else len(kept), _STRIP_PX):
        part = slice(first, first + _STRIP_PX)
        yield [image[:, part if kept is None else kept[part]] for image in flat]
