"""Every model that a configuration can name. To add a model, write a module, its options, and a line here.

Somebody else's network needs no line. Its name is its import path, `module:Class`, or the name of an entry point in an
installed package (`hsisr.models.own`).

This module needs no torch: building a model loads the model's module.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from hsisr.config import check_section
from hsisr.degrade import Sensor
from hsisr.errors import HsisrError, did_you_mean
from hsisr.models import own
from hsisr.models.base import Kind, Model, part_bytes
from hsisr.models.options import (
    BicubicOptions,
    CnmfOptions,
    DeepshareOptions,
    DeepshareSmallOptions,
    HybridOptions,
    HysureOptions,
    MulsrOptions,
    MulsrSmallOptions,
    MulsrTinyOptions,
    NearestOptions,
    Options,
    PriorOptions,
    ScaleRule,
    SensorOptions,
    SoloOptions,
    TransformerOptions,
    TwoStreamOptions,
    deepshare_scale,
    even_scale,
    whole_scale,
)
from hsisr.models.windows import Effort, Images, Window


@dataclass(frozen=True)
class Entry:
    """Facts about a model that are known before it is built; the model itself has them too (`hsisr.models.base.Model`).

    kind: "network" is trained, "classical" is not. needs_guide: it cannot work without a sharp image.
    options: the pydantic model of its options. check_scale: its rule for the scale; see `ScaleRule`.
    factory: "module:attribute". A network's factory is called as (scale=..., **facts, **options) and gives a torch
    module. The factory of a classical model is the method itself, (lr, guide, scale=..., **options) -> (bands, H, W).
    facts: facts about the images that a network's factory needs: `bands`, `guide_channels`.
    rgb_path: it can be called with modality="rgb", as the objectives `rgb` and `unlabelled` do.
    whole_scenes: it learns from patches and also from whole training scenes. If there is no other validation, it holds
    some of these scenes out.
    estimate: for a classical method that learns scenes: "module:attribute" of a function (images, scale=..., **options)
    -> an object with `solution` (`hsisr.models.prior.Estimate`).
    errors: for a method that predicts its errors: "module:attribute" of a function (estimate, images, part).
    own: it is somebody else's class; its needs and abilities are known only after the import.
    """

    kind: Kind
    needs_guide: bool
    options: type[Options]
    check_scale: ScaleRule
    factory: str
    facts: tuple[Literal["bands", "guide_channels"], ...] = ("guide_channels",)
    rgb_path: bool = False
    whole_scenes: bool = False
    estimate: str | None = None
    errors: str | None = None
    own: bool = False


_MULSR = "hsisr.models.mulsr:MulSR"
_DEEPSHARE = "hsisr.models.deepshare:DeepShare"
_SSPSR = "hsisr.models.deepshare:Sspsr"

_ENTRIES = {
    "nearest": Entry("classical", False, NearestOptions, whole_scale, "hsisr.models.classical.nearest:nearest"),
    "bicubic": Entry("classical", False, BicubicOptions, whole_scale, "hsisr.models.classical.bicubic:bicubic"),
    "bicubic-ibp": Entry(
        "classical", False, SensorOptions, whole_scale, "hsisr.models.classical.back_projection:bicubic_ibp"
    ),
    "sfim-hs": Entry("classical", True, SensorOptions, whole_scale, "hsisr.models.classical.hypersharpening:sfim_hs"),
    "glp-hs": Entry("classical", True, SensorOptions, whole_scale, "hsisr.models.classical.hypersharpening:glp_hs"),
    "gsa": Entry("classical", True, SensorOptions, whole_scale, "hsisr.models.classical.gsa:gsa"),
    "cnmf": Entry("classical", True, CnmfOptions, whole_scale, "hsisr.models.classical.cnmf:cnmf"),
    "hysure": Entry("classical", True, HysureOptions, whole_scale, "hsisr.models.classical.hysure:hysure"),
    "prior": Entry(
        "classical",
        True,
        PriorOptions,
        whole_scale,
        "hsisr.models.prior:prior",
        estimate="hsisr.models.prior:estimate",
        errors="hsisr.models.prior.errors:learn_errors",
    ),
    "hybrid": Entry(
        "network",
        True,
        HybridOptions,
        whole_scale,
        "hsisr.models.hybrid:Hybrid",
        ("bands", "guide_channels"),
        whole_scenes=True,
    ),
    "mulsr": Entry("network", True, MulsrOptions, even_scale, _MULSR),
    "mulsr-s": Entry("network", True, MulsrSmallOptions, even_scale, _MULSR),
    "mulsr-xs": Entry("network", True, MulsrTinyOptions, even_scale, _MULSR),
    "deepshare": Entry("network", False, DeepshareOptions, deepshare_scale, _DEEPSHARE, ("bands",), rgb_path=True),
    "deepshare-s": Entry(
        "network", False, DeepshareSmallOptions, deepshare_scale, _DEEPSHARE, ("bands",), rgb_path=True
    ),
    "sspsr": Entry("network", False, DeepshareOptions, deepshare_scale, _SSPSR, ("bands",)),
    "solo": Entry("network", False, SoloOptions, whole_scale, "hsisr.models.solo:Solo", (), rgb_path=True),
    "two-stream": Entry(
        "network",
        True,
        TwoStreamOptions,
        whole_scale,
        "hsisr.models.two_stream:TwoStream",
        ("bands", "guide_channels"),
    ),
    "transformer": Entry(
        "network",
        True,
        TransformerOptions,
        whole_scale,
        "hsisr.models.transformer:FusionTransformer",
        ("bands", "guide_channels"),
    ),
}


@dataclass(frozen=True)
class Classical(Model):
    """A classical method, bound to its scale and options.

    options: as the method takes them. needs_guide: it cannot work without a sharp image. settings: the options as the
    user chose them. learn: function that learns a scene, or None. tell: function that learns its errors, or None.
    """

    method: Callable[..., np.ndarray]
    scale: int
    options: Mapping[str, Any]
    needs_guide: bool = False
    settings: Options = Options()
    learn: Callable[..., Any] | None = None
    tell: Callable[..., Any] | None = None

    kind = "classical"

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.method.__name__

    @property
    def takes_sensor(self) -> bool:  # type: ignore[override]  # it follows from the options
        """Whether the method uses knowledge of the sensor."""
        return "sensor" in self.options

    @property
    def learns_scenes(self) -> bool:  # type: ignore[override]
        """Whether the method learns scenes."""
        return self.learn is not None

    def estimate(self, images: Images, sensor: Sensor) -> Any:
        """Learn a scene, and return what the method needs to know about it."""
        if self.learn is None:
            return super().estimate(images, sensor)
        return self.learn(images, scale=self.scale, **{**self.options, "sensor": sensor})

    def reach_lr_px(self, estimate: Any) -> int:
        """LR pixels around a part of a learnt scene that the method must see."""
        return int(estimate.reach_lr_px)

    def remarks(self, estimate: Any, guide_bands: Sequence[int]) -> list[str]:
        """What was done to the guide of a learnt scene."""
        lines: list[str] = estimate.remarks
        return lines

    def super_resolve_part(self, estimate: Any, window: Window, corner: tuple[int, int]) -> np.ndarray:
        """A part of a learnt scene, super-resolved."""
        image: np.ndarray = estimate.solution(window.guide, corner, mask=window.mask).image()
        return image

    @property
    def works_anywhere(self) -> bool:  # type: ignore[override]
        """Whether the method makes pixels at any places; one that learns scenes does."""
        return self.learns_scenes

    def super_resolve_at(
        self, estimate: Any, images: Images, guide: np.ndarray, places: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray:
        """A learnt scene at any places of it. images: not read."""
        image: np.ndarray = estimate.solution_at(guide, places, mask).image()
        return image

    @property
    def tells_errors(self) -> bool:  # type: ignore[override]
        """Whether the method predicts its errors."""
        return self.tell is not None

    def errors(self, estimate: Any, images: Images) -> Any:
        """An object that predicts the errors of a learnt scene's image."""
        if self.tell is None:
            return super().errors(estimate, images)
        return self.tell(estimate, images, partial(self.super_resolve_part, estimate))

    def bytes_per_pixel(self, bands: int, guide_channels: int) -> int:
        """Memory for a pixel; less for a method that learns scenes, because its parts need little of the images."""
        if not self.learns_scenes:
            return super().bytes_per_pixel(bands, guide_channels)
        return part_bytes(self, bands, guide_channels)

    def learning_bytes(self, size: tuple[int, int], bands: int, guide_channels: int) -> int:
        """Memory for learning a scene."""
        return self.settings.learning_bytes(size, bands, guide_channels, self.scale)

    def effort(self, size: tuple[int, int], bands: int, guide_channels: int) -> Effort:
        """Time for learning a scene, and for making it."""
        return self.settings.effort(size, bands, guide_channels, self.scale)

    def working_bytes(self, bands: int) -> int:
        """Memory in which the method works."""
        return self.settings.working_bytes(bands, self.scale)

    def super_resolve(
        self, lr: np.ndarray, guide: np.ndarray | None = None, sensor: Sensor | None = None
    ) -> np.ndarray:
        """lr: (bands, h, w). guide: (G, H, W), or None if the method needs none. Returns (bands, H, W).

        sensor: replaces the sensor with which the method was built; only for methods that use a sensor.
        """
        options = self.options if sensor is None else {**self.options, "sensor": sensor}
        return self.method(lr, guide, scale=self.scale, **options)


