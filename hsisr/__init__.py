"""hsisr: hyperspectral image super-resolution, from raw data sets to trained models, scores and a report.

Importing the package is cheap: a sub-module, and torch with it, loads when one of its names is first used.
"""

from typing import TYPE_CHECKING

from hsisr._version import __version__ as __version__
from hsisr.lazy_names import loader

#: Public name -> module that defines it, or the module itself.
_PUBLIC = {
    "Scene": "hsisr.scene",
    "HsisrError": "hsisr.errors",
    "read_scene": "hsisr.datasets",
    "train": "hsisr.training",
    "evaluate": "hsisr.evaluation",
    "super_resolve": "hsisr.inference",
    "config": "hsisr.config",
    "datasets": "hsisr.datasets",
    "degrade": "hsisr.degrade",
    "evaluation": "hsisr.evaluation",
    "finetuning": "hsisr.finetuning",
    "inference": "hsisr.inference",
    "metrics": "hsisr.metrics",
    "models": "hsisr.models",
    "ops": "hsisr.ops",
    "pairs": "hsisr.pairs",
    "patches": "hsisr.patches",
    "report": "hsisr.report",
    "training": "hsisr.training",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from hsisr.datasets import read_scene as read_scene
    from hsisr.errors import HsisrError as HsisrError
    from hsisr.evaluation import evaluate as evaluate
    from hsisr.inference import super_resolve as super_resolve
    from hsisr.scene import Scene as Scene
    from hsisr.training import train as train


__getattr__, __dir__ = loader(__name__, _PUBLIC)
