"""Which CUDA kernel fits a scan: the splits of csrc/layout.h, chosen from sizes and device, before anything is built.

The weights stay in registers and one slice stays in shared memory, so only some sizes fit. This module refuses other
sizes, with the reason; they run in plain PyTorch.
"""

from dataclasses import dataclass
from math import ceil

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
#: Numbers of 8-pixel tiles that a warp takes at a time: csrc/variant.h instantiates a kernel for each.
TILES = (1, 2, 3, 4, 6)
MAX_CHANNELS = 128
MIN_TAPS, MAX_TAPS = 3, 11

_REGISTERS_PER_BLOCK = 65536
_REGISTERS_PER_THREAD = 255
#: Registers of a thread for addresses and operands, extra ones to split operands, and a reserve for the compiler.
#: This model is cautious. The compiler tests check that nothing spills.
_WORK_REGISTERS = 56
_SPLIT_REGISTERS = 40
_SPARE_REGISTERS = 11
#: For the published size, more tiles fit than the model says:
#: (padded channels, taps, arithmetic, row tiles, K splits) -> tiles.
_MEASURED_TILES = {
    (64, 7, "tf32", 2, 4): 6,
    (64, 7, "tf32x3", 2, 4): 3,
    (64, 7, "bf16", 2, 2): 4,
    (64, 7, "fp16", 2, 2): 4,
}
_WARPS = 8
#: With fewer tiles at a time, there is too little work for each barrier.
_GOOD_TILES = 3


#: Shared memory that one block may have, by compute capability (CUDA programming guide). Others get the smallest value.
_SHARED_KIB = {(7, 5): 64, (8, 0): 163, (8, 6): 99, (8, 7): 163, (8, 9): 99, (9, 0): 227, (10, 0): 227, (12, 0): 99}


class Refused(Exception):
    """No kernel fits; the text is the reason."""


