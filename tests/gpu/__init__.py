"""Tests that need a GPU. None of them has run on one yet; studies/first_gpu_run.sh runs them and writes down what came.

HSISR_REHEARSE_GPU_TESTS=1 runs those that have a meaning on a CPU there, with the CPU's kernels: it shows that the
tests themselves are right, and says nothing of a GPU.
"""

import os

import pytest
import torch

REHEARSAL = os.environ.get("HSISR_REHEARSE_GPU_TESTS") == "1" and not torch.cuda.is_available()
#: Torch's name of the device that the tests compute on, and the op's backend for it.
DEVICE = BACKEND = "cpu" if REHEARSAL else "cuda"

_WHY = "needs a GPU: " + ("torch sees none" if torch.version.cuda else "this PyTorch is built without CUDA")
_NO_GPU = not torch.cuda.is_available()

#: Marks of tests that can be rehearsed, and of those that only a GPU can run.
on_gpu = [pytest.mark.gpu, pytest.mark.skipif(_NO_GPU and not REHEARSAL, reason=_WHY)]
only_gpu = pytest.mark.skipif(_NO_GPU, reason=_WHY)
