"""Evaluation: the test part super-resolved, scored by the protocol's convention, written as results."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hsisr.config import Config
from hsisr.config import load as load_config
from hsisr.errors import HsisrError
from hsisr.evaluation import preview, results
from hsisr.evaluation.first_seed import FirstSeed
from hsisr.evaluation.full_resolution import score_full
from hsisr.evaluation.method import load
from hsisr.evaluation.steps import classify as classify
from hsisr.evaluation.steps import everything, header
from hsisr.evaluation.steps import measure_runtime as measure_runtime
from hsisr.files import stamp
from hsisr.metrics import json_ready
from hsisr.metrics import score as score
from hsisr.pipeline import pair_files, paths
from hsisr.pipeline.benchmark import Benchmark, Model, resolve


def evaluate(
    config: Config | str | os.PathLike = "config.yaml", benchmark: str | None = None
) -> dict[str, results.Results]:
    """Score every model of the configuration's benchmarks; returns benchmark -> results.

    config: a Config or the path of a config.yaml. benchmark: only this one. Writes results/<benchmark>.json and
    what lies under it. Runs must be trained and pairs made. Raises HsisrError for what is missing or does not fit.
    """
    config = config if isinstance(config, Config) else load_config(config)
    found = {}
    for name in [benchmark] if benchmark else config.benchmarks:
        chosen = resolve(config, name)
        command = f"hsisr evaluate {name}"
        found[name] = evaluate_benchmark(chosen, command)
    return found


def evaluate_benchmark(benchmark: Benchmark, command: str) -> results.Results:
    """Score every model of a benchmark, compare their costs and what can be classified, and gather all of it.

    command: what makes the files again, written into them. Errors as `evaluate`.
    """
    for model in benchmark.models:
        evaluate_model(benchmark, model, command)
    if benchmark.measures_runtime:
        measure_runtime(benchmark, command)
    if benchmark.classifies:
        classify(benchmark, command)
    return merge(benchmark, command)


def evaluate_model(benchmark: Benchmark, name: str, command: str) -> results.ModelScores:
    """Score one model with all its seeds on the test part; write its scores and its preview file.

    command: what makes the file again, written into it. Errors as `evaluate`.
    """
    from hsisr.evaluation.environment import environment

    model = benchmark.model(name)
    settings = benchmark.settings("evaluate", name)
    items = benchmark.parts["test"]
    methods = {seed: load(benchmark, model, seed) for seed in model.seeds}
    scores: dict[int, dict[str, dict[str, float]]] = {seed: {} for seed in methods}
    made_with = environment()  # before the clock runs: it loads torch
    first_seed, seconds = FirstSeed(benchmark, len(items)), 0.0
    for item in items:
        pair = pair_files.read(benchmark.path(paths.PAIR, item=item.name))
        for seed, super_resolve in methods.items():
            started = time.perf_counter()
            estimate = super_resolve(pair)
            seconds += time.perf_counter() - started
            scores[seed][item.name] = _scores(benchmark, pair, estimate)
            if pair.hr is not None and seed == model.seeds[0]:
                first_seed.add(pair, estimate)
    chosen, reference = first_seed.bands()
    content = results.ModelScores(
        **stamp("scores", settings),
        **header(benchmark, command),
        model=name,
        result=_summary(benchmark, model, scores, seconds, chosen),
        reference_bands=reference,
        environment=made_with,
    )
    preview.write(benchmark.path(paths.PREVIEW, model=name), first_seed.previews, settings, first_seed.labelled)
    results.write(benchmark.path(paths.SCORES, model=name), content)
    return content


def merge(benchmark: Benchmark, command: str) -> results.Results:
    """Gather the scores of a benchmark's models into results/<benchmark>.json.

    Raises HsisrError if a model's scores are missing or were made with other settings.
    """
    models, reference_bands, environment = {}, {}, {}
    for name in benchmark.models:
        path = benchmark.path(paths.SCORES, model=name)
        scores = _read(path, results.ModelScores, benchmark.settings("evaluate", name))
        models[name], reference_bands, environment = scores.result, scores.reference_bands, scores.environment
    classified = None
    if benchmark.measures_runtime:
        costs = _read(benchmark.path(paths.RUNTIME), results.RuntimeScores, everything(benchmark))
        for name, model in models.items():
            model.flops_per_value = costs.flops_per_value[name]
            model.timing |= costs.timing[name]
    if benchmark.classifies:
        classified = _read(benchmark.path(paths.CLASSIFICATION), results.ClassificationScores, everything(benchmark))
        for name, model in models.items():
            model.classification = classified.models[name]
    content = results.Results(
        **stamp("results", everything(benchmark)),
        **header(benchmark, command),
        parts={part: [item.name for item in items] for part, items in benchmark.parts.items()},
        response=benchmark.response,
        reference_bands=reference_bands,
        classification=classified.setup if classified else None,
        models=models,
        environment=environment,
    )
    results.write(benchmark.path(paths.RESULTS), content)
    return content


def _read(path: str, kind: type, settings: Any) -> Any:
    """A file of scores, refused if it was made with other settings."""
    found = results.read(path, kind)
    expected = stamp("", settings)["config_hash"]
    if found.config_hash != expected:
        raise HsisrError(f"{path}: made with other settings ({found.config_hash}, now {expected}); evaluate again")
    return found


def _scores(benchmark: Benchmark, pair: pair_files.PairFile, estimate: np.ndarray) -> results.Scores:
    if benchmark.convention is None:
        return score_full(pair, estimate, benchmark.scale, benchmark.guide_response)
    return json_ready(score(pair.hr, estimate, benchmark.scale, benchmark.convention, mask=pair.mask))


def _summary(
    benchmark: Benchmark, model: Model, scores: dict, seconds: float, bands: dict[str, results.BandChoice]
) -> results.ModelResult:
    per_scene = {scene: _mean([scores[seed][scene] for seed in scores]) for scene in scores[model.seeds[0]]}
    trained = model.is_network and model.weights is None
    per_seed = {str(seed): _mean(list(scores[seed].values())) for seed in scores} if trained else {}
    runs = []
    if model.is_network:
        from hsisr.files import read_json

        runs = [
            read_json(benchmark.trained_on.path(paths.TRAINING, model=model.name, seed=seed), "training")
            for seed in model.seeds
        ]
    timing = {"seconds": seconds / len(scores)}
    if runs and model.weights is None:
        timing["training_seconds"] = sum(run["timing"]["seconds"] for run in runs) / len(runs)
    return results.ModelResult(
        base=model.base,
        options=model.options,
        mean=_mean(list(per_scene.values())),
        std=_std(list(per_scene.values())),
        scenes=per_scene,
        seeds=per_seed,
        seed_std=_std(list(per_seed.values())),
        parameters=runs[0]["parameters"] if runs else 0,
        training_steps=runs[0]["steps"] if runs else 0,
        weights=None if model.weights is None else {"file": runs[0]["source"], "sha256": runs[0]["source_sha256"]},
        timing=timing,
        bands=bands,
    )


def _mean(scores: list[results.Scores]) -> results.Scores:
    return _over(np.mean, scores)


def _std(scores: list[results.Scores]) -> results.Scores:
    return _over(np.std, scores)


def _over(statistic: Callable, scores: list[results.Scores]) -> results.Scores:
    """A statistic of each score; none where one of the values is none."""
    columns = {key: [entry[key] for entry in scores] for key in (scores[0] if scores else ())}
    return {key: None if None in values else float(statistic(values)) for key, values in columns.items()}
