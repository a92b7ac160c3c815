"""The quality page: what is measured of a result without a reference, and the page that says so."""

import base64
import hashlib
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsisr.cli.app import app
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.degrade.sensor import gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.evaluation import quality
from hsisr.evaluation.quality import blocks, prisma, spectrum
from hsisr.inference.align import Offset
from hsisr.inference.feed import Feed
from hsisr.inference.guide import Guide
from hsisr.inference.images import Source, chosen_bands
from hsisr.inference.scenes import Options, super_resolve_file
from hsisr.models.apply import open_method
from hsisr.report.quality import _range_table, render, writer
from hsisr.report.tables import NOTHING
from hsisr.scene import Scene
from tests.unit.own_scene import CRS, TRANSFORM, finer
from tests.unit.test_cli import hsisr
from tests.unit.test_report import browse, decoded, needs_chromium, with_script
from tests.unit.test_report import found as found_in

SCALE = 3
CENTRES_NM = np.array([450.0, 560, 665, 842, 1610, 2200])


def truth(height: int = 40, width: int = 44) -> np.ndarray:
    """Six bands in [0.1, 0.9] (6, s height, s width), of two materials and a slow field."""
    rng = np.random.default_rng(3)
    maps = np.stack([gaussian_filter(rng.random((height * SCALE, width * SCALE)), sigma) for sigma in (1.2, 2, 9)])
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (0.1 + 0.8 * np.tensordot(rng.dirichlet(np.ones(3), 6), (maps - low) / (high - low), axes=1)).astype("f4")


def scenes(sharp: np.ndarray, channels: tuple[int, ...] = (1, 2), **facts) -> tuple[Scene, Scene]:
    """LR image of a Gaussian footprint, and a guide of some of the bands, both of the same ground."""
    low = gaussian_footprint(SCALE).sampler(SCALE, sharp.shape[1:])(sharp).astype(np.float32)
    lr = Scene(low, "lr", wavelengths_nm=CENTRES_NM, crs=CRS, transform=TRANSFORM, **facts)
    centres = CENTRES_NM[list(channels)]
    guide = Scene(sharp[list(channels)], "guide", wavelengths_nm=centres, crs=CRS, transform=finer(TRANSFORM, SCALE))
    return lr, guide


def feed_of(lr: Scene, guide: Scene | None) -> Feed:
    method = open_method("prior" if guide else "bicubic", SCALE, 0 if guide is None else guide.shape[0], "cpu", "32")
    size = tuple(SCALE * side for side in lr.shape[1:])
    return Feed(
        method, Source(lr, "lr.tif"), None if guide is None else Guide(Source(guide, "guide.tif"), (0, 0), size)
    )


@pytest.fixture(scope="module")
def pair() -> tuple[Feed, np.ndarray]:
    sharp = truth()
    return feed_of(*scenes(sharp)), sharp


def test_the_truth_agrees_with_its_own_images(pair):
    feed, sharp = pair
    found = quality.measure(feed, Scene(sharp, "sr"))
    assert found.measured and found.offset.trusted and found.offset.lr_px < 0.05
    assert np.allclose(found.footprint.sigma_px(), gaussian_footprint(SCALE).sigma_px(), rtol=0.05)
    assert (found.lr.rmse / found.lr.mean).max() < 0.01 and found.lr.correlation.min() > 0.999
    assert (found.guide.rmse / found.guide.mean).max() < 0.01
    assert found.scores["d_lambda"] < 0.01 and set(found.scores) == {"d_lambda"}  # D_s wants one channel
    assert set(found.indices) == {"NDVI", "NDWI", "Clay ratio"}
    assert all(agreement.rmse[0] < 0.02 for agreement in found.indices.values())


def test_what_is_wrong_with_a_result_is_seen_where_it_is_wrong(pair):
    """Too bright a band in the short-wave infrared, and a guide's band that is too smooth."""
    feed, sharp = pair
    wrong = sharp.copy()
    wrong[5] *= 1.1
    wrong[1] = gaussian_filter(sharp[1], 6)
    found, right = (quality.measure(feed, Scene(image, "sr")) for image in (wrong, sharp))
    assert found.lr.rmse[5] == pytest.approx(0.1 * np.sqrt((feed.lr.scene.stored[5] ** 2).mean()), rel=0.05)
    assert np.allclose(found.lr.rmse[[0, 2, 3, 4]], right.lr.rmse[[0, 2, 3, 4]])
    assert found.guide.rmse.max() > 5 * right.guide.rmse.max()
    assert found.scores["d_lambda"] > 3 * right.scores["d_lambda"]
    assert found.indices["Clay ratio"].rmse > 5 * right.indices["Clay ratio"].rmse


