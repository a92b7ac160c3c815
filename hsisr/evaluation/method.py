"""A model of a benchmark, ready to super-resolve its pairs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hsisr.degrade import Sensor, sensor_of
from hsisr.devices import choose_device
from hsisr.errors import HsisrError
from hsisr.evaluation.run_summary import read as read_summary
from hsisr.files import file_hash
from hsisr.models.base import as_model
from hsisr.models.model_files import read_metadata
from hsisr.pipeline import paths, steps
from hsisr.pipeline.benchmark import Benchmark, Model
from hsisr.pipeline.known_bands import KnownBands
from hsisr.pipeline.pair_files import PairFile
from hsisr.pipeline.steps import difference
from hsisr.system import fix_threads

#: Pair -> estimate (B, H, W) float32.
Method = Callable[[PairFile], np.ndarray]


def load(benchmark: Benchmark, model: Model, seed: int) -> Method:
    """A function that super-resolves a pair with the model, and cuts the result to the size of the reference.

    Raises HsisrError if a network is not trained, or was trained with other settings.
    """
    super_resolve = _network(benchmark, model, seed) if model.is_network else _classical(benchmark, model)
    return lambda pair: pair.cut_back(super_resolve(pair))


def _classical(benchmark: Benchmark, model: Model) -> Method:
    from hsisr import inference
    from hsisr.models import registry

    def super_resolve(pair: PairFile) -> np.ndarray:
        channels = 0 if pair.guide is None else len(pair.guide)
        sensor = sensor_of(pair.metadata, pair.mask)
        method = registry.build(model.base, benchmark.scale, len(pair.lr), channels, model.options, sensor)
        return inference.predict(method, pair.lr, pair.guide)

    return super_resolve


def _network(benchmark: Benchmark, model: Model, seed: int) -> Method:
    from hsisr import inference

    path = benchmark.trained_on.path(paths.WEIGHTS, model=model.name, seed=seed)
    _check_current(path, steps.training(benchmark.trained_on, model.name, seed), benchmark.trained_on, model, seed)
    fix_threads(model.training.threads)
    network = inference.load_model(path, str(choose_device(model.training.device, "training.device")))
    metadata, bands = read_metadata(path), as_model(network).bands
    centres = metadata.get("wavelengths_nm")
    known = None if bands is None else KnownBands(model.name, bands, None if centres is None else np.asarray(centres))

    def super_resolve(pair: PairFile) -> np.ndarray:
        if known is not None:
            known.check(f"scene {pair.name}", len(pair.lr), pair.wavelengths_nm)
        return inference.predict(network, pair.lr, pair.guide, sensor=Sensor(mask=pair.mask))

    return super_resolve


def _check_current(path: str, step: steps.Step, benchmark: Benchmark, model: Model, seed: int) -> None:
    """Raise HsisrError, with the difference, if the present settings would train other weights."""
    found = read_metadata(path)
    summary = benchmark.path(paths.TRAINING, model=model.name, seed=seed)
    run = read_summary(summary) if Path(summary).is_file() else {}
    if found["config_hash"] != step.digest:
        now = {"settings": step.settings, "code": step.code}
        told = difference({key: run[key] for key in now}, now) if now.keys() <= run.keys() else "not known what"
        raise HsisrError(f"{path}: trained with other settings or code ({told}); train again")
    for files in run.get("data", {}).values():
        for file, before in files.items():
            if Path(file).is_file() and file_hash(file) != before:
                raise HsisrError(f"{path}: trained before {file} changed; train again")
