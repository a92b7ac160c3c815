"""The step that gathers the scores of a benchmark's models, and the measures beside them."""

from pathlib import Path
from typing import Any

from hsisr.errors import HsisrError
from hsisr.evaluation import results
from hsisr.evaluation.folds import merge_folds
from hsisr.files import stamp
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark


def merge(benchmark: Benchmark, command: str) -> results.Results:
    """Gather the scores of a benchmark's models, or the results of its folds, into `results/<benchmark>.json`.

    command: the command that makes the file again; it is written into it. Returns the results.
    Raises HsisrError if a model's scores are missing, or were made with other settings, code or weights than now.
    """
    if benchmark.folds:
        return merge_folds(benchmark, command)
    models, reference_bands, environment = {}, {}, {}
    scored = {name: steps.scoring(benchmark, name) for name in benchmark.models}
    weights = [file for step in scored.values() for file in step.inputs["weights"]]
    for name, step in scored.items():
        scores = _read(benchmark.path(paths.SCORES, model=name), results.ModelScores, step)
        models[name], reference_bands, environment = scores.result, scores.reference_bands, scores.environment
    classified = None
    if benchmark.measures_runtime:
        costs = _read(benchmark.path(paths.RUNTIME), results.RuntimeScores, steps.costing(benchmark))
        for name, model in models.items():
            model.flops_per_value = costs.flops_per_value[name]
            model.timing |= costs.timing[name]
    if benchmark.classifies:
        path = benchmark.path(paths.CLASSIFICATION)
        classified = _read(path, results.ClassificationScores, steps.classifying(benchmark))
        for name, model in models.items():
            model.classification = classified.models[name]
    step = steps.merging(benchmark)
    content = results.Results(
        **stamp("results", step.identity),
        **results.header(benchmark, command, weights),
        parts={part: [item.name for item in items] for part, items in benchmark.parts.items()},
        response=benchmark.response,
        reference_bands=reference_bands,
        classification=classified.setup if classified else None,
        models=models,
        environment=environment,
    )
    results.write(benchmark.path(paths.RESULTS), content)
    return content


def _read(path: str, kind: type, step: steps.Step) -> Any:
    """A file of scores. It is refused unless its step would make the same file now."""
    if not Path(path).is_file():
        raise HsisrError(f"{path}: no such file of scores; `hsisr {step.name}` makes it")
    found = results.read(path, kind)
    results.check_current(path, found, step)
    return found
