"""Training: from a patch file to finished weights, resumable at any moment.

`train` and `train_one` train what a configuration describes; `fit` trains any network on a patch file:

    patches = PatchFile("data/patches/cave_x8/train.h5")
    outcome = fit(network, patches, "runs/mine", Training(epochs=None, max_steps=1000))

Afterwards `network` holds the weights; the same call, after any interruption, goes on where it was.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsisr.config import Config, Training, load
from hsisr.errors import HsisrError
from hsisr.files import stamp, write_json
from hsisr.pipeline import paths
from hsisr.pipeline.benchmark import Benchmark, Model, resolve

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hsisr.pipeline.patch_files import PatchFile
    from hsisr.training.objectives import Iteration


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    steps, epochs: taken. kept_step: the step whose weights are kept; validation_psnr: theirs in dB, None without
    validation. seconds: of training, over all interruptions.
    """

    steps: int
    epochs: float
    kept_step: int
    validation_psnr: float | None
    seconds: float


def train(
    config: Config | str | os.PathLike = "config.yaml",
    benchmark: str | None = None,
    model: str | None = None,
    seed: int | None = None,
    gpus: int | None = None,
) -> list[Path]:
    """Train networks of the configuration; returns the folders of the runs.

    config: a Config or the path of a config.yaml. benchmark, model, seed: only these; None means all of them.
    gpus: at most so many of `training.devices`, as a scheduler gave them; 0 or None: no limit. No result depends on it
    but for rounding.
    The patch file and the validation pairs must exist (`snakemake` or `hsisr pairs` and `hsisr patches` make them).
    Raises HsisrError for a configuration or a name that cannot be, for missing or damaged files, and for a run
    folder that another process trains in.
    """
    config = config if isinstance(config, Config) else load(config)
    folders = []
    for name in [benchmark] if benchmark else config.benchmarks:
        chosen = resolve(config, name)
        for entry in [chosen.model(model)] if model else chosen.models.values():
            if entry.is_network:
                entry = _limited(entry, gpus)
                for number in entry.seeds if seed is None else [seed]:
                    folders.append(train_one(chosen, entry, number))
    if not folders:
        raise HsisrError("nothing to train: the chosen benchmarks hold no network")
    return folders


def train_one(benchmark: Benchmark, model: Model, seed: int) -> Path:
    """Train one network with one seed, or place the weights it comes with; returns its folder. Errors as `train`."""
    import torch

    from hsisr.models import registry
    from hsisr.pipeline.pair_files import training_pairs
    from hsisr.pipeline.patch_files import PatchFile
    from hsisr.training.imported import place_weights
    from hsisr.training.validation import Validation

    if model.weights is not None:
        return place_weights(benchmark, model, seed)
    training = model.training
    benchmark.check_validation(model.name)
    capped = {"scenes": training.labelled_scenes, "per_epoch": training.patches_per_epoch}
    patches = PatchFile(benchmark.path(paths.PATCHES), seed, training.augment, **capped)
    others = {
        name: PatchFile(path, seed, training.augment) for name, path in benchmark.auxiliary_patches(model.name).items()
    }
    fix_threads(training.threads)
    torch.manual_seed(seed)
    network = registry.build(model.base, benchmark.scale, patches.bands, patches.guide_channels, model.options)
    files = [benchmark.path(paths.PAIR, item=item.name) for item in benchmark.parts["validation"]]
    fields = {"model": model.name, "seed": seed}
    settings = benchmark.settings("train", model.name, seed)
    export = _Export(_metadata(benchmark, model, patches), settings)
    if hasattr(network, "training_patches"):  # it learns from whole scenes, which it prepares itself
        patches = network.training_patches(training_pairs(benchmark), seed)
    folder = Path(benchmark.path(paths.RUN, **fields))
    outcome = fit(
        network,
        patches,
        folder,
        training,
        seed=seed,
        others=others,
        validate=Validation(files, benchmark.scale, benchmark.convention) if files else None,
        settings=settings,
        export=export,
    )
    if is_first_process():
        export(benchmark.path(paths.WEIGHTS, **fields), network)
        _write_summary(benchmark.path(paths.TRAINING, **fields), outcome, network, settings)
    return folder


