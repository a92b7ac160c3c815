"""Measure DeepShare with its groups batched against the literal form, and against what the machine can do.

    python benchmarks/deepshare.py                     # all of it, some minutes on two cores
    python benchmarks/deepshare.py --widths 64 --bands 31 --repeats 3

The forms take turns in one process; every number is the median over the repeats. Both forms compute the same
convolutions, counted once. The ceilings are the same count for one convolution of each width and one matrix product.
A training step is forward, backward and Adam on the L1 loss; the bicubic image is given in all cases.
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

from hsisr.models import DeepShare, load_official
from hsisr.models.resize import bicubic_upsampled
from tests.unit.plain_deepshare import PlainDeepShare

TYPES = (torch.float32, torch.bfloat16)
SCALE = 4


def main() -> None:
    """Parse the command line, print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--bands", type=int, nargs="+", default=[31, 128])
    parser.add_argument("--size", type=int, default=16, help="side of the image in LR pixels")
    parser.add_argument("--batch", type=int, default=1, help="images in a batch")
    parser.add_argument("--only", choices=("forward", "training"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} threads, median of {options.repeats}")
    for width in options.widths:
        print_ceilings(width, options.repeats)
        for bands in options.bands:
            plain = PlainDeepShare(bands, SCALE, width)
            forms = {"plain": plain, "batched": load_official(DeepShare(bands, SCALE, width), plain.state_dict())}
            images = torch.rand(options.batch, bands, options.size, options.size)
            what = f"width {width}, {bands} bands, {options.batch} x {options.size} x {options.size} LR pixels"
            print(f"\n{what}, x{SCALE}; groups in a batch: {forms['batched']._batch(images)}")
            works = {"forward": forward, "training": training}
            for name in [options.only] if options.only else works:
                print_comparison(name, forms, works[name](images), options.repeats)


def print_ceilings(width: int, repeats: int) -> None:
    """What a 3x3 convolution of the network's width and a matrix product reach."""
    for dtype in TYPES:
        matrix = torch.randn(2048, 2048, dtype=dtype)
        maps = torch.randn(1, width, 64, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(width, width, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
        products = {
            "matmul": (2 * 2048**3, lambda m=matrix: m @ m),
            "conv2d": (2 * 9 * width**2 * 64**2, lambda m=maps, k=kernel: nn.functional.conv2d(m, k, padding=1)),
        }
        with torch.inference_mode():
            rates = {name: flop / median(run, 4 * repeats) / 1e9 for name, (flop, run) in products.items()}
        text = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in rates.items())
        print(f"ceiling {name_of(dtype)}, width {width}: {text}")


def forward(lr: Tensor) -> Callable[[nn.Module], None]:
    """Super-resolution without gradients."""
    bicubic = bicubic_upsampled(lr, SCALE)

    def run(form: nn.Module) -> None:
        with torch.inference_mode():
            form(lr, bicubic)

    return run


def training(lr: Tensor) -> Callable[[nn.Module], None]:
    """One optimiser step."""
    bicubic = bicubic_upsampled(lr, SCALE)
    hr = torch.rand_like(bicubic)
    optimisers: dict[nn.Module, torch.optim.Optimizer] = {}

    def run(form: nn.Module) -> None:
        parameters = [p for name, p in form.named_parameters() if "_RGB" not in name]
        optimiser = optimisers.setdefault(form, torch.optim.Adam(parameters, lr=1e-4, fused=True))
        optimiser.zero_grad()
        loss = nn.functional.l1_loss(form(lr, bicubic), hr)
        with torch.autocast("cpu", enabled=False):
            loss.backward()
            optimiser.step()

    return run


def print_comparison(what: str, forms: dict[str, nn.Module], run: Callable[[nn.Module], None], repeats: int) -> None:
    """Time both forms in both types, in turns."""
    with FlopCounterMode(display=False) as counter:
        run(forms["plain"])
    flops, seconds = counter.get_total_flops(), {}
    for number in range(repeats + 1):
        for dtype in TYPES:
            for name, form in forms.items():
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                    taken = elapsed(lambda form=form: run(form))
                if number:  # the first round warms up
                    seconds.setdefault((dtype, name), []).append(taken)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"{what:9}type      form     seconds  GFLOP/s  faster than plain, same type  faster than plain float32")
    for (dtype, name), value in medians.items():
        same, single = (medians[other, "plain"] / value for other in (dtype, torch.float32))
        print(
            f"{'':9}{name_of(dtype):9} {name:8} {value:7.3f}  {flops / value / 1e9:7.0f}  {same:28.2f}  {single:25.2f}"
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
