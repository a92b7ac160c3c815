"""Methods: a finished network or an untrained method, with what is known of it, applied to arrays."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.degrade.sensor import Footprint, Sensor
from hsisr.errors import HsisrError, did_you_mean, option
from hsisr.files import file_hash
from hsisr.models.base import as_model
from hsisr.models.model_files import load_model, model_path, read_metadata
from hsisr.models.shipped import NAMED, shipped_weights
from hsisr.models.windows import Effort, Images, Window
from hsisr.system import gpu_is_full

PRECISIONS = ("32", "bf16", "fp16")


@dataclass(frozen=True)
class Method:
    """How images are super-resolved.

    name: of the model. scale: HR over LR size. needs_guide: it cannot work without a sharp image.
    bands: those it takes, None: any number. guide_channels: of its guide, None: any number.
    model: a network, also one of a user's own, or a `registry.Classical`; its contract is `as_model(model)`.
    device: torch's name of it. precision: 32, bf16 or fp16.
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
        made = predict(self.model, lr, guide if self.needs_guide else None, self.precision, memory, sensor)
        _check_made(self.name, made, lr, self.scale)
        return made

    @property
    def lr_period(self) -> int:
        """LR pixels at whose multiples windows of a larger scene must start to be computed as the whole is."""
        return math.lcm(as_model(self.model).period_px, self.scale) // self.scale

    @property
    def takes_sensor(self) -> bool:
        """Whether the method works with what is known of the sensor: its PSF, and which pixels are valid."""
        return as_model(self.model).takes_sensor

    @property
    def learns_scenes(self) -> bool:
        """Whether it learns once of a scene what it has to know of all of it."""
        return as_model(self.model).learns_scenes

    def reach_lr_px(self, estimate: Any) -> int:
        """LR pixels around a part of a learnt scene that it must see."""
        return as_model(self.model).reach_lr_px(estimate)

    def estimate(self, images: Images, footprint: Footprint) -> Any:
        """What it has to know of a scene; footprint: of an LR pixel."""
        with _running(self.model, self.precision):
            return as_model(self.model).estimate(images, Sensor(footprint=footprint))

    def remarks(self, estimate: Any, guide_bands: Sequence[int]) -> list[str]:
        """Lines for the user on a learnt scene, of what was done to its guide. guide_bands: numbers of its channels."""
        return as_model(self.model).remarks(estimate, guide_bands)

    def part(self, estimate: Any, window: Window, corner: tuple[int, int]) -> np.ndarray:
        """A part of a learnt scene; corner: HR row and column of its first pixel. Returns (bands, H, W) float32."""
        with _running(self.model, self.precision):
            return np.asarray(as_model(self.model).super_resolve_part(estimate, window, corner), np.float32)

    @property
    def works_anywhere(self) -> bool:
        """Whether it makes pixels at any places of a learnt scene."""
        return as_model(self.model).works_anywhere

    def at(self, estimate: Any, images: Images, guide: np.ndarray, places: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """A learnt scene at places (2, n, m), rows and columns of its HR pixels; guide: (G, n, m), what it shows there.

        images: the scene. mask: (n, m), valid pixels of the guide. Returns (bands, n, m) float32.
        """
        with _running(self.model, self.precision):
            return np.asarray(as_model(self.model).super_resolve_at(estimate, images, guide, places, mask), np.float32)

    @property
    def tells_errors(self) -> bool:
        """Whether it tells how far its image of a learnt scene may be off."""
        return as_model(self.model).tells_errors

    def errors(self, estimate: Any, images: Images) -> Any:
        """What tells the errors of a learnt scene's image."""
        with _running(self.model, self.precision):
            return as_model(self.model).errors(estimate, images)

    def bytes_per_pixel(self, bands: int, guide_channels: int) -> int:
        """Memory that one pixel of the output takes while it is made: images, and what the model works in."""
        return as_model(self.model).bytes_per_pixel(bands, guide_channels)

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int) -> int:
        """Memory that learning a scene of that many LR rows and columns takes."""
        return as_model(self.model).learning_bytes(size, bands, guide_channels)

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int) -> Effort:
        """Seconds that a usual core takes to learn a scene of that many LR rows and columns, and to make it."""
        return as_model(self.model).effort(size, bands, guide_channels)


