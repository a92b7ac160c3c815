"""The contract of models: what a model must offer and what it may offer, as attributes and methods with defaults.

Who uses a model asks for a name that stands here, never whether an object happens to have it. Three kinds of objects
keep the contract: `registry.Classical`, a method without training, the closed-form `prior` among them;
`hsisr.models.network.Network`, the base of our networks; and, through `as_model`, what knows nothing of it, such as a
user's own `nn.Module`. `Adapted` is the one class of the package that looks at what a foreign object has.

Importable without torch.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from hsisr.degrade import Pair, Sensor
from hsisr.errors import HsisrError
from hsisr.models.options import Options, ScaleRule, whole_scale
from hsisr.models.windows import Effort, Images, Window
from hsisr.samples import HeldOut, TrainingSamples

Kind = Literal["classical", "network"]

#: Channels of a network's maps, where neither its width nor a convolution tells.
_WIDTH = 64


class Model:
    """What hsisr asks of a model. A class sets what differs from these defaults, in its body or in `__init__`."""

    #: "network": is trained, and works on tensors (N, bands, h, w). "classical": neither, and on arrays (bands, h, w).
    kind: Kind
    #: HR over LR size; None: it does not say.
    scale: int | None
    #: Raises HsisrError for a scale that such a model cannot do.
    check_scale: ScaleRule = staticmethod(whole_scale)
    #: Bands that it takes; None: any number.
    bands: int | None = None
    #: Channels of its guide; 0: it takes no guide; None: any number.
    guide_channels: int | None = None
    #: HR pixels after which its strides or windows repeat; parts of a larger scene are to start at multiples of it.
    period_px: int = 1
    #: Whether `super_resolve` has an argument `sensor`: a `hsisr.degrade.Sensor`, what is known of the images.
    takes_sensor: bool = False
    #: Whether `super_resolve` has an argument `memory`: bytes that its work may take.
    takes_memory: bool = False
    #: Whether a network can be called with modality="rgb", as the objectives `rgb` and `unlabelled` do.
    rgb_path: bool = False
    #: Whether a network is trained band by band, through `super_resolve_bands`, or on whole images, through `forward`.
    band_wise: bool = False
    #: Weight in training of the L1 distance at half the scale; above 0 there is `super_resolve_scales`.
    alpha_weight: float = 0
    #: Whether a network super-resolves well with the weights that it starts from.
    useful_untrained: bool = False
    #: Whether one scene teaches a network no more than `prepare_training` learns of it; then `finetune` takes no steps.
    adapts_at_once: bool = False
    #: Maps of `width` float32 channels, and images of all bands, of the output's size, that a network holds at once;
    #: measured (`studies/memory.py`), rounded up.
    maps_in_memory: float = 20
    images_in_memory: float = 0
    #: Channels of most maps of a network; None: as many as its widest convolution makes.
    width: int | None = None

    #: Whether it learns once of a scene what it has to know of all of it (`estimate`), so that any part is then made
    #: (`super_resolve_part`) as it would be with the whole.
    learns_scenes: bool = False

    #: Whether it makes pixels of a learnt scene at any places, not only at those of the HR grid (`super_resolve_at`).
    works_anywhere: bool = False

    #: Whether it tells how far its image of a learnt scene may be off (`errors`).
    tells_errors: bool = False

    #: (lr, guide[, sensor=...][, memory=...]) -> the image, `scale` times as large; guide is None where there is none.
    #: Every model has it. Arrays or tensors, as `kind` says.
    super_resolve: Callable[..., Any]

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def takes_guide(self) -> bool:
        """Whether a guide is of use to it."""
        return self.guide_channels != 0

    @property
    def needs_guide(self) -> bool:
        """Whether it cannot work without one."""
        return bool(self.guide_channels)

    def super_resolve_bands(self, lr: Any, guide: Any, bands: Sequence[int] | Any) -> Any:
        """lr (N, B, h, w), guide (N, G, H, W) or None, band numbers (K,) or (N, K) -> (N, K, H, W).

        Raises HsisrError unless the model is `band_wise`.
        """
        raise HsisrError(f"{self.name}: takes all bands at once, and cannot be asked for some of them")

    def super_resolve_scales(self, lr: Any, guide: Any, bands: Sequence[int] | Any) -> tuple[Any, Any]:
        """The same at both scales: (N, K, H, W) and (N, K, H/2, W/2).

        Raises HsisrError unless the model has an `alpha_weight`.
        """
        raise HsisrError(f"{self.name}: has no output at half the scale, as its alpha_weight is 0")

    def prepare_training(self, pairs: Iterable[tuple[str, Pair]], seed: int = 0) -> TrainingSamples | None:
        """Learn from whole training scenes what is not learnt by gradients, and return what the rest is trained on.

        Called once, before training. pairs: names and pairs with HR image, made as they are asked for. seed: of the
        samples. Returns None where nothing is learnt before, and the network trains on patches of the pairs: then the
        pairs are not asked for.
        """
        return None

    def hold_out(self, samples: TrainingSamples) -> tuple[TrainingSamples, HeldOut] | None:
        """Part samples into those that the network learns from, and what then chooses its weights.

        Called before training where nothing else validates. samples: of `prepare_training`, or of patches. Returns None
        where nothing is held out, and the last weights are kept.
        """
        return None

    def estimate(self, images: Images, sensor: Sensor) -> Any:
        """What it has to know of a scene: objects of its own classes, numbers, texts and arrays, which a file can keep.

        images: the scene. sensor: with a footprint, without mask.
        Raises HsisrError unless the model learns scenes.
        """
        raise HsisrError(f"{self.name}: does not learn scenes")

    def reach_lr_px(self, estimate: Any) -> int:
        """LR pixels around a part of a learnt scene that it must see."""
        return 0

    def remarks(self, estimate: Any, guide_bands: Sequence[int]) -> list[str]:
        """Lines for the user on a learnt scene, of what was done to its guide.

        estimate: of `estimate`. guide_bands: numbers of the guide's channels, as the user counts them.
        """
        return []

    def super_resolve_part(self, estimate: Any, window: Window, corner: tuple[int, int]) -> np.ndarray:
        """A part of a scene: an array (B, H, W), float32, right but for `reach_lr_px` at each side within the scene.

        estimate: of `estimate`. corner: HR row and column of the window's first pixel. Raises HsisrError as `estimate`.
        """
        raise HsisrError(f"{self.name}: does not learn scenes")

    def super_resolve_at(
        self, estimate: Any, images: Images, guide: np.ndarray, places: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray:
        """Pixels of a learnt scene at any places: an array (B, n, m), float32, right as `super_resolve_part`.

        estimate: of `estimate`. images: the scene, for what the model must see of it around the places. guide:
        (G, n, m), what the guide shows of these places. places: (2, n, m), rows and columns of the scene's HR pixels;
        neighbours in the array are neighbours on the ground. mask: (n, m), valid pixels of the guide; None: all.
        Raises HsisrError unless the model `works_anywhere`.
        """
        raise HsisrError(f"{self.name}: makes the pixels of the HR grid only")

    def errors(self, estimate: Any, images: Images) -> Any:
        """What tells the errors of a learnt scene's image (`hsisr.models.prior.errors.Errors`).

        estimate: of `estimate`. images: the scene. Raises HsisrError unless the model tells errors.
        """
        raise HsisrError(f"{self.name}: does not tell how far its result may be off")

    def bytes_per_pixel(self, bands: int, guide_channels: int) -> int:
        """Memory that one pixel of the output takes while it is made: images, and what the model works in.

        bands, guide_channels: of the images.
        """
        return 4 * (4 * bands + 2 * guide_channels) + self.working_bytes(bands)

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int) -> int:
        """Memory that `estimate` takes. size: LR rows and columns. bands, guide_channels: of the images."""
        return 0

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int) -> Effort:
        """How long it takes to learn a scene, and to make it, so that a run can say what is left.

        size, bands, guide_channels: as for `learning_bytes`.
        """
        return Effort(0.0, 0.0)

    def working_bytes(self, bands: int) -> int:
        """The model's own part of it; as long as nothing else is known, that of a method on arrays."""
        return Options().working_bytes(bands, self.scale or 1)


