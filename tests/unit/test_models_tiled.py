"""MulSR in tiles: the same image as without them, within the memory it was given."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hsisr.errors import HsisrError
from hsisr.models import MulSR
from hsisr.models.mulsr import tiled
from hsisr.models.mulsr.layers import fold_weights

KINDS = {
    "published": {"blocks": 2},
    "skip": {"blocks": 1, "skip": True},
    "no-dsca": {"blocks": 1, "dsca": False},
    "no-lfcc": {"blocks": 1, "lfcc": False},
    "no-mii": {"blocks": 1, "mii": False},
    "one-scale": {"blocks": 1, "mii": False, "lfcc": False},
}


def images(scale, size, bands=4, count=1):
    torch.manual_seed(0)
    lr = torch.rand(count, bands, *size, dtype=torch.float64)
    return lr, torch.rand(count, 3, *(scale * n for n in size), dtype=torch.float64)


def network(scale, **options):
    torch.manual_seed(1)
    model = MulSR(scale, width=16, **options).double()
    if model.skip:  # whose last layer starts at nothing
        torch.nn.init.ones_(model.end_x2[1].weight_g)
    return model


def in_tiles(model, lr, guide, plan):
    numbers = [(1, 2, 0), *((i - 1, i + 1, i) for i in range(1, lr.shape[1] - 1)), (-2, -3, -1)]
    return tiled.super_resolve(model, torch.stack([lr[:, list(three)] for three in numbers], dim=1), guide, plan)


@pytest.mark.parametrize(
    ("kind", "scale", "size"), [*((kind, 2, (17, 26)) for kind in KINDS), ("published", 8, (12, 9))]
)
def test_tiles_do_not_show(kind, scale, size):
    model = network(scale, **KINDS[kind])
    lr, guide = images(scale, size, bands=3, count=2)
    with torch.inference_mode(), fold_weights(model):
        whole = model.super_resolve(lr, guide)
        for plan in (tiled.Plan(tile=7, bands=2), tiled.Plan(tile=11, bands=3)):
            assert (in_tiles(model, lr, guide, plan) - whole).abs().max() < 1e-12


@pytest.mark.parametrize("stage", ["fine", "coarse", "finish"])
def test_a_margin_one_step_too_small_shows(monkeypatch, stage):
    """At scale 2, where the steps are smallest: no margin is wider than it must be."""
    model = network(2, blocks=1)
    lr, guide = images(2, (25, 27), bands=3)
    with torch.inference_mode(), fold_weights(model):
        whole = model.super_resolve(lr, guide)
        margins = dict(zip(("fine", "coarse", "finish"), tiled._margins(model), strict=True))
        margins[stage] -= 1
        monkeypatch.setattr(tiled, "_margins", lambda model: tuple(margins.values()))
        assert (in_tiles(model, lr, guide, tiled.Plan(9, 3)) - whole).abs().max() > 1e-12


def test_autocast_goes_through_tiles():
    model = network(4, blocks=1).float()
    lr, guide = (image.float() for image in images(4, (12, 15)))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        whole = model.super_resolve(lr, guide)
        with fold_weights(model):
            sr = in_tiles(model, lr, guide, tiled.Plan(5, 2))
    assert sr.dtype == whole.dtype
    assert (sr - whole).abs().max() < 0.02 * whole.abs().max()


def test_memory_decides():
    model = network(4, blocks=1)
    _, guide = images(4, (64, 64))
    assert tiled.plan(model, guide, None) is None
    chosen = tiled.plan(model, guide, 60 << 20)
    assert 4 <= chosen.tile < 64
    assert chosen.bands >= 1
    assert tiled.plan(model, guide, 40 << 20).tile < chosen.tile
    with pytest.raises(HsisrError, match=r"MulSR: 1 MiB are too few for an image of 256 x 256 pixels; give at least"):
        tiled.plan(model, guide, 1 << 20)


def test_bands_are_batched_less_before_an_image_is_cut():
    model = network(4, blocks=1)
    _, guide = images(4, (16, 16))
    one_map = model.width * 64 * 64 * 8
    for bands in (1, 3):
        memory = (tiled.MAPS_OF_GUIDE + bands * tiled.MAPS_OF_BAND) * one_map
        assert tiled.plan(model, guide, memory) is None
        assert model._band_batch(guide, memory) == tiled.bands_that_fit(model, guide, memory) == bands


def test_a_gpu_with_room_takes_images_whole(monkeypatch):
    """Its batch fills the memory that it may use, which must not count as too little for that batch."""
    model = network(4, blocks=1)

    class Guide:
        shape, device = (1, 3, 64, 64), torch.device("cuda")

        def __len__(self):
            return 1

        def element_size(self):
            return 4

    guide = Guide()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=16 << 30))
    assert tiled.plan(model, guide, None) is None
    assert model._band_batch(guide, None) > 100


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_a_scene_stays_within_its_memory():
    """In a process of its own, as the peak of a process never falls."""
    code = """
import re, torch
from hsisr.models import MulSR

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

torch.set_num_threads(1)
model = MulSR(8, width=16, blocks=1)
lr, guide = torch.rand(1, 3, 48, 48), torch.rand(1, 3, 384, 384)
with torch.inference_mode():
    model.super_resolve(lr[:, :, :8, :8], guide[:, :, :64, :64])
    for memory in (64 << 20, None):
        before = peak()
        model.super_resolve(lr, guide, memory=memory)
        print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    within, beyond = map(float, done.stdout.split())
    assert within < 64
    assert beyond > 32  # without tiles it takes more
