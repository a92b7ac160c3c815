"""Compare DeepShare with batched groups with the literal form, and both with the limits of the machine.

        python studies/deepshare.py                     # everything, some minutes on two cores
    python studies/deepshare.py --widths 64 --bands 31 --repeats 3

The forms take turns in one process, and every number is the median over the repeats. GFLOP/s count the convolutions
that a form runs. The ceilings are the same count for one convolution of each width and for one matrix product. A
training step is forward, backward and Adam on the L1 loss. The bicubic image is given in all cases.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from forms import print_ceilings, print_comparison
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr.models import DeepShare, load_official
from hsisr.models.resize import upsample_bicubic
from tests.unit.plain_deepshare import PlainDeepShare

SCALE = 4


def main() -> None:
    """Parse the command line and print every table."""
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
        print_ceilings(width, 64, options.repeats)
        for bands in options.bands:
            plain = PlainDeepShare(bands, SCALE, width)
            forms = {"plain": plain, "batched": load_official(DeepShare(bands, SCALE, width), plain.state_dict())}
            images = torch.rand(options.batch, bands, options.size, options.size)
            what = f"width {width}, {bands} bands, {options.batch} x {options.size} x {options.size} LR pixels"
            print(f"\n{what}, x{SCALE}; groups in a batch: {forms['batched']._batch(images)}")
            works = {"forward": forward, "training": training}
            for name in [options.only] if options.only else works:
                print(name)
                print_comparison(forms, works[name](images), options.repeats)


def forward(lr: Tensor) -> Callable[[nn.Module], None]:
    """Super-resolution without gradients."""
    bicubic = upsample_bicubic(lr, SCALE)

    def run(form: nn.Module) -> None:
        with torch.inference_mode():
            form(lr, bicubic)

    return run


def training(lr: Tensor) -> Callable[[nn.Module], None]:
    """One optimiser step."""
    bicubic = upsample_bicubic(lr, SCALE)
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


if __name__ == "__main__":
    main()
