"""hsisr: hyperspectral image super-resolution, from raw data sets to trained models, scores and a report.

Importing the package is cheap: sub-modules, and torch with them, load when a name is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hsisr._version import __version__ as __version__
from hsisr.lazy_names import loader

#: Public name -> module that defines it.
_PUBLIC = {
    "Scene": "hsisr.scene",
    "HsisrError": "hsisr.errors",
    "read_scene": "hsisr.datasets",
    "train": "hsisr.training",
    "evaluate": "hsisr.evaluation",
    "super_resolve": "hsisr.inference",
}
_MODULES = ("config", "datasets", "degrade", "evaluation", "inference", "metrics", "models", "ops", "pairs")

__all__ = ["__version__", *_PUBLIC, *_MODULES]

if TYPE_CHECKING:
    from hsisr.datasets import read_scene as read_scene
    from hsisr.errors import HsisrError as HsisrError
    from hsisr.evaluation import evaluate as evaluate
    from hsisr.inference import super_resolve as super_resolve
    from hsisr.scene import Scene as Scene
    from hsisr.training import train as train


_public = loader(__name__, _PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"hsisr.{name}")
    return _public(name)


def __dir__() -> list[str]:
    return sorted(__all__)
