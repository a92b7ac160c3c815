"""Threads and memory of this process, and memory of its GPUs."""

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

#: Linux's folders about processes and about their control groups.
_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
#: Parts of a GPU's memory that a network's maps may take: of the total, and of the free memory.
_GPU_PART, _FREE_PART = 0.4, 0.8
#: Most retries of a computation with half the memory.
_HALVINGS = 5
#: Processor features that decide the speed of convolutions, slowest first, with Linux's names.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "sve")


def available_threads() -> int:
    """Threads of this process: OMP_NUM_THREADS, which Snakemake sets for its jobs, or else the number of cores."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return _given_threads() or cores


def fix_threads(threads: int | None, processes: int = 1) -> int:
    """Use this many CPU threads, shared by `processes`; None: the job's threads, or else torch's own choice.

    Returns the threads of each process.
    """
    import torch

    threads = threads or _given_threads()
    if threads:
        torch.set_num_threads(max(1, threads // processes))
    return torch.get_num_threads()


def _given_threads() -> int:
    """Threads by OMP_NUM_THREADS, which Snakemake sets to a job's share; 0 if it is not a single number."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def cpu_flags() -> str:
    """All features of this processor, as Linux lists them; empty if it does not."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return ""


def cpu_features() -> list[str]:
    """The processor's features that decide the speed of convolutions; empty if Linux does not list them."""
    words = cpu_flags().split()
    return [feature for feature in _FEATURES if feature in words]


def wait_passively() -> None:
    """Let threads of OpenMP and OpenBLAS sleep while they wait for one another, unless the environment says otherwise.

    By default, they keep a core busy. On shared cores, two threads of a small network, or of `prior` on a small scene,
    can then take 20 times as long as one. The setting affects only libraries and processes that start later. So call it
    before the import of numpy and torch.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # for Intel's OpenMP, which has no such policy
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")  # numpy's and scipy's: 2**14 cycles, some microseconds


def available_memory() -> float:
    """Bytes that a process can still take on Linux: the free memory, within the limit of its container or job.

    math.inf on other systems, which do not report it.
    """
    try:
        lines = dict(line.split(":") for line in (_PROC / "meminfo").read_text().splitlines())
        free = 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return math.inf
    return min([free, *_group_limits()])


def _group_limits() -> Iterator[int]:
    """Memory limits of this process's control groups, which a container or a Slurm job sets."""
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
                    with suppress(OSError, ValueError):  # the group has no limit
                        yield int((folder / name).read_text())


def most_memory_mb() -> float:
    """Largest memory of this process so far, in MB; NaN on Windows, where hsisr does not measure it."""
    if sys.platform == "win32":
        return math.nan
    if sys.platform == "linux":  # there, the other number counts the program that started this one too
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    import resource  # not at the top: Windows lacks it

    units_per_mb = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mb


def return_freed_memory() -> None:
    """Return freed memory to the system. Without this, glibc keeps fragments for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def wait_for(device: "torch.device") -> None:
    """Wait until a GPU has finished its work. A CPU has no queue, so there is nothing to wait for."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_gpu_memory(device: "torch.device") -> int:
    """Bytes that this process can still take from a GPU: free memory, and memory that it reserves but does not use."""
    import torch

    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def gpu_memory_for_maps(device: "torch.device") -> int:
    """Bytes that a network may plan for its maps.

    They are a fixed part of the GPU, so that equal runs use equal batches. Without gradients, they may be less, if
    other processes use the GPU.
    """
    import torch

    part = int(_GPU_PART * torch.cuda.get_device_properties(device).total_memory)
    return part if torch.is_grad_enabled() else min(part, int(_FREE_PART * free_gpu_memory(device)))


def within_gpu_memory(work: Callable[[int | None], Any], memory: int | None, device: "torch.device") -> Any:
    """The result of work(memory). If the GPU runs out of memory, retry with half the memory each time.

    memory: bytes that the work may take; None: those of `gpu_memory_for_maps`. device: of the work. Raises
    torch.OutOfMemoryError if even little memory is too much, and HsisrError as `work` does.
    """
    import torch

    for _ in range(_HALVINGS):
        try:
            return work(memory)
        except torch.OutOfMemoryError:
            pass  # release the objects that the error holds
        torch.cuda.empty_cache()
        memory = (memory or gpu_memory_for_maps(device)) // 2
    return work(memory)


def gpu_is_full(device: "torch.device", advice: str) -> HsisrError:
    """The error for a user whose GPU has no memory left. advice: what the user can do."""
    import torch

    free, total = (n / 2**30 for n in torch.cuda.mem_get_info(device))
    ours = torch.cuda.memory_reserved(device) / 2**30
    return HsisrError(
        f"{device}: out of memory, with {ours:.1f} GiB of {total:.1f} in use here and {total - free - ours:.1f} by "
        f"others; {advice}, or another device"
    )


def gpus_in_use() -> list[int]:
    """Numbers of the visible GPUs whose memory this process uses or has used."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [index for index in range(count) if torch.cuda.max_memory_reserved(index) > 0]
