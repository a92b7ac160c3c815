"""The command line as a user meets it: groups, examples, suggestions, quiet and verbose, what Tab offers."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hsisr import metrics
from hsisr.cli import app as root
from hsisr.cli import tools
from hsisr.cli.predict import predict
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference.defaults import default_model, default_out
from hsisr.inference.whole import super_resolve as super_resolve_array
from hsisr.models.shipped import shipped_model
from hsisr.scene import Scene
from tests.workflow.conftest import ROOT

COMMANDS = typer.main.get_command(root.app).commands
#: What takes long to import, and no --help or Tab needs.
HEAVY = ("torch", "scipy", "rasterio", "sklearn", "matplotlib", "skimage", "snakemake", "lightning_fabric", "PIL")
GROUPS = {root.OWN_SCENES, root.PROJECT, root.STEPS, root.FILES, root.KNOWN, root.MACHINE}


def python(code: str, **environment: str) -> str:
    """What a new process prints; it fails the test if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def hsisr(line: str, folder: Path) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "hsisr", *shlex.split(line)]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def offered(line: str, folder: Path = ROOT) -> list[str]:
    """What Tab offers behind a line, its last word unfinished."""
    words = f"hsisr {line}"
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "_HSISR_COMPLETE": "complete_bash", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }  # fmt: skip
    code = "import sys; sys.argv = ['hsisr']; from hsisr.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_group_and_an_example_that_it_takes(name: str) -> None:
    command = COMMANDS[name]
    assert command.rich_help_panel in GROUPS
    heading, *lines = [line.strip() for line in command.epilog.split("\n\n")]
    assert heading.startswith("Example") and lines
    for line in lines:
        words = [word for word in shlex.split(line) if not word.startswith("HSISR_")]
        assert words[:2] == ["hsisr", name]
        command.make_context(name, words[2:])  # raises for what the command does not take


