"""Spectral Mixup: virtual spectra, made by mixing the bands of labelled patches (arXiv 2101.07589)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hsisr.config import Objective, Training
from hsisr.degrade import Protocol
from hsisr.training.batches import Batch, across_bands
from hsisr.training.objectives.supervised import Supervised

#: Seeds of mixtures are (run's seed, this, number of the batch, number of the mixture).
_STREAM = 3


class SpectralMixup:
    """The labelled objective on `count` mixtures of the same batch, each with its own matrix.

    LR and HR image are mixed in the same way. A guide stays unchanged: mixing does not move pixels. A band-wise network
    processes the bands of every mixture like those of the batch.
    """

    name = "mixup"

    def __init__(self, setting: Objective, training: Training, seed: int, rule: Protocol | None = None) -> None:
        self.setting, self.seed = setting, seed
        self.supervised = Supervised(training, seed, rule)

    def steps_per_batch(self, model: nn.Module, bands: int) -> int:
        """Number of losses for one batch."""
        return self.setting.count * self.supervised.steps_per_batch(model, bands)

    def losses(self, model: nn.Module, batch: Batch, number: int, first: int = 0) -> Iterator[Tensor]:
        """Losses of batch `number` of the run, one after the other, from number `first`."""
        assert batch.hr is not None  # labelled samples have an HR image
        bands = batch.lr.shape[1]
        done, first = divmod(first, self.supervised.steps_per_batch(model, bands))
        for mixture in range(1 + done, self.setting.count + 1):
            rng = np.random.default_rng([self.seed, _STREAM, number, mixture])
            matrix = mixing_matrix(bands, rng).to(batch.lr)
            virtual = replace(batch, lr=mix(batch.lr, matrix), hr=mix(batch.hr, matrix))
            yield from self.supervised.losses(model, virtual, number, mixture, first)
            first = 0


def mixing_matrix(bands: int, rng: np.random.Generator) -> Tensor:
    """M (bands, bands), float64: uniform in [0, 1), divided by the mean of its column sums."""
    matrix = rng.random((bands, bands))
    return torch.from_numpy(matrix / matrix.sum(axis=0).mean())


def mix(images: Tensor, matrix: Tensor) -> Tensor:
    """(x + x M) / 2 along the bands of images (N, C, H, W); columns of matrix (C, C) are outputs."""
    return (images + across_bands(images, matrix)) / 2
