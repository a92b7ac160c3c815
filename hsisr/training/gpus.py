"""Which GPU a job takes where several share a machine: a free one, held under a lock while the process lives."""

import fcntl
import tempfile
from pathlib import Path
from typing import Any

import torch

from hsisr.errors import HsisrError

#: Lock files of the GPUs that this process holds, open as long as it lives; GPU -> file.
_held: dict[int, Any] = {}


def take_gpus(count: int) -> list[int]:
    """Indices of `count` visible GPUs that no other hsisr process holds; they are held until this process ends.

    CUDA_VISIBLE_DEVICES, as Slurm and users set it, says what is visible; indices count what it names. GPUs that this
    process holds come first. Where fewer are free, those with most free memory are shared with other processes.
    Raises HsisrError if fewer are visible.
    """
    visible = torch.cuda.device_count()
    if visible < count:
        raise HsisrError(f"training.devices: {count} GPUs are asked for, torch sees {visible}; ask for fewer")
    free = [index for index in sorted(range(visible), key=lambda index: index not in _held) if _hold(index)]
    for index in free[count:]:
        _held.pop(index).close()
    shared = sorted(set(range(visible)) - set(free), key=_free_memory, reverse=True)
    return sorted(free[:count] + shared[: count - len(free[:count])])


def _hold(index: int) -> bool:
    if index in _held:
        return True
    # several users may share a machine: a file that another one made is opened for reading, which a lock allows
    path = Path(tempfile.gettempdir()) / f"hsisr-gpu-{torch.cuda.get_device_properties(index).uuid}.lock"
    path.touch(mode=0o666, exist_ok=True) if not path.exists() else None
    file = open(path)  # noqa: SIM115  (held until the process ends)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held[index] = file
    return True


def _free_memory(index: int) -> int:
    return torch.cuda.mem_get_info(index)[0]
