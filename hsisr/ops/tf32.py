"""TF32 in PyTorch's own convolutions on a GPU: whether it is allowed, and how to work without it.

cuDNN rounds the operands of float32 convolutions to TF32, unless a switch forbids it. PyTorch 2.9 has a new switch. It
raises an error if the old switch is read after the new one was set.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_NEW_SWITCH = torch.__version__ >= "2.9"


def is_allowed() -> bool:
    """Whether float32 convolutions may round their operands to TF32."""
    cudnn = torch.backends.cudnn
    if _NEW_SWITCH:
        return bool(cudnn.conv.fp32_precision == "tf32")  # type: ignore[attr-defined]  # unknown to torch's own types
    return cudnn.allow_tf32


@contextmanager
def without() -> Iterator[None]:
    """Within this context, convolutions in all threads of this process keep float32."""
    before = is_allowed()
    if before:
        _allow(False)
    try:
        yield
    finally:
        if before:
            _allow(True)


def _allow(wanted: bool) -> None:
    if _NEW_SWITCH:
        precision = "tf32" if wanted else "ieee"
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]  # as above
    else:
        torch.backends.cudnn.allow_tf32 = wanted
