"""Chooses the implementation of directional aggregation: the one asked for, if it can run; else the fallback.

The rule depends on the request, the tensors and the machine. It never depends on libraries that are built already.

* A CUDA tensor goes to the CUDA kernel.
* A CPU map goes to the native CPU kernel if it is large enough for the kernel to be faster. This size is measured once
  on a machine (`hsisr.ops.measured`). Maps below 48 x 48 pixels go to plain PyTorch: it takes less time than building
  the kernel. Maps of 128 x 128 pixels or more go to the kernel, with a warning if it cannot be built.
* If a kernel cannot run (no compiler, no toolkit, no GPU, a size without kernel, a transform that it has no rule for),
  plain PyTorch runs, with one warning.
"""

import os
import warnings

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hsisr.errors import HsisrError, did_you_mean
from hsisr.ops import build, measured, plan, tf32

NAMES = ("auto", "cuda", "cpu", "torch")
VARIABLE = "HSISR_DSCA_BACKEND"
_COST = {
    "cuda": "plain PyTorch launches a few small kernels per row and column instead of one per direction",
    "cpu": "plain PyTorch takes about 1.2 to 2 times as long",
}
_PRECISION = {torch.float16: "fp16", torch.bfloat16: "bf16"}


def choose(backend: str, x: Tensor, taps: tuple[int, int], training: bool) -> tuple[str, str]:
    """Return the backend to run, "cuda", "cpu" or "torch", and the precision of the CUDA kernel's products.

    backend: the request; "auto" reads the environment variable `VARIABLE`. training: whether gradients are needed.
    Raises HsisrError for a name that does not exist.
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
    forward_mode = forward_ad._current_level >= 0  # read here, where torch.compile notices a change
    kinds = x.device.type, x.device.index, str(x.dtype), str(dtype)
    return _choose(backend, *kinds, tuple(x.shape), taps, training, forward_mode)


def describe() -> str:
    """One line: what "auto" picks here and why. Builds nothing."""
    asked = _backend_name("auto")
    if asked != "auto":
        return f"{asked}, because {VARIABLE} says so" + _because(_obstacle(asked))
    first, last = measured.SIDES[0], int(measured.ALWAYS_PIXELS**0.5)
    native = (
        f"native from {last} x {last} pixels on ({_state(build.cpu_library())}), plain PyTorch below "
        f"{first} x {first}, between them what was measured to be faster"
    )
    why = _cuda_obstacle()
    gpu = "CUDA kernel (built on first use)" if why is None else f"none ({why})"
    return f"auto: on the CPU {native}; on a GPU {gpu}"


_warned: set[tuple[str, str]] = set()


def _choose(
    backend: str,
    device: str,
    index: int | None,
    storage: str,
    operands: str,
    shape: tuple[int, ...],
    taps: tuple[int, int],
    training: bool,
    forward_mode: bool,
) -> tuple[str, str]:
    asked = _backend_name(backend)
    wanted = asked
    if asked == "auto":
        wanted = device if device == "cuda" else "cpu" if device == "cpu" and _native_pays(shape) else "torch"
    if wanted == "torch":
        return "torch", ""
    precision = _precision(operands, training)
    why = _unfit(wanted, device, storage, shape, forward_mode) or _unbuildable(wanted, index, shape, taps, precision)
    if why is None:
        return wanted, precision
    _warn_once(wanted, why)
    return "torch", ""


# torch.compile runs `_choose` once while tracing, and keeps the answer. torch.compiler.assume_constant_result sets the
# same mark, but its import takes a second.
vars(_choose)["_dynamo_marked_constant"] = True


def _native_pays(shape: tuple[int, ...]) -> bool:
    pixels = shape[2] * shape[3]
    if pixels >= measured.ALWAYS_PIXELS:
        return True
    small = pixels < measured.SIDES[0] ** 2 or shape[1] > plan.MAX_CHANNELS
    return not small and pixels >= measured.native_from(shape[1])


def _backend_name(backend: str) -> str:
    name = os.environ.get(VARIABLE, "auto") if backend == "auto" else backend
    if name not in NAMES:
        place = VARIABLE if backend == "auto" else "directional_aggregation"
        raise HsisrError(
            f"{place}: unknown backend {name!r}; {did_you_mean(name, NAMES)}choose from {', '.join(NAMES)}"
        )
    return name


def _precision(operands: str, training: bool) -> str:
    """Half precision if the map or autocast has it; else exact in training, and otherwise as torch's convolutions."""
    for dtype, name in _PRECISION.items():
        if operands == str(dtype):
            return name
    return "tf32" if tf32.is_allowed() and not training else "fp32"


def _unfit(backend: str, device: str, storage: str, shape: tuple[int, ...], forward_mode: bool) -> str | None:
    if device != backend:
        return (_cuda_obstacle() if backend == "cuda" else None) or f"the map is on {device}"
    if backend == "cuda" and storage == str(torch.float64):
        return "the CUDA kernel has no double precision"
    if backend == "cpu" and shape[1] > plan.MAX_CHANNELS:
        return f"the kernel takes up to {plan.MAX_CHANNELS} channels, not {shape[1]}"
    # without a rule for these, PyTorch would take the derivatives to be 0, and not say so
    if forward_mode or torch._C._are_functorch_transforms_active():
        return "the kernel has no forward-mode derivatives and no rules for torch.func"
    return None


def _unbuildable(
    backend: str, index: int | None, shape: tuple[int, ...], taps: tuple[int, int], precision: str
) -> str | None:
    """Build and load the library for this map; None, or why that fails."""
    try:
        if backend == "cpu":
            build.load(build.cpu_library())
        else:
            assert index is not None  # a tensor on a GPU says on which
            capability = torch.cuda.get_device_capability(index)
            for count, pixels in zip(taps, (shape[3], shape[2]), strict=True):
                variant = plan.variant_for(shape[1], count, precision, capability)
                plan.tiles_for(variant, pixels, plan.shared_limit(capability))
                build.load(build.cuda_library(variant, capability), torch.device("cuda", index))
    except (build.Unavailable, plan.Refused) as error:
        return str(error)
    return None


def _warn_once(backend: str, why: str) -> None:
    """Warn that `backend` does not run, why, and what this costs; once in a process for each reason."""
    if (backend, why) not in _warned:
        _warned.add((backend, why))
        message = (
            f"directional aggregation falls back to plain PyTorch, not the {backend} backend: {why}; {_COST[backend]}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def _state(library: build.Library) -> str:
    why = build.obstacle(library)
    if why is not None:
        return f"not possible: {why}"
    return "built" if build.cached_path(library).exists() else "built on first use, under a minute"


def _obstacle(backend: str) -> str | None:
    if backend == "cuda":
        return _cuda_obstacle()
    return build.obstacle(build.cpu_library()) if backend == "cpu" else None


def _cuda_obstacle() -> str | None:
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    if not torch.cuda.is_available():
        return "no GPU is visible"
    try:
        build.check_toolkit()
    except build.Unavailable as error:
        return str(error)
    return None


def _because(why: str | None) -> str:
    return "" if why is None else f", but it cannot run ({why}): plain PyTorch instead"
