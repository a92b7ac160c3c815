"""Uncertainty: a standard deviation of every sample of a result, as a file, as an array, on the quality page."""

import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from scipy.ndimage import gaussian_filter, map_coordinates

import hsisr
from hsisr.datasets import read_scene
from hsisr.errors import HsisrError
from hsisr.inference import super_resolve_file, uncertainty
from hsisr.models.classical.bicubic import bicubic
from hsisr.models.prior import errors
from hsisr.models.prior.errors import SIGMAS_90, local_variance
from hsisr.models.solo.errors import learn_errors
from hsisr.models.windows import HeldImages
from hsisr.report import quality
from tests.unit.large_scene import BANDS, CPU, SCALE, TILES, TOLERANCE, largest_difference, write_pair


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> SimpleNamespace:
    """A pair without holes, and what the prior makes of it. Tests only read it."""
    lr, guide, sharp = write_pair(tmp_path_factory.mktemp("plain"), 64, 64, holes=False)
    image, sigma = hsisr.super_resolve(lr, guide, model="prior", uncertainty=True)
    return SimpleNamespace(lr=lr, guide=guide, sharp=sharp, image=image, sigma=sigma)


@pytest.mark.parametrize("model", ["prior", "hybrid", "solo"])
def test_tiles_tell_the_same_and_the_result_stays(tmp_path, model, request):
    lr, guide, _ = write_pair(tmp_path)
    model = request.getfixturevalue("hybrid") if model == "hybrid" else model
    guide, plainly = (None, replace(CPU, scale=SCALE)) if model == "solo" else (guide, CPU)
    plain = super_resolve_file(lr, guide, model, tmp_path / "plain.npy", plainly).read_bytes()
    said = {}
    for name in ("whole", "small tiles", "two at a time"):
        options = TILES[name]
        sigma, chosen = tmp_path / f"{name}-sigma.npy", replace(plainly, **options)
        out = super_resolve_file(lr, guide, model, tmp_path / f"{name}.npy", chosen, uncertainty=sigma)
        said[name] = np.load(sigma)
        if name == "whole":
            assert out.read_bytes() == plain
    whole, *others = said.values()
    assert whole.shape == (BANDS, 44 * SCALE, 38 * SCALE)
    assert np.nanmin(whole) > 0 and 0.8 < np.isfinite(whole).all(axis=0).mean() < 1  # nothing is said of holes
    assert max(largest_difference(whole, other) for other in others) < TOLERANCE


def test_without_a_guide_errors_are_where_the_image_changes_and_grow_with_noise(tmp_path):
    lr, _, sharp = write_pair(tmp_path, 64, 64, holes=False)
    low = read_scene(lr).cube
    image, sigma = hsisr.super_resolve(low, model="solo", scale=SCALE, uncertainty=True)
    error = np.abs(image - sharp)
    assert 0.8 < (error < SIGMAS_90 * sigma).mean() < 0.99
    sure = sigma < np.median(sigma)
    assert error[~sure].mean() > 1.5 * error[sure].mean()
    noise = 0.03 * np.random.default_rng(0).standard_normal(low.shape)
    _, noisy = hsisr.super_resolve((low + noise).astype(np.float32), model="solo", scale=SCALE, uncertainty=True)
    assert np.sqrt(np.mean(noisy**2 - sigma**2)) > 0.015


def test_an_empty_margin_says_nothing_of_the_errors(plain):
    """Ground that is all one number has no errors; where nine tenths were, deviations elsewhere were 0."""
    low = read_scene(plain.lr).cube[:, :24, :24]
    alone, beside = (
        hsisr.super_resolve(values, model="solo", scale=SCALE, uncertainty=True)[1][:, SCALE:-SCALE, SCALE:-SCALE]
        for values in (low, np.pad(low, ((0, 0), (0, 72), (0, 72))))
    )
    inside = beside[:, : 22 * SCALE, : 22 * SCALE]
    assert 0.5 < inside.mean() / alone.mean() < 2


@pytest.mark.parametrize(("side", "tested"), [(32, True), (4 * SCALE - 1, False)])
def test_without_a_guide_a_test_one_scale_down_tells_of_larger_errors(side, tested):
    """An image of which nothing can be restored one scale down has larger errors than a smooth one."""
    rng = np.random.default_rng(0)
    images = HeldImages(rng.random((3, side, side), np.float32), np.empty((0, SCALE * side, SCALE * side)), SCALE)

    def restore(low: np.ndarray) -> np.ndarray:
        return bicubic(low, scale=SCALE)

    found = learn_errors(images, SCALE, 0.0, lambda window, corner: restore(window.lr), restore)
    assert (found.larger > 1.2) if tested else (found.larger == 1)


