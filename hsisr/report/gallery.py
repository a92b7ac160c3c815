"""The pictures of a scene: composites with one contrast, error maps with one colour scale, and angle maps likewise."""

from dataclasses import dataclass

import numpy as np

from hsisr.report.content import SceneView
from hsisr.report.pictures import ColorScale, blacken

#: Colour maps of the error and of the spectral angle.
_ERROR_COLOURS, _ANGLE_COLOURS = "inferno", "viridis"
#: One scale for each colour map, for its colours only.
MAP_SCALES = tuple(ColorScale(name, 1.0) for name in (_ERROR_COLOURS, _ANGLE_COLOURS))

LR_INPUT, GUIDE, REFERENCE = "LR input", "Guide", "Reference"


@dataclass(frozen=True)
class Picture:
    """One picture: (H, W, 3) uint8, its column, its alternative text, and the number below it."""

    column: str
    image: np.ndarray
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Pictures of one kind: composites of LR input, guide, models and reference, or maps of the models."""

    heading: str
    pictures: list[Picture]
    unit: str = ""
    scale: ColorScale | None = None


def rows(scene: SceneView, captions: dict[str, str]) -> list[Row]:
    """Composites, error maps and spectral angle maps of a scene. captions: model -> text below its composite."""
    errors = {model: view.error for model, view in scene.models.items()}
    angles = {model: view.spectral_angle for model, view in scene.models.items()}
    valid = scene.valid
    whole = {name: f"{np.sqrt(np.mean(np.square(values[valid], dtype=float))):.4f}" for name, values in errors.items()}
    mean = {name: f"{values[valid].mean(dtype=float):.2f}\u00b0" for name, values in angles.items()}
    return [
        _composites(scene, captions),
        _maps(scene, "Error (RMSE)", "", _ERROR_COLOURS, errors, whole),
        _maps(scene, "Spectral angle", "\u00b0", _ANGLE_COLOURS, angles, mean),
    ]


def _composites(scene: SceneView, captions: dict[str, str]) -> Row:
    images = {LR_INPUT: scene.lr} | ({} if scene.guide is None else {GUIDE: scene.guide})
    images |= {model: view.composite for model, view in scene.models.items()} | {REFERENCE: scene.reference}
    if scene.guide is not None:  # its channels need not come in the order of red, green and blue
        grey = np.array_equal(scene.guide[..., 0], scene.guide[..., 1])
        captions = captions | {GUIDE: "first band" if grey else "first three bands as red, green, blue"}
    pictures = [
        Picture(column, image, f"Composite of {scene.name}: {column}", captions.get(column, ""))
        for column, image in images.items()
    ]
    return Row("Composite", pictures)


def _maps(
    scene: SceneView, heading: str, unit: str, color_map: str, maps: dict[str, np.ndarray], captions: dict[str, str]
) -> Row:
    scale = ColorScale.over(color_map, list(maps.values()), scene.valid)
    span = f"from 0 to {scale.top:g}{unit}"
    pictures = [
        Picture(
            model, blacken(scale(values), scene.valid), f"{heading} of {model} on {scene.name}, {span}", captions[model]
        )
        for model, values in maps.items()
    ]
    return Row(heading, pictures, unit, scale)
