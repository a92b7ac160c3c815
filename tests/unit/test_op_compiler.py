"""What nvcc and the disassembler say of the CUDA kernels: they compile, keep all in registers, use tensor cores.

Nothing here needs a GPU or a CUDA build of torch.
"""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from hsisr.ops import build, plan

CSRC = Path(__file__).parents[2] / "csrc"
ARCHITECTURES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
#: Compiled in every run; the other devices and sizes in slow ones.
QUICK = [("fp32", (8, 0)), ("bf16", (8, 0)), ("fp32", (7, 5))]
EVERY = [(precision, device) for precision in plan.PRECISIONS for device in ARCHITECTURES]
#: Smallest, padded, largest that fits, fewest and most taps.
CORNERS = [(4, 3), (16, 11), (28, 7), (40, 7), (52, 7), (64, 3), (80, 3), (96, 3), (128, 3)]

pytestmark = pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc on PATH")


@dataclass
class Kernel:
    """What ptxas and the disassembler tell of one kernel."""

    tiles: int
    registers: int
    spilled_bytes: int
    stack_bytes: int
    instructions: list[str]

    def count(self, pattern: str) -> int:
        return sum(bool(re.match(pattern + r"(\.|$)", i)) for i in self.instructions)


def compile_kernels(variant: plan.Variant, capability: tuple[int, int], folder: Path) -> list[Kernel]:
    sm, cubin = f"sm_{capability[0]}{capability[1]}", folder / "kernels.cubin"
    command = ["nvcc", *build._CUDA_FLAGS, "-std=c++17", "-cubin", f"-arch={sm}", "-Xptxas", "-v", *variant.defines]
    done = subprocess.run([*command, str(CSRC / "conv_scan.cu"), "-o", str(cubin)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    code = _disassemble(cubin)
    kernels = []
    for name, said in re.findall(r"entry function '(\w+)' for[^\n]*\n(.*?registers)", done.stderr, re.S):
        tiles = int(re.search(r"EEELi(\d+)ELb", name)[1])
        numbers = {word: int(n) for n, word in re.findall(r"(\d+) (bytes stack|bytes spill stores|registers)", said)}
        kernels.append(
            Kernel(
                tiles, numbers["registers"], numbers["bytes spill stores"], numbers["bytes stack"], code.get(name, [])
            )
        )
    return kernels


def _disassemble(cubin: Path) -> dict[str, list[str]]:
    """Kernel name -> names of its instructions; nothing without a disassembler."""
    tool = _disassembler()
    if tool is None:
        return {}
    text = subprocess.run([tool, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^\.text\.(\w+):", text, flags=re.M)
    instruction = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.M)
    return {name: instruction.findall(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _disassembler() -> str | None:
    if tool := shutil.which("nvdisasm"):
        return tool
    for package, place in (("triton", "backends/nvidia/bin/nvdisasm"), ("nvidia", "**/bin/nvdisasm")):
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations if spec else []:
            if found := next(Path(folder).glob(place), None):
                return str(found)
    return None


def check(channels, taps, precision, capability, folder):
    variant = plan.variant_for(channels, taps, precision, capability)
    kernels = compile_kernels(variant, capability, folder)
    counts = [t for t in plan.TILES if t <= variant.max_tiles]
    assert sorted(k.tiles for k in kernels) == sorted([*counts, *counts]), "forward and backward for each count"
    for kernel in kernels:
        assert kernel.spilled_bytes == kernel.stack_bytes == 0, kernel.tiles
        assert variant.threads * -(-kernel.registers // 8) * 8 <= 65536, "one block a multiprocessor must fit"
    if not kernels[0].instructions:
        pytest.skip(
            "ptxas's figures hold; no nvdisasm for the rest: pip install nvidia-cuda-nvdisasm (triton has it too)"
        )
    for kernel in kernels:
        assert kernel.count("LDL") == kernel.count("STL") == 0
        assert kernel.count("LD") == kernel.count("ST") == 0, "a generic access: the compiler lost track of a pointer"
        assert kernel.count("LDS") > 0
        # at least two barriers a chunk; nvcc may copy the loop
        assert kernel.count("BAR") >= 2
        step = {"ffma": 0, "bf16": 16, "fp16": 16}.get(variant.arithmetic, 8)
        if not step:
            assert kernel.count("HMMA") == 0 and kernel.count("FFMA") >= kernel.tiles * 8 * variant.weight_registers
            continue
        products = variant.row_tiles * taps * (variant.padded_channels // variant.k_splits // step) * kernel.tiles
        products *= 3 if variant.arithmetic == "tf32x3" else 2 if capability < (8, 0) else 1
        assert kernel.count("HMMA") == products


@pytest.mark.parametrize(("precision", "capability"), QUICK)
def test_published_size(precision, capability, tmp_path):
    check(64, 7, precision, capability, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "capability"), [case for case in EVERY if case not in QUICK])
def test_published_size_on_every_device(precision, capability, tmp_path):
    check(64, 7, precision, capability, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize(("channels", "taps"), CORNERS)
def test_corner_sizes(channels, taps, precision, tmp_path):
    try:
        plan.variant_for(channels, taps, precision, (8, 0))
    except plan.Refused:
        with pytest.raises(plan.Refused, match="do not fit the registers"):
            plan.variant_for(channels, taps, precision, (8, 0))
        return
    check(channels, taps, precision, (8, 0), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "taps"), [(16, 11), (64, 9), (96, 3)])
def test_corner_sizes_without_tensor_cores(channels, taps, tmp_path):
    check(channels, taps, "fp32", (7, 5), tmp_path)