@pytest.mark.parametrize(("share", "side"), [(4, 64), (1, 64), (0.25, 32), (1e-6, 8)])
def test_tiles_of_deviations_take_no_more_memory_than_those_of_the_result(share, side):
    needed = uncertainty._IMAGES * 4 * 100 * 2**2  # of an LR pixel: float32, bands, scale
    lr, method = SimpleNamespace(shape=(100, 64, 64)), SimpleNamespace(scale=2)
    feed = SimpleNamespace(lr=lr, method=method, bytes_per_lr_pixel=share * needed)
    assert uncertainty._tile(64, feed) == side


def test_a_large_scene_has_one_uncertainty(tmp_path, small_blocks):  # noqa: F811
    lr, guide, _ = write_pair(tmp_path)
    said = []
    for name in ("whole", "tiles"):
        sigma = tmp_path / f"{name}-sigma.npy"
        super_resolve_file(lr, guide, "prior", tmp_path / f"{name}.npy", replace(CPU, **TILES[name]), uncertainty=sigma)
        said.append(np.load(sigma))
    assert largest_difference(*said) < TOLERANCE


def test_ground_that_the_guide_lacks_teaches_nothing_and_is_less_sure(tmp_path):
    lr, guide, sharp = write_pair(tmp_path, holes=False)
    cloud = np.zeros(sharp.shape[1:], bool)
    cloud[24:48, 20:40] = True
    whole = read_scene(guide)
    lacking = replace(whole, stored=np.where(cloud, -1, whole.stored), nodata=-1.0)
    plain, masked = (
        hsisr.super_resolve(lr, lacking, model="prior", uncertainty=True, mask_change=masked)
        for masked in (False, True)
    )
    assert (plain[0][:, cloud] == 0).all() and (plain[1][:, cloud] == 0).all()
    image, sigma = masked
    off = [np.sqrt(((made - sharp)[:, ~cloud] ** 2).mean()) for made in (plain[0], image)]
    assert off[1] < 1.05 * off[0]
    assert sigma[:, cloud].min() > 2 * np.median(sigma[:, ~cloud])
    assert (np.abs(image - sharp)[:, cloud] < SIGMAS_90 * sigma[:, cloud]).mean() > 0.85


def test_a_guide_that_has_little_ground_in_common_tells_errors_too(tmp_path):
    lr, guide, _ = write_pair(tmp_path, holes=False)
    low, sharp = read_scene(lr), read_scene(guide)
    lower = replace(low, stored=np.where(np.arange(low.shape[1])[:, None] < 19, -1, low.stored), nodata=-1.0)
    rows = np.arange(sharp.shape[1])[:, None]
    upper = replace(sharp, stored=np.where(rows < 20 * SCALE, sharp.stored, -1), nodata=-1.0)
    image, sigma = hsisr.super_resolve(lower, upper, model="prior", uncertainty=True, mask_change=True)
    told = np.broadcast_to(rows >= 19 * SCALE, image.shape[1:])
    assert (sigma[:, told] > 0).all() and np.isfinite(sigma).all()
    assert (image[:, ~told] == 0).all() and (sigma[:, ~told] == 0).all()


def test_a_scene_of_lone_pixels_tells_errors_too(tmp_path):
    lr, guide, _ = write_pair(tmp_path, holes=False)
    low = read_scene(lr)
    stored = np.full_like(low.stored, -1)
    stored[:, 10, ::2] = low.stored[:, 10, ::2]
    with pytest.warns(UserWarning, match="PSF cannot be measured"):
        image, sigma = hsisr.super_resolve(
            replace(low, stored=stored, nodata=-1.0), read_scene(guide), model="prior", uncertainty=True
        )
    told = (sigma > 0).all(axis=0)
    assert told.any() and (told == (image > 0).any(axis=0)).all()


def test_bands_that_the_guide_tells_less_of_are_less_sure(plain):
    scene, moved = read_scene(plain.lr), np.arange(BANDS) >= BANDS // 2
    own = gaussian_filter(np.random.default_rng(0).standard_normal(plain.sharp.shape[1:]), 1.5)
    means = (0.02 * own / own.std()).reshape(64, SCALE, 64, SCALE).mean(axis=(1, 3))
    other = replace(scene, stored=scene.cube + (moved[:, None, None] * means).astype(np.float32))
    _, sigma = hsisr.super_resolve(other, plain.guide, model="prior", uncertainty=True)
    more = sigma.mean(axis=(1, 2)) / plain.sigma.mean(axis=(1, 2))
    assert more[moved].mean() > 1.4 * more[~moved].mean()


