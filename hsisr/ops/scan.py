"""The slice-convolution scan as a torch op, and directional aggregation as four of them.

`hsisr::conv_scan` is one pass of the recurrence in csrc/conv_scan.h. This module registers its schema, shapes,
gradients and autocast rule, without a compiler. Its kernels are in the libraries of csrc, built at the first call.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hsisr.errors import HsisrError
from hsisr.ops import build, plan, tf32
from hsisr.ops.reference import Direction

_LIBRARY = torch.library.Library("hsisr", "DEF")
_TAGS = (torch.Tag.pt2_compliant_tag,)
_Two = tuple[Tensor, Tensor]
_Three = tuple[Tensor, Tensor, Tensor]

# z, the messages before PReLU, is only for the backward pass; without save_z, z is empty. Maps are channels-last.
_LIBRARY.define(
    "conv_scan(Tensor x, Tensor weight, Tensor bias, Tensor slope, int dim, bool reverse, str precision, bool save_z)"
    " -> (Tensor h, Tensor z)",
    tags=_TAGS,
)
_LIBRARY.define(
    "conv_scan_backward(Tensor grad, Tensor z, Tensor weight, Tensor slope, int dim, bool reverse, str precision)"
    " -> (Tensor dx, Tensor dz)",
    tags=_TAGS,
)
_LIBRARY.define(
    "conv_scan_weight_gradients(Tensor h, Tensor dx, Tensor z, Tensor dz, Tensor weight, int dim, bool reverse,"
    " str precision) -> (Tensor weight, Tensor bias, Tensor slope)",
    tags=_TAGS,
)
_LIBRARY.define(
    "conv_scan_messages(Tensor h, Tensor weight, Tensor bias, int dim, bool reverse, str precision) -> Tensor z",
    tags=_TAGS,
)


def directional_aggregation(
    x: Tensor, vertical: Direction, horizontal: Direction, precision: str = "fp32", checkpoint: bool = False
) -> Tensor:
    """Down, up, right, left by four scans; shapes and formulas as in `hsisr.ops`.

    Half-precision maps are computed and carried in float32. precision: one of `hsisr.ops.plan.PRECISIONS`, for the
    operands of the GPU's products. checkpoint: keep half of the maps for the backward pass and recompute the others.
    Raises build.Unavailable or plan.Refused if the kernels cannot run.
    """
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32
    h = x.to(dtype).contiguous(memory_format=torch.channels_last)
    inputs = (x, *vertical, *horizontal)
    save_z = torch.is_grad_enabled() and not checkpoint and any(t.requires_grad for t in inputs)
    for direction, dim in ((vertical, 2), (horizontal, 3)):
        weight, bias, slope = (t.to(dtype) for t in direction)
        for reverse in (False, True):
            h, _ = torch.ops.hsisr.conv_scan(h, weight, bias, slope, dim, reverse, precision, save_z)
    return h.to(x.dtype)


def cuda_variant(x: Tensor, taps: int, precision: str) -> plan.Variant:
    """The kernel for a map and a precision on the map's GPU. Raises plan.Refused."""
    return plan.variant_for(x.shape[1], taps, precision, torch.cuda.get_device_capability(x.device))


@torch.library.register_fake("hsisr::conv_scan", lib=_LIBRARY)
def _(
    x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor, dim: int, reverse: bool, precision: str, save_z: bool
) -> _Two:
    h = torch.empty_like(x, memory_format=torch.channels_last)
    return h, torch.empty_like(h) if save_z else x.new_empty(0)


@torch.library.register_fake("hsisr::conv_scan_backward", lib=_LIBRARY)
def _(grad: Tensor, z: Tensor, weight: Tensor, slope: Tensor, dim: int, reverse: bool, precision: str) -> _Two:
    dx = torch.empty_like(grad, memory_format=torch.channels_last)
    return dx, torch.empty_like(dx)


@torch.library.register_fake("hsisr::conv_scan_weight_gradients", lib=_LIBRARY)
def _(h: Tensor, dx: Tensor, z: Tensor, dz: Tensor, weight: Tensor, dim: int, reverse: bool, precision: str) -> _Three:
    return weight.new_empty(weight.shape), weight.new_empty(weight.shape[0]), weight.new_empty(1)


@torch.library.register_fake("hsisr::conv_scan_messages", lib=_LIBRARY)
def _(h: Tensor, weight: Tensor, bias: Tensor, dim: int, reverse: bool, precision: str) -> Tensor:
    return torch.empty_like(h)


@torch.library.impl("hsisr::conv_scan", "CPU", lib=_LIBRARY)
def _(
    x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor, dim: int, reverse: bool, precision: str, save_z: bool
) -> _Two:
    kernels = build.load(build.cpu_library())
    outcome: _Two = kernels.forward(_channels_last(x), weight, bias, slope, dim, reverse, save_z)
    return outcome


@torch.library.impl("hsisr::conv_scan_backward", "CPU", lib=_LIBRARY)
def _(grad: Tensor, z: Tensor, weight: Tensor, slope: Tensor, dim: int, reverse: bool, precision: str) -> _Two:
    kernels = build.load(build.cpu_library())
    outcome: _Two = kernels.backward(_channels_last(grad), _channels_last(z), weight, slope, dim, reverse)
    return outcome


@torch.library.impl("hsisr::conv_scan_weight_gradients", "CPU", lib=_LIBRARY)
def _(h: Tensor, dx: Tensor, z: Tensor, dz: Tensor, weight: Tensor, dim: int, reverse: bool, precision: str) -> _Three:
    kernels = build.load(build.cpu_library())
    outcome: _Three = kernels.weight_gradients(*map(_channels_last, (h, dx, z, dz)), weight, dim, reverse)
    return outcome


