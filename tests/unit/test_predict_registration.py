"""Guides that lie beside their scene, or show other ground: moved, masked, mapped, and bands of them withheld."""

import json
from dataclasses import replace

import numpy as np
import pytest

import hsisr
from hsisr import degrade
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.degrade.displacement import Displacement
from hsisr.degrade.spline import SplineGrid
from hsisr.errors import HsisrError
from hsisr.evaluation import validate
from hsisr.evaluation.withheld import table
from hsisr.inference import Options, align, super_resolve_file
from hsisr.inference.guide import fit
from hsisr.inference.images import Source
from tests.unit.own_scene import TRANSFORM, finer, scene_of
from tests.unit.warped import SCALE, moved_by, smooth_field, textured_cube

SIDE = 160
CPU = Options(device="cpu")
INNER = (slice(None), slice(24, -24), slice(24, -24))


@pytest.fixture(scope="module")
def sharp():
    return 0.1 + 0.8 * textured_cube(SIDE)


@pytest.fixture
def files(tmp_path, sharp):
    """lr.tif, guide.tif, and warped.tif: the guide, moved by a smooth field."""
    low = degrade.degrade(sharp, "wald", SCALE, noise=0)
    export(scene_of(low), tmp_path / "lr.tif")
    export(scene_of(sharp[:3], finer(TRANSFORM)), tmp_path / "guide.tif")
    warped = np.clip(moved_by(sharp[:3], smooth_field(SIDE, 1.5 * SCALE)), 0, 1)
    export(scene_of(warped, finer(TRANSFORM)), tmp_path / "warped.tif")
    return tmp_path


def error(path, sharp, place=INNER) -> float:
    scene = read_scene(path)
    valid = np.ones(scene.shape[1:], bool) if scene.mask is None else np.asarray(scene.mask)
    left = (scene.cube - sharp)[place][:, valid[place[1:]]]
    return float(np.sqrt((left**2).mean()))


