"""Super-resolving every scene of a folder with one model."""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hsisr.datasets.readers import innermost
from hsisr.datasets.writers import FORMATS, ending_of, written_files
from hsisr.errors import HsisrError, notice
from hsisr.files import natural_key, read_json, settings_hash, stamp, write_json
from hsisr.inference.scenes import Options, identity_of, super_resolve_file
from hsisr.outputs import check_outputs
from hsisr.screen import say

#: Endings of scene files in a folder. An ENVI scene counts by its header, not also by its data.
_ENDINGS = {".tif", ".tiff", ".hdr", ".mat", ".npy", ".npz", ".h5", ".hdf5", ".nc"}
#: Names of files beside scenes that are not scenes: references of scanners, and quality layers.
_ASIDE = re.compile(
    r"(white|dark)[ _-]?ref|(^|[_-])(ql|qa|udm\d?|scl|fmask)([_-]|$)|quality|pixel_?mask|"
    r"(^|[_-])(cloud|snow|haze|cirrus)[_-]?(mask|prob|prb)?$|(^|[_-])masks?$|quick_?look|thumbnail",
    re.IGNORECASE,
)
#: The hidden record of finished scenes, in the folder of the results.
_FINISHED, _KIND = ".hsisr_finished.json", "finished"
#: Most channels of an image that can be one band of a scene: RGB with opacity.
_MOST_CHANNELS = 4


def is_collection(path: str | os.PathLike) -> bool:
    """Whether a path is a folder of scenes. A folder of numbered images is one scene instead."""
    from hsisr.datasets.readers import band_images, describe, is_product

    path = innermost(Path(path))
    if not path.is_dir() or is_product(path):
        return False
    scenes = _scenes(path)
    if not scenes or not band_images.matches(path, b""):
        return bool(scenes)
    return describe(scenes[0]).get("bands", 1) > _MOST_CHANNELS


def super_resolve_folder(
    lr: str | os.PathLike,
    guide: str | os.PathLike | None,
    model: str | os.PathLike,
    out: str | os.PathLike,
    options: Options | None = None,
    preview: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Super-resolve every scene of a folder to `<out>/<name>.tif`; a single scene to the file `out`. Returns the paths.

    lr: the folder. guide: a folder with a guide of the same name for each scene; or one file, or folder of band images,
    for all. model: as for `super_resolve_file`. options: its options; their `format` chooses another format.
    preview: also write `<name>.png`. overwrite: whether existing results are made again. hsisr leaves out white and
    dark references and quality layers by their names, with a line. A scene that fails does not stop the others. After
    any stop, the same call resumes: it leaves scenes that are finished, with a line, if their images, the model, the
    options and hsisr's code are the same.
    Raises HsisrError at the end, with the names of scenes that failed.
    """
    folder, out, options = innermost(Path(lr)), Path(out), options or Options()
    scenes = _scenes(folder)
    for file in _left_out(folder):
        notice(f"{file.name}: taken for a reference or a quality layer by its name; it is not super-resolved")
    if not scenes:
        raise HsisrError(f"{folder}: holds no scene; expected files that end in {', '.join(sorted(_ENDINGS))}")
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if len(scenes) > 1:
            raise HsisrError(f"{out}: {folder} holds {len(scenes)} scenes; give a folder for their results")
        picture = out.with_suffix(".png") if preview else None
        return [
            super_resolve_file(scenes[0], _guide_of(scenes[0], guide, scenes), model, out, options, picture, overwrite)
        ]
    written, failed = [], []
    for scene in scenes:
        target = out / f"{scene.stem}{ending_of(options.format)}"
        picture = target.with_suffix(".png") if preview else None
        outs = [*written_files(target, options.format), *([] if picture is None else [picture])]
        try:
            check_outputs(outs, scenes, overwrite=True)
            sharp = _guide_of(scene, guide, scenes)
            run = settings_hash(identity_of(scene, sharp, model, options))
            if not overwrite and _is_finished(outs, run):
                say(f"{target}: is finished, from the same images by the same settings; it stays")
                written.append(outs[0])
                continue
            written.append(super_resolve_file(scene, sharp, model, target, options, picture, overwrite))
            _record(outs, run)
        except HsisrError as error:
            print(f"hsisr: error: {error}", file=sys.stderr, flush=True)
            failed.append(scene.name)
    if failed:
        raise HsisrError(f"{folder}: {len(failed)} of {len(scenes)} scenes could not be done: {', '.join(failed)}")
    return written


def _is_finished(outs: Sequence[Path], run: str) -> bool:
    """Whether the record has all these outputs, as made by this run, and nothing has changed them since."""
    known = _recorded(outs[0].parent)
    return all(file.is_file() and known.get(file.name) == _facts(file, run) for file in outs)


def _record(outs: Sequence[Path], run: str) -> None:
    """Add the finished outputs of a scene to the record in their folder. run: the hash of what identifies it."""
    folder = outs[0].parent
    files = _recorded(folder) | {file.name: _facts(file, run) for file in outs}
    write_json(folder / _FINISHED, {**stamp(_KIND), "files": files})


def _recorded(folder: Path) -> dict[str, Any]:
    with suppress(HsisrError, TypeError, ValueError):  # none, or damaged: hsisr then refuses to replace results
        return dict(read_json(folder / _FINISHED, _KIND).get("files", {}))
    return {}


def _facts(file: Path, run: str) -> list[Any]:
    facts = file.stat()
    return [run, facts.st_size, facts.st_mtime_ns]


def _scenes(folder: Path) -> list[Path]:
    return [file for file in _images(folder) if not _ASIDE.search(file.stem)]


def _left_out(folder: Path) -> list[Path]:
    return [file for file in _images(folder) if _ASIDE.search(file.stem)]


def _images(folder: Path) -> list[Path]:
    try:
        found = [file for file in folder.iterdir() if file.suffix.lower() in _ENDINGS and not file.name.startswith(".")]
    except OSError as error:
        raise HsisrError(f"{folder}: cannot be read ({error.strerror})") from error
    return sorted(found, key=lambda file: natural_key(file.name))


def _guide_of(scene: Path, guide: str | os.PathLike | None, scenes: list[Path]) -> Path | None:
    from hsisr.datasets.readers import band_images, is_product

    if guide is None or not Path(guide).is_dir() or is_product(guide):
        return None if guide is None else Path(guide)
    named = {file.stem: file for file in reversed(_images(Path(guide)))}
    # names that end in a number may look like those of bands, but not if scenes have them, also where guides lack
    several = len(scenes) > 1 and any(one.stem in named for one in scenes)
    if not several and band_images.matches(Path(guide), b"") and not is_collection(guide):
        return Path(guide)  # one guide, with a file for each band
    if scene.stem not in named:
        raise HsisrError(f"{guide}: no guide named {scene.stem}, as {scene} needs one; expected {scene.stem}.tif")
    return named[scene.stem]
