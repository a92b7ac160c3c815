"""The predicate that decides, before anything is built, which CUDA kernel fits."""

import pytest

from hsisr.ops import plan

CAPABILITIES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]


def test_published_size_is_split_two_by_four():
    variant = plan.variant_for(64, 7, "fp32", (8, 0))
    assert (variant.arithmetic, variant.row_tiles, variant.k_splits, variant.pixel_splits) == ("tf32x3", 2, 4, 1)
    assert variant.threads == 256 and variant.weight_registers == 112


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("precision", plan.PRECISIONS)
@pytest.mark.parametrize("channels", [16, 28, 40, 52, 64])
def test_every_preset_has_a_kernel_on_every_device(channels, precision, capability):
    variant = plan.variant_for(channels, 7, precision, capability)
    for pixels in (24, 48, 72, 128):
        tiles = plan.tiles_for(variant, pixels, plan.shared_limit(capability))
        assert variant.shared_bytes(pixels, tiles) <= plan.shared_limit(capability)


@pytest.mark.parametrize("capability", CAPABILITIES[1:])
def test_a_whole_cave_image_fits_every_device_since_2020(capability):
    variant = plan.variant_for(64, 7, "fp32", capability)
    assert variant.shared_bytes(256, plan.tiles_for(variant, 256, plan.shared_limit(capability))) <= 99 * 1024


@pytest.mark.parametrize("channels", range(4, 129, 4))
@pytest.mark.parametrize("taps", [3, 5, 7, 9, 11])
def test_splits_always_divide(channels, taps):
    for precision in plan.PRECISIONS:
        for capability in ((7, 5), (8, 0)):
            try:
                v = plan.variant_for(channels, taps, precision, capability)
            except plan.Refused:
                continue
            step = {"ffma": 4, "bf16": 16, "fp16": 16}.get(v.arithmetic, 8)
            assert v.padded_channels >= channels
            assert v.padded_channels % (16 * v.row_tiles) == 0
            assert v.padded_channels % (step * v.k_splits) == 0
            assert (2 * v.row_tiles) % v.k_splits == 0
            assert v.threads * (v.weight_registers + 56) <= 65536


@pytest.mark.parametrize(("pixels", "tiles", "chunks"), [(5, 1, 1), (24, 3, 1), (48, 3, 2), (64, 3, 3), (128, 3, 6)])
def test_tiles_waste_little(pixels, tiles, chunks):
    variant = plan.variant_for(64, 7, "fp32", (9, 0))
    chosen = plan.tiles_for(variant, pixels, plan.shared_limit((9, 0)))
    assert (chosen, variant.chunks(pixels, chosen)) == (tiles, chunks)


def test_turing_runs_in_single_precision_what_it_cannot_multiply():
    assert {plan.variant_for(64, 7, p, (7, 5)).arithmetic for p in ("fp32", "tf32", "bf16")} == {"ffma"}
    assert plan.variant_for(64, 7, "fp16", (7, 5)).arithmetic == "fp16"


@pytest.mark.parametrize(
    ("channels", "taps", "capability", "reason"),
    [
        (6, 7, (8, 0), "in fours"),
        (132, 7, (8, 0), "up to 128"),
        (64, 13, (8, 0), "3 to 11 taps"),
        (64, 4, (8, 0), "odd"),
        (128, 7, (8, 0), "do not fit the registers"),
        (64, 7, (7, 0), "compute capability is 7.0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(channels, taps, capability, reason):
    with pytest.raises(plan.Refused, match=reason):
        plan.variant_for(channels, taps, "fp32", capability)


def test_slices_beyond_shared_memory_are_refused():
    variant = plan.variant_for(64, 7, "fp32", (8, 6))
    with pytest.raises(plan.Refused, match="slices of 600 pixels need"):
        plan.tiles_for(variant, 600, plan.shared_limit((8, 6)))


def test_an_unknown_device_is_given_the_least_shared_memory():
    assert plan.shared_limit((13, 0)) == 64 * 1024