def test_a_field_moves_the_guide_back_by_tiles_as_in_one_piece(files, sharp, capsys):
    lr, warped = files / "lr.tif", files / "warped.tif"
    field = replace(CPU, correct_shift="field")
    plain = super_resolve_file(lr, warped, "gsa", files / "plain.tif", CPU)
    right = super_resolve_file(lr, warped, "gsa", files / "right.tif", field, maps=files / "maps")
    assert "moved by the measured field" in capsys.readouterr().err
    assert error(right, sharp) < 0.05 * error(plain, sharp)
    told = json.loads((files / "maps" / "registration.json").read_text())
    assert told["displacement"]["error_px"] < 0.3 and told["displacement"]["largest_px"] > SCALE
    placed = read_scene(files / "maps" / "displacement.tif")
    assert placed.shape == (2, SIDE // SCALE, SIDE // SCALE) and placed.transform == read_scene(lr).transform
    assert np.hypot(*placed.cube).max() == pytest.approx(told["displacement"]["largest_px"], rel=1e-4)
    assert (files / "maps" / "displacement.png").is_file() and not (files / "maps" / "change.tif").exists()
    tiled = replace(field, tile=16, halo=8)
    sfim, whole = (
        read_scene(super_resolve_file(lr, warped, "sfim-hs", files / f"{name}.tif", options)).cube
        for name, options in (("tiled", tiled), ("whole", field))
    )
    np.testing.assert_allclose(sfim[INNER], whole[INNER], atol=3e-4)
    with pytest.raises(HsisrError, match="exists"):
        super_resolve_file(lr, warped, "gsa", files / "again.tif", field, maps=files / "maps")


def test_a_guide_that_lies_well_stays_where_it_is(files, capsys):
    lr, guide = files / "lr.tif", files / "guide.tif"
    plain = super_resolve_file(lr, guide, "gsa", files / "plain.tif", CPU)
    same = super_resolve_file(lr, guide, "gsa", files / "same.tif", replace(CPU, correct_shift="field"))
    assert "no displacement is evident" in capsys.readouterr().err
    np.testing.assert_array_equal(read_scene(plain).cube, read_scene(same).cube)


def test_a_displacement_that_only_imitates_another_footprint_moves_nothing(sharp, monkeypatch, capsys):
    """On 20 x 20 LR pixels of a few objects, an affine map stood out of its error, and cost 9 dB."""
    low, side = degrade.degrade(sharp, "wald", SCALE, noise=0), SIDE // SCALE
    grid = SplineGrid(side, side, (1, 1))
    stretch = np.repeat(np.linspace(-3.0, 3.0, grid.shape[0]), grid.shape[1])
    map_ = Displacement(np.stack([stretch, 0 * stretch]), grid, SCALE, 0.1, (2e-4, 1e-4), 0.6)
    monkeypatch.setattr(align, "measure_displacement", lambda *_: map_)
    plain, same = (hsisr.super_resolve(low, sharp[:3], model="gsa", correct_shift=way) for way in (None, "affine"))
    np.testing.assert_array_equal(same, plain)
    assert "no displacement is evident; it stays where it lies" in capsys.readouterr().err


def test_where_no_field_is_evident_a_shift_is_corrected(sharp, capsys):
    """Fewer than 16 x 16 LR pixels say nothing of a field."""
    low, moved = degrade.degrade(sharp[:, :60, :60], "wald", SCALE, noise=0), np.roll(sharp[:3], SCALE, axis=2)
    moved = moved[:, :60, :60]
    shift, field = (hsisr.super_resolve(low, moved, model="gsa", correct_shift=way) for way in ("shift", "field"))
    np.testing.assert_array_equal(field, shift)
    assert "no field is evident; moved by the measured shift, +0.00 rows, " in capsys.readouterr().err


def test_a_guide_that_nothing_explains_is_told(sharp):
    low, other = degrade.degrade(sharp, "wald", SCALE, noise=0), textured_cube(SIDE, seed=5)[:3]
    with pytest.warns(UserWarning, match=r"guide: \d.*% of what it shows is not what LR image shows there"):
        hsisr.super_resolve(low, 0.7 * sharp[:3] + 0.3 * other, model="gsa")


def test_other_ground_is_left_out_and_mapped(files, sharp):
    other = sharp[:3].copy()
    place = (slice(None), slice(60, 110), slice(40, 100))
    other[place] = textured_cube(SIDE, seed=5)[:3][place]
    export(scene_of(other, finer(TRANSFORM)), files / "other.tif")
    lr = files / "lr.tif"
    masked = replace(CPU, mask_change=True)
    plain = super_resolve_file(lr, files / "other.tif", "prior", files / "plain.tif", CPU)
    found = super_resolve_file(lr, files / "other.tif", "prior", files / "found.tif", masked, maps=files / "maps")
    bicubic = super_resolve_file(lr, None, "bicubic", files / "bicubic.tif", replace(CPU, scale=SCALE))
    inside = (slice(None), slice(68, 102), slice(48, 92))
    assert error(found, sharp, inside) <= error(bicubic, sharp, inside) < error(plain, sharp, inside)
    right = (slice(None), slice(24, -24), slice(112, -24))
    best = super_resolve_file(lr, files / "guide.tif", "prior", files / "best.tif", CPU)
    assert error(found, sharp, right) < 1.4 * error(best, sharp, right) < error(plain, sharp, right)
    map_ = read_scene(files / "maps" / "change.tif").cube[0]
    assert map_[16:26, 11:24].all() and map_.mean() < 0.2
    assert json.loads((files / "maps" / "registration.json").read_text())["changed"] == pytest.approx(map_.mean())


@pytest.mark.parametrize("saturated", [False, True])
def test_a_cloud_is_no_shift(sharp, saturated):
    """It was measured as a shift of up to two LR pixels and as a wide PSF, without a word of other ground."""
    low, cloudy = degrade.degrade(sharp, "wald", SCALE, noise=0), sharp[:3].copy()
    texture = textured_cube(SIDE, seed=5)[:3, 30:80, 40:100]
    cloudy[:, 30:80, 40:100] = 1.0 if saturated else 0.7 + 0.3 * texture
    with pytest.warns(UserWarning, match=r"other ground or light .* on 1\d.* leaves its detail out there") as told:
        hsisr.super_resolve(low, cloudy, model="prior")
    assert len(told) == 1
    lr = Source(scene_of(low), "lr")
    clear, seen = (fit(lr, Source(scene_of(guide, finer(TRANSFORM)), "guide"), SCALE) for guide in (sharp[:3], cloudy))
    assert align.measure(lr, seen, SCALE).lr_px < 0.05
    widths, expected = (align.measure_footprint(lr, guide, SCALE).sigma_px() for guide in (seen, clear))
    assert widths == pytest.approx(expected, rel=0.1)


def test_a_guide_that_lies_off_is_told_before_other_ground(sharp, capsys):
    low, moved = degrade.degrade(sharp, "wald", SCALE, noise=0), np.roll(sharp[:3], SCALE, axis=2)
    moved[:, 30:80, 40:100] = 1.0
    with pytest.warns(UserWarning, match="off it; --correct-shift") as told:
        hsisr.super_resolve(low, moved, model="gsa")
    assert len(told) == 1
    with pytest.warns(UserWarning, match="other ground or light") as told:
        hsisr.super_resolve(low, moved, model="gsa", correct_shift=True)
    assert len(told) == 1


def test_nothing_is_left_out_where_nothing_changed(files):
    lr, guide = files / "lr.tif", files / "guide.tif"
    plain, same = (
        super_resolve_file(lr, guide, "prior", files / f"{name}.tif", options)
        for name, options in (("plain", CPU), ("same", replace(CPU, mask_change=True)))
    )
    np.testing.assert_array_equal(read_scene(plain).cube, read_scene(same).cube)


def test_ground_that_the_guide_lacks_is_made_of_the_scene_alone(files, sharp, capsys):
    short = scene_of(sharp[:3, :-32], finer(TRANSFORM))
    export(short, files / "short.tif")
    out = super_resolve_file(
        files / "lr.tif", files / "short.tif", "prior", files / "sr.tif", replace(CPU, mask_change=True),
        maps=files / "maps",
    )  # fmt: skip
    said = capsys.readouterr().err
    assert (
        f"short.tif: has no data on {32 / SIDE:.1%} of the ground of lr.tif; there the result is the LR image" in said
    )
    lacking = read_scene(files / "maps" / "change.tif").cube[0] == 2
    assert lacking[-32 // SCALE :].all() and not lacking[: -32 // SCALE].any()
    told = json.loads((files / "maps" / "registration.json").read_text())
    assert told["without_data"] == pytest.approx(32 / SIDE) and told["changed"] == 0
    bicubic = super_resolve_file(files / "lr.tif", None, "bicubic", files / "b.tif", replace(CPU, scale=SCALE))
    below = (slice(None), slice(-28, -4), slice(4, -4))
    assert read_scene(out).mask is None or np.asarray(read_scene(out).mask).all()
    assert error(out, sharp, below) <= error(bicubic, sharp, below)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("half", ["mask", "border"])
def test_a_pair_without_common_data_is_refused(sharp, half, masked):
    """The guide's data end where those of the LR image begin: by its mask, or because it reaches no further."""
    low = np.ma.array(degrade.degrade(sharp, "wald", SCALE, noise=0))
    guide = np.ma.array(sharp[:3], copy=True)
    low[:, :, : SIDE // SCALE // 2] = np.ma.masked
    guide[:, :, SIDE // 2 :] = np.ma.masked
    if half == "border":
        low = replace(scene_of(low.data), mask=~low.mask[0])
        guide = scene_of(guide.data[:, :, : SIDE // 2], finer(TRANSFORM))
    with pytest.raises(HsisrError, match="has no data on any pixel where .* has, so that it tells nothing of it; give"):
        hsisr.super_resolve(low, guide, model="gsa", mask_change=masked)


def test_python_takes_both_for_arrays(sharp):
    low = degrade.degrade(sharp, "wald", SCALE, noise=0)
    warped = moved_by(sharp[:3], smooth_field(SIDE, 1.5 * SCALE))
    with pytest.warns(
        UserWarning, match="from place to place, by up to 1.* --correct-shift field moves it back"
    ) as told:
        plain = hsisr.super_resolve(low, warped, model="gsa")
    assert len(told) == 1
    right = hsisr.super_resolve(low, warped, model="gsa", correct_shift="field", mask_change=True)
    errors = [np.sqrt(((image - sharp)[INNER] ** 2).mean()) for image in (plain, right)]
    assert errors[1] < 0.5 * errors[0]
    with pytest.raises(HsisrError, match="must be 'shift', 'affine' or 'field'"):
        hsisr.super_resolve(low, warped, model="gsa", correct_shift="fields")


def test_a_withheld_band_is_predicted_from_the_others(files):
    found = validate(files / "lr.tif", files / "guide.tif", [1], "prior", CPU)
    assert [entry["band"] for entry in found["bands"]] == [1] and found["scale"] == SCALE
    scores = found["bands"][0]["methods"]
    assert set(scores) == {"prior", "bicubic", "other bands"}
    assert scores["prior"]["detail"] > 0.8 > scores["bicubic"]["detail"]
    assert scores["prior"]["rmse"] < scores["bicubic"]["rmse"] and scores["prior"]["cc"] > scores["bicubic"]["cc"]
    every = validate(files / "lr.tif", files / "guide.tif", model="gsa", options=CPU)
    assert [entry["band"] for entry in every["bands"]] == [0, 1, 2]


def test_the_displacement_is_measured_without_the_withheld_band(files, capsys):
    """Its shift had been measured on all bands: what is to be found out was part of the measurement."""
    field, said = replace(CPU, correct_shift="field"), []
    scene = read_scene(files / "warped.tif")
    for _ in range(2):
        export(scene, files / "own.tif")
        validate(files / "lr.tif", files / "own.tif", [2], "gsa", field)
        said.append(capsys.readouterr().err)
        scene.stored[2] = scene.stored[2, ::-1]
    assert said[0] == said[1] and "own.tif without band 2: moved by the measured field" in said[0]


def test_validate_does_not_advise_the_correction_that_it_makes(files, capsys):
    scene = read_scene(files / "guide.tif")
    export(replace(scene, stored=np.roll(scene.stored[...], (3, 3), (1, 2))), files / "shifted.tif")
    validate(files / "lr.tif", files / "shifted.tif", [1], "gsa", CPU)
    assert "--correct-shift moves the guide by that" in capsys.readouterr().err
    validate(files / "lr.tif", files / "shifted.tif", [1], "gsa", replace(CPU, correct_shift=True))
    said = capsys.readouterr().err
    assert "moved by the measured shift" in said and "--correct-shift" not in said


def test_samples_that_the_withheld_band_lacks_do_not_count(files, capsys):
    """They are filled for methods, but what fills them is no truth."""
    scene, lr = read_scene(files / "guide.tif"), files / "lr.tif"
    scene.stored[1, :, 70:] = 0
    export(replace(scene, nodata=0.0), files / "lacking.tif")
    part = scene.window(slice(0, SIDE), slice(0, 64))
    export(part, files / "part.tif")
    [lacking, whole] = (
        validate(lr, files / name, [1], "gsa", CPU)["bands"][0]["methods"] for name in ("lacking.tif", "part.tif")
    )
    assert lacking["gsa"]["detail"] == pytest.approx(whole["gsa"]["detail"], abs=0.05)
    assert "of its samples" in capsys.readouterr().err


def test_a_band_of_one_number_on_the_compared_ground_has_no_detail(files):
    scene = read_scene(files / "guide.tif")
    scene.stored[1, 8:-8, 8:-8] = 7
    export(scene, files / "flat.tif")
    summary = validate(files / "lr.tif", files / "flat.tif", [1], "gsa", CPU)
    assert all(scores["detail"] is None for scores in summary["bands"][0]["methods"].values())
    assert "  -" in table(summary)


def test_withheld_bands_count_as_in_the_guide_itself(files):
    lr, guide = files / "lr.tif", files / "guide.tif"
    export(replace(read_scene(guide), stored=read_scene(guide).stored[[2, 0]]), files / "two.tif")
    [chosen] = validate(lr, guide, [2, 2], "gsa", replace(CPU, guide_bands=(2, 0)))["bands"]
    [same] = validate(lr, files / "two.tif", [0], "gsa", CPU)["bands"]
    assert chosen["band"] == 2 and chosen["methods"] == same["methods"]
    with pytest.raises(HsisrError, match="band 1 is none of its bands 2, 0"):
        validate(lr, guide, [1], "gsa", replace(CPU, guide_bands=(2, 0)))


def test_a_band_without_detail_is_not_withheld(files):
    scene = read_scene(files / "guide.tif")
    scene.stored[1] = 7
    export(scene, files / "flat.tif")
    found = validate(files / "lr.tif", files / "flat.tif", model="gsa", options=CPU)
    assert [entry["band"] for entry in found["bands"]] == [0, 2]
    with pytest.raises(HsisrError, match=r"band 1 \(from 0\) is the same number everywhere"):
        validate(files / "lr.tif", files / "flat.tif", [1], "gsa", CPU)


def test_what_cannot_be_withheld_is_said(files):
    lr, guide = files / "lr.tif", files / "guide.tif"
    with pytest.raises(HsisrError, match="band 7 is none of its bands 0, 1, 2"):
        validate(lr, guide, [7], options=CPU)
    with pytest.raises(HsisrError, match="band 1.5 is none of its bands 0, 1, 2"):  # it had been band 1
        validate(lr, guide, [1.5], options=CPU)
    with pytest.raises(HsisrError, match="two or more"):
        validate(lr, guide, [0], options=replace(CPU, guide_bands=(0,)))
    with pytest.raises(HsisrError, match="uses no guide"):
        validate(lr, guide, [0], "bicubic", CPU)
    with pytest.raises(HsisrError, match="leave it out"):
        validate(lr, guide, [0], options=replace(CPU, mask_change=True))


def test_a_band_is_not_withheld_from_a_single_pixel():
    guide = np.random.default_rng(0).random((3, 20, 20), np.float32)
    with pytest.raises(HsisrError, match="1 pixel of its middle is valid"):
        validate(guide[:, ::4, ::4], guide, [0], "gsa", CPU)


def test_the_commands_do_what_python_does(files, monkeypatch, capsys):
    import typer.main

    from hsisr.cli.app import app

    monkeypatch.chdir(files)
    command = typer.main.get_command(app)
    command.main(["validate", "lr.tif", "guide.tif", "--withhold", "2", "--device", "cpu"], standalone_mode=False)
    said = capsys.readouterr().out
    written = json.loads((files / "lr_withheld.json").read_text())
    assert "2" in said and "other bands" in said and "Note: " in said and "lr_withheld.json" in said
    assert written["schema"].startswith("hsisr/validate/") and written["bands"][0]["band"] == 2
    words = ["predict", "lr.tif", "--guide", "warped.tif", "--model", "gsa", "--correct-shift", "field"]
    command.main([*words, "--mask-change", "--maps", "maps", "-o", "sr.tif"], standalone_mode=False)
    assert {file.name for file in (files / "maps").iterdir()} == {
        "registration.json", "displacement.tif", "displacement.png", "change.tif", "change.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("align", True),
        ("correct_shift", True),
        ("mask_change", True),
        ("guide_peak", 255.0),
        ("guide_bands", (0,)),
        ("read_guide", {"nodata": 0}),
    ],
)
def test_options_of_a_guide_are_refused_without_one(files, option, value):
    options = Options(scale=SCALE, device="cpu", **{option: value})
    told = f"--{option.replace('_', '-')} .*: there is no guide that bicubic would use; give one, or leave the option"
    with pytest.raises(HsisrError, match=told):
        super_resolve_file(files / "lr.tif", None, "bicubic", files / "sr.tif", options)


def test_the_lr_image_is_read_once_however_often_the_guide_is_moved(files, monkeypatch):
    low, sharp = (Source.of(files / name, name, {}) for name in ("lr.tif", "warped.tif"))
    read = []
    window = Source.window
    monkeypatch.setattr(Source, "window", lambda self, *place: read.append(self.label) or window(self, *place))
    assert align.measure_displacement(low, fit(low, sharp, SCALE), SCALE, "field").is_evident
    assert (read.count("lr.tif"), read.count("warped.tif")) == (2, 3)


def test_maps_of_nothing_are_refused_before_anything_is_computed(files):
    with pytest.raises(HsisrError, match="uses no guide, so that there is nothing to map; leave --maps out"):
        super_resolve_file(
            files / "lr.tif", None, "bicubic", files / "sr.tif", Options(scale=SCALE, device="cpu"), maps=files / "maps"
        )
    assert not (files / "sr.tif").exists() and not (files / "maps").exists()
