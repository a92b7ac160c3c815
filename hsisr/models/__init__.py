"""Models: networks, classical methods, and the papers' own checkpoints.

A name loads its module when it is first used, so that listing models or running a classical one needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

#: Public name -> module that defines it.
_PUBLIC = {
    "DeepShare": "hsisr.models.deepshare",
    "MulSR": "hsisr.models.mulsr",
    "Sspsr": "hsisr.models.deepshare",
    "bicubic": "hsisr.models.classical.bicubic",
    "gsa": "hsisr.models.classical.gsa",
    "load_official": "hsisr.models.official",
}

__all__ = list(_PUBLIC)

if TYPE_CHECKING:
    from hsisr.models.classical.bicubic import bicubic as bicubic
    from hsisr.models.classical.gsa import gsa as gsa
    from hsisr.models.deepshare import DeepShare as DeepShare
    from hsisr.models.deepshare import Sspsr as Sspsr
    from hsisr.models.mulsr import MulSR as MulSR
    from hsisr.models.official import load_official as load_official


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'hsisr.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
