"""Every scene of a folder, super-resolved with one model."""

import os
from pathlib import Path

from hsisr.errors import HsisrError
from hsisr.files import natural_key
from hsisr.inference.scenes import Options, say, super_resolve_file

#: Endings of the files in a folder that are scenes; an ENVI scene is its header, and not its data as well.
_ENDINGS = {".tif", ".tiff", ".hdr", ".mat", ".npy", ".npz", ".h5", ".hdf5"}
#: Channels of an image that may be one band of a scene: RGB with an opacity.
_MOST_CHANNELS = 4


def is_collection(path: str | os.PathLike) -> bool:
    """Whether a path is a folder of scenes, rather than a scene whose bands are numbered images in a folder."""
    from hsisr.datasets.readers import band_images, describe

    scenes = _scenes(path) if Path(path).is_dir() else []
    if not scenes or not band_images.matches(Path(path), b""):
        return bool(scenes)
    return describe(scenes[0]).get("bands", 1) > _MOST_CHANNELS


def super_resolve_folder(
    lr: str | os.PathLike,
    guide: str | os.PathLike | None,
    model: str | os.PathLike,
    out: str | os.PathLike,
    options: Options | None = None,
    preview: bool = False,
) -> list[Path]:
    """Super-resolve every scene of a folder to <out>/<name>.tif; returns the paths.

    guide: a folder with a guide of the same name for each, or one file for all. Options.format chooses another format.
    preview: also <name>.png. A scene that cannot be done does not stop the others.
    Raises HsisrError, at the end, naming those that failed.
    """
    folder, out, options = Path(lr), Path(out), options or Options()
    scenes = _scenes(folder)
    ending = {"envi": ".hdr", "matlab5": ".mat", "matlab7.3": ".mat", "npy": ".npy", "scene": ".h5"}
    suffix = ending.get(options.format or "", ".tif")
    written, failed = [], []
    for scene in scenes:
        target = out / f"{scene.stem}{suffix}"
        picture = target.with_suffix(".png") if preview else None
        try:
            sharp = _guide_of(scene, guide)
            written.append(super_resolve_file(scene, sharp, model, target, options, picture))
        except HsisrError as error:
            say(f"hsisr: error: {error}")
            failed.append(scene.name)
    if failed:
        raise HsisrError(f"{folder}: {len(failed)} of {len(scenes)} scenes could not be done: {', '.join(failed)}")
    return written


def _scenes(folder: str | os.PathLike) -> list[Path]:
    found = [file for file in Path(folder).iterdir() if file.suffix.lower() in _ENDINGS]
    return sorted(found, key=lambda file: natural_key(file.name))


def _guide_of(scene: Path, guide: str | os.PathLike | None) -> Path | None:
    if guide is None or not Path(guide).is_dir():
        return None if guide is None else Path(guide)
    same = [
        file for file in sorted(Path(guide).iterdir()) if file.stem == scene.stem and file.suffix.lower() in _ENDINGS
    ]
    if not same:
        raise HsisrError(f"{guide}: no guide named {scene.stem}, as {scene} needs one; expected {scene.stem}.tif")
    return same[0]
