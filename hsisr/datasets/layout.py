"""Where a scene's files lie below a raw folder: globs of the published layout, matched from the end of the path."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from hsisr.errors import HsisrError
from hsisr.files import natural_key

#: Paths of fetched and of converted data, below the pipeline's folder.
RAW = "data/raw/{dataset}/manifest.json"
SCENE = "data/scenes/{dataset}/{scene}.h5"

#: Files of file managers, also found inside published archives, and our own manifest.
LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "manifest.json"})
#: Endings of files that may be scenes. The content of a file then decides its format.
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})
CUBE_SUFFIXES = frozenset({".tif", ".tiff", ".hdr", ".mat", ".npy", ".npz", ".h5", ".hdf5", ".he5"})

_SIGNS = r"\*|\?|\[[^\]]*\]"
_SCENE = r"(?P<scene>[A-Za-z0-9][A-Za-z0-9_-]*)"


def listing(root: str | os.PathLike) -> list[str]:
    """Relative POSIX paths of all files below `root`, sorted, without hidden files, litter and partial downloads."""
    root = Path(root)
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_litter(name))
        relative = Path(folder).relative_to(root)
        found += [(relative / name).as_posix() for name in files if not is_litter(name)]
    return sorted(found)


def find(paths: Iterable[str], patterns: Iterable[str], scene: str) -> list[str]:
    """The files of `scene` among `paths`: all matches of the first of `patterns` that has any.

    `{scene}` in a pattern stands for the scene's name. Raises HsisrError if they lie in more than one folder: then the
    scene is there twice.
    """
    paths = list(paths)
    for pattern in patterns:
        concrete = pattern.replace("{scene}", scene)
        wanted = _expression(concrete)
        certain = max(re.split(_SIGNS, concrete), key=len)  # a quick test, as 900 scenes x 900 files are slow
        matches = [path for path in paths if certain in path and wanted.search(path)]
        folders = sorted({PurePosixPath(path).parent.as_posix() for path in matches})
        if len(folders) > 1:
            raise HsisrError(f"scene {scene} is there twice, in {folders[0]} and in {folders[1]}; keep one")
        if matches:
            return matches
    return []


def list_scenes(folder: str | os.PathLike, patterns: Sequence[str]) -> tuple[str, ...]:
    """Names of the scenes below a folder that match one of `patterns`, in natural order.

    Raises HsisrError if the folder is missing or holds no scene.
    """
    root = Path(folder)
    if not root.is_dir():
        raise HsisrError(f"{folder}: no such folder; give the folder that holds the scenes")
    named = {_scene_of(path, pattern) for path in listing(root) for pattern in patterns}
    found = {name for name in named if name is not None}
    if not found:
        raise HsisrError(f"{folder}: holds no scene that looks like {' or '.join(patterns)}")
    return tuple(sorted(found, key=natural_key))


def is_litter(name: str) -> bool:
    """Whether a file or folder name is hidden, a file manager's, hsisr's own, or a partial download."""
    return name.startswith(".") or name.lower() in LITTER or name.endswith(".part")


def _scene_of(path: str, pattern: str) -> str | None:
    """The name of the scene that a file belongs to, or None. A bare `*` as ending matches known endings only."""
    suffix = PurePosixPath(path).suffix.lower()
    if pattern.endswith(".*") and suffix not in CUBE_SUFFIXES:
        return None
    if pattern.endswith("/*") and suffix not in IMAGE_SUFFIXES | {".tif", ".tiff"}:
        return None
    match = _expression(pattern).search(path)
    return match.group("scene") if match and "scene" in match.groupdict() else None


@lru_cache(maxsize=4096)
def _expression(glob: str) -> re.Pattern:
    """A glob as a regular expression for the end of a path. `*` and `?` stay within one file or folder name.

    The first `{scene}` becomes the group `scene`; the others must repeat it.
    """
    signs = {"*": "[^/]*", "?": "[^/]", "{scene}": _SCENE}
    pieces = re.split(f"({_SIGNS}|" + r"\{scene\})", glob)
    regex = "".join(signs.get(piece, piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    first, *others = regex.split(_SCENE)
    regex = first + (_SCENE + "(?P=scene)".join(others) if others else "")
    return re.compile(f"(?:^|/){regex}$")
