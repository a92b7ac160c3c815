"""Public names of a package that are loaded from its modules when first used, so that importing it is quick."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def loader(package: str, public: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562).

    package: its name. public: public name -> module that defines it; `hsisr.sources` reads the same table, which stands
    in the package as `_PUBLIC`. The function raises AttributeError for any other name.
    """

    def load(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(public[name]), name)

    return load
