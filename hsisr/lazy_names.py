"""Names that load their module at first use, so that importing a package is quick."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def loader(package: str, public: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package (PEP 562).

    package: its name. public: public name -> its module. `hsisr.sources` reads the same table, as `_PUBLIC` in the
    package. A module under its own name is loaded as a whole. The first function raises AttributeError for any other
    name. The second lists these names and those that the package defines itself.
    """

    def load(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(public[name])
        return module if public[name] == f"{package}.{name}" else getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return load, names


def notebook() -> Any:
    """The module `hsisr.notebook`, loaded by its name, so that no step's result and identity depend on it."""
    return importlib.import_module("hsisr.notebook")
