"""Inference: applying finished models to scenes, in memory or by tiles."""

from typing import TYPE_CHECKING

from hsisr.lazy_names import loader
from hsisr.models.model_files import import_checkpoint as import_checkpoint
from hsisr.models.model_files import load_model as load_model
from hsisr.models.model_files import read_metadata as read_metadata
from hsisr.models.model_files import save_model as save_model

#: Public name -> its module, loaded at first use: one of these modules imports `hsisr.training`.
_PUBLIC = {
    "Options": "hsisr.inference.scenes",
    "finetune": "hsisr.finetuning.adaptation",
    "predict": "hsisr.models.apply",
    "super_resolve": "hsisr.inference.whole",
    "super_resolve_file": "hsisr.inference.scenes",
    "super_resolve_folder": "hsisr.inference.folder",
}

__all__ = ["load_model", "read_metadata", "save_model", *_PUBLIC]

if TYPE_CHECKING:
    from hsisr.finetuning.adaptation import finetune as finetune
    from hsisr.inference.folder import super_resolve_folder as super_resolve_folder
    from hsisr.inference.scenes import Options as Options
    from hsisr.inference.scenes import super_resolve_file as super_resolve_file
    from hsisr.inference.whole import super_resolve as super_resolve
    from hsisr.models.apply import predict as predict


__getattr__, __dir__ = loader(__name__, _PUBLIC)
