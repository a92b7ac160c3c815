"""A batch of samples as tensors on a device, and linear maps of its bands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hsisr.samples import Sample


@dataclass(frozen=True)
class Batch:
    """Samples as tensors: lr (N, bands, p, p), guide (N, G, sp, sp) or None, hr (N, bands, sp, sp) or None.

    first, total: where its samples stand among all of the batch, of which several processes or steps of accumulation
    take a share each; total None: these are all.
    """

    lr: Tensor
    guide: Tensor | None
    hr: Tensor | None
    first: int = 0
    total: int | None = None

    def __post_init__(self) -> None:
        if self.total is None:
            object.__setattr__(self, "total", len(self.lr))

    @property
    def rows(self) -> slice:
        """Its samples among all of the batch."""
        return slice(self.first, self.first + len(self.lr))

    @classmethod
    def of(cls, samples: Sequence[Sample], device: torch.device) -> "Batch":
        """Stack samples on a device."""

        def stack(name: str) -> Tensor | None:
            images = [getattr(sample, name) for sample in samples]
            return None if images[0] is None else torch.from_numpy(np.stack(images)).to(device)

        return cls(stack("lr"), stack("guide"), stack("hr"))

    def shares(self, count: int) -> list["Batch"]:
        """The batch in so many equal parts, in order."""
        if count == 1:
            return [self]
        size = len(self.lr) // count

        def part(images: Tensor | None, first: int) -> Tensor | None:
            return None if images is None else images[first : first + size]

        return [
            Batch(*(part(x, k * size) for x in (self.lr, self.guide, self.hr)), self.first + k * size, self.total)
            for k in range(count)
        ]


def across_bands(images: Tensor, matrix: Tensor) -> Tensor:
    """images (N, C, H, W), matrix (C, D) -> (N, D, H, W): x[..., C] @ matrix at every pixel."""
    return torch.einsum("nchw,cd->ndhw", images, matrix)
