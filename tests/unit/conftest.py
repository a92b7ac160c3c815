"""A small benchmark with its files in a temporary folder."""

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
