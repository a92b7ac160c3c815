"""Threads and memory of this process, and of its GPUs."""

import ctypes
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsisr.errors import HsisrError

if TYPE_CHECKING:
    import torch

#: Where Linux tells of processes and of their control groups.
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
#: Of a GPU's memory: the part that a network's maps may take, and that of what is free of it.
_GPU_PART, _FREE_PART = 0.4, 0.8
#: Times that work is tried again with half the memory.
_HALVINGS = 5
#: Features of a processor on which the speed of convolutions depends, slowest first, as Linux names them.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "sve")


def available_threads() -> int:
    """What the process was given: OMP_NUM_THREADS, which Snakemake sets for its jobs, or else its cores."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return _given_threads() or cores


def fix_threads(threads: int | None, processes: int = 1) -> int:
    """Use this many CPU threads, shared by `processes`; None: what the job was given, else torch's own choice.

    Returns the threads of each process.
    """
    import torch

    threads = threads or _given_threads()
    if threads:
        torch.set_num_threads(max(1, threads // processes))
    return torch.get_num_threads()


def _given_threads() -> int:
    """Threads by OMP_NUM_THREADS, to which Snakemake sets a job's share; 0 where it does not name one number."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def cpu_flags() -> str:
    """All features of this processor, the line that Linux has for them; empty where it does not say."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""


def cpu_features() -> list[str]:
    """The features of this processor on which the speed of convolutions depends; empty where Linux does not say."""
    words = cpu_flags().split()
    return [feature for feature in _FEATURES if feature in words]


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait for one another, unless the environment says otherwise.

    By default they spin: on cores that others use too, two threads of a small network can then take 20 times as long
    as one. It holds for libraries that are loaded later, so call it before torch is imported, and for processes
    started later.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's OpenMP, which has no such policy


def available_memory() -> float:
    """Bytes that a process can still take on Linux: what is free, and no more than its container or job may have.

    math.inf on other systems, which do not say.
    """
    try:
        lines = dict(line.split(":") for line in (_PROC / "meminfo").read_text().splitlines())
        free = 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return math.inf
    return min([free, *_group_limits()])


def _group_limits() -> Iterator[int]:
    """Limits of memory of this process's control groups, as a container or a job of Slurm sets them."""
    with suppress(OSError, ValueError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2
                root, name = _GROUPS, "memory.max"
            elif "memory" in controllers.split(","):
                root, name = _GROUPS / "memory", "memory.limit_in_bytes"
            else:
                continue
            group = root / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(root):
                    with suppress(OSError, ValueError):  # a group without a limit
                        yield int((folder / name).read_text())


def most_memory_mb() -> float:
    """Largest memory of this process so far, in MB; NaN on Windows, where it is not measured."""
    if sys.platform == "win32":
        return math.nan
    import resource  # not at the top: there is none on Windows

    units_per_mb = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mb


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where glibc would keep the fragments for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def wait_for(device: "torch.device") -> None:
    """Wait until a GPU has done what it was given; on a CPU it has."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_gpu_memory(device: "torch.device") -> int:
    """Bytes that this process can still take of a GPU: those that nobody has, and those that it keeps unused."""
    import torch

    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def gpu_memory_for_maps(device: "torch.device") -> int:
    """Bytes that a network may plan with for its maps.

    A fixed part of the GPU, so that equal runs batch alike; without gradients less, where others use it.
    """
    import torch

    part = int(_GPU_PART * torch.cuda.get_device_properties(device).total_memory)
    return part if torch.is_grad_enabled() else min(part, int(_FREE_PART * free_gpu_memory(device)))


def within_gpu_memory(work: Callable[[int | None], Any], memory: int | None, device: "torch.device") -> Any:
    """work(memory), and again with half the memory each time that the GPU has no more to give.

    memory: bytes that the work may take; None: what `gpu_memory_for_maps` says. Raises torch.OutOfMemoryError where
    little does not help, and HsisrError as `work` does.
    """
    import torch

    for _ in range(_HALVINGS):
        try:
            return work(memory)
        except torch.OutOfMemoryError:
            pass  # what the error holds on to is let go here
        torch.cuda.empty_cache()
        memory = (memory or gpu_memory_for_maps(device)) // 2
    return work(memory)


def gpu_is_full(device: "torch.device", advice: str) -> HsisrError:
    """What to tell a user whose GPU has no memory left; advice: what to do about it."""
    import torch

    free, total = (n / 2**30 for n in torch.cuda.mem_get_info(device))
    ours = torch.cuda.memory_reserved(device) / 2**30
    return HsisrError(
        f"{device}: out of memory, with {ours:.1f} GiB of {total:.1f} in use here and {total - free - ours:.1f} by "
        f"others; {advice}, or another device"
    )


def gpus_in_use() -> list[int]:
    """Numbers of the visible GPUs on which this process has, or had, something."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [index for index in range(count) if torch.cuda.max_memory_reserved(index) > 0]
