"""An exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class Average:
    """Weights that follow those of a network: w = decay * w + (1 - decay) * new, after every optimiser step.

    At step n, the decay is at most n / (n + 9), so the average soon forgets the first weights. Buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after optimiser step `step`, counted from 1."""
        decay = min(self.decay, step / (step + 9))
        torch._foreach_lerp_(list(self.network.parameters()), list(model.parameters()), 1 - decay)
        for mine, new in zip(self.network.buffers(), model.buffers(), strict=True):
            mine.copy_(new)
