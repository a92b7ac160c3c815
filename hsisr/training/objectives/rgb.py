"""The auxiliary task: super-resolve photographs with the branches that both paths share (arXiv 2101.07589)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hsisr.config import RgbObjective, Training
from hsisr.degrade import RGB_TO_EIGHT
from hsisr.errors import HsisrError
from hsisr.samples import TrainingSamples
from hsisr.training.batches import Batch, across_bands
from hsisr.training.objectives.auxiliary import Auxiliary
from hsisr.training.objectives.loss import distance


class RgbTask(Auxiliary):
    """Distance between super-resolved and HR photographs in eight channels, on `count` batches of their own.

    patches: of photographs with three channels. Raises HsisrError for other images.
    """

    name = "rgb"

    def __init__(self, setting: RgbObjective, training: Training, patches: TrainingSamples) -> None:
        if patches.bands != len(RGB_TO_EIGHT):
            raise HsisrError(f"{patches.label}: {patches.bands} channels; the objective rgb takes photographs of 3")
        super().__init__(setting, training, patches)

    def losses(self, model: nn.Module, batch: Batch, number: int, first: int = 0) -> Iterator[Tensor]:
        """Losses for batch `number` of the run, one after the other, from number `first`."""
        matrix = torch.from_numpy(RGB_TO_EIGHT).to(batch.lr)
        for k in range(first, self.setting.count):
            photos = self.feed.like(batch, number * self.setting.count + k)
            assert photos.hr is not None  # photographs always have an HR image
            estimate = model(across_bands(photos.lr, matrix), modality="rgb")
            yield distance(estimate, across_bands(photos.hr, matrix), self.training.total_variation)
