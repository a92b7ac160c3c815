"""The environment of a result: versions and machine."""

import os
import platform
import sys
from importlib import metadata
from typing import Any

from hsisr.system import available_threads, cpu_features, gpus_in_use


def environment() -> dict[str, Any]:
    """Versions of the packages that can change numbers, and the machine with the GPUs that this process has used.

    A process that has not loaded torch, which takes seconds, need not do so for this: it has used no GPU.
    """
    torch = sys.modules.get("torch")
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "scipy", "h5py", "snakemake")}
    return {
        "python": platform.python_version(),
        **versions,
        "machine": platform.machine(),
        "processor": processor(),
        "cpu_features": cpu_features(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else available_threads(),
        "gpu": (", ".join(torch.cuda.get_device_name(index) for index in gpus_in_use()) or None) if torch else None,
    }


def processor() -> str:
    """Name of the CPU, as Linux states it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
