"""Semi-supervision: on scenes without HR image, the spectral and the RGB path must agree (arXiv 2101.07589)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hsisr import degrade
from hsisr.config import Training, UnlabelledObjective
from hsisr.errors import HsisrError
from hsisr.samples import TrainingSamples
from hsisr.training.batches import Batch, across_bands
from hsisr.training.objectives.auxiliary import Auxiliary
from hsisr.training.objectives.loss import distance


class Unlabelled(Auxiliary):
    """Distance between V(net(LR)) and net_rgb(V LR) on `count` batches of LR-only scenes; V maps bands to channels.

    The gradient flows through both paths. The total variation is that of V(net(LR)).
    patches: of the LR-only scenes. wavelengths_nm: (bands,) of their bands; V is made from them. With
    `setting.response`, V can be the unchanged published matrix instead.
    Raises HsisrError for unknown wavelengths, or if the published matrix has another number of bands.
    """

    name = "unlabelled"

    def __init__(
        self,
        setting: UnlabelledObjective,
        training: Training,
        patches: TrainingSamples,
        wavelengths_nm: np.ndarray | None,
    ) -> None:
        if setting.response == "cie1964@index":
            published = degrade.MIXUP_WAVELENGTHS_NM
            if patches.bands != len(published):
                raise HsisrError(
                    f"training.objectives.unlabelled.response: cie1964@index is for {len(published)} bands, and "
                    f"{patches.label} has {patches.bands}; take cie1964"
                )
            wavelengths_nm = published
        if wavelengths_nm is None:
            raise HsisrError(
                "training.objectives.unlabelled: needs the wavelengths of the bands, which are not known; give "
                "wavelengths_nm under datasets: or leave it out"
            )
        super().__init__(setting, training, patches)
        self.matrix = torch.from_numpy(degrade.spectral_mixup_matrix(wavelengths_nm))

    def losses(self, model: nn.Module, batch: Batch, number: int, first: int = 0) -> Iterator[Tensor]:
        """Losses for batch `number` of the run, one after the other, from number `first`."""
        matrix = self.matrix.to(batch.lr)
        for k in range(first, self.setting.count):
            lr = self.feed.like(batch, number * self.setting.count + k).lr
            spectral = across_bands(model(lr), matrix)
            rgb = model(across_bands(lr, matrix), modality="rgb")
            yield distance(spectral, rgb, self.training.total_variation)
