"""The step that gathers the results of a cross-validation: means over its folds, and their spread."""

from collections.abc import Mapping

from hsisr.evaluation import results
from hsisr.evaluation.statistics import mean, std
from hsisr.files import natural_key, stamp
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark


def merge_folds(benchmark: Benchmark, command: str) -> results.Results:
    """Gather the results of a benchmark's folds into results/<benchmark>.json.

    command: the command that makes the file again. Raises HsisrError if a fold's results are missing, or were made with
    other settings, code or weights than the present ones.
    """
    step = steps.merging(benchmark)
    folds: dict[str, results.Results] = {}
    for fold in benchmark.folds:
        path = fold.path(paths.RESULTS)
        found = results.read(path, results.Results)
        results.check_current(path, found, steps.merging(fold))
        folds[str(fold.fold)] = found
    first = folds["1"]
    tested = sorted((name for found in folds.values() for name in found.parts["test"]), key=natural_key)
    content = results.Results(
        **stamp("results", step.identity),
        **results.header(benchmark, command, step.inputs["folds"]),
        parts={"train": [], "validation": [], "test": tested, "unlabelled": first.parts["unlabelled"]},
        response=benchmark.response,
        folds={number: found.parts for number, found in folds.items()},
        models={
            name: over_folds({number: found.models[name] for number, found in folds.items()}, tested)
            for name in benchmark.models
        },
        environment=first.environment,
    )
    results.write(benchmark.path(paths.RESULTS), content)
    return content


def over_folds(folds: Mapping[str, results.ModelResult], order: list[str]) -> results.ModelResult:
    """A model's scores over all folds (number -> its result). Facts of a single run are those of the first fold.

    order: of the scenes.
    """
    found = list(folds.values())
    scenes = {scene: scores for result in found for scene, scores in result.scenes.items()}
    per_fold = {number: result.mean for number, result in folds.items()}
    per_seed = {seed: mean(result.seeds[seed] for result in found) for seed in found[0].seeds}
    timing = dict(found[0].timing)
    timing["seconds"] = sum(result.timing["seconds"] for result in found)
    if "training_seconds" in timing:
        timing["training_seconds"] = sum(result.timing["training_seconds"] for result in found) / len(found)
    return found[0].model_copy(
        update={
            "mean": mean(per_fold.values()),
            "std": std(scenes.values()),
            "scenes": {scene: scenes[scene] for scene in order},
            "seeds": per_seed,
            "seed_std": std(per_seed.values()),
            "folds": per_fold,
            "fold_std": std(per_fold.values()),
            "timing": timing,
            "bands": {},
        }
    )
