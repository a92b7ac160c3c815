"""Shared by objectives that draw their own patches beside the labelled ones."""

from torch import nn

from hsisr.config import Objective, Training
from hsisr.samples import TrainingSamples
from hsisr.training.feeding import Feed, Share


class Auxiliary:
    """An objective on `setting.count` batches of its own patches for every labelled batch.

    An epoch ends with these patches, if they end before the labelled ones.
    """

    def __init__(self, setting: Objective, training: Training, patches: TrainingSamples) -> None:
        self.setting, self.training, self.patches = setting, training, patches
        self.feed = Feed(patches, training.batch_size)

    def feed_with(self, workers: int, share: Share) -> None:
        """Draw patches with workers, and take a share of each batch."""
        self.feed = Feed(self.patches, self.feed.size, workers, share)

    def steps_per_batch(self, model: nn.Module, bands: int) -> int:
        """Number of losses for one batch of labelled patches."""
        return self.setting.count