def test_help_and_tab_import_nothing_heavy(tmp_path: Path) -> None:
    helps = f"""
import sys
from typer.testing import CliRunner
from hsisr.cli.app import app
for words in [[], *([name] for name in {list(COMMANDS)})]:
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0
print(*sys.modules)
"""
    completion = """
import sys
from hsisr.cli import complete
assert "cave" in complete.datasets("") and complete.networks("mul") and "prior" in complete.usable_models("")
assert complete.protocols("wa") and complete.responses("n") and complete.conventions("m") and complete.weights("")
print(*sys.modules)
"""
    for code in ("import sys, hsisr; print(*sys.modules)", helps, completion):
        loaded = set(python(code, PYTHONPATH=str(ROOT)).split())
        assert "hsisr" in loaded and not loaded & set(HEAVY)
    assert not {"numpy", "yaml", "h5py"} & set(python(helps, PYTHONPATH=str(ROOT)).split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("conve", ["convert"]),
        ("predict x.tif --overw", ["--overwrite"]),
        ("convert cav", ["cave"]),
        ("convert cave ballo", ["balloons"]),
        ("train indian_pines_x4_", ["indian_pines_x4_mixup"]),
        ("train indian_pines_x4 mul", ["mulsr-demo"]),
        ("pairs indian_pines_x4 indian_pines-te", ["indian_pines-test"]),
        ("degrade x.tif --protocol wal", ["wald"]),
        ("degrade x.tif --response nikon", ["nikon_d700"]),
        ("score a b --convention mi", ["mixup"]),
        ("finetune x.tif --model mulsr-x", ["mulsr-xs"]),
        ("predict x.tif --model bic", ["bicubic", "bicubic-ibp"]),
        ("weights deepshare-cave", ["deepshare-cave-x4"]),
        ("convert nothing ", []),
        ("train nothing ", []),
    ],
)
def test_tab_offers_names(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_tab_offers_models_that_lie_here_and_survives_a_wrong_configuration(tmp_path: Path) -> None:
    run = tmp_path / "runs/own-scene"
    run.mkdir(parents=True)
    (run / "model.safetensors").touch()
    (tmp_path / "loose.safetensors").touch()
    (tmp_path / "config.yaml").write_text("nonsense: 1\n")
    assert offered("predict x.tif --model ", tmp_path)[-2:] == ["runs/own-scene", "loose.safetensors"]
    assert offered("convert ca", tmp_path) == []


def test_typing_errors_are_answered() -> None:
    run = CliRunner()
    assert "Did you mean 'predict'?" in run.invoke(root.app, ["predikt"]).output
    assert "--guide" in run.invoke(root.app, ["predict", "x.tif", "--gudie", "y"]).output


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    export(Scene(rng.random((4, 12, 12), np.float32), "lr"), tmp_path / "lr.tif")
    export(Scene(rng.random((3, 24, 24), np.float32), "guide"), tmp_path / "guide.tif")
    return tmp_path


def test_predict_takes_prior_and_names_its_output(pair: Path) -> None:
    done = hsisr("predict lr.tif --guide guide.tif", pair)
    assert done.returncode == 0 and done.stdout.strip() == "lr_sr.tif" and (pair / "lr_sr.tif").is_file()
    assert "model: prior" in done.stderr and "prior x2" in done.stderr
    before = (pair / "lr_sr.tif").stat().st_mtime_ns
    again = hsisr("predict lr.tif --guide guide.tif", pair)
    assert again.returncode == 1 and "lr_sr.tif: exists already" in again.stderr
    assert (pair / "lr_sr.tif").stat().st_mtime_ns == before
    quiet = hsisr("predict lr.tif --guide guide.tif --overwrite -q", pair)
    assert quiet.returncode == 0 and quiet.stdout.strip() == "lr_sr.tif" and quiet.stderr.count("\n") == \
        quiet.stderr.count("hsisr: warning:")  # fmt: skip
    told = hsisr("-v predict lr.tif", pair)
    assert told.returncode == 1 and "Traceback" in told.stderr and "hsisr: took " in told.stderr
    assert "lr.tif: has no guide, and no model is named; give" in told.stderr


def test_a_scene_that_holds_its_guide_needs_no_other(pair: Path) -> None:
    rng = np.random.default_rng(0)
    guide = Scene(rng.random((3, 24, 24), np.float32), "guide")
    Scene(rng.random((4, 12, 12), np.float32), "own", guide=guide).save(pair / "own.h5")
    predict(pair / "own.h5", device="cpu")
    assert (pair / "own_sr.tif").is_file()


def test_names_of_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scenes.v2").mkdir()
    monkeypatch.chdir(tmp_path / "scenes.v2")
    assert default_out("a/b.2.mat", False) == Path("a/b.2_sr.tif")
    assert default_out("a/b.mat", False, "envi") == Path("a/b_sr.hdr")
    assert default_out(tmp_path / "scenes.v2", False) == tmp_path / "scenes.v2_sr.tif"
    assert default_out(".", True) == tmp_path / "scenes.v2_sr"
    assert default_out(tmp_path / "scenes.v2", True) == tmp_path / "scenes.v2_sr"


def test_without_a_guide_the_line_says_what_to_give() -> None:
    with pytest.raises(HsisrError, match=r"lr.tif: has no guide.*--guide.*--scale.*solo works without a guide, at 2"):
        default_model("lr.tif", guided=False)
    with pytest.raises(HsisrError, match=r"solo: hsisr comes with weights for scale 2.*, not 5; give.*bicubic"):
        default_model("lr.tif", guided=False, scale=5)
    assert default_model("lr.tif", guided=True) == "prior"


def test_predict_without_a_guide_takes_solo_and_its_weights(pair: Path) -> None:
    done = hsisr("predict lr.tif --scale 4", pair)
    assert done.returncode == 0 and done.stdout.strip() == "lr_sr.tif"
    assert "model: solo, with the weights that come with hsisr" in done.stderr and "solo x4" in done.stderr
    lr = read_scene(pair / "lr.tif").cube
    expected = super_resolve_array(lr, scale=4)
    np.testing.assert_allclose(read_scene(pair / "lr_sr.tif").cube, expected, atol=1e-6)
    np.testing.assert_array_equal(super_resolve_array(lr, model="solo", scale=4), expected)
    np.testing.assert_array_equal(super_resolve_array(lr, model=shipped_model(4)), expected)
    with pytest.raises(HsisrError, match="model solo: there is no guide that says the scale; give --scale"):
        super_resolve_array(lr, model="solo")


@pytest.mark.parametrize("words", ["4,2,1", "4 -b 2 -b 1", "3"])
def test_show_takes_bands_by_list(words: str, pair: Path) -> None:
    export(Scene(np.random.default_rng(0).random((5, 9, 9), np.float32), "five"), pair / "five.tif")
    assert hsisr(f"show five.tif -b {words} -o five.jpg", pair).returncode == 0
    assert (pair / "five.jpg").read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("4,2,red", "--bands 4,2,red: expected band numbers from 0, such as 29,19,9"),
        ("4,2,9", r"bands [4, 2, 9] make no picture; give 3, or 1, of 0 to 4"),
        ("4,2", "make no picture"),
    ],
)
def test_show_says_what_is_wrong_with_bands(words: str, fault: str, pair: Path) -> None:
    export(Scene(np.zeros((5, 9, 9), np.float32), "five"), pair / "five.tif")
    done = hsisr(f"show five.tif -b {words} -o five.png", pair)
    assert done.returncode == 1 and fault in done.stderr and done.stderr.count("\n") == 1


