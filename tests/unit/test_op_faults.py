"""The tests of the kernel must be able to fail: each fault put into a copy of the sources has to be found.

And the sources themselves must be clean under AddressSanitizer and UndefinedBehaviorSanitizer.
"""

import os
import shutil
import subprocess

import numpy as np
import pytest

from hsisr.ops.plan import Variant
from tests.unit.op_emulation import (
    CSRC,
    EMULATION,
    EmulationError,
    compile_variant,
    defines,
    includes,
    relative_error,
    true_backward,
    true_forward,
)

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="the emulation needs g++")

#: Small, but with every mechanism: several row warps and K splits, padded channels, several chunks a slice.
VARIANT = Variant(channels=60, taps=3, arithmetic="tf32", row_tiles=2, k_splits=4, pixel_splits=1)

#: What is wrong: (file, the right text, the wrong one). Each right text occurs once.
FAULTS = {
    "no barrier before adding up": (
        "conv_scan.h",
        "    __syncthreads();\n    if (t > 0) add_partial_sums(sum);",
        "    if (t > 0) add_partial_sums(sum);",
    ),
    "no barrier after the state": (
        "conv_scan.h",
        "    if (last_of_step) clear_halo(t);\n    __syncthreads();",
        "    if (last_of_step) clear_halo(t);",
    ),
    "shared memory one pixel short": (
        "layout.h",
        "state_elements<V>(pixels, tiles);\n}",
        "(state_elements<V>(pixels, tiles) - V::pixel_stride);\n}",
    ),
    "row one pixel short": ("layout.h", "3 * V::radius) * V::pixel_stride", "3 * V::radius - 1) * V::pixel_stride"),
    "A fragment: rows and columns swapped": ("engine.h", "2 * row + r % 2);", "2 * row + r / 2);"),
    "A fragment: columns swapped": ("engine.h", "i + lane % 4 + (r >> 1) * 4,", "i + lane % 4 + (1 - (r >> 1)) * 4,"),
    "B fragment: rows swapped": (
        "engine.h",
        "bits_of(pixel[lane % 4]), bits_of(pixel[lane % 4 + 4])",
        "bits_of(pixel[lane % 4 + 4]), bits_of(pixel[lane % 4])",
    ),
    "C fragment: rows and columns swapped": (
        "engine.h",
        "sums[2 * row + r / 2][tile][r % 2]",
        "sums[2 * row + r % 2][tile][r / 2]",
    ),
    "halo not cleared": ("conv_scan.h", "    if (last_of_step) clear_halo(t);\n", ""),
    "chunks always left to right": ("conv_scan.h", "t % 2 ? chunk_count - 1 - n : n,", "n,"),
    "row read where it is written": ("conv_scan.h", "(t % 2 ? 0 : V::radius)", "(t % 2 ? V::radius : 0)"),
    "sums handed to the wrong warp": (
        "conv_scan.h",
        "(k_split_ + distance) % V::k_splits",
        "(k_split_ + distance + 1) % V::k_splits",
    ),
    "kernel not flipped backward": ("engine.h", "V::taps - 1 - tap]", "tap]"),
}


def looks_right(kernel) -> bool:
    """What the emulation tests ask: the definition's values, and equal bits under every schedule."""
    random = np.random.default_rng(0)
    weight = (random.standard_normal((60, 60, 3)) * 0.6 / np.sqrt(180)).astype(np.float32)
    bias = (0.05 * random.standard_normal(60)).astype(np.float32)
    for pixels in (16, 21):
        x, grad = (random.standard_normal((1, 5, pixels, 60)).astype(np.float32) for _ in range(2))
        true_h, true_z = true_forward(x, weight, bias, 0.25, 1, False)
        try:
            runs = []
            for seed in range(4):
                h, z = kernel.forward(x, weight, bias, 0.25, 1, False, 1, seed)
                runs.append((h, z, *kernel.backward(grad, true_z.astype(np.float32), weight, 0.25, 1, False, 1, seed)))
        except EmulationError:
            return False
        truth = (true_h, true_z, *true_backward(grad, true_z, weight, 0.25, 1, False))
        if not all(relative_error(a, b) < 1e-6 for a, b in zip(runs[0], truth, strict=True)):
            return False
        if not all(np.array_equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True)):
            return False
    return True


def faulty_copy(fault, folder):
    csrc = folder / "csrc"
    shutil.copytree(CSRC, csrc)
    name, right, wrong = FAULTS[fault]
    text = (csrc / name).read_text()
    assert text.count(right) == 1, f"the text of fault {fault!r} occurs {text.count(right)} times in {name}"
    (csrc / name).write_text(text.replace(right, wrong))
    return csrc


def test_the_sources_as_they_are_look_right(tmp_path):
    assert looks_right(compile_variant(VARIANT, tmp_path, max_tiles=1))


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found(fault, tmp_path):
    assert not looks_right(compile_variant(VARIANT, tmp_path, max_tiles=1, csrc=faulty_copy(fault, tmp_path)))


def run_sanitized(csrc, folder):
    program = folder / "sanitized_run"
    sources = [EMULATION / "sanitized_run.cpp", csrc / "conv_scan_cpu.cpp"]
    flags = ["-std=c++17", "-g", "-U_FORTIFY_SOURCE", "-w", "-fopenmp", "-DHSISR_EXACT", *defines(VARIANT, 2)]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    words = ["g++", *flags, *includes(csrc), *map(str, sources), "-o", str(program)]
    done = subprocess.run(words, capture_output=True, text=True)
    if "cannot find -lasan" in done.stderr or "cannot find -lubsan" in done.stderr:
        pytest.skip("the compiler comes without sanitizer libraries")
    assert done.returncode == 0, done.stderr
    # fibers have stacks of their own, which this check mistakes for dead ones
    environment = os.environ | {"ASAN_OPTIONS": "detect_stack_use_after_return=0", "OMP_NUM_THREADS": "2"}
    return subprocess.run([str(program)], capture_output=True, text=True, env=environment)


def test_sanitizers_find_nothing(tmp_path):
    done = run_sanitized(CSRC, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "largest relative error" in done.stdout


@pytest.mark.slow
def test_sanitizers_find_shared_memory_that_is_too_small(tmp_path):
    done = run_sanitized(faulty_copy("shared memory one pixel short", tmp_path), tmp_path)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
