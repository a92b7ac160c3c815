"""Super-resolving scenes on the disk: tiles, borders, georeference, nodata, resuming."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import rasterio

import hsisr
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.inference import Options, halo, super_resolve_file, super_resolve_folder
from hsisr.inference.feed import Feed
from hsisr.inference.folder import is_collection
from hsisr.inference.images import Source
from hsisr.inference.result import to_stored
from hsisr.inference.scenes import environment
from hsisr.inference.staging import Staging
from hsisr.inference.tiles import Tiling, weights
from hsisr.models.apply import open_method
from hsisr.scene import Scene
from tests.unit import own_scene
from tests.unit.own_scene import SCALE, TRANSFORM, TURNED

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Options(device="cpu")


@pytest.mark.parametrize(("size", "tile", "blend"), [(40, 12, 4), (41, 9, 2), (17, 17, 4), (100, 33, 0)])
def test_weights_of_overlapping_tiles_add_up_to_one(size, tile, blend):
    spans = Tiling(size, size, tile, blend, 3).rows
    total = np.zeros(size * SCALE)
    for span in spans:
        total[span.kept[0] * SCALE : span.kept[1] * SCALE] += weights(span, size, SCALE)
        assert span.window[0] == max(0, span.kept[0] - 3) and span.window[1] == min(size, span.kept[1] + 3)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    cores = [span.core for span in spans]
    assert cores[0][0] == 0 and cores[-1][1] == size
    assert all(a[1] == b[0] for a, b in zip(cores, cores[1:], strict=False))


def test_staging_gives_back_what_its_tiles_hold(tmp_path):
    tiling = Tiling(30, 26, 10, 2, 0)
    truth = np.random.default_rng(0).random((2, 30 * SCALE, 26 * SCALE)).astype(np.float32)
    staging = Staging(tmp_path, tiling, 2, SCALE)

    def tiles(row):
        for column in tiling.columns:
            y, x = ([edge * SCALE for edge in span.kept] for span in (row, column))
            yield truth[:, y[0] : y[1], x[0] : x[1]]

    for number, row in enumerate(tiling.rows):
        assert not staging.is_finished(number)
        staging.write_row(number, tiles(row))
    for rows, columns in ((slice(0, 120), slice(0, 104)), (slice(37, 45), slice(30, 61))):
        np.testing.assert_allclose(staging.read(rows, columns), truth[:, rows, columns], rtol=1e-6)


@pytest.mark.parametrize("transform", [TRANSFORM, TURNED])
def test_output_keeps_georeference_type_scale_and_wavelengths(tmp_path, transform):
    lr, guide, _ = own_scene.write_pair(tmp_path, transform=transform)
    out = super_resolve_file(lr, guide, "gsa", tmp_path / "out" / "sr.tif", CPU)
    with rasterio.open(lr) as low, rasterio.open(out) as sharp:
        assert sharp.shape == (low.height * SCALE, low.width * SCALE) and sharp.count == low.count
        assert sharp.crs == low.crs and sharp.dtypes == low.dtypes
        assert sharp.scales == low.scales and sharp.offsets == low.offsets
        np.testing.assert_allclose(tuple(sharp.transform)[:6], own_scene.finer(transform), rtol=1e-12)
        assert sharp.nodata is None
        assert sharp.tags()["HSISR_MODEL"] == "gsa" and sharp.tags()["HSISR_GUIDE"] == "guide.tif"
    np.testing.assert_array_equal(read_scene(out).wavelengths_nm, own_scene.WAVELENGTHS_NM)
    assert not list(out.parent.glob(".*"))


@pytest.mark.parametrize("suffix", [".tif", ".hdr", ".mat", ".npy", ".h5"])
def test_every_format_holds_the_same_values(tmp_path, suffix):
    lr, guide, _ = own_scene.write_pair(tmp_path, 20, 20)
    out = super_resolve_file(lr, guide, "gsa", tmp_path / f"sr{suffix}", CPU)
    expected = hsisr.super_resolve(lr, guide, model="gsa")
    axes = {"axes": "BHW"} if suffix == ".npy" else {}
    np.testing.assert_allclose(read_scene(out, **axes).cube, expected, atol=6e-5)
    hsisr.super_resolve(lr, guide, model="gsa", out=tmp_path / f"memory{suffix}")
    again = tmp_path / f"memory{'.img' if suffix == '.hdr' else suffix}"
    np.testing.assert_array_equal(read_scene(again, **axes).cube, read_scene(out, **axes).cube)


def test_an_array_file_of_floats_is_read_as_it_lies(tmp_path):
    """Float32 bands first is mapped from the file, and may not be written to."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 20, 20)
    np.save(tmp_path / "lr.npy", read_scene(lr).cube)
    options = replace(CPU, read={"axes": "BHW"})
    out = super_resolve_file(tmp_path / "lr.npy", guide, "gsa", tmp_path / "sr.tif", options)
    np.testing.assert_allclose(read_scene(out).cube, hsisr.super_resolve(lr, guide, model="gsa"), atol=6e-5)


