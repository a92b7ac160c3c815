"""The resources of a training job for a scheduler: GPUs, memory, time. Without torch, for the workflow's rules."""

from collections.abc import Iterable
from typing import Any

from hsisr.pipeline.benchmark import Benchmark, Model

#: MB of a process with torch and small files, and the most that a patch file adds.
_BASE_MB = 2000

#: Feature maps that MulSR keeps from the forward for the backward pass, in units of its width at HR size. Measured: 58
#: with one block, 116 to 138 with four.
_MAPS_PER_BLOCK = 30

#: Minutes of a job without a budget of its own, and minutes that a job needs beside its budget.
_MINUTES, _MORE_MINUTES = 1440, 30


def gpus(model: Model) -> int:
    """GPUs on each node for a training of this model; 0 for a model without training, or on a CPU."""
    return 0 if not model.is_network or model.training.device == "cpu" else model.training.devices


def scoring_threads(model: Model, workflow: Any) -> int:
    """Threads of a job that scores this model. workflow: Snakemake's.

    A method without training takes one thread, so that several are scored side by side.
    """
    return threads(model, workflow) if model.is_network else 1


def scoring_gpus(models: Iterable[Model]) -> int:
    """GPUs of a job that applies these models: one if one of them may use it."""
    return int(any(gpus(model) for model in models))


def threads(model: Model, workflow: Any) -> int:
    """CPU threads of a job that trains or scores a model. workflow: Snakemake's.

    If jobs share this machine, and the limit on `gpu` lets several run at once, each takes its part of the cores. On a
    cluster, `cores` are those of one job.
    """
    if model.training.threads:
        return max(model.training.threads, model.training.devices)  # each process has at least one
    limit, wanted = workflow.global_resources.get("gpu").value, gpus(model)
    shared = workflow.local_exec and not workflow.remote_exec and limit and wanted
    return max(1, workflow.cores * min(wanted, limit) // limit) if shared else workflow.cores


def memory_mb(benchmark: Benchmark, model: Model, attempt: int = 1) -> int:
    """Memory in MB, by measurements of MulSR's forward and backward pass. It grows with each attempt.

    Batch, patch, scale and width decide: 13 GB with the published values.
    """
    if model.weights is not None:
        return _BASE_MB * attempt
    training, options = model.training, model.options
    images = -(-training.batch_size // training.accumulate) * training.bands_per_step
    pixels = (benchmark.patches.size_lr_px * benchmark.scale) ** 2
    maps = options.get("width", 64) * _MAPS_PER_BLOCK * (1 + options.get("blocks", 4))
    return (_BASE_MB + round(images * pixels * maps * 4 / 2**20)) * attempt


def runtime_minutes(model: Model, attempt: int = 1) -> int:
    """Minutes: the model's budget and a reserve, or a day. A job that a scheduler ends resumes in the next attempt."""
    budget = model.training.max_minutes
    return _MINUTES * attempt if budget is None else round(budget + _MORE_MINUTES) * attempt
