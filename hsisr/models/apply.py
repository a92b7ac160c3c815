"""Methods: a finished network or an untrained method, with what is known of it, applied to arrays."""

import inspect
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.degrade.sensor import Sensor
from hsisr.errors import HsisrError
from hsisr.files import file_hash
from hsisr.models.model_files import load_model, model_path, read_metadata
from hsisr.system import gpu_is_full

PRECISIONS = ("32", "bf16", "fp16")
#: Feature maps of the output's size that a network holds at once, per channel of its width; measured, rounded up.
_MAPS = 20
#: Copies of the image in float64 that an untrained method holds at once.
_COPIES = 8


@dataclass(frozen=True)
class Method:
    """How images are super-resolved.

    name: of the model. scale: HR over LR size. needs_guide: it cannot work without a sharp image.
    bands: those it takes, None: any number. guide_channels: of its guide, None: any number.
    model: a network or a `registry.Classical`. device: torch's name of it. precision: 32, bf16 or fp16.
    metadata: what a model file says of its training. sha256: of the model file, None for an untrained method.
    """

    name: str
    scale: int
    needs_guide: bool
    model: Any
    bands: int | None = None
    guide_channels: int | None = None
    device: str = "cpu"
    precision: str = "32"
    metadata: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None

    def __call__(
        self, lr: np.ndarray, guide: np.ndarray | None, memory: int | None = None, sensor: Sensor | None = None
    ) -> np.ndarray:
        """lr (bands, h, w), guide (G, H, W) or None, both as the model was trained -> (bands, H, W) float32.

        memory: bytes that the work may take, for models that know how to keep to it. sensor: what is known of the
        images, for models that take it.
        """
        return predict(self.model, lr, guide if self.needs_guide else None, self.precision, memory, sensor)

    @property
    def lr_period(self) -> int:
        """LR pixels at whose multiples windows of a larger scene must start to be computed as the whole is."""
        return math.lcm(getattr(self.model, "period_px", 1), self.scale) // self.scale

    @property
    def takes_sensor(self) -> bool:
        """Whether the method works with what is known of the sensor: its PSF, and which pixels are valid."""
        return getattr(self.model, "takes_sensor", False)

    def bytes_per_pixel(self, bands: int, guide_channels: int) -> int:
        """Memory that one pixel of the output takes while it is made: images, and the maps of a network."""
        images = 4 * (4 * bands + 2 * guide_channels)
        if not hasattr(self.model, "parameters"):
            return images + 8 * _COPIES * bands
        maps = getattr(self.model, "maps_in_memory", _MAPS)
        return images + 4 * maps * int(getattr(self.model, "width", 0) or _first_width(self.model))


def open_method(
    model: str | os.PathLike | Any,
    scale: int | None,
    guide_channels: int,
    device: str = "cpu",
    precision: str = "32",
) -> Method:
    """The method that a user names: a run folder, a model file, or an untrained method such as bicubic or gsa.

    scale: of the images; needed for an untrained method, and checked against a network's. guide_channels: 0 without
    a guide. Raises HsisrError for a name that is none of these, for a missing guide, and for scales that differ.
    """
    from hsisr.models import registry

    if precision not in PRECISIONS:
        raise HsisrError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    if str(model) in registry.names() and not Path(model).exists():
        return _untrained(str(model), scale, guide_channels, precision)
    if not Path(model).exists():
        untrained = [name for name in registry.names() if registry.entry(name).kind == "classical"]
        raise HsisrError(
            f"{model}: no such model; expected a run folder, a model.safetensors, or one of {', '.join(untrained)}"
        )
    metadata = read_metadata(model)
    entry = registry.entry(metadata["base"])
    if scale is not None and scale != metadata["scale"]:
        raise HsisrError(
            f"{model}: {metadata['base']} was trained for scale {metadata['scale']}, and these images differ by "
            f"{scale}; use a model of scale {scale}, or --align to bring the guide to scale {metadata['scale']}"
        )
    channels = metadata["guide_channels"] if entry.needs_guide else 0
    if entry.needs_guide and not guide_channels:
        raise HsisrError(f"{model}: {metadata['base']} needs a guide, a sharp image of the same ground; give --guide")
    if channels and guide_channels != channels:
        raise HsisrError(
            f"{model}: {metadata['base']} was trained with a guide of {channels} bands, and this one has "
            f"{guide_channels}; choose bands of it with --guide-bands, or adapt the model with `hsisr finetune`"
        )
    network = load_model(model, device)
    return Method(
        metadata["base"],
        metadata["scale"],
        entry.needs_guide,
        network,
        metadata["bands"] if "bands" in entry.facts else None,
        channels,
        device,
        precision,
        metadata,
        file_hash(model_path(model)),
    )


