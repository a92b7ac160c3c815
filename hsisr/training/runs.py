"""Training by a configuration: one run for every network and seed, each in its own folder."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsisr import hdf5
from hsisr.config import Config, load
from hsisr.errors import HsisrError
from hsisr.files import settings_hash
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark, Model, resolve
from hsisr.system import fix_threads

if TYPE_CHECKING:
    from torch import nn

    from hsisr.pipeline.patch_files import PatchFile


def train(
    config: Config | str | os.PathLike = "config.yaml",
    benchmark: str | None = None,
    model: str | None = None,
    seed: int | None = None,
    gpus: int | None = None,
) -> list[Path]:
    """Train networks of the configuration. Returns the folders of the runs.

    config: a Config or the path of a config.yaml. benchmark, model, seed: only these; None means all of them. A
    benchmark with folds stands for all its folds.
    gpus: use at most this many of `training.devices`, as a scheduler allows; 0 or None: no limit. It changes results by
    no more than rounding.
    The patch file and the validation pairs must exist (`snakemake` or `hsisr pairs` and `hsisr patches` make them).
    Raises HsisrError for an invalid configuration, an unknown name, missing or damaged files, and a run folder in which
    another process trains.
    """
    config = config if isinstance(config, Config) else load(config)
    folders = []
    for name in [benchmark] if benchmark else config.benchmarks:
        for chosen in resolve(config, name).scored:
            for entry in [chosen.model(model)] if model else chosen.models.values():
                if entry.is_network:
                    entry = _limit(entry, gpus)
                    for number in entry.seeds if seed is None else [seed]:
                        folders.append(train_one(chosen, entry, number))
    if not folders:
        raise HsisrError("nothing to train: the chosen benchmarks hold no network")
    return folders


def train_one(benchmark: Benchmark, model: Model, seed: int) -> Path:
    """Train one network with one seed, or place its given weights. Returns its run folder. Errors as `train`.

    model: one of the benchmark's, or a changed one under its name.

    An interrupted run resumes, if its state has the same identity (`hsisr.pipeline.steps`) and the same data. A
    finished run is trained again.
    """
    import torch

    from hsisr.models import own, registry
    from hsisr.models.base import as_model
    from hsisr.pipeline import pair_files
    from hsisr.pipeline.known_bands import KnownBands
    from hsisr.pipeline.patch_files import PatchFile
    from hsisr.training import fitting, state, summary
    from hsisr.training.imported import place_weights
    from hsisr.training.validation import Validation

    fitting.check_seed(seed)
    training = model.training
    benchmark = replace(benchmark, models={**benchmark.models, model.name: model})
    if model.weights is not None:
        return place_weights(benchmark, model, seed)
    benchmark.check_validation(model.name)
    step = steps.training(benchmark, model.name, seed)
    capped = {"scenes": training.labelled_scenes, "per_epoch": training.patches_per_epoch}
    patches = PatchFile(_made(benchmark, "train"), seed, training.augment, **capped)
    others = {
        name: PatchFile(_made(*made), seed, training.augment)
        for name, made in benchmark.auxiliary_patches(model.name).items()
    }
    fix_threads(training.threads)
    torch.manual_seed(seed)
    network = registry.build(model.base, benchmark.scale, patches.bands, patches.guide_channels, model.options)
    files = [pair_files.made(benchmark, item) for item in benchmark.parts["validation"]]
    convention = benchmark.convention
    validate = None
    if files and convention is not None:
        validate = Validation(files, benchmark.scale, convention, benchmark.peak)
        validate.check(KnownBands("the training patches", patches.bands, patches.wavelengths_nm))
    identity = {**step.identity, "data": step.contents()}
    fields = {"model": model.name, "seed": seed}
    export = _Export(_metadata(benchmark, model, patches) | {"data": settings_hash(identity["data"])}, step.identity)
    pairs = pair_files.training_pairs(benchmark, training.labelled_scenes)
    prepared = as_model(network).prepare_training(pairs, seed)
    samples = patches if prepared is None else prepared
    if registry.entry(model.base).own:
        own.try_out(model.base, network, samples.stack([0]))
    folder = Path(benchmark.path(paths.RUN, **fields))
    outcome = fitting.run(network, samples, folder, training, identity, seed, None, others, validate, export)
    if fitting.is_first_process():
        export(benchmark.path(paths.WEIGHTS, **fields), network)
        summary.write(benchmark.path(paths.TRAINING, **fields), outcome, network, identity)
        state.remove(folder)
    return folder


def _made(benchmark: Benchmark, part: str) -> str:
    """The path of a patch file. Raises HsisrError if it is missing, damaged, or made with other settings."""
    path = benchmark.patch_path(part)
    hdf5.check_settings(path, "patches", steps.cutting(benchmark, part).settings, "patches")
    return path


def _limit(model: Model, gpus: int | None) -> Model:
    if not gpus or model.training.device == "cpu":
        return model
    devices = min(gpus, model.training.devices)
    return replace(model, training=model.training.model_copy(update={"devices": devices}))


@dataclass(frozen=True)
class _Export:
    """Writes a network to a model file. It is called in the process that trains."""

    metadata: dict[str, Any]
    identity: dict[str, Any]

    def __call__(self, path: str | os.PathLike, network: "nn.Module") -> None:
        from hsisr.models.model_files import save_model

        save_model(path, network, self.metadata, self.identity)


def _metadata(benchmark: Benchmark, model: Model, patches: "PatchFile") -> dict[str, Any]:
    """The metadata of a model file about its network, with the images that taught it or chose its weights."""
    training = model.training
    items = benchmark.parts["train"][: training.labelled_scenes]
    if training.objectives.unlabelled is not None:
        items = [*items, *benchmark.parts["unlabelled"]]
    if training.select == "validation" or training.patience_validations is not None:
        items = [*items, *benchmark.parts["validation"]]
    return {
        "base": model.base,
        "options": model.options,
        "scale": benchmark.scale,
        "bands": patches.bands,
        "guide_channels": patches.guide_channels,
        "protocol": benchmark.protocol,
        "wavelengths_nm": None if patches.wavelengths_nm is None else patches.wavelengths_nm.tolist(),
        **({} if patches.reach is None else {"reach": patches.reach}),
        "trained_on": {"dataset": benchmark.dataset, "items": [asdict(item) for item in items]},
    }
