"""Outputs: no command writes over what it reads, over another file unasked, or into a folder that is a typing error."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hsisr
from hsisr.cli.app import app
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference import Options, super_resolve_file, super_resolve_folder
from hsisr.inference import run as runs
from hsisr.outputs import check_outputs, check_places
from hsisr.scene import Scene

from . import own_scene

CPU = Options(device="cpu")


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """lr.tif and guide.tif in the current folder."""
    own_scene.write_pair(tmp_path, 16, 16)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cli(line):
    app(line.split(), standalone_mode=False)


def refusal(line):
    """The one line that a command ends with; no file may have changed."""
    files = {file: file.read_bytes() for file in Path().iterdir() if file.is_file()}
    with pytest.raises(HsisrError) as caught:
        cli(line)
    assert {file: file.read_bytes() for file in files} == files
    assert "\n" not in str(caught.value)
    return str(caught.value)


PREDICT = "predict lr.tif --guide guide.tif --model gsa -o"


@pytest.mark.parametrize(
    "line",
    [
        f"{PREDICT} lr.tif --overwrite", f"{PREDICT} guide.tif --overwrite", f"{PREDICT} hard.tif --overwrite",
        f"{PREDICT} soft.tif --overwrite", f"{PREDICT} sub/../lr.tif --overwrite",
        f"{PREDICT} x.tif --preview lr.tif --overwrite", "show lr.tif -o lr.tif --overwrite",
        "export lr.tif lr.tif --overwrite", "export e.img e.hdr --overwrite", "export e.hdr e.img --overwrite",
        "export e.dat e.img --overwrite", "degrade lr.tif --protocol wald --scale 4 -o lr.tif --overwrite",
        "export m.tif.msk m.tif --overwrite", "finetune lr.tif guide.tif --model run -o run --overwrite",
        "import-weights lr.tif --model mulsr --scale 4 -o lr.tif --overwrite",
    ],
)  # fmt: skip
def test_inputs_are_never_overwritten(pair, line):
    os.link("lr.tif", "hard.tif")
    os.symlink("lr.tif", "soft.tif")
    os.mkdir("sub")
    os.mkdir("run")
    (pair / "run" / "model.safetensors").write_bytes(b"weights")
    export(read_scene("lr.tif"), "e.dat" if "e.dat" in line else "e.img")
    export(read_scene("guide.tif"), "m.tif.msk", "geotiff")
    told = refusal(line)
    assert "inputs are never overwritten" in told
    assert (pair / "run" / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (f"{PREDICT} out.tif", "out.tif"), (f"{PREDICT} out.img", "out.hdr"),
        (f"{PREDICT} o.tif --preview p.png", "p.png"),
        ("show guide.tif -o p.png", "p.png"), ("export lr.tif o.npy", "o.npy"),
        ("degrade lr.tif --protocol wald --scale 4 --response none -o pair.h5", "pair.h5"),
    ],
)  # fmt: skip
def test_another_file_is_replaced_when_told(pair, line, target):
    (pair / target).write_text("something of mine")
    assert f"{target}: exists already" in refusal(line)
    cli(f"{line} --overwrite")
    assert (pair / target).read_bytes() != b"something of mine"


def test_the_header_of_other_data_is_not_replaced(pair):
    cli("export lr.tif a.img")
    assert "a.hdr: is the header of a.img too" in refusal("export guide.tif a.dat --overwrite")
    assert read_scene(pair / "a.img").shape == read_scene(pair / "lr.tif").shape
    cli("export guide.tif a.img --overwrite")


def test_a_finished_run_folder_is_replaced_when_told(pair):
    line = "finetune lr.tif guide.tif --model mulsr-xs --steps 1 --hold-out 0 -o runs/x --device cpu"
    os.mkdir("runs")
    os.mkdir("runs/x")
    (pair / "runs/x/model.safetensors").write_bytes(b"trained for a week")
    with pytest.raises(HsisrError, match="exists already"):
        cli(line)
    assert (pair / "runs/x/model.safetensors").read_bytes() == b"trained for a week"


@pytest.mark.parametrize("out", ["lr.tif", "lr.json", "other.json", "soft.json", "x.png", "none/x.json"])
def test_a_sweep_writes_over_nothing(pair, monkeypatch, out):
    monkeypatch.setattr("hsisr.evaluation.sweep.run", lambda *args: pytest.fail("has begun"))
    for name in ("lr.png", "other.png"):  # beside a result lies its map
        Path(name).write_text("mine")
    Path("soft.json").symlink_to("lr.tif")
    said = refusal(f"sweep lr.{'png' if out == 'lr.json' else 'tif'} -m bicubic -o {out}")
    assert any(part in said for part in ("is the input", "exists already", "for two outputs", "no folder none"))


def test_a_sweep_of_a_scale_that_cannot_be(pair):
    assert "sweep.scale: 0 is not allowed" in refusal("sweep lr.tif --scale 0 -o x.json")


def test_a_sweep_replaces_what_it_is_told_to_and_what_it_began(pair, monkeypatch):
    Path("grid.json").write_text("older")
    Path("config.yaml").write_text("")
    called = []
    monkeypatch.setattr("hsisr.evaluation.sweep.run", lambda *args: called.append(args[1:]))
    monkeypatch.setattr("hsisr.evaluation.table.print_sweep", lambda found: None)
    cli("sweep lr.tif -m bicubic -o grid.json --overwrite")
    Path(".grid.json.log").write_text("")
    cli("sweep lr.tif -m bicubic -o grid.json")
    cli("sweep lr.tif -m bicubic")
    assert [str(out) for out, _ in called] == ["grid.json", "grid.json", "results/sweeps/lr.json"]


def test_a_missing_folder_is_named_and_not_made(pair):
    assert "there is no folder restuls;" in refusal(f"{PREDICT} restuls/deep/out.tif")
    assert "there is no folder no;" in refusal("export lr.tif no/out.tif")
    assert "there is no folder no;" in refusal("show lr.tif -o no/x.png")
    assert "there is no folder rnus;" in refusal("finetune lr.tif guide.tif -o rnus/x")
    assert "is a file, not a folder" in refusal("export guide.tif lr.tif/out.tif")
    assert not any(os.path.isdir(name) for name in ("restuls", "no", "rnus"))


def test_folders_of_the_project_are_made(pair):
    with pytest.raises(HsisrError, match="no folder predictions"):
        check_places("predictions/deep/a.tif")
    (pair / "config.yaml").write_text("")
    cli(f"{PREDICT} predictions/deep/a.tif")
    assert (pair / "predictions/deep/a.tif").is_file()
    check_places("runs/my-scene", "results/a/b.png", None)
    with pytest.raises(HsisrError, match="no folder prediction;"):
        check_places("prediction/a.tif")


def test_an_unfinished_run_of_the_same_goes_on_and_another_does_not(pair, monkeypatch):
    out = pair / "sr.tif"
    out.write_text("an older result")

    def stopped(*args, ahead):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hsisr.inference.scenes.compute", stopped)
        with pytest.raises(KeyboardInterrupt):
            super_resolve_file("lr.tif", "guide.tif", "gsa", out, CPU, overwrite=True)
    assert runs.is_unfinished(out) and out.read_text() == "an older result"
    with pytest.raises(HsisrError, match="exists already"):
        super_resolve_file("lr.tif", "guide.tif", "glp-hs", out, CPU)
    super_resolve_file("lr.tif", "guide.tif", "gsa", out, CPU)
    assert read_scene(out).shape[1:] == (64, 64)
    with pytest.raises(HsisrError, match="exists already"):
        super_resolve_file("lr.tif", "guide.tif", "gsa", out, CPU)


def test_a_run_that_goes_on_replaces_nobody_elses_files(pair, monkeypatch):
    def stopped(*args, ahead):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hsisr.inference.scenes.compute", stopped)
        with pytest.raises(KeyboardInterrupt):
            super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.tif", CPU)
    for name in ("preview.png", "sr.tif"):
        Path(name).write_text("mine")
        with pytest.raises(HsisrError, match=f"{name}: exists already"):
            super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.tif", CPU, preview="preview.png")
        assert Path(name).read_text() == "mine"
        Path(name).unlink()


def test_a_run_replaces_what_it_was_writing_when_it_was_stopped(pair, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("hsisr.inference.preview.write_preview", stopped)
        with pytest.raises(KeyboardInterrupt):
            super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.tif", CPU, preview="preview.png")
    written = Path("sr.tif").read_bytes()
    super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.tif", CPU, preview="preview.png")
    assert Path("sr.tif").read_bytes() == written and Path("preview.png").is_file()


def test_a_file_made_while_a_run_computes_is_not_replaced(pair, monkeypatch):
    from hsisr.inference import scenes

    computed = scenes.compute

    def meanwhile(*args, ahead):
        computed(*args, ahead=ahead)
        Path("sr.tif").write_text("mine")

    with monkeypatch.context() as patched:
        patched.setattr(scenes, "compute", meanwhile)
        with pytest.raises(HsisrError, match="exists already"):
            super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.tif", CPU)
    assert Path("sr.tif").read_text() == "mine"
    super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.tif", CPU, overwrite=True)
    assert read_scene("sr.tif").shape[1:] == (64, 64)


@pytest.mark.parametrize("place", ["file/maps", "file", "link"])
def test_maps_that_cannot_be_made_are_refused_before_the_work(pair, monkeypatch, place):
    Path("file").write_text("mine")
    Path("link").symlink_to("nowhere")
    monkeypatch.setattr("hsisr.inference.scenes.compute", lambda *args, ahead: pytest.fail("has begun"))
    assert "cannot write there" in refusal(f"{PREDICT} sr.tif --maps {place}")
    assert not Path(".sr.tif.work").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_may_not_be_written_to_is_refused_before_the_work(pair, monkeypatch):
    Path("closed").mkdir(mode=0o555)
    monkeypatch.setattr("hsisr.inference.scenes.compute", lambda *args, ahead: pytest.fail("has begun"))
    assert "closed: Permission denied" in refusal(f"{PREDICT} sr.tif --preview closed/a.png")


def test_python_refuses_too(pair):
    with pytest.raises(HsisrError, match="inputs are never overwritten"):
        hsisr.super_resolve("lr.tif", "guide.tif", model="gsa", out="guide.tif", overwrite=True)
    hsisr.super_resolve("lr.tif", "guide.tif", model="gsa", out="out.tif")
    with pytest.raises(HsisrError, match="overwrite=True"):
        hsisr.super_resolve("lr.tif", "guide.tif", model="gsa", out="out.tif")
    hsisr.super_resolve("lr.tif", "guide.tif", model="gsa", out="out.tif", overwrite=True)


def test_a_scene_is_not_saved_onto_the_file_that_it_is_read_from(pair):
    read_scene("lr.tif").save("a.h5")
    scene = Scene.open("a.h5")
    for save in (scene.save, lambda path: export(replace(scene, name="b"), path)):
        with pytest.raises(HsisrError, match="the scene is read from this file"):
            save("a.h5")
    assert np.array_equal(Scene.open("a.h5").cube, read_scene("lr.tif").cube)
    scene.load().save("a.h5")
    assert np.array_equal(Scene.open("a.h5").cube, read_scene("lr.tif").cube)


def test_a_folder_of_scenes_and_its_results(pair):
    os.mkdir("scenes")
    os.rename("lr.tif", "scenes/a.tif")
    export(read_scene("scenes/a.tif"), "scenes/DARKREF_a.tif")
    with pytest.raises(HsisrError, match="1 of 1 scenes could not be done"):
        super_resolve_folder("scenes", "guide.tif", "gsa", "scenes", CPU)
    super_resolve_folder("scenes", "guide.tif", "gsa", "out", CPU)
    assert sorted(os.listdir("out")) == [".hsisr_finished.json", "a.tif"]
    with pytest.raises(HsisrError, match="could not be done"):
        super_resolve_folder("scenes", "guide.tif", "sfim-hs", "out", CPU)
    super_resolve_folder("scenes", "guide.tif", "gsa", "out", CPU, overwrite=True)
    super_resolve_folder("scenes", "guide.tif", "gsa", "one.tif", CPU)
    assert read_scene("one.tif").shape[1:] == (64, 64)


def test_a_result_does_not_replace_another_scene_of_the_folder(pair, capsys):
    os.mkdir("scenes")
    os.rename("lr.tif", "scenes/a.tif")
    export(read_scene("scenes/a.tif"), "scenes/a.hdr")
    before = Path("scenes/a.tif").read_bytes()
    with pytest.raises(HsisrError, match="2 of 2 scenes could not be done"):
        super_resolve_folder("scenes", "guide.tif", "gsa", "scenes", CPU, overwrite=True)
    assert Path("scenes/a.tif").read_bytes() == before
    assert capsys.readouterr().err.count("inputs are never overwritten") == 2


def test_a_folder_of_bands_is_one_guide_for_all_scenes(pair):
    os.mkdir("scenes")
    os.mkdir("bands")
    os.rename("lr.tif", "scenes/a.tif")
    guide = read_scene("guide.tif")
    for band in range(3):
        export(guide.bands([band]), f"bands/B{band + 1}.tif")
    super_resolve_folder("scenes", "bands", "gsa", "out", CPU)
    super_resolve_folder("scenes", "guide.tif", "gsa", "out2", CPU)
    assert np.array_equal(read_scene("out/a.tif").cube, read_scene("out2/a.tif").cube)


def test_guides_with_numbers_for_names_belong_to_the_scenes_of_these_names(pair):
    """They had been stacked, as bands of one guide, so that each scene saw the guides of the others."""
    os.mkdir("scenes")
    os.mkdir("guides")
    scene, guide = read_scene("lr.tif"), read_scene("guide.tif").bands([0])
    for number, turned in ((1, slice(None)), (2, slice(None, None, -1))):
        export(replace(scene, stored=scene.stored[:, turned]), f"scenes/{number}.tif")
        export(replace(guide, stored=guide.stored[:, turned]), f"guides/{number}.tif")
    super_resolve_folder("scenes", "guides", "gsa", "out", CPU)
    for number in (1, 2):
        super_resolve_file(f"scenes/{number}.tif", f"guides/{number}.tif", "gsa", "alone.tif", CPU, overwrite=True)
        assert np.array_equal(read_scene(f"out/{number}.tif").cube, read_scene("alone.tif").cube)
    export(scene, "scenes/3.tif")
    with pytest.raises(HsisrError, match="1 of 3 scenes could not be done: 3.tif"):
        super_resolve_folder("scenes", "guides", "gsa", "out", CPU)


def test_the_current_folder_as_a_scene(pair, monkeypatch):
    for band, plane in enumerate(read_scene("lr.tif").cube):
        export(Scene(plane[None]), Path("bands") / f"B{band + 1}.tif")
    monkeypatch.chdir("bands")
    super_resolve_file(".", "../guide.tif", "gsa", "../sr.tif", CPU)
    assert read_scene("../sr.tif").shape[1:] == (64, 64)
    with pytest.raises(HsisrError, match="is a folder; give the name of a file"):
        check_outputs(["."], [])
    with pytest.raises(HsisrError, match="is a folder; give the name of a file"):
        check_outputs(["/"], [])


def test_two_outputs_of_one_name(tmp_path):
    with pytest.raises(HsisrError, match="named for two outputs"):
        check_outputs([tmp_path / "a.png", tmp_path / "a.png"], [])
    with pytest.raises(HsisrError, match="is a folder"):
        check_outputs([tmp_path], [], overwrite=True)


def test_what_is_no_scene_file_is_not_to_be_deleted(pair):
    for name in ("lr.tif", "text.h5"):
        (pair / "text.h5").write_bytes(b"\x89HDF\r\n\x1a\n and then something else")
        with pytest.raises(HsisrError) as caught:
            Scene.open(name)
        assert "delete" not in str(caught.value)


def test_what_the_format_cannot_hold_is_refused_before_the_work(pair, monkeypatch):
    monkeypatch.setattr("hsisr.inference.scenes.compute", lambda *args, ahead: pytest.fail("it began to compute"))
    monkeypatch.setattr("hsisr.datasets.writers._MATLAB5_MOST_BYTES", 1000)
    with pytest.raises(HsisrError, match=r"export as matlab7\.3"):
        super_resolve_file("lr.tif", "guide.tif", "gsa", "sr.mat", CPU)
