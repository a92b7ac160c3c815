"""Data parallel training: processes share a batch, and this module averages their gradients."""

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

    Each loss is a mean over equal shares, so the mean of gradients is the gradient of the whole batch's loss. One
    exchange a step, after all losses, also where a step has several losses or leaves out parts of the network, which
    torch's DistributedDataParallel takes for errors. signs: numbers to agree on, such as whether somebody is to stop.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    values = torch.stack([loss.float() for _, loss in losses])
    numbers = torch.tensor(signs, device=values.device)
    parts = [*(gradient.float().reshape(-1) for gradient in gradients), values, numbers]
    mean = fabric.all_reduce(torch.cat(parts), reduce_op="mean")
    assert isinstance(mean, Tensor)  # as what it is the mean of
    *flat, values, numbers = mean.split([part.numel() for part in parts])
    for gradient, part in zip(gradients, flat, strict=True):
        gradient.copy_(part.view_as(gradient))
    return [(name, value) for (name, _), value in zip(losses, values, strict=True)], numbers.tolist()