def test_masked_pixels_of_a_scene_in_memory_stay_as_they_are(tmp_path):
    stored = np.ones((2, 8, 8), np.float32)
    mask = np.ones((8, 8), bool)
    mask[3] = False
    values, valid = Source.of(Scene(stored, mask=mask), "LR", {}).window((0, 8), (0, 8))
    assert (values[:, 3] == 0).all() and not valid[3].any() and (stored == 1).all()


def test_cog_is_tiled_with_overviews(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 160, 160)
    out = super_resolve_file(lr, guide, "bicubic", tmp_path / "sr.tif", replace(CPU, format="cog", scale=4))
    with rasterio.open(out) as image:
        assert image.overviews(1) and image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_tiles_of_a_network_agree_with_the_whole_and_show_no_borders(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 72, 72)
    model = own_scene.random_network(tmp_path / "model.safetensors")
    low = replace(read_scene(lr).load(), stored=read_scene(lr).cube, scale=1.0)  # floats, to see less than a digit
    export(low, tmp_path / "float.tif")
    tiled = super_resolve_file(tmp_path / "float.tif", guide, model, tmp_path / "tiled.tif", replace(CPU, tile=24))
    exact = super_resolve_file(tmp_path / "float.tif", guide, model, tmp_path / "exact.tif", replace(CPU, exact=True))
    tiled, exact = (read_scene(path).cube.astype(float) for path in (tiled, exact))
    value_range = np.ptp(low.cube)
    assert np.abs(tiled - exact).max() < 1e-4 * value_range
    memory = hsisr.super_resolve(tmp_path / "float.tif", guide, model=model)
    assert np.abs(exact - memory).max() < 1e-6
    for axis in (1, 2):  # what tiling adds to the gradient, at the borders of tiles and everywhere else
        step = np.abs(np.diff(tiled - exact, axis=axis)).max(axis=tuple({0, 1, 2} - {axis}))
        borders = [24 * SCALE - 1, 48 * SCALE - 1]
        assert step[borders].max() < 1e-4 * value_range
        gradient = np.abs(np.diff(tiled, axis=axis)).mean(axis=tuple({0, 1, 2} - {axis}))
        around = np.median(gradient[borders[0] - 12 : borders[0] + 13])
        assert gradient[borders[0]] < 1.5 * around


@pytest.mark.parametrize("base", ["two-stream", "transformer"])
def test_tiles_start_where_the_networks_own_grid_does(tmp_path, base):
    lr, guide, _ = own_scene.write_pair(tmp_path, 60, 50)
    model = own_scene.random_network(tmp_path / "model.safetensors", base)
    exact = super_resolve_file(lr, guide, model, tmp_path / "exact.npy", replace(CPU, exact=True))
    # windows of a transformer are 4 LR pixels wide here, and neither tile nor halo is a multiple of that
    tiled = super_resolve_file(lr, guide, model, tmp_path / "tiled.npy", replace(CPU, tile=23, halo=17))
    exact, tiled = np.load(exact), np.load(tiled)
    assert np.abs(tiled - exact).max() < 1e-4 * np.ptp(exact)


