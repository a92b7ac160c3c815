"""A model of a benchmark, ready to super-resolve its pairs."""

from collections.abc import Callable

import numpy as np

from hsisr.degrade import Sensor, sensor_of
from hsisr.errors import HsisrError
from hsisr.files import stamp
from hsisr.pipeline import paths
from hsisr.pipeline.benchmark import Benchmark, Model
from hsisr.pipeline.pair_files import PairFile

#: Pair -> estimate (B, H, W) float32.
Method = Callable[[PairFile], np.ndarray]


def load(benchmark: Benchmark, model: Model, seed: int) -> Method:
    """A function that super-resolves a pair with the model, cut back to its reference.

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
    from hsisr.training import choose_device, fix_threads

    path = benchmark.trained_on.path(paths.WEIGHTS, model=model.name, seed=seed)
    expected = stamp("model", benchmark.trained_on.settings("train", model.name, seed))["config_hash"]
    found = inference.read_metadata(path)["config_hash"]
    if found != expected:
        raise HsisrError(f"{path}: trained with other settings ({found}, now {expected}); train again")
    fix_threads(model.training.threads)
    network = inference.load_model(path, choose_device(model.training.device))
    return lambda pair: inference.predict(network, pair.lr, pair.guide, sensor=Sensor(mask=pair.mask))
