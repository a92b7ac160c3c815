"""Files of the section `predict`: those that belong to an image, and those that each scene writes."""

import os
from collections.abc import Mapping
from pathlib import Path

from hsisr.config import Prediction
from hsisr.datasets import picture, writers
from hsisr.errors import HsisrError
from hsisr.outputs import check_outputs, files_of
from hsisr.pipeline import paths


def read_with(image: str) -> list[str]:
    """An image, and the files that are read with it: the data of a header, or the bands of a folder."""
    own = os.path.abspath(image)
    return [image, *(str(file) for file in files_of(image) if os.path.abspath(file) != own)]


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


def _list_beside(scene: Prediction) -> list[Path]:
    """The files written beside the result, except for maps and the header of an image."""
    return [Path(file) for file in (scene.uncertainty, scene.preview, scene.report) if file is not None]