def test_blocks_say_what_the_whole_says(pair, monkeypatch):
    feed, sharp = pair
    result = Scene(np.random.default_rng(0).normal(sharp, 0.02).astype(np.float32), "sr")
    whole = quality.measure(feed, result)
    monkeypatch.setattr(blocks, "_MOST_SAMPLES", 1)
    monkeypatch.setattr(blocks, "TILE_PX", 16)
    found = quality.measure(feed, result)
    assert len(whole.sampled) == 1 and len(found.sampled) == 9 and found.sampled.share == 1
    assert np.allclose(found.lr.rmse, whole.lr.rmse, rtol=1e-5)
    assert np.allclose(found.guide.rmse, whole.guide.rmse, rtol=1e-3)  # the response is learnt on other pixels
    monkeypatch.setattr(blocks, "_PLACES", 2)
    some = quality.measure(feed, result)
    assert len(some.sampled) == 4 and some.sampled.share < 1
    assert np.allclose(some.lr.rmse, whole.lr.rmse, rtol=0.2)


def test_pixels_without_data_do_not_count(pair):
    feed, sharp = pair
    lr, guide = scenes(sharp)
    stored, bad = lr.stored.copy(), sharp.copy()
    stored[:, :12] = -1
    bad[:, : 12 * SCALE] = -1
    holed = replace(lr, stored=stored, nodata=-1.0)
    found = quality.measure(feed_of(holed, guide), Scene(bad, "sr", nodata=-1.0))
    assert (found.lr.rmse / found.lr.mean).max() < 0.01


@pytest.mark.parametrize(("step", "side", "tile"), [(40, 40, 16), (9, 40, None), (11, 12, 8)])
def test_tiles_are_as_large_as_holes_allow(pair, step, side, tile):
    """A product of a few missing pixels has scores too, and the page says of which tiles."""
    sharp = pair[1][:, : side * SCALE]
    lr, guide = scenes(sharp, (1,))
    holes = np.zeros(lr.shape[1:], bool)
    holes[3::step, 3::step] = True
    stored = np.where(holes, np.float32(-1), lr.stored)
    feed = feed_of(replace(lr, stored=stored, nodata=-1.0), guide)
    result = Scene(sharp, "sr")
    found = quality.measure(feed, result)
    assert found.tile_px == tile and set(found.scores) == ({"d_lambda", "d_s", "qnr"} if tile else set())
    said = f"Tiles of {tile} x {tile} pixels" if tile else "no tile of 8 x 8 LR pixels that has data everywhere"
    assert said in render(feed, result, found)


def test_pair_without_a_guide_has_an_assumed_footprint(pair):
    lr, _ = scenes(pair[1])
    found = quality.measure(feed_of(lr, None), Scene(pair[1], "sr"))
    assert not found.measured and found.guide is None and found.explained is None and found.offset is None
    assert (found.lr.rmse / found.lr.mean).max() < 0.01


def test_guide_of_one_channel_has_d_s_and_qnr(pair):
    sharp = pair[1]
    found = quality.measure(feed_of(*scenes(sharp, (1,))), Scene(sharp, "sr"))
    assert set(found.scores) == {"d_lambda", "d_s", "qnr"}
    assert found.scores["qnr"] == pytest.approx((1 - found.scores["d_lambda"]) * (1 - found.scores["d_s"]))


# --- the PRISMA benchmark's definitions


def test_mtf_filter_keeps_the_mean_and_three_tenths_at_nyquist():
    kernel = prisma.mtf_kernel()
    assert kernel.shape == (41, 41) and np.allclose(kernel, kernel.T) and np.allclose(kernel, kernel[::-1, ::-1])
    assert kernel.sum() == pytest.approx(1, abs=0.01)
    wave = np.exp(-2j * np.pi * np.arange(-20, 21) / 12)  # Nyquist of pixels six times as large
    # the toolbox counts 40 steps of frequency where there are 41, and its window takes a little
    assert abs((kernel.sum(axis=0) * wave).sum()) == pytest.approx(0.3, abs=0.02)


