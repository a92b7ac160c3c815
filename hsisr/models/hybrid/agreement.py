"""Data consistency of what filters and network made of the prior's image: how far it may contradict the guide."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hsisr.degrade.estimation import Subspace
from hsisr.models.prior import Solution
from hsisr.models.prior.agreement import guide_gain


def contradiction(image: np.ndarray, guide: np.ndarray, response: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Mean square of what a guide (G, H, W) has beyond a camera's view of an image (B, H, W), over the guide's own.

    response: (G, B + 1), the last column an offset. valid: (H, W), the pixels that count, or None for all.
    """
    kept = slice(None) if valid is None else np.flatnonzero(valid)
    seen, spectra = (part.reshape(len(part), -1)[:, kept] for part in (guide, image))
    missing = seen - response[:, :-1] @ spectra - response[:, -1:]
    return float((missing**2).mean() / max(float((seen**2).mean()), np.finfo(float).tiny))


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
            before, missing = subspace.coefficients(image.reshape(len(image), -1)), found._missing(image, guide)
            count += 1
            beyond += float((missing**2).mean())
            shown = float((guide.astype(np.float64) ** 2).mean())
            own += contradiction(solution.image(), guide, response) * max(shown, float(np.finfo(float).tiny))
            power += shown
            level, square = level + before.mean(axis=1), square + (before**2).mean(axis=1)
        allowed = max(usual * power, own) / count
        spread = np.maximum(square / count - (level / count) ** 2, 0)
        floor = max(allowed, float(np.finfo(np.float32).tiny))
        return cls(subspace, response, guide_gain(spread, beyond / count, on_subspace, floor))

    def moved(self, image: np.ndarray, guide: np.ndarray) -> np.ndarray:
        """The image (B, n, m) of the scene or a part of it, moved."""
        if self.gain is None or not self.gain.any():
            return image
        moved = (self.gain @ self._missing(image, guide)).astype(np.float32).reshape(-1, *image.shape[1:])
        return image + np.tensordot(self.subspace.basis.astype(image.dtype), moved, 1)

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
