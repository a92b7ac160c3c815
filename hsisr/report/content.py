"""The content of a benchmark's section in the report, read from results, previews and training histories."""

import csv
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsisr.errors import HsisrError
from hsisr.evaluation import preview
from hsisr.evaluation.preview import Preview
from hsisr.evaluation.results import Results, check_current
from hsisr.evaluation.results import read as read_results
from hsisr.missing import shrunk
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark
from hsisr.report.pictures import Stretch, blacken


@dataclass(frozen=True)
class ModelView:
    """One model on one scene.

    composite: (H, W, 3) uint8. error: (H, W) RMSE over bands. spectral_angle: (H, W) degrees. spectra: (n, bands) at
    the scene's points. worst_point: (row, column) of the largest error. worst_spectra: (2, bands), the model's and the
    reference's there. samples: (n, m, bands) on the scene's grid. band_psnr: (bands,) dB.
    """

    composite: np.ndarray
    error: np.ndarray
    spectral_angle: np.ndarray
    spectra: np.ndarray
    worst_point: tuple[int, int]
    worst_spectra: np.ndarray
    samples: np.ndarray
    band_psnr: np.ndarray


@dataclass(frozen=True)
class SceneView:
    """One test scene or region: LR image, reference and every model's result, all stretched like the reference.

    Pictures are black where the scene has no data. valid: (H, W), True where it has.
    lr: (h, w, 3), reference: (H, W, 3) uint8. guide: (H, W, 3) uint8 with its own stretch, or None.
    points: (n, 2) rows and columns. reference_spectra: (n, bands).
    sample_rows (n,), sample_columns (m,): of a grid of pixels. reference_samples: (n, m, bands).
    wavelengths_nm: (bands,), or None if unknown. composite_bands: 0-based numbers of the red, green and blue band.
    """

    name: str
    lr: np.ndarray
    reference: np.ndarray
    valid: np.ndarray
    guide: np.ndarray | None
    points: np.ndarray
    reference_spectra: np.ndarray
    sample_rows: np.ndarray
    sample_columns: np.ndarray
    reference_samples: np.ndarray
    wavelengths_nm: np.ndarray | None
    composite_bands: tuple[int, int, int]
    models: dict[str, ModelView]


@dataclass(frozen=True)
class History:
    """One training run: optimiser steps, mean loss since the last row, validation PSNR in dB; one value a row.

    kept: row of the weights that were kept.
    """

    model: str
    seed: int
    steps: np.ndarray
    loss: np.ndarray
    validation_psnr: np.ndarray
    kept: int


@dataclass(frozen=True)
class Content:
    """The content of one section. missing_histories: paths of missing training histories."""

    benchmark: Benchmark
    results: Results
    scenes: list[SceneView]
    histories: list[History]
    missing_histories: list[str]


def read(benchmark: Benchmark, most_scenes: int) -> Content:
    """Read the content for a benchmark: all scores, and pictures of the first `most_scenes` test scenes.

    Without a reference, there are no pictures.
    Raises HsisrError, with the file and the command that makes it, for results and previews that are missing, damaged,
    or made with other settings. A training history may be missing: the page then says so.
    """
    results = _results(benchmark)
    shown = [] if benchmark.convention is None else results.parts["test"][:most_scenes]
    views: dict[str, dict[str, ModelView]] = {name: {} for name in shown}
    scenes: dict[str, Preview] = {}
    tested_in = {item.name: scored for scored in benchmark.scored for item in scored.parts["test"]}
    for model, scored in itertools.product(results.models, benchmark.scored):
        path = scored.path(paths.PREVIEW, model=model)
        command = f"`hsisr evaluate {scored.name} {model}` makes it"
        previews = preview.read(path)
        for name in (name for name in shown if tested_in[name] is scored):
            if name not in previews:
                raise HsisrError(f"{path}: holds no pictures of {name}; {command}")
            found = previews[name]
            first = scenes.setdefault(name, found)
            if not _same_reference(first, found):
                raise HsisrError(f"{path}: {name} has another reference than its rivals have; {command} again")
            views[name][model] = _model_view(found, f"{path}: {name}", command)
    histories, missing = _histories(benchmark)
    return Content(
        benchmark, results, [_scene_view(name, scenes[name], views[name]) for name in shown], histories, missing
    )


