"""Existing weights, placed like the weights of a training, so that they are scored beside those."""

from pathlib import Path
from typing import Any

from hsisr.datasets.manifest import image_hashes
from hsisr.datasets.splits import Item, overlap
from hsisr.errors import HsisrError
from hsisr.pipeline import pair_files, paths, steps
from hsisr.pipeline.benchmark import Benchmark, Model
from hsisr.training import summary
from hsisr.training.fitting import Outcome


def place_weights(benchmark: Benchmark, model: Model, seed: int) -> Path:
    """Make the run folder of a model with weights from a file (`Model.weights`), and return it.

    The benchmark's first test pair, which must exist, gives the numbers of bands and guide channels. The model file
    states the origin of its weights. seed: of the run folder. Raises HsisrError if the file is missing, does not fit,
    or has learnt from scenes that the benchmark tests.
    """
    from hsisr.models import registry
    from hsisr.models.model_files import read_weights, save_model

    sha256 = model.weights_sha256  # first, as it says what is wrong with a path
    _check_unseen(benchmark, model)
    pair = pair_files.read(pair_files.made(benchmark, benchmark.parts["test"][0]), ("lr", "guide"))
    assert model.weights is not None
    metadata: dict[str, Any] = {
        "base": model.base,
        "options": model.options,
        "scale": benchmark.scale,
        "bands": len(pair.lr),
        "guide_channels": 0 if pair.guide is None else len(pair.guide),
    }
    network = registry.build(**metadata)
    said = read_weights(network, model.weights, metadata)
    identity = steps.training(benchmark, model.name, seed).identity
    fields = {"model": model.name, "seed": seed}
    source = {"source": Path(model.weights).name, "source_sha256": sha256}
    wavelengths = None if pair.wavelengths_nm is None else pair.wavelengths_nm.tolist()
    metadata = {"protocol": None, "wavelengths_nm": wavelengths, **said, **metadata, **source}
    save_model(benchmark.path(paths.WEIGHTS, **fields), network, metadata, identity)
    untrained = Outcome(steps=0, epochs=0.0, kept_step=0, validation_psnr=None, seconds=0.0)
    summary.write(benchmark.path(paths.TRAINING, **fields), untrained, network, {**identity, "data": {}}, **source)
    return Path(benchmark.path(paths.RUN, **fields))


def _check_unseen(benchmark: Benchmark, model: Model) -> None:
    """Raise HsisrError if these weights learnt from ground that the benchmark tests, as far as their file says."""
    from hsisr.models.model_files import trained_on

    assert model.weights is not None
    taught, adapted = trained_on(model.weights)
    items = [Item(**item) for item in taught["items"] if taught["dataset"] == benchmark.dataset]
    tests = benchmark.parts["test"]
    seen = [test.name for test in tests if any(overlap(test, item) for item in items)]
    if adapted:
        raw = Path(benchmark.path(paths.RAW)).parent
        for test in tests:
            files = image_hashes(benchmark.dataset, test.scene, raw, benchmark.config.datasets)
            seen += [test.name] if files and files <= adapted else []
    if seen:
        raise HsisrError(
            f"models.{model.name}.weights: learnt from {', '.join(seen)}, which {benchmark.name} tests; choose a split "
            "that does not test them, or leave weights out and train"
        )
