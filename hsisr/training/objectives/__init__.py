"""The training goals of a network: objectives turn batches into losses, and an iteration puts them in order.

Source: MulSR (IEEE TGRS 2023) for the labelled objective, Spectral Mixup (arXiv 2101.07589) for the other three.
"""

from collections.abc import Mapping

from torch import nn

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.models.base import as_model
from hsisr.pipeline.known_bands import KnownBands
from hsisr.samples import TrainingSamples
from hsisr.training.batches import Batch
from hsisr.training.objectives.auxiliary import Auxiliary
from hsisr.training.objectives.iteration import Iteration, Objective
from hsisr.training.objectives.loss import distance
from hsisr.training.objectives.mixup import SpectralMixup, mix, mixing_matrix
from hsisr.training.objectives.rgb import RgbTask
from hsisr.training.objectives.supervised import Supervised
from hsisr.training.objectives.unlabelled import Unlabelled

__all__ = [
    "Auxiliary",
    "Batch",
    "Iteration",
    "RgbTask",
    "SpectralMixup",
    "Supervised",
    "Unlabelled",
    "build",
    "distance",
    "mix",
    "mixing_matrix",
]


def build(
    training: Training, seed: int, model: nn.Module, labelled: TrainingSamples, others: Mapping[str, TrainingSamples]
) -> Iteration:
    """The iteration that a training section describes.

    labelled: the benchmark's patches. others: the chosen ones of the objectives `rgb` and `unlabelled`.
    Raises HsisrError if an objective does not fit the model or its patches.
    """
    contract, chosen = as_model(model), training.objectives
    if training.total_variation.bands and contract.band_wise and training.bands_per_step < labelled.bands:
        raise HsisrError(
            f"training.total_variation.bands: {contract.name} takes {training.bands_per_step} bands of "
            f"{labelled.bands} in a step, not always neighbours; set it to 0, or bands_per_step to {labelled.bands}"
        )
    for name, section in (("rgb", chosen.rgb), ("unlabelled", chosen.unlabelled)):
        if section is not None and not contract.rgb_path:
            raise HsisrError(
                f"training.objectives.{name}: {contract.name} has no RGB path; it needs a `forward` that takes "
                'modality="rgb", or the objective is to be left out'
            )
    sample, variation = labelled.stack([0]), training.total_variation
    if sample.hr is not None and sample.hr.shape[1] != sample.lr.shape[1]:
        for key, used in (("objectives.mixup", chosen.mixup), ("total_variation", variation.space or variation.bands)):
            if used:
                raise HsisrError(
                    f"training.{key}: {labelled.label} pair LR images of {sample.lr.shape[1]} bands with HR images of "
                    f"{sample.hr.shape[1]}, and it needs the same bands in both; leave it out"
                )
    parts: list[Objective] = [Supervised(training, seed, labelled.rule)]
    if chosen.mixup is not None:
        parts.append(SpectralMixup(chosen.mixup, training, seed, labelled.rule))
    if chosen.rgb is not None:
        parts.append(RgbTask(chosen.rgb, training, others["rgb"]))
    if chosen.unlabelled is not None:
        more = others["unlabelled"]
        if contract.bands is not None:  # else it takes any bands
            known = KnownBands(labelled.label, labelled.bands, labelled.wavelengths_nm)
            known.check(more.label, more.bands, more.wavelengths_nm)
        parts.append(Unlabelled(chosen.unlabelled, training, more, more.wavelengths_nm))
    return Iteration(parts, together=chosen.step == "together")