def open_method(
    model: str | os.PathLike | Any,
    scale: int | None,
    guide_channels: int,
    device: str = "cpu",
    precision: str = "32",
) -> Method:
    """The method that a user names: a run folder, a model file, or an untrained method such as bicubic or gsa.

    The name `solo` stands for the weights of it that come with the package, `hybrid` for those that were made here.

    scale: of the images; needed for an untrained method, and checked against a network's. guide_channels: 0 without
    a guide. Raises HsisrError for a name that is none of these, for a missing guide, and for scales that differ.
    """
    from hsisr.models import registry

    precision = _check_precision(precision)
    if str(model) in registry.names() and not Path(model).exists():
        if str(model) not in NAMED:
            return _untrained_method(str(model), scale, guide_channels, precision)
        model = shipped_weights(scale, str(model))
    if not Path(model).exists():
        untrained = [name for name in registry.names() if registry.entry(name).kind == "classical" or name in NAMED]
        raise HsisrError(
            f"{model}: no such model; {did_you_mean(model, registry.names())}expected a run folder, a "
            f"model.safetensors, or one of {', '.join(untrained)}"
        )
    metadata = read_metadata(model)
    name = metadata["base"]
    if scale is not None and scale != metadata["scale"]:
        raise HsisrError(
            f"{model}: {name} was trained for scale {metadata['scale']}, and these images differ by "
            f"{scale}; use a model of scale {scale}, or {option('align', True)} to bring the guide to scale "
            f"{metadata['scale']}"
        )
    network = load_model(model, device)
    contract = as_model(network)
    channels = metadata["guide_channels"] if contract.takes_guide else 0
    if channels and not guide_channels:
        raise HsisrError(f"{model}: {name} needs a guide, a sharp image of the same ground; give {option('guide')}")
    if channels and guide_channels != channels:
        raise HsisrError(
            f"{model}: {name} was trained with a guide of {channels} bands, and this one has "
            f"{guide_channels}; choose bands of it with {option('guide_bands')}, or teach a fresh one: "
            f"`hsisr finetune LR GUIDE --model {name}`"
        )
    return Method(
        name,
        metadata["scale"],
        bool(channels),
        network,
        contract.bands,
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
    precision: str | int = "32",
    memory: int | None = None,
    sensor: Sensor | None = None,
) -> np.ndarray:
    """Super-resolve one image in memory.

    model: a network, also one of your own (it is used as it stands, in eval mode and without gradients), or a classical
    method from `registry.build`. lr: (bands, h, w) in [0, 1]. guide: (G, H, W) in [0, 1], or None; a network that takes
    none is not given one. precision: 32, bf16 or fp16. memory: bytes that the work may take, for models that take that
    (`takes_memory`). sensor: what is known of how the images were taken, for models that take it (`takes_sensor`).
    Returns (bands, H, W) float32. Raises HsisrError if the model needs a guide and there is none, if the guide's size
    does not fit, for images that are masked, no cubes, or hold NaN or infinity, for an unknown precision, and if
    the model makes no such image.
    """
    _check_image("LR image", lr)
    if guide is not None:
        _check_image("guide", guide)
    contract = as_model(model)
    told: dict[str, Any] = {}
    if memory is not None and contract.takes_memory:
        told["memory"] = memory
    if sensor is not None and contract.takes_sensor:
        told["sensor"] = sensor
    if contract.kind == "classical":
        found = np.asarray(contract.super_resolve(lr, guide, **told), dtype=np.float32)
        _check_made(contract.name, found, lr, contract.scale)
        return found
    import torch

    from hsisr.models.network import a_weight

    if guide is None and contract.needs_guide:
        raise HsisrError(f"{contract.name} needs a guide, a sharp image of the same scene; give one")
    given = (lr, guide if contract.takes_guide else None)
    inputs = [  # copies: a network may work in place, and the images serve others after it
        None if image is None else torch.from_numpy(np.array(image, np.float32, order="C"))[None].to(a_weight(model))
        for image in given
    ]
    with _running(model, precision):
        made = contract.super_resolve(*inputs, **told)
    if not isinstance(made, torch.Tensor) or made.ndim != 4 or len(made) != 1:
        shape = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise HsisrError(f"{contract.name}: makes {shape} of an LR image (1, bands, h, w); expected (1, bands, H, W)")
    image: np.ndarray = made[0].float().cpu().numpy()
    _check_made(contract.name, image, lr, contract.scale)
    return image


def _check_made(name: str, image: np.ndarray, lr: np.ndarray, scale: int | None) -> None:
    """Raise HsisrError unless a model made an image of lr's bands, and `scale` times as large if that is known."""
    bands, rows, columns = np.shape(lr)
    expected = (bands, *image.shape[1:]) if scale is None else (bands, rows * scale, columns * scale)
    if image.ndim != 3 or image.shape != expected:
        size = "" if scale is None else f" at scale {scale}"
        raise HsisrError(
            f"{name}: makes an image {image.shape} of an LR image {np.shape(lr)}{size}; expected (bands, H, W)"
            + ("" if scale is None else f", {expected}")
        )


@contextmanager
def _running(model: Any, precision: str | int) -> Iterator[None]:
    """Within, a network is in eval mode, without gradients, in this precision; a classical method needs nothing."""
    if as_model(model).kind == "classical":
        yield
        return
    import torch

    from hsisr.models.network import a_weight

    device, training = a_weight(model).device, model.training
    name = _check_precision(precision)
    low = {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, low, enabled=name != "32"):
            yield
    except torch.OutOfMemoryError:
        raise gpu_is_full(device, "give less --memory or a smaller --tile to hsisr predict") from None
    finally:
        model.train(training)


def _check_precision(precision: str | int) -> str:
    """The name of a precision; `training.precision` has the number 32. Raises HsisrError for an unknown one."""
    if str(precision) not in PRECISIONS:
        raise HsisrError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    return str(precision)


def _check_image(what: str, image: np.ndarray) -> None:
    if isinstance(image, np.ma.MaskedArray):
        raise HsisrError(f"{what}: is a masked array, whose mask would be lost here; give it to hsisr.super_resolve")
    image = np.asarray(image)
    if image.ndim != 3 or image.dtype.kind not in "buif":
        raise HsisrError(
            f"{what}: an array of {image.dtype}, {image.shape}; expected (bands, rows, columns) of numbers"
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise HsisrError(f"{what}: holds NaN or infinite values; replace them, or mask them for hsisr.super_resolve")


def _untrained_method(name: str, scale: int | None, guide_channels: int, precision: str) -> Method:
    from hsisr.models import registry

    entry = registry.entry(name)
    if entry.kind != "classical":
        raise HsisrError(
            f"model {name}: a network has to be trained first; give the folder of a run, or make one for this scene "
            f"with `hsisr finetune LR GUIDE --model {name}`"
        )
    if scale is None:
        raise HsisrError(
            f"model {name}: works at any scale and there is no guide that says which; give {option('scale')}"
        )
    model = registry.build(name, scale, 0, guide_channels)
    return Method(name, scale, entry.needs_guide, model, precision=precision)
