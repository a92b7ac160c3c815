"""Sweeps: the families of PSFs, the grid, going on after a stop, the map and what the report says."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hsisr import config as configuration
from hsisr import report
from hsisr.cli.app import app
from hsisr.config import Config, Sweep
from hsisr.datasets import read_scene
from hsisr.degrade import FAMILIES, CustomProtocol, FamilyPsf, degrade, shift_of
from hsisr.errors import HsisrError
from hsisr.evaluation import sweep
from hsisr.evaluation.table import print_sweep, refusals
from hsisr.pipeline import benchmark, paths, steps
from hsisr.report import sweeps as reported
from hsisr.scene import Scene


@pytest.fixture
def settings(tmp_path) -> Sweep:
    """A small grid on a smooth scene of 6 bands, in the current folder."""
    rng = np.random.default_rng(0)
    low = rng.random((6, 12, 12), dtype=np.float32)
    cube = np.kron(low, np.ones((1, 6, 6), np.float32))
    Scene(cube, name="made", wavelengths_nm=np.linspace(450, 900, 6)).save(tmp_path / "made.h5")
    return Sweep(
        scene=str(tmp_path / "made.h5"),
        scale=2,
        models=["bicubic", "gsa"],
        psfs=["airy", "delta"],
        fwhm_lr=[1.0, 1.5],
        responses=[3, 4],
        snr_db=[None, 30.0],
        size_px=64,
    )


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("delta", "gabor", "hermite")])
def test_a_family_is_half_at_half_its_width_and_centred(family):
    kernel = FamilyPsf(family, fwhm_lr=5.0).kernel(8, even=False)
    middle = len(kernel) // 2
    for line in (kernel[middle], kernel[:, middle]):
        assert np.interp(20, np.arange(middle + 1), line[middle:]) == pytest.approx(line[middle] / 2, rel=2e-3)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)


def test_families_have_what_they_are_there_for():
    kernels = {name: FamilyPsf(name).kernel(8, even=True) for name in FAMILIES}
    assert all(kernel.sum() == pytest.approx(1) for kernel in kernels.values())
    assert {name for name, kernel in kernels.items() if kernel.min() < -0.001 * kernel.max()} == {
        "sinc",
        "hermite",
        "gabor",
    }
    assert np.count_nonzero(kernels["delta"]) == 1
    assert not np.allclose(kernels["hermite"], kernels["hermite"][::-1, ::-1], atol=1e-3)
    values = np.linalg.svd(kernels["gabor"], compute_uv=False)
    assert values[1] > 0.1 * values[0]  # not separable


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "delta"])
def test_a_shifted_family_is_shifted(family):
    settings = {"psf": {"kind": "family", "family": family, "shift_px": [0.75, -1.25]}}
    assert shift_of(CustomProtocol("mine", settings), 4) == pytest.approx((0.75, -1.25), abs=0.05)


@pytest.mark.parametrize(
    ("scale", "shift", "reads"), [(4, 0.0, 2), (4, 1.0, 3), (5, 0.0, 2), (5, -0.4, 2), (4, -2.0, 0)]
)
def test_delta_reads_one_pixel(scale, shift, reads):
    cube = np.random.default_rng(1).random((2, 30, 40))
    protocol = CustomProtocol("mine", {"psf": {"kind": "family", "family": "delta", "shift_px": [shift, shift]}})
    rows, columns = (size // scale * scale for size in cube.shape[1:])
    expected = cube[:, reads:rows:scale, reads:columns:scale]
    np.testing.assert_allclose(degrade(cube, protocol, scale), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("psf", "fault"),
    [
        ({"family": "square"}, "PSF family 'square' is not known; choose one of gaussian"),
        ({"family": "airy", "fwhm_lr": 0}, "fwhm_lr must be a positive number"),
        ({"family": "airy", "shift_px": [1]}, "shift_px must be two numbers"),
        ({"family": "airy", "width": 1}, "unknown width"),
    ],
)
def test_mistakes_in_a_family_are_named(psf, fault):
    with pytest.raises(HsisrError, match=fault):
        CustomProtocol("mine", {"psf": {"kind": "family", **psf}})


def test_configuration_knows_the_families():
    assert list(configuration.Sweep(scene="x").psfs) == list(FAMILIES)


def test_boxes_cover_all_bands_once():
    matrix = sweep.boxes(31, 4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert ((matrix > 0).sum(axis=0) == 1).all()
    with pytest.raises(HsisrError, match="a guide of 16 channels cannot be made of 6 bands"):
        sweep.boxes(6, 16)


def test_grid_is_complete_and_a_single_pixel_has_no_width(settings):
    grid = sweep.places(settings)
    assert len(grid) == len(set(grid)) == 2 * 2 * 2 + 2 * 2
    assert {place.optics for place in grid} == {"airy, FWHM 1", "airy, FWHM 1.5", "delta"}
    assert {place.sensor for place in grid} == {"3 ch, no noise", "3 ch, 30 dB", "4 ch, no noise", "4 ch, 30 dB"}


def test_worst_is_the_worst_of_the_grid(settings, tmp_path):
    result = sweep.run(settings, tmp_path / "a.json", tmp_path / "a.png")
    assert sweep.read(tmp_path / "a.json") == json.loads(json.dumps(result))
    for model, summary in result["models"].items():
        scores = [entry["scores"][model]["psnr"] for entry in result["grid"]]
        assert (summary["psnr_worst"], summary["psnr_best"]) == (min(scores), max(scores))
        assert summary["psnr_mean"] == pytest.approx(np.mean(scores)) and summary["places"] == len(scores)
        where = sweep.places(settings)[int(np.argmin(scores))]
        assert summary["worst_at"] == f"{where.optics}; {where.sensor}"
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 100
    assert sorted(path.name for path in tmp_path.glob("*a.*")) == ["a.json", "a.png"]


def test_a_stopped_sweep_goes_on_where_it_was(settings, tmp_path, monkeypatch):
    whole = sweep.run(settings, tmp_path / "a.json", tmp_path / "a.png")
    measured, calls = sweep._measure, []

    def stopping(place, *others):
        calls.append(place)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return measured(place, *others)

    monkeypatch.setattr(sweep, "_measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(settings, tmp_path / "b.json", tmp_path / "b.png")
    with open(tmp_path / ".b.json.log", "a") as log:
        log.write('{"place": {"psf": ')  # a line cut short
    assert sweep.run(settings, tmp_path / "b.json", tmp_path / "b.png") == whole
    assert calls == [*sweep.places(settings)[:5], *sweep.places(settings)[4:]]
    calls[:] = [None] * 5
    monkeypatch.setattr(sweep._Log, "remove", lambda self: None)  # as after a stop at the last moment
    sweep.run(settings, tmp_path / "b.json", tmp_path / "b.png")
    found = {"scores": {"bicubic": None, "gsa": None}, "refused": {}, "warned": {}}
    with open(tmp_path / ".b.json.log", "a") as log:  # a sweep of another scene wrote there at the same time
        for place in sweep.places(settings):
            log.write(json.dumps({"sweep": "another", "place": asdict(place), "found": found}) + "\n")
    assert sweep.run(settings, tmp_path / "b.json", tmp_path / "b.png") == whole
    assert len(calls) == 5 + len(sweep.places(settings))


@pytest.mark.parametrize("unit", [300.0, 1e-7])
def test_a_scene_of_another_unit_has_the_same_scores(settings, tmp_path, capsys, unit):
    """Of small values, errors had been small against the peak of 1: 150 dB."""
    settings = settings.model_copy(
        update={"models": ["bicubic"], "psfs": ["delta"], "responses": [3], "snr_db": [None]}
    )
    scene = read_scene(settings.scene)
    replace(scene, stored=scene.cube / scene.cube.max() * unit).save(tmp_path / "other.h5")
    other = settings.model_copy(update={"scene": str(tmp_path / "other.h5")})
    same, found = (sweep.run(one, tmp_path / "a.json", tmp_path / "a.png")["grid"][0] for one in (settings, other))
    assert found["scores"]["bicubic"]["psnr"] == pytest.approx(same["scores"]["bicubic"]["psnr"], abs=0.05)
    assert "they are divided by that for scores" in capsys.readouterr().err


def test_values_below_zero_are_told_of(settings, tmp_path, capsys):
    """They were cut off in silence, and the scores were those of another image."""
    one_place = {"models": ["bicubic"], "psfs": ["delta"], "responses": [3], "snr_db": [None]}
    other = settings.model_copy(update={**one_place, "scene": str(tmp_path / "other.h5")})
    scene = read_scene(settings.scene)
    replace(scene, stored=scene.cube - np.median(scene.cube)).save(other.scene)
    sweep.run(other, tmp_path / "a.json", tmp_path / "a.png")
    assert "of its values are below 0; the sweep sets them to 0" in capsys.readouterr().err
    replace(scene, stored=scene.cube - 2).save(other.scene)
    with pytest.raises(HsisrError, match="other.h5: no value is above 0; a sweep takes images of intensities"):
        sweep.run(other, tmp_path / "a.json", tmp_path / "a.png")


def test_a_model_that_refuses_leaves_its_places_empty(settings, tmp_path, monkeypatch):
    opened = sweep.open_method

    def refusing(model, scale, channels):
        if model == "gsa" and channels == 4:
            raise HsisrError("made for 3 channels")
        return opened(model, scale, channels)

    monkeypatch.setattr(sweep, "open_method", refusing)
    result = sweep.run(settings, tmp_path / "a.json", tmp_path / "a.png")
    gsa = result["models"]["gsa"]
    assert gsa["refused"] == gsa["places"] == len(result["grid"]) // 2
    assert refusals(result) == ["gsa: made for 3 channels (6 of 12)"]
    mean, worst_at = (reported.table(result).rows["gsa"][column] for column in (0, -1))
    assert mean.mark == "" and worst_at.text.endswith("; refused 6 of 12")  # it saw the easier half, perhaps
    assert sweep.table(result, "psnr")["gsa"]["delta"]["4 ch, 30 dB"] is None


def test_a_model_that_refuses_every_place_is_shown_without_scores(settings, tmp_path, monkeypatch, capsys):
    opened, asked = sweep.open_method, []

    def refusing(model, scale, channels):
        asked.append(model)
        if asked.count("gsa") > 1 and model == "gsa":  # the first call is before the sweep
            raise HsisrError("made for other images")
        return opened(model, scale, channels)

    monkeypatch.setattr(sweep, "open_method", refusing)
    result = sweep.run(settings, tmp_path / "a.json", tmp_path / "a.png")
    print_sweep(result)
    said = capsys.readouterr()
    assert "refused 12 of 12" in said.out and "refused by gsa: made for other images (12 of 12)" in said.err
    assert reported.table(result).rows["gsa"][-1].text == "refused 12 of 12"


def test_models_that_cannot_be_opened_are_refused_at_once(settings, tmp_path):
    with pytest.raises(HsisrError, match="nowhere/model: no such model"):
        sweep.run(settings.model_copy(update={"models": ["nowhere/model"]}), tmp_path / "a.json", tmp_path / "a.png")


@pytest.mark.parametrize(
    ("responses", "fault"),
    [
        ([3, 7], "a guide of 7 channels cannot be made of 6 bands"),
        (["none"], "`none` makes no guide"),
        (["nikon"], "unknown response 'nikon'"),
        (["ikonos", "sentinel2"], "does not overlap"),
    ],
)
def test_responses_that_make_no_guide_are_refused_at_once(settings, tmp_path, monkeypatch, responses, fault):
    monkeypatch.setattr(sweep, "_measure", None)
    with pytest.raises(HsisrError, match=fault):
        sweep.run(settings.model_copy(update={"responses": responses}), tmp_path / "a.json", tmp_path / "a.png")


def test_guides_of_more_channels_than_bands_are_left_out_unless_chosen(settings, tmp_path, capsys):
    few = {"scene": settings.scene, "scale": 2, "models": ["bicubic"], "psfs": ["delta"], "snr_db": [None]}
    result = sweep.run(Sweep(**few), tmp_path / "a.json", tmp_path / "a.png")
    assert [row["response"] for row in result["grid"]] == [3, 4]
    assert "has 6 bands; guides of 8, 16 channels are left out" in capsys.readouterr().err


def test_command_takes_a_name_or_a_file(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(json.dumps({"sweeps": {"mine": settings.model_dump()}}))
    named = CliRunner().invoke(app, ["sweep", "mine"])
    assert named.exit_code == 0, named.output
    assert "worst" in named.output and (tmp_path / paths.SWEEP.format(sweep="mine")).is_file()
    both = CliRunner().invoke(app, ["sweep", "mine", "--scale", "4"])
    assert "leave --model, --scale and --out out" in str(both.exception)
    monkeypatch.setattr(sweep, "places", lambda chosen: [sweep.Place("airy", 1.0, 0.0, 3, None)])
    alone = CliRunner().invoke(app, ["sweep", "made.h5", "-m", "bicubic", "--scale", "2", "-o", "own.json"])
    assert alone.exit_code == 0, alone.output
    assert list(sweep.read(tmp_path / "own.json")["models"]) == ["bicubic"] and (tmp_path / "own.png").is_file()
    (tmp_path / "mine.h5").write_bytes(
        (tmp_path / "made.h5").read_bytes()
    )  # its result would have the name of the other
    again = CliRunner().invoke(app, ["sweep", "mine.h5", "-m", "bicubic"])
    assert "results/sweeps/mine.json: exists already" in str(again.exception)


def test_report_shows_the_map_and_the_worst(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = sweep.run(settings, paths.SWEEP.format(sweep="mine"), paths.SWEEP_MAP.format(sweep="mine"))
    report.build([], "report/index.html", configuration.Report(), sweeps={"mine": settings})
    html = (tmp_path / "report/index.html").read_text()
    assert "worst over the grid" in html and "data:image/png;base64," in html
    assert result["models"]["gsa"]["worst_at"] in html
    assert "worst over the grid" in (tmp_path / "report/index.md").read_text()
    other = settings.model_copy(update={"seed": 1})
    with pytest.raises(HsisrError, match="sweeps/mine.json: made with other settings, files or code"):
        report.build([], "report/index.html", configuration.Report(), sweeps={"mine": other})


def test_a_sweep_is_a_step(settings):
    step = steps.sweeping(settings)
    assert step.inputs == {"scene": [settings.scene], "models": []}
    assert "hsisr/evaluation/sweep.py" in " ".join(step.code)
    assert steps.sweeping(settings.model_copy(update={"scale": 4})).digest != step.digest
    trained = steps.sweeping(settings.model_copy(update={"models": ["runs/a/b/seed0"]}))
    assert trained.inputs["models"] == ["runs/a/b/seed0/model.safetensors"]
    with pytest.raises(HsisrError, match="sweeps: no sweep 'mime'; did you mean mine\\? config.yaml names mine"):
        steps.configured_sweep(Config.parse({"sweeps": {"mine": settings.model_dump()}}), "mime")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"responses": ["sentinel3"]},
            "sweeps.mine.responses: unknown response 'sentinel3'; did you mean sentinel2\\?",
        ),
        ({"models": ["mulsr"]}, "sweeps.mine.models: mulsr is a network; give its run folder"),
        ({"models": ["priar"]}, "unknown model 'priar'; did you mean prior\\? give a run folder"),
        ({"models": ["best"]}, "sweeps.mine.models: unknown model 'best'"),
        ({"psfs": ["square"]}, "sweeps.mine.psfs"),
    ],
)
def test_mistakes_in_the_configuration_are_named(change, fault):
    with pytest.raises(HsisrError, match=fault):
        benchmark.check(Config.parse({"sweeps": {"mine": {"scene": "a.h5", **change}}}))


def test_place_keeps_its_values():
    place = sweep.Place("airy", 1.0, 0.5, "nikon_d700", 30.0)
    assert (place.optics, place.sensor) == ("airy, FWHM 1, shift 0.5 px", "nikon_d700, 30 dB")
    assert sweep.Place(**asdict(place)) == place