def names() -> list[str]:
    """Names of all models: our own, and those of installed packages, unless one of ours has the same name."""
    return [*_ENTRIES, *(name for name in own.installed_networks() if name not in _ENTRIES)]


def entry(base: str) -> Entry:
    """The entry of a model; base: its name, or an import path. Nothing is imported.

    Raises HsisrError, with the known names, for an unknown name.
    """
    if base in _ENTRIES:
        return _ENTRIES[base]
    path = own.installed_networks().get(base, base)
    if not own.is_path(path):
        raise HsisrError(
            f"unknown model {base!r}; {did_you_mean(base, names())}known models: {', '.join(names())}; or "
            "module:Class, the import path of your own"
        )
    return Entry("network", False, own.OwnOptions, whole_scale, path, own=True)


def trust(base: str) -> None:
    """Allow the import of a model's code, because the user's configuration names it."""
    if base not in _ENTRIES:
        own.trust(entry(base).factory)


def check(base: str, options: Mapping[str, Any], where: str, beside: Iterable[str] = ()) -> None:
    """Import somebody else's class, and raise HsisrError if hsisr cannot use it or it has no such options.

    where: the key that names it. beside: keys that may stand beside the options. For our own models there is nothing
    to do: their options are checked already.
    """
    chosen = entry(base)
    if not chosen.own:
        return
    try:
        own.load(chosen.factory)
    except HsisrError as error:
        raise HsisrError(f"{where}.base: {error}") from error
    own.check(chosen.factory, options, where, beside)


