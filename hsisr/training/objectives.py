"""What a network is trained towards: an objective turns a batch into losses, one for each optimiser step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hsisr.config import Training
from hsisr.patches import Sample


@dataclass(frozen=True)
class Batch:
    """Samples as tensors: lr (N, bands, p, p), guide (N, G, sp, sp) or None, hr (N, bands, sp, sp)."""

    lr: Tensor
    guide: Tensor | None
    hr: Tensor

    @classmethod
    def of(cls, samples: list[Sample], device: torch.device) -> "Batch":
        """Stack samples on a device."""

        def stack(name: str) -> Tensor | None:
            images = [getattr(sample, name) for sample in samples]
            return None if images[0] is None else torch.from_numpy(np.stack(images)).to(device)

        return cls(stack("lr"), stack("guide"), stack("hr"))


class Supervised:
    """L1 distance between super-resolved and HR bands, as published (spec: MulSR, training and test).

    A network that super-resolves band by band (it has `super_resolve_bands`) takes `bands_per_step` bands of every
    patch in an optimiser step: all bands in order, one step after the other, or one step on bands drawn at random.
    Any other network takes all bands at once.
    """

    def __init__(self, training: Training, seed: int) -> None:
        self.training = training
        self.seed = seed

    def steps_per_batch(self, model: nn.Module, bands: int) -> int:
        """Optimiser steps that one batch gives."""
        if not hasattr(model, "super_resolve_bands") or self.training.visit == "random":
            return 1
        return -(-bands // self.training.bands_per_step)

    def losses(self, model: nn.Module, batch: Batch, number: int) -> Iterator[Tensor]:
        """Losses of batch `number` of the run; the trainer steps after each."""
        if not hasattr(model, "super_resolve_bands"):
            inputs = (batch.lr,) if batch.guide is None else (batch.lr, batch.guide)
            yield nn.functional.l1_loss(model(*inputs), batch.hr)
            return
        for bands in self._bands(batch.lr.shape[1], number):
            estimate = model.super_resolve_bands(batch.lr, batch.guide, bands)
            yield nn.functional.l1_loss(estimate, batch.hr[:, bands])

    def _bands(self, bands: int, number: int) -> list[Tensor]:
        size = min(self.training.bands_per_step, bands)
        if self.training.visit == "all":
            return list(torch.arange(bands).split(size))
        rng = np.random.default_rng([self.seed, 2, number])
        return [torch.from_numpy(np.sort(rng.choice(bands, size, replace=False)))]
