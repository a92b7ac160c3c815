"""Checks on this machine that the compiled backends give the same as plain PyTorch; `hsisr ops` runs them."""

from collections.abc import Callable

import torch
from torch import Tensor

from hsisr.errors import HsisrError
from hsisr.ops import build, plan, reference, scan

#: Largest relative error allowed in the result and its seven gradients, by precision of the products. With half and
#: tf32 operands, PReLU gates flip where a message is near zero. So their gradients agree only roughly.
TOLERANCE = {"fp64": 1e-10, "fp32": 1e-4, "tf32": 0.1, "bf16": 0.3, "fp16": 0.1}

_CHANNELS, _TAPS = 64, 7


def check(build_missing: bool = False, say: Callable[[str], None] = print) -> None:
    """Compare each backend that can run here with plain PyTorch, and say each outcome in one line.

    build_missing: whether to build missing libraries; if not, a line says that a library is missing. say: prints a
    line. Raises HsisrError if a result is wrong, or if a build fails.
    """
    cases = [("cpu", "fp64", "cpu"), ("cpu", "fp32", "cpu")]
    if torch.version.cuda is not None and torch.cuda.is_available():
        cases += [("cuda", precision, "cuda") for precision in plan.PRECISIONS]
    else:
        say(
            "cuda: cannot run here: " + ("no GPU is visible" if torch.version.cuda else "PyTorch is built without CUDA")
        )
    failed = []
    for name, precision, device in cases:
        label = f"{name} {precision}"
        try:
            library = _library(name, precision)
            if not build_missing and not build.cached_path(library).exists():
                say(f"{label}: not built" + _reason(build.obstacle(library)))
                continue
            error = _largest_error(precision, device)
        except (build.Unavailable, plan.Refused) as reason:
            say(f"{label}: cannot run: {reason}")
            failed += [label] if build_missing and isinstance(reason, build.Unavailable) else []
            continue
        allowed = TOLERANCE[precision]
        say(f"{label}: largest relative error against plain PyTorch {error:.1e} (allowed {allowed:.0e})")
        if not error <= allowed:
            raise HsisrError(
                f"the {label} backend gives wrong results: relative error {error:.1e}, allowed {allowed:.0e}; "
                "set HSISR_DSCA_BACKEND=torch to do without it, and please report this"
            )
    if failed:
        raise HsisrError(f"not built: {', '.join(failed)}; see the reasons above. Plain PyTorch computes instead")


def _library(name: str, precision: str) -> build.Library:
    if name == "cpu":
        return build.cpu_library()
    capability = torch.cuda.get_device_capability()
    return build.cuda_library(plan.variant_for(_CHANNELS, _TAPS, precision, capability), capability)


def _largest_error(precision: str, device: str) -> float:
    dtype = torch.float64 if precision == "fp64" else torch.float32
    inputs = _inputs()
    truth = _with_gradients(reference.directional_aggregation, [t.double().to(device) for t in inputs])

    def run(x: Tensor, vertical: reference.Direction, horizontal: reference.Direction) -> Tensor:
        return scan.directional_aggregation(
            x, vertical, horizontal, precision="fp32" if precision == "fp64" else precision
        )

    found = _with_gradients(run, [t.to(device, dtype) for t in inputs])
    errors = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, truth, strict=True)]
    return torch.stack(errors).max().item()


def _inputs() -> list[Tensor]:
    """A map and the parameters of both halves, float32, so small that the recurrence contracts."""
    random = torch.Generator().manual_seed(0)
    scale = 0.6 / (_CHANNELS * _TAPS) ** 0.5

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    shapes = ((_CHANNELS, _CHANNELS, 1, _TAPS), (_CHANNELS, _CHANNELS, _TAPS, 1))
    directions = [[scale * numbers(*shape), 0.05 * numbers(_CHANNELS), torch.tensor([0.25])] for shape in shapes]
    return [numbers(2, _CHANNELS, 11, 27), *directions[0], *directions[1]]


def _with_gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in tensors]
    y = function(leaves[0], tuple(leaves[1:4]), tuple(leaves[4:]))
    probe = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y).reshape(y.shape)
    return [t.detach().double() for t in (y, *torch.autograd.grad((y * probe).sum(), leaves))]


def _reason(obstacle: str | None) -> str:
    return "" if obstacle is None else f", and cannot be: {obstacle}"
