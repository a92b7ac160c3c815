"""Light that differs from place to place between a guide and its LR image: measured, evened out, and told."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import hsisr
from hsisr import degrade
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.degrade.light import measure_light
from hsisr.degrade.view import view_of
from hsisr.inference import Options, super_resolve_file
from hsisr.inference.own_detail import places_of
from tests.unit.own_scene import TRANSFORM, finer, scene_of
from tests.unit.warped import SCALE, moved_by, smooth_field

SIDE, BANDS = 128, 16


@pytest.fixture(scope="module")
def scene():
    """(16, 128, 128): mixtures of as many materials, and the LR image of it."""
    rng = np.random.default_rng(0)
    widths = rng.uniform(1, 8, BANDS)
    parts = np.stack([gaussian_filter(rng.standard_normal((SIDE, SIDE)), width) * width for width in widths])
    shares = np.exp(parts) / np.exp(parts).sum(axis=0)
    spectra = gaussian_filter(rng.uniform(0.1, 0.9, (BANDS, BANDS)), (0, 1))
    sharp = np.tensordot(spectra, shares, axes=(0, 0)).astype(np.float32)
    return sharp, degrade.degrade(sharp, "wald", SCALE, noise=0)


@pytest.fixture(scope="module")
def gain():
    """(3, 128, 128), smooth, another for each channel."""
    waves = np.stack([gaussian_filter(np.random.default_rng(k).standard_normal((SIDE, SIDE)), 24) for k in (1, 2, 3)])
    return np.exp(0.2 * waves / np.abs(waves).max(axis=(1, 2), keepdims=True)).astype(np.float32)


def guide_of(sharp):
    return np.stack([part.mean(axis=0) for part in np.array_split(sharp, 3)])


def test_the_gain_of_each_channel_is_found(scene, gain):
    sharp, lr = scene
    guide = guide_of(sharp)
    light = measure_light(view_of(lr, gain * guide, SCALE))
    evened = light.evened(gain * guide, places_of((0, SIDE), (0, SIDE)))
    ratio = evened / guide  # the mean is free: a response holds it
    assert (ratio / ratio.mean(axis=(1, 2), keepdims=True)).std() < 0.1 * gain.std()
    assert light.largest == pytest.approx(np.abs(gain - 1).max(), abs=0.05)


@pytest.mark.parametrize("what", ["same light", "other ground", "another brightness", "displaced", "a seam"])
def test_nothing_else_is_light(scene, what):
    sharp, lr = scene
    guide = guide_of(sharp)
    if what == "other ground":
        guide[:, 32:96, 32:96] = guide[:, ::-1, ::-1][:, 32:96, 32:96] * 1.5
    elif what == "another brightness":
        guide = 0.1 + 1.7 * guide
    elif what == "a seam":
        guide[:, 40:, 64:] *= 0.7
    elif what == "displaced":
        guide = moved_by(guide, smooth_field(SIDE, SCALE))
    assert measure_light(view_of(lr, guide, SCALE)) is None


def test_a_result_in_another_light_is_that_of_the_usual_light(scene, gain, tmp_path, capsys):
    sharp, low = scene
    lr = export(scene_of(low), tmp_path / "lr.tif")
    for name, guide in (("usual", guide_of(sharp)), ("lit", gain * guide_of(sharp))):
        export(scene_of(guide, finer(TRANSFORM)), tmp_path / f"{name}.tif")

    def result(name, out, options, **more):
        return super_resolve_file(lr, tmp_path / f"{name}.tif", "gsa", tmp_path / f"{out}.tif", options, **more)

    def error(path):
        return float(np.sqrt(((read_scene(path).cube - sharp)[:, 8:-8, 8:-8] ** 2).mean()))

    usual = result("usual", "usual-sr", Options(device="cpu"))
    assert "its light differs" not in capsys.readouterr().err
    lit = result("lit", "lit-sr", Options(device="cpu"), maps=tmp_path / "maps")
    told = capsys.readouterr().err
    assert "its light differs" in told and "--keep-light" in told
    kept = result("lit", "kept-sr", Options(device="cpu", keep_light=True))
    assert "its light differs" not in capsys.readouterr().err
    assert error(lit) < 1.3 * error(usual) < 0.5 * error(kept)
    largest = json.loads((tmp_path / "maps" / "registration.json").read_text())["light"]["largest"]
    assert read_scene(lit).provenance["tags"]["HSISR_GUIDE_LIGHT"] == f"{largest:.4f}"
    mapped = read_scene(tmp_path / "maps" / "light.tif")
    assert mapped.shape == (3, *low.shape[1:]) and np.abs(mapped.cube - 1).max() == pytest.approx(largest, rel=1e-5)
    assert (tmp_path / "maps" / "light.png").is_file()
    with pytest.warns(UserWarning, match="its light differs.*keep_light=True"):
        whole = hsisr.super_resolve(lr, tmp_path / "lit.tif", model="gsa")
    np.testing.assert_allclose(read_scene(lit).cube, whole, atol=1e-4)


def test_light_is_one_for_tiles_and_for_the_guides_own_grid(scene, gain, tmp_path):
    sharp, low = scene
    lr = export(scene_of(low), tmp_path / "lr.tif")
    field = {"correct_shift": "field"}
    moved = moved_by(guide_of(sharp), smooth_field(SIDE, SCALE))
    for name, guide in (("lit", gain * guide_of(sharp)), ("moved", moved), ("both", gain * moved)):
        export(scene_of(guide, finer(TRANSFORM)), tmp_path / f"{name}.tif")

    def result(name, out, **options):
        made = super_resolve_file(
            lr, tmp_path / f"{name}.tif", "prior", tmp_path / out, Options(device="cpu", **options)
        )
        return read_scene(made).cube

    np.testing.assert_allclose(result("lit", "tiles.tif", tile=16), result("lit", "whole.tif"), atol=1e-5)
    place = (slice(None), slice(16, -16), slice(16, -16))
    for grid in ("lr", "guide"):
        right, lit = (result(name, f"{name}-{grid}.tif", grid=grid, **field)[place] for name in ("moved", "both"))
        assert np.sqrt(((lit - right) ** 2).mean()) < 0.02
