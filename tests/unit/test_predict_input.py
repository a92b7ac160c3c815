"""Scenes, guides and models that do not fit together: one line that says what to do, or a correct result."""

import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform_bounds
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved

import hsisr
from hsisr.datasets import read_scene
from hsisr.datasets.readers import envi
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference import Options, align, super_resolve_file
from hsisr.inference.images import Source
from hsisr.scene import Scene
from tests.unit import own_scene
from tests.unit.own_scene import CRS, SCALE, TRANSFORM

CPU = Options(device="cpu")


def refused(lr, guide, model, out, options=CPU) -> str:
    """The one line of the error."""
    with pytest.raises(HsisrError) as caught:
        super_resolve_file(lr, guide, model, out, options)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 300
    return line


def test_files_that_are_not_there(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    out = tmp_path / "sr.tif"
    assert "no such file" in refused(lr, tmp_path / "none.tif", "gsa", out)
    assert "no such file" in refused(tmp_path / "none.tif", guide, "gsa", out)
    assert "bicubic" in refused(lr, guide, "runs/none", out)
    assert "needs a guide" in refused(lr, None, "gsa", out, replace(CPU, scale=4))
    assert "give --scale" in refused(lr, None, "bicubic", out)
    assert "has to be trained first" in refused(lr, guide, "mulsr-xs", out)
    assert "no format" in refused(lr, guide, "gsa", tmp_path / "sr.xyz")
    assert "cannot write there" in refused(lr, guide, "gsa", lr / "sr.tif")
    assert "torch sees" in refused(lr, guide, "gsa", out, replace(CPU, device="cuda:77"))
    assert "do not exist" in refused(lr, guide, "gsa", out, replace(CPU, bands=(0, 9)))


def test_a_model_of_another_scale_guide_or_number_of_bands(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 16, 16)
    pan = own_scene.random_network(tmp_path / "pan.safetensors", guide_channels=1)
    assert "guide of 1 bands" in refused(lr, guide, pan, tmp_path / "sr.tif")
    assert super_resolve_file(lr, guide, pan, tmp_path / "sr.tif", replace(CPU, guide_bands=(1,))).is_file()
    model = own_scene.random_network(tmp_path / "model.safetensors")
    coarse = sharp[:3].reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    export(own_scene.scene_of(coarse, own_scene.finer(TRANSFORM, 2)), tmp_path / "coarse.tif")
    line = refused(lr, tmp_path / "coarse.tif", model, tmp_path / "coarse_sr.tif")
    assert "2 times as fine" in line and "expected 4" in line and "--align" in line


def test_wavelengths_and_values_outside_the_training_are_warned_of(tmp_path, capsys):
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    model = own_scene.random_network(
        tmp_path / "m.safetensors", wavelengths_nm=[400.0, 550.0, 700.0, 710.0], peak=300.0
    )
    super_resolve_file(lr, guide, model, tmp_path / "sr.tif", CPU)
    said = capsys.readouterr().err
    assert "1 of its 4 bands lie outside the 400 to 710 nm" in said
    assert "trained with up to 300" in said
    export(replace(read_scene(lr).load(), scale=1.0), tmp_path / "dn.tif")
    out = super_resolve_file(tmp_path / "dn.tif", guide, "gsa", tmp_path / "dn_sr.tif", CPU)
    assert "they are divided by that for the model" in capsys.readouterr().err
    np.testing.assert_allclose(read_scene(out).cube, hsisr.super_resolve(lr, guide, model="gsa") / 1e-4, atol=1)


def test_other_bands_of_a_guide_than_the_model_learnt_from_are_warned_of(tmp_path, capsys):
    """Also of the scene, where wavelengths do not tell; in another order, a network made another image in silence."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    taught = {"band_numbers": [0, 1, 2, 3], "guide_band_numbers": [2, 1, 0], "guide_wavelengths_nm": [660.0, 560, 480]}
    model = own_scene.random_network(tmp_path / "m.safetensors", base="two-stream", **taught)
    for bands, warned in ((None, True), ("2,1,0", False)):
        super_resolve_file(lr, guide, model, tmp_path / "a.tif", replace(CPU, guide_bands=bands), overwrite=True)
        said = capsys.readouterr().err
        assert ("two-stream learnt from bands 2, 1, 0 of its file, and here bands 0, 1, 2" in said) == warned
    seen = replace(read_scene(guide).load(), wavelengths_nm=np.array([480.0, 560, 660]))
    export(seen, tmp_path / "seen.tif")
    super_resolve_file(lr, tmp_path / "seen.tif", model, tmp_path / "b.tif", CPU)
    assert "seen.tif: its band centres lie up to 180 nm from those of the guide that taught" in capsys.readouterr().err
    blind = own_scene.random_network(tmp_path / "blind.safetensors", base="two-stream", band_numbers=[1, 0, 2, 3])
    super_resolve_file(lr, guide, blind, tmp_path / "c.tif", CPU)
    assert "learnt from bands 1, 0, 2, 3 of its file, and here bands 0, 1, 2, 3" in capsys.readouterr().err


def test_guides_that_lie_elsewhere(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 24, 24)
    out = tmp_path / "sr.tif"

    def lying(transform, crs=CRS, name="other.tif"):
        export(replace(own_scene.scene_of(sharp[:3], transform), crs=crs), tmp_path / name)
        return tmp_path / name

    assert "EPSG:32634" in refused(lr, lying(own_scene.finer(TRANSFORM), "EPSG:32634"), "gsa", out)
    assert "no ground in common" in refused(lr, lying(own_scene.finer(TRANSFORM, rows=100)), "gsa", out)
    assert "no ground in common" in refused(
        lr, lying(own_scene.finer(TRANSFORM, rows=100)), "gsa", out, replace(CPU, align=True, scale=4)
    )
    assert "0.50 guide pixels beside" in refused(lr, lying(own_scene.finer(TRANSFORM, rows=0.125)), "gsa", out)
    a, b, c, d, e, f = own_scene.finer(TRANSFORM)
    turned = (a * 0.999, 0.4, c, 0.4, e * 0.999, f)
    assert "is turned against it" in refused(lr, lying(turned), "gsa", out, replace(CPU, scale=4))


def test_a_guide_of_the_scenes_own_size(tmp_path):
    lr, _, _ = own_scene.write_pair(tmp_path, 16, 16)
    shutil.copy(lr, tmp_path / "guide.tif")
    line = refused(lr, tmp_path / "guide.tif", "gsa", tmp_path / "sr.tif")
    assert line.startswith("guide.tif: its pixels are as large as those of lr.tif")


def test_a_guide_that_shares_one_lr_pixel(tmp_path, capsys):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 24, 24)
    export(own_scene.scene_of(sharp[:3], own_scene.finer(TRANSFORM, rows=23, columns=23)), tmp_path / "corner.tif")
    out = super_resolve_file(lr, tmp_path / "corner.tif", "sfim-hs", tmp_path / "sr.tif", CPU)
    assert "covers 0.2% of the ground" in capsys.readouterr().err
    with rasterio.open(out) as image:
        result, nodata = image.read(), image.nodata
    assert nodata == 0 and (result[:, :-SCALE] == 0).all() and (result[:, :, :-SCALE] == 0).all()
    assert (result[:, -SCALE:, -SCALE:] > 0).all()


def test_a_guide_without_georeference_is_taken_to_cover_the_same_ground(tmp_path, capsys):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 16, 16)
    expected = read_scene(super_resolve_file(lr, guide, "gsa", tmp_path / "plain.tif", CPU)).cube
    export(replace(read_scene(guide).load(), crs=None, transform=None), tmp_path / "bare.tif")
    capsys.readouterr()
    out = super_resolve_file(lr, tmp_path / "bare.tif", "gsa", tmp_path / "sr.tif", CPU)
    assert "bare.tif: has no georeference" in capsys.readouterr().err
    np.testing.assert_array_equal(read_scene(out).cube, expected)
    export(own_scene.scene_of(sharp[:3, :60], own_scene.finer(TRANSFORM)), tmp_path / "short.tif")
    export(replace(read_scene(tmp_path / "short.tif").load(), crs=None, transform=None), tmp_path / "short.tif")
    line = refused(lr, tmp_path / "short.tif", "gsa", tmp_path / "short_sr.tif", replace(CPU, scale=4))
    assert "60 x 64 pixels, expected 64 x 64" in line


def test_a_guide_of_more_ground_is_cut(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 24, 20)
    wide = np.pad(sharp[:3], ((0, 0), (3 * SCALE, SCALE), (2 * SCALE, 0)), mode="reflect")
    export(own_scene.scene_of(wide, own_scene.finer(TRANSFORM, rows=-3, columns=-2)), tmp_path / "wide.tif")
    one, two = (
        super_resolve_file(lr, path, "gsa", tmp_path / f"{path.stem}_sr.tif", CPU)
        for path in (guide, tmp_path / "wide.tif")
    )
    np.testing.assert_array_equal(read_scene(one).cube, read_scene(two).cube)


def test_align_reprojects_another_crs_and_resamples_another_ratio(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 40, 40)
    expected = read_scene(super_resolve_file(lr, guide, "gsa", tmp_path / "plain.tif", CPU)).cube
    with rasterio.open(guide) as image:
        target, width, height = calculate_default_transform(
            image.crs, "EPSG:4326", image.width, image.height, *image.bounds
        )
        pixels = np.zeros((3, height, width), np.float32)
        reproject(
            image.read().astype(np.float32) * 1e-4, pixels, src_transform=image.transform, src_crs=image.crs,
            dst_transform=target, dst_crs="EPSG:4326", resampling=Resampling.cubic, dst_nodata=np.nan,
        )  # fmt: skip
    geographic = Scene(pixels, crs="EPSG:4326", transform=tuple(target)[:6], nodata=float("nan"))
    export(geographic, tmp_path / "geographic.tif")
    finer = sharp[:3].repeat(3, axis=1).repeat(3, axis=2)
    export(own_scene.scene_of(finer, own_scene.finer(TRANSFORM, 12)), tmp_path / "finer.tif")
    for name, tolerance in (("geographic.tif", 0.05), ("finer.tif", 0.02)):
        out = super_resolve_file(lr, tmp_path / name, "gsa", tmp_path / f"sr_{name}", replace(CPU, align=True, scale=4))
        inside = (slice(None), slice(8, -8), slice(8, -8))
        result = read_scene(out).cube
        assert result.shape == expected.shape
        assert np.sqrt(np.mean((result - expected)[inside] ** 2)) < tolerance * np.ptp(expected)


def test_align_does_not_blur_a_guide_that_is_turned(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 32, 40)
    expected = read_scene(super_resolve_file(lr, guide, "gsa", tmp_path / "plain.tif", CPU)).cube
    scene = read_scene(guide)
    a, _, left, _, e, top = scene.transform
    place = (0.0, -a, left + a * scene.shape[2], e, 0.0, top)  # rows go to the west, columns to the south
    turned = replace(scene, stored=np.rot90(scene.stored[...], axes=(1, 2)).copy(), transform=place)
    export(turned, tmp_path / "turned.tif")
    out = super_resolve_file(lr, tmp_path / "turned.tif", "gsa", tmp_path / "sr.tif", replace(CPU, align=True))
    np.testing.assert_allclose(read_scene(out).cube, expected, atol=1e-5)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_align_copies_no_more_of_a_guide_than_it_needs(tmp_path, monkeypatch, crs):
    place = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_800_000.0)
    sharp = gaussian_filter(np.random.default_rng(0).random((2, 300, 240), np.float32), (0, 2, 2))
    mask = np.ones((300, 240), bool)
    mask[130:140, 100:110] = False
    if crs == "EPSG:4326":
        box = transform_bounds("EPSG:32633", crs, 500_000, 5_797_000, 502_400, 5_800_000)
        place = ((box[2] - box[0]) / 240, 0.0, box[0], 0.0, (box[1] - box[3]) / 300, box[3])
    guide = Source(Scene(sharp, "guide", crs=crs, transform=place, mask=mask, nodata=-1.0), "guide")
    ground = (28.0, 0.0, 500_900.0, 0.0, -28.0, 5_798_900.0)
    low = Source(Scene(np.ones((1, 20, 18), np.float32), crs="EPSG:32633", transform=ground), "LR image")
    found = []
    for name, cut in (("cut", align._cut_around), ("whole", lambda low, sharp: sharp)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(align, "_cut_around", cut)
        found.append(align.resample(low, guide, 3, tmp_path / name).window((0, 60), (0, 54)))
    with rasterio.open(tmp_path / "cut" / "guide.tif") as copy:
        assert copy.height * copy.width < 300 * 240 / 4
    assert np.array_equal(found[0][1], found[1][1]) and not found[0][1].all()
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-4)


def test_a_shift_is_measured_warned_of_and_corrected(tmp_path, capsys):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 48, 48)
    off = np.stack([moved(channel, (3.0, -2.5), order=3, mode="nearest") for channel in sharp[:3]])
    export(own_scene.scene_of(np.clip(off, 0, 1), own_scene.finer(TRANSFORM)), tmp_path / "off.tif")
    plain = super_resolve_file(lr, tmp_path / "off.tif", "gsa", tmp_path / "off_sr.tif", CPU)
    said = capsys.readouterr().err
    assert "lies +0.7" in said and "rows, -0.6" in said and "--correct-shift moves the guide" in said
    options = replace(CPU, correct_shift=True)
    right = super_resolve_file(lr, tmp_path / "off.tif", "gsa", tmp_path / "right.tif", options)
    inside = (slice(None), slice(16, -16), slice(16, -16))
    errors = [np.sqrt(np.mean((read_scene(path).cube - sharp)[inside] ** 2)) for path in (plain, right)]
    assert errors[1] < 0.5 * errors[0]


def test_a_scene_without_data(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    scene = read_scene(lr).load()
    export(replace(scene, stored=np.zeros_like(scene.stored), nodata=0.0), tmp_path / "empty.tif")
    assert "holds no data" in refused(tmp_path / "empty.tif", guide, "gsa", tmp_path / "sr.tif")


def test_a_disk_that_is_too_small_is_refused_before_the_start(tmp_path, monkeypatch):
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    line = refused(lr, guide, "gsa", tmp_path / "sr.tif")
    assert "needs 98 kB of disk" in line and "1 kB are free" in line


def test_a_disk_that_fills_up_ends_in_one_line_and_the_run_goes_on_later(tmp_path):
    own_scene.write_pair(tmp_path, 48, 48)

    def run(limit):
        words = [sys.executable, "-m", "hsisr", "predict", "lr.tif", "--guide", "guide.tif", "--model", "gsa"]
        words += ["--tile", "24", "--halo", "4", "-o", "sr.tif", "--device", "cpu"]
        before = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, preexec_fn=before)

    stopped = run(100_000)
    assert stopped.returncode == 1 and "Traceback" not in stopped.stderr
    assert stopped.stderr.strip().splitlines()[-1].startswith("hsisr: error: ")
    assert not (tmp_path / "sr.tif").exists()
    assert run(None).returncode == 0 and (tmp_path / "sr.tif").is_file()


@pytest.mark.parametrize("kind", ["ragged", "gradients", "bfloat16"])
def test_what_is_no_array_in_memory(kind):
    import torch

    lr = [[1.0], [1.0, 2.0]] if kind == "ragged" else torch.ones(3, 8, 8, requires_grad=kind == "gradients")
    lr = lr.bfloat16() if kind == "bfloat16" else lr
    with pytest.raises(HsisrError, match="LR image: cannot be taken for an array of numbers"):
        hsisr.super_resolve(lr, model="bicubic", scale=2)


def test_a_model_that_is_none():
    with pytest.raises(HsisrError, match="model 3: is no model"):
        hsisr.super_resolve(np.ones((3, 8, 8)), model=3, scale=2)


def test_a_path_that_names_nothing(tmp_path, monkeypatch):
    own_scene.write_pair(tmp_path, 16, 16)
    monkeypatch.chdir(tmp_path)
    for path in ("", "."):
        with pytest.raises(HsisrError, match=f"^{tmp_path}: "):
            hsisr.super_resolve(path, "guide.tif", model="gsa")
    assert envi.header_file(Path("/")) is None


def test_what_messages_advise_in_python_works_in_memory_too(tmp_path):
    rng = np.random.default_rng(0)
    guide = gaussian_filter(rng.random((3, 64, 64)), (0, 2, 2)).astype(np.float32)
    lr = guide.repeat(2, axis=0).reshape(6, 16, 4, 16, 4).mean((2, 4))
    expected = hsisr.super_resolve(lr, guide, model="sfim-hs")
    bright = hsisr.super_resolve(lr * 255, guide * 100, model="sfim-hs", peak=255, guide_peak=100)
    np.testing.assert_allclose(bright / 255, expected, rtol=0, atol=1e-5)
    some = hsisr.super_resolve(lr, guide, model="sfim-hs", bands=[4, 1], guide_bands="0-2")
    np.testing.assert_allclose(some, expected[[4, 1]], rtol=0, atol=1e-3)
    with pytest.raises(HsisrError, match=r"--align \(in Python align=True\)"):
        hsisr.super_resolve(lr, guide[:, ::2, :63], model="sfim-hs", scale=4)
    stretched = hsisr.super_resolve(lr, guide[:, ::2, :63], model="sfim-hs", scale=4, align=True)
    assert stretched.shape == (6, 64, 64) and np.isfinite(stretched).all()
    with pytest.raises(HsisrError, match="there is no guide that bicubic would use"):
        hsisr.super_resolve(lr, model="bicubic", scale=4, align=True)