def predict(
    model: Any,
    lr: np.ndarray,
    guide: np.ndarray | None = None,
    precision: str = "32",
    memory: int | None = None,
    sensor: Sensor | None = None,
) -> np.ndarray:
    """Super-resolve one image in memory.

    model: a network (it is used as it stands, in eval mode and without gradients) or a classical method from
    `registry.build`. lr: (bands, h, w) in [0, 1]. guide: (G, H, W) in [0, 1], or None. precision: 32, bf16 or fp16.
    memory: bytes that the work may take, for models whose `super_resolve` has an argument of that name. sensor: what is
    known of how the images were taken, for models that say that they take it (`takes_sensor`).
    Returns (bands, H, W) float32. Raises HsisrError if the model needs a guide and there is none, or the guide's size
    does not fit.
    """
    from torch import nn

    told: dict[str, Any] = {}
    if memory is not None and "memory" in inspect.signature(model.super_resolve).parameters:
        told["memory"] = memory
    if sensor is not None and getattr(model, "takes_sensor", False):
        told["sensor"] = sensor
    if not isinstance(model, nn.Module):
        return np.asarray(model.super_resolve(lr, guide, **told), dtype=np.float32)
    import torch

    if guide is None and getattr(model, "guide_channels", 0):
        raise HsisrError(f"{type(model).__name__} needs a guide, a sharp image of the same scene; give one")
    device = next(model.parameters()).device
    inputs = [torch.from_numpy(np.ascontiguousarray(lr, dtype=np.float32))[None].to(device)]
    if guide is not None:
        inputs.append(torch.from_numpy(np.ascontiguousarray(guide, dtype=np.float32))[None].to(device))
    training = model.training
    model.eval()
    low = {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    try:
        with torch.inference_mode(), torch.autocast(device.type, low, enabled=precision != "32"):
            return model.super_resolve(*inputs, **told)[0].float().cpu().numpy()
    except torch.OutOfMemoryError:
        raise gpu_is_full(device, "give less --memory or a smaller --tile to hsisr predict") from None
    finally:
        model.train(training)


def choose_device(name: str) -> str:
    """The torch device for `auto` (the first visible GPU, or the CPU), `cpu`, `cuda` or `cuda:<index>`.

    Raises HsisrError for another name, and for a GPU that torch does not see.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise HsisrError(f"--device {name!r}: expected auto, cpu, cuda or cuda:<index>, several with commas")
    if kind == "cuda" and int(index or 0) >= count:
        raise HsisrError(f"--device {name!r}: torch sees {count} GPUs here; use auto or cpu")
    return name


def _untrained(name: str, scale: int | None, guide_channels: int, precision: str) -> Method:
    from hsisr.models import registry

    entry = registry.entry(name)
    if entry.kind != "classical":
        raise HsisrError(
            f"model {name}: a network has to be trained first; give the folder of a run, or make one for this scene "
            f"with `hsisr finetune LR GUIDE --model {name}`"
        )
    if scale is None:
        raise HsisrError(f"model {name}: works at any scale and there is no guide that says which; give --scale")
    model = registry.build(name, scale, 0, guide_channels)
    return Method(name, scale, entry.needs_guide, model, precision=precision)


def _first_width(model: Any) -> int:
    """Channels of the widest convolution of a network that does not say its width."""
    return max((p.shape[0] for p in model.parameters() if p.ndim >= 4), default=64)
