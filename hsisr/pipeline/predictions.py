"""Files of the section `predict`: those that belong to an image, and those that each scene writes."""

import os
from collections.abc import Mapping
from pathlib import Path

from hsisr.config import Prediction
from hsisr.datasets import picture, writers
from hsisr.datasets.readers.virtual import is_virtual
from hsisr.errors import HsisrError, notice
from hsisr.outputs import check_outputs, files_of
from hsisr.pipeline import paths


def read_with(image: str) -> list[str]:
    """An image, and the files that are read with it: the data of a header, or the bands of a folder.

    They are named as by `name_in_project`.
    """
    own = os.path.abspath(image)
    others = [file for file in files_of(image) if os.path.abspath(file) != own]
    return [name_in_project(image), *map(name_in_project, others)]


def name_in_project(file: str | os.PathLike) -> str:
    """A file's name as the rules give it: from the project's folder on, if it lies there, and without `.` and `//`.

    Snakemake knows a file that a rule makes by this name alone. Paths into archives and web addresses stay as they are.
    """
    path = Path(file)
    if is_virtual(path):
        return str(file)
    for folder in path.parents:
        if folder.is_dir() and folder.samefile("."):
            return str(path.relative_to(folder))
    return str(path)


def check_files(scenes: Mapping[str, Prediction], name: str) -> None:
    """Raise HsisrError for a file beside a scene's result with a wrong ending, or that serves elsewhere.

    scenes: the section `predict`. name: of the scene. The result and the files beside it are replaced without asking.
    So they must not be an image that is read, or a file of another scene.
    """
    scene, where = scenes[name], f"predict.{name}"
    beside = _list_beside(scene)
    try:
        if scene.uncertainty is not None:
            beside += writers.written_files(scene.uncertainty)[1:]
        if scene.preview is not None:
            picture.check_ending(scene.preview)
        check_outputs([paths.PREDICTION.format(scene=name), *beside], [scene.lr, scene.guide], overwrite=True)
    except HsisrError as error:
        raise HsisrError(f"{where}: {error}") from error
    for other in scenes.keys() - {name}:
        images = (file for file in (scenes[other].lr, scenes[other].guide) if file is not None)
        theirs = map(str, (*images, paths.PREDICTION.format(scene=other), *_list_beside(scenes[other])))
        taken = {os.path.abspath(file) for file in theirs}
        for file in beside:  # a result may be the input of another scene
            if os.path.abspath(file) in taken:
                raise HsisrError(f"{where}: {file} is a file of predict.{other} too; give each a name of its own")


def say_lost_files(scenes: Mapping[str, Prediction]) -> None:
    """Say which files beside a finished result are gone: no rule names them, so Snakemake does not see it.

    Their names do not hold that of the scene, as Snakemake asks of the outputs of one rule for all scenes.
    """
    for name, scene in scenes.items():
        result = Path(paths.PREDICTION.format(scene=name))
        beside = [*_list_beside(scene), *([] if scene.maps is None else [Path(scene.maps)])]
        lost = [str(file) for file in beside if result.exists() and not file.exists()]
        if lost:
            notice(
                f"predict.{name}: {', '.join(lost)}: not there; Snakemake makes this again only with the result: if it "
                f"plans no job for {result}, delete that file"
            )


def _list_beside(scene: Prediction) -> list[Path]:
    """The files written beside the result, except for maps and the header of an image."""
    return [Path(file) for file in (scene.uncertainty, scene.preview, scene.report) if file is not None]
