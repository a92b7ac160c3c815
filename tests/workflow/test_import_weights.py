"""`hsisr import-weights`: a paper's checkpoint becomes a model file, or one clear line."""

import pytest
import torch

from hsisr import inference
from hsisr.models import MulSR


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    weights = {f"module.{key}": value for key, value in MulSR(8).state_dict().items()}
    path = tmp_path_factory.mktemp("official") / "epoch.pth"
    torch.save({"model": weights, "optimizer": {"state": {}}}, path)
    return path


def test_checkpoint_becomes_a_model_file(finished, checkpoint, tmp_path):
    out = tmp_path / "model.safetensors"
    finished.hsisr("import-weights", str(checkpoint), "--model", "mulsr", "--scale", "8", "-o", str(out))
    network = inference.load_model(out)
    expected = torch.load(checkpoint, weights_only=True)["model"]
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, expected[f"module.{key}"], rtol=0, atol=0)
    assert inference.read_metadata(out)["source"] == "epoch.pth"


def test_what_is_no_checkpoint_is_one_line_and_runs_nothing(finished, checkpoint, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    evil, truncated = tmp_path / "evil.pth", tmp_path / "truncated.pth"
    torch.save({"model": Evil()}, evil)
    truncated.write_bytes(checkpoint.read_bytes()[:5000])
    for path in (evil, truncated, tmp_path / "absent.pth"):
        out = tmp_path / "out.safetensors"
        words = ["import-weights", str(path), "--model", "mulsr", "--scale", "8", "-o", str(out)]
        done = finished.hsisr(*words, check=False)
        assert done.returncode == 1 and len(done.stdout.splitlines()) == 1, done.stdout
        assert done.stdout.startswith("hsisr: error: ") and path.name in done.stdout
        assert not out.exists() and not (tmp_path / "owned").exists()
