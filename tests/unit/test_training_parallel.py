"""Several processes share every batch: the result is that of one process, but for rounding."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.multiprocessing import ProcessExitedException

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.pipeline import paths
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import devices, fit
from tests.conftest import NOT_INSTALLED


class Smooth(torch.nn.Module):
    """A network that takes random bands of each patch, and has no randomness of its own."""

    guide_channels = 0

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale, self.layers = scale, torch.nn.Conv2d(1, 1, 3, padding=1)

    def super_resolve_bands(self, lr, guide, bands):
        images = torch.take_along_dim(lr, bands[:, :, None, None], dim=1) if bands.ndim == 2 else lr[:, bands]
        images = self.layers(images.flatten(0, 1)[:, None])[:, 0].unflatten(0, (len(lr), -1))
        return torch.nn.functional.interpolate(images, scale_factor=self.scale)


@dataclass(frozen=True)
class Fixed:
    """A validation whose result is known; a frozen dataclass, as those of the workflow are."""

    psnr: float

    def __call__(self, network) -> float:
        return self.psnr


def trained(small, folder, **change):
    fields = {"epochs": None, "max_steps": 8, "batch_size": 4, "bands_per_step": 2, "visit": "random"}
    fields |= {"select": "last", "learning_rate": 1e-2, "validate_every_steps": 4, "threads": 2, "device": "cpu"}
    training = Training(**fields | change)
    torch.manual_seed(0)
    network = Smooth(4)
    outcome = fit(network, PatchFile(small.path(paths.PATCHES), 1), folder, training, seed=1, validate=Fixed(20.0))
    return network.state_dict(), outcome


def test_two_processes_equal_one_with_the_doubled_batch(small, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(NOT_INSTALLED)  # in the processes too, which start faster so
    one, _ = trained(small, tmp_path / "one")
    two, outcome = trained(small, tmp_path / "two", devices=2)
    assert (outcome.steps, outcome.validation_psnr) == (8, 20.0)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-7)
    losses = [
        np.genfromtxt(tmp_path / run / "history.csv", delimiter=",", names=True)["loss"] for run in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert not torch.equal(Smooth(4).layers.weight, one["layers.weight"])


def test_batch_in_parts_equals_the_batch(small, tmp_path):
    whole, _ = trained(small, tmp_path / "whole")
    parts, _ = trained(small, tmp_path / "parts", accumulate=4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-7)


def test_batch_that_cannot_be_shared_is_one_line_from_any_process(small, tmp_path):
    with pytest.raises(HsisrError, match="batch_size: 4 cannot be shared equally by 1 processes in 3 parts"):
        trained(small, tmp_path, accumulate=3)
    with pytest.raises(HsisrError, match="batch_size: 3 cannot be shared equally by 2 processes"):
        trained(small, tmp_path, batch_size=3, devices=2)


def test_a_process_that_is_killed_is_one_line(monkeypatch):
    def launch(*words):
        raise ProcessExitedException("process 1 terminated with signal SIGKILL", 1, 123, -9, "SIGKILL")

    monkeypatch.setattr(devices, "_fabric", lambda *words: SimpleNamespace(launch=launch))
    with pytest.raises(HsisrError, match="^training: process 1 terminated with signal SIGKILL, as .*; the same"):
        devices.launch(Training(devices=2), print)


def test_a_full_folder_for_temporary_files_is_one_line(tmp_path):
    (tmp_path / "full").touch()
    with pytest.raises(HsisrError, match="result.pt: cannot write there .* another folder with TMPDIR, then"):
        devices._write({}, str(tmp_path / "full" / "result.pt"))