def read_history(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Columns of a run's history.csv: step, loss, validation_psnr. Raises HsisrError for a damaged file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = {key: np.array([float(row[key]) for row in rows]) for key in ("step", "loss", "validation_psnr")}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise HsisrError(f"{path}: damaged training history ({error}); delete it, or train again") from None
    if not rows:
        raise HsisrError(f"{path}: damaged training history (no rows); delete it, or train again")
    return columns


def _results(benchmark: Benchmark) -> Results:
    path = benchmark.path(paths.RESULTS)
    if not Path(path).is_file():
        raise HsisrError(f"{path}: no such results file; `hsisr evaluate {benchmark.name}` makes it")
    results = read_results(path, Results)
    check_current(path, results, steps.merging(benchmark))
    return results


def _same_reference(one: Preview, other: Preview) -> bool:
    return all(
        np.array_equal(getattr(one, key), getattr(other, key))
        for key in (
            *("reference_composite", "reference_spectra", "points", "composite_bands", "valid"),
            *("sample_rows", "sample_columns", "reference_samples"),
        )
    )


def _model_view(found: Preview, where: str, command: str) -> ModelView:
    arrays = (
        *(found.composite, found.error, found.spectral_angle, found.band_psnr),
        *(found.spectra, found.worst_spectra, found.samples, found.reference_samples),
    )
    if not all(np.isfinite(array).all() for array in arrays):
        raise HsisrError(f"{where} holds values that are no numbers; {command} again")
    stretch = Stretch.of(found.reference_composite, found.valid)
    return ModelView(
        composite=blacken(stretch(found.composite), found.valid),
        error=found.error,
        spectral_angle=found.spectral_angle,
        spectra=found.spectra,
        worst_point=(int(found.worst_point[0]), int(found.worst_point[1])),
        worst_spectra=found.worst_spectra,
        samples=found.samples,
        band_psnr=found.band_psnr,
    )


def _scene_view(name: str, found: Preview, models: dict[str, ModelView]) -> SceneView:
    valid, guide = found.valid, found.guide_composite
    stretch = Stretch.of(found.reference_composite, valid)
    numbered = np.array_equal(found.wavelengths_nm, np.arange(1, len(found.wavelengths_nm) + 1))
    red, green, blue = (int(band) for band in found.composite_bands)
    return SceneView(
        name=name,
        lr=blacken(stretch(found.lr_composite), shrunk(valid, found.lr_composite.shape[:2])),
        reference=blacken(stretch(found.reference_composite), valid),
        valid=valid,
        guide=blacken(Stretch.of(guide, valid)(guide), valid) if guide.size else None,
        points=found.points,
        reference_spectra=found.reference_spectra,
        sample_rows=found.sample_rows,
        sample_columns=found.sample_columns,
        reference_samples=found.reference_samples,
        wavelengths_nm=None if numbered else found.wavelengths_nm,
        composite_bands=(red, green, blue),
        models=models,
    )


def _histories(benchmark: Benchmark) -> tuple[list[History], list[str]]:
    histories, missing = [], []
    runs = [
        (fold, model, seed)
        for fold in benchmark.scored
        for model in fold.models.values()
        if model.is_network and model.weights is None
        for seed in model.seeds
    ]
    for fold, model, seed in runs:
        path = fold.trained_on.path(paths.HISTORY, model=model.name, seed=seed)
        if not Path(path).is_file():
            missing.append(path)
            continue
        columns = read_history(path)
        psnr = columns["validation_psnr"]
        kept = int(np.argmax(psnr)) if model.training.select == "validation" else len(psnr) - 1
        histories.append(History(model.name, seed, columns["step"], columns["loss"], psnr, kept))
    return histories, missing
