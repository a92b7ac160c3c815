"""Inference: finished models, applied to scenes."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.inference.weights import load_model as load_model
from hsisr.inference.weights import read_metadata as read_metadata
from hsisr.inference.weights import save_model as save_model

if TYPE_CHECKING:
    from hsisr.scene import Scene


def predict(model: Any, lr: np.ndarray, guide: np.ndarray | None = None) -> np.ndarray:
    """Super-resolve one image in memory.

    model: a network (it is used as it stands, in eval mode and without gradients) or a classical method from
    `registry.build`. lr: (bands, h, w) in [0, 1]. guide: (G, H, W) in [0, 1], or None. Returns (bands, H, W)
    float32. Raises HsisrError if the model needs a guide and there is none, or the guide's size does not fit.
    """
    from torch import nn

    if not isinstance(model, nn.Module):
        return np.asarray(model.super_resolve(lr, guide), dtype=np.float32)
    import torch

    if guide is None and getattr(model, "guide_channels", 0):
        raise HsisrError(f"{type(model).__name__} needs a guide, a sharp image of the same scene; give one")
    device = next(model.parameters()).device
    inputs = [torch.from_numpy(np.ascontiguousarray(lr, dtype=np.float32))[None].to(device)]
    if guide is not None:
        inputs.append(torch.from_numpy(np.ascontiguousarray(guide, dtype=np.float32))[None].to(device))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return model.super_resolve(*inputs)[0].float().cpu().numpy()
    finally:
        model.train(training)


def super_resolve(
    lr: "np.ndarray | Scene | str | os.PathLike",
    guide: "np.ndarray | Scene | str | os.PathLike | None" = None,
    *,
    model: Any,
    out: str | os.PathLike | None = None,
) -> np.ndarray:
    """Super-resolve a scene that fits into memory; returns (bands, H, W) float32.

    lr, guide: an array, a Scene, or the path of a file that `read_scene` reads; values in [0, 1].
    model: a network or classical method, or the path of a run folder or of a `model.safetensors`.
    out: path of the scene file (.h5) to write as well; its transform is the LR one's, divided by the scale.
    Raises HsisrError for files that cannot be read and for a guide that does not fit.
    """
    if isinstance(model, (str, os.PathLike)):
        model = load_model(model)
    scene, sharp = _as_scene(lr), None if guide is None else _as_scene(guide)
    estimate = predict(model, scene.cube, None if sharp is None else sharp.cube)
    if out is not None:
        if not str(out).endswith(".h5"):
            raise HsisrError(f"{out}: expected a name that ends in .h5, the scene file")
        fy, fx = (estimate.shape[axis] / scene.shape[axis] for axis in (1, 2))
        transform = scene.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a / fx, b / fy, c, d / fx, e / fy, f)
        result = replace(scene, stored=estimate, scale=1.0, offset=0.0, mask=None, labels=None, transform=transform)
        result.save(out)
    return estimate


def _as_scene(image: Any) -> "Scene":
    from hsisr.datasets import read_scene
    from hsisr.scene import Scene

    if isinstance(image, Scene):
        return image
    if isinstance(image, (str, os.PathLike)):
        return read_scene(image)
    return Scene(np.asarray(image))