def fit(
    model: "nn.Module",
    patches: "PatchFile",
    folder: str | os.PathLike,
    training: Training | None = None,
    *,
    seed: int = 0,
    objective: "Iteration | None" = None,
    others: "Mapping[str, PatchFile] | None" = None,
    validate: "Callable[[nn.Module], float] | None" = None,
    settings: Any = None,
    export: "Callable[[Path, nn.Module], None] | None" = None,
) -> Outcome:
    """Train a given network on a given patch file; afterwards it holds the selected weights, on the training device.

    model: any module that maps lr (N, bands, p, p), and the guide (N, G, sp, sp) where the patches hold one, to
    (N, bands, sp, sp); one with `super_resolve_bands` is trained band by band. Its weights are the start, so a
    finished network is fine-tuned. A module that takes no guide says so with `guide_channels = 0`.
    folder: where history.csv, training.png and state/ go; a state there of the same settings is resumed.
    training: the section `training` of a configuration; None: its defaults.
    objective: what is done with a batch; None: what `training` says (`hsisr.training.objectives`).
    others: patches of the objectives `rgb` and `unlabelled`. validate: PSNR in dB of a network, called at every
    validation (`hsisr.training.validation.Validation` scores pair files); None: the last weights are kept.
    settings: what, beside `training`, makes this run another one than its folder's last; plain values.
    export: writes a network to a path; called for checkpoints/{best,last}.safetensors at every validation.

    With several devices (`training.devices`) this function starts processes: call it under
    `if __name__ == "__main__":`, with a model and functions that can be pickled.
    Raises HsisrError for what cannot be, if another process trains in the folder, if the loss is no number and if the
    disk is full; Interrupted, which is one, after SIGINT or SIGTERM, with the state saved.
    """
    from hsisr.training import devices

    training = training or Training()
    if training.epochs is None and training.max_steps is None:
        raise HsisrError("training: epochs or max_steps must say when training ends; both are none")
    if settings is None:
        settings = {"training": training.model_dump(), "seed": seed, "patches": str(patches.path)}
    processes = training.devices * training.nodes
    if training.batch_size % (processes * training.accumulate):
        raise HsisrError(
            f"training.batch_size: {training.batch_size} cannot be shared equally by {processes} processes in "
            f"{training.accumulate} parts; choose a multiple of {processes * training.accumulate}"
        )
    outcome, weights = devices.launch(
        training,
        _fit,
        *(model, patches, Path(folder), training, seed, objective, dict(others or {}), validate, settings, export),
    )
    model.load_state_dict(weights)
    return Outcome(**outcome)


def choose_device(name: str) -> "torch.device":
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:<index>`.

    `auto` takes a free GPU where there is one, else the CPU. Raises HsisrError if a GPU is asked for and there is none.
    """
    from hsisr.training import devices

    return devices.choose_device(name)


def fix_threads(threads: int | None) -> None:
    """Use this many CPU threads; None: what Snakemake gave the job, else torch's own choice."""
    from hsisr.training import devices

    devices.fix_threads(threads)


def is_first_process() -> bool:
    """Whether this is the process that writes files, of those that torchrun or srun have started."""
    import torch

    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def _limited(model: Model, gpus: int | None) -> Model:
    if not gpus or model.training.device == "cpu":
        return model
    devices = min(gpus, model.training.devices)
    return replace(model, training=model.training.model_copy(update={"devices": devices}))


def _fit(
    fabric: Any,
    model: "nn.Module",
    patches: "PatchFile",
    folder: Path,
    training: Training,
    seed: int,
    objective: "Iteration | None",
    others: dict,
    validate: Any,
    settings: Any,
    export: Any,
) -> tuple[dict, dict]:
    """`fit` in one of its processes: the fields of the outcome, and the weights, since the caller's model may live in
    another process."""
    import contextlib

    import torch

    from hsisr.locks import run_lock
    from hsisr.training import devices, objectives
    from hsisr.training.engine import Run
    from hsisr.training.feeding import Feed, Share

    share = Share(fabric.global_rank, fabric.world_size)
    threads = devices.fix_threads(training.threads, training.devices)
    workers = training.workers
    if workers is None:  # on a CPU they would only take threads from the network
        workers = max(0, threads - 1) if fabric.device.type == "cuda" else 0
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # equal runs on a GPU
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    model.to(fabric.device)
    iteration = objective or objectives.build(training, seed, model, patches, others)
    iteration.feed_with(workers, share)
    with run_lock(folder) if fabric.is_global_zero else contextlib.nullcontext():
        run = Run(
            fabric=fabric,
            folder=folder,
            model=model,
            patches=patches,
            feed=Feed(patches, training.batch_size, workers, share),
            objective=iteration,
            training=training,
            settings=settings,
            validate=validate,
            export=export,
        )
        run.train()
    validated = training.select == "validation" and validate is not None
    outcome = {
        "steps": run.step,
        "epochs": run.epoch,
        "kept_step": run.best_step if validated else run.step,
        "validation_psnr": run.best_psnr if validated else run.history.rows[-1][3],
        "seconds": run.seconds,
    }
    return outcome, model.state_dict()


@dataclass(frozen=True)
class _Export:
    """Writes a network to a model file; called in whatever process trains."""

    metadata: dict[str, Any]
    settings: dict[str, Any]

    def __call__(self, path: str | os.PathLike, network: "nn.Module") -> None:
        from hsisr.inference import save_model

        save_model(path, network, self.metadata, self.settings)


def _metadata(benchmark: Benchmark, model: Model, patches: "PatchFile") -> dict[str, Any]:
    """What a model file says of its network."""
    return {
        "base": model.base,
        "options": model.options,
        "scale": benchmark.scale,
        "bands": patches.bands,
        "guide_channels": patches.guide_channels,
        "protocol": benchmark.protocol,
        "wavelengths_nm": None if patches.wavelengths_nm is None else patches.wavelengths_nm.tolist(),
    }


def _write_summary(path: str, outcome: Outcome, network: "nn.Module", settings: dict) -> None:
    summary = {
        **stamp("training", settings),
        "settings": settings,
        "steps": outcome.steps,
        "epochs": outcome.epochs,
        "kept_step": outcome.kept_step,
        "validation_psnr": outcome.validation_psnr,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "timing": {"seconds": outcome.seconds, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
    }
    write_json(path, summary)
