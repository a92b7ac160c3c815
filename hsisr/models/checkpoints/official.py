"""The papers' own checkpoints: read by their own keys and checked key by key. Their code never runs."""

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hsisr.errors import HsisrError

Model = TypeVar("Model", bound=nn.Module)

#: `torch.nn.DataParallel` puts this in front of every key.
_PARALLEL_PREFIX = "module."

#: Keys under which programs keep the weights; the first one found counts. BasicSR tests with `params_ema`.
_CONTAINERS = ("model", "state_dict", "model_state_dict", "net", "params_ema", "params")

#: As many keys of a kind an error names.
_SHOWN = 4

#: Program that takes the weights out of a file with a whole network, bare or as `save_checkpoint` writes it: {"epoch",
#: "model"}. Older versions of torch do not know the variable; newer ones refuse such a file without it.
_EXTRACTION = (
    "import os, torch; os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'; "
    "c = torch.load({source!r}, map_location='cpu'); c = c['model'] if isinstance(c, dict) and 'model' in c else c; "
    "torch.save(c.state_dict() if hasattr(c, 'state_dict') else c, {target!r})"
)


def load_official(
    model: Model, state_dict_or_path: Mapping[str, Any] | str | os.PathLike, where: str = "state dict"
) -> Model:
    """Copy the weights of a published checkpoint into a model and return it.

    state_dict_or_path: a mapping key -> tensor or numpy array, or the path of a file that `torch.save` wrote. It may be
    flat, or have the weights under `model`, `state_dict`, `model_state_dict`, `net`, `params_ema` or `params` (other
    entries do not matter). Keys may have the prefix `module.`. Weight norm stays as stored, in `weight_g` and
    `weight_v`. Values are cast to the model's type. where: name of a mapping in errors.
    Raises HsisrError, and leaves the model unchanged, if the file is damaged, is no checkpoint, or holds anything but
    tensors and plain containers (none of its code runs). Also if a key is missing, left over, or of the wrong shape.
    """
    if isinstance(state_dict_or_path, Mapping):
        content = state_dict_or_path
    else:
        where = os.fspath(state_dict_or_path)
        content = _read(Path(where))
    weights = _weights(content, where)
    _check(weights, model.state_dict(), f"{where} does not fit {type(model).__name__}")
    model.load_state_dict(weights)
    return model


def _read(path: Path) -> Any:
    if not path.is_file():
        raise HsisrError(f"{path}: no such checkpoint file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about pickle protocols; the errors below say what is wrong
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower():
            raise _damage(path) from error
        raise HsisrError(
            f"{path}: holds Python objects, not only tensors; none of it was run. If you trust its authors, take the "
            "weights out where their program runs, beside its source, and give those: python -c "
            f'"{_EXTRACTION.format(source=path.name, target=f"{path.stem}_weights.pth")}"'
        ) from error
    except Exception as error:  # random bytes can raise almost any type of error in the reader
        raise _damage(path) from error


def _damage(path: Path) -> HsisrError:
    return HsisrError(f"{path}: not a PyTorch checkpoint, or damaged or cut short; download it again")


def _weights(content: Any, where: str) -> dict[str, Tensor]:
    """The flat mapping key -> tensor inside a checkpoint's content."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        raise HsisrError(f"{where}: holds no weights; expected key -> tensor, flat or under {_containers()}")
    weights = {}
    for key, value in content.items():
        try:
            weights[str(key).removeprefix(_PARALLEL_PREFIX)] = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise HsisrError(
                f"{where}: {key} is {type(value).__name__}, not a tensor; expected key -> tensor, flat or under "
                f"{_containers()}"
            ) from None
    return weights


def _containers() -> str:
    return f"one of the keys {', '.join(_CONTAINERS)}"


def _check(weights: dict[str, Tensor], expected: dict[str, Tensor], what: str) -> None:
    """Raise HsisrError that names the keys that are missing, left over, of another shape, or not finite."""
    shared = [key for key in expected if key in weights]
    problems = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "wrong shape": [
            f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in shared
            if weights[key].shape != expected[key].shape
        ],
        "NaN or infinite": [key for key in shared if not weights[key].isfinite().all()],
    }
    found = [f"{kind}: {_first(keys)}" for kind, keys in problems.items() if keys]
    if found:
        raise HsisrError(f"{what}; {'; '.join(found)}; name the network, scale and bands that it was trained with")


def _first(keys: list[str]) -> str:
    """The keys as words; of many, the first and how many there are."""
    return ", ".join(keys if len(keys) <= _SHOWN else [*keys[:_SHOWN], f"... ({len(keys)} in all)"])
