"""What a model file must say of a network, found from the network itself, and tried: the file must give it back."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from hsisr.errors import HsisrError
from hsisr.models import own, registry
from hsisr.models.base import as_model
from hsisr.samples import Sample

#: Values that a model file can hold.
_PLAIN = (bool, int, float, str, type(None))


def describe(network: nn.Module, sample: Sample, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Base, options, scale, bands and guide_channels of a network, of which `registry.build` makes it again.

    sample: a sample, stacked, that it takes. options: what its class was built with, beside `own.FACTS`; None: what a
    `Network` kept of it, and of any other class the attributes that are called as arguments of its constructor.
    The network that is built again is given the weights, and must make the same image of the sample.
    Raises HsisrError if there is no such description.
    """
    bands, guide_channels = sample.lr.shape[1], 0 if sample.guide is None else sample.guide.shape[1]
    assert sample.hr is not None
    facts = {"scale": sample.hr.shape[2] // sample.lr.shape[2], "bands": bands, "guide_channels": guide_channels}
    kind, faults = type(network), []
    for base in _bases(kind):
        chosen = own.built_with(network) if options is None else dict(options)
        found = {"base": base, "options": _plain(chosen), **facts}
        try:
            again = registry.build(**found)
            again.load_state_dict(network.state_dict())
            same = _same_image(network, again, sample)
        except (HsisrError, RuntimeError) as error:
            faults.append(own.reason(error) if isinstance(error, RuntimeError) else str(error))
            continue
        if same:
            return found
        faults.append("built again with the same weights, it makes another image")
    if not faults:
        raise HsisrError(f"{kind.__qualname__} is defined inside a function, where no other program can import it")
    raise HsisrError(f"{kind.__qualname__} cannot be built again from what is known of it: {faults[0]}")


def _bases(kind: type) -> Iterator[str]:
    """Names in the registry that stand for a class; else its import path, which becomes one that may be imported."""
    found = [name for name in registry.names() if _class_of(name) is kind]
    if not found and (path := own.path_of(kind)) is not None:
        own.trust(path)
        found = [path]
    yield from found


def _class_of(name: str) -> Any:
    entry = registry.entry(name)
    if entry.own:
        return own.load(entry.factory)
    return registry.factory_of(entry) if entry.kind == "network" else None


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a model file can hold, less what is known of the images."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    return {name: value for name, value in values.items() if name not in own.FACTS and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list) and all(map(_is_plain, value)))


def _same_image(network: nn.Module, again: nn.Module, sample: Sample) -> bool:
    images = []
    for one in (network, again):
        contract, training = as_model(one), one.training
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        lr, guide = (
            None if image is None else torch.from_numpy(image).to(device) for image in (sample.lr, sample.guide)
        )
        one.to(device).eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            images.append(contract.super_resolve(lr, guide if contract.takes_guide else None))
        one.train(training)
    return bool(torch.allclose(images[0], images[1], rtol=1e-4, atol=1e-5))
