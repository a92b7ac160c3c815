"""Steps that compare all models of a benchmark at once: what they cost, and classification of what they made."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from hsisr import datasets
from hsisr.errors import HsisrError
from hsisr.evaluation import method, preview, results
from hsisr.evaluation.analysis import classification, runtime
from hsisr.files import stamp
from hsisr.pipeline import pair_files, paths
from hsisr.pipeline.benchmark import Benchmark
from hsisr.system import available_threads, fix_threads


def measure_runtime(benchmark: Benchmark, command: str) -> results.RuntimeScores:
    """Measure what every model costs, in turns, on the middle of the first test pair; write and return it.

    command: what makes the file again, written into it. Networks run with their first seed, and all with the threads
    that this process was given. Raises HsisrError for a network that is not trained.
    """
    from hsisr.evaluation.environment import environment

    pair = pair_files.read(benchmark.path(paths.PAIR, item=benchmark.parts["test"][0].name))
    pair = runtime.crop(pair, benchmark.scale)
    methods = {name: method.load(benchmark, model, model.seeds[0]) for name, model in benchmark.models.items()}
    fix_threads(available_threads())
    costs = runtime.measure({name: partial(super_resolve, pair) for name, super_resolve in methods.items()})
    timing = {}
    for name, cost in costs.items():
        timing[name] = {"seconds_per_megapixel_band": cost.seconds_per_megapixel_band}
        if cost.peak_memory_mb is not None:
            timing[name]["peak_memory_mb"] = cost.peak_memory_mb
    content = results.RuntimeScores(
        **stamp("runtime", everything(benchmark)),
        **header(benchmark, command),
        flops_per_value={name: cost.flops_per_value for name, cost in costs.items()},
        timing=timing,
        environment=environment(),
    )
    results.write(benchmark.path(paths.RUNTIME), content)
    return content


def classify(benchmark: Benchmark, command: str) -> results.ClassificationScores:
    """Classify the labelled pixels of the test part in the reference and every model's result; write and return it.

    command: as in `measure_runtime`. Models must be evaluated. Raises HsisrError if labels or spectra are missing.
    """
    from hsisr.models import bicubic

    found = [pair_files.read(benchmark.path(paths.PAIR, item=item.name)) for item in benchmark.parts["test"]]
    missing = [pair.name for pair in found if pair.labels is None or pair.hr is None]
    if missing:
        raise HsisrError(
            f"{benchmark.name}: the pair of {missing[0]} holds no labels; convert the scene and pair again"
        )
    places = [classification.labelled(pair.labels, pair.mask) for pair in found]
    pixels = classification.gather([pair.labels for pair in found], places, benchmark.scale)
    kept, dropped = classification.choose_classes(pixels)
    spectra = {
        _REFERENCE: _at([pair.hr for pair in found], places),
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
    content = results.ClassificationScores(
        **stamp("classification", everything(benchmark)),
        **header(benchmark, command),
        setup=setup,
        models={name: accuracies.get(name, {}) for name in benchmark.models},
    )
    results.write(benchmark.path(paths.CLASSIFICATION), content)
    return content


def header(benchmark: Benchmark, command: str) -> dict[str, Any]:
    """What every results file says of its benchmark."""
    return {
        "dataset": benchmark.dataset,
        "scale": benchmark.scale,
        "protocol": benchmark.protocol,
        "convention": benchmark.convention,
        "command": command,
    }


def everything(benchmark: Benchmark) -> Mapping[str, Any]:
    """The settings of all models, which files about all of them are stamped with."""
    return {name: benchmark.settings("evaluate", name) for name in benchmark.models}


#: Images that are classified beside the models' results; no model has such a name.
_REFERENCE, _LR = "_reference", "_lr"


def _at(cubes: list[np.ndarray], places: list[np.ndarray]) -> np.ndarray:
    """(n, B) spectra at the places of every cube."""
    return np.concatenate([cube[:, place[:, 0], place[:, 1]].T for cube, place in zip(cubes, places, strict=True)])


def _spectra(path: str, scenes: list[str]) -> np.ndarray:
    found = preview.read_labelled(path)
    missing = [scene for scene in scenes if scene not in found]
    if missing:
        raise HsisrError(f"{path}: holds no spectra of labelled pixels of {missing[0]}; evaluate again")
    return np.concatenate([found[scene] for scene in scenes])


def _class_names(benchmark: Benchmark):
    """A function from a class number to its name, or to the number where the data set names none."""
    labels = datasets.entry(benchmark.dataset, benchmark.config.datasets).labels
    names = labels.names if labels is not None else ()
    return lambda label: names[label] if label < len(names) else str(label)
