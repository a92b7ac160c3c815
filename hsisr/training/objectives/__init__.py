"""What a network is trained towards: objectives turn batches into losses, an iteration puts them in order.

Source: MulSR (IEEE TGRS 2023) for the labelled objective, Spectral Mixup (arXiv 2101.07589) for the other three.
"""

from collections.abc import Mapping

from torch import nn

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training.batches import Batch
from hsisr.training.objectives.iteration import Iteration
from hsisr.training.objectives.loss import distance
from hsisr.training.objectives.mixup import SpectralMixup, mixed, mixing_matrix
from hsisr.training.objectives.rgb import RgbTask
from hsisr.training.objectives.supervised import Supervised, takes_bands
from hsisr.training.objectives.unlabelled import Unlabelled

__all__ = [
    "Batch",
    "Iteration",
    "RgbTask",
    "SpectralMixup",
    "Supervised",
    "Unlabelled",
    "build",
    "distance",
    "mixed",
    "mixing_matrix",
]


def build(
    training: Training, seed: int, model: nn.Module, labelled: PatchFile, others: Mapping[str, PatchFile]
) -> Iteration:
    """The iteration that a training section describes.

    labelled: the patches of the benchmark. others: of the objectives `rgb` and `unlabelled`, those that are chosen.
    Raises HsisrError if an objective does not fit the model or its patches.
    """
    if training.total_variation.bands and takes_bands(model) and training.bands_per_step < labelled.bands:
        raise HsisrError(
            f"training.total_variation.bands: {type(model).__name__} takes {training.bands_per_step} bands of "
            f"{labelled.bands} in a step, not always neighbours; set it to 0, or bands_per_step to {labelled.bands}"
        )
    chosen = training.objectives
    parts = [Supervised(training, seed, labelled.rule)]
    if chosen.mixup is not None:
        parts.append(SpectralMixup(chosen.mixup, training, seed, labelled.rule))
    if chosen.rgb is not None:
        parts.append(RgbTask(chosen.rgb, training, others["rgb"]))
    if chosen.unlabelled is not None:
        parts.append(Unlabelled(chosen.unlabelled, training, others["unlabelled"], labelled.wavelengths_nm))
    return Iteration(parts, together=chosen.step == "together")
