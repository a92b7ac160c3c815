"""A small benchmark with its files in a temporary folder; a hybrid; scenes that count as large."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsisr.config import Config
from hsisr.pipeline import benchmark, pair_files, patch_files, paths
from hsisr.scene import Scene

CONFIG = {
    "benchmarks": {"indian_pines_x4": {"models": ["bicubic", "gsa", "tiny"]}},
    "models": {
        "tiny": {
            "base": "mulsr",
            "width": 16,
            "blocks": 1,
            "dsca": False,
            "skip": True,
            "seeds": [0, 3],
            "training": {
                "epochs": None,
                "max_steps": 6,
                "batch_size": 2,
                "bands_per_step": 2,
                "visit": "random",
                "learning_rate": 1e-3,
                "validate_every_steps": 2,
                "threads": 1,
                "device": "cpu",
            },
        }
    },
    "patches": {"size_lr_px": 4, "stride_lr_px": 4},
}


def small_scene(height: int = 145, width: int = 145, seed: int = 0) -> Scene:
    """Five bands of smooth random values in [0, 1], similar but not equal, from green to near infrared."""
    rng = np.random.default_rng(seed)
    base = gaussian_filter(rng.random((height, width)), 2)
    cube = np.stack([base + 0.1 * gaussian_filter(rng.random((height, width)), 1) for _ in range(5)])
    cube = (cube - cube.min()) / (cube.max() - cube.min())
    return Scene(
        np.round(cube * 65535).astype(np.uint16),
        name="indian_pines",
        scale=1 / 65535,
        wavelengths_nm=np.array([540.0, 580.0, 660.0, 700.0, 820.0]),
        labels=rng.integers(0, 3, (height, width)).astype(np.uint8),
    )


@pytest.fixture
def small(tmp_path, monkeypatch) -> benchmark.Benchmark:
    """Benchmark indian_pines_x4 on a small synthetic scene; scene, pairs and patches are made."""
    monkeypatch.chdir(tmp_path)
    chosen = benchmark.resolve(Config.parse(CONFIG), "indian_pines_x4")
    small_scene().save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    for items in chosen.parts.values():
        for item in items:
            pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    return chosen


@pytest.fixture
def one_thread():
    """Use one thread: for small work, more threads only wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_blocks(monkeypatch):
    """Scenes of some thousand LR pixels are large."""
    from hsisr.models.prior import blocks, kriging

    monkeypatch.setattr(blocks, "_MOST_LR_PX", 1000)
    monkeypatch.setattr(blocks, "_BLOCK_LR_PX", 12)
    monkeypatch.setattr(blocks, "LEARNT_LR_PX", 16)
    monkeypatch.setattr(kriging, "_CELL_LR_PX", 20)


@pytest.fixture
def hybrid(tmp_path) -> Path:
    """A hybrid whose filters, network and agreement all change the result."""
    import torch

    from hsisr.inference import save_model
    from hsisr.models import registry
    from tests.unit.large_scene import BANDS, SCALE

    torch.manual_seed(0)
    chosen = {"width": 8, "blocks": 1, "components": 4}
    network = registry.build("hybrid", SCALE, BANDS, 3, chosen)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        network.last.weight.normal_(std=0.3)
        network.filters.copy_(torch.from_numpy(0.1 * rng.standard_normal(network.filters.shape)))
        network.strength.fill_(0.1)
        network.response[:, :BANDS] = torch.from_numpy(np.kron(np.eye(3), np.full(3, 1 / 3))[:, :BANDS])
        network.contradiction.fill_(1e-6)
    facts = {"base": "hybrid", "options": chosen, "scale": SCALE, "bands": BANDS, "guide_channels": 3}
    save_model(tmp_path / "hybrid.safetensors", network, {**facts, "wavelengths_nm": None})
    return tmp_path / "hybrid.safetensors"
