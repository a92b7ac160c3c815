"""The costs of super-resolution: time, memory and arithmetic of several models, in turns, on one crop and one machine.

Times measured model after model depend on what else the machine did. So every round runs every model once, and the
median of the rounds counts.
"""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from hsisr.pipeline.pair_files import PairFile
from hsisr.system import gpus_in_use, return_freed_memory

#: Largest side of the LR crop: large enough to fill a network's kernels, small enough for slow networks.
CROP_LR_PX = 16
#: Most timed rounds, after one round without timing.
ROUNDS = 3
#: No round begins after this many seconds.
BUDGET_S = 8.0


@dataclass(frozen=True)
class Cost:
    """The cost of one model.

    seconds_per_megapixel_band: wall time per million values of the result. peak_memory_mb: the increase over the memory
    in use before, on the computing device; None if the system does not tell. flops_per_value: floating-point operations
    per value of the result, 2 for a multiply-add, counted while the network runs; None for other methods.
    """

    seconds_per_megapixel_band: float
    peak_memory_mb: float | None
    flops_per_value: float | None


def crop(pair: PairFile, scale: int) -> PairFile:
    """The middle of a pair without its reference, at most CROP_LR_PX a side."""
    rows, columns = (_middle(size) for size in pair.lr.shape[1:])
    fine_rows, fine_columns = (slice(part.start * scale, part.stop * scale) for part in (rows, columns))
    guide, mask = (
        None if full is None else np.ascontiguousarray(full[..., fine_rows, fine_columns])
        for full in (pair.guide, pair.mask)
    )
    lr = np.ascontiguousarray(pair.lr[:, rows, columns])
    return replace(pair, lr=lr, guide=guide, mask=mask, hr=None, labels=None)


def measure(programs: Mapping[str, Callable[[], np.ndarray]], budget_s: float = BUDGET_S) -> dict[str, Cost]:
    """The cost of every program in `programs`; each returns the super-resolved crop (B, H, W).

    In the first round, libraries load and kernels are built: it counts operations and is not timed. budget_s: no round
    begins after this many seconds.
    """
    counted = {name: _count(program) for name, program in programs.items()}
    begun = time.perf_counter()
    seconds, peaks = {}, {}
    for name, program in programs.items():
        memory = _Memory()
        seconds[name] = [_time(program)]
        peaks[name] = memory.peak_mb()
    for _ in range(ROUNDS - 1):
        if time.perf_counter() - begun > budget_s:
            break
        for name, program in programs.items():
            seconds[name].append(_time(program))
    found = {}
    for name, (values, operations) in counted.items():
        per_value = operations / values if operations else None
        found[name] = Cost(median(seconds[name]) / values * 1e6, peaks[name], per_value)
    return found


def _middle(size: int) -> slice:
    length = min(size, CROP_LR_PX)
    return slice((size - length) // 2, (size - length) // 2 + length)


def _count(program: Callable[[], np.ndarray]) -> tuple[int, int]:
    """Number of values in the result, and of floating-point operations in torch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False, custom_mapping=_more_operations()) as counter:
        result = program()
    return result.size, counter.get_total_flops()


def _more_operations() -> dict[Any, Callable[..., int]]:
    """Kernels whose operations torch does not count: its attention on a CPU, and hsisr's own."""
    import torch
    from torch.utils.flop_counter import sdpa_flop_count

    from hsisr.ops import scan  # noqa: F401 - registers them

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def conv_scan(x: Any, weight: Any, *_: Any, **__: Any) -> int:
        batch, _, rows, columns = x  # one C x C x k product for each pixel
        return 2 * batch * rows * columns * int(np.prod(weight))

    return {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
        torch.ops.hsisr.conv_scan: conv_scan,
    }


def _time(program: Callable[[], np.ndarray]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    program()
    return time.perf_counter() - started


class _Memory:
    """Watches memory from its creation on: that of the GPUs if one computes, else that of the process."""

    def __init__(self) -> None:
        import torch

        gc.collect()
        return_freed_memory()  # freed memory would hide the program's use
        self._allocated = {index: torch.cuda.memory_allocated(index) for index in gpus_in_use()}
        for index in self._allocated:
            torch.cuda.reset_peak_memory_stats(index)
        self._resident_mb = _status_mb("VmRSS") if _reset_peak() else None

    def peak_mb(self) -> float | None:
        """The largest increase since creation; None if the system does not tell."""
        import torch

        on_gpus = sum(torch.cuda.max_memory_allocated(gpu) - before for gpu, before in self._allocated.items())
        if on_gpus:
            return on_gpus / 2**20
        return None if self._resident_mb is None else max(_status_mb("VmHWM") - self._resident_mb, 0.0)


def _reset_peak() -> bool:
    """Restart the process's peak at its present memory; False if the system does not allow it."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def _status_mb(key: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024