def part_bytes(model: Model, bands: int, guide_channels: int) -> int:
    """`bytes_per_pixel` of a model that learns scenes: the result, the guide as it is read, filled and shown, masks."""
    return 4 * bands + 12 * guide_channels + 60 + model.working_bytes(bands)


def map_bytes(model: Model, bands: int, shapes: Iterable[Sequence[int]]) -> int:
    """`working_bytes` of a network. shapes: of its parameters."""
    width = model.width or max((shape[0] for shape in shapes if len(shape) >= 4), default=_WIDTH)
    return int(4 * (model.maps_in_memory * width + model.images_in_memory * bands))


def as_model(given: Any) -> Model:
    """The contract of an object: the object itself where it keeps it, or `Adapted`.

    given: a network of hsisr, a `registry.Classical`, any `nn.Module`, or an object with
    `super_resolve(lr, guide)` on arrays. Raises HsisrError for what is none of these.
    """
    if isinstance(given, type):
        raise HsisrError(f"model {given.__name__}: is a class; give an object of it, such as {given.__name__}(...)")
    if not (isinstance(given, Model) or callable(given) or hasattr(given, "super_resolve")):
        raise HsisrError(
            f"model {given!r}: is no model; give a name, the path of a run or model file, a network, or an object with "
            "super_resolve(lr, guide)"
        )
    return given if isinstance(given, Model) else Adapted(given)


