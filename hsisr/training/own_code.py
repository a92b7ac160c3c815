"""The code of a caller's network and objective, in a form that can be compared: edited code counts as other code.

For hsisr's own classes, the code is the files that they can reach. For all others, it is the loaded and compiled class
or function with its source, and the same for everything that it names outside itself, without libraries. A class typed
into a shell may have no readable source. Then only the compiled form counts.
"""

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

from hsisr.sources import PACKAGE

#: Types of plain values, which are compared as they are.
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class OwnCode:
    """hashes: file, class or function -> hash of its text. unreadable: names of those without a text."""

    hashes: dict[str, str]
    unreadable: tuple[str, ...]


def code_of(model: nn.Module, *others: Any) -> OwnCode:
    """The code of a network, and of other objects or functions. `None` stands for a missing one."""
    found = _Search()
    for thing in (*model.modules(), *others):
        found.look_at(thing)
    return OwnCode(found.hashes | PACKAGE.hashes(PACKAGE.closure(found.modules)), tuple(sorted(found.unreadable)))


def architecture(model: nn.Module) -> dict[str, Any]:
    """The structure of a network as plain values: classes of its layers, their plain attributes, shapes of weights."""
    layers = {
        name or "network": {"class": type(layer).__qualname__, **_plain_attributes(layer)}
        for name, layer in model.named_modules()
    }
    shapes = {key: [str(value.dtype), *value.shape] for key, value in model.state_dict().items()}
    return {"layers": layers, "weights": shapes}


def settings_of(thing: Any) -> Any:
    """The plain attributes of an objective, and of the objects that it holds, for comparison; None for None."""
    return _settings(thing, set())


def _settings(thing: Any, seen: set[int]) -> Any:
    if isinstance(thing, _PLAIN):
        return thing
    if isinstance(thing, (list, tuple)):
        return [_settings(entry, seen) for entry in thing]
    if id(thing) in seen or _is_library(type(thing).__module__):
        return type(thing).__qualname__
    seen.add(id(thing))
    inside = {key: _settings(value, seen) for key, value in sorted(_attributes(thing).items()) if key[:1] != "_"}
    return {"class": type(thing).__qualname__, **inside}


class _Search:
    """Follows objects to their classes, and classes and functions to everything that they name."""

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}
        self.unreadable: set[str] = set()
        self.modules: set[str] = set()
        self._seen: set[int] = set()

    def look_at(self, thing: Any) -> None:
        """Add the code of an object, a class or a function."""
        if isinstance(thing, (list, tuple, set)):
            for entry in thing:
                self.look_at(entry)
            return
        if isinstance(thing, MethodType):
            self.look_at(thing.__self__)
            thing = thing.__func__
        if id(thing) in self._seen or isinstance(thing, _PLAIN):
            return
        self._seen.add(id(thing))
        if isinstance(thing, type):
            self._take_class(thing)
        elif isinstance(thing, FunctionType):
            self._take(thing, [thing])
        elif not _is_library(type(thing).__module__):
            self.look_at(type(thing))
            if not isinstance(thing, nn.Module):  # the caller lists a network's layers
                self.look_at(list(_attributes(thing).values()))

    def _take_class(self, kind: type) -> None:
        for base in kind.__mro__:
            if not _is_library(base.__module__):
                self._seen.add(id(base))
                self._take(base, list(_functions(base)))

    def _take(self, thing: type | FunctionType, functions: list[FunctionType]) -> None:
        if thing.__module__.partition(".")[0] == PACKAGE.folder.name:
            if PACKAGE.path(thing.__module__) is not None:
                self.modules.add(thing.__module__)
            return
        if _is_library(thing.__module__):
            return
        name = f"{thing.__module__}.{thing.__qualname__}"
        text = "\n".join(_code_text(function.__code__) for function in functions)
        if isinstance(thing, type):
            text += repr([(key, v) for key, v in vars(thing).items() if key[:2] != "__" and isinstance(v, _PLAIN)])
        try:
            text += inspect.getsource(thing)
        except (OSError, TypeError):
            self.unreadable.add(thing.__qualname__)
        self.hashes[name] = hashlib.sha256(text.encode()).hexdigest()[:12]
        for function in functions:
            for named, value in _named_values(function):
                if isinstance(value, _PLAIN):
                    self.hashes[f"{thing.__module__}.{named}"] = repr(value)
                elif isinstance(value, (type, FunctionType)):
                    self.look_at(value)


def _functions(kind: type) -> Iterator[FunctionType]:
    """The functions that a class defines itself."""
    for value in vars(kind).values():
        if isinstance(value, property):
            yield from (part for part in (value.fget, value.fset) if isinstance(part, FunctionType))
        elif isinstance(value, (staticmethod, classmethod)):
            if isinstance(value.__func__, FunctionType):
                yield value.__func__
        elif isinstance(value, FunctionType):
            yield value


def _named_values(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The global names that a function uses, with their values, and the variables of its closure."""
    for code in _codes(function.__code__):
        for name in code.co_names:
            if name in function.__globals__:
                yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the variable is not set yet
            continue


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _code_text(code: CodeType) -> str:
    constants = [c for c in code.co_consts if not isinstance(c, CodeType)]
    inside = [_code_text(c) for c in code.co_consts if isinstance(c, CodeType)]
    return repr((code.co_name, code.co_code, constants, code.co_names, code.co_varnames, inside))


def _attributes(thing: Any) -> dict[str, Any]:
    try:
        return vars(thing)
    except TypeError:  # the object has slots, or its type is written in C
        return {}


def _plain_attributes(layer: nn.Module) -> dict[str, Any]:
    """Attributes that decide how a layer works: numbers, words, and tuples of them."""

    def plain(value: Any) -> bool:
        return isinstance(value, _PLAIN) or (isinstance(value, (list, tuple)) and all(map(plain, value)))

    attributes = {key: value for key, value in vars(layer).items() if key[:1] != "_" and key != "training"}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in attributes.items() if plain(v)}


def _is_library(module: str) -> bool:
    """Whether a module belongs to Python or is installed. A module without a file is a user's shell or notebook."""
    top = module.partition(".")[0]
    if top in (PACKAGE.folder.name, "__main__"):
        return False
    if top in sys.stdlib_module_names:
        return True
    file = vars(sys.modules[module]).get("__file__") if module in sys.modules else None
    if file is None:
        return False
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(file).is_relative_to(place) for place in places)
