"""Directional aggregation in plain PyTorch: the definition, and the backend that runs everywhere."""

import torch
from torch import Tensor
from torch.nn import functional

Direction = tuple[Tensor, Tensor, Tensor]


def directional_aggregation(x: Tensor, vertical: Direction, horizontal: Direction) -> Tensor:
    """Down, up, right, left, strictly in this order; shapes and formulas as in `hsisr.ops`.

    The slices come from one `split`; its backward pass writes one gradient map. With a `select` for each slice, the
    backward pass would be quadratic in the number of slices: each `select` would fill a whole map with zeros.
    """
    x = torch.cat(_there_and_back(list(x.split(1, dim=2)), vertical), dim=2)
    return torch.cat(_there_and_back(list(x.split(1, dim=3)), horizontal), dim=3)


def _there_and_back(slices: list[Tensor], direction: Direction) -> list[Tensor]:
    """Pass messages from the first slice to the last, then back with the same weights."""
    weight, bias, slope = direction
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)

    def message(state: Tensor) -> Tensor:
        return functional.prelu(functional.conv2d(state, weight, bias, padding=padding), slope)

    for i in range(1, len(slices)):
        slices[i] = slices[i] + message(slices[i - 1])
    for i in range(len(slices) - 2, -1, -1):
        slices[i] = slices[i] + message(slices[i + 1])
    return slices
