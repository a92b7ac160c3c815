"""Evaluating whole benchmarks: all steps, one after the other."""

import os

from hsisr.config import Config
from hsisr.config import load as load_config
from hsisr.evaluation import results
from hsisr.evaluation.costs import measure_runtime
from hsisr.evaluation.land_cover import classify
from hsisr.evaluation.merging import merge
from hsisr.evaluation.scoring import evaluate_model
from hsisr.pipeline.benchmark import Benchmark, resolve


def evaluate(
    config: Config | str | os.PathLike = "config.yaml", benchmark: str | None = None
) -> dict[str, results.Results]:
    """Score every model of the configuration's benchmarks. Returns benchmark -> results.

    config: a Config or the path of a config.yaml. benchmark: only this one. Writes `results/<benchmark>.json` and the
    folder of this name. Runs must be trained and pairs made. Raises HsisrError for missing or wrong files.
    """
    config = config if isinstance(config, Config) else load_config(config)
    found = {}
    for name in [benchmark] if benchmark else config.benchmarks:
        chosen = resolve(config, name)
        command = f"hsisr evaluate {name}"
        found[name] = evaluate_benchmark(chosen, command)
    return found


def evaluate_benchmark(benchmark: Benchmark, command: str) -> results.Results:
    """Score every model of a benchmark, measure costs, classify labelled pixels, and return all results.

    A cross-validation is scored fold by fold.
    command: the command that makes the files again; it is written into them. Errors as `evaluate`.
    """
    for fold in benchmark.folds:
        evaluate_benchmark(fold, command)
    if benchmark.folds:
        return merge(benchmark, command)
    for model in benchmark.models:
        evaluate_model(benchmark, model, command)
    if benchmark.measures_runtime:
        measure_runtime(benchmark, command)
    if benchmark.classifies:
        classify(benchmark, command)
    return merge(benchmark, command)
