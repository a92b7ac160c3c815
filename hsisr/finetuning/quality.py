"""How good a result is on a scene of one's own: against the LR image as reference, and against what the sensors saw."""

from collections.abc import Callable, Mapping

import numpy as np

from hsisr import degrade, metrics
from hsisr.finetuning.reduced import Part

#: Side of a quality-index tile in LR pixels, the field's; halved until it fits into a small image.
_BLOCK_LR_PX = 32

#: A method, applied: (lr, guide, valid pixels of the result) -> estimate.
Apply = Callable[[np.ndarray, np.ndarray | None, np.ndarray], np.ndarray]
Scores = dict[str, float]


def compare(
    part: Part, training: Part, scale: int, methods: Mapping[str, Mapping[str, Apply]]
) -> dict[str, dict[str, Scores]]:
    """Scores of methods on a part: `reduced` with the LR image as reference, `full` without one.

    reduced: psnr, sam, ergas. full: consistency_lr, consistency_guide (RMSE in units of the peak, 0 is best), d_lambda
    (Khan), and for a guide of one band d_s and qnr. methods: of either kind, by name. training: the part on which the
    guide's spectral response is fitted.
    """
    response = None if part.guide is None else _fitted_response(training)
    found: dict[str, dict[str, Scores]] = {"reduced": {}, "full": {}}
    for name, apply in methods["reduced"].items():
        mask = None if part.mask.all() else part.mask
        scores = metrics.score(part.lr, apply(part.low_lr, part.low_guide, part.mask), scale, "mulsr", mask=mask)
        found["reduced"][name] = {key: float(scores[key]) for key in ("psnr", "sam", "ergas")}
    for name, apply in methods["full"].items():
        found["full"][name] = _full(part, apply, scale, response)
    return found


def _full(part: Part, apply: Apply, scale: int, response: tuple[np.ndarray, np.ndarray] | None) -> Scores:
    estimate = apply(part.lr, part.guide, part.guide_mask)
    degraded = degrade.degrade(estimate, "wald", scale, noise=0)
    block = _BLOCK_LR_PX
    while block > min(part.lr.shape[1:]):
        block //= 2
    mask = None if part.mask.all() else part.mask
    scores = {
        "consistency_lr": metrics.consistency_lr(degraded, part.lr, mask=mask),
        "d_lambda": _or_nothing(lambda: metrics.d_lambda(part.lr, degraded, block=block, mask=mask)),
    }
    if response is not None:
        matrix, offset = response
        seen = np.tensordot(matrix, estimate, axes=1) + offset[:, None, None]
        fine = None if part.guide_mask.all() else part.guide_mask
        scores["consistency_guide"] = metrics.consistency_guide(seen, part.guide, mask=fine)
        if len(part.guide) == 1:
            guide_lr = degrade.degrade(part.guide, "wald", scale, noise=0)
            scores["d_s"] = _or_nothing(
                lambda: metrics.d_s(estimate, part.guide, part.lr, guide_lr, block=block, mask=fine, lr_mask=mask)
            )
            if scores["d_s"] is not None and scores["d_lambda"] is not None:
                scores["qnr"] = metrics.qnr(scores["d_lambda"], scores["d_s"])
    return {key: float(value) for key, value in scores.items() if value is not None}


def _fitted_response(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Spectral response (G, B) >= 0 and offset (G,) that make the guide, on the LR grid, of the LR image's bands."""
    from scipy.optimize import nnls

    bands = part.lr[:, part.mask].astype(np.float64)
    guide = part.low_guide[:, part.mask].astype(np.float64)
    mean, guide_mean = bands.mean(axis=1), guide.mean(axis=1)
    # the normal equations: as many rows as bands, whatever the number of pixels
    covariance = (bands - mean[:, None]) @ (bands - mean[:, None]).T / bands.shape[1]
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-12 * values[-1]
    root = (vectors[:, kept] * np.sqrt(values[kept])).T
    cross = (bands - mean[:, None]) @ (guide - guide_mean[:, None]).T / bands.shape[1]
    targets = (vectors[:, kept] / np.sqrt(values[kept])).T @ cross
    matrix = np.stack([nnls(root, target)[0] for target in targets.T])
    return matrix, guide_mean - matrix @ mean


def _or_nothing(measure: Callable[[], float]) -> float | None:
    """A score, or None where holes in the scene leave no complete tile to measure it on."""
    from hsisr.errors import HsisrError

    try:
        return measure()
    except HsisrError:
        return None
