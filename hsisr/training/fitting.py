"""Fitting: any network, trained on any samples, resumable at any moment."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsisr.config import Training
from hsisr.errors import HsisrError, notice
from hsisr.system import available_memory, fix_threads

if TYPE_CHECKING:
    from torch import nn

    from hsisr.samples import TrainingSamples
    from hsisr.training.objectives import Iteration


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    steps, epochs: how many it took. kept_step: the step whose weights it kept; validation_psnr: of these weights,
    in dB; None without validation. seconds: of training, over all interruptions.
    """

    steps: int
    epochs: float
    kept_step: int
    validation_psnr: float | None
    seconds: float


def fit(
    model: "nn.Module",
    patches: "TrainingSamples",
    folder: str | os.PathLike,
    training: Training | None = None,
    *,
    seed: int = 0,
    objective: "Iteration | None" = None,
    others: "Mapping[str, TrainingSamples] | None" = None,
    validate: "Callable[[nn.Module], float] | None" = None,
    settings: Any = None,
    export: "Callable[[Path, nn.Module], None] | None" = None,
    options: "Mapping[str, Any] | None" = None,
) -> Outcome:
    """Train your network on your samples, and return the outcome.

    Afterwards the network holds the selected weights, on the training device.

    model: any module that maps lr (N, bands, p, p), and the guide (N, G, sp, sp) where the patches hold one, to
    (N, bands, sp, sp); one with `super_resolve_bands` is trained band by band. Its weights are the start, so a
    finished network is fine-tuned. A module that takes no guide says so with `guide_channels = 0`.
    patches: a `PatchFile`, or other samples that keep `hsisr.samples.TrainingSamples`.
    folder: where model.safetensors, history.csv, training.png and state/ go.
    training: the section `training` of a configuration; None: its defaults.
    objective: what turns a batch into losses; None: as `training` says (`hsisr.training.objectives`).
    others: patches of the objectives `rgb` and `unlabelled`. validate: PSNR in dB of a network, called at every
    validation (`hsisr.training.validation.Validation` scores pair files); None: what the network itself holds out
    (`Model.hold_out`) chooses the weights, or, of one that holds out nothing, the last ones are kept.
    settings: further plain values that identify this run: if they change, training starts anew.
    export: writes a network to a path; called for checkpoints/{best,last}.safetensors at every validation.
    options: arguments of the network's class beside scale, bands and guide_channels, for model.safetensors; None: its
    attributes of the same names.

    `hsisr.super_resolve` and `weights:` of a configuration take model.safetensors. If hsisr cannot build the network
    again from its class and options, a line says so before the training, and there is no file.

    An interrupted run goes on with the same call. A call is the same if all of this is the same: `training`, seed,
    settings, the content of patches and validation, the network's layers, and the code of hsisr, of the network and of
    the objective. If something has changed, a line names it, hsisr sets the state aside, and training starts anew.
    hsisr does not compare the weights that the network comes with. A finished run keeps no state: the same call trains
    again.

    With several devices (`training.devices`) this function starts processes: call it under
    `if __name__ == "__main__":`, with a model and functions that can be pickled.
    Raises HsisrError for arguments that do not fit, if another process trains in the folder, if the loss is no number
    and if the disk is full; and Interrupted, a HsisrError, after SIGINT or SIGTERM: the state is then saved.
    """
    from hsisr.models.model_files import save_model
    from hsisr.training import state

    training, others = training or Training(), dict(others or {})
    _check_types(model, patches, training)
    check_seed(seed)
    _check(training)  # before the data, which the identity reads
    identity, unreadable = identity_of(model, patches, training, seed, objective, others, validate, settings)
    file = Path(folder) / "model.safetensors"
    metadata = _describe(model, patches, options, file)
    outcome = run(model, patches, folder, training, identity, seed, objective, others, validate, export, unreadable)
    if is_first_process():
        if metadata is not None:
            save_model(file, model, metadata, identity)
        state.remove(folder)
    return outcome


def is_first_process() -> bool:
    """Whether this is the process that writes files, of those that torchrun or srun have started."""
    import torch

    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def _describe(
    model: "nn.Module", patches: "TrainingSamples", options: "Mapping[str, Any] | None", file: Path
) -> dict[str, Any] | None:
    """What the model file will say; None, after a line, where the network cannot be built again."""
    from hsisr.models.description import describe

    sample = patches.stack([0])
    if sample.hr is None:
        return None
    try:
        found = describe(model, sample, options)
    except HsisrError as error:
        stale = "; the one that is there is of an earlier run" if file.exists() else ""
        told = f"{error}; fit(..., options={{...}}) says what it was built with"
        notice(f"fit: writes no {file.name}: {told}{stale}")
        return None
    wavelengths = patches.wavelengths_nm
    return found | {
        "protocol": None if patches.rule is None else patches.rule.name,
        "wavelengths_nm": None if wavelengths is None else wavelengths.tolist(),
    }


