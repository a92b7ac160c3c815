"""The tiny fakes of tests/data: the functions that made their pixels, and where each lies."""

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "data"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_fakes", FOLDER / "make_fakes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: The module tests/data/make_fakes.py.
make_fakes = _load()

#: What a fake set changes in its catalogue entry: fewer scenes, no published hashes and sizes.
EXTRA = {
    "cave": {"scenes": list(make_fakes.CAVE_SCENES), "hashes": None},
    "harvard": {"scenes": [scene for scenes in make_fakes.HARVARD_SCENES.values() for scene in scenes]},
    "ntire2020": {"scenes": [scene for scenes in make_fakes.NTIRE_SCENES.values() for scene in scenes]},
    "chikusei": {"notes": ""},
    "div2k": {
        "scenes": [scene for scenes in make_fakes.DIV2K_SCENES.values() for scene in scenes],
        "files": [
            {"name": f"{archive}.zip", "urls": ["http://none.invalid/x"], "unpack": True}
            for archive in make_fakes.DIV2K_SCENES
        ],
    },
    "roman_colosseum": {"notes": ""},
}