@pytest.mark.parametrize("even", [0.0, 0.3])
def test_a_band_of_one_number_says_nothing_of_the_others(plain, even):
    scene = read_scene(plain.lr)
    one_more = np.concatenate([scene.cube, np.full_like(scene.cube[:1], even)])
    _, sigma = hsisr.super_resolve(one_more, read_scene(plain.guide).cube, model="prior", uncertainty=True)
    others = sigma[:BANDS].mean(axis=(1, 2)) / plain.sigma.mean(axis=(1, 2))
    assert 0.7 < others.min() <= others.max() < 1.4
    assert 0 < sigma[-1].min() <= sigma[-1].max() < sigma[:BANDS].max()


@pytest.mark.parametrize("model", ["prior", "solo"])
@pytest.mark.parametrize(("factor", "level", "pixels"), [(1.0, 100.0, 24), (1e-6, 0.0, 24), (1e-6, 0.0, 6)])
def test_deviations_have_the_unit_of_the_values(plain, model, factor, level, pixels):
    """In kelvin, or in W per cm^2, as in reflectance; they were 130 and 50 000 times as large."""
    lr, guide = (
        read_scene(path).cube[:, : pixels * side, : pixels * side]
        for path, side in ((plain.lr, 1), (plain.guide, SCALE))
    )
    given = {"guide": guide, "model": model} if model == "prior" else {"scale": SCALE, "model": model}
    usual, other = (
        hsisr.super_resolve(values, uncertainty=True, **given)[1].mean() for values in (lr, factor * lr + level)
    )
    assert 0.5 < other / factor / usual < 4


def test_detail_too_fine_for_the_lr_image_is_told_by_the_guide():
    rng = np.random.default_rng(0)
    own, shared = (gaussian_filter(rng.standard_normal((80, 80)), 0.5) for _ in range(2))
    sharp = np.stack([0.5 + 0.1 * (share * own + shared) for share in (0.0, 0.2, 0.8, 1.0)]).astype(np.float32)
    lr = hsisr.degrade.degrade(sharp, "wald", 4, noise=0)
    guide = (0.5 + 0.1 * shared)[None].astype(np.float32)
    image, sigma = hsisr.super_resolve(lr, guide, model="prior", scale=4, uncertainty=True)
    assert (np.abs(image - sharp) < SIGMAS_90 * sigma)[2:].mean() > 0.85


@pytest.mark.parametrize("changed", [False, True])
def test_data_between_the_windows_that_are_looked_at(tmp_path, monkeypatch, changed):
    lr, guide, _ = write_pair(tmp_path, holes=False)
    low = read_scene(lr)
    stored = np.full_like(low.stored, -1)
    stored[:, 26:36] = low.stored[:, 26:36]
    scene = replace(low, stored=stored, nodata=-1.0)
    options = {"model": "prior", "uncertainty": True, "mask_change": changed}
    # the guide has no noise; so small a part of it could not tell
    monkeypatch.setattr(errors, "noise_level", lambda guide, valid: np.zeros(len(guide)))
    _, expected = hsisr.super_resolve(scene, read_scene(guide), **options)
    monkeypatch.setattr(errors, "_PLACE_LR_PX", 8)  # rows 0 to 8, 18 to 26, 36 to 44
    _, sigma = hsisr.super_resolve(scene, read_scene(guide), **options)
    assert (sigma[0] > 0).any(axis=1).sum() == 10 * SCALE
    np.testing.assert_allclose(sigma, expected, rtol=0.2)


def test_the_file_has_the_place_of_the_result_and_the_unit_of_its_values(tmp_path):
    lr, guide, _ = write_pair(tmp_path)
    low = read_scene(lr)
    stored = replace(low, stored=np.rint(1000 * low.stored + 100).astype(np.int16), nodata=-900.0, mask=None)
    hsisr.datasets.export(replace(stored, scale=0.002, offset=-0.2), tmp_path / "stored.tif")  # values twice as large
    for name in ("lr", "stored"):
        out = tmp_path / f"{name}-sr.tif"
        super_resolve_file(tmp_path / f"{name}.tif", guide, "prior", out, CPU, uncertainty=tmp_path / f"{name}-s.tif")
    with rasterio.open(tmp_path / "stored-sr.tif") as result, rasterio.open(tmp_path / "stored-s.tif") as sigma:
        assert (sigma.transform, sigma.crs, sigma.shape) == (result.transform, result.crs, result.shape)
        assert sigma.dtypes[0] == "float32" and sigma.scales[0] == 1 and np.isnan(sigma.nodata)
    once, twice = (read_scene(tmp_path / f"{name}-s.tif") for name in ("lr", "stored"))
    assert np.median(twice.cube[:, twice.mask] / once.cube[:, once.mask]) == pytest.approx(2, rel=0.02)


