"""The step that scores one model: it super-resolves the test part, and scores it by the protocol's convention."""

import time

import numpy as np

from hsisr.errors import HsisrError
from hsisr.evaluation import preview, results
from hsisr.evaluation.first_seed import FirstSeed
from hsisr.evaluation.full_resolution import score_full
from hsisr.evaluation.method import load
from hsisr.evaluation.run_summary import read as read_summary
from hsisr.evaluation.statistics import mean, std
from hsisr.files import stamp
from hsisr.metrics import json_ready, score
from hsisr.pipeline import pair_files, paths, steps
from hsisr.pipeline.benchmark import Benchmark, Model


def evaluate_model(benchmark: Benchmark, name: str, command: str) -> results.ModelScores:
    """Score one model with all its seeds on the test part. Write its preview file and its scores, and return these.

    benchmark: its pair files, protocol and seeds count. name: of one of its models. command: the command that makes the
    file again; it is written into it. Errors as `evaluate`.
    """
    from hsisr.evaluation.environment import environment

    model = benchmark.model(name)
    step = steps.scoring(benchmark, name)
    items = benchmark.parts["test"]
    methods = {seed: load(benchmark, model, seed) for seed in model.seeds}
    scores: dict[int, dict[str, results.Scores]] = {seed: {} for seed in methods}
    made_with = environment()
    first_seed, seconds = FirstSeed(benchmark, len(items)), 0.0
    for item in items:
        pair = pair_files.read(pair_files.made(benchmark, item))
        for seed, super_resolve in methods.items():
            started = time.perf_counter()
            estimate = super_resolve(pair)
            seconds += time.perf_counter() - started
            scores[seed][item.name] = _scores(benchmark, pair, estimate)
            if pair.hr is not None and seed == model.seeds[0]:
                first_seed.add(pair, pair.hr, estimate)
    chosen, reference = first_seed.bands()
    content = results.ModelScores(
        **stamp("scores", step.identity),
        **results.header(benchmark, command, step.inputs["weights"]),
        model=name,
        result=_summary(benchmark, model, scores, seconds, chosen),
        reference_bands=reference,
        environment=made_with,
    )
    preview.write(benchmark.path(paths.PREVIEW, model=name), first_seed.previews, step.identity, first_seed.labelled)
    results.write(benchmark.path(paths.SCORES, model=name), content)
    return content


def _scores(benchmark: Benchmark, pair: pair_files.PairFile, estimate: np.ndarray) -> results.Scores:
    if benchmark.convention is None:
        return score_full(pair, estimate, benchmark.scale, benchmark.guide_response)
    try:
        return json_ready(score(pair, estimate, benchmark.scale, benchmark.convention, peak=benchmark.peak))
    except HsisrError as error:
        raise HsisrError(f"{benchmark.name}, {pair.name}: {error}") from error


def _summary(
    benchmark: Benchmark, model: Model, scores: dict, seconds: float, bands: dict[str, results.BandChoice]
) -> results.ModelResult:
    per_scene = {scene: mean([scores[seed][scene] for seed in scores]) for scene in scores[model.seeds[0]]}
    trained = model.is_network and model.weights is None
    per_seed = {str(seed): mean(list(scores[seed].values())) for seed in scores} if trained else {}
    runs = []
    if model.is_network:
        runs = [
            read_summary(benchmark.trained_on.path(paths.TRAINING, model=model.name, seed=seed)) for seed in model.seeds
        ]
    timing = {"seconds": seconds / len(scores)}
    if runs and model.weights is None:
        timing["training_seconds"] = sum(run["timing"]["seconds"] for run in runs) / len(runs)
    return results.ModelResult(
        base=model.base,
        options=model.options,
        mean=mean(list(per_scene.values())),
        std=std(list(per_scene.values())),
        scenes=per_scene,
        seeds=per_seed,
        seed_std=std(list(per_seed.values())),
        parameters=runs[0]["parameters"] if runs else 0,
        training_steps=runs[0]["steps"] if runs else 0,
        weights=None if model.weights is None else {"file": runs[0]["source"], "sha256": runs[0]["source_sha256"]},
        timing=timing,
        bands=bands,
    )
