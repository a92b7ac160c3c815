"""The labelled objective: the output should equal the HR image."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hsisr.config import Training
from hsisr.degrade import Protocol, degrade
from hsisr.errors import HsisrError
from hsisr.models.base import as_model
from hsisr.training.batches import Batch
from hsisr.training.objectives.loss import distance, mean_distance

#: Seeds of random bands are (run's seed, this, number of the batch, number of the mixture).
_STREAM = 2


class Supervised:
    """Distance between super-resolved and HR bands, as published (spec: MulSR, training and test).

    A network with band-wise training (`band_wise`) takes `bands_per_step` bands of every patch in an optimiser step.
    Either it takes all bands in order, step by step, or it makes one step on bands drawn at random for each patch.
    Any other network takes all bands at once.
    A network with an `alpha_weight` also has a loss at half the scale: L1 against HR reduced by 2. `rule`, the protocol
    of the patches, reduces it without noise.
    """

    name = "labelled"
    setting = None

    def __init__(self, training: Training, seed: int, rule: Protocol | None = None) -> None:
        self.training = training
        self.seed = seed
        self.rule = rule

    def steps_per_batch(self, model: nn.Module, bands: int) -> int:
        """Number of losses for one batch."""
        if not as_model(model).band_wise or self.training.visit == "random":
            return 1
        return -(-bands // self.training.bands_per_step)

    def losses(self, model: nn.Module, batch: Batch, number: int, mixture: int = 0, first: int = 0) -> Iterator[Tensor]:
        """Losses of batch `number` of the run, one after the other, from number `first`.

        mixture: 0 for the batch itself, k for the k-th mixture of its bands. Randomly drawn bands depend on it.
        """
        assert batch.hr is not None  # labelled samples have an HR image
        variation = self.training.total_variation
        network = as_model(model)
        if not network.band_wise:
            guided = batch.guide is not None and network.takes_guide
            # clones: a network may work in place, and mixtures are made of the same batch after it
            images = [
                image.clone() for image in ((batch.lr, batch.guide) if guided else (batch.lr,)) if image is not None
            ]
            yield distance(model(*images), batch.hr, variation)
            return
        patches = torch.arange(len(batch.lr)).view(-1, 1)
        half = _halve(batch.hr, self.rule) if network.alpha_weight else None
        for drawn in self._bands(batch.samples, batch.lr.shape[1], number, mixture)[first:]:
            bands = drawn if drawn.ndim == 1 else drawn[batch.rows]
            if half is None:
                estimate = network.super_resolve_bands(batch.lr, batch.guide, bands)
                yield distance(estimate, batch.hr[patches, bands], variation)
            else:
                estimate, alpha = network.super_resolve_scales(batch.lr, batch.guide, bands)
                loss = distance(estimate, batch.hr[patches, bands], variation)
                yield loss + network.alpha_weight * mean_distance(alpha, half[patches, bands])

    def _bands(self, patches: int, bands: int, number: int, mixture: int = 0) -> list[Tensor]:
        """Bands of each optimiser step: (K,), the same for every patch, or (patches, K), drawn for each patch."""
        size = min(self.training.bands_per_step, bands)
        if self.training.visit == "all":
            return list(torch.arange(bands).split(size))
        rng = np.random.default_rng([self.seed, _STREAM, number, mixture])
        drawn = rng.permuted(np.tile(np.arange(bands), (patches, 1)), axis=1)[:, :size]
        return [torch.from_numpy(np.sort(drawn, axis=1))]


def _halve(hr: Tensor, rule: Protocol | None) -> Tensor:
    """hr (N, B, H, W) -> (N, B, H/2, W/2), reduced by 2 like a scene in the protocol."""
    if rule is None:
        raise HsisrError(
            "alpha_weight: the samples do not say which protocol made their LR images, which is to reduce HR by 2; "
            "set the model's alpha_weight to 0"
        )
    try:
        images = [degrade(image, rule, 2, noise=0) for image in hr.cpu().numpy()]
    except HsisrError as error:
        raise HsisrError(
            f"alpha_weight: its loss reduces HR images by 2 as the protocol does: {error}; set the model's "
            "alpha_weight to 0"
        ) from error
    return torch.from_numpy(np.stack(images)).to(hr)
