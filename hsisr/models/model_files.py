"""Model files: weights as safetensors, which hold no code, and all facts that are needed to build the network again."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hsisr.config import check_section
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, check_stamp, file_hash, parse_json, stamp
from hsisr.models.shipped import how_to_make

_MOST_BANDS = 1_000_000
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Image(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    scene: str
    region: list[int] | None = None


class _TrainedOn(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    dataset: str
    items: list[_Image]


class _TaughtBy(BaseModel):
    """The same of weights that `hsisr weights` made."""

    model_config = ConfigDict(extra="allow", strict=True)

    dataset: str
    scenes: dict[str, Any]


class Facts(BaseModel):
    """Facts that a model file must or may state about itself; other entries are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    base: str
    options: dict[str, Any]
    scale: int = Field(ge=2, le=256)
    bands: int | None = Field(ge=1, le=_MOST_BANDS)  # None: any number of bands
    guide_channels: int = Field(ge=0, le=1_000_000)
    peak: _Positive | None = None
    guide_peak: _Positive | None = None
    wavelengths_nm: list[_Finite] | None = None
    guide_wavelengths_nm: list[_Finite] | None = None
    band_numbers: list[int] | None = None  # of the images that taught it, in their files
    guide_band_numbers: list[int] | None = None
    source_sha256: str | None = None
    trained_on: _TrainedOn | None = None
    taught_by: _TaughtBy | None = None
    #: Hashes of the files of scenes to which `hsisr finetune` has adapted the weights.
    adapted_to_sha256: list[str] = []


