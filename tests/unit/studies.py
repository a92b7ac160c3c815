"""Programs of the folder `studies`, as modules."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

STUDIES = Path(__file__).parents[2] / "studies"


@contextmanager
def opened(name: str) -> Iterator[ModuleType]:
    """A program; inside, it finds the programs beside it."""
    sys.path.insert(0, str(STUDIES))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(STUDIES))
