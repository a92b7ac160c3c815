"""The CUDA scan kernel, run on the host by tests/emulation, against the definition in float64.

Exact mode leaves tf32 operands unrounded, so what remains of an error is float32 rounding: an index, a layout or a
barrier that is wrong shows as an error of order one.
"""

import shutil

import numpy as np
import pytest

from hsisr.ops import plan
from tests.unit.op_emulation import (
    compile_variant,
    relative_error,
    true_backward,
    true_forward,
    true_weight_gradients,
)

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="the emulation needs g++")

AMPERE, TURING = (8, 0), (7, 5)
#: (images, height, width): slices of 1 to 70 pixels, 1 to 9 steps, batches of 1 to 3.
MAPS = [(1, 4, 1), (2, 3, 5), (1, 1, 9), (3, 2, 16), (1, 9, 24), (1, 3, 31), (2, 5, 48), (1, 3, 70)]
#: Bounds on the relative error that rounded operands bring over 24 steps: about three times what is seen.
ROUNDING = {"tf32": 1e-3, "bf16": 1e-2, "fp16": 1e-3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("emulation")


def emulator(folder, channels=64, taps=7, precision="tf32", capability=AMPERE, exact=True, max_tiles=None):
    variant = plan.variant_for(channels, taps, precision, capability)
    return compile_variant(variant, folder, exact, max_tiles=max_tiles)


def parameters(channels, taps, seed=0):
    random = np.random.default_rng(seed)
    weight = random.standard_normal((channels, channels, taps)) * 0.6 / np.sqrt(channels * taps)
    return weight.astype(np.float32), (0.05 * random.standard_normal(channels)).astype(np.float32), np.float32(0.25)


def errors(kernel, shape, axis, reverse, tiles, seed=1):
    """Relative errors of h, z, dx, dz and the gradients of weight, bias and slope."""
    channels, taps = kernel.variant.channels, kernel.variant.taps
    weight, bias, slope = parameters(channels, taps)
    random = np.random.default_rng(1)
    x, grad = (random.standard_normal((*shape, channels)).astype(np.float32) for _ in range(2))
    h, z = kernel.forward(x, weight, bias, slope, axis, reverse, tiles, seed)
    dx, dz = kernel.backward(grad, z, weight, slope, axis, reverse, tiles, seed)
    true_h, true_z = true_forward(x, weight, bias, slope, axis, reverse)
    # z of this run: where a message is near zero, a rounding error may open or close the gate
    true_dx, true_dz = true_backward(grad, z, weight, slope, axis, reverse)
    pairs = [(h, true_h), (z, true_z), (dx, true_dx), (dz, true_dz)]
    found = true_weight_gradients(h, dx, z, dz, taps, axis, reverse)
    truth = true_weight_gradients(true_h, true_dx, z, true_dz, taps, axis, reverse)
    pairs += zip(found[:2], truth[:2], strict=True)
    # the slope's gradient is one number, a sum that may cancel: its error is measured against the terms
    terms = np.abs(true_dx * np.minimum(z, 0)).sum() + 1e-30
    return [relative_error(a, b) for a, b in pairs] + [abs(found[2] - truth[2]) / terms]


@pytest.mark.parametrize("precision", ["tf32", "fp32"])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_exact_kernel_equals_the_definition(folder, precision, axis, reverse):
    kernel = emulator(folder, precision=precision)
    for images, height, width in MAPS:
        steps_first = (images, height, width) if axis == 1 else (images, width, height)
        tiles = plan.tiles_for(kernel.variant, width, plan.shared_limit(AMPERE))
        assert max(errors(kernel, steps_first, axis, reverse, tiles)) < 1e-6, (images, height, width)


def test_every_number_of_pixels(folder):
    kernel = emulator(folder, 16, 3)
    for pixels in range(1, 71):
        tiles = plan.TILES[pixels % len(plan.TILES)]
        assert max(errors(kernel, (1, 3, pixels), 1, False, tiles)) < 1e-6, pixels


@pytest.mark.parametrize(
    ("channels", "taps", "precision", "capability"),
    [
        (4, 3, "fp32", AMPERE),
        (16, 11, "tf32", AMPERE),
        (28, 7, "fp32", AMPERE),
        (40, 7, "tf32", AMPERE),
        (52, 5, "tf32", AMPERE),
        (96, 3, "tf32", AMPERE),
        (64, 7, "fp32", TURING),
        (28, 7, "bf16", TURING),
    ],
)
def test_other_sizes_and_devices(folder, channels, taps, precision, capability):
    kernel = emulator(folder, channels, taps, precision, capability, max_tiles=1)
    for axis, reverse in ((1, True), (2, False)):
        assert max(errors(kernel, (2, 6, 19), axis, reverse, tiles=1)) < 1e-6, axis


def test_schedules_give_equal_bits(folder):
    kernel = emulator(folder, exact=False, max_tiles=3)
    weight, bias, slope = parameters(64, 7)
    x = np.random.default_rng(2).standard_normal((2, 7, 37, 64)).astype(np.float32)
    runs = []
    for seed in range(4):
        h, z = kernel.forward(x, weight, bias, slope, 1, False, 3, seed)
        runs.append((h, z, *kernel.backward(x, z, weight, slope, 1, False, 3, seed)))
    for run in runs[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_rounded_operands_stay_within_their_bounds(folder, precision):
    kernel = emulator(folder, precision=precision, exact=False, max_tiles=3)
    found = errors(kernel, (1, 24, 24), 1, False, 3)
    assert max(found[:4]) < ROUNDING[precision]
    assert max(found[:4]) > ROUNDING[precision] / 100, "the operands were not rounded at all"


def test_three_products_recover_single_precision(folder):
    kernel = emulator(folder, precision="fp32", exact=False, max_tiles=3)
    assert max(errors(kernel, (1, 24, 24), 1, True, 3)) < 2e-6


@pytest.mark.parametrize("capability", [AMPERE, TURING])
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_small_integers_come_out_exactly(folder, precision, capability):
    """Weights that permute, whole numbers, a ReLU: all values fit the operand types, so every bit must be right."""
    channels, taps = 64, 7
    kernel = emulator(folder, channels, taps, precision, capability, exact=False, max_tiles=2)
    random = np.random.default_rng(3)
    weight = np.zeros((channels, channels, taps), np.float32)
    weight[np.arange(channels), random.permutation(channels), random.integers(0, taps, channels)] = 1
    weight[:, :, taps // 2][np.arange(channels), random.permutation(channels)] -= 1
    bias = random.integers(-1, 2, channels).astype(np.float32)
    x, grad = (random.integers(-1, 2, (2, 5, 27, channels)).astype(np.float32) for _ in range(2))
    for axis, reverse in ((1, False), (2, True)):
        h, z = kernel.forward(x, weight, bias, 0.0, axis, reverse, tiles=2)
        dx, dz = kernel.backward(grad, z, weight, 0.0, axis, reverse, tiles=2)
        truth = (
            *true_forward(x, weight, bias, 0.0, axis, reverse),
            *true_backward(grad, z, weight, 0.0, axis, reverse),
        )
        assert all(np.abs(t).max() < 256 for t in truth), "the numbers of this test outgrow bf16"
        assert all(np.array_equal(a, b) for a, b in zip((h, z, dx, dz), truth, strict=True))


def test_z_is_optional(folder):
    kernel = emulator(folder, 16, 3)
    weight, bias, slope = parameters(16, 3)
    x = np.random.default_rng(4).standard_normal((1, 4, 9, 16)).astype(np.float32)
    h = np.full_like(x, np.nan)
    kernel._run(x, weight, bias, slope, None, h, None, 1, False, False, 1, 0)
    assert np.array_equal(h, kernel.forward(x, weight, bias, slope, 1, False, 1)[0])


def test_whole_aggregation_meets_the_reference_vectors(folder, extra_data):
    """Four emulated scans against the vectors that the paper's program gave in float64."""
    import importlib.util
    import json

    reference = extra_data / "reference"
    spec = importlib.util.spec_from_file_location("fill", reference / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    state = fill.fill(json.loads((reference / "mulsr_state_dict.json").read_text()), 0)
    vectors = np.load(reference / "dsca.npz")
    kernel = emulator(folder)
    h = np.ascontiguousarray(vectors["x"].transpose(0, 2, 3, 1), np.float32)
    for half in (0, 1):
        parts = [state[f"DULR.{half}.conv.{part}"].astype(np.float32) for part in ("0.weight", "0.bias", "1.weight")]
        weight, bias, slope = parts[0].reshape(64, 64, 7), parts[1], parts[2][0]
        for reverse in (False, True):
            h, _ = kernel.forward(h, weight, bias, slope, half + 1, reverse)
    assert relative_error(h.transpose(0, 3, 1, 2), vectors["y"]) < 1e-6


def test_shared_memory_is_what_the_plan_says(folder):
    for channels, precision, capability in ((64, "fp32", AMPERE), (40, "bf16", AMPERE), (28, "fp32", TURING)):
        kernel = emulator(folder, channels, 7, precision, capability, max_tiles=2)
        assert kernel.library.conv_scan_threads() == kernel.variant.threads
        for tiles in (1, 2):
            for pixels in (1, 23, 256):
                assert kernel.library.conv_scan_shared_bytes(pixels, tiles) == kernel.variant.shared_bytes(
                    pixels, tiles
                )
