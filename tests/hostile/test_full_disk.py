"""Every command that writes, on disks that are too small: one line, status 1, an older file as it was, no debris."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hsisr.scene import Scene

from . import seeds, small_disk

#: Commands for single files: what stands in for OUT lies on the small disk.
COMMANDS = {
    "tif": ["export", "noise.h5", "OUT/x.tif"],
    "cog": ["export", "noise.h5", "OUT/x.tif", "--format", "cog"],
    "envi": ["export", "noise.h5", "OUT/x.img"],
    "matlab5": ["export", "noise.h5", "OUT/x.mat"],
    "matlab7.3": ["export", "noise.h5", "OUT/x.mat", "--format", "matlab7.3"],
    "npy": ["export", "noise.h5", "OUT/x.npy"],
    "scene": ["export", "noise.h5", "OUT/x.h5"],
    "show": ["show", "noise.h5", "-o", "OUT/x.png"],
    "degrade": ["degrade", "noise.h5", "--protocol", "wald", "--scale", "2", "-o", "OUT/x.h5"],
    "predict": ["predict", "noise.h5", "--model", "bicubic", "--scale", "2", "-o", "OUT/x.tif"],
    "import-weights": [
        "import-weights", "checkpoint.pth", "--model", "mulsr-xs", "--scale", "2", "--bands", "6", "-o",
        "OUT/x.safetensors",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A scene of 1.6 MB that cannot be compressed, and seeds."""
    folder = tmp_path_factory.mktemp("files")
    seeds.write(folder)
    stored = np.random.default_rng(0).integers(0, 60_000, (31, 160, 160)).astype(np.uint16)
    Scene(stored, "noise", scale=1 / 65535, wavelengths_nm=np.linspace(400, 700, 31)).save(folder / "noise.h5")
    large = np.random.default_rng(0).integers(0, 255, (2, 2100, 1000)).astype(np.uint8)
    Scene(large, "large").save(folder / "large.h5")
    (folder / "small").mkdir()
    return folder


@pytest.fixture(scope="module")
def disks():
    """Runs commands while a small disk lies over a folder."""
    with small_disk.runner(mounts=True) as runner:
        yield runner


@pytest.fixture(scope="module")
def limits():
    """Runs commands that may not write large files."""
    with small_disk.runner(mounts=False) as runner:
        yield runner


@small_disk.needs_one
@pytest.mark.parametrize("size", ["50k", "200k", "2000k"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_for_one_file(name, size, files, disks):
    words = [word.replace("OUT", "small") for word in COMMANDS[name]] + ["--overwrite"]
    older = next(word for word in words if word.startswith("small/")).removeprefix("small/")
    ended = disks.run(words, files, files / "small", older, size)
    ended.check()
    assert ended.code == 1 or size != "50k", "it cannot have fitted"
    assert older in ended.left


@small_disk.needs_one
@pytest.mark.parametrize("size", ["4m", "5m", "5400k", "5600k", "16m"])
def test_overviews(size, files, disks):
    """An image of 4.2 MB that fits, and overviews that may not."""
    words = ["export", "large.h5", "small/x.tif", "--overwrite"]
    ended = disks.run(words, files, files / "small", "x.tif", size)
    ended.check()
    assert ended.code == int(size != "16m") and ended.left == ["x.tif"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_limit_of_file_sizes_is_as_a_full_disk(name, files, tmp_path, limits):
    """Where nobody may mount a disk. The system then refuses any write beyond 40 kB."""
    words = [word.replace("OUT", str(tmp_path)) for word in COMMANDS[name]]
    older = Path(next(word for word in words if word.startswith(str(tmp_path))))
    ended = limits.run([*words, "--overwrite"], files, tmp_path, older.name, largest=40_000)
    ended.check()
    assert ended.code == 1 and older.read_text() == "older"


#: Steps of the pipeline: folder that lies on the small disk, and the command.
STEPS = {
    "fetch": ("data/raw/indian_pines", ["fetch", "indian_pines"]),
    "convert": ("data/scenes/indian_pines", ["convert", "indian_pines"]),
    "pairs": ("data/pairs/indian_pines_x4", ["pairs", "indian_pines_x4"]),
    "patches": ("data/patches/indian_pines_x4", ["patches", "indian_pines_x4"]),
    "train": ("runs", ["train", "indian_pines_x4"]),
    "evaluate": ("results", ["evaluate", "indian_pines_x4"]),
    "report": ("results/report", ["report"]),
}


@pytest.mark.slow
@small_disk.needs_one
@pytest.mark.parametrize("size", ["20k", "200k", "2000k"])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_the_pipeline(name, size, finished, disks):
    folder, words = STEPS[name]
    ended = disks.run(words, finished, finished / folder, "older", size)
    ended.check()
    assert ended.code == 1 or size != "20k", "it cannot have fitted"


@pytest.mark.slow
@small_disk.needs_one
@pytest.mark.parametrize("size", ["50k", "200k", "2000k"])
def test_finetune(size, files, disks):
    words = ["finetune", "x.tif", "guide.tif", "--steps", "2", "-o", "small/run", "--device", "cpu"]
    disks.run(words, files, files / "small", "older", size).check()


@pytest.mark.slow
@small_disk.needs_one
def test_the_build_of_the_op(files, disks):
    """Without the library the op runs as plain PyTorch, and says why."""
    place = {"XDG_CACHE_HOME": str(files / "small")}
    ended = disks.run(["ops", "--build"], files, files / "small", "older", "200k", **place)
    assert "Traceback" not in ended.said and "cannot" in ended.said
    assert not any(".tmp-" in name for name in ended.left)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project in which every step has been done once, in little time."""
    from tests.workflow.conftest import copy_project

    project = copy_project(tmp_path_factory.mktemp("project") / "copy")
    project.configure(scores_only=True, max_steps=2)
    for step in ("fetch", "convert", "split"):
        project.hsisr(step, "indian_pines")
    for step in ("pairs", "patches", "train", "evaluate"):
        project.hsisr(step, "indian_pines_x4")
    shutil.rmtree(project.folder / "hsisr")  # the package that is tested is this one
    (project.folder / "results" / "report").mkdir(exist_ok=True)
    return project.folder
