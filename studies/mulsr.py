"""Compare the fast form of MulSR with the literal one, and both with the limits of the machine.

        python studies/mulsr.py                     # everything, about twenty minutes on two cores
    python studies/mulsr.py --only inference --bands 4 --repeats 3

The forms take turns in one process, and every number is the median over the repeats. GFLOP/s count the multiplications
and additions of the convolutions that a form really runs, so the fast form gets no credit for work it avoids. The
ceilings are the same count for one convolution of the network's size and for one large matrix product.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from forms import print_ceilings, print_comparison
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr.models import MulSR, load_official
from tests.unit.plain_mulsr import PlainMulSR

SCALE = 8


def main() -> None:
    """Parse the command line and print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bands", type=int, default=31, help="bands of the cube in `inference` and `memory`")
    parser.add_argument("--batch", type=int, default=4, help="patches of 12 x 12 LR pixels in a training step")
    parser.add_argument("--step-bands", type=int, default=4, help="bands of one image in the other training step")
    parser.add_argument("--only", choices=("accuracy", "inference", "training", "memory"))
    parser.add_argument(
        "--memory", type=int, default=1024, metavar="MIB", help="limit that `memory` measures beside none"
    )
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    size = {"width": options.width, "blocks": options.blocks}
    plain = PlainMulSR(SCALE, **size)
    forms = {"plain": plain, "fast": load_official(MulSR(SCALE, **size), plain.state_dict())}

    print(f"torch {torch.__version__}, {options.threads} threads, median of {options.repeats}")
    print_ceilings(64, 128, options.repeats)
    if options.only in (None, "accuracy"):
        print_accuracy(forms)
    if options.only in (None, "inference"):
        print(f"\ninference: LR 16 x 16, guide 128 x 128, {options.bands} bands, x{SCALE}, width {options.width}")
        print_comparison(forms, inference(options.bands), options.repeats)
    if options.only in (None, "training"):
        print(f"\ntraining step: LR 16 x 16, {options.step_bands} bands of one image, forward, backward and Adam")
        print_comparison(forms, training_on_bands(options.step_bands), options.repeats)
        print(f"\ntraining step: one band of {options.batch} patches of 12 x 12 LR pixels, the same")
        print_comparison(forms, training(options.batch), options.repeats)
    if options.only in (None, "memory"):
        what = f"guide 512 x 512, {options.bands} bands, x{SCALE}, float32"
        print(f"\npeak memory: {what}, beside that of a 64 x 64 image")
        for limit in (None, options.memory):
            told = "default" if limit is None else f"--memory {limit} MiB"
            print(f"{told:18} {peak_memory(size, options.bands, limit, options.threads):6.0f} MiB")


def print_accuracy(forms: dict[str, nn.Module]) -> None:
    """Errors of the float32 forms relative to the literal form in float64."""
    lr, guide = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8 * SCALE, 8 * SCALE)
    with torch.no_grad():  # not inference mode: parameters whose type changes there cannot be trained later
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
    return step(lambda form: [nn.functional.l1_loss(form(bands, guide)[0], hr)])


def training_on_bands(count: int) -> Callable[[nn.Module], None]:
    """One optimiser step on bands of one image: together if the form can, else one after the other, as published."""
    lr, guide = torch.rand(1, count + 2, 16, 16), torch.rand(1, 3, 16 * SCALE, 16 * SCALE)
    hr = torch.rand(1, count, 16 * SCALE, 16 * SCALE)
    bands = range(1, count + 1)

    def losses(form: nn.Module) -> Iterator[Tensor]:
        if isinstance(form, MulSR):
            yield nn.functional.l1_loss(form.super_resolve_bands(lr, guide, list(bands)), hr)
            return
        for band in bands:
            sr, _ = form(lr[:, [band - 1, band + 1, band]], guide)
            yield nn.functional.l1_loss(sr, hr[:, band - 1 : band]) / count

    return step(losses)


def step(losses: Callable[[nn.Module], Iterable[Tensor]]) -> Callable[[nn.Module], None]:
    """An optimiser step on the sum of a form's losses."""
    optimisers: dict[nn.Module, torch.optim.Optimizer] = {}

    def run(form: nn.Module) -> None:
        optimiser = optimisers.setdefault(form, torch.optim.Adam(form.parameters(), lr=1e-4))
        optimiser.zero_grad()
        for loss in losses(form):
            with torch.autocast("cpu", enabled=False):
                loss.backward()
        with torch.autocast("cpu", enabled=False):
            optimiser.step()

    return run


def peak_memory(size: dict[str, int], bands: int, limit: int | None, threads: int) -> float:
    """MiB for a 512 x 512 image in its own process, because the peak of a process never falls. Linux only."""
    code = f"""
import re, torch
from hsisr.models import MulSR

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

torch.set_num_threads({threads})
model = MulSR({SCALE}, **{size})
lr, guide = torch.rand(1, {bands}, 64, 64), torch.rand(1, 3, 512, 512)
with torch.inference_mode():
    model.super_resolve(lr[:, :, :8, :8], guide[:, :, :64, :64])
    before = peak()
    model.super_resolve(lr, guide, memory={None if limit is None else limit << 20})
    print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
