"""hsisr.models.load_official: every form a published checkpoint comes in, and every way it can be wrong."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hsisr.errors import HsisrError
from hsisr.models import MulSR, load_official
from tests.unit.plain_mulsr import PlainMulSR


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return MulSR(4, 16, 1).state_dict()


def fresh() -> MulSR:
    torch.manual_seed(2)
    return MulSR(4, 16, 1)


def parallel(weights: dict) -> dict:
    return {f"module.{key}": value for key, value in weights.items()}


FORMS = {
    "flat": lambda weights: weights,
    "prefixed": parallel,
    "nested": lambda weights: {
        "epoch": 3,
        "model": weights,
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
    },
    "nested and prefixed": lambda weights: {"model": parallel(weights), "optimizer": {}},
    **{
        f"under {key}": lambda weights, key=key: {"iter": 7, key: parallel(weights)}
        for key in ("state_dict", "model_state_dict", "net", "params", "params_ema")
    },
    "averaged beside plain": lambda weights: {
        "params": {key: value + 1 for key, value in weights.items()},
        "params_ema": weights,
    },
    "numpy": lambda weights: {key: value.numpy() for key, value in weights.items()},
    "float64": lambda weights: {key: value.double() for key, value in weights.items()},
}


@pytest.mark.parametrize("form", list(FORMS))
def test_forms_of_a_state_dict(form, weights):
    model = fresh()
    assert load_official(model, FORMS[form](weights)) is model
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[key]), key


@pytest.mark.parametrize("form", [form for form in FORMS if form != "numpy"])
@pytest.mark.parametrize("zipped", [True, False])
def test_forms_of_a_file(form, zipped, weights, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(FORMS[form](weights), path, _use_new_zipfile_serialization=zipped)
    for argument in (path, str(path)):
        loaded = load_official(fresh(), argument).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in weights.items())


def test_one_line_names_every_problem(weights):
    del weights["down.bias"], weights["hsi_head.weight_g"]
    weights["extra.weight"] = torch.zeros(3)
    weights["reduce.bias"] = torch.zeros(5)
    weights["up.0.bias"] = torch.full((64,), torch.nan)
    model = fresh()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(HsisrError) as error:
        load_official(model, weights)
    message = str(error.value)
    assert "\n" not in message
    assert "missing: hsi_head.weight_g, down.bias;" in message
    assert "unexpected: extra.weight;" in message
    assert "wrong shape: reduce.bias (5,) instead of (16,);" in message
    assert "NaN or infinite: up.0.bias" in message
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(HsisrError, match=r"missing: (\S+, ){4}\.\.\. \(\d{3} in all\); unexpected: only;") as error:
        load_official(model, {"only": torch.zeros(3)})
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", [{}, {"model": {}}, {"epoch": "three"}, {"model": {"down.bias": "text"}}])
def test_mappings_without_weights(content):
    with pytest.raises(HsisrError, match=r"holds no weights|not a tensor"):
        load_official(fresh(), content)


class Trap:
    """Unpickled with code, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize(
    ("save", "message"),
    [(torch.save, "holds Python objects, not only tensors; none of it was run"), (_plain_pickle, "not a PyTorch")],
)
def test_nothing_in_a_file_is_run(save, message, tmp_path):
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    save({"model": Trap(sprung)}, path)
    with pytest.raises(HsisrError, match=message) as error:
        load_official(fresh(), path)
    assert not sprung.exists()
    assert "\n" not in str(error.value)


WHOLE = {
    "bare": lambda network: network,
    "save_checkpoint's": lambda network: {"epoch": 7, "model": network},
    "parallel": lambda network: {"epoch": 7, "model": torch.nn.DataParallel(network)},
    "weights beside options": lambda network: {"model": network.state_dict(), "options": Path("options")},
}


@pytest.mark.parametrize("form", list(WHOLE))
def test_file_with_a_network_gets_a_command_that_works(form, weights, tmp_path):
    path = tmp_path / "net.pth"
    network = PlainMulSR(4, 16, 1)
    network.load_state_dict(weights)
    torch.save(WHOLE[form](network), path)
    with pytest.raises(HsisrError, match="none of it was run") as error:
        load_official(fresh(), path)
    assert "\n" not in str(error.value)
    command = re.search(r'python -c "(.*)"$', str(error.value))[1]
    source = {"PYTHONPATH": str(Path(__file__).parents[2])}  # where the network's own program lies
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, env=os.environ | source, check=True)
    loaded = load_official(fresh(), tmp_path / "net_weights.pth").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())


DAMAGED = {
    "empty": lambda data: b"",
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-30],
    "text": lambda data: b"<html>Too many downloads</html>",
    "noise": lambda data: np.random.default_rng(0).bytes(4096),
    "zip of something else": lambda data: b"PK\x03\x04" + bytes(200),
    "pickle cut short": lambda data: pickle.dumps({"model": [1, 2, 3]})[:-5],
}


@pytest.mark.parametrize("damage", list(DAMAGED))
def test_damaged_files(damage, weights, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(weights, path)
    path.write_bytes(DAMAGED[damage](path.read_bytes()))
    with pytest.raises(HsisrError, match="damaged or cut short") as error:
        load_official(fresh(), path)
    assert "\n" not in str(error.value)


def test_absent_file_and_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(HsisrError, match="no such checkpoint file"):
            load_official(fresh(), path)


def test_a_file_that_holds_no_mapping(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(HsisrError, match="holds no weights"):
        load_official(fresh(), path)