def test_decimation_begins_at_index_three():
    image = np.zeros((1, 6 * 4 + 40, 6 * 4 + 40))
    image[0, 20 + 3 + 6, 20 + 3 + 12] = 1
    low = prisma.decimate(image)
    assert low.shape == (1, 4, 4) and np.unravel_index(low.argmax(), low.shape) == (0, 1, 2)
    assert low.max() == pytest.approx(prisma.mtf_kernel()[20, 20])


def test_d_s_is_what_no_combination_of_bands_explains():
    rng = np.random.default_rng(0)
    bands, pan = rng.random((4, 500)), rng.random(500) + 1
    regression = prisma.PanRegression(4)
    for part in (slice(0, 200), slice(200, 500)):
        regression.add(bands[:, part], pan[part])
    weights = np.linalg.lstsq(bands.T, pan, rcond=None)[0]
    assert regression.d_s == pytest.approx(np.var(pan - bands.T @ weights) / np.var(pan))


def test_benchmark_is_given_for_its_scale_and_a_panchromatic_guide():
    sharp = gaussian_filter(np.random.default_rng(0).random((3, 24 * 6, 24 * 6)), (0, 3, 3)).astype(np.float32)
    low = gaussian_footprint(6).sampler(6, sharp.shape[1:])(sharp).astype(np.float32)
    method = open_method("prior", 6, 1, "cpu", "32")
    pan = sharp.mean(axis=0, keepdims=True)
    feed = Feed(method, Source(Scene(low), "lr"), Guide(Source(Scene(pan), "pan"), (0, 0), sharp.shape[1:]))
    scores = quality.measure(feed, Scene(sharp)).scores
    assert scores["d_s_prisma"] == pytest.approx(0, abs=1e-6)
    assert scores["qnr_prisma"] == pytest.approx((1 - scores["d_lambda_prisma"]) * (1 - scores["d_s_prisma"]))


# --- bands


def test_ranges_and_indices():
    ranges = spectrum.ranges(np.array([450.0, 700, 720, 800, 1600, 3000, 11000, 320]), 8)
    assert {name: places.tolist() for name, places in ranges.items()} == {
        "Ultraviolet": [7], "Visible": [0], "Red edge": [1, 2], "NIR": [3], "SWIR": [4], "Thermal infrared": [5, 6],
    }  # fmt: skip
    assert list(spectrum.ranges(None, 3)) == [spectrum.ALL_BANDS]
    assert spectrum.index_bands(np.array([660.0, 850, 2300])) == {"NDVI": (1, 0)}
    assert spectrum.index_bands(None) == {}


def test_reach_of_a_guide():
    cube = np.ones((2, 4, 4), np.uint8)
    assert spectrum.reach_nm(Source(Scene(cube), "guide")) is None
    known = Scene(cube, wavelengths_nm=np.array([500.0, 800]), fwhm_nm=np.array([20.0, 100]))
    assert spectrum.reach_nm(Source(known, "guide")) == (490, 850)


# --- the page