def test_a_halo_that_is_too_small_makes_borders(tmp_path):
    """The test above can fail: without halo and probe it does."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 48, 48)
    model = own_scene.random_network(tmp_path / "model.safetensors")
    paths = [
        super_resolve_file(lr, guide, model, tmp_path / f"{n}.npy", replace(CPU, **options))
        for n, options in enumerate(({"tile": 24, "halo": 0}, {"exact": True}))
    ]
    first, second = (np.load(path) for path in paths)
    assert np.abs(first - second).max() > 1e-3 * np.ptp(second)


def test_a_halo_that_cannot_reach_is_warned_of(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(halo, "TARGET", 1e-9)  # channel attention averages over the whole image
    lr, _, _ = own_scene.write_pair(tmp_path, 60, 60)
    model = _deepshare(tmp_path / "model.safetensors")
    super_resolve_file(lr, None, model, tmp_path / "sr.tif", replace(CPU, tile=30))
    assert "differ from the whole scene by up to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ({4: 1e-2, 8: 1e-5, 12: 1e-7}, 8),  # the first that is good enough
        ({4: 9e-2, 8: 2.4e-2, 12: 3e-2, 16: 2e-2, 24: 2e-2}, 8),  # none is; larger ones do no better
        ({4: 9e-2, 8: 5e-2, 12: 3e-2, 16: 1e-2, 24: 5e-3}, 24),  # none is; each does better than the one before
    ],
)
def test_the_halo_is_no_larger_than_it_helps(tmp_path, monkeypatch, errors, chosen):
    monkeypatch.setattr(halo, "CANDIDATES", tuple(errors))
    monkeypatch.setattr(halo, "_core", lambda feed, place, size, bands: (np.full((1, 1, 1), errors.get(size, 0.0)), 1))
    lr, guide, _ = own_scene.write_pair(tmp_path, 200, 200)
    model = own_scene.random_network(tmp_path / "model.safetensors")
    feed = Feed(open_method(model, SCALE, 3), Source.of(lr, "LR", {}), None)
    found = halo.probe(feed, memory=2**34)
    assert found.halo == chosen and found.error == pytest.approx(errors[chosen] / feed.range)


def _deepshare(path):
    import torch

    from hsisr.inference import save_model
    from hsisr.models import registry

    torch.manual_seed(0)
    options = {"skip": False, "group": 4, "overlap": 1, "width": 16}
    network = registry.build("deepshare-s", SCALE, 4, 0, options)
    metadata = {"base": "deepshare-s", "options": options, "scale": SCALE, "bands": 4, "guide_channels": 0}
    save_model(path, network, {**metadata, "wavelengths_nm": None})
    return path


@pytest.mark.parametrize("sentinel", [0, 65535])
def test_nodata_stays_and_does_not_bleed(tmp_path, sentinel):
    lr, guide, _ = own_scene.write_pair(tmp_path, 48, 48)
    whole = read_scene(lr).load()
    stored = whole.stored.copy()
    stored[:, 10:20, 30:48] = sentinel
    stored[:, 0:25, 0:24] = sentinel  # a whole tile, and more
    export(replace(whole, stored=stored, nodata=float(sentinel)), tmp_path / "holes.tif")
    options = replace(CPU, tile=24, halo=8)
    holes = super_resolve_file(tmp_path / "holes.tif", guide, "gsa", tmp_path / "holes_sr.tif", options)
    with rasterio.open(holes) as image:
        got, nodata = image.read(), image.nodata
    assert nodata == sentinel
    lost = (stored[0] == sentinel).repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    assert (got[:, lost] == sentinel).all() and (got[:, ~lost] != sentinel).all()
    kept = whole.stored[:, ~(stored[0] == sentinel)]
    assert got[:, ~lost].min() > 0.5 * kept.min() and got[:, ~lost].max() < 1.5 * kept.max()


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("nodata", [0.0, 255.0])
def test_no_valid_value_is_stored_as_nodata(kind, nodata):
    """As prior gives 0 where it cuts off what is below, and 0 is the nodata value of many products."""
    dtype = np.dtype(kind)
    (stored,), _ = to_stored(np.array([[nodata, np.nan, 7]], np.float32), 1.0, 0.0, dtype, nodata)
    assert stored.dtype == dtype and stored[1:].tolist() == [nodata, 7]
    assert stored[0] != nodata and abs(stored[0] - nodata) <= (1 if dtype.kind in "ui" else 1e-4)


@pytest.mark.parametrize("suffix", [".tif", ".mat"])
def test_a_line_counts_values_that_the_stored_type_cuts(tmp_path, capsys, suffix):
    """Whatever the tiles; also where a writer reads the result twice, as that of .mat does for its valid pixels."""
    lr, _, _ = own_scene.write_pair(tmp_path, 24, 20)
    scene = read_scene(lr).load()
    stored = np.where(scene.stored > np.median(scene.stored, axis=(1, 2), keepdims=True), 255, 1).astype(np.uint8)
    stored[1] = 100
    export(replace(scene, stored=stored, scale=1.0, nodata=77), tmp_path / "edges.tif")
    export(replace(scene, stored=stored.astype(np.float32), scale=1.0, nodata=77), tmp_path / "floats.tif")
    free = super_resolve_file(tmp_path / "floats.tif", None, "bicubic", tmp_path / "free.tif", replace(CPU, scale=2))
    assert "cut" not in capsys.readouterr().err
    values = np.rint(read_scene(free).cube)
    outside = (values < 0) | (values > 255)
    said = (
        f"{outside.sum()} of its {outside.size} values, in 3 of 4 bands, are outside of what uint8 holds (0 to 255), "
        "and were cut to it"
    )
    for number, options in enumerate((CPU, replace(CPU, tile=8), replace(CPU, memory="1M"))):
        out = tmp_path / f"sr{number}{suffix}"
        super_resolve_file(
            tmp_path / "edges.tif", None, "bicubic", out, replace(options, scale=2), out.with_suffix(".png")
        )
        assert f"{out.name}: {said}" in capsys.readouterr().err
    with pytest.warns(UserWarning, match=f"whole.tif: {outside.sum()} of its"):
        hsisr.super_resolve(tmp_path / "edges.tif", model="bicubic", scale=2, out=tmp_path / "whole.tif")


def test_bad_bands_are_passed_through(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 24, 24)
    scene = read_scene(lr).load()
    stored = np.insert(scene.stored, 2, 7, axis=0)
    stored[2, 3, 5] = 9
    bad = np.array([False, False, True, False, False])
    wavelengths = np.insert(scene.wavelengths_nm, 2, 600.0)
    export(replace(scene, stored=stored, bad_bands=bad, wavelengths_nm=wavelengths), tmp_path / "bad.tif")
    plain = super_resolve_file(lr, guide, "gsa", tmp_path / "plain.tif", CPU)
    out = super_resolve_file(tmp_path / "bad.tif", guide, "gsa", tmp_path / "sr.tif", CPU)
    result = read_scene(out).load()
    np.testing.assert_array_equal(result.stored[2], stored[2].repeat(SCALE, 0).repeat(SCALE, 1))
    np.testing.assert_array_equal(np.delete(result.stored, 2, axis=0), read_scene(plain).load().stored)
    np.testing.assert_array_equal(result.bad_bands, bad)


def test_nan_stripes_are_nodata_when_said_so(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 24, 24)
    values = read_scene(lr).cube
    values[:, :, 7] = np.nan
    export(Scene(values, crs=own_scene.CRS, transform=TRANSFORM), tmp_path / "stripes.tif")
    with pytest.raises(hsisr.HsisrError, match="not finite"):
        super_resolve_file(tmp_path / "stripes.tif", guide, "gsa", tmp_path / "sr.tif", CPU)
    options = replace(CPU, read={"nodata": float("nan")})
    out = super_resolve_file(tmp_path / "stripes.tif", guide, "gsa", tmp_path / "sr.tif", options)
    with rasterio.open(out) as image:
        result = image.read()
    assert np.isnan(image.nodata) and np.isnan(result[:, :, 28:32]).all()
    assert np.isfinite(np.delete(result, range(28, 32), axis=2)).all()


KILLED = """
import os, signal, sys
from dataclasses import replace
import torch
torch.set_num_threads(1)
from hsisr.inference import Options, halo, super_resolve_file
from hsisr.inference.folder import is_collection
from hsisr.inference.images import Source
from hsisr.inference.result import to_stored
from hsisr.inference.staging import Staging
write, count = Staging.write_row, int(sys.argv[1])
def dying(self, row, tiles):
    def some():
        for k, tile in enumerate(tiles):
            if row == count and k == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield tile
    write(self, row, some())
