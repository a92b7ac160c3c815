"""Training on a GPU: the CPU's weights, equal runs, NCCL, memory that runs out."""

import pytest
import torch

from hsisr.config import Training
from hsisr.errors import HsisrError
from hsisr.models import registry
from hsisr.ops import tf32
from hsisr.pipeline import paths
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import devices, fit
from hsisr.training.gradients import average_over_processes
from tests.gpu import DEVICE, REHEARSAL, on_gpu, only_gpu

pytestmark = on_gpu

STEPS = 20


def network(guide_channels):
    """Small, but with directional aggregation, whose width the kernels take."""
    torch.manual_seed(0)
    return registry.build("mulsr", 4, 5, guide_channels, {"width": 16, "blocks": 1, "skip": True})


def trained(small, folder, device, **change):
    """Weights on the CPU after 20 steps, and the outcome."""
    fields = {"epochs": None, "max_steps": STEPS, "batch_size": 4, "bands_per_step": 2, "visit": "random"}
    fields |= {"select": "last", "learning_rate": 1e-3, "validate_every_steps": 10, "threads": 2, "device": device}
    patches = PatchFile(small.path(paths.PATCHES), 1)
    model = network(patches.guide_channels)
    outcome = fit(model, patches, folder, Training(**fields | change), seed=1)
    return {key: value.cpu() for key, value in model.state_dict().items()}, outcome


def losses(folder):
    rows = (folder / "history.csv").read_text().splitlines()[1:]
    return [float(row.split(",")[2]) for row in rows]


def assert_alike(small, found, expected):
    """Adam divides by small numbers at first: weights agree to a part of what they moved."""
    start = network(PatchFile(small.path(paths.PATCHES)).guide_channels).state_dict()
    for name, value in expected.items():
        moved = (value - start[name]).norm()
        assert (found[name] - value).norm() <= 0.05 * moved + 1e-6, name


def test_twenty_steps_are_those_of_the_cpu(small, tmp_path):
    """Without TF32, which PyTorch's own convolutions have by default; losses agree closely."""
    cpu, _ = trained(small, tmp_path / "cpu", "cpu")
    with tf32.without():
        gpu, outcome = trained(small, tmp_path / "gpu", DEVICE)
    assert outcome.steps == STEPS
    assert_alike(small, gpu, cpu)
    for one, other in zip(losses(tmp_path / "cpu"), losses(tmp_path / "gpu"), strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_equal_runs_give_equal_bits(small, tmp_path):
    one, _ = trained(small, tmp_path / "one", DEVICE)
    two, _ = trained(small, tmp_path / "two", DEVICE)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_workers_do_not_change_the_weights(small, tmp_path):
    alone, _ = trained(small, tmp_path / "alone", DEVICE, workers=0)
    fed, _ = trained(small, tmp_path / "fed", DEVICE, workers=2)
    assert all(torch.equal(alone[name], fed[name]) for name in alone)


def test_parts_of_a_batch_equal_the_batch(small, tmp_path):
    with tf32.without():
        whole, _ = trained(small, tmp_path / "whole", DEVICE, max_steps=4)
        parts, _ = trained(small, tmp_path / "parts", DEVICE, max_steps=4, accumulate=4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=only_gpu)])
def test_half_precision_trains_close_to_single(small, tmp_path, precision):
    trained(small, tmp_path / "32", DEVICE)
    trained(small, tmp_path / precision, DEVICE, precision=precision)
    for one, other in zip(losses(tmp_path / "32"), losses(tmp_path / precision), strict=True):
        assert one == pytest.approx(other, rel=0.1)


def gathered(fabric):
    """What a step of several processes does, in a group of one: gradients and losses come back as they were."""
    model = torch.nn.Linear(3, 2).to(fabric.device)
    loss = model(torch.ones(4, 3, device=fabric.device)).square().mean()
    loss.backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    found, signs = average_over_processes(fabric, model, [("labelled", loss.detach())], [0.0, 0.25])
    same = all(torch.equal(p.grad, b) for p, b in zip(model.parameters(), before, strict=True))
    return torch.distributed.get_backend(), same, torch.equal(found[0][1], loss.detach()), signs


def test_gradients_go_through_nccl():
    """NCCL takes one process a GPU: its group of one is all that a single GPU can show."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.strategies import DDPStrategy

    fabric = Fabric(
        accelerator=DEVICE, devices=1, strategy=DDPStrategy(start_method="popen"), plugins=[LightningEnvironment()]
    )
    try:
        backend, same, loss, signs = fabric.launch(gathered)
        assert (backend, same, loss) == ("gloo" if REHEARSAL else "nccl", True, True)
        assert signs == pytest.approx([0.0, 0.25])
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(torch.cuda.device_count() < 2 and not REHEARSAL, reason="needs two GPUs")
def test_two_gpus_are_one_with_the_doubled_batch(small, tmp_path):
    with tf32.without():
        one, _ = trained(small, tmp_path / "one", DEVICE)
    two, _ = trained(small, tmp_path / "two", DEVICE, devices=2)
    assert_alike(small, two, one)


@only_gpu
def test_a_full_gpu_is_one_line(small, tmp_path):
    with _memory(0.0005), pytest.raises(HsisrError, match="lower training.batch_size, or raise training.acc") as told:
        trained(small, tmp_path, "cuda", batch_size=512, max_steps=2)
    assert "\n" not in str(told.value)


def test_the_device_that_is_free_is_taken():
    assert devices.choose_device("auto").type == DEVICE
    if not REHEARSAL:
        with pytest.raises(HsisrError, match="is not there; torch sees"):
            devices.choose_device(f"cuda:{torch.cuda.device_count()}")


class _memory:
    """Let this process have that part of the GPU's memory only."""

    def __init__(self, part):
        self.part = part

    def __enter__(self):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(self.part)

    def __exit__(self, *_):
        torch.cuda.set_per_process_memory_fraction(1.0)
