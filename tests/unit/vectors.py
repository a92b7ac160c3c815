"""What tests of networks share: weights of the reference vectors, and the measure of their tolerances."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch


def filled(folder: Path, state_dict: str, seed: int = 0) -> dict[str, np.ndarray]:
    """The weights that the vectors in `folder` were computed with; state_dict: name of the file of keys and shapes."""
    spec = importlib.util.spec_from_file_location("fill", folder / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill(json.loads((folder / state_dict).read_text()), seed)


def relative(a: torch.Tensor, b: torch.Tensor | np.ndarray) -> float:
    """max |a - b| / max |b|."""
    b = torch.as_tensor(b).detach()
    return float((a.detach() - b).abs().max() / b.abs().max())
