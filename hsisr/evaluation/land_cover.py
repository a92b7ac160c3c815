"""The step that classifies land cover in the reference and in the results of a benchmark's models."""

from collections.abc import Callable

import numpy as np

from hsisr import datasets
from hsisr.errors import HsisrError
from hsisr.evaluation import preview, results
from hsisr.evaluation.analysis import classification
from hsisr.files import stamp
from hsisr.pipeline import pair_files, paths, steps
from hsisr.pipeline.benchmark import Benchmark
from hsisr.system import available_threads


def classify(benchmark: Benchmark, command: str) -> results.ClassificationScores:
    """Classify the labelled pixels of the test part in the reference and every model's result; write and return it.

    benchmark: with the models and the settings of their scores. command: as in `measure_runtime`. Models must be
    evaluated. Raises HsisrError if labels or spectra are missing.
    """
    from hsisr.models import bicubic

    found = [pair_files.read(pair_files.made(benchmark, item)) for item in benchmark.parts["test"]]
    missing = [pair.name for pair in found if pair.labels is None or pair.hr is None]
    if missing:
        raise HsisrError(
            f"{benchmark.name}: the pair of {missing[0]} holds no labels; convert the scene and pair again"
        )
    labels = [pair.labels for pair in found if pair.labels is not None]
    places = [classification.labelled_pixels(chart, pair.mask) for chart, pair in zip(labels, found, strict=True)]
    pixels = classification.gather(labels, places, benchmark.scale)
    kept, dropped = classification.choose_classes(pixels)
    spectra = {
        _REFERENCE: _at([pair.hr for pair in found if pair.hr is not None], places),
        _LR: _at([bicubic(pair.lr, None, scale=benchmark.scale) for pair in found], places),
    }
    for name in benchmark.models:
        spectra[name] = _spectra(benchmark.path(paths.PREVIEW, model=name), [pair.name for pair in found])
    accuracies = classification.classify(spectra, pixels, available_threads()) if len(kept) > 1 else {}
    words = _class_names(benchmark)
    setup = results.Classification(
        classes={words(label): int((pixels.labels == label).sum()) for label in kept},
        dropped={words(label): reason for label, reason in dropped.items()},
        splits=classification.SPLITS,
        block_px=pixels.block_px,
        reference=accuracies.get(_REFERENCE, {}),
        lr=accuracies.get(_LR, {}),
    )
    step = steps.classifying(benchmark)
    content = results.ClassificationScores(
        **stamp("classification", step.identity),
        **results.header(benchmark, command, step.inputs["previews"]),
        setup=setup,
        models={name: accuracies.get(name, {}) for name in benchmark.models},
    )
    results.write(benchmark.path(paths.CLASSIFICATION), content)
    return content


#: Names of the other images that are classified. No model has such a name.
_REFERENCE, _LR = "_reference", "_lr"


def _at(cubes: list[np.ndarray], places: list[np.ndarray]) -> np.ndarray:
    """(n, B) spectra at the given places of every cube."""
    return np.concatenate([cube[:, place[:, 0], place[:, 1]].T for cube, place in zip(cubes, places, strict=True)])


def _spectra(path: str, scenes: list[str]) -> np.ndarray:
    found = preview.read_labelled(path)
    missing = [scene for scene in scenes if scene not in found]
    if missing:
        raise HsisrError(f"{path}: holds no spectra of labelled pixels of {missing[0]}; evaluate again")
    return np.concatenate([found[scene] for scene in scenes])


def _class_names(benchmark: Benchmark) -> Callable[[int], str]:
    """A function from a class number to its name, or to the number if the data set has no names."""
    labels = datasets.entry(benchmark.dataset, benchmark.config.datasets).labels
    names = labels.names if labels is not None else ()
    return lambda label: names[label] if label < len(names) else str(label)
