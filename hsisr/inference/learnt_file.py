"""What a model has learnt of a scene, as a file: arrays in an .npz and how they belong together, without code in it.

A pickle would run whatever somebody has put into a folder. Here only objects of the classes below are made.
"""

import dataclasses
import importlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.errors import HsisrError
from hsisr.files import atomic_path

#: Where the classes of what is learnt are, by name.
_CLASSES = {
    "Estimate": "hsisr.models.prior",
    "Clipping": "hsisr.models.prior",
    "Functions": "hsisr.models.prior.features",
    "Bumps": "hsisr.models.prior.features",
    "Fit": "hsisr.models.prior.regression",
    "KnownSensor": "hsisr.degrade.sensor",
    "Footprint": "hsisr.degrade.sensor",
    "Subspace": "hsisr.degrade.estimation",
    "LearntScene": "hsisr.models.hybrid",
    "Light": "hsisr.models.hybrid.filters",
    "Agreement": "hsisr.models.hybrid.agreement",
}
_TREE = "tree"


def write(path: Path, learnt: Any) -> None:
    """Write what was learnt, whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_described(learnt, arrays))
    every: dict[str, Any] = arrays | {_TREE: np.frombuffer(tree.encode(), np.uint8)}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **every)


def read(path: str | os.PathLike) -> Any:
    """What `write` has written. Raises HsisrError for a file that is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _made(json.loads(arrays[_TREE].tobytes()), arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise HsisrError(f"{path}: damaged file of a run that was stopped; delete its folder") from error


def _described(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON, with its arrays beside it."""
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return _described(np.asarray(value), arrays)
    if isinstance(value, (list, tuple)):
        kind = "tuple" if type(value) is tuple else "list"
        return {kind: [_described(entry, arrays) for entry in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple(map(_class_of, _CLASSES))):
        fields = vars(value)
        if dataclasses.is_dataclass(value):  # others are made again by __post_init__
            fields = {field.name: fields[field.name] for field in dataclasses.fields(value) if field.init}
        return {"class": type(value).__name__, "fields": {k: _described(v, arrays) for k, v in fields.items()}}
    raise TypeError(f"{type(value).__name__} is no part of what is learnt")


def _made(tree: Any, arrays: Any) -> Any:
    """The value that `_described` described."""
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    for kind in (tuple, list):
        if kind.__name__ in tree:
            return kind(_made(entry, arrays) for entry in tree[kind.__name__])
    made, fields = _class_of(tree["class"]), {name: _made(field, arrays) for name, field in tree["fields"].items()}
    if dataclasses.is_dataclass(made):
        return made(**fields)
    value: Any = object.__new__(made)
    vars(value).update(fields)
    return value


def _class_of(name: str) -> type:
    found: type = getattr(importlib.import_module(_CLASSES[name]), name)
    return found
