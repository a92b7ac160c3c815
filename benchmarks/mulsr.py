"""Measure the fast form of MulSR against the literal one, and both against what the machine can do.

    python benchmarks/mulsr.py                     # all of it, about ten minutes on two cores
    python benchmarks/mulsr.py --only inference --bands 4 --repeats 3

The forms take turns in one process; every number is the median over the repeats. GFLOP/s count the multiplications
and additions of the convolutions that a form really runs, so that the fast form gets no credit for work it avoids.
The ceilings are the same count for one convolution of the network's size and for one large matrix product.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr.models import MulSR, load_official
from tests.unit.plain_mulsr import PlainMulSR

TYPES = (torch.float32, torch.bfloat16)
SCALE = 8


def main() -> None:
    """Parse the command line, print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bands", type=int, default=31, help="bands of the cube that inference super-resolves")
    parser.add_argument("--batch", type=int, default=4, help="patches of 12 x 12 LR pixels in a training step")
    parser.add_argument("--only", choices=("accuracy", "inference", "training"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    plain = PlainMulSR(SCALE)
    forms = {"plain": plain, "fast": load_official(MulSR(SCALE), plain.state_dict())}

    print(f"torch {torch.__version__}, {options.threads} threads, median of {options.repeats}")
    print_ceilings(options.repeats)
    if options.only in (None, "accuracy"):
        print_accuracy(forms)
    if options.only in (None, "inference"):
        print(f"\ninference: LR 16 x 16, guide 128 x 128, {options.bands} bands, x{SCALE}, width 64")
        print_comparison(forms, inference(options.bands), options.repeats)
    if options.only in (None, "training"):
        print(f"\ntraining step: {options.batch} patches of 12 x 12 LR pixels, forward, backward and Adam")
        print_comparison(forms, training(options.batch), options.repeats)


def print_ceilings(repeats: int) -> None:
    """What a 3x3 convolution of 64 to 64 channels and a matrix product reach."""
    for dtype in TYPES:
        matrix = torch.randn(2048, 2048, dtype=dtype)
        maps = torch.randn(1, 64, 128, 128, dtype=dtype).contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
        products = {
            "matmul": (2 * 2048**3, lambda m=matrix: m @ m),
            "conv2d": (2 * 9 * 64 * 64 * 128**2, lambda m=maps, k=kernel: nn.functional.conv2d(m, k, padding=1)),
        }
        with torch.inference_mode():
            rates = {name: flop / median(run, 4 * repeats) / 1e9 for name, (flop, run) in products.items()}
        print(f"ceiling {name_of(dtype)}: " + ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in rates.items()))


def print_accuracy(forms: dict[str, nn.Module]) -> None:
    """Errors of the float32 forms relative to the literal form in float64."""
    lr, guide = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8 * SCALE, 8 * SCALE)
    with torch.inference_mode():
        estimates = {name: form.super_resolve(lr, guide).double() for name, form in forms.items()}
        truth = forms["plain"].double().super_resolve(lr.double(), guide.double())
        forms["plain"].float()
    errors = {name: float((sr - truth).abs().max() / truth.abs().max()) for name, sr in estimates.items()}
    told = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    print(f"\nerror in float32 relative to float64: {told}")


def inference(bands: int) -> Callable[[nn.Module], None]:
    """Super-resolution of a cube."""
    lr, guide = torch.rand(1, bands, 16, 16), torch.rand(1, 3, 16 * SCALE, 16 * SCALE)

    def run(form: nn.Module) -> None:
        with torch.inference_mode():
            form.super_resolve(lr, guide)

    return run


def training(batch: int) -> Callable[[nn.Module], None]:
    """One optimiser step on one band of a batch of patches."""
    bands, guide = torch.rand(batch, 3, 12, 12), torch.rand(batch, 3, 12 * SCALE, 12 * SCALE)
    hr = torch.rand(batch, 1, 12 * SCALE, 12 * SCALE)
    optimisers: dict[nn.Module, torch.optim.Optimizer] = {}

    def run(form: nn.Module) -> None:
        optimiser = optimisers.setdefault(form, torch.optim.Adam(form.parameters(), lr=1e-4))
        optimiser.zero_grad()
        loss = nn.functional.l1_loss(form(bands, guide)[0], hr)
        with torch.autocast("cpu", enabled=False):
            loss.backward()
            optimiser.step()

    return run


def print_comparison(forms: dict[str, nn.Module], run: Callable[[nn.Module], None], repeats: int) -> None:
    """Time both forms in both types, in turns."""
    flops, seconds = {}, {}
    for name, form in forms.items():
        with FlopCounterMode(display=False) as counter:
            run(form)
        flops[name] = counter.get_total_flops()
    for _ in range(repeats):
        for dtype in TYPES:
            for name, form in forms.items():
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                    seconds.setdefault((dtype, name), []).append(elapsed(lambda form=form: run(form)))
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    print("type      form   seconds  GFLOP/s  faster than plain, same type  faster than plain float32")
    for (dtype, name), value in medians.items():
        same, single = (medians[other, "plain"] / value for other in (dtype, torch.float32))
        print(
            f"{name_of(dtype):9} {name:6} {value:7.2f}  {flops[name] / value / 1e9:7.0f}  {same:28.2f}  {single:25.2f}"
        )


def median(run: Callable[[], Tensor], repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    run()
    return statistics.median(elapsed(run) for _ in range(repeats))


def elapsed(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def name_of(dtype: torch.dtype) -> str:
    """float32, bfloat16."""
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