Staging.write_row = dying
super_resolve_file("lr.tif", "guide.tif", "model.safetensors", "sr.tif", Options(device="cpu", tile=16))
"""


def test_killed_and_run_again_gives_the_same_bytes(tmp_path):
    own_scene.write_pair(tmp_path, 48, 32)
    own_scene.random_network(tmp_path / "model.safetensors")

    def run(row: int) -> subprocess.CompletedProcess:
        words = [sys.executable, "-c", KILLED, str(row)]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    files = (tmp_path / name for name in ("lr.tif", "guide.tif", "model.safetensors", "sr.tif"))
    expected = super_resolve_file(*files, replace(CPU, tile=16)).read_bytes()
    (tmp_path / "sr.tif").unlink()
    assert run(1).returncode == -9
    assert not (tmp_path / "sr.tif").exists()
    again = run(-1)
    assert again.returncode == 0 and "resumes: 1 of 3 tile rows are done" in again.stderr
    assert (tmp_path / "sr.tif").read_bytes() == expected
    assert not list(tmp_path.glob(".sr*"))


def test_an_image_that_changes_while_it_is_read_gives_no_result(tmp_path, monkeypatch):
    """Before, the result had tiles of both its contents."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 48, 32)
    (tmp_path / "sr.tif").write_text("earlier")
    write_row = Staging.write_row

    def written(staging, row, tiles):
        write_row(staging, row, tiles)
        (guide if row else lr).touch()

    monkeypatch.setattr(Staging, "write_row", written)
    with pytest.raises(hsisr.HsisrError, match="lr.tif: changed while it was read; run the same command again"):
        super_resolve_file(lr, guide, "gsa", tmp_path / "sr.tif", replace(CPU, tile=32, halo=8), overwrite=True)
    assert (tmp_path / "sr.tif").read_text() == "earlier"