def test_options_that_would_change_nothing_are_refused(pair: Path) -> None:
    assert hsisr("degrade guide.tif --protocol wald --scale 2 --response none -o pair.h5", pair).returncode == 0
    done = hsisr("show pair.h5 -o p.png --read nodata=0", pair)
    assert done.returncode == 1 and "--read nodata=0 says nothing about a pair file" in done.stderr
    done = hsisr("datasets -c absent.yaml", pair)
    assert done.returncode == 1 and "absent.yaml: no such configuration file" in done.stderr


def test_a_score_counts_what_both_images_hold(tmp_path: Path) -> None:
    """Elsewhere both would be 0, and so equal."""
    rng = np.random.default_rng(0)
    truth = rng.random((4, 32, 32), np.float32)
    made = np.clip(truth + 0.01 * rng.standard_normal(truth.shape, np.float32), 0, 1)
    holes = {"truth": np.s_[:, :4], "made": np.s_[:, 4:18]}
    for name, cube in (("truth", truth), ("made", made)):
        stored = cube.copy()
        stored[holes[name]] = -1
        stored[2 if name == "made" else 3] = -1  # a band without data, and so a bad one
        export(Scene(stored, name, nodata=-1.0), tmp_path / f"{name}.tif")
    done = hsisr("score truth.tif made.tif --scale 2 --json", tmp_path)
    assert "made: has no data on 50.0% of the reference's valid pixels; they do not count" in done.stderr
    assert "made: 2 of 4 bands are bad or hold no data, in it or in the reference; they do not count" in done.stderr
    expected = metrics.score(truth[:2, 18:], made[:2, 18:], 2)
    scores = json.loads(done.stdout)
    assert scores["psnr"] == pytest.approx(expected["psnr"]) and scores["sam"] == pytest.approx(expected["sam"])


class TestScore:
    """What two files state of themselves must not contradict each other."""

    PLACE = (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)

    def score(self, folder: Path, **changed: object) -> None:
        nm = np.linspace(450, 900, 4)
        truth = Scene(np.random.default_rng(0).random((4, 32, 32), np.float32), "truth", wavelengths_nm=nm)
        truth = replace(truth, crs="EPSG:32633", transform=self.PLACE)
        export(truth, folder / "truth.tif")
        export(replace(truth, name="made", **changed), folder / "made.tif")
        tools.score(folder / "truth.tif", folder / "made.tif", 2.0)

    @pytest.mark.parametrize(
        ("changed", "fault"),
        [
            ({"transform": (10.0, 0.0, 500010.0, 0.0, -10.0, 5000000.0)}, "lies at .* georeference=none"),
            ({"transform": (10.0, 0.0, 500000.0, 0.0, 10.0, 4999680.0)}, "lies at"),
            ({"crs": "EPSG:32634"}, "lies in EPSG:32634, but .* in EPSG:32633"),
            ({"wavelengths_nm": np.linspace(900, 450, 4)}, "band centres lie up to 450 nm from those of"),
        ],
    )
    def test_other_ground_and_other_bands_are_refused(self, tmp_path: Path, changed: dict, fault: str) -> None:
        with pytest.raises(HsisrError, match=fault):
            self.score(tmp_path, **changed)

    def test_nearly_the_same_ground_and_no_place_are_scored(
        self, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        self.score(tmp_path, transform=(10.0, 0.0, 500000.1, 0.0, -10.0, 5000000.0))
        self.score(tmp_path, crs=None, transform=None)
        assert capsys.readouterr().out.count("inf") == 2

    def test_another_unit_is_told_in_one_line(self, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="values of the estimate are about .*e\\+03 in size"):
            self.score(tmp_path, scale=1e4)
        lines = hsisr("score truth.tif made.tif --scale 2", tmp_path).stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("hsisr: warning: metrics: the values of the estimate are")
