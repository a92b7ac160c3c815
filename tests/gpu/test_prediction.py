"""Prediction on a GPU: the CPU's image, whole and by tiles, also where memory runs out; what results say of it."""

import numpy as np
import pytest
import torch

from hsisr import ops
from hsisr.datasets import read_scene
from hsisr.errors import HsisrError
from hsisr.evaluation.analysis import runtime
from hsisr.evaluation.environment import environment
from hsisr.inference import Options, finetune, load_model, super_resolve_file
from hsisr.models import MulSR
from hsisr.models.apply import predict
from hsisr.ops import tf32
from tests.gpu import DEVICE, REHEARSAL, on_gpu, only_gpu
from tests.unit import own_scene

pytestmark = on_gpu


@pytest.mark.parametrize("tile", [None, 12], ids=["whole", "tiles"])
@pytest.mark.parametrize("base", ["mulsr-xs", "hybrid"])
def test_a_scene_is_that_of_the_cpu(tmp_path, base, tile):
    lr, guide, _ = own_scene.write_pair(tmp_path, 48, 24)
    if base == "hybrid":  # it has no untrained form that means something
        finetune(lr, guide, base, tmp_path / "run", steps=2, hold_out=0, options=Options(device="cpu"))
        model = tmp_path / "run"
    else:
        model = own_scene.random_network(tmp_path / "model.safetensors", base)
    found = []
    for number, device in enumerate(("cpu", DEVICE)):  # the same device in a rehearsal
        with tf32.without():
            options = Options(device=device, tile=tile)
            out = super_resolve_file(lr, guide, model, tmp_path / f"{number}.tif", options)
        found.append(read_scene(out).cube)
    difference = np.abs(found[1] - found[0])
    assert difference.max() <= 2e-4 and difference.mean() < 1e-5  # the file holds steps of 1e-4


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=only_gpu)])
def test_half_precision_stays_close(tmp_path, precision):
    path = own_scene.random_network(tmp_path / "model.safetensors")
    rng = np.random.default_rng(0)
    lr, guide = rng.random((4, 12, 10), np.float32), rng.random((3, 48, 40), np.float32)
    exact = predict(load_model(path), lr, guide)
    found = predict(load_model(path, DEVICE), lr, guide, precision)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


@only_gpu
def test_memory_that_runs_out_costs_windows_not_the_result():
    """The network plans with the GPU's whole memory; then it may have only a part of it."""
    torch.manual_seed(0)
    model = MulSR(4, width=64, blocks=2).cuda()
    lr, guide = torch.rand(1, 8, 96, 96, device="cuda"), torch.rand(1, 3, 384, 384, device="cuda")
    with torch.inference_mode(), tf32.without():
        truth = model.super_resolve(lr, guide)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        need = torch.cuda.memory_allocated() + (2 << 30)
        torch.cuda.set_per_process_memory_fraction(need / total)
        try:
            found = model.super_resolve(lr, guide)
            peak = torch.cuda.max_memory_reserved()
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    assert peak > 0
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4)


@only_gpu
def test_no_memory_at_all_is_one_line(tmp_path):
    network = load_model(own_scene.random_network(tmp_path / "model.safetensors"), "cuda")
    rng = np.random.default_rng(0)
    lr, guide = rng.random((4, 400, 400), np.float32), rng.random((3, 1600, 1600), np.float32)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3)
    try:
        with pytest.raises(HsisrError, match="MiB are too few|give less --memory or a smaller --tile") as told:
            predict(network, lr, guide)
        assert "\n" not in str(told.value)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_finetuning_takes_its_time_whatever_the_start_costs(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    summary = finetune(lr, guide, "mulsr-xs", tmp_path / "run", minutes=0.2, options=Options(device=DEVICE))
    assert 12 <= summary["seconds"] < 30
    assert summary["reduced"]["mulsr-xs"]["psnr"] > 0


@only_gpu
def test_results_name_the_gpu_and_its_memory():
    index = torch.cuda.device_count() - 1
    image = torch.rand(1, 64, 256, 256, device=f"cuda:{index}")
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(image)

    def program():
        with torch.inference_mode():
            return layer(image).cpu().numpy()

    assert torch.cuda.get_device_name(index) in environment()["gpu"]
    cost = runtime.measure({"layer": program})["layer"]
    assert 15 < cost.peak_memory_mb < 500  # the output alone is 16 MiB


def test_the_ops_line_tells_what_runs_here():
    assert REHEARSAL or "on a GPU CUDA kernel" in ops.describe_backend()
