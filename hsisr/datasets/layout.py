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
#: The same with any signs, to find files whose names alone keep them from being scenes.
_ANY_NAME = r"(?P<scene>[^/]+?)"


def listing(root: str | os.PathLike) -> list[str]:
    """Relative POSIX paths of all files below `root`, sorted, without hidden files, litter and partial downloads.

    Links to folders are followed; of a folder that is there twice by links, once.
    """
    root = Path(root)
    found, seen = [], {os.path.realpath(root)}
    for folder, folders, files in os.walk(root, followlinks=True):
        places = {name: os.path.realpath(Path(folder) / name) for name in sorted(folders) if not is_litter(name)}
        folders[:] = [name for name, place in places.items() if place not in seen]
        seen.update(places.values())
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
            raise HsisrError(
                f"scene {scene} is there twice, in {folders[0]} and in {folders[1]}; keep one, or give a closer "
                "`layout`"
            )
        if matches:
            return matches
    return []


def find_parts(paths: Iterable[str], layouts: Sequence[Iterable[str]], scene: str) -> list[list[str]]:
    """The files of a scene's cube, and of its guide and labels, as far as there are `layouts` of them; see `find`.

    Guide and labels may match the layout of the cube too, but are no bands of it.
    """
    paths = list(paths)
    others = [find(paths, layout, scene) for layout in layouts[1:]]
    taken = {path for other in others for path in other}
    free = find([path for path in paths if path not in taken], layouts[0], scene)
    return [free or find(paths, layouts[0], scene), *others]  # a guide may be another variable of the cube's own file


def list_scenes(
    folder: str | os.PathLike, patterns: Sequence[str], others: Sequence[str] = (), guessed: bool = False
) -> tuple[str, ...]:
    """Names of the scenes below a folder that match one of `patterns`, in natural order.

    others: patterns of what belongs to scenes, their guides and labels; such a file is no scene. guessed: the user has
    not said what is a scene; then a file that may belong to a scene, as its name is that of the scene and a word, is an
    error. Else it might train or test as a scene.
    Raises HsisrError if the folder is missing or holds no scene, if it holds files that only their names keep from
    being scenes, and if a file may be a scene or a band of one.
    """
    root = Path(folder)
    if not root.is_dir():
        raise HsisrError(f"{folder}: no such folder; give the folder that holds the scenes")
    paths = listing(root)
    scenes = {path: [name for pattern in patterns if (name := _scene_of(path, pattern))] for path in paths}
    scenes = {path: names for path, names in scenes.items() if not _belongs_to_another(path, others, names)}
    odd = [path for path in scenes if not scenes[path] and any(_scene_of(path, glob, _ANY_NAME) for glob in patterns)]
    if odd:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise HsisrError(
            f"{folder}: {odd[0]!r}{more} would be left out: the name of a scene begins with a letter or digit of "
            "ASCII, and has only those, _ and -; rename it, or name the scenes to use by `scenes` of the data set"
        )
    for path, several in scenes.items():
        if len(set(several)) > 1:
            inside, suffix = PurePosixPath(path).parent, PurePosixPath(path).suffix
            raise HsisrError(
                f"{folder}: {path} may be the scene {several[0]}, or a band of the scene {several[1]}; say which by "
                f"`layout` of the data set, such as '{inside}/{{scene}}{suffix}' or '{{scene}}/*'"
            )
    found = {name for names in scenes.values() for name in names}
    if not found:
        there = f"; it holds {', '.join(paths[:3])}{', ...' if paths[3:] else ''}" if paths else ", as it is empty"
        raise HsisrError(
            f"{folder}: holds no scene that looks like {' or '.join(patterns)}{there}; `layout` of the data set says "
            "where scenes lie"
        )
    for path, names in scenes.items() if guessed else ():
        for name in names:
            owners = (name[: sign.start()] for sign in re.finditer("[_-](?=[A-Za-z])", name))
            if owner := next((one for one in owners if one in found), None):
                pattern = path.replace(name, "{scene}" + name.removeprefix(owner))
                raise HsisrError(
                    f"{folder}: {path} may be a scene, or belong to the scene {owner}, as its guide, labels or "
                    f"reference; say which in the data set: `guide: {{layout: '{pattern}'}}` (or `labels`), `scenes`, "
                    f"the names of those to use, or `layout: '{patterns[0]}'` if every file is a scene"
                )
    return tuple(sorted(found, key=natural_key))


def _belongs_to_another(path: str, patterns: Iterable[str], names: Sequence[str]) -> bool:
    """Whether a file is the guide or the labels of another scene than the one of its own name, the first of `names`."""
    matches = [match for pattern in patterns if (match := _expression(pattern).search(path))]
    return any(match.groupdict().get("scene") not in names[:1] for match in matches)


def is_litter(name: str) -> bool:
    """Whether a file or folder name is hidden, a file manager's, hsisr's own, or a partial download."""
    return name.startswith(".") or name.lower() in LITTER or name.endswith(".part")


def _scene_of(path: str, pattern: str, name: str = _SCENE) -> str | None:
    """The name of the scene that a file belongs to, or None. A bare `*` as ending matches known endings only.

    name: regular expression of the names that count.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if pattern.endswith(".*") and suffix not in CUBE_SUFFIXES:
        return None
    if pattern.endswith("/*") and suffix not in IMAGE_SUFFIXES | {".tif", ".tiff"}:
        return None
    match = _expression(pattern, name).search(path)
    return match.group("scene") if match and "scene" in match.groupdict() else None


@lru_cache(maxsize=4096)
def _expression(glob: str, name: str = _SCENE) -> re.Pattern:
    """A glob as a regular expression for the end of a path. `*` and `?` stay within one file or folder name.

    The first `{scene}` becomes the group `scene`; the others must repeat it. name: regular expression of names.
    """
    signs = {"*": "[^/]*", "?": "[^/]", "{scene}": name}
    pieces = re.split(f"({_SIGNS}|" + r"\{scene\})", glob)
    regex = "".join(signs.get(piece, piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    first, *others = regex.split(name)
    regex = first + (name + "(?P=scene)".join(others) if others else "")
    return re.compile(f"(?:^|/){regex}$")