@torch.library.impl("hsisr::conv_scan", "CUDA", lib=_LIBRARY)
def _(
    x: Tensor, weight: Tensor, bias: Tensor, slope: Tensor, dim: int, reverse: bool, precision: str, save_z: bool
) -> _Two:
    kernels, tiles = _cuda_kernels(x, weight, dim, precision)
    outcome: _Two = kernels.forward(_channels_last(x), weight, bias, slope, dim, reverse, save_z, tiles)
    return outcome


@torch.library.impl("hsisr::conv_scan_backward", "CUDA", lib=_LIBRARY)
def _(grad: Tensor, z: Tensor, weight: Tensor, slope: Tensor, dim: int, reverse: bool, precision: str) -> _Two:
    kernels, tiles = _cuda_kernels(grad, weight, dim, precision)
    outcome: _Two = kernels.backward(_channels_last(grad), _channels_last(z), weight, slope, dim, reverse, tiles)
    return outcome


def _weight_gradients(
    h: Tensor, dx: Tensor, z: Tensor, dz: Tensor, weight: Tensor, dim: int, reverse: bool, precision: str
) -> _Three:
    """The weight gradients by one convolution: all states are known, so nothing is sequential. Works on any device."""
    source, target = _source_and_target(h.shape[dim], reverse)
    if not source[1]:  # a single slice sends no message
        return weight.new_zeros(weight.shape), weight.new_zeros(weight.shape[0]), weight.new_zeros(1)
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    with _rounding(precision):
        dweight, dbias = torch.ops.aten.convolution_backward(
            dz.narrow(dim, *target), h.narrow(dim, *source), weight, [weight.shape[0]], (1, 1), padding, (1, 1), False,
            (0, 0), 1, (False, True, True),
        )[1:]  # fmt: skip
    dslope = (dx.narrow(dim, *target) * z.narrow(dim, *target).clamp(max=0)).sum().reshape(1)
    return dweight.contiguous(), dbias, dslope


torch.library.impl("hsisr::conv_scan_weight_gradients", "CUDA", _weight_gradients, lib=_LIBRARY)


def _messages(h: Tensor, weight: Tensor, bias: Tensor, dim: int, reverse: bool, precision: str) -> Tensor:
    """Recompute z from h, by one convolution."""
    source, target = _source_and_target(h.shape[dim], reverse)
    z = torch.zeros_like(h)
    if source[1]:
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        # the caller of a backward pass may have autocast on, which would round the operands
        with _rounding(precision), torch.autocast(h.device.type, enabled=False):
            z.narrow(dim, *target).copy_(functional.conv2d(h.narrow(dim, *source), weight, bias, padding=padding))
    return z


torch.library.impl("hsisr::conv_scan_messages", "CompositeExplicitAutograd", _messages, lib=_LIBRARY)


def _setup_context(ctx: Any, inputs: Sequence[Any], output: _Two) -> None:
    _, weight, bias, slope, ctx.dim, ctx.reverse, ctx.precision, ctx.save_z = inputs
    h, z = output
    ctx.save_for_backward(h, z, weight, bias, slope)
    ctx.mark_non_differentiable(z)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 8
    if torch.is_grad_enabled():  # PyTorch would only warn, and take the second derivatives to be 0
        raise HsisrError(
            "directional_aggregation: a compiled backend can be differentiated only once, and this backward pass "
            'records a graph (create_graph=True); give backend="torch", or set HSISR_DSCA_BACKEND=torch'
        )
    h, z, weight, bias, slope = ctx.saved_tensors
    if not ctx.save_z:
        z = torch.ops.hsisr.conv_scan_messages(h, weight, bias, ctx.dim, ctx.reverse, ctx.precision)
    dx, dz = torch.ops.hsisr.conv_scan_backward(grad, z, weight, slope, ctx.dim, ctx.reverse, ctx.precision)
    gradients = (None, None, None)
    if any(ctx.needs_input_grad[1:4]):
        gradients = torch.ops.hsisr.conv_scan_weight_gradients(
            h, dx, z, dz, weight, ctx.dim, ctx.reverse, ctx.precision
        )
    return (dx, *gradients, None, None, None, None)


def _rounding(precision: str) -> Any:
    """Context for the parts that PyTorch's convolutions compute: it turns TF32 off if the products must be exact."""
    return tf32.without() if precision == "fp32" else nullcontext()


def _source_and_target(slices: int, reverse: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """(start, length) of the slices that send a message, and of the slices that get one."""
    first, second = (0, slices - 1), (1, slices - 1)
    return (second, first) if reverse else (first, second)


def _cuda_kernels(x: Tensor, weight: Tensor, dim: int, precision: str) -> tuple[Any, int]:
    variant = cuda_variant(x, weight.shape[2] * weight.shape[3], precision)
    capability = torch.cuda.get_device_capability(x.device)
    tiles = plan.tiles_for(variant, x.shape[5 - dim], plan.shared_limit(capability))
    return build.load(build.cuda_library(variant, capability), x.device), tiles


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


torch.library.register_autograd("hsisr::conv_scan", _backward, setup_context=_setup_context, lib=_LIBRARY)
for _device in ("cpu", "cuda"):
    # autocast may round only the operands of products, as `precision` says; the carried state stays float32
    torch.library.register_autocast("hsisr::conv_scan", _device, torch.float32, lib=_LIBRARY)