@dataclass(frozen=True)
class Variant:
    """One compiled library of the scan kernel, with the fields of `Variant` in csrc/layout.h."""

    channels: int
    taps: int
    arithmetic: str
    row_tiles: int
    k_splits: int
    pixel_splits: int

    @property
    def defines(self) -> list[str]:
        """Compiler flags that select this variant."""
        names = ("channels", "taps", "arithmetic", "row_tiles", "k_splits", "pixel_splits")
        return [f"-DHSISR_{name.upper()}={getattr(self, name)}" for name in (*names, "max_tiles")]

    @property
    def name(self) -> str:
        return f"c{self.channels}k{self.taps}_{self.arithmetic}"

    @property
    def padded_channels(self) -> int:
        return _round_up(self.channels, 32 if self.arithmetic == "ffma" else 16)

    @property
    def threads(self) -> int:
        return 32 * self.padded_channels // (16 * self.row_tiles) * self.k_splits * self.pixel_splits

    @property
    def weight_registers(self) -> int:
        """Registers of each thread that hold weights for the whole scan."""
        bits = 16 if self.arithmetic in ("bf16", "fp16") else 32
        weights_per_warp = 16 * self.row_tiles * self.taps * self.padded_channels // self.k_splits
        return weights_per_warp * bits // (32 * 32)

    @property
    def max_tiles(self) -> int:
        """Most tiles that a warp can take at a time before the registers run out; 0 if not even one fits."""
        split = (self.padded_channels, self.taps, self.arithmetic, self.row_tiles, self.k_splits)
        if split in _MEASURED_TILES:
            return _MEASURED_TILES[split]
        if self.arithmetic == "ffma":
            most, work, a_tile = 3, _WORK_REGISTERS, 14  # longer unrolled code outgrows the instruction cache
        else:
            most, work, a_tile = max(TILES), _WORK_REGISTERS, 4 * self.row_tiles + 12 * self.row_tiles // self.k_splits
        if self.arithmetic == "tf32x3":
            work += _SPLIT_REGISTERS + 4 * self.padded_channels // self.k_splits // 8
        limit = min(_REGISTERS_PER_THREAD, _REGISTERS_PER_BLOCK // self.threads // 8 * 8) - _SPARE_REGISTERS
        return max((t for t in TILES if t <= most and self.weight_registers + work + t * a_tile <= limit), default=0)

    def chunks(self, pixels: int, tiles: int) -> int:
        """Number of pieces into which a block divides a slice of `pixels`."""
        return ceil(pixels / (8 * tiles * self.pixel_splits))

    def shared_bytes(self, pixels: int, tiles: int) -> int:
        """Shared memory of a block; the formula of csrc/layout.h."""
        half = self.arithmetic in ("bf16", "fp16")
        row_warps = self.padded_channels // (16 * self.row_tiles)
        parts = 2 * self.row_tiles * (self.k_splits - 1) * row_warps * self.pixel_splits
        padded_pixels = self.chunks(pixels, tiles) * 8 * tiles * self.pixel_splits
        state = (padded_pixels + 3 * (self.taps // 2)) * (self.padded_channels + (8 if half else 4))
        return 4 * parts * tiles * 2 * 32 + (2 if half else 4) * state


def variant_for(channels: int, taps: int, precision: str, capability: tuple[int, int]) -> Variant:
    """Choose the kernel for a precision of `PRECISIONS` on a device of this compute capability.

    sm_75 has no tf32 and bf16 products, so both run there as fp32, which is more exact. Raises Refused.
    """
    if capability < (7, 5):
        raise Refused(f"the GPU's compute capability is {capability[0]}.{capability[1]}, the kernel needs 7.5")
    if channels % 4 or channels > MAX_CHANNELS:
        raise Refused(f"the kernel takes channels in fours, up to {MAX_CHANNELS}, not {channels}")
    if taps % 2 == 0 or not MIN_TAPS <= taps <= MAX_TAPS:
        raise Refused(f"the kernel takes {MIN_TAPS} to {MAX_TAPS} taps, odd, not {taps}")
    old = capability < (8, 0)
    arithmetic = {"fp32": "tf32x3"}.get(precision, precision)
    if old and precision != "fp16":
        arithmetic = "ffma"
    fitting = [v for v in _candidates(channels, taps, arithmetic) if v.max_tiles > 0]
    if not fitting:
        raise Refused(
            f"{channels} channels x {taps} taps of weights do not fit the registers of one block ({precision})"
        )
    return min(fitting, key=lambda v: (v.max_tiles < _GOOD_TILES, _shared_accesses(v), v.weight_registers))


def tiles_for(variant: Variant, pixels: int, shared_limit_bytes: int) -> int:
    """Choose the tiles that a warp takes at a time, for slices of `pixels`. Raises Refused if no such slice fits."""
    fitting = [t for t in TILES if t <= variant.max_tiles and variant.shared_bytes(pixels, t) <= shared_limit_bytes]
    if not fitting:
        raise Refused(
            f"slices of {pixels} pixels need {variant.shared_bytes(pixels, 1) // 1024} KiB of shared memory, "
            f"the GPU has {shared_limit_bytes // 1024} KiB a block"
        )
    # barriers and the pipeline's start cost about one tile for each chunk
    return min(fitting, key=lambda t: (variant.chunks(pixels, t) * (t + 1), -t))


def shared_limit(capability: tuple[int, int]) -> int:
    """Bytes of shared memory that one block may have on a device of this compute capability."""
    return 1024 * _SHARED_KIB.get(capability, min(_SHARED_KIB.values()))


def _candidates(channels: int, taps: int, arithmetic: str) -> list[Variant]:
    if arithmetic == "ffma":
        warps = _round_up(channels, 32) // 32 * 4
        return [Variant(channels, taps, arithmetic, 2, 4, max(1, _WARPS // warps))]
    found = []
    row_tiles_in_all = _round_up(channels, 16) // 16
    k_steps_in_all = row_tiles_in_all * (1 if arithmetic in ("bf16", "fp16") else 2)
    for row_tiles in _divisors(row_tiles_in_all):
        for k_splits in _divisors(k_steps_in_all):
            warps = row_tiles_in_all // row_tiles * k_splits
            if (2 * row_tiles) % k_splits == 0 and warps <= 32:
                found.append(Variant(channels, taps, arithmetic, row_tiles, k_splits, max(1, _WARPS // warps)))
    return found


def _shared_accesses(variant: Variant) -> int:
    """Shared-memory accesses of all lanes for 8 pixels of a slice; they limit the kernel's speed."""
    row_warps = variant.padded_channels // (16 * variant.row_tiles)
    step = 16 if variant.arithmetic in ("bf16", "fp16") else 8
    loads = 2 * variant.taps * variant.padded_channels // step * row_warps
    exchanged = 2 * 4 * variant.row_tiles * (variant.k_splits - 1) * row_warps
    return loads + exchanged


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _round_up(n: int, to: int) -> int:
    return -(-n // to) * to
