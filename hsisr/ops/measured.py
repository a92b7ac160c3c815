"""The map size above which the native CPU kernel is faster than plain PyTorch here: measured once, kept in the cache.

The choice changes rounding, so it must not differ between runs. The table lies beside the measured library, with one
entry for each number of channels and threads. Later runs read it.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from hsisr.errors import HsisrError
from hsisr.files import read_json, write_json
from hsisr.locks import hold
from hsisr.ops import build, reference, scan
from hsisr.ops.reference import Direction

#: Sides of the maps that are measured. Maps smaller than the first go to plain PyTorch.
SIDES = (48, 64, 96)
#: From this H*W, 128 x 128, the native kernel runs without a measurement.
ALWAYS_PIXELS = 128 * 128
#: The kernel counts as faster up to this share of PyTorch's time: a near tie goes to PyTorch.
_SOONER = 0.9
_REPEATS, _TAPS = 3, 7


def native_from(channels: int) -> int:
    """Smallest H*W for which maps of `channels` channels go to the native kernel, with the threads of this process.

    Builds the kernel if necessary. If it cannot be built, or the table cannot be kept, the result is ALWAYS_PIXELS.
    """
    return _native_from(channels, torch.get_num_threads())


@cache
def _native_from(channels: int, threads: int) -> int:
    try:
        library = build.cpu_library()
        build.load(library)
        path = build.cached_path(library).with_suffix(".faster_from.json")
        with hold(path.with_suffix(".lock"), wait=True, advice="set XDG_CACHE_HOME to a folder on another one"):
            return _read_or_measure(path, channels, f"{channels} channels, {threads} threads")
    except (build.Unavailable, HsisrError):  # a cache without locks, or a read-only cache
        return ALWAYS_PIXELS


def _read_or_measure(path: Path, channels: int, entry: str) -> int:
    table = read_json(path) if path.is_file() else {}
    if not isinstance(table.get(entry), int):
        table[entry] = _measure(channels)
        write_json(path, dict(sorted(table.items())))
    return int(table[entry])


def _measure(channels: int) -> int:
    """H*W of the smallest side at which the kernel is faster, and is also faster at all larger sides."""
    random = torch.Generator().manual_seed(0)
    scale = 0.6 / (channels * _TAPS) ** 0.5
    sizes = ((channels, channels, 1, _TAPS), (channels, channels, _TAPS, 1))
    weights = [scale * torch.randn(size, generator=random) for size in sizes]
    directions = [(weight, torch.zeros(channels), torch.tensor([0.25])) for weight in weights]
    found = ALWAYS_PIXELS
    with torch.inference_mode():
        for side in reversed(SIDES):
            x = torch.randn(1, channels, side, side, generator=random)
            native, plain = (
                _seconds(function, x, directions)
                for function in (scan.directional_aggregation, reference.directional_aggregation)
            )
            if native > _SOONER * plain:
                break
            found = side * side
    return found


def _seconds(function: Callable[..., torch.Tensor], x: torch.Tensor, directions: list[Direction]) -> float:
    """The shortest of some runs, after a first run that does not count."""
    spent = []
    for _ in range(_REPEATS + 1):
        started = time.perf_counter()
        function(x, *directions)
        spent.append(time.perf_counter() - started)
    return min(spent[1:])
