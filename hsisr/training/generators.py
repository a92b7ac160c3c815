"""The random generators that training code may use, to save them in a state and to restore them."""

import random
from typing import Any

import numpy as np
import torch
from torch import nn


def generators(device: torch.device) -> dict[str, Any]:
    """State of the generators of torch (CPU and device), numpy and Python: tensors, numbers and lists."""
    state = _raw(device)
    kind, keys, *rest = state["numpy"]
    return state | {"numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest]}


def set_generators(state: dict[str, Any], device: torch.device) -> None:
    """Restore the state from `generators`."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys).astype(np.uint32), *rest))
    if device.type == "cuda" and "device" in state:
        torch.cuda.set_rng_state(state["device"], device)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def _raw(device: torch.device) -> dict[str, Any]:
    state = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}
    return state | ({"device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


class Before:
    """Everything that a forward pass may change beside gradients: generators, and buffers such as running means."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device = device
        self.generators = _raw(device)
        self.buffers = [buffer.clone() for buffer in model.buffers()]

    def restore(self, model: nn.Module) -> None:
        """Restore it."""
        set_generators(self.generators, self.device)
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), self.buffers, strict=True):
                buffer.copy_(before)
