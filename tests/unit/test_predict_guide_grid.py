"""Results on the grid of a guide that lies off: the guide is not resampled."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import hsisr
from hsisr import degrade
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.degrade.displacement import Displacement
from hsisr.degrade.sensor import Sensor, gaussian_footprint
from hsisr.degrade.spline import SplineGrid
from hsisr.errors import HsisrError
from hsisr.evaluation import quality, validate
from hsisr.evaluation.quality import blocks
from hsisr.finetuning.adaptation import finetune
from hsisr.inference import Options, save_model, super_resolve_file
from hsisr.inference.feed import Feed
from hsisr.inference.images import Source
from hsisr.models import registry
from hsisr.models.model_files import load_model
from hsisr.models.prior import estimate
from hsisr.models.prior.errors import SIGMAS_90
from hsisr.models.windows import HeldImages
from hsisr.report.quality import writer
from hsisr.scene import Scene
from tests.unit.own_scene import CRS, TRANSFORM, finer, scene_of
from tests.unit.warped import SCALE, moved_by, smooth_field, textured_cube

SIDE = 96
FIELD = Options(device="cpu", correct_shift="field", grid="guide")
#: A step of the stored numbers.
STEP = 1.01e-4
INNER = (slice(None), slice(16, -16), slice(16, -16))
#: Ground that a guide shows without detail.
PATCH = np.zeros((SIDE, SIDE), bool)
PATCH[32:64, 32:64] = True


@pytest.fixture(scope="module")
def sharp():
    return 0.1 + 0.8 * textured_cube(SIDE)


@pytest.fixture(scope="module")
def there(sharp):
    """The truth, as the guide shows it."""
    return np.clip(moved_by(sharp, smooth_field(SIDE, 1.5 * SCALE)), 0, 1)


@pytest.fixture(scope="module")
def low(sharp):
    return degrade.degrade(sharp, "wald", SCALE, noise=0)


@pytest.fixture
def files(tmp_path, low, there):
    """lr.tif and guide.tif, whose grid lies 0.05 pixels beside that of lr.tif."""
    export(scene_of(low), tmp_path / "lr.tif")
    place = finer(TRANSFORM)
    beside = (*place[:2], place[2] + 0.05 * place[0], *place[3:])
    export(scene_of(there[:3], beside), tmp_path / "guide.tif")
    return tmp_path


def error(estimate: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((estimate - truth)[INNER] ** 2).mean()))


def test_the_guide_keeps_its_own_pixels_and_place(files, sharp, there, capsys):
    out = super_resolve_file(files / "lr.tif", files / "guide.tif", "prior", files / "sr.tif", FIELD)
    assert "stays, and the LR image is moved by the measured field" in capsys.readouterr().err
    found = read_scene(out)
    assert found.transform == read_scene(files / "guide.tif").transform
    assert found.provenance["tags"]["HSISR_GRID"] == "guide"
    on_lr = replace(FIELD, grid="lr")
    back = read_scene(super_resolve_file(files / "lr.tif", files / "guide.tif", "prior", files / "b.tif", on_lr))
    assert back.transform == finer(TRANSFORM)
    assert error(found.cube, there) < 0.7 * error(back.cube, sharp)
    assert error(found.cube, sharp) > 5 * error(found.cube, there)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory):
    """A file of a hybrid whose filters, network and agreement all change the result."""
    torch.manual_seed(0)
    chosen = {"width": 8, "blocks": 1, "components": 4}
    network = registry.build("hybrid", SCALE, 4, 3, chosen)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        network.last.weight.normal_(std=0.1)
        network.filters.copy_(torch.from_numpy(0.02 * rng.standard_normal(network.filters.shape)))
        network.strength.fill_(0.2)
        network.response[:, :3] = torch.eye(3)
        network.contradiction.fill_(1e-4)
    file = tmp_path_factory.mktemp("model") / "hybrid.safetensors"
    facts = {"base": "hybrid", "options": chosen, "scale": SCALE, "bands": 4, "guide_channels": 3}
    save_model(file, network, {**facts, "wavelengths_nm": None})
    return file


@pytest.fixture(params=["prior", "hybrid"])
def model(request):
    return "prior" if request.param == "prior" else request.getfixturevalue("hybrid")


@pytest.fixture(scope="module")
def noisy(low):
    """The LR image with noise, and in a band with a slow change of its own, which no function of the guide explains."""
    changed = low + 0.001 * np.random.default_rng(0).standard_normal(low.shape)
    changed[3] += 0.03 * np.sin(np.arange(low.shape[2]) / 4)
    return changed.astype(np.float32)


def test_tiles_and_memory_give_one_result(tmp_path, noisy, there, model):
    lr, guide = tmp_path / "lr.tif", tmp_path / "guide.tif"
    export(Scene(noisy, "low", crs=CRS, transform=TRANSFORM), lr)
    export(Scene(there[:3], "guide", crs=CRS, transform=finer(TRANSFORM)), guide)

    def made(name: str, **options) -> tuple[Scene, Scene]:
        files = tmp_path / f"{name}.tif", tmp_path / f"{name}-sigma.tif"
        super_resolve_file(lr, guide, model, files[0], replace(FIELD, **options), uncertainty=files[1])
        return read_scene(files[0]), read_scene(files[1])

    whole, *others = made("whole", exact=True), made("tiles", tile=8), made("little", memory=4 * 2**20)
    valid = np.asarray(whole[0].mask)
    assert 0.8 < valid.mean() < 1
    for result in whole, *others:
        for found, right in zip(result, whole, strict=True):
            assert found.transform == read_scene(guide).transform
            np.testing.assert_array_equal(found.mask, valid)
            np.testing.assert_allclose(found.cube[:, valid], right.cube[:, valid], atol=1e-5)


def test_a_guide_that_lies_well_gives_the_same_on_either_grid(low, sharp, model):
    plain, same = (
        hsisr.super_resolve(low, sharp[:3], model=model, correct_shift="field", grid=grid) for grid in ("lr", "guide")
    )
    np.testing.assert_array_equal(plain, same)


@pytest.mark.parametrize("noise", [0, 0.01])
def test_uncertainty_is_that_of_an_lr_image_on_which_the_guide_lies_well(low, there, noise):
    """Also where the guide has noise, of which a moved guide has less."""
    given = {"model": "prior", "correct_shift": "field", "uncertainty": True}
    pair, rng = (low, degrade.degrade(there, "wald", SCALE, noise=0)), np.random.default_rng(0)
    displaced, well = ((image + 0.002 * rng.standard_normal(low.shape)).astype(np.float32) for image in pair)
    guide = (there[:3] + noise * rng.standard_normal(there[:3].shape)).astype(np.float32)
    image, sigma = hsisr.super_resolve(displaced, guide, grid="guide", **given)
    _, right = hsisr.super_resolve(well, guide, **given)
    assert (np.abs(image - there) < SIGMAS_90 * sigma)[INNER].mean() > 0.85
    assert np.quantile(np.abs(np.log(sigma[INNER] / right[INNER])), 0.98) < 0.1
    assert np.corrcoef(sigma[INNER].ravel(), right[INNER].ravel())[0, 1] > 0.9
    _, masked = hsisr.super_resolve(displaced, np.where(PATCH, 0.5, guide), mask_change=True, grid="guide", **given)
    assert masked[:3, 44:52, 44:52].min() > 1.5 * np.median(sigma[:3, 44:52, 44:52])


def test_quality_moves_the_result_to_the_lr_image_and_compares_it_with_the_guide_as_it_lies(files, sharp, there):
    lr, guide, found = files / "lr.tif", files / "guide.tif", []

    def look(feed: Feed, result: Scene, sigma: Scene | None) -> None:
        plain = {"scale": 1.0, "offset": 0.0, "nodata": None}
        images = [replace(result, stored=image.astype(np.float32), **plain) for image in (there, sharp)]
        found.extend(quality.measure(feed, image) for image in images)
        footprint, part = found[0].footprint, (slice(None), slice(32, 64), slice(32, 64))
        block = blocks.read(feed, Source(images[0], "truth"), footprint, (8, 16), (8, 16))
        np.testing.assert_array_equal(block.beside[0], there.astype(np.float32)[part].reshape(4, -1))
        np.testing.assert_allclose(block.beside[1], there[:3][part].reshape(3, -1), atol=STEP)
        np.testing.assert_allclose(block.estimate, sharp[part], atol=0.02)

    super_resolve_file(lr, guide, "prior", files / "sr.tif", FIELD, pages={files / "page": look})
    right, wrong = found
    assert (right.lr.rmse / right.lr.mean).max() < 0.01 and right.guide.correlation.min() > 0.9999
    assert (wrong.lr.rmse > 10 * right.lr.rmse).all() and wrong.guide.correlation.max() < 0.9


def test_the_page_says_that_the_result_is_moved(files):
    lr, guide, page = files / "lr.tif", files / "guide.tif", files / "page.html"
    outs = {"pages": {page: writer(page)}, "uncertainty": files / "sigma.tif"}
    super_resolve_file(lr, guide, "prior", files / "sr.tif", FIELD, **outs)
    text = " ".join(page.read_text(encoding="utf-8").split())
    for words in (
        "the result lies on the guide&#39;s grid, off the LR image&#39;s by",
        "hsisr moves it onto the LR image&rsquo;s grid first, by the measured displacement",
        "neither is moved",
        "Standard deviation of the result",
    ):
        assert words in text


def test_hybrid_is_that_of_an_lr_image_on_which_the_guide_lies_well(low, there, hybrid):
    """Filters and network add, at a guide's pixel, what they add where guide and LR image lie on one grid."""
    given = {"correct_shift": "field", "grid": "guide"}
    moved = degrade.degrade(there, "wald", SCALE, noise=0)
    found, plain = (hsisr.super_resolve(low, there[:3], model=name, **given) for name in (hybrid, "prior"))
    right, right_plain = (hsisr.super_resolve(moved, there[:3], model=name) for name in (hybrid, "prior"))
    assert error(found - plain, right - right_plain) < 0.1 * error(right, right_plain)


