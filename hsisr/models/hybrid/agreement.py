"""Data consistency of what filters and network made of the prior's image: how far it may contradict the guide."""

import numpy as np

from hsisr.models.prior import Solution, agree_with_guide


def contradiction(image: np.ndarray, guide: np.ndarray, response: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Mean square of what a guide (G, H, W) has beyond a camera's view of an image (B, H, W), over the guide's own.

    response: (G, B + 1), the last column an offset. valid: (H, W), the pixels that count, or None for all.
    """
    kept = slice(None) if valid is None else np.flatnonzero(valid)
    seen, spectra = (part.reshape(len(part), -1)[:, kept] for part in (guide, image))
    missing = seen - response[:, :-1] @ spectra - response[:, -1:]
    return float((missing**2).mean() / max(float((seen**2).mean()), np.finfo(float).tiny))


def agreed(
    image: np.ndarray, guide: np.ndarray, response: np.ndarray, solution: Solution, usual: float = 0.0
) -> np.ndarray:
    """The image (B, H, W), moved within the scene's subspace where it contradicts the guide more than is usual.

    guide, response: as for `contradiction`; a response of zeros, of a camera that is not known yet, moves nothing.
    usual: contradiction of true HR images; the prior's own is allowed in any case.
    """
    if not response.any():
        return image
    subspace = solution.subspace
    allowed = max(usual, contradiction(solution.image(), guide, response)) * float((guide**2).mean())
    on_subspace, flat = response[:, :-1] @ subspace.basis, image.reshape(len(image), -1)
    before = subspace.coefficients(flat).astype(np.float32)
    after = before.reshape(-1, *image.shape[1:]).copy()
    elsewhere = response[:, :-1] @ flat + response[:, -1:] - on_subspace @ before
    agree_with_guide(after, guide, on_subspace, elsewhere, max(allowed, float(np.finfo(np.float32).tiny)))
    moved = after - before.reshape(after.shape)
    return image + np.tensordot(subspace.basis.astype(image.dtype), moved, 1)
