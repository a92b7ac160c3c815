"""Devices: the meaning of `auto` and `cuda`. With several GPUs, hsisr takes a free one and holds it until it ends."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hsisr.errors import HsisrError
from hsisr.locks import Lock, Taken, take

if TYPE_CHECKING:
    import torch

#: Locks of the GPUs that this process holds until it ends.
_held: dict[int, Lock] = {}


def choose_device(name: str, where: str = "device") -> "torch.device":
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:<index>`.

    `auto` is a GPU if there is one, else the CPU. `auto` and `cuda` choose a GPU like `take_gpus`; an index counts the
    visible GPUs. name: the user's word. where: the setting with this word, for errors.
    Raises HsisrError for another name, and for a GPU that torch does not see.
    """
    import torch

    found = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if found is None:
        raise HsisrError(f"{where}: {name!r} is not allowed; expected auto, cpu, cuda or cuda:<index>")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if not count:
        raise HsisrError(f"{where}: {name!r} is not allowed here; torch sees no GPU; use auto or cpu")
    if found[1] is None:
        return torch.device("cuda", take_gpus(1)[0])
    if int(found[1]) >= count:
        raise HsisrError(f"{where}: {name!r} is not there; torch sees {count} GPUs here, the first is cuda:0")
    return torch.device(name)


def take_gpus(count: int) -> list[int]:
    """Indices of `count` visible GPUs that no other hsisr process holds. This process then holds them until it ends.

    CUDA_VISIBLE_DEVICES, as Slurm and users set it, decides which GPUs are visible; indices count only these. GPUs that
    this process already holds come first. If too few are free, it shares the ones with most free memory.
    Raises HsisrError if fewer are visible.
    """
    import torch

    visible = torch.cuda.device_count()
    if visible < count:
        raise HsisrError(f"training.devices: {count} GPUs are asked for, torch sees {visible}; ask for fewer")
    free = [index for index in sorted(range(visible), key=lambda index: index not in _held) if _hold(index)]
    for index in free[count:]:
        _held.pop(index).release()
    shared = sorted(set(range(visible)) - set(free), key=_free_memory, reverse=True)
    return sorted(free[:count] + shared[: count - len(free[:count])])


def _hold(index: int) -> bool:
    if index in _held:
        return True
    import torch

    path = Path(tempfile.gettempdir()) / f"hsisr-gpu-{torch.cuda.get_device_properties(index).uuid}.lock"
    try:
        _held[index] = take(path, mode=0o666, advice="set TMPDIR to a folder on another one")
    except Taken:
        return False
    except HsisrError as error:
        if isinstance(error.__cause__, PermissionError):  # another user's, of a version that let the umask rule
            return False
        raise
    return True


def _free_memory(index: int) -> int:
    import torch

    return torch.cuda.mem_get_info(index)[0]
