"""How GPUs are used, shown without one: fake devices, memory that runs out, switches that are put back."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hsisr import system
from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.evaluation.analysis import runtime
from hsisr.evaluation.environment import environment
from hsisr.models import MulSR
from hsisr.models.apply import predict
from hsisr.models.mulsr import tiled
from hsisr.pipeline import paths, resources
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import devices, fit
from tests.unit.test_training import Tiny

REPOSITORY = Path(__file__).parents[2]
GIB = 1 << 30
CUDA = torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch):
    """Two fake GPUs of 16 GiB. free: bytes that nobody has of either; allocated, peak, reserved: by this process."""
    state = SimpleNamespace(free=16 * GIB, allocated=[0, 0], peak=[0, 0], reserved=[0, 0])

    def reset(index):
        state.peak[index] = state.allocated[index]

    def number(device):
        return device if isinstance(device, int) else device.index or 0

    fakes = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_name": lambda index: f"GPU {index}",
        "get_device_properties": lambda device: SimpleNamespace(total_memory=16 * GIB),
        "mem_get_info": lambda device: (state.free, 16 * GIB),
        "memory_allocated": lambda device: state.allocated[number(device)],
        "memory_reserved": lambda device: state.reserved[number(device)],
        "max_memory_allocated": lambda device: state.peak[number(device)],
        "max_memory_reserved": lambda device: state.reserved[number(device)],
        "reset_peak_memory_stats": reset,
        "empty_cache": lambda: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return state


# ---- memory


def test_a_network_plans_with_what_is_free_of_a_gpu(gpus):
    with torch.inference_mode():
        assert system.gpu_memory_for_maps(CUDA) == int(0.4 * 16 * GIB)
        gpus.free, gpus.reserved[0], gpus.allocated[0] = 2 * GIB, 3 * GIB, 1 * GIB
        assert system.free_gpu_memory(CUDA) == 4 * GIB, "what this process keeps unused is free for it"
        assert system.gpu_memory_for_maps(CUDA) == int(0.8 * 4 * GIB)
    assert system.gpu_memory_for_maps(CUDA) == int(0.4 * 16 * GIB), "training batches alike in every run"


def test_work_is_tried_with_half_the_memory_until_it_fits(gpus):
    tried = []

    def work(memory):
        tried.append(memory)
        if len(tried) < 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    with torch.inference_mode():
        assert system.within_gpu_memory(work, None, CUDA) == "done"
        half = int(0.4 * 16 * GIB) // 2
        assert tried == [None, half, half // 2, half // 4]
        tried.clear()
        assert system.within_gpu_memory(work, 1000, CUDA) == "done"
        assert tried == [1000, 500, 250, 125]


class Full(MulSR):
    """A network whose GPU holds maps up to a side; the CPU plays the GPU."""

    most_px = 0

    def finish(self, x, x2, q):
        if x2.shape[2] > self.most_px:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().finish(x, x2, q)


@pytest.fixture
def full(gpus, monkeypatch):
    """A network, its images, and a MulSR that takes the CPU for a GPU on which tiles are planned."""
    torch.manual_seed(0)
    model = Full(4, width=16, blocks=1)
    monkeypatch.setattr(tiled, "_default_memory", lambda guide: 100 << 20)
    images = torch.rand(1, 4, 40, 40), torch.rand(1, 3, 160, 160)

    def super_resolve(most_px, memory=None):
        model.most_px = most_px
        with torch.inference_mode():
            return system.within_gpu_memory(lambda less: model._super_resolve(*images, None, less), memory, CUDA)

    return SimpleNamespace(model=model, images=images, super_resolve=super_resolve)


def test_an_image_that_fills_the_gpu_goes_through_in_smaller_windows(full):
    whole = full.super_resolve(160, 100 << 20)
    with pytest.raises(torch.OutOfMemoryError):
        full.model.most_px = 120
        full.model._super_resolve(*full.images, None, 100 << 20)
    found = full.super_resolve(120, 100 << 20)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


def test_only_a_gpu_is_tried_again_and_never_while_gradients_are_recorded(monkeypatch):
    model, calls = MulSR(4, width=16, blocks=1), []
    monkeypatch.setattr("hsisr.models.mulsr.network.within_gpu_memory", lambda *words: calls.append(words))
    model.super_resolve(torch.rand(1, 4, 4, 4), torch.rand(1, 3, 16, 16))
    assert calls == []


class Hungry(torch.nn.Module):
    """Finds the GPU full."""

    guide_channels = 0

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, lr):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total ...")

    super_resolve = forward


def test_prediction_on_a_full_gpu_is_one_line(gpus):
    gpus.free, gpus.reserved = 1 * GIB, [3 * GIB, 0]
    with pytest.raises(HsisrError) as told:
        predict(Hungry(), np.zeros((3, 4, 4)))
    assert str(told.value) == (
        "cpu: out of memory, with 3.0 GiB of 16.0 in use here and 12.0 by others; give less --memory or a smaller "
        "--tile to hsisr predict, or another device"
    )


def test_training_on_a_full_gpu_is_one_line(small, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 * GIB, 16 * GIB))
    training = Training(epochs=None, max_steps=4, batch_size=2, threads=1, device="cpu")
    with pytest.raises(HsisrError, match="out of memory.*lower training.batch_size, or raise training.accumulate") as e:
        fit(Hungry(), PatchFile(small.path(paths.PATCHES)), tmp_path, training)
    assert "\n" not in str(e.value)


# ---- shared memory of the workers that prepare batches

FEED = """
import numpy as np, sys, torch
from hsisr.pipeline.patch_files import Sample
from hsisr.training.feeding import Feed

