"""The common part of objectives that draw patches of their own, beside the labelled ones."""

from torch import nn

from hsisr.config import Objective, Training
from hsisr.samples import TrainingSamples
from hsisr.training.feeding import Feed, Share


class Auxiliary:
    """An objective on `setting.count` batches of patches of its own with every labelled batch.

    An epoch ends where these patches do, if that comes first.
    """

    def __init__(self, setting: Objective, training: Training, patches: TrainingSamples) -> None:
        self.setting, self.training, self.patches = setting, training, patches
        self.feed = Feed(patches, training.batch_size)

    def feed_with(self, workers: int, share: Share) -> None:
        """Draw patches with workers, and of each batch a share."""
        self.feed = Feed(self.patches, self.feed.size, workers, share)

    def steps_per_batch(self, model: nn.Module, bands: int) -> int:
        """Losses that one batch of labelled patches brings with it."""
        return self.setting.count
