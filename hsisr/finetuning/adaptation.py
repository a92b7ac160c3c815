"""Adapting a model to one scene, without a sharp reference: the model learns to restore the scene's own LR image.

This follows Wald's protocol (see `hsisr.finetuning.reduced`). A part of the scene is held out of training and
selection. There, the adapted model is compared with bicubic interpolation, GSA and `prior`.
"""

import copy
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hsisr import temporary
from hsisr.config import Training
from hsisr.degrade import Pair
from hsisr.degrade.estimation import estimate_footprint
from hsisr.degrade.sensor import Footprint, sensor_in
from hsisr.devices import choose_device
from hsisr.errors import HsisrError, option
from hsisr.files import file_hash, stamp, write_json
from hsisr.finetuning.quality import Apply, compare
from hsisr.finetuning.reduced import Part, check_scores, parts
from hsisr.inference import run, scenes
from hsisr.inference.feed import Feed
from hsisr.inference.guide import scale_between
from hsisr.inference.scenes import Options
from hsisr.models.apply import Method, open_method, predict
from hsisr.models.base import as_model
from hsisr.models.model_files import read_metadata, save_model
from hsisr.outputs import check_outputs, files_of
from hsisr.pipeline import patch_files
from hsisr.samples import TrainingSamples
from hsisr.screen import say
from hsisr.system import wait_for

#: Part of the scene on which the weights are selected.
_VALIDATION = 0.15
#: Side of a training patch in degraded LR pixels: usual, and smallest for small scenes.
_PATCH_PX, _LEAST_PATCH_PX = 6, 4
#: Smallest side of an image that can be scored: the window of SSIM.
_LEAST_SCORED_PX = 11
#: Most bytes of patches.
_PATCH_BYTES = 512 * 2**20
#: Training speed is measured over this many steps, after one step to start the GPU and build kernels.
_TIMED_STEPS = 6
#: What a model file says of the bands of its scene, and of its guide.
_BANDS, _GUIDE_BANDS = ("wavelengths_nm", "band_numbers"), ("guide_wavelengths_nm", "guide_band_numbers")
#: Validations in a run. There are fewer if they would take more than this part of its time.
_VALIDATIONS, _VALIDATING_PART = 10, 0.25
#: A first validation longer than this is not repeated to measure it without its start.
_LONG_VALIDATION_S = 5.0
#: More steps a minute than any machine makes. With a time limit, the time ends the run.
_MOST_STEPS_A_MINUTE = 10**6
_FRESH_RATE, _ADAPTING_RATE = 4e-3, 1e-3
#: What a model that adapts at once must gain at another scale than the one that it learnt from, and the power of the
#: noise over that of what the model leaves of a scene, up to which it learns. Chosen on random pieces as those of
#: `studies/adaptation.py`, from CAVE's training scenes and sensors' scenes, with other seeds.
_CLEAR_DB, _NOISE_SHARE = 0.3, 0.5


