"""What the shell offers when a user presses Tab: names that are known here. Nothing here imports torch.

`hsisr --install-completion` switches it on. A configuration that cannot be read offers nothing: the command itself says
what is wrong with it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hsisr.errors import HsisrError

if TYPE_CHECKING:
    from hsisr.config import Config
    from hsisr.pipeline.benchmark import Benchmark


def datasets(incomplete: str) -> list[str]:
    """Data sets of the catalogue and of config.yaml."""
    from hsisr.datasets.catalogue import names

    return _fitting(lambda: names(_config().datasets), incomplete)


def scenes(context: typer.Context, incomplete: str) -> list[str]:
    """Scenes of the data set that stands before."""
    from hsisr.datasets.catalogue import entry

    return _fitting(lambda: entry(context.params["dataset"], _config().datasets).scenes, incomplete)


def benchmarks(incomplete: str) -> list[str]:
    """Benchmarks of config.yaml."""
    return _fitting(lambda: _config().benchmarks, incomplete)


def items(context: typer.Context, incomplete: str) -> list[str]:
    """Scenes and regions of the benchmark that stands before."""
    return _fitting(lambda: [item.name for part in _benchmark(context).parts.values() for item in part], incomplete)


def benchmark_models(context: typer.Context, incomplete: str) -> list[str]:
    """Models of the benchmark that stands before."""
    return _fitting(lambda: _benchmark(context).models, incomplete)


def sweeps(incomplete: str) -> list[str]:
    """Sweeps of config.yaml."""
    return _fitting(lambda: _config().sweeps, incomplete)


def usable_models(incomplete: str) -> list[str]:
    """What `predict` takes: methods that need no training, and the models that lie here."""
    from hsisr.models.shipped import NAMED

    return _fitting(lambda: [*_model_names("classical"), *NAMED, *_files()], incomplete)


def trainable_models(incomplete: str) -> list[str]:
    """What `finetune` takes: networks, and the models that lie here."""
    return _fitting(lambda: [*_model_names("network"), *_files()], incomplete)


def networks(incomplete: str) -> list[str]:
    """Registered networks."""
    return _fitting(lambda: _model_names("network"), incomplete)


def weights(incomplete: str) -> list[str]:
    """Published weights, and those that can be made here."""
    from hsisr.models.checkpoints import published
    from hsisr.models.shipped import made_names

    known = published.known_checkpoints
    return _fitting(lambda: [*(checkpoint.name for checkpoint in known()), *made_names()], incomplete)


def protocols(incomplete: str) -> list[str]:
    """Protocols by which an LR image is made."""
    from hsisr.degrade import PROTOCOLS

    return _fitting(lambda: PROTOCOLS, incomplete)


def responses(incomplete: str) -> list[str]:
    """Spectral responses of guides."""
    from hsisr.degrade import RESPONSES

    return _fitting(lambda: ["none", *RESPONSES], incomplete)


def conventions(incomplete: str) -> list[str]:
    """Metric conventions."""
    from hsisr.metrics.conventions import CONVENTIONS

    return _fitting(lambda: CONVENTIONS, incomplete)


def _fitting(names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except (HsisrError, KeyError):  # what stands before is wrong, or not there
        return []


def _config() -> "Config":
    from hsisr.config import Config, load

    return load() if Path("config.yaml").is_file() else Config()


def _benchmark(context: typer.Context) -> "Benchmark":
    from hsisr.pipeline.benchmark import resolve

    return resolve(_config(), context.params["benchmark"])


def _model_names(kind: str) -> list[str]:
    from hsisr.models import registry

    return [name for name in registry.names() if registry.entry(name).kind == kind]


def _files() -> list[str]:
    """Run folders below runs/, and model files of this folder."""
    runs = sorted(str(file.parent) for file in Path("runs").rglob("model.safetensors"))
    return [*runs, *sorted(str(file) for file in Path().glob("*.safetensors"))]