def same_options(base: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two choices of options make the same network; missing options have their defaults."""
    chosen = entry(base)
    kind = own.options_of(chosen.factory) if chosen.own else chosen.options
    first, second = (check_section(kind, options, base).model_dump() for options in (one, other))
    return bool(first == second)


def build(
    base: str,
    scale: int,
    bands: int,
    guide_channels: int,
    options: Mapping[str, Any] | None = None,
    sensor: Sensor | None = None,
) -> Any:
    """Make a model: a `Network`, a torch module with fresh weights, or a `Classical`; both are a `Model`.

    For somebody else's class, the result is an object of this class; `as_model` makes a `Model` of it.

    bands, guide_channels: of the images that it will see; guide_channels is 0 if there is no guide.
    options: those that differ from the defaults. sensor: knowledge of how the images were taken, for classical methods
    with the option `sensor`. If this option is `known`, they get all of it, else only the mask of valid pixels.
    Raises HsisrError for an unknown model or option, for a value or a scale that is not allowed, for a missing guide,
    for `sensor: known` if nothing is known, and for somebody else's class as `hsisr.models.own.build`.
    """
    chosen = entry(base)
    if chosen.own:
        scale = chosen.check_scale(scale)
        return own.build(chosen.factory, scale, bands, guide_channels, options or {})
    settings = check_section(chosen.options, options or {}, base)
    values = settings.model_dump()
    scale = chosen.check_scale(scale)
    if chosen.needs_guide and not guide_channels:
        raise HsisrError(f"{base}: needs a guide, a sharp image of the same scene, and there is none")
    factory = factory_of(chosen)
    if chosen.kind == "classical":
        if "sensor" in values:
            values["sensor"] = _known_sensor(base, values["sensor"], sensor)
        learn = None if chosen.estimate is None else _attribute(chosen.estimate)
        tell = None if chosen.errors is None else _attribute(chosen.errors)
        return Classical(factory, scale, values, chosen.needs_guide, settings, learn, tell)
    facts = {"bands": bands, "guide_channels": guide_channels}
    return factory(scale=scale, **{name: facts[name] for name in chosen.facts}, **values)


def factory_of(chosen: Entry) -> Any:
    """The class of one of our networks, or the function of a method. This imports its module."""
    return _attribute(chosen.factory)


def _attribute(path: str) -> Any:
    """The object that "module:attribute" names."""
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)


def _known_sensor(base: str, choice: str, sensor: Sensor | None) -> Sensor | None:
    """The sensor as a method sees it: all of it, or the mask alone."""
    if choice == "estimated":
        return None if sensor is None else Sensor(mask=sensor.mask)
    if sensor is None:
        raise HsisrError(f"{base}.sensor: nothing is known of how these images were taken; choose estimated")
    return sensor