def test_holes_lie_where_the_guide_shows_their_ground(low, there):
    """A hole of the scene moves with its ground, and one of the guide stays."""
    field = smooth_field(SIDE, 1.5 * SCALE)
    masked, guide = np.ma.array(low, copy=True), np.ma.array(there[:3], copy=True)
    masked[:, 10:13, 14:17] = np.ma.masked
    guide[:, 72:78, 30:36] = np.ma.masked
    found = hsisr.super_resolve(masked, guide, model="prior", correct_shift="field", grid="guide")
    missing = ~found.any(axis=0)
    places = np.stack(np.mgrid[:SIDE, :SIDE]) + field
    hole = ((places > 40.5) & (places < 50.5))[0] & ((places > 56.5) & (places < 66.5))[1]
    around = ((places > 36) & (places < 55))[0] & ((places > 52) & (places < 71))[1]
    assert missing[hole].all() and missing[72:78, 30:36].all()
    around[71:79, 29:37] = True
    assert not missing[16:-16, 16:-16][~around[16:-16, 16:-16]].any()


def test_bands_without_a_model_are_repeated_where_their_ground_lies(low, there):
    scene = replace(scene_of(low), bad_bands=np.arange(len(low)) == 1, transform=None, crs=None)
    found = hsisr.super_resolve(scene, there[:3], model="prior", correct_shift="field", grid="guide")
    places = np.stack(np.mgrid[:SIDE, :SIDE]) + smooth_field(SIDE, 1.5 * SCALE)
    down, across = np.floor((places + 0.5) / SCALE).astype(int).clip(0, SIDE // SCALE - 1)
    same = np.abs(found[1] - low[1][down, across]) < 1e-3
    assert same[INNER[1:]].mean() > 0.95


def test_changed_ground_is_made_of_the_scene_alone(files, low, sharp, there):
    other = there[:3].copy()
    place = (slice(None), slice(30, 64), slice(30, 64))
    other[place] = textured_cube(SIDE, seed=5)[:3][place]
    options = {"model": "prior", "correct_shift": "field", "grid": "guide"}
    plain, masked = (hsisr.super_resolve(low, other, mask_change=change, **options) for change in (False, True))
    alone = hsisr.super_resolve(low, model="bicubic", scale=SCALE)
    inside = (slice(None), slice(38, 56), slice(38, 56))
    errors = [np.sqrt(((image - truth)[inside] ** 2).mean()) for image, truth in (
        (plain, there), (masked, there), (alone, sharp),
    )]  # fmt: skip
    assert errors[1] < 1.1 * errors[2] < errors[0]
    export(scene_of(other, finer(TRANSFORM)), files / "other.tif")
    lr, guide, whole = files / "lr.tif", files / "other.tif", replace(FIELD, mask_change=True)
    one, many = (
        read_scene(super_resolve_file(lr, guide, "prior", files / f"{options.tile}.tif", options)).cube
        for options in (whole, replace(whole, tile=8))
    )
    np.testing.assert_allclose(many, one, atol=STEP)


def test_the_prior_makes_the_hr_grid_as_any_other_places(low, sharp):
    footprint = gaussian_footprint(SCALE)
    found = estimate(HeldImages(low, sharp[:3], SCALE), SCALE, Sensor(footprint=footprint))
    part = (slice(None), slice(8, 40), slice(20, 60))
    places = np.stack(np.mgrid[8:40, 20:60]).astype(float)
    on_grid = found.solution(sharp[:3][part], (8, 20)).image()
    np.testing.assert_allclose(found.solution_at(sharp[:3][part], places).image(), on_grid, atol=1e-5)


def test_hybrid_makes_the_hr_grid_as_any_other_places(noisy, sharp, hybrid):
    network, images = load_model(hybrid), HeldImages(noisy, sharp[:3], SCALE)
    with torch.inference_mode():
        found = network.estimate(images, Sensor(footprint=gaussian_footprint(SCALE, shift_px=(0.4, -0.7))))
        on_grid = network.super_resolve_part(found, images.window((0, 24), (0, 24)), (0, 0))
        plain = found.prior.solution(sharp[:3]).image()
        assert np.abs(on_grid - plain).max() > 0.02
        part, edge = (slice(None), slice(20, 96), slice(0, 76)), network.reach_lr_px(found) * SCALE
        places = np.stack(np.mgrid[20:96, 0:76]).astype(float)
        made = network.super_resolve_at(found, images, sharp[:3][part], places)
    inside = (slice(None), slice(edge, None), slice(None, -edge))
    assert made[inside].size
    np.testing.assert_allclose(made[inside], on_grid[part][inside], atol=1e-5)


def test_the_way_back_leads_back():
    grid, rng = SplineGrid(32, 40, (4, 5)), np.random.default_rng(0)
    there = Displacement(rng.normal(0, 2.0, (2, grid.count)), grid, SCALE, 0.1, (1.0, 0.0), 1.0)
    rows, columns = (16, 112), (16, 144)
    places = there.inverse().places(rows, columns)
    ground = np.stack(np.mgrid[slice(*rows), slice(*columns)])
    for row, column in ((0, 0), (17, 90), (50, 3), (95, 127)):
        place = places[:, row, column]
        back = place + there.at(place[:1], place[1:])[:, 0, 0]
        np.testing.assert_allclose(back, ground[:, row, column], atol=0.1)
    assert there.largest_px > 1
    folded = replace(there, controls=40 * there.controls)
    with pytest.raises(HsisrError, match="folds the guide's ground, so that it has no inverse; leave .* --grid out"):
        folded.inverse()


def test_what_the_guides_grid_cannot_do_is_said(files):
    lr, guide = files / "lr.tif", files / "guide.tif"
    with pytest.raises(HsisrError, match="gsa makes pixels of the LR image's grid only; prior and hybrid make"):
        super_resolve_file(lr, guide, "gsa", files / "sr.tif", FIELD)
    for wrong in (None, "shift"):
        with pytest.raises(HsisrError, match="is of a guide that lies off; also give --correct-shift .* as affine or"):
            super_resolve_file(lr, guide, "prior", files / "sr.tif", replace(FIELD, correct_shift=wrong))
    with pytest.raises(HsisrError, match="validate: compares"):
        validate(lr, guide, options=FIELD)
    with pytest.raises(HsisrError, match="finetune: compares"):
        finetune(lr, guide, "mulsr-xs", files / "run", options=FIELD)
    assert not (files / "sr.tif").exists()
