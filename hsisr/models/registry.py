"""Every model that a configuration can name. To add one: a module of its own, its options, and a line here.

Importable without torch: the module that holds a model is loaded when the model is built.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hsisr.config import checked
from hsisr.errors import HsisrError
from hsisr.models.options import (
    BicubicOptions,
    DeepshareOptions,
    DeepshareSmallOptions,
    GsaOptions,
    MulsrOptions,
    MulsrSmallOptions,
    MulsrTinyOptions,
    Options,
    ScaleRule,
    deepshare_scale,
    even_scale,
    whole_scale,
)


@dataclass(frozen=True)
class Entry:
    """What is known of a model before it is built.

    kind: "network" is trained, "classical" is not. needs_guide: it cannot work without a sharp image.
    options: the pydantic model of its options. check_scale: raises HsisrError for a scale that it cannot do.
    factory: "module:attribute". A network's is called as (scale=..., **facts, **options) and gives a torch module; a
    classical one is the method itself, (lr, guide, scale=..., **options) -> (bands, H, W).
    facts: what a network's factory is told of the images: `bands`, `guide_channels`.
    rgb_path: it can be called with modality="rgb", as the objectives `rgb` and `unlabelled` do.
    """

    kind: Literal["classical", "network"]
    needs_guide: bool
    options: type[Options]
    check_scale: ScaleRule
    factory: str
    facts: tuple[Literal["bands", "guide_channels"], ...] = ("guide_channels",)
    rgb_path: bool = False


_MULSR = "hsisr.models.mulsr:MulSR"
_DEEPSHARE = "hsisr.models.deepshare:DeepShare"
_SSPSR = "hsisr.models.deepshare:Sspsr"

_ENTRIES = {
    "bicubic": Entry("classical", False, BicubicOptions, whole_scale, "hsisr.models.classical.bicubic:bicubic"),
    "gsa": Entry("classical", True, GsaOptions, whole_scale, "hsisr.models.classical.gsa:gsa"),
    "mulsr": Entry("network", True, MulsrOptions, even_scale, _MULSR),
    "mulsr-s": Entry("network", True, MulsrSmallOptions, even_scale, _MULSR),
    "mulsr-xs": Entry("network", True, MulsrTinyOptions, even_scale, _MULSR),
    "deepshare": Entry("network", False, DeepshareOptions, deepshare_scale, _DEEPSHARE, ("bands",), rgb_path=True),
    "deepshare-s": Entry(
        "network", False, DeepshareSmallOptions, deepshare_scale, _DEEPSHARE, ("bands",), rgb_path=True
    ),
    "sspsr": Entry("network", False, DeepshareOptions, deepshare_scale, _SSPSR, ("bands",)),
}


@dataclass(frozen=True)
class Classical:
    """A classical method, bound to its scale and options."""

    method: Callable[..., np.ndarray]
    scale: int
    options: Mapping[str, Any]

    def super_resolve(self, lr: np.ndarray, guide: np.ndarray | None = None) -> np.ndarray:
        """lr: (bands, h, w). guide: (G, H, W), or None where the method needs none. Returns (bands, H, W)."""
        return self.method(lr, guide, scale=self.scale, **self.options)


def names() -> list[str]:
    """Names of all models."""
    return list(_ENTRIES)


def entry(base: str) -> Entry:
    """The entry of a model. Raises HsisrError, listing the known ones, if there is none of this name."""
    if base not in _ENTRIES:
        raise HsisrError(f"unknown model {base!r}; known models: {', '.join(_ENTRIES)}")
    return _ENTRIES[base]


def build(base: str, scale: int, bands: int, guide_channels: int, options: Mapping[str, Any] | None = None) -> Any:
    """Make a model: a torch module with fresh weights, or a `Classical`; both have `super_resolve(lr, guide)`.

    bands, guide_channels: of the images that it will see; guide_channels is 0 where there is no guide.
    options: those that differ from the defaults. Raises HsisrError for an unknown model or option, for a value or a
    scale that is not allowed, and for a missing guide.
    """
    chosen = entry(base)
    values = checked(chosen.options, options or {}, base).model_dump()
    chosen.check_scale(scale)
    if chosen.needs_guide and not guide_channels:
        raise HsisrError(f"{base}: needs a guide, a sharp image of the same scene, and there is none")
    module, attribute = chosen.factory.split(":")
    factory = getattr(importlib.import_module(module), attribute)
    if chosen.kind == "classical":
        return Classical(factory, scale, values)
    facts = {"bands": bands, "guide_channels": guide_channels}
    return factory(scale=scale, **{name: facts[name] for name in chosen.facts}, **values)
