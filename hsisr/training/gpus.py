"""Which GPU a job takes where several share a machine: a free one, held under a lock while the process lives."""

import tempfile
from pathlib import Path

import torch

from hsisr.errors import HsisrError
from hsisr.locks import Lock, Taken, take

#: Locks of the GPUs that this process holds as long as it lives.
_held: dict[int, Lock] = {}


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
        _held.pop(index).release()
    shared = sorted(set(range(visible)) - set(free), key=_free_memory, reverse=True)
    return sorted(free[:count] + shared[: count - len(free[:count])])


def _hold(index: int) -> bool:
    if index in _held:
        return True
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
    return torch.cuda.mem_get_info(index)[0]
