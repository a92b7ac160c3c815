"""Model files: weights in safetensors, which hold no code, with what is needed to build the network again."""

import json
import os
from pathlib import Path
from typing import Any

from hsisr.errors import HsisrError
from hsisr.files import atomic_path, check_stamp, file_hash, stamp


def save_model(path: str | os.PathLike, model: Any, metadata: dict[str, Any], settings: Any = None) -> None:
    """Write the network `model` to the file `path`.

    metadata: base, options, scale, bands, guide_channels and what else travels with it. settings: plain values that say
    how it was made; the file keeps their hash.
    """
    from safetensors.torch import save_file

    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    # one entry, since safetensors writes several in an order that differs from run to run
    header = json.dumps({**stamp("model", settings), **metadata}, sort_keys=True)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"hsisr": header})


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What a model file says of itself, with its config_hash.

    path: as of `load_model`. Raises HsisrError if it is no model file or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = model_path(path)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("hsisr", "{}"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise HsisrError(f"{path}: not a model file, or damaged ({error})") from error
    check_stamp(path, header, "model")
    return header


def load_model(path: str | os.PathLike, device: str = "cpu") -> Any:
    """The network of a model file, in eval mode.

    path: a `model.safetensors` or the run folder that holds it. device: where its weights go, such as `cpu` or
    `cuda`. Raises HsisrError if there is none, it is damaged, its weights do not fit the network that it names, or that
    is a class of somebody's own which may not be imported (`hsisr.models.own`).
    """
    from safetensors.torch import load_file

    from hsisr.models import registry

    path = model_path(path)
    metadata = read_metadata(path)
    facts = {key: metadata[key] for key in ("scale", "bands", "guide_channels", "options")}
    try:
        network = registry.build(metadata["base"], **facts)
    except HsisrError as error:
        raise HsisrError(f"{path}: {error}") from error
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise HsisrError(
            f"{path}: its weights do not fit {metadata['base']} as this version of hsisr builds it; train it again"
        ) from error
    return network.to(device).eval()


def import_checkpoint(checkpoint: str | os.PathLike, base: str, scale: int, bands: int, out: str | os.PathLike) -> None:
    """Turn a paper's own checkpoint into a model file that says where it comes from; none of its code is run.

    base: registered network that it fits. scale, bands: it was trained for. Raises HsisrError as `load_official`.
    """
    from hsisr.models import load_official, registry

    checkpoint = Path(checkpoint)
    channels = 3 if registry.entry(base).needs_guide else 0
    network = load_official(registry.build(base, scale, bands, channels), checkpoint)
    source = {"source": checkpoint.name, "source_sha256": file_hash(checkpoint)}
    metadata = {"base": base, "options": {}, "scale": scale, "bands": bands, "guide_channels": channels, **source}
    save_model(out, network, metadata, {"imported": source["source_sha256"]})


def read_weights(network: Any, path: str | os.PathLike, facts: dict[str, Any]) -> None:
    """Copy weights of a file into a network: of a model file of hsisr, or of a paper's own checkpoint.

    facts: base, options, scale, bands and guide_channels of the network; a model file must say the same of itself, but
    for bands and guide_channels that its network does not depend on. A checkpoint must have every key in its shape.
    Raises HsisrError if it does not fit, is damaged, or holds anything but tensors.
    """
    from hsisr.models import load_official, registry

    weights, metadata = _tensors(Path(path))
    if weights is None:
        load_official(network, path)
        return
    differing = [key for key in ("base", "options", "scale") if metadata and metadata[key] != facts[key]]
    if differing == ["options"] and registry.same_options(facts["base"], metadata["options"], facts["options"]):
        differing.remove("options")
    if differing:
        told = "; ".join(f"{key} {metadata[key]}, here {facts[key]}" for key in differing)
        raise HsisrError(f"{path}: of another network: {told}; name what the file holds")
    load_official(network, weights, str(path))


def _tensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Key -> tensor of a safetensors file, None if it is none; and what a model file of hsisr says of itself."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            ours = "hsisr" in (file.metadata() or {})
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, read_metadata(path) if ours else {}
    except SafetensorError as error:
        if path.suffix == ".safetensors":
            raise HsisrError(f"{path}: not a model file, or damaged ({error})") from error
        return None, {}


def checkpoint_hash(path: str | os.PathLike) -> str | None:
    """SHA-256 of the checkpoint that a model file was imported from; None for any other file, and for none."""
    try:
        source = read_metadata(path).get("source_sha256")
    except HsisrError:
        return None
    return None if source is None else str(source)


def model_path(path: str | os.PathLike) -> Path:
    """The model file at `path`, which may be the run folder. Raises HsisrError if there is none."""
    path = Path(path)
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise HsisrError(f"{file}: no such model file; `hsisr train` makes it")
    return file