def test_several_devices_share_the_rows(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 48, 32)
    one = super_resolve_file(lr, guide, "gsa", tmp_path / "one.tif", replace(CPU, tile=16, halo=8))
    two = super_resolve_file(lr, guide, "gsa", tmp_path / "two.tif", replace(CPU, tile=16, halo=8, device="cpu,cpu"))
    np.testing.assert_array_equal(read_scene(one).cube, read_scene(two).cube)


def test_devices_that_share_the_rows_stop_together(tmp_path, monkeypatch):
    """Before, the others made all their rows first."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 160, 16)
    write_row = Staging.write_row

    def written(staging, row, tiles):
        if row == 1:
            raise hsisr.HsisrError("the disk is full")
        write_row(staging, row, tiles)
        time.sleep(0.1)

    monkeypatch.setattr(Staging, "write_row", written)
    with pytest.raises(hsisr.HsisrError, match="the disk is full"):
        super_resolve_file(lr, guide, "gsa", tmp_path / "sr.tif", replace(CPU, tile=16, halo=8, device="cpu,cpu"))
    assert len(list((tmp_path / ".sr.tif.work").glob("row-*"))) < 3


def test_folder_with_guides_of_the_same_names(tmp_path):
    scenes, guides = tmp_path / "scenes", tmp_path / "guides"
    for folder in (scenes, guides):
        folder.mkdir()
    for name in ("a", "b"):
        lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
        lr.rename(scenes / f"{name}.tif")
        guide.rename(guides / f"{name}.tif")
    written = super_resolve_folder(scenes, guides, "gsa", tmp_path / "out", CPU, preview=True)
    assert [path.name for path in written] == ["a.tif", "b.tif"]
    assert (tmp_path / "out" / "a.png").is_file()
    (guides / "b.tif").unlink()
    with pytest.raises(hsisr.HsisrError, match="1 of 2 scenes could not be done: b.tif"):
        super_resolve_folder(scenes, guides, "gsa", tmp_path / "again", CPU)
    assert (tmp_path / "again" / "a.tif").is_file()


def test_a_folder_resumes_behind_its_finished_scenes(tmp_path, monkeypatch, capsys):
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    for name in ("a", "b"):
        export(read_scene(lr), scenes / f"{name}.tif")
    write_row = Staging.write_row

    def stopped(staging, row, tiles):
        if staging.folder.name == ".b.tif.work":
            raise KeyboardInterrupt
        write_row(staging, row, tiles)

    def run(options=CPU, **more):
        return super_resolve_folder(scenes, guide, "gsa", out, options, preview=True, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Staging, "write_row", stopped)
        run()
    first = (out / "a.tif").stat()
    capsys.readouterr()
    assert run() == [out / "a.tif", out / "b.tif"] == run()
    assert (out / "a.tif").stat() == first
    assert f"{out}/a.tif: is finished, from the same images by the same settings; it stays" in capsys.readouterr().err
    with pytest.raises(hsisr.HsisrError, match="2 of 2 scenes"):  # other settings
        run(replace(CPU, bands=(0, 1)))
    (out / "a.tif").write_bytes(b"somebody else's")
    export(replace(read_scene(lr), scale=2e-4), scenes / "b.tif")
    (out / "b.png").unlink()
    with pytest.raises(hsisr.HsisrError, match="2 of 2 scenes"):
        run()
    assert (out / "a.tif").read_bytes() == b"somebody else's" and not (out / "b.png").exists()
    run(overwrite=True)
    record = (out / ".hsisr_finished.json").read_text()
    (out / ".hsisr_finished.json").write_text(record[: record.index('"files"')] + '"files": [1]}')
    with pytest.raises(hsisr.HsisrError, match="2 of 2 scenes"):  # a damaged record
        run()
    (out / ".hsisr_finished.json").write_text(record)
    (out / "a.tif").unlink()
    with pytest.raises(hsisr.HsisrError, match="1 of 2 scenes"):  # its picture is there, and may be somebody else's
        run()
    (out / "a.png").unlink()
    assert len(run()) == 2
    assert run(replace(CPU, format="envi"), overwrite=True) == run(replace(CPU, format="envi"))  # header and data


def test_a_scene_file_brings_its_own_guide(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 20, 20)
    replace(read_scene(lr).load(), guide=read_scene(guide).load()).save(tmp_path / "scene.h5")
    one = super_resolve_file(tmp_path / "scene.h5", None, "gsa", tmp_path / "own.tif", replace(CPU, bands=(0, 2)))
    two = super_resolve_file(lr, guide, "gsa", tmp_path / "given.tif", replace(CPU, bands=(0, 2)))
    np.testing.assert_array_equal(read_scene(one).cube, read_scene(two).cube)
    np.testing.assert_array_equal(read_scene(one).wavelengths_nm, [480, 660])


def test_preview_shows_scene_result_and_guide(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 24, 20)
    super_resolve_file(lr, guide, "gsa", tmp_path / "sr.tif", CPU, tmp_path / "sr.png")
    with rasterio.open(tmp_path / "sr.png") as image:
        picture = image.read()
    column = 160 + 6  # what a label needs at least, and the gap
    assert picture.shape[1] > 24 * SCALE and picture.shape[2] == 3 * column - 6
    picture = picture[:, -24 * SCALE :]  # below the labels
    low, sharp = picture[:, :, : 20 * SCALE], picture[:, :, column : column + 20 * SCALE]
    assert np.corrcoef(low.ravel(), sharp.ravel())[0, 1] > 0.8 and (low != sharp).any()


def test_a_folder_of_band_images_is_one_scene(tmp_path):
    lr, _, _ = own_scene.write_pair(tmp_path, 16, 16)
    scenes, bands = tmp_path / "scenes", tmp_path / "bands"
    for number in (1, 2):
        super_resolve_file(lr, None, "bicubic", scenes / f"tile_{number}.h5", replace(CPU, scale=2))
    assert is_collection(scenes) and not is_collection(bands) and not is_collection(lr)
    scene = read_scene(lr).load()
    for number in range(4):
        export(scene.bands([number]), bands / f"band_{number + 1}.tif")
    assert not is_collection(bands)
    big = replace(scene, stored=scene.stored.repeat(2, axis=0), wavelengths_nm=None)
    for number in (1, 2):
        export(big, tmp_path / "many" / f"tile_{number}.tif")
    assert is_collection(tmp_path / "many")


def test_sources_leave_pixels_on_the_disk(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    image = Source.of(guide, "guide")
    assert not isinstance(image.scene.stored, np.ndarray) and isinstance(read_scene(guide).stored, np.ndarray)
    values, valid = image.window((-2, 3), (60, 66))
    assert not valid[:2].any() and not valid[:, 4:].any() and valid[2:, :4].all()
    np.testing.assert_array_equal(values[:, 2:, :4], read_scene(guide).cube[:, :3, 60:])
    assert (values[:, ~valid] == 0).all()


def test_gdal_keeps_what_tiles_read_again():
    with rasterio.Env():
        usual = rasterio.env.get_gdal_config("GDAL_CACHEMAX")
        with environment():
            assert rasterio.env.get_gdal_config("GDAL_CACHEMAX") == 32 * 2**20  # bytes
        assert rasterio.env.get_gdal_config("GDAL_CACHEMAX") == usual
