"""Threads and memory of this process."""

import ctypes
import os
from contextlib import suppress


def available_threads() -> int:
    """What the process was given: OMP_NUM_THREADS, which Snakemake sets for its jobs, or else its cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait for one another, unless the environment says otherwise.

    By default they spin: on cores that others use too, two threads of a small network can then take 20 times as long
    as one. It holds for libraries that are loaded later, so call it before torch is imported, and for processes
    started later.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's OpenMP, which has no such policy


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where glibc would keep the fragments for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
