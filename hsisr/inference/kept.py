"""The facts learnt of a scene, in a file of arrays and plain values (npz and JSON). Reading it runs no code."""

import importlib
import json
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.files import atomic_path

_FACTS = "facts"


def write(path: Path, learnt: Any, identity: str) -> None:
    """Write an object made of arrays, numbers, texts, lists, tuples, dictionaries and objects of classes.

    identity: of the inputs that it was learnt from; `read` asks for the same identity.
    """
    arrays: dict[str, np.ndarray] = {}
    content = {"identity": identity, "learnt": _plain(learnt, arrays)}
    every: dict[str, Any] = {_FACTS: np.frombuffer(json.dumps(content).encode(), np.uint8), **arrays}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **every)


def read(path: Path, identity: str, package: str) -> Any:
    """The object of `write`; None if the file is missing or damaged, or has another identity.

    package: of the model. The file may name classes of this package and of hsisr.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = json.loads(file[_FACTS].tobytes())
            if content["identity"] != identity:
                return None
            return _build(content["learnt"], file, ("hsisr", package))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, zipfile.BadZipFile, EOFError):
        return None


def held_bytes(learnt: Any) -> int:
    """Memory that the arrays of an object take, as `write` takes one."""
    arrays: dict[str, np.ndarray] = {}
    _plain(learnt, arrays)
    return sum(array.nbytes for array in arrays.values())


def _plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A value for JSON. Its arrays go to `arrays`."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        name = f"array{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array": name}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_plain(part, arrays) for part in value]}
    if type(value) is dict:
        return {"dict": [[_plain(part, arrays) for part in pair] for pair in value.items()]}
    kind = type(value)
    return {"class": [kind.__module__, kind.__qualname__], "state": _plain(_state(value), arrays)}


def _state(value: Any) -> dict[str, Any] | tuple:
    """The parts of an object: arguments of a dataclass, items of a named tuple, attributes of another object."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    return tuple(value) if isinstance(value, tuple) else vars(value)


def _build(plain: Any, file: Any, packages: tuple[str, ...]) -> Any:
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        array = file[plain["array"]]
        return array if array.ndim else array[()]
    if "list" in plain:
        return [_build(part, file, packages) for part in plain["list"]]
    if "tuple" in plain:
        return tuple(_build(part, file, packages) for part in plain["tuple"])
    if "dict" in plain:
        return {_build(key, file, packages): _build(value, file, packages) for key, value in plain["dict"]}
    (module, name), state = plain["class"], _build(plain["state"], file, packages)
    kind = _class(module, name, packages)
    if is_dataclass(kind):
        return kind(**state)
    if issubclass(kind, tuple):
        return kind(*state)
    value = object.__new__(kind)
    value.__dict__.update(state)
    return value


def _class(module: str, name: str, packages: tuple[str, ...]) -> type:
    """A class of hsisr or of the model's package. Other names in the file are refused."""
    if module.partition(".")[0] not in packages:
        raise ValueError(f"{module} is no part of the model")
    found: Any = getattr(importlib.import_module(module), name)
    if not isinstance(found, type) or found.__module__ != module:
        raise ValueError(f"{module}.{name} is no class of the model")
    return found
