"""Networks from outside hsisr: a class in a file of the project or in an installed package, named by its import path.

hsisr only imports code that the user allows: the configuration names the class, or an installed package has an entry
point in the group `hsisr.models`. A model file may come from anybody. hsisr uses the class that the file names if the
user allows it, or if the program has imported it already. A model file alone never leads to an import.

This module needs no torch until `load` imports a class.
"""

import importlib
import importlib.util
import inspect
import os
import re
import sys
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, create_model

from hsisr.config import check_section
from hsisr.errors import HsisrError
from hsisr.models.base import as_model, takes, tell
from hsisr.models.options import Options
from hsisr.sources import OwnSources, own_sources

if TYPE_CHECKING:
    from torch import nn

    from hsisr.samples import Sample

#: Group of entry points. Each has a name, for `models:` and `base:`, and an import path.
GROUP = "hsisr.models"

#: Facts about the images for a class, if its constructor has an argument of this name.
FACTS = ("scale", "bands", "guide_channels")

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_trusted: set[str] = set()


class OwnOptions(Options):
    """Options of a class that is not imported yet: any are allowed; `options_of` checks them later."""

    model_config = ConfigDict(extra="allow", frozen=True)


@cache
def installed_networks() -> Mapping[str, str]:
    """Networks of installed packages: name -> import path."""
    return {point.name: point.value.replace(" ", "") for point in metadata.entry_points(group=GROUP)}


def is_path(base: str) -> bool:
    """Whether `base` has the form of an import path, `module:Class`."""
    return _PATH.fullmatch(base) is not None


def trust(path: str) -> None:
    """Allow the import of a class, because the user's configuration names it."""
    _trusted.add(path)


def load(path: str) -> "type[nn.Module]":
    """The class at an import path.

    Raises HsisrError if the import is not allowed or fails, and if hsisr cannot use the class as a network.
    """
    module, name = path.split(":")
    found = _loaded_module(module)
    if found is None:
        if path not in _trusted and path not in installed_networks().values():
            raise HsisrError(
                f"{path}: a class of somebody's own, which is not imported on the word of a model file; name it in "
                f'config.yaml (models: {{mine: {{base: "{path}"}}}}), or import {module} before in your program'
            )
        found = _import(path, module)
    kind = vars(found).get(name)
    if kind is None:
        raise HsisrError(f"{path}: {module} has no class {name}; {_classes(found)}")
    _check_class(path, kind)
    return kind


def options_of(path: str) -> type[Options]:
    """The options of a class: the arguments of its constructor without `FACTS`, with their types and defaults."""
    kind = load(path)
    fields: dict[str, Any] = {}
    hints, parameters = _types(kind), _constructor(kind)
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in FACTS:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    base = OwnOptions if more and kind.__init__ is not _module().__init__ else _TypedOptions
    return create_model(kind.__name__, __base__=base, **fields)


class _TypedOptions(Options):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=())


def check(path: str, options: Mapping[str, Any], where: str, beside: Iterable[str] = ()) -> dict[str, Any]:
    """The chosen options, in the types that the class takes.

    where: the key that holds the options. beside: keys that may stand beside the options. Raises HsisrError as `load`,
    and for options that the constructor does not take.
    """
    values: dict[str, Any] = check_section(options_of(path), options, where, beside).model_dump(exclude_unset=True)
    return values


def build(path: str, scale: int, bands: int, guide_channels: int, options: Mapping[str, Any]) -> "nn.Module":
    """A network with fresh weights. Raises HsisrError as `check`, if it fails, or if it does not suit the images."""
    kind = load(path)
    values = check(path, options, path)
    facts = {"scale": scale, "bands": bands, "guide_channels": guide_channels}
    told = {name: value for name, value in facts.items() if name in _constructor(kind)}
    try:
        network = kind(**told, **values)
    except HsisrError:
        raise
    except Exception as error:  # its constructor may raise anything
        words = ", ".join(f"{name}={value!r}" for name, value in (told | values).items())
        raise HsisrError(f"{path}: its constructor failed with {words}: {reason(error)}") from error
    tell(network, told)
    contract = as_model(network)
    if contract.needs_guide and not guide_channels:
        raise HsisrError(f"{path}: needs a guide, a sharp image of the same scene, and there is none")
    for name, value in facts.items():
        wanted = {"scale": contract.scale, "bands": contract.bands, "guide_channels": contract.guide_channels}[name]
        if wanted not in (None, value) and not (name == "guide_channels" and wanted == 0):
            raise HsisrError(f"{path}: is made for {name} {wanted}, and these images have {value}")
    return network


def constructor_arguments(network: "nn.Module") -> dict[str, Any]:
    """Arguments of a network's constructor, name -> value, as far as they are known.

    A `Network` keeps them. For other networks, they are the attributes with the names of arguments.
    """
    from hsisr.models.network import Network

    parameters = _constructor(type(network))
    if isinstance(network, Network):
        arguments, named = network.called_with
        return dict(inspect.Signature(list(parameters.values())).bind(*arguments, **named).arguments)
    attributes = vars(network)
    return {name: attributes[name] for name in parameters if name in attributes}