def finetune(
    lr: str | os.PathLike,
    guide: str | os.PathLike | None,
    model: str | os.PathLike,
    out: str | os.PathLike,
    minutes: float = 3.0,
    steps: int | None = None,
    hold_out: float = 0.25,
    seed: int = 0,
    options: Options | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Adapt a model to a scene. Writes `out`/model.safetensors, which `predict` takes, and returns its scores.

    lr, guide, options: as for `super_resolve_file`. model: a run folder or model file to start from, or the name of a
    network, such as mulsr-xs, to start fresh. minutes: of training. steps: number of steps, instead of minutes.
    A model that learns one scene in closed form, such as hybrid, takes no steps. A trained network ends halfway between
    its weights before and after the training.
    hold_out: part of the scene's longer side that training never sees and that gives the scores; 0 for none. seed: for
    fresh weights and for the order of patches. overwrite: whether to replace a finished run in `out`. A stopped run
    resumes.
    Returns the content of `out`/finetune.json: reduced and full scores of the model, bicubic and, with a guide, gsa and
    prior.
    Raises HsisrError for images that do not fit together, and for a scene that is too small.
    """
    import torch

    from hsisr.training import state
    from hsisr.training.fitting import check_seed

    out, options = Path(out), options or Options()
    if not 0 <= hold_out <= 0.5:
        raise HsisrError(f"hold_out {hold_out}: expected a part of the scene from 0 to 0.5")
    check_seed(seed)
    if not minutes > 0 or (steps is not None and steps < 1):
        raise HsisrError("finetune: give a time, or a number of steps, above 0")
    start = scenes.model_file(model)
    settings = {"lr": run.state_of(lr), "guide": run.state_of(guide), "model": str(model), "seed": seed}
    settings["start"] = None if start is None else file_hash(start)[:12]
    planned = {**settings, "minutes": minutes, "hold_out": hold_out, "options": vars(options)}
    outs = [out / "model.safetensors", out / "finetune.json"]
    check_outputs(outs, [lr, guide, start], overwrite or run.is_unfinished(outs[0]))
    with run.work_folder(outs[0], state.path_of(out)) as folder:
        run.check_own(folder, planned, outs, overwrite)
        pace = run.find_plan(folder, planned) or {}
        run.record(folder, planned, pace)
        run.begin_outputs(folder, outs, overwrite)
        torch.manual_seed(seed)
        feed, metadata, fresh = _start(lr, guide, model, options, folder)
        least = max(_LEAST_PATCH_PX, -(-_LEAST_SCORED_PX // feed.method.scale))
        cut = parts(feed, _shares(hold_out), least)
        check_scores(cut, feed.method.scale, feed.lr.label)
        metadata |= {"peak": feed.peak, "guide_peak": feed.guide_peak if feed.guide is not None else None}
        metadata |= {"reach": feed.lr.largest}  # so that `predict` samples in the same way
        if feed.guide is not None:
            metadata |= {"guide_reach": feed.guide.source.largest}
        training = _recipe(feed, fresh, options)
        starts = {"as it was": _weights(feed)} if as_model(feed.method.model).useful_untrained or not fresh else {}
        footprint = cache(partial(_footprint, feed, cut["training"]))
        known = footprint("reduced") if feed.method.takes_sensor else None
        validate = _Validation(cut["validation"], feed.method.scale, feed.method.needs_guide, known)
        if as_model(feed.method.model).adapts_at_once:
            trained = _adapt_at_once(feed, cut["training"], known, seed)
            psnr = validate(feed.method.model)
        else:
            samples = _prepare(feed, cut["training"], seed)
            if samples is None:
                samples = _patches(feed, cut["training"], folder / "patches.h5", training, seed)
            else:
                starts["before its first step"] = _weights(feed)
            if steps is None and not pace:  # keep the pace, as a resumed run must not change it
                pace = _pace(feed, validate, samples, folder, training, minutes, seed)
                run.record(folder, planned, pace)
            outcome = _train(feed, validate, samples, out, training, minutes, steps, seed, settings, pace)
            psnr = outcome.validation_psnr
            if not fresh:
                feed.method.model.load_state_dict(_halfway(starts["as it was"], _weights(feed)))
                psnr = validate(feed.method.model)
            trained = {"patch_px": samples.size_px // feed.method.scale}
            trained |= {"steps": outcome.steps, "seconds": round(outcome.seconds, 1)}
        validation_psnr = _keep_best(feed, validate, starts, psnr)
        save_model(out / "model.safetensors", feed.method.model, metadata, settings)
        summary = {
            **stamp("finetune", settings),
            "base": metadata["base"],
            "scale": metadata["scale"],
            **trained,
            "validation_psnr": validation_psnr,
        }
        if hold_out:
            summary |= compare(cut["test"], cut["training"], feed.method.scale, _methods(feed, footprint))
            _say_if_beaten(feed, summary["reduced"])
        write_json(out / "finetune.json", summary)
        state.remove(out)
    return summary


def table(summary: Mapping[str, Any]) -> str:
    """The scores of a `finetune` summary as text: one line for each method, best PSNR first."""
    lines = []
    for kind, title in (("reduced", "held-out part, reduced resolution"), ("full", "held-out part, full resolution")):
        rows = summary.get(kind, {})
        if not rows:
            continue
        columns = list(next(iter(rows.values())))
        order = sorted(rows, key=lambda name: -rows[name]["psnr"]) if kind == "reduced" else list(rows)
        lines.append(f"{title:34}" + "".join(f"{column:>19}" for column in columns))
        for name in order:
            values = "".join(f"{rows[name][column]:19.4f}" if column in rows[name] else " " * 19 for column in columns)
            lines.append(f"  {name:32}{values}")
    return "\n".join(lines)


def _start(lr: Any, guide: Any, model: Any, options: Options, folder: Path) -> tuple[Feed, dict[str, Any], bool]:
    """The images with the network to adapt, the metadata of its file, and whether the network is fresh."""
    from hsisr.models import registry

    scenes.check_comparable(options, "finetune")
    low, sharp = scenes.open_images(lr, guide, options)
    channels = 0 if sharp is None else sharp.shape[0]
    scale, fresh = options.scale, not Path(model).exists()
    if not fresh:
        method = open_method(model, scale, channels)
        metadata = {**read_metadata(model)}
        for key in ("schema", "hsisr_version", "config_hash", "peak", "guide_peak", "reach", "guide_reach"):
            metadata.pop(key, None)
        known = {key: metadata.get(key) for key in (_BANDS if method.bands is not None else ()) + _GUIDE_BANDS}
        method = replace(method, metadata=known)  # its range is now that of this scene
    else:
        if scale is None and sharp is not None:
            scale = scale_between(low, sharp, options.align)
        if scale is None:
            raise HsisrError(f"finetune: there is no guide that says the scale; give {option('scale')}")
        entry = registry.entry(str(model))
        if entry.kind != "network":
            raise HsisrError(f"model {model}: has nothing to learn; `hsisr predict --model {model}` uses it as it is")
        network = registry.build(str(model), scale, low.shape[0], channels)
        contract = as_model(network)
        method = Method(str(model), scale, contract.needs_guide, network, contract.bands, channels)
        metadata = {"base": str(model), "options": {}, "scale": scale}
    wavelengths = low.wavelengths_nm
    # a converted scene says from which files it was made: a benchmark knows its scenes by those
    files = low.scene.provenance.get("sha256", {}).values() or map(file_hash, files_of(lr))
    metadata |= {
        "bands": low.shape[0],
        "guide_channels": channels if method.needs_guide else 0,
        "protocol": "wald",
        "wavelengths_nm": None if wavelengths is None else wavelengths.tolist(),
        "band_numbers": low.numbers,
        "adapted_to": low.label,
        "adapted_to_sha256": sorted({*metadata.get("adapted_to_sha256", []), *files}),
    }
    if sharp is not None and method.needs_guide:
        centres = sharp.wavelengths_nm
        metadata |= {
            "guide_wavelengths_nm": None if centres is None else centres.tolist(),
            "guide_band_numbers": sharp.numbers,
        }
    on_grid = scenes.on_grid(low, sharp, method, options, folder) if sharp is not None and method.needs_guide else None
    if on_grid is None:
        scenes.check_guide_options(method.name, options, sharp is not None)
    return scenes.make_feed(method, low, on_grid, options), metadata, fresh


def _recipe(feed: Feed, fresh: bool, options: Options) -> Training:
    """How the network is trained, except for the number of steps."""
    return Training(
        epochs=None,
        max_steps=1,
        batch_size=8,
        bands_per_step=min(2, feed.lr.shape[0]),
        visit="random",
        learning_rate=_FRESH_RATE if fresh else _ADAPTING_RATE,
        schedule={"kind": "cosine"},
        augment="dihedral",
        clip_gradient=1.0,
        device=str(choose_device(options.device.split(",")[0].strip())),
    )


def _shares(hold_out: float) -> dict[str, float]:
    shares = {"training": 1 - hold_out - _VALIDATION, "validation": _VALIDATION}
    return shares | ({"test": hold_out} if hold_out else {})


def _prepare(feed: Feed, part: Part, seed: int) -> TrainingSamples | None:
    """Samples that the network makes of a part, while it learns from the part; None if it makes none."""
    return as_model(feed.method.model).prepare_training([(feed.lr.label, part.pair)], seed)


def _adapt_at_once(feed: Feed, part: Part, footprint: Footprint | None, seed: int) -> dict[str, Any]:
    """Have the network learn without steps: from a part at two scales, if what it learns at one helps at the other.

    Otherwise it stays as it was. Returns what the summary says of it.
    """
    started, label, network = time.perf_counter(), feed.lr.label, feed.method.model
    gain, why = None, "it is too small to see what would hold at another scale"
    further = part.further(feed.method.scale)
    if further is not None:
        judge = _Validation(replace(part, lr=part.signal), feed.method.scale, feed.method.needs_guide, footprint)
        before, coarser = judge(network), (f"{label}, degraded once more", further)
        gain = round(judge(_taught(network, [coarser], seed)) - before, 2)
        why = f"what can be learnt at one scale gains only {gain:.2f} dB at another"
        if part.noise**2 > _NOISE_SHARE * 10 ** (-before / 10):
            why = "its noise hides what could be learnt"
        elif gain >= _CLEAR_DB:
            taught = _taught(network, [(label, part.pair), coarser], seed)
            why = "what it learns at either scale does not help at the other"
            if round(judge(taught) - before, 2) > 0:
                network.load_state_dict(taught.state_dict())
                why = ""
    if why:
        say(f"{label}: {feed.method.name} learns nothing of it and stays as it was, as {why}")
    else:
        say(f"{label}: {feed.method.name} has learnt it in closed form, without steps")
    return {"steps": 0, "seconds": round(time.perf_counter() - started, 1), "other_scale_db": gain}


def _taught(network: Any, pairs: list[tuple[str, Pair]], seed: int) -> Any:
    """A copy of a network that has learnt from pairs in closed form."""
    taught = copy.deepcopy(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an image too small to measure its PSF has Wald's, which is then a good guess
        as_model(taught).prepare_training(pairs, seed)
    return taught


def _patches(feed: Feed, part: Part, path: Path, training: Training, seed: int) -> TrainingSamples:
    """Patches of a part, in a patch file, without patches that hold an invalid pixel."""
    scale = feed.method.scale
    height, width = part.low_lr.shape[1:]
    side = min(_PATCH_PX, height, width)
    per_patch = 4 * side**2 * (len(part.lr) * (1 + scale**2) + feed.guide_channels * scale**2)
    places: list[tuple[int, int]] = []
    for stride in range(1, side + 1):
        places = [
            (row, column)
            for row in range(0, height - side + 1, stride)
            for column in range(0, width - side + 1, stride)
            if part.mask[row * scale : (row + side) * scale, column * scale : (column + side) * scale].all()
        ]
        if len(places) * per_patch <= _PATCH_BYTES:
            break
    places = places[: max(1, _PATCH_BYTES // per_patch)]
    if not places:
        raise HsisrError(
            f"{feed.lr.label}: no {side * scale} x {side * scale} pixels without a hole to learn from; crop the scene"
        )
    kinds = {"lr": part.low_lr, "guide": part.low_guide, "hr": part.signal}
    images = {kind: image for kind, image in kinds.items() if image is not None}
    patch_files.cut(path, feed.lr.label, images, places, side, scale)
    return patch_files.PatchFile(path, seed, training.augment)


@dataclass(frozen=True, eq=False)
class _Validation:
    """PSNR of a network on the part that selects the weights."""

    part: Part
    scale: int
    needs_guide: bool
    footprint: Footprint | None

    def __call__(self, network: Any) -> float:
        part = self.part
        guide = part.low_guide if self.needs_guide else None
        estimate = predict(network, part.low_lr, guide, sensor=sensor_in(self.footprint, part.mask, self.scale))
        return part.score(estimate, self.scale)["psnr"]


def _train(
    feed: Feed,
    validate: _Validation,
    samples: TrainingSamples,
    out: Path,
    training: Training,
    minutes: float,
    steps: int | None,
    seed: int,
    settings: dict[str, Any],
    pace: Mapping[str, int],
) -> Any:
    """Train for the budget: a number of steps, or minutes. With minutes, the time also lowers the learning rate.

    pace: from `_pace`. The estimated number of steps decides only the times of validation and of the rate's rise. So a
    bad estimate does not end the training early.
    """
    from hsisr.training import fitting

    budget, count = f"{steps} steps", _VALIDATIONS
    change: dict[str, Any] = {"max_steps": steps}
    if steps is None:
        steps, count = pace["steps"], pace["validations"]
        budget = f"{minutes:g} minutes, about {steps} steps,"
        change = {"max_minutes": minutes, "max_steps": max(1, int(_MOST_STEPS_A_MINUTE * minutes))}
    say(f"{feed.lr.label}: training {feed.method.name} for {budget} on {len(samples)} patches")
    change |= {
        "validate_every_steps": max(1, steps // count),
        "schedule": training.schedule.model_copy(update={"warmup_steps": steps // 20}),
    }
    chosen = training.model_copy(update=change)
    network = feed.method.model
    identity, unreadable = fitting.identity_of(network, samples, chosen, seed, validate=validate, settings=settings)
    return fitting.run(network, samples, out, chosen, identity, seed, None, {}, validate, None, unreadable)


def _pace(
    feed: Feed, validate: _Validation, samples: Any, folder: Path, training: Training, minutes: float, seed: int
) -> dict[str, int]:
    """How many steps, and how many validations among them, fit into the minutes."""
    seconds, validating = _speed(feed, validate, samples, folder, training, seed)
    count = min(_VALIDATIONS, int(_VALIDATING_PART * 60 * minutes / max(validating, 1e-9)))
    return {"steps": max(1, int(60 * minutes / seconds)), "validations": max(1, count)}


def _speed(
    feed: Feed, validate: _Validation, samples: Any, folder: Path, training: Training, seed: int
) -> tuple[float, float]:
    """Seconds of a step (median of a few after the first) and of a validation, on the training device."""
    from hsisr.training import fit

    ends: list[float] = []

    def end_of_step(network: Any) -> float:
        wait_for(next(network.parameters()).device)
        ends.append(time.perf_counter())
        return 0.0

    trial = training.model_copy(update={"max_steps": 1 + _TIMED_STEPS, "validate_every_steps": 1, "select": "last"})
    network = copy.deepcopy(feed.method.model)
    with temporary.new_folder(folder, "timing") as timing:
        fit(network, samples, timing, trial, seed=seed, validate=end_of_step)
    validating = []
    for _ in range(2):  # the first validation also builds kernels
        started = time.perf_counter()
        validate(network)
        validating.append(time.perf_counter() - started)
        if validating[0] > _LONG_VALIDATION_S:
            break
    return float(np.median(np.diff(ends))), min(validating)


def _weights(feed: Feed) -> dict[str, Any]:
    return copy.deepcopy(feed.method.model.state_dict())


def _halfway(start: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """The means of the weights before and after a training.

    What a network learns one scale down does not all hold at the scene's own, and what it knew should not be lost: the
    mean does better than either end (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """
    return {
        name: (start[name] + weights) / 2 if weights.is_floating_point() else weights
        for name, weights in trained.items()
    }


def _keep_best(feed: Feed, validate: _Validation, starts: dict[str, dict[str, Any]], trained_psnr: float) -> float:
    """Return to a start (name -> weights) if its PSNR on the validation part is better. Returns the best PSNR.

    A scene with little detail can make a good network worse.
    """
    network, best = feed.method.model, (trained_psnr, _weights(feed), "")
    for name, weights in starts.items():
        network.load_state_dict(weights)
        found = validate(network)
        if found > best[0]:
            best = (found, weights, name)
    psnr, weights, name = best
    network.load_state_dict(weights)
    if name:
        say(
            f"{feed.lr.label}: {feed.method.name} is better {name}, {psnr:.2f} dB against {trained_psnr:.2f} on the "
            "part that selects; that is kept"
        )
    return psnr


def _say_if_beaten(feed: Feed, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Name the method that is better on the held-out part without any training, if there is one."""
    best = max(scores, key=lambda name: scores[name]["psnr"])
    gap = scores[best]["psnr"] - scores[feed.method.name]["psnr"]
    if gap > 0:
        say(
            f"{feed.lr.label}: on the held-out part {best} is better than {feed.method.name} by {gap:.2f} dB, and "
            f"needs no training: `hsisr predict --model {best}`"
        )


def _footprint(feed: Feed, training: Part, kind: str) -> Footprint | None:
    """Of an LR pixel, `reduced` or `full`. It is measured on the training part, as the others may be too small."""
    if feed.guide is None or not feed.method.needs_guide:
        return None
    pair = {
        "reduced": (training.low_lr, training.low_guide, training.mask),
        "full": (training.lr, training.guide, training.guide_mask),
    }
    lr, guide, valid = pair[kind]
    assert guide is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # if this part is too small as well, Wald's PSF is a good guess
        return estimate_footprint(lr, guide, feed.method.scale, valid)


def _methods(feed: Feed, footprint: Callable[[str], Footprint | None]) -> dict[str, dict[str, Apply]]:
    """Reduced and full: the adapted model, and the methods to compare with. footprint: for either kind."""
    methods = {feed.method.name: feed.method, "bicubic": open_method("bicubic", feed.method.scale, 0)}
    if feed.guide is not None and feed.method.needs_guide:
        for name in ("gsa", "prior"):
            methods[name] = open_method(name, feed.method.scale, feed.guide_channels)
    return {
        kind: {name: partial(_apply, method, footprint(kind)) for name, method in methods.items()}
        for kind in ("reduced", "full")
    }


def _apply(
    method: Method, footprint: Footprint | None, lr: np.ndarray, guide: np.ndarray | None, valid: np.ndarray
) -> np.ndarray:
    return method(lr, guide, sensor=sensor_in(footprint, valid, method.scale))
