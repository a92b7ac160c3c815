"""From the wheel alone, outside any checkout: a project, its workflow, a prediction; and the same identities."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from tests.workflow.conftest import ROOT

pytestmark = pytest.mark.slow

IDENTITIES = """
import json, sys
from hsisr.config import load
from hsisr.pipeline import benchmark, steps
config = load(sys.argv[1])
chosen = benchmark.resolve(config, "indian_pines_x4")
found = [steps.conversion(config, "indian_pines"), steps.training(chosen, "mulsr-demo", 0), steps.merging(chosen)]
print(json.dumps([step.digest for step in found]))
"""


class Installed:
    """An environment with nothing of ours but the wheel; everything else comes from the one that runs the tests."""

    def __init__(self, folder: Path) -> None:
        wheels = folder / "wheels"
        command(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
        venv.create(folder / "venv")
        self.bin = folder / "venv/bin"
        (wheel,) = wheels.glob("hsisr-*.whl")
        target = command(
            str(self.bin / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
        ).strip()
        install = ("-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet", "--no-deps", str(wheel))
        command(sys.executable, *install)
        (Path(target) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, program: str, *words: str, folder: Path) -> str:
        return command(str(self.bin / program), *words, folder=folder)


def command(*words: str, folder: Path | None = None) -> str:
    """Run a program without our own path; returns what it said."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HSISR_", "PYTHONPATH"))}
    done = subprocess.run(words, cwd=folder, env=inherited, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_package_is_the_wheels(installed, tmp_path):
    program = "import hsisr, snakemake_logger_plugin_hsisr as p; print(hsisr.__file__); print(p.__file__)"
    for line in installed.run("python", "-c", program, folder=tmp_path).splitlines():
        assert Path(line).is_relative_to(installed.bin.parent)


def test_a_study_from_the_wheel(installed, tmp_path):
    assert "next: cd study" in installed.run("hsisr", "init", "study", folder=tmp_path)
    study = tmp_path / "study"
    content = yaml.safe_load((study / "config.yaml").read_text())
    content["benchmarks"] = {"indian_pines_x4": {"models": ["bicubic", "prior", "quick"]}}
    content["models"] = {"quick": {"base": "mulsr-xs", "training": {"epochs": None, "max_steps": 4}}}
    content["evaluation"] = {"runtime": False, "classification": False}
    (study / "config.yaml").write_text(yaml.safe_dump(content))
    said = installed.run("hsisr", "run", "--cores", "2", "--resources", "gpu=1", "all", folder=study)
    assert "steps done in" in said
    scores = json.loads((study / "results/indian_pines_x4.json").read_text())["models"]
    assert scores["prior"]["mean"]["psnr"] > scores["bicubic"]["mean"]["psnr"] + 3
    assert (study / "results/report/index.html").is_file()
    assert "prior leads with" in installed.run("hsisr", "table", folder=study)


def test_a_prediction_from_the_wheel(installed, tmp_path):
    rng = np.random.default_rng(0)
    sharp = np.cumsum(np.cumsum(rng.random((6, 64, 64)), 1), 2).astype(np.float32)
    sharp /= sharp.max()
    for name, image in (("LR.tif", sharp[:, ::4, ::4]), ("G.tif", sharp[::2])):
        with rasterio.open(
            tmp_path / name, "w", "GTiff", image.shape[2], image.shape[1], image.shape[0], dtype="float32"
        ) as file:
            file.write(image)
    words = ("predict", "LR.tif", "--guide", "G.tif", "--model", "prior", "-o", "out.tif")
    installed.run("hsisr", *words, folder=tmp_path)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.count, file.height, file.width) == (6, 64, 64)


def test_steps_have_the_same_identity_in_a_checkout_and_from_the_wheel(installed, tmp_path):
    shutil.copy2(ROOT / "config.yaml", tmp_path)
    program = ("-c", IDENTITIES, str(tmp_path / "config.yaml"))
    ours = subprocess.run([sys.executable, *program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert installed.run("python", *program, folder=tmp_path) == ours
