"""Scenes of a local copy of CAVE, for the programs beside this one."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hsisr import datasets
from hsisr.scene import Scene

SCENES = ("jelly_beans", "oil_painting", "thread_spools", "watercolors")


def arguments(description: str, scenes: Sequence[str] = SCENES) -> argparse.ArgumentParser:
    """A parser with the options --data, --scale and --scenes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="local copy of CAVE, whole or in part")
    parser.add_argument("--scale", type=int, default=8)
    parser.add_argument("--scenes", nargs="+", default=scenes)
    return parser


def read(data: Path, names: Sequence[str]) -> list[Scene]:
    """The scenes with these names, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        datasets.fetch("cave", raw, source=str(data), progress=False)
        return [datasets.convert("cave", name, raw, f"{folder}/{name}.h5") for name in names]