def test_most_errors_of_a_known_scene_lie_within(plain):
    sigma = plain.sigma
    np.testing.assert_array_equal(plain.image, hsisr.super_resolve(plain.lr, plain.guide, model="prior"))
    error = np.abs(plain.image - plain.sharp)
    assert (error < SIGMAS_90 * sigma).mean() > 0.8
    assert sigma.mean() < 5 * np.sqrt((error**2).mean())  # mixtures of few materials are easier than real scenes
    large = sigma > np.median(sigma)
    assert error[large].mean() > 1.2 * error[~large].mean()


def test_local_variance_leaves_out_what_is_not_valid():
    image = np.zeros((1, 9, 9), np.float32)
    image[0, 4, 4] = 1
    valid = image[0] == 0
    assert local_variance(image, 2, None).max() == pytest.approx(1 / 9 - 1 / 81)
    assert local_variance(image, 2, valid).max() == 0


def test_maps_and_page_show_it(tmp_path):
    lr, guide, _ = write_pair(tmp_path)
    page = tmp_path / "quality.html"
    super_resolve_file(
        lr, guide, "prior", tmp_path / "sr.tif", CPU, maps=tmp_path / "maps", pages={page: quality.writer(page)},
        uncertainty=tmp_path / "sigma.tif",
    )  # fmt: skip
    share = read_scene(tmp_path / "maps" / "guided.tif")
    values = share.cube[0, share.mask]
    assert share.shape == (1, 44 * SCALE, 38 * SCALE) and 0 <= values.min() < values.max() <= 1
    assert "Standard deviation of the result" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        ("gsa", "sigma.tif", "gsa does not tell how far"),
        ("prior", "sr.tif", "named for two outputs"),
        ("prior", "kept.tif", "exists already"),
        ("prior", "lr.tif", "is the input"),
        ("prior", "sigma.abc", "no format"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(tmp_path, model, name, expected):
    lr, guide, _ = write_pair(tmp_path)
    (tmp_path / "kept.tif").write_bytes(b"mine")
    with pytest.raises(HsisrError, match=expected):
        super_resolve_file(
            lr, guide, model, tmp_path / "sr.tif", replace(CPU, scale=SCALE), uncertainty=tmp_path / name
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guide.tif", "kept.tif", "lr.tif"]


def test_few_pixels_are_said_to_tell_little():
    lr = np.random.default_rng(0).random((3, 9, 9), np.float32)
    with pytest.warns(UserWarning, match="LR image: 81 pixels tell little of errors"):
        hsisr.super_resolve(lr, model="solo", scale=SCALE, uncertainty=True)


def test_an_array_of_a_method_that_has_none_is_refused(tmp_path):
    lr, guide, _ = write_pair(tmp_path)
    with pytest.raises(HsisrError, match="bicubic does not tell"):
        hsisr.super_resolve(lr, guide, model="bicubic", scale=SCALE, uncertainty=True)


KILLED = """
import os, signal, sys
from hsisr.inference import Options, super_resolve_file
from hsisr.inference.staging import Staging

write = Staging.write_row

def dying(self, row, tiles):
    if self.folder.name == "sigma" and row == 1 and sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, row, tiles)

Staging.write_row = dying
super_resolve_file("lr.tif", "guide.tif", "prior", "sr.npy", Options(device="cpu", tile=16), uncertainty="sigma.npy")
"""


def test_a_killed_run_goes_on(tmp_path):
    lr, guide, _ = write_pair(tmp_path, width=16)

    def run(word: str) -> subprocess.CompletedProcess:
        words = [sys.executable, "-c", KILLED, word]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    expected = tmp_path / "expected-sigma.npy"
    super_resolve_file(lr, guide, "prior", tmp_path / "expected.npy", replace(CPU, tile=16), uncertainty=expected)
    assert run("die").returncode == -signal.SIGKILL
    again = run("live")
    assert again.returncode == 0 and "2 of 3 tile rows to do" in again.stderr, again.stderr
    assert (tmp_path / "sigma.npy").read_bytes() == expected.read_bytes()
    assert not list(tmp_path.glob(".sr*"))


@pytest.mark.parametrize("spoilt", ["noise", "displaced"])
def test_a_guide_that_is_noisy_or_does_not_fit_makes_the_result_less_sure(plain, spoilt):
    scene, rng = read_scene(plain.guide), np.random.default_rng(0)
    values = scene.cube
    if spoilt == "noise":
        values = values + 0.03 * rng.standard_normal(values.shape)
    else:
        rows, columns = np.mgrid[: values.shape[1], : values.shape[2]]
        places = [rows, columns + 3 * np.sin(rows / 8)]
        values = np.stack([map_coordinates(channel, places, order=1, mode="nearest") for channel in values])
    image, sigma = hsisr.super_resolve(
        plain.lr, replace(scene, stored=values.astype(np.float32)), model="prior", uncertainty=True
    )
    assert np.median(sigma / plain.sigma) > 1.3
    assert (np.abs(image - plain.sharp) < SIGMAS_90 * sigma).mean() > 0.8
