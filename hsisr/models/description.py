"""What a model file says of a network: read from the network itself, and tested by building it again."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hsisr.errors import HsisrError
from hsisr.models import own, registry
from hsisr.models.base import as_model
from hsisr.models.network import Network, a_weight
from hsisr.samples import Sample

#: Values that a model file can hold.
_PLAIN = (bool, int, float, str, type(None))


def describe(network: nn.Module, sample: Sample, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Base, options, scale, bands and guide_channels of a network; `registry.build` makes the network again from them.

    sample: a training sample, stacked. options: the arguments of its class, without `own.FACTS`. None: a `Network`
    keeps its arguments. For any other class, hsisr takes the attributes with the names of its constructor's arguments.
    This is a guess, so the rebuilt network must make the same image from the sample.
    Raises HsisrError if there is no such description.
    """
    kind, chosen = type(network), own.constructor_arguments(network) if options is None else options
    base = _base(kind)
    found: dict[str, Any] = {"base": base, "options": _plain(chosen), **_facts(network, sample)}
    try:
        again = registry.build(**found)
        again.load_state_dict(network.state_dict())
        same = isinstance(network, Network) or _same_image(network, again, sample)
    except Exception as error:  # somebody else's code may raise anything
        told = str(error) if isinstance(error, HsisrError) else own.reason(error)
        raise HsisrError(f"{kind.__qualname__} cannot be built again from what is known of it: {told}") from error
    if not same:
        raise HsisrError(f"{kind.__qualname__}, built again with the same weights, makes another image")
    return found


def _facts(network: nn.Module, sample: Sample) -> dict[str, int]:
    """The images that the network was built for: as it says, else like the sample."""
    contract = as_model(network)
    assert sample.hr is not None
    shown = {
        "scale": sample.hr.shape[2] // sample.lr.shape[2],
        "bands": sample.lr.shape[1],
        "guide_channels": 0 if sample.guide is None else sample.guide.shape[1],
    }
    said = {"scale": contract.scale, "bands": contract.bands, "guide_channels": contract.guide_channels}
    return {name: shown[name] if value is None else value for name, value in said.items()}


def _base(kind: type) -> str:
    """The first name of a class in the registry; else its import path, which hsisr may import from now on."""
    for name in registry.names():
        if _class_of(name) is kind:
            return name
    path = own.path_of(kind)
    if path is None:
        raise HsisrError(f"{kind.__qualname__} is defined inside a function, where no other program can import it")
    own.trust(path)
    return path


def _class_of(name: str) -> Any:
    entry = registry.entry(name)
    if entry.own:
        return own.load(entry.factory)
    return registry.factory_of(entry) if entry.kind == "network" else None


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a model file can hold, without the facts about the images."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    return {name: value for name, value in values.items() if name not in own.FACTS and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list) and all(map(_is_plain, value)))


def _same_image(network: nn.Module, again: nn.Module, sample: Sample) -> bool:
    again.to(a_weight(network).device)
    images = []
    for one in (network, again):
        contract, training, weight = as_model(one), one.training, a_weight(one)
        one.eval()
        lr = torch.from_numpy(sample.lr).to(weight)
        guide = None if sample.guide is None else torch.from_numpy(sample.guide).to(weight)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            images.append(contract.super_resolve(lr, guide if contract.takes_guide else None))
        one.train(training)
    return torch.allclose(images[0], images[1].to(images[0]), rtol=1e-4, atol=1e-5)
