"""Builds the CUDA scan kernel for the host emulation (tests/emulation) and runs it on arrays; and the float64 truth."""

import ctypes
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsisr.ops.plan import Variant

CSRC = Path(__file__).parents[2] / "csrc"
EMULATION = Path(__file__).parents[1] / "emulation"
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-Wall", "-Wno-unknown-pragmas"]
DEADLOCK, OUT_OF_BOUNDS = 1, 2


class _Arguments(ctypes.Structure):
    """`Arguments` of csrc/arguments.h."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("input", "weight", "bias", "slope", "z_in", "output", "z_out")]
        + [("image_stride", ctypes.c_int64)]
        + [(name, ctypes.c_int) for name in ("step_stride", "pixel_stride", "steps", "pixels")]
        + [("descending", ctypes.c_bool)]
    )


@dataclass
class Emulator:
    """The kernels of one variant, compiled for the host."""

    variant: Variant
    library: ctypes.CDLL

    def forward(self, x, weight, bias, slope, axis, reverse, tiles=2, seed=0):
        """x (N, H, W, C) float32, weight (C, C, taps) -> h, z; axis 1 scans rows, 2 columns. Raises EmulationError."""
        h, z = np.full_like(x, np.nan), np.full_like(x, np.nan)
        self._run(x, weight, bias, slope, None, h, z, axis, reverse, False, tiles, seed)
        return h, z

    def backward(self, grad, z, weight, slope, axis, reverse, tiles=2, seed=0):
        """Gradient of h, z of the forward run -> gradients of x and of z."""
        dx, dz = np.full_like(grad, np.nan), np.full_like(grad, np.nan)
        self._run(grad, weight, weight, slope, z, dx, dz, axis, not reverse, True, tiles, seed)
        return dx, dz

    def _run(self, x, weight, bias, slope, z_in, out, z_out, axis, descending, backward, tiles, seed):
        images, height, width, channels = x.shape
        slope = np.float32([slope])
        arrays = [x, weight, bias, slope, z_in, out, z_out]
        pointers = [None if a is None else a.ctypes.data for a in arrays]
        assert all(a is None or (a.dtype == np.float32 and a.flags.c_contiguous) for a in arrays)
        row, pixel = (width * channels, channels) if axis == 1 else (channels, width * channels)
        steps, pixels = (height, width) if axis == 1 else (width, height)
        arguments = _Arguments(*pointers, height * width * channels, row, pixel, steps, pixels, descending)
        status = self.library.conv_scan_emulated(ctypes.byref(arguments), images, backward, tiles, seed)
        if status:
            raise EmulationError({1: "deadlock", 2: "write past shared memory", 3: "no such kernel"}[status])


class EmulationError(Exception):
    """The emulated device stopped the kernel."""


def defines(variant: Variant, max_tiles: int | None = None) -> list[str]:
    """The flags of a variant, with kernels for fewer tiles than it could have: each takes time to compile."""
    if max_tiles is None:
        return variant.defines
    return [*(d for d in variant.defines if "MAX_TILES" not in d), f"-DHSISR_MAX_TILES={max_tiles}"]


def includes(csrc: Path) -> list[str]:
    """Where a compiler finds the kernel's sources, and what stands for a GPU in them."""
    return [f"-I{csrc}", f"-I{EMULATION.parent}"]


def compile_variant(
    variant: Variant, folder: Path, exact: bool = True, csrc: Path = CSRC, max_tiles: int | None = None
) -> Emulator:
    """Compile the kernel of `variant`; exact: without rounding tf32 operands. One compilation per content."""
    flags = [*FLAGS, *defines(variant, max_tiles), *(["-DHSISR_EXACT"] if exact else [])]
    key = hashlib.sha256(repr((str(csrc), flags)).encode()).hexdigest()[:16]
    path = folder / f"{variant.name}_{key}.so"
    if not path.exists():
        source = EMULATION / "conv_scan_emulated.cpp"
        words = ["g++", *flags, *includes(csrc), str(source), "-o", str(path)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
    library = ctypes.CDLL(str(path))
    library.conv_scan_emulated.argtypes = [
        ctypes.c_void_p, ctypes.c_int, ctypes.c_bool, ctypes.c_int, ctypes.c_uint,
    ]  # fmt: skip
    library.conv_scan_shared_bytes.restype = ctypes.c_size_t
    return Emulator(variant, library)


def true_forward(x, weight, bias, slope, axis, reverse):
    """The definition in float64: x (N, H, W, C), weight (C, C, taps) -> h, z (0 where no message arrives)."""
    x = np.moveaxis(np.asarray(x, np.float64), axis, 0)
    weight, bias = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    order = range(len(x))[::-1] if reverse else range(len(x))
    h, z, last = np.zeros_like(x), np.zeros_like(x), None
    for i in order:
        if last is not None:
            z[i] = _correlate(h[last], weight) + bias
        h[i] = x[i] + np.where(z[i] > 0, z[i], slope * z[i])
        last = i
    return np.moveaxis(h, 0, axis), np.moveaxis(z, 0, axis)


def true_backward(grad, z, weight, slope, axis, reverse):
    """The data gradient in float64: gradient of h and z -> gradients of x and of z."""
    grad, z = (np.moveaxis(np.asarray(a, np.float64), axis, 0) for a in (grad, z))
    weight = np.asarray(weight, np.float64).transpose(1, 0, 2)[:, :, ::-1]
    order = range(len(grad)) if reverse else range(len(grad))[::-1]
    dx, dz, last = np.zeros_like(grad), np.zeros_like(grad), None
    for count, i in enumerate(order):
        dx[i] = grad[i] + (0 if last is None else _correlate(dz[last], weight))
        if count + 1 < len(grad):
            dz[i] = dx[i] * np.where(z[i] > 0, 1, slope)
        last = i
    return np.moveaxis(dx, 0, axis), np.moveaxis(dz, 0, axis)


def true_weight_gradients(h, dx, z, dz, taps, axis, reverse):
    """Gradients of weight (C, C, taps), bias (C,) and slope in float64 from what the two scans give."""
    h, dx, z, dz = (np.moveaxis(np.asarray(a, np.float64), axis, 0) for a in (h, dx, z, dz))
    if reverse:
        h, dx, z, dz = h[::-1], dx[::-1], z[::-1], dz[::-1]
    source = _windows(h[:-1], taps)
    weight = np.einsum("lnmo,lnmik->oik", dz[1:], source)
    return weight, dz[1:].sum((0, 1, 2)), (dx[1:] * np.minimum(z[1:], 0)).sum()


def relative_error(a, b):
    """max|a-b| / max|b|; 0 for two arrays of zeros."""
    scale = np.abs(b).max()
    difference = np.abs(a - b).max()
    return difference if scale == 0 else difference / scale


def _correlate(state, weight):
    return np.einsum("nmik,oik->nmo", _windows(state, weight.shape[2]), weight)


def _windows(state, taps):
    """(..., M, C) -> (..., M, C, taps): each pixel's neighbourhood, zeros outside."""
    padding = [(0, 0)] * (state.ndim - 2) + [(taps // 2, taps // 2), (0, 0)]
    return np.lib.stride_tricks.sliding_window_view(np.pad(state, padding), taps, axis=-2)
