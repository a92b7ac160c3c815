"""Training: from a patch file to finished weights, resumable at any moment."""

import os
import time
from pathlib import Path
from typing import Any

from hsisr import paths
from hsisr.benchmark import Benchmark, Model, resolve
from hsisr.config import Config, load
from hsisr.errors import HsisrError
from hsisr.files import stamp, write_json


def train(
    config: Config | str | os.PathLike = "config.yaml",
    benchmark: str | None = None,
    model: str | None = None,
    seed: int | None = None,
) -> list[Path]:
    """Train networks of the configuration; returns the folders of the runs.

    config: a Config or the path of a config.yaml. benchmark, model, seed: only these; None means all of them.
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
                for number in entry.seeds if seed is None else [seed]:
                    folders.append(train_one(chosen, entry, number))
    if not folders:
        raise HsisrError("nothing to train: the chosen benchmarks hold no network")
    return folders


def train_one(benchmark: Benchmark, model: Model, seed: int) -> Path:
    """Train one network with one seed; returns its run folder. Errors as `train`."""
    import torch

    from hsisr.inference import save_model
    from hsisr.models import registry
    from hsisr.patches import PatchFile
    from hsisr.training import objectives, state
    from hsisr.training.engine import Run

    folder = Path(benchmark.path(paths.RUN, model=model.name, seed=seed))
    settings = benchmark.settings("train", model.name, seed)
    with state.run_lock(folder):
        training = model.training
        fix_threads(training.threads)
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        patches = PatchFile(benchmark.path(paths.PATCHES), seed, training.augment, training.labelled_scenes)
        others = {
            name: PatchFile(path, seed, training.augment)
            for name, path in benchmark.auxiliary_patches(model.name).items()
        }
        network = registry.build(model.base, benchmark.scale, patches.bands, patches.guide_channels, model.options)
        device = choose_device(training.device)
        run = Run(
            folder=folder,
            model=network.to(device),
            patches=patches,
            objective=objectives.build(training, seed, network, patches, others),
            training=training,
            settings=settings,
            validate=_validation(benchmark),
        )
        run.train()
        metadata = {
            "base": model.base,
            "options": model.options,
            "scale": benchmark.scale,
            "bands": patches.bands,
            "guide_channels": patches.guide_channels,
            "protocol": benchmark.protocol,
            "wavelengths_nm": None if patches.wavelengths_nm is None else patches.wavelengths_nm.tolist(),
        }
        save_model(benchmark.path(paths.WEIGHTS, model=model.name, seed=seed), run.model, metadata, settings)
        _write_summary(benchmark.path(paths.TRAINING, model=model.name, seed=seed), run, settings)
    return folder


def choose_device(name: str) -> Any:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:<index>`.

    `auto` takes the first visible GPU, or the CPU. Raises HsisrError if a GPU is asked for and there is none.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise HsisrError(f"training.device: {name!r} is not allowed here; torch sees no GPU; use auto or cpu")
    return torch.device(name)


def fix_threads(threads: int | None) -> None:
    """Use this many CPU threads; None: what Snakemake gave the job, else torch's own choice."""
    import torch

    threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0))  # Snakemake exports the job's share
    if threads:
        torch.set_num_threads(threads)


def _validation(benchmark: Benchmark) -> Any:
    """A function that gives a network's mean PSNR over the validation part."""
    from hsisr import pairs
    from hsisr.inference import predict
    from hsisr.metrics import score

    files = [pairs.read(benchmark.path(paths.PAIR, item=item.name)) for item in benchmark.parts["validation"]]

    def psnr(network: Any) -> float:
        scores = [
            score(pair.hr, predict(network, pair.lr, pair.guide), benchmark.scale, benchmark.convention, mask=pair.mask)
            for pair in files
        ]
        return sum(entry["psnr"] for entry in scores) / len(scores)

    return psnr


def _write_summary(path: str, run: Any, settings: dict) -> None:
    summary = {
        **stamp("training", settings),
        "settings": settings,
        "steps": run.step,
        "epochs": run.epoch,
        "kept_step": run.best_step if run.training.select == "validation" else run.step,
        "validation_psnr": run.best_psnr if run.training.select == "validation" else run.history[-1][3],
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "timing": {"seconds": run.seconds, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
    }
    write_json(path, summary)