def save_model(path: str | os.PathLike, model: Any, metadata: dict[str, Any], settings: Any = None) -> None:
    """Write the network `model` to the file `path`.

    metadata: base, options, scale, bands, guide_channels and any other entries for the file. settings: plain values
    that say how the model was made; the file keeps their hash.
    """
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    # one entry, because safetensors writes several entries in an order that differs from run to run
    header = json.dumps({**stamp("model", settings), **metadata}, sort_keys=True)
    content = save(
        tensors, {"hsisr": header}
    )  # safetensors' own writer maps the file into memory, and then a full disk kills the process
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """The metadata of a model file, with its config_hash.

    path: as for `load_model`. Raises HsisrError if the file is no model file or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = model_path(path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("hsisr", "{}")
    except (OSError, SafetensorError) as error:
        raise HsisrError(f"{path}: not a model file, or damaged ({error})") from error
    header = parse_json(path, text)
    if not isinstance(header, dict):
        raise HsisrError(f"{path}: not a model file, or damaged (its header holds no names and values)")
    check_stamp(path, header, "model")
    check_section(Facts, header, str(path))
    return header


def load_model(path: str | os.PathLike, device: str = "cpu") -> Any:
    """The network of a model file, in eval mode.

    path: a `model.safetensors`, or the run folder that holds one. device: where the weights go, such as `cpu` or
    `cuda`. Raises HsisrError if there is no file, if it is damaged, if its weights do not fit the network that it
    names, or if the network is a user's class that may not be imported (`hsisr.models.own`).
    """
    from safetensors.torch import load_file

    from hsisr.models import registry

    path = model_path(path)
    metadata = read_metadata(path)
    _check_size(path, metadata)
    facts = {key: metadata[key] for key in ("scale", "bands", "guide_channels", "options")}
    try:
        network = registry.build(metadata["base"], **facts)
    except HsisrError as error:
        raise HsisrError(f"{path}: {error}") from error
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise _unfit(path, metadata["base"]) from error
    return network.to(device).eval()


def _unfit(path: Path, base: str) -> HsisrError:
    return HsisrError(f"{path}: its weights do not fit {base} as this version of hsisr builds it; {how_to_make(path)}")


#: Arguments of `registry.build`, in order; a model file holds them.
_BUILT_FROM = ("base", "scale", "bands", "guide_channels", "options")


def _check_size(path: Path, metadata: dict[str, Any]) -> None:
    """Raise HsisrError unless the network that the header names has the tensors of the file.

    This check comes before the network is made: a header of a few bytes could name a network that fills the memory.
    """
    import torch
    from safetensors import safe_open

    from hsisr.models import own, registry

    base = metadata["base"]
    # the user trusts an installed network; such a class may be unable to build without memory
    if own.is_path(base) or base in own.installed_networks():
        return
    if registry.entry(base).kind != "network":
        raise HsisrError(f"{path}: names {base}, which has no weights; the file is damaged, or none of hsisr's")
    with safe_open(path, "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping
    unfit = _unfit(path, base)
    depth = metadata["options"].get("blocks", 0)
    if isinstance(depth, int) and depth > len(found):  # every block has tensors, and takes time to make
        raise unfit
    with torch.device("meta"):
        network = registry.build(*(metadata[key] for key in _BUILT_FROM))
    if found != {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}:
        raise unfit


def import_checkpoint(checkpoint: str | os.PathLike, base: str, scale: int, bands: int, out: str | os.PathLike) -> None:
    """Turn a paper's own checkpoint into a model file that names its source. No code of the checkpoint runs.

    checkpoint: its path. base: registered network that the checkpoint fits. scale, bands: those that it was trained
    for. out: path of the model file. Raises HsisrError as `load_official`, and for a model file of hsisr.
    """
    from hsisr.models import load_official, registry

    checkpoint = Path(checkpoint)
    said = _tensors(checkpoint)[1] if checkpoint.is_file() else {}
    if said:
        raise HsisrError(
            f"{checkpoint}: is a model file of hsisr already, of {said['base']} x{said['scale']}; use it as it is"
        )
    if registry.entry(base).kind != "network":
        raise HsisrError(f"model {base}: is no network and has no weights")
    if not 1 <= bands <= _MOST_BANDS:
        raise HsisrError(f"bands {bands}: expected a whole number from 1 to {_MOST_BANDS}")
    channels = 3 if registry.entry(base).needs_guide else 0
    network = load_official(registry.build(base, scale, bands, channels), checkpoint)
    source = {"source": checkpoint.name, "source_sha256": file_hash(checkpoint)}
    metadata = {"base": base, "options": {}, "scale": scale, "bands": bands, "guide_channels": channels, **source}
    save_model(out, network, metadata, {"imported": source["source_sha256"]})


def read_weights(network: Any, path: str | os.PathLike, facts: dict[str, Any]) -> dict[str, Any]:
    """Copy the weights of a file into a network. The file is a model file of hsisr, or a paper's own checkpoint.

    Returns the metadata of a model file without its stamp; nothing of a checkpoint.

    facts: base, options, scale, bands and guide_channels of the network. A model file must state the same facts, except
    for bands and guide_channels if its network does not depend on them. A checkpoint must have every key in its shape.
    Raises HsisrError if the file does not fit, is damaged, or holds anything but tensors.
    """
    from hsisr.models import load_official, registry

    weights, metadata = _tensors(Path(path))
    if weights is None:
        load_official(network, path)
        return {}
    differing = [key for key in ("base", "options", "scale") if metadata and metadata[key] != facts[key]]
    if differing == ["options"] and registry.same_options(facts["base"], metadata["options"], facts["options"]):
        differing.remove("options")
    if differing:
        told = "; ".join(f"{key} {metadata[key]}, here {facts[key]}" for key in differing)
        raise HsisrError(f"{path}: of another network: {told}; name what the file holds")
    load_official(network, weights, str(path))
    return {key: value for key, value in metadata.items() if key not in stamp("model")}


def _tensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Tensors of a safetensors file by key, None for another file; and the metadata of a model file of hsisr."""
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
    """SHA-256 of the checkpoint from which a model file was imported; None for any other file, and for no file."""
    try:
        source = read_metadata(path).get("source_sha256")
    except HsisrError:
        return None
    return None if source is None else str(source)


def trained_on(path: str | os.PathLike) -> tuple[dict[str, Any], set[str]]:
    """What weights learnt from or were chosen by, as far as their file says.

    Returns a `dataset` with `items` of it, and the hashes of the files of scenes to which the weights were adapted.
    """
    try:
        metadata = read_metadata(path)
    except HsisrError:  # a paper's own checkpoint, or no file
        metadata = {}
    adapted = set(metadata.get("adapted_to_sha256", []))
    if made := metadata.get("taught_by"):  # by `hsisr weights`
        items = [{"name": scene, "scene": scene} for scene in made["scenes"]]
        return {"dataset": made["dataset"], "items": items}, adapted
    return dict(metadata.get("trained_on") or {"dataset": None, "items": []}), adapted


def model_path(path: str | os.PathLike) -> Path:
    """The model file at `path`, or in the run folder `path`. Raises HsisrError if there is none."""
    path = Path(path)
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise HsisrError(f"{file}: no such model file; `hsisr train` makes it")
    return file
