"""Directional aggregation (DSCA of MulSR): message passing over the rows and columns of a feature map.

Take x (N, C, H, W), a dense C x C x k kernel K along a row, a bias b and one PReLU slope a. The vertical half is

    h[0]   = x[0]      h[i] = x[i] + prelu_a(K * h[i-1] + b)     i = 1 .. H-1     (down)
    g[H-1] = h[H-1]    g[i] = h[i] + prelu_a(K * g[i+1] + b)     i = H-2 .. 0     (up, same K, b, a)

The horizontal half does the same along the columns of g, with its own K, b and a (right, then left).
Source: Multiscale Factor Joint Learning for Hyperspectral Image Super-Resolution, IEEE TGRS 2023. The scheme comes
from SCNN, "Spatial As Deep", AAAI 2018.
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from hsisr.errors import HsisrError
from hsisr.ops import backend as _backend
from hsisr.ops import reference, scan
from hsisr.ops.reference import Direction
from hsisr.ops.selfcheck import check

__all__ = ["BACKENDS", "Direction", "check", "describe_backend", "directional_aggregation"]

#: Names of the implementations; "auto" picks one by the rule of `hsisr.ops.backend`.
BACKENDS = _backend.NAMES


def directional_aggregation(
    x: Tensor, vertical: Direction, horizontal: Direction, backend: str = "auto", checkpoint: bool = False
) -> Tensor:
    """Aggregate a feature map downwards, upwards, to the right and to the left.

    x: (N, C, H, W), floating point. vertical, horizontal: (weight, bias, slope) each, of shapes (C, C, 1, k),
    (C,), (1,) and (C, C, k, 1), (C,), (1,), k odd. backend: a name in `BACKENDS`; plain PyTorch replaces a backend that
    cannot run here, with one warning. checkpoint: keep fewer maps for the backward pass and recompute the others.
    Returns (N, C, H, W); differentiable in x and in all six parameters: once with a compiled backend, any number of
    times with "torch". Forward-mode derivatives and transforms of torch.func take "torch" by themselves.
    Raises HsisrError if a shape does not fit, x holds no floating-point numbers or the backend is unknown; and in the
    backward pass, if a compiled backend is to be differentiated twice (create_graph=True).
    """
    if x.ndim != 4 or 0 in x.shape[2:] or not x.is_floating_point():
        raise HsisrError(
            "directional_aggregation: x must be floating-point (N, C, H, W) with H, W >= 1, not "
            f"{x.dtype} {tuple(x.shape)}"
        )
    _check("vertical", x.shape[1], vertical, axis=3)
    _check("horizontal", x.shape[1], horizontal, axis=2)
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *vertical, *horizontal))
    name, precision = _backend.choose(backend, x, (vertical[0].shape[3], horizontal[0].shape[2]), training)
    if name != "torch":
        return scan.directional_aggregation(x, vertical, horizontal, precision, checkpoint)
    if checkpoint and training:
        y: Tensor = recompute(reference.directional_aggregation, x, vertical, horizontal, use_reentrant=False)
        return y
    return reference.directional_aggregation(x, vertical, horizontal)


def describe_backend() -> str:
    """Return one line that says which backend "auto" picks on this machine and why. Builds nothing."""
    return _backend.describe()


def _check(name: str, channels: int, direction: Direction, axis: int) -> None:
    weight, bias, slope = direction
    taps = weight.shape[axis] if weight.ndim == 4 else 0
    expected = [channels, channels, 1, 1]
    expected[axis] = taps
    if list(weight.shape) != expected or taps % 2 == 0 or bias.shape != (channels,) or slope.shape != torch.Size([1]):
        wanted = f"({channels}, {channels}, {'1, k' if axis == 3 else 'k, 1'})"
        raise HsisrError(
            f"directional_aggregation: {name} has weight {tuple(weight.shape)}, bias {tuple(bias.shape)}, slope "
            f"{tuple(slope.shape)}; expected {wanted} with k odd, ({channels},), (1,)"
        )
