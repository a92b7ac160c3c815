"""`fit` in a notebook: a run goes on only where all that decides its result is the same; else it says what differs.

Each case trains for some steps, is stopped, then called again with one thing changed: the outcome is that of a run
from the start, and a line names the change. With nothing changed it goes on.
"""

import shutil
import textwrap
from importlib import import_module
from pathlib import Path

import h5py
import pytest
import torch

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.pipeline import paths
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import engine, fit
from hsisr.training.objectives import Iteration

NETWORK = """
import torch

SHARPNESS = 1.0

class Net(torch.nn.Module):
    guide_channels = 0

    def __init__(self, scale, width=4):
        super().__init__()
        self.scale, self.width = scale, width
        self.inside = torch.nn.Conv2d(1, width, 3, padding=1)
        self.out = torch.nn.Conv2d(width, 1, 1)

    def forward(self, lr):
        bands = lr.flatten(0, 1)[:, None]
        sharp = bands + SHARPNESS * self.out(torch.relu(self.inside(bands)))
        return torch.nn.functional.interpolate(sharp, scale_factor=self.scale)[:, 0].unflatten(0, lr.shape[:2])


class Squared:
    name, setting = "squared", None

    def __init__(self, weight=1.0):
        self.weight = weight

    def steps_per_batch(self, model, bands):
        return 1

    def losses(self, model, batch, number, first=0):
        yield self.weight * ((model(batch.lr) - batch.hr) ** 2).mean()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Loads the caller's own module, with its text changed as asked for; the module is always `mine`."""
    monkeypatch.syspath_prepend(tmp_path / "code")
    (tmp_path / "code").mkdir()
    monkeypatch.setattr("sys.dont_write_bytecode", True)

    def load(old: str = "", new: str = ""):
        import linecache
        import sys

        assert old in NETWORK
        (tmp_path / "code/mine.py").write_text(NETWORK.replace(old, new) if old else NETWORK)
        sys.modules.pop("mine", None)
        linecache.checkcache()
        return import_module("mine")

    return load


@pytest.fixture
def trained(small, tmp_path, own, capsys):
    """Calls `fit` on a folder; returns the weights and what was said on stderr."""

    def call(
        stop_after: int | None = None, module=None, patches=None, width=4, weight=1.0, seed=0, settings=None, **more
    ):
        module = module or own()
        torch.manual_seed(0)
        network = module.Net(small.scale, width)
        fields = {"epochs": None, "max_steps": 6, "batch_size": 2, "threads": 1, "device": "cpu", "learning_rate": 1e-3}
        training = Training(**fields | more)
        patches = patches or PatchFile(small.path(paths.PATCHES))
        objective = Iteration([module.Squared(weight)])
        words = {"seed": seed, "objective": objective, "settings": settings}
        step = engine.Run._after_step

        def stopping(run):
            step(run)
            if run.step == stop_after:
                run._save()
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.Run, "_after_step", stopping)
            if stop_after is None:
                fit(network, patches, tmp_path / "run", training, **words)
            else:
                with pytest.raises(KeyboardInterrupt):
                    fit(network, patches, tmp_path / "run", training, **words)
        return network.state_dict(), capsys.readouterr().err

    return call


def other_patches(small, tmp_path, change=True):
    """The same patches under another path; with one of their values changed."""
    path = tmp_path / "patches.h5"
    shutil.copyfile(small.path(paths.PATCHES), path)
    if change:
        with h5py.File(path, "r+") as file:
            file["hr"][0, 0, 0, 0] += 0.25
    return path


#: Change -> arguments of the second call, of (fixture own, path of other patches, benchmark); and what is said of it.
CHANGES = {
    "learning rate": (lambda own, other, b: {"learning_rate": 2e-3}, "training.learning_rate: 0.001, now 0.002"),
    "seed": (lambda own, other, b: {"seed": 1}, "seed: 0, now 1"),
    "seed of the patches": (
        lambda own, other, b: {"patches": PatchFile(b.path(paths.PATCHES), seed=3)},
        "data: patches",
    ),
    "content of the patches": (lambda own, other, b: {"patches": PatchFile(other)}, "data: patches"),
    "settings": (lambda own, other, b: {"settings": "mine"}, "settings: None, now 'mine'"),
    "width": (lambda own, other, b: {"width": 8}, "network: layers.inside.out_channels: 4, now 8"),
    "forward": (lambda own, other, b: {"module": own("torch.relu(", "torch.tanh(")}, "code: mine.Net"),
    "constant": (lambda own, other, b: {"module": own("SHARPNESS = 1.0", "SHARPNESS = 0.5")}, "code: mine.SHARPNESS"),
    "objective": (lambda own, other, b: {"module": own("** 2", "** 4")}, "code: mine.Squared"),
    "weight of the objective": (lambda own, other, b: {"weight": 0.5}, "objective.parts: "),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_run_trains_anew_and_says_why(trained, own, small, tmp_path, change):
    arguments, told = CHANGES[change]
    changed = arguments(own, other_patches(small, tmp_path), small)
    fresh, _ = trained(**changed)
    trained(stop_after=4)
    again, said = trained(**changed)
    assert f"belongs to another run ({told}" in said.replace("settings.settings", "settings"), said
    assert "resumes" not in said
    for key, value in fresh.items():
        torch.testing.assert_close(again[key], value, rtol=0, atol=0)


def test_an_unchanged_run_goes_on_and_a_finished_one_trains_again(trained, small, tmp_path):
    fresh, _ = trained()
    trained(stop_after=4)
    same = other_patches(small, tmp_path, change=False)  # files are known by what they hold
    resumed, said = trained(patches=PatchFile(same))
    assert "resumes at step 4 of 6" in said
    again, said = trained()
    assert "resumes" not in said and "belongs" not in said
    for found in (resumed, again):
        for key, value in fresh.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)


def test_code_without_a_source_is_compared_as_compiled_and_that_is_said(trained, small, tmp_path):
    def typed(power: int):
        namespace = {"__name__": "__main__", "torch": torch}
        text = textwrap.dedent(NETWORK).replace("** 2", f"** {power}")
        exec(compile(text, "<input>", "exec"), namespace)
        return type("Shell", (), namespace)

    trained(stop_after=4, module=typed(2))
    _, said = trained(module=typed(2))
    assert "no source of Net, Squared can be read: compiled code was compared" in said and "resumes" in said
    trained(stop_after=4, module=typed(2))
    _, said = trained(module=typed(4))
    assert "belongs to another run (code: __main__.Squared); no source of Net, Squared" in said


def test_a_missing_patch_file_is_one_line(small, tmp_path):
    patches = PatchFile(other_patches(small, tmp_path))
    Path(patches.path).unlink()
    with pytest.raises(HsisrError, match=r"patches\.h5: cannot be read"):
        fit(torch.nn.Conv2d(1, 1, 1), patches, tmp_path / "run", Training(epochs=None, max_steps=1))
