"""Data-parallel training: each process takes a share of a batch, and their gradients are averaged."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def average_over_processes(
    fabric: "Fabric", model: nn.Module, losses: Sequence[tuple[str, Tensor]], signs: Sequence[float]
) -> tuple[list[tuple[str, Tensor]], list[float]]:
    """Replace gradients, losses and signs by their means over all processes, in one exchange.

    Each loss is a mean over equal shares, so the mean gradient is the gradient of the whole batch's loss. There is one
    exchange for each step, after all losses. So a step may have several losses, or leave out parts of the network;
    torch's DistributedDataParallel treats both as errors. signs: numbers to agree on, such as whether a process must
    stop.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    values = torch.stack([loss.float() for _, loss in losses])
    numbers = torch.tensor(signs, device=values.device)
    parts = [*(gradient.float().reshape(-1) for gradient in gradients), values, numbers]
    mean = fabric.all_reduce(torch.cat(parts), reduce_op="mean")
    assert isinstance(mean, Tensor)  # a mean has the type of its values
    *flat, values, numbers = mean.split([part.numel() for part in parts])
    for gradient, part in zip(gradients, flat, strict=True):
        gradient.copy_(part.view_as(gradient))
    return [(name, value) for (name, _), value in zip(losses, values, strict=True)], numbers.tolist()
