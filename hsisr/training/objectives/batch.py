"""A batch: samples as tensors on a device, and linear maps of its bands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hsisr.patches import PatchFile, Sample


@dataclass(frozen=True)
class Batch:
    """Samples as tensors: lr (N, bands, p, p), guide (N, G, sp, sp) or None, hr (N, bands, sp, sp) or None."""

    lr: Tensor
    guide: Tensor | None
    hr: Tensor | None

    @classmethod
    def of(cls, samples: Sequence[Sample], device: torch.device) -> "Batch":
        """Stack samples on a device."""

        def stack(name: str) -> Tensor | None:
            images = [getattr(sample, name) for sample in samples]
            return None if images[0] is None else torch.from_numpy(np.stack(images)).to(device)

        return cls(stack("lr"), stack("guide"), stack("hr"))


def drawn(patches: PatchFile, size: int, number: int, device: torch.device) -> Batch:
    """Batch of that number among those of `size` samples that a patch file gives over the whole run."""
    return Batch.of([patches[k] for k in range(number * size, (number + 1) * size)], device)


def across_bands(images: Tensor, matrix: Tensor) -> Tensor:
    """images (N, C, H, W), matrix (C, D) -> (N, D, H, W): x[..., C] @ matrix at every pixel."""
    return torch.einsum("nchw,cd->ndhw", images, matrix)