class Patches:
    def stack(self, numbers):
        return Sample(np.stack([np.full({values}, number, np.float32) for number in numbers]), None, None)

feed = Feed(Patches(), 4, workers=8)
for number in range(12):
    assert feed.batch(number, torch.device("cpu")).lr[2, 0] == 4 * number + 2
feed.close()
"""


def feed_in_small_shared_memory(values):
    """Eight workers, batches of 4 x `values` numbers, in 64 MiB of /dev/shm, as containers have it."""
    mount = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("cannot mount a small /dev/shm here: needs root, or user namespaces")
    script = f'{mount} && exec "$0" -c "$1"'
    words = ["unshare", "-m", "sh", "-c", script, sys.executable, FEED.format(values=values)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare, which makes a small /dev/shm")
@pytest.mark.parametrize(("megabytes", "workers"), [(41, 0), (8, 2), (0.1, 8)])
def test_workers_live_in_a_container_with_little_shared_memory(megabytes, workers):
    done = feed_in_small_shared_memory(int(megabytes * 2**20 / 16))
    assert done.returncode == 0, done.stderr
    said = f"training: /dev/shm has room for the batches of {workers} workers, not 8; give more of it"
    assert done.stderr.count(said) == done.stderr.count("training:") == (workers < 8)


def test_workers_are_few_on_a_large_node():
    assert devices.workers(Training(), 64, CUDA) == 8
    assert devices.workers(Training(), 3, CUDA) == 2
    assert devices.workers(Training(), 64, torch.device("cpu")) == 0
    assert devices.workers(Training(workers=20), 64, CUDA) == 20


# ---- devices and switches


def test_a_gpu_that_is_not_there_is_one_line(gpus):
    with pytest.raises(HsisrError, match=r"training.device: 'cuda:9' is not there; torch sees 2 GPUs"):
        devices.choose_device("cuda:9", "training.device")
    assert devices.choose_device("cuda:1") == torch.device("cuda:1")


def switches():
    cuda = torch.backends.cuda
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cuda.math_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.flash_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
    )


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_switches_are_put_back_after_training(kind):
    before = switches()
    with pytest.raises(KeyError), devices.equal_runs(torch.device(kind)):
        inside = switches()
        raise KeyError
    assert switches() == before
    assert inside == (True, True, *((True, False, False, False) if kind == "cuda" else before[2:]))


def test_fit_leaves_deterministic_algorithms_as_they_were(small, tmp_path):
    before = switches()
    seen = []
    training = Training(epochs=None, max_steps=2, batch_size=2, validate_every_steps=1, threads=1, device="cpu")
    patches = PatchFile(small.path(paths.PATCHES))
    fit(Tiny(4), patches, tmp_path, training, validate=lambda network: seen.append(switches()[:2]) or 1.0)
    assert seen == [(True, True)] * 2 and switches() == before


# ---- what results say of the machine


def test_results_name_the_gpu_that_was_used(gpus):
    assert environment()["gpu"] is None
    gpus.reserved[1] = GIB
    assert environment()["gpu"] == "GPU 1"
    gpus.reserved[0] = GIB
    assert environment()["gpu"] == "GPU 0, GPU 1"


def test_memory_is_that_of_the_gpu_that_computes(gpus):
    def on_second_gpu():
        gpus.reserved[1], gpus.allocated[1] = 2 * GIB, 1 * GIB
        gpus.peak[1] = max(gpus.peak[1], gpus.allocated[1] + (200 << 20))
        return np.zeros((1, 1, 10), np.float32)

    assert runtime.measure({"network": on_second_gpu})["network"].peak_memory_mb == 200


# ---- the workflow's threads


class Limit:
    """A limit of Snakemake's on `gpu`."""

    def __init__(self, gpu):
        self.gpu = gpu

    def get(self, name):
        return SimpleNamespace(value=self.gpu if name == "gpu" else None)


@pytest.mark.parametrize(
    ("gpu", "kind", "expected"),
    [
        (1, {}, 16),
        (4, {}, 4),
        (4, {"devices": 2}, 8),
        (4, {"devices": 8}, 16),
        (32, {}, 1),
        (None, {}, 16),
        (0, {}, 16),
        (4, {"device": "cpu"}, 16),
        (4, {"threads": 3}, 3),
    ],
)
def test_jobs_that_share_a_machine_share_its_cores(small, gpu, kind, expected):
    model = small.model("tiny")
    training = Training(**{"device": "auto"} | kind)
    model = SimpleNamespace(is_network=model.is_network, training=training)
    workflow = SimpleNamespace(global_resources=Limit(gpu), cores=16, local_exec=True, remote_exec=False)
    assert resources.threads(model, workflow) == expected
    for place in ({"local_exec": False}, {"remote_exec": True}):  # on a cluster `cores` are a job's own
        elsewhere = SimpleNamespace(**vars(workflow) | place)
        assert resources.threads(model, elsewhere) == (training.threads or 16)
