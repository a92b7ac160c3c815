"""The device that a user names: one rule for training, evaluation and prediction."""

import types

import pytest
import torch

from hsisr import devices
from hsisr.errors import HsisrError


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_held", {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: types.SimpleNamespace(uuid=index))
    yield
    for lock in devices._held.values():
        lock.release()


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", "", "cuda:0,cuda:1", "CUDA"])
def test_other_names_are_refused(name):
    with pytest.raises(HsisrError, match="device: .* is not allowed; expected auto, cpu, cuda or cuda:<index>"):
        devices.choose_device(name)


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose_device("auto") == devices.choose_device("cpu") == torch.device("cpu")
    with pytest.raises(HsisrError, match=r"^training.device: 'cuda' is not allowed here; torch sees no GPU"):
        devices.choose_device("cuda", "training.device")


def test_with_gpus(two_gpus):
    assert devices.choose_device("auto") == torch.device("cuda", 0)
    assert devices.choose_device("cuda") == torch.device("cuda", 0), "the one that is held already"
    assert devices.choose_device("cuda:1") == torch.device("cuda", 1)
    assert devices.choose_device("cpu") == torch.device("cpu")
    with pytest.raises(HsisrError, match=r"'cuda:9' is not there; torch sees 2 GPUs here, the first is cuda:0"):
        devices.choose_device("cuda:9")