def run(
    model: "nn.Module",
    patches: "TrainingSamples",
    folder: str | os.PathLike,
    training: Training,
    identity: dict[str, Any],
    seed: int,
    objective: "Iteration | None",
    others: "Mapping[str, TrainingSamples]",
    validate: "Callable[[nn.Module], float] | None",
    export: "Callable[[Path, nn.Module], None] | None",
    unreadable: tuple[str, ...] = (),
) -> Outcome:
    """`fit` for a caller that knows the run's identity; the finished state stays until the caller removes it.

    identity: what makes the run this one, plain values. unreadable: classes whose source it lacks.
    """
    from hsisr.models.base import as_model
    from hsisr.training import devices

    _check(training)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise HsisrError(f"{as_model(model).name}: has no weights to train, or all of them are frozen (requires_grad)")
    held = None
    if validate is None and training.select == "validation":
        held = as_model(model).hold_out(patches)
    if held is not None:
        patches, validate = held
    if training.patience_validations is not None and validate is None and is_first_process():
        notice("training.patience_validations: nothing validates this training, so it does not end early")
    outcome, weights = devices.launch(
        training,
        _fit,
        *(model, patches, Path(folder), training, seed, objective, dict(others), validate, identity, export),
        unreadable,
    )
    model.load_state_dict(weights)
    if held is not None:
        held[1].settle(model)
        if export is not None and is_first_process():  # the best of the checkpoints is of before that
            export(Path(folder) / "checkpoints" / "best.safetensors", model)
    return Outcome(**outcome)


def check_seed(seed: int) -> None:
    """Raise HsisrError for a seed that no generator takes."""
    if seed < 0:
        raise HsisrError(f"seed: expected a whole number >= 0, not {seed}")


def _check_types(model: Any, patches: Any, training: Any) -> None:
    """Raise HsisrError for arguments of `fit` that are easily taken for what it expects."""
    from torch import nn

    if not isinstance(model, nn.Module):
        raise HsisrError(f"fit: model is {model!r:.80}; expected a torch.nn.Module, an object, not its class")
    if isinstance(patches, (str, os.PathLike)):
        raise HsisrError(f"fit: patches is the path {patches}; give hsisr.patches.PatchFile(...) of it")
    if not isinstance(training, Training):
        raise HsisrError(f"fit: training is a {type(training).__name__}; give hsisr.config.Training(...)")


def _check(training: Training) -> None:
    """Raise HsisrError for a section `training` that never ends, or whose batches cannot be shared."""
    if training.epochs is None and training.max_steps is None:
        raise HsisrError("training: epochs or max_steps must say when training ends; both are none")
    processes = training.devices * training.nodes
    if training.batch_size % (processes * training.accumulate):
        raise HsisrError(
            f"training.batch_size: {training.batch_size} cannot be shared equally by {processes} processes in "
            f"{training.accumulate} parts; choose a multiple of {processes * training.accumulate}"
        )


def _check_batch(patches: "TrainingSamples", training: Training) -> None:
    """Tell the user of batches that hold more samples than there are. Raises HsisrError for one beyond the memory."""
    size = training.batch_size
    sample = patches.stack([0])
    needed = size // training.nodes * sum(x.nbytes for x in (sample.lr, sample.guide, sample.hr) if x is not None)
    free = available_memory()
    if needed > free:
        raise HsisrError(
            f"training.batch_size: {size} samples of {patches.label} take {needed / 2**30:.1f} GiB on this machine, "
            f"which has {free / 2**30:.1f} GiB left; choose at most {int(size * free / needed / 2)}"
        )
    if size > len(patches):
        print(
            f"training: batch_size {size} is more than the {len(patches)} samples in an epoch of {patches.label}; a "
            "batch holds some of them several times",
            file=sys.stderr,
            flush=True,
        )


def identity_of(
    model: "nn.Module",
    patches: "TrainingSamples",
    training: Training,
    seed: int,
    objective: "Iteration | None" = None,
    others: "Mapping[str, TrainingSamples] | None" = None,
    validate: "Callable[[nn.Module], float] | None" = None,
    settings: Any = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What makes a run this one, and the names of classes whose source cannot be read. Arguments as for `fit`."""
    from hsisr.pipeline.steps import WITHOUT_EFFECT
    from hsisr.sources import PACKAGE
    from hsisr.training.own_code import architecture, code_of, settings_of
    from hsisr.training.validation import Validation

    code = code_of(model, objective, validate)
    training_code = PACKAGE.hashes(PACKAGE.closure(["hsisr.training.fitting"]))
    data = {name: samples.identity() for name, samples in {"patches": patches, **(others or {})}.items()}
    if isinstance(validate, Validation):
        data["validation"] = validate.identity()
    identity = {
        "settings": {
            "training": training.model_dump(exclude=WITHOUT_EFFECT),
            "seed": seed,
            "objective": settings_of(objective),
            "settings": settings,
        },
        "network": architecture(model),
        "code": training_code | code.hashes,
        "data": data,
    }
    return identity, code.unreadable


def _fit(
    fabric: Any,
    model: "nn.Module",
    patches: "TrainingSamples",
    folder: Path,
    training: Training,
    seed: int,
    objective: "Iteration | None",
    others: dict,
    validate: Any,
    identity: dict[str, Any],
    export: Any,
    unreadable: tuple[str, ...],
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
    threads = fix_threads(training.threads, training.devices)
    workers = devices.workers(training, threads, fabric.device)
    torch.manual_seed(seed)
    if fabric.is_global_zero:
        _check_batch(patches, training)
    model.to(fabric.device)
    iteration = objective or objectives.build(training, seed, model, patches, others)
    iteration.feed_with(workers, share)
    lock = run_lock(folder) if fabric.is_global_zero else contextlib.nullcontext()
    with lock, devices.equal_runs(fabric.device):
        run = Run(
            fabric=fabric,
            folder=folder,
            model=model,
            patches=patches,
            feed=Feed(patches, training.batch_size, workers, share),
            objective=iteration,
            training=training,
            identity=identity,
            unreadable=unreadable,
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
