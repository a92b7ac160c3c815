"""Threads and memory of this process."""

import ctypes
import os
import sys
from contextlib import suppress


def available_threads() -> int:
    """What the process was given: OMP_NUM_THREADS, which Snakemake sets for its jobs, or else its cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def fix_threads(threads: int | None, processes: int = 1) -> int:
    """Use this many CPU threads, shared by `processes`; None: what the job was given, else torch's own choice.

    Returns the threads of each process.
    """
    import torch

    threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0))  # Snakemake exports the job's share
    if threads:
        torch.set_num_threads(max(1, threads // processes))
    return torch.get_num_threads()


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where glibc would keep the fragments for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