def try_out(path: str, network: "nn.Module", sample: "Sample") -> None:
    """Raise HsisrError unless a network makes the image that training and prediction expect from a stacked sample."""
    import torch

    lr, guide, hr = (None if image is None else torch.from_numpy(image) for image in vars(sample).values())
    assert lr is not None and hr is not None
    contract = as_model(network)
    if not contract.takes_guide:
        guide = None
    training = network.training
    calls = {"super_resolve": lambda: contract.super_resolve(lr, guide)}
    if contract.band_wise:
        first = torch.tensor([0])
        calls["super_resolve_bands"] = lambda: contract.super_resolve_bands(lr, guide, first)
    else:
        calls["forward"] = lambda: network(lr) if guide is None else network(lr, guide)
    shown = f"LR {tuple(lr.shape)}" + ("" if guide is None else f" and guide {tuple(guide.shape)}")
    try:
        with torch.random.fork_rng(devices=[]):
            network.eval()
            for name, call in calls.items():
                expected = (len(hr), 1, *hr.shape[2:]) if name == "super_resolve_bands" else tuple(hr.shape)
                try:
                    made = call()
                except Exception as error:  # its own code may raise anything
                    raise HsisrError(f"{path}: {name} failed on {shown}: {reason(error)}") from error
                got = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
                if got != expected:
                    raise HsisrError(f"{path}: {name} makes {got} of {shown}; expected a tensor {expected}")
                if name != "super_resolve" and not made.requires_grad:
                    raise HsisrError(
                        f"{path}: the image of {name} has no gradient, so that nothing would be learnt: its weights "
                        "are frozen, or the image does not come from them (detach, numpy, no_grad)"
                    )
    finally:
        network.train(training)


def path_of(kind: type) -> str | None:
    """The import path of a class; None for a class inside a function, because it has no path.

    For a class of the running program, the path has the name of the program's file, so that other programs can import
    the class.
    """
    if "." in kind.__qualname__:
        return None
    module = _main_name() or kind.__module__ if kind.__module__ == "__main__" else kind.__module__
    return f"{module}:{kind.__qualname__}"


def sources_of(path: str) -> tuple[OwnSources, str]:
    """The sources of a class, and its module. Nothing is imported. Raises HsisrError if the module is missing.

    In the working folder, the sources are all modules that the class's module imports. In an installed package, they
    are the modules of this package.
    """
    module = path.partition(":")[0]
    here = own_sources(Path.cwd())
    if here.path(module) is not None:
        return here, module
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # __main__ in a shell or notebook
        spec = None
    places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
    found = own_sources(Path(places[0]).parent, top) if places else here
    if found.path(module) is None:
        raise HsisrError(_absent(path, module))
    return found, module


def reason(error: BaseException) -> str:
    """The text of an exception from foreign code, in one line."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _loaded_module(module: str) -> ModuleType | None:
    """The module, if the program has imported it or is this module."""
    if module == _main_name():
        return sys.modules["__main__"]
    return sys.modules.get(module)


def _main_name() -> str | None:
    """The name under which other programs can import the running program; None for a shell or notebook."""
    file = vars(sys.modules["__main__"]).get("__file__")
    name = "" if file is None else Path(file).stem
    return name if name.isidentifier() and name != "__main__" else None


def _import(path: str, module: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)  # it stays, because processes that train side by side import it again
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise HsisrError(_absent(path, error.name)) from None
        raise HsisrError(f"{path}: cannot be imported: {reason(error)}; install it") from error
    except (Exception, SystemExit) as error:  # the file may do anything
        raise HsisrError(f"{path}: cannot be imported: {reason(error)}{_place(error)}") from error


def _absent(path: str, module: str) -> str:
    return (
        f"{path}: there is no module {module} in {Path.cwd()} nor installed; put its file into this folder, or install "
        "its package"
    )


def _place(error: BaseException) -> str:
    """The place of the error in the imported file."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen") and file != __file__ and Path(file) != Path(importlib.__file__ or ""):
            place = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _check_class(path: str, kind: Any) -> None:
    module = _module()
    if not (isinstance(kind, type) and issubclass(kind, module)):
        raise HsisrError(f"{path}: is no network; expected a class that inherits from torch.nn.Module")
    if "super_resolve_bands" in dir(kind):
        return
    if kind.forward is module.forward:
        raise HsisrError(
            f"{path}: has no forward; expected forward(self, lr) or forward(self, lr, guide), or super_resolve_bands"
        )
    if not takes(kind.forward, None, None) and not takes(kind.forward, None, None, None):
        taken = inspect.signature(kind.forward)
        raise HsisrError(f"{path}: its forward takes {taken}; expected forward(self, lr) or forward(self, lr, guide)")


def _classes(module: ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, _module()) and value.__module__ == module.__name__
    ]
    return f"its networks: {', '.join(own)}" if own else "it has no network"


def _constructor(kind: type) -> dict[str, inspect.Parameter]:
    """Arguments of a class's constructor by name, without `self`."""
    return dict(list(inspect.signature(_initialiser(kind)).parameters.items())[1:])


def _types(kind: type) -> dict[str, Any]:
    """Annotations of the constructor's arguments, by name."""
    try:
        return typing.get_type_hints(_initialiser(kind))
    except Exception:  # annotations may use names that are not imported; then any value is allowed
        return {}


def _initialiser(kind: type) -> Any:
    return kind.__init__  # type: ignore[misc]  # asked for its arguments only


def _module() -> "type[nn.Module]":
    from torch import nn

    return nn.Module
