"""A scene of one's own and its guide, small, synthetic, as GeoTIFFs; and a network with random weights."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from hsisr.datasets.writers import export
from hsisr.inference import save_model
from hsisr.scene import Scene

SCALE = 4
CRS = "EPSG:32633"
TRANSFORM = (30.0, 0.0, 500_000.0, 0.0, -30.0, 5_800_000.0)
TURNED = (26.0, 15.0, 500_000.0, 15.0, -26.0, 5_800_000.0)
WAVELENGTHS_NM = (480.0, 560.0, 660.0, 840.0)


def sharp_cube(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Four smooth, correlated bands in [0.05, 0.95], float32."""
    rng = np.random.default_rng(seed)
    base = gaussian_filter(rng.random((3, height, width)), (0, 2, 2))
    base = (base - base.min()) / (base.max() - base.min())
    mix = rng.dirichlet(np.ones(3), 4)
    return (0.05 + 0.9 * np.tensordot(mix, base, axes=1)).astype(np.float32)


def scene_of(values: np.ndarray, transform: tuple = TRANSFORM, **facts) -> Scene:
    """Values as an integer product stores them: uint16, scale 1e-4."""
    stored = np.rint(values / 1e-4).astype(np.uint16)
    wavelengths = np.array(WAVELENGTHS_NM) if len(values) == 4 else None
    return Scene(stored, "own", 1e-4, wavelengths_nm=wavelengths, crs=CRS, transform=transform, **facts)


def finer(transform: tuple, scale: float = SCALE, rows: float = 0, columns: float = 0) -> tuple:
    """The transform of a grid `scale` times as fine, its corner at this LR row and column."""
    a, b, c, d, e, f = transform
    corner = (c + a * columns + b * rows, f + d * columns + e * rows)
    return (a / scale, b / scale, corner[0], d / scale, e / scale, corner[1])


def write_pair(folder: Path, height: int = 40, width: int = 36, transform: tuple = TRANSFORM, **facts) -> tuple:
    """Write lr.tif (4 bands) and guide.tif (3 channels) of the same ground; returns their paths and the sharp cube."""
    sharp = sharp_cube(height * SCALE, width * SCALE)
    low = sharp.reshape(4, height, SCALE, width, SCALE).mean(axis=(2, 4))
    export(scene_of(low, transform, **facts), folder / "lr.tif")
    export(scene_of(sharp[:3], finer(transform)), folder / "guide.tif")
    return folder / "lr.tif", folder / "guide.tif", sharp


def random_network(path: Path, base: str = "mulsr-xs", guide_channels: int = 3, seed: int = 0, **said) -> Path:
    """A model file with fresh weights that do something: without the skip connection nothing starts at 0."""
    import torch

    from hsisr.models import registry

    torch.manual_seed(seed)
    network = registry.build(base, SCALE, 4, guide_channels, {"skip": False})
    metadata = {"base": base, "options": {"skip": False}, "scale": SCALE, "bands": 4, "guide_channels": guide_channels}
    save_model(path, network, {**metadata, "wavelengths_nm": None, **said})
    return path
