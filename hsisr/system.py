"""Threads and memory of this process."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

#: Features of a processor on which the speed of convolutions depends, slowest first, as Linux names them.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "asimd", "sve")


def available_threads() -> int:
    """What the process was given: OMP_NUM_THREADS, which Snakemake sets for its jobs, or else its cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def cpu_features() -> list[str]:
    """The features of this processor on which the speed of convolutions depends; empty where Linux does not say."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        words = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
        return [feature for feature in _FEATURES if feature in words]
    return []


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, where glibc would keep the fragments for later."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
