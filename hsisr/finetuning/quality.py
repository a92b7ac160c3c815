"""Quality of a result on a user's own scene: against the LR image as reference, and against the inputs."""

from collections.abc import Callable, Mapping

import numpy as np

from hsisr.degrade.estimation import fit_positive_response
from hsisr.evaluation.full_resolution import full_scores
from hsisr.finetuning.reduced import Part

#: A method as a function: (lr, guide, valid pixels of the result) -> estimate.
Apply = Callable[[np.ndarray, np.ndarray | None, np.ndarray], np.ndarray]
Scores = dict[str, float]


def compare(
    part: Part, training: Part, scale: int, methods: Mapping[str, Mapping[str, Apply]]
) -> dict[str, dict[str, Scores]]:
    """Scores of methods on a part: `reduced` with the LR image as reference, `full` without one.

    reduced: psnr, sam, ergas. full: consistency_lr, consistency_guide (RMSE in units of the peak, 0 is best), d_lambda
    (Khan), and for a guide of one band d_s and qnr. methods: `reduced` or `full` -> name -> method. training: the part
    that fits the guide's spectral response.
    """
    response = _fitted_response(training)
    found: dict[str, dict[str, Scores]] = {"reduced": {}, "full": {}}
    for name, apply in methods["reduced"].items():
        scores = part.score(apply(part.low_lr, part.low_guide, part.mask), scale)
        found["reduced"][name] = {key: float(scores[key]) for key in ("psnr", "sam", "ergas")}
    for name, apply in methods["full"].items():
        found["full"][name] = _full(part, apply, scale, response)
    return found


def _full(part: Part, apply: Apply, scale: int, response: tuple[np.ndarray | None, np.ndarray | None]) -> Scores:
    estimate = apply(part.lr, part.guide, part.guide_mask)
    scores = full_scores(estimate, part.lr, part.guide, scale, *response, mask=part.guide_mask, lr_mask=part.mask)
    return {key: float(value) for key, value in scores.items() if value is not None}


def _fitted_response(part: Part) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Spectral response (G, B) >= 0 and offset (G,) that turn the LR image's bands into the guide on the LR grid."""
    if part.low_guide is None:
        return None, None
    bands, guide = (image[:, part.mask].astype(np.float64) for image in (part.lr, part.low_guide))
    mean, guide_mean = bands.mean(axis=1), guide.mean(axis=1)
    matrix = fit_positive_response(bands - mean[:, None], guide - guide_mean[:, None])
    return matrix, guide_mean - matrix @ mean