def policy_holds(html: str) -> bool:
    """Whether the page allows its own style and script alone, by their hashes."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    for kind in ("style", "script"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        if f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" not in policy:
            return False
    return "unsafe" not in policy and not re.search(r"<[^>]* style=", html)


@pytest.fixture(scope="module")
def page(pair) -> str:
    feed, sharp = pair
    result = Scene(sharp, "sr")
    return render(feed, result, quality.measure(feed, result))


def test_page_says_what_is_a_claim_of_the_model(page):
    assert "SWIR: outside of the guide's range, 545 to 680 nm." in unescape(page)
    assert "Detail in NIR and SWIR is a claim of the model." in page
    assert "Visible: outside" not in page


def test_page_names_the_bands_of_an_index(page):
    assert "NDVI: (842 - 665 nm) / (842 + 665 nm), of the bands at 842 and 665 nm." in page
    assert "Clay ratio: 1610 nm / 2200 nm, of the bands at 1610 and 2200 nm." in page


def test_a_band_of_one_number_is_not_explained_by_the_guide(pair):
    """It had counted as explained by 100 %."""
    sharp = pair[1].copy()
    sharp[4:] = 0
    lr, guide = scenes(sharp)
    feed, result = feed_of(lr, guide), Scene(sharp, "sr")
    found = quality.measure(feed, result)
    assert np.isnan(found.explained).tolist() == 4 * [False] + 2 * [True]
    shares = [row[5].text for row in _range_table(feed, found).rows.values()]
    assert shares[-1] == NOTHING and shares[0].endswith("%")


def test_page_counts_bands_as_options_do(pair):
    """From 0, in the images themselves: bad bands, and bands that the user leaves out, count too."""
    lr, guide = (replace(scene, wavelengths_nm=None) for scene in scenes(pair[1], (0, 1, 2, 3)))
    bad = np.arange(6) == 0
    feed = feed_of(replace(lr, bad_bands=bad), guide)
    source = chosen_bands(chosen_bands(feed.guide.source, (3, 2, 1)), (0, 2))
    feed = replace(feed, guide=replace(feed.guide, source=source))
    result = Scene(pair[1] * np.where(np.arange(6) == 2, 2, 1).astype("f4")[:, None, None], "sr", bad_bands=bad)
    html = render(feed, result, quality.measure(feed, result))
    assert ">band 3</th>" in html and ">band 1</th>" in html and ">band 0</th>" not in html
    assert "band 2" in html and "bands 5, 3, 1" in html  # the worst one, and those that the pictures show


def test_page_names_many_claims_as_a_list_and_explains_them_once(pair):
    feed, sharp = pair
    result = Scene(sharp, "sr")
    found = replace(quality.measure(feed, result), guide_reach_nm=(380.0, 390.0))
    html = render(feed, result, found)
    assert "Detail in Visible, NIR and SWIR is a claim of the model." in html
    assert html.count("it is a claim of the model") == 1


def test_offsets_have_no_minus_zero():
    assert str(Offset((-0.001, 0.3), 4, 0.1)) == "+0.00 rows, +0.07 columns of the LR image"


def test_page_asks_no_network_and_allows_nothing_else(page):
    assert policy_holds(page)
    assert "http://" not in page and "https://" not in page


def test_page_escapes_what_files_are_called(pair):
    feed, sharp = pair
    named = replace(feed, lr=Source(feed.lr.scene, "<script>alert(1)</script>.tif"))
    result = Scene(sharp, "sr")
    html = render(named, result, quality.measure(named, result))
    assert "<script>alert" not in html and policy_holds(html)


def test_page_of_a_scene_that_says_little():
    """No guide, no wavelengths, one band, values in int16, a few pixels."""
    low = np.random.default_rng(0).integers(0, 900, (1, 6, 7)).astype(np.int16)
    feed = feed_of(Scene(low), None)
    result = Scene(low.repeat(SCALE, axis=1).repeat(SCALE, axis=2))
    html = render(feed, result, quality.measure(feed, result))
    assert "assumed, not measured" in html and "All bands" in html and "Against the guide" not in html
    assert (
        "18 x 21 pixels, 1 band, int16" in html and "cannot be told from the image itself" in html
    )  # all would be noise
    assert "Components" not in html


def test_maps_count_pixels_with_data_alone(pair):
    """The mean deviation had counted holes as 0. Values may be tiny, too: a stretch had a least width."""
    lr, guide = scenes(1e-7 * pair[1])
    stored, sigma = lr.stored.copy(), 1e-8 * (1 + pair[1])
    stored[:, :20] = sigma[:, : 20 * SCALE] = -1
    feed, result = feed_of(replace(lr, stored=stored, nodata=-1.0), guide), Scene(1e-7 * pair[1], "sr")
    found = quality.measure(feed, result)
    html = render(feed, result, found, replace(result, stored=sigma, nodata=-1.0))
    expected = 100 * np.sqrt((sigma[:, 20 * SCALE :] ** 2).mean(axis=0)).mean() / found.lr.mean.mean()
    assert f"mean {expected:.3g} %" in html
    shown = [decoded(source) for source in re.findall(r'src="(data:image[^"]*)"', html)]
    assert shown[2].max() == 255 and (shown[2][: 20 * SCALE] > 0).any()  # the result has values where the LR has none
    assert (shown[-1][: 20 * SCALE] == 0).all() and shown[-1].max() > 200


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dark", [slice(None), slice(0, 1)])
def test_page_of_bands_of_zeros_says_nothing_of_what_is_relative_to_them(dark):
    low = np.random.default_rng(0).random((2, 6, 7)).astype(np.float32)
    low[dark] = 0
    result = Scene(low.repeat(SCALE, axis=1).repeat(SCALE, axis=2))
    feed = feed_of(Scene(low), None)
    html = render(feed, result, quality.measure(feed, result), replace(result, stored=np.full_like(result.stored, 0.1)))
    assert not re.search(r"\b(nan|inf)\b", unescape(re.sub("<(script|style).*?</\\1>", "", html, flags=re.DOTALL)))
    assert ("differs from the LR image by 0 (RMSE)" in html) == (dark == slice(None))


def written(folder: Path, **facts) -> tuple[str, str]:
    lr, guide = scenes(truth(), **facts)
    return str(export(lr, folder / "lr.tif")), str(export(guide, folder / "guide.tif"))


def test_command_writes_result_and_page(tmp_path):
    written(tmp_path)
    done = hsisr("predict lr.tif --guide guide.tif --model prior -o sr.nc --report quality.html", tmp_path)
    assert (done.returncode, done.stdout) == (0, "sr.nc\n"), done.stderr
    assert read_scene(tmp_path / "sr.nc").shape == (6, 120, 132)
    assert policy_holds((tmp_path / "quality.html").read_text())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["guide.tif", "lr.tif", "quality.html", "sr.nc"]


def test_bad_bands_of_the_lr_image_are_read_once_more_without_waiting_for_oneself(tmp_path):
    """Reading a result reads the LR image, for bands that are passed through: one lock, taken twice by one thread."""
    lr, guide = written(tmp_path, bad_bands=np.array([0, 0, 0, 0, 1, 0], bool), nodata=-1.0)
    page = tmp_path / "quality.html"
    super_resolve_file(lr, guide, "prior", tmp_path / "sr.tif", pages={page: writer(page)})
    assert "5 bands with data" in page.read_text()


def test_changed_ground_counts_for_nothing_and_is_shown(tmp_path):
    """Where the guide shows other ground, the result is the LR image's alone."""
    lr, guide = scenes(truth())
    stored = guide.stored.copy()
    stored[:, 30:70, 30:70] = np.random.default_rng(1).random((2, 40, 40))
    page = tmp_path / "quality.html"
    lr, guide = export(lr, tmp_path / "lr.tif"), export(replace(guide, stored=stored), tmp_path / "guide.tif")
    found = []

    def look(feed: Feed, result: Scene, sigma: Scene | None) -> None:
        assert feed.guide.show((30, 70), (30, 70))[2].mean() > 0.8
        block = blocks.read(feed, Source(result, "sr"), gaussian_footprint(SCALE), (10, 24), (10, 24))
        assert block.made.all() and not block.valid[6:30, 6:30].any()
        found.append(quality.measure(feed, result))

    super_resolve_file(lr, guide, "prior", tmp_path / "sr.tif", Options(mask_change=True), pages={page: look})
    assert (found[0].guide.rmse / found[0].guide.mean).max() < 0.05


