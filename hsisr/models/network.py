"""The base class of our networks: a torch module that keeps the contract of models."""

from typing import Any

from torch import nn

from hsisr.models.base import Model, map_bytes


class Network(nn.Module, Model):
    """A network. A subclass sets `scale` and `guide_channels`, and of `Model` what differs from the defaults.

    `forward` is what training calls: lr (N, bands, h, w), and the guide (N, G, H, W) of one that takes a guide, to
    (N, bands, H, W). It may differ where the network is `band_wise` or brings samples of its own (`prepare_training`).
    """

    kind = "network"
    scale: int
    guide_channels: int
    #: What the constructor was called with, by place and by name.
    called_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> "Network":
        """A network that knows what it is built with; a copy has it with its other attributes."""
        network = super().__new__(cls)
        object.__setattr__(network, "called_with", (arguments, named))  # `nn.Module` is not ready for its own
        return network

    def working_bytes(self, bands: int) -> int:
        """What its maps take."""
        return map_bytes(self, bands, (parameter.shape for parameter in self.parameters()))
