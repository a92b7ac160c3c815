"""Evaluation: the test part super-resolved, scored by the protocol's convention, written as results."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hsisr import pairs, paths
from hsisr.benchmark import Benchmark, Model, resolve
from hsisr.config import Config, load
from hsisr.errors import HsisrError
from hsisr.evaluation import preview, results
from hsisr.evaluation.full_resolution import score_full
from hsisr.files import stamp
from hsisr.metrics import json_ready
from hsisr.metrics import score as score


def evaluate(
    config: Config | str | os.PathLike = "config.yaml", benchmark: str | None = None
) -> dict[str, results.Results]:
    """Score every model of the configuration's benchmarks; returns benchmark -> results.

    config: a Config or the path of a config.yaml. benchmark: only this one. Writes results/<benchmark>.json and
    what lies under it. Runs must be trained and pairs made. Raises HsisrError for what is missing or does not fit.
    """
    config = config if isinstance(config, Config) else load(config)
    found = {}
    for name in [benchmark] if benchmark else config.benchmarks:
        chosen = resolve(config, name)
        command = f"hsisr evaluate {name}"
        for model in chosen.models:
            evaluate_model(chosen, model, command)
        found[name] = merge(chosen, command)
    return found


def evaluate_model(benchmark: Benchmark, name: str, command: str) -> results.ModelScores:
    """Score one model with all its seeds on the test part; write its scores and its preview file.

    command: what makes the file again, written into it. Errors as `evaluate`.
    """
    from hsisr.evaluation.environment import environment

    model = benchmark.model(name)
    settings = benchmark.settings("evaluate", name)
    methods = {seed: _method(benchmark, model, seed) for seed in model.seeds}
    scores: dict[int, dict[str, dict[str, float]]] = {seed: {} for seed in methods}
    previews, seconds = {}, 0.0
    for number, item in enumerate(benchmark.parts["test"]):
        pair = pairs.read(benchmark.path(paths.PAIR, item=item.name))
        for seed, predict in methods.items():
            started = time.perf_counter()
            estimate = predict(pair)
            seconds += time.perf_counter() - started
            scores[seed][item.name] = _scores(benchmark, pair, estimate)
            if pair.hr is not None and seed == model.seeds[0] and number < benchmark.config.report.scenes:
                previews[item.name] = preview.make(pair.lr, estimate, pair.hr, pair.wavelengths_nm)
    result = _summary(benchmark, model, scores, seconds)
    content = results.ModelScores(
        **stamp("scores", settings), **_header(benchmark, command), model=name, result=result, environment=environment()
    )
    preview.write(benchmark.path(paths.PREVIEW, model=name), previews, settings)
    results.write(benchmark.path(paths.SCORES, model=name), content)
    return content


def merge(benchmark: Benchmark, command: str) -> results.Results:
    """Gather the scores of a benchmark's models into results/<benchmark>.json.

    Raises HsisrError if a model's scores are missing or were made with other settings.
    """
    models, environment = {}, {}
    for name in benchmark.models:
        path = benchmark.path(paths.SCORES, model=name)
        scores = results.read(path, results.ModelScores)
        expected = stamp("scores", benchmark.settings("evaluate", name))["config_hash"]
        if scores.config_hash != expected:
            raise HsisrError(f"{path}: made with other settings ({scores.config_hash}, now {expected}); evaluate again")
        models[name], environment = scores.result, scores.environment
    everything = {name: benchmark.settings("evaluate", name) for name in benchmark.models}
    content = results.Results(
        **stamp("results", everything),
        **_header(benchmark, command),
        parts={part: [item.name for item in items] for part, items in benchmark.parts.items()},
        response=benchmark.response,
        models=models,
        environment=environment,
    )
    results.write(benchmark.path(paths.RESULTS), content)
    return content


def _scores(benchmark: Benchmark, pair: pairs.PairFile, estimate: np.ndarray) -> results.Scores:
    if benchmark.convention is None:
        return score_full(pair, estimate, benchmark.scale, benchmark.guide_response)
    return json_ready(score(pair.hr, estimate, benchmark.scale, benchmark.convention, mask=pair.mask))


def _method(benchmark: Benchmark, model: Model, seed: int) -> Callable[[pairs.PairFile], np.ndarray]:
    """A function that super-resolves a pair file with the model."""
    from hsisr import inference
    from hsisr.models import registry

    if not model.is_network:

        def classical(pair: pairs.PairFile) -> np.ndarray:
            channels = 0 if pair.guide is None else len(pair.guide)
            method = registry.build(model.base, benchmark.scale, len(pair.lr), channels, model.options)
            return inference.predict(method, pair.lr, pair.guide)

        return classical
    from hsisr.training import choose_device, fix_threads

    path = benchmark.trained_on.path(paths.WEIGHTS, model=model.name, seed=seed)
    expected = stamp("model", benchmark.trained_on.settings("train", model.name, seed))["config_hash"]
    found = inference.read_metadata(path)["config_hash"]
    if found != expected:
        raise HsisrError(f"{path}: trained with other settings ({found}, now {expected}); train again")
    fix_threads(model.training.threads)
    network = inference.load_model(path, choose_device(model.training.device))
    return lambda pair: inference.predict(network, pair.lr, pair.guide)


def _summary(benchmark: Benchmark, model: Model, scores: dict, seconds: float) -> results.ModelResult:
    per_scene = {scene: _mean([scores[seed][scene] for seed in scores]) for scene in scores[model.seeds[0]]}
    per_seed = {str(seed): _mean(list(scores[seed].values())) for seed in scores} if model.is_network else {}
    runs = []
    if model.is_network:
        from hsisr.files import read_json

        runs = [
            read_json(benchmark.trained_on.path(paths.TRAINING, model=model.name, seed=seed), "training")
            for seed in model.seeds
        ]
    timing = {"seconds": seconds / len(scores)}
    if runs:
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
        timing=timing,
    )


def _header(benchmark: Benchmark, command: str) -> dict[str, Any]:
    return {
        "dataset": benchmark.dataset,
        "scale": benchmark.scale,
        "protocol": benchmark.protocol,
        "convention": benchmark.convention,
        "command": command,
    }


def _mean(scores: list[results.Scores]) -> results.Scores:
    return _over(np.mean, scores)


def _std(scores: list[results.Scores]) -> results.Scores:
    return _over(np.std, scores)


def _over(statistic: Callable, scores: list[results.Scores]) -> results.Scores:
    """A statistic of each score; none where one of the values is none."""
    columns = {key: [entry[key] for entry in scores] for key in (scores[0] if scores else ())}
    return {key: None if None in values else float(statistic(values)) for key, values in columns.items()}