def test_page_is_never_written_over_another_file(tmp_path):
    lr, guide = written(tmp_path)
    page = tmp_path / "quality.html"
    page.write_text("mine")
    with pytest.raises(HsisrError, match=r"quality\.html: exists already"):
        super_resolve_file(lr, guide, "bicubic", tmp_path / "sr.tif", pages={page: writer(page)})
    with pytest.raises(HsisrError, match="inputs are never overwritten"):
        super_resolve_file(lr, guide, "prior", tmp_path / "sr.tif", overwrite=True, pages={Path(lr): writer(page)})
    assert page.read_text() == "mine"


def test_page_of_another_ending_is_refused_before_anything_is_read(tmp_path):
    words = ["predict", str(tmp_path / "lr.tif"), "--scale", "2", "--model", "bicubic", "--report"]
    with pytest.raises(HsisrError, match=r"q\.txt: a page ends in \.html"):
        app([*words, str(tmp_path / "q.txt")], standalone_mode=False)


def test_page_of_a_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    written(tmp_path / "in")
    done = hsisr("predict in -o out --model bicubic --scale 2 --report q.html", tmp_path)
    assert done.returncode == 1 and "q.html: --report tells of one scene" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


@needs_chromium
def test_browser_shows_the_page(page, tmp_path):
    file = tmp_path / "quality.html"
    file.write_text(page)
    _, console = browse(file, tmp_path / "profile")
    assert console == []
    script = """
    const stage = document.querySelector(".compare .stage");
    document.querySelectorAll(".picture")[1].click();
    return {width: document.documentElement.scrollWidth, window: window.innerWidth,
            compared: [stage.querySelector(".over").alt, stage.querySelector(".under").alt], opened: viewer.open};
    """
    copy = with_script(file, tmp_path / "copy.html", script)
    dom, _ = browse(copy, tmp_path / "profile", "390,900")
    found = found_in(dom)
    assert found["width"] <= found["window"] and found["opened"]
    assert found["compared"][0].startswith("LR input") and found["compared"][1].startswith("prior x3")
