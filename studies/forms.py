"""Two forms of a network timed in turns, in float32 and under bfloat16, beside the limits of the machine."""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr.evaluation.environment import processor
from hsisr.system import cpu_features

TYPES = (torch.float32, torch.bfloat16)


def print_ceilings(width: int, side: int, repeats: int) -> None:
    """Speed of a 3x3 convolution of `width` maps of side x side, and of a matrix product; and the processor's name."""
    print(f"processor: {processor()}, {' '.join(cpu_features())}")
    for dtype in TYPES:
        matrix = torch.randn(2048, 2048, dtype=dtype)
        maps = torch.randn(1, width, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(width, width, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
        products = {
            "matmul": (2 * 2048**3, lambda m=matrix: m @ m),
            "conv2d": (2 * 9 * width**2 * side**2, lambda m=maps, k=kernel: nn.functional.conv2d(m, k, padding=1)),
        }
        with torch.inference_mode():
            rates = {name: flop / _median(run, 4 * repeats) / 1e9 for name, (flop, run) in products.items()}
        told = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in rates.items())
        print(f"ceiling {_name(dtype)}, width {width}: {told}")


def print_comparison(forms: dict[str, nn.Module], run: Callable[[nn.Module], None], repeats: int) -> None:
    """Seconds of `run` on each form in each type: medians of turns after one turn to warm up.

    forms: one is "plain", and the others are compared with it.
    """
    flops, seconds = {}, {}
    for name, form in forms.items():
        with FlopCounterMode(display=False) as counter:
            run(form)
        flops[name] = counter.get_total_flops()
    for number in range(repeats + 1):
        for dtype in TYPES:
            for name, form in forms.items():
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                    taken = _time(lambda form=form: run(form))
                if number:
                    seconds.setdefault((dtype, name), []).append(taken)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    print("type      form     seconds  GFLOP/s  faster than plain, same type  faster than plain float32")
    for (dtype, name), value in medians.items():
        same, single = (medians[other, "plain"] / value for other in (dtype, torch.float32))
        print(f"{_name(dtype):9} {name:8} {value:7.3f}  {flops[name] / value / 1e9:7.0f}  {same:28.2f}  {single:25.2f}")


def _median(run: Callable[[], Tensor], repeats: int) -> float:
    run()
    return statistics.median(_time(run) for _ in range(repeats))


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