#: Attributes of a foreign object that are taken for traits of the contract, if they are of such a type; a value of
#: another type is something of its own that happens to have the name.
_TRAITS = {
    "scale": Integral,
    "bands": Integral,
    "guide_channels": Integral,
    "period_px": Integral,
    "takes_sensor": bool,
    "alpha_weight": Real,
    "maps_in_memory": Real,
    "images_in_memory": Real,
    "width": Integral,
}


class Adapted(Model):
    """The contract of an object that does not know it, from the attributes and arguments that it has.

    A module with `parameters` is a network, anything else is classical. `super_resolve` is its own; without one, that
    of a network with `super_resolve_bands` makes its bands one after the other, and that of another calls the module.
    """

    def __init__(self, own: Any) -> None:
        self.own, self.scale = own, None
        self.kind = "network" if hasattr(own, "parameters") else "classical"
        self.band_wise = hasattr(own, "super_resolve_bands")
        for trait, kind in _TRAITS.items():
            value = getattr(own, trait, None)
            if isinstance(value, kind):
                setattr(self, trait, value)

    @property
    def name(self) -> str:
        """The class of the object."""
        return type(self.own).__name__

    @property
    def takes_memory(self) -> bool:  # type: ignore[override]  # looked up when it is asked for: signatures are slow
        """Whether its `super_resolve` has an argument of that name."""
        return hasattr(self.own, "super_resolve") and "memory" in inspect.signature(self.own.super_resolve).parameters

    @property
    def rgb_path(self) -> bool:  # type: ignore[override]
        """Whether its `forward` takes a modality."""
        return hasattr(self.own, "forward") and takes(self.own.forward, None, modality="rgb")

    def super_resolve(self, lr: Any, guide: Any = None, **told: Any) -> Any:
        """The image of lr, and of the guide where the object takes one. told: memory, sensor."""
        if hasattr(self.own, "super_resolve"):
            function = self.own.super_resolve
        else:
            function = self._every_band if self.band_wise else self.own
        if guide is not None and self.takes_guide:
            return function(lr, guide, **told)
        # one that does not use its guide may ask for the argument all the same
        return function(lr, **told) if takes(function, lr, **told) else function(lr, None, **told)

    def super_resolve_bands(self, lr: Any, guide: Any, bands: Sequence[int] | Any) -> Any:
        """As the object does it, if it does."""
        if not self.band_wise:
            return super().super_resolve_bands(lr, guide, bands)
        return self.own.super_resolve_bands(lr, guide, bands)

    def super_resolve_scales(self, lr: Any, guide: Any, bands: Sequence[int] | Any) -> tuple[Any, Any]:
        """As the object does it, if it does."""
        if not self.alpha_weight:
            return super().super_resolve_scales(lr, guide, bands)
        fine, half = self.own.super_resolve_scales(lr, guide, bands)
        return fine, half

    def working_bytes(self, bands: int) -> int:
        """What a model of its kind takes."""
        if self.kind == "classical":
            return super().working_bytes(bands)
        return map_bytes(self, bands, (parameter.shape for parameter in self.own.parameters()))

    def _every_band(self, lr: Any, guide: Any = None) -> Any:
        import torch

        images = [self.own.super_resolve_bands(lr, guide, torch.tensor([band])) for band in range(lr.shape[1])]
        return torch.cat(images, dim=1)


def tell(network: Any, facts: Mapping[str, int]) -> None:
    """Note on a foreign network what it was built for, name -> value, where it has no attribute of that name."""
    for name, value in facts.items():
        if not hasattr(network, name):
            setattr(network, name, value)


def takes(function: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    """Whether a function can be called with these arguments."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError:
        return False
    return True
