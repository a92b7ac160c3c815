"""The step that compares the costs of a benchmark's models."""

from functools import partial

from hsisr.evaluation import method, results
from hsisr.evaluation.analysis import runtime
from hsisr.files import stamp
from hsisr.pipeline import pair_files, paths, steps
from hsisr.pipeline.benchmark import Benchmark
from hsisr.system import available_threads, fix_threads


def measure_runtime(benchmark: Benchmark, command: str) -> results.RuntimeScores:
    """Measure the cost of every model, in turns, on the middle of the first test pair; write and return it.

    benchmark: its models are measured. command: the command that makes the file again; it is written into it. Networks
    run with their first seed, and all methods with this process's number of threads. Raises HsisrError for a network
    that is not trained.
    """
    from hsisr.evaluation.environment import environment

    pair = pair_files.read(pair_files.made(benchmark, benchmark.parts["test"][0]))
    pair = runtime.crop(pair, benchmark.scale)
    methods = {name: method.load(benchmark, model, model.seeds[0]) for name, model in benchmark.models.items()}
    fix_threads(available_threads())
    costs = runtime.measure({name: partial(super_resolve, pair) for name, super_resolve in methods.items()})
    timing = {}
    for name, cost in costs.items():
        timing[name] = {"seconds_per_megapixel_band": cost.seconds_per_megapixel_band}
        if cost.peak_memory_mb is not None:
            timing[name]["peak_memory_mb"] = cost.peak_memory_mb
    step = steps.costing(benchmark)
    content = results.RuntimeScores(
        **stamp("runtime", step.identity),
        **results.header(benchmark, command, step.inputs["weights"]),
        flops_per_value={name: cost.flops_per_value for name, cost in costs.items()},
        timing=timing,
        environment=environment(),
    )
    results.write(benchmark.path(paths.RUNTIME), content)
    return content
