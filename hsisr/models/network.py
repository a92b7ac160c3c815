"""The base class of our networks: a torch module with the interface of a model."""

from typing import Any

import torch
from torch import Tensor, nn

from hsisr.models.base import Model, map_bytes


class Network(nn.Module, Model):
    """A network. A subclass sets `scale` and `guide_channels`, and everything that differs from `Model`'s defaults.

    Training calls `forward`: lr (N, bands, h, w), and the guide (N, G, H, W) if the network takes one, give
    (N, bands, H, W). `forward` may differ if the network is `band_wise` or makes its own samples (`prepare_training`).
    """

    kind = "network"
    scale: int
    guide_channels: int
    #: Arguments of the constructor, positional and named.
    called_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> "Network":
        """A network that knows its constructor's arguments; a copy has them too, as an attribute."""
        network = super().__new__(cls)
        object.__setattr__(network, "called_with", (arguments, named))  # `nn.Module.__setattr__` is not ready yet
        return network

    def working_bytes(self, bands: int) -> int:
        """Memory for the network's maps."""
        return map_bytes(self, bands, (parameter.shape for parameter in self.parameters()))


def a_weight(network: nn.Module) -> Tensor:
    """A weight of any network: `images.to(a_weight(network))` brings images to its device and into its type."""
    weights = (parameter for parameter in network.parameters() if parameter.is_floating_point())
    return next(weights, torch.empty(0))
