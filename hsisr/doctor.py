"""`hsisr doctor`: what this machine offers, what is missing, and what this means for the user."""

import importlib.util
import os
import shutil
import sys
from importlib import metadata

#: Free disk that the demo needs, in GiB; its files take about 0.5.
NEEDED_DISK_GIB = 2.0
#: Installed distribution -> the reason why the demo needs it.
NEEDED = {
    "torch": "networks",
    "snakemake": "the workflow",
    "numpy": "arrays",
    "scipy": "filters",
    "h5py": "scene files",
    "rasterio": "GeoTIFF and ENVI",
    "tensorly": 'the embedded scene: pip install "hsisr[demo]"',
    "scikit-image": 'photographs that help training: pip install "hsisr[demo]"',
}


def report() -> bool:
    """Print the findings, one a line; True if the demo can run."""
    fine = True
    print(f"python       {sys.version.split()[0]}")
    for package, purpose in NEEDED.items():
        try:
            print(f"{package:<12} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package:<12} MISSING: needed for {purpose}")
            fine = False
    if importlib.util.find_spec("torch") is not None:
        _devices()
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    print(f"compiler     {compiler or 'none: the directional aggregation op runs as plain PyTorch, which is slower'}")
    print(f"nvcc         {shutil.which('nvcc') or 'none: no CUDA op can be built'}")
    _op()
    print(f"cores        {os.cpu_count()}")
    free = shutil.disk_usage(".").free / 2**30
    enough = free >= NEEDED_DISK_GIB
    print(f"free disk    {free:.1f} GiB" + ("" if enough else f": TOO LITTLE, the demo needs {NEEDED_DISK_GIB} GiB"))
    fine &= enough
    how = "make demo" if os.path.isfile("Makefile") else "in a copy of hsisr's repository, make demo"
    print(f"the demo can run: {how}" if fine else "the demo cannot run: see the lines in capitals")
    return fine


def _devices() -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        print(f"gpu {index}        {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if not count:
        print("gpu          none visible to torch: training runs on the CPU")


def _op() -> None:
    from hsisr import ops

    print(f"op backend   {ops.describe_backend()}")
