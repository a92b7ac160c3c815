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

    first, total: several processes, or steps of accumulation, may each take a share of a batch. first: number of this
    share's first sample in the whole batch. total: samples of the whole batch; None: this is the whole batch.
    """

    lr: Tensor
    guide: Tensor | None
    hr: Tensor | None
    first: int = 0
    total: int | None = None

    @property
    def samples(self) -> int:
        """Number of samples in the whole batch."""
        return len(self.lr) if self.total is None else self.total

    @property
    def rows(self) -> slice:
        """The place of its samples in the whole batch."""
        return slice(self.first, self.first + len(self.lr))

    @classmethod
    def of(cls, samples: Sequence[Sample], device: torch.device) -> "Batch":
        """Stack samples on a device."""

        def stack(images: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(images)).to(device)

        guides = [sample.guide for sample in samples if sample.guide is not None]
        references = [sample.hr for sample in samples if sample.hr is not None]
        lr = stack([sample.lr for sample in samples])
        return cls(lr, stack(guides) if guides else None, stack(references) if references else None)

    def shares(self, count: int) -> list["Batch"]:
        """The batch in `count` equal parts, in order."""
        if count == 1:
            return [self]
        size = len(self.lr) // count

        def part(first: int) -> Batch:
            guide, hr = (None if x is None else x[first : first + size] for x in (self.guide, self.hr))
            return Batch(self.lr[first : first + size], guide, hr, self.first + first, self.samples)

        return [part(k * size) for k in range(count)]


def across_bands(images: Tensor, matrix: Tensor) -> Tensor:
    """images (N, C, H, W), matrix (C, D) -> (N, D, H, W): x[..., C] @ matrix at every pixel."""
    return torch.einsum("nchw,cd->ndhw", images, matrix)
