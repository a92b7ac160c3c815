"""Real pairs of a multispectral and a panchromatic image, from the raw files to results at both resolutions."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from tests.workflow.conftest import Project

PRESET = "workflow/presets/worldview2.yaml"
REDUCED = {"psnr", "ssim", "sam", "ergas", "rmse", "cc", "mae"}
FULL = {"consistency_lr", "consistency_guide", "d_lambda", "d_s", "qnr"}


def read(project: Project, name: str) -> dict:
    return json.loads((project.folder / f"results/{name}.json").read_text())


def rows(project: Project, dataset: str, part: str) -> set[int]:
    """Rows of the scene that a part of its split takes."""
    split = json.loads((project.folder / f"data/splits/{dataset}.json").read_text())
    return {row for item in split["parts"][part] for row in range(*item["region"][:2])}


def check_halves(project: Project, dataset: str) -> None:
    """What trains and validates lies above what tests, and no row is in both."""
    seen = rows(project, dataset, "train") | rows(project, dataset, "validation")
    tested = rows(project, dataset, "test")
    assert max(seen) + 16 < min(tested) and abs(len(seen) - len(tested)) <= 16


def test_worldview2_preset_at_reduced_and_full_resolution(project, extra_data):
    project.configure(scores_only=True)
    incoming = project.folder / "data/incoming/worldview2"
    incoming.mkdir(parents=True)
    (incoming / "imgWV2.mat").symlink_to(extra_data / "data/worldview2/imgWV2.mat")
    names = ["worldview2_x4", "worldview2_x4_full"]
    project.snakemake(*(f"results/{name}.json" for name in names), "--cores", "1", "--configfile", PRESET)
    reduced, full = (read(project, name) for name in names)
    check_halves(project, "worldview2")
    assert reduced["convention"] == "mulsr" and full["convention"] is None
    for results, keys in ((reduced, REDUCED), (full, FULL)):
        assert list(results["models"]) == ["bicubic", "gsa"]
        for model in results["models"].values():
            assert set(model["mean"]) == keys and None not in model["mean"].values()
    assert reduced["models"]["gsa"]["mean"]["psnr"] > reduced["models"]["bicubic"]["mean"]["psnr"] + 1
    assert full["models"]["gsa"]["mean"]["qnr"] < 1


@pytest.mark.slow
def test_roman_colosseum_of_the_published_size(project):
    write_rome(project.folder / "incoming")
    config = {
        "sources": {"roman_colosseum": "incoming"},
        "benchmarks": {
            f"roman_colosseum_x4{suffix}": {"models": ["bicubic", "gsa", "mulsr-demo"]} for suffix in ("", "_full")
        },
        "patches": {"size_lr_px": 6, "stride_lr_px": 6},
    }
    path = project.folder / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **config}, sort_keys=False))
    project.snakemake("--cores", "2")
    reduced, full = read(project, "roman_colosseum_x4"), read(project, "roman_colosseum_x4_full")
    check_halves(project, "roman_colosseum")
    for results, keys in ((reduced, REDUCED), (full, FULL)):
        for model in results["models"].values():
            assert set(model["mean"]) == keys and None not in model["mean"].values()
    html = (project.folder / "results/report/index.html").read_text()
    assert "roman_colosseum_x4_full" in html and "the sharp image that comes with each scene" in html


def write_rome(folder: Path) -> None:
    """A made-up scene in the published layout and sizes: 8 bands of 419 x 658 pixels, PAN of 1676 x 2632."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    detail = sum(gaussian_filter(rng.standard_normal((1676, 2632)), sigma) * sigma for sigma in (2, 8, 40))
    pan = np.clip(700 + 250 * detail, 1, 2047)
    low = pan.reshape(419, 4, 658, 4).mean(axis=(1, 3))
    bands = np.stack([low * gain + 30 * band for band, gain in enumerate(np.linspace(0.6, 1.3, 8))])
    for name, image, size_m in (("M2AS", bands, 2.0), ("P2AS", pan[None], 0.5)):
        profile = {
            "driver": "GTiff",
            "count": len(image),
            "height": image.shape[1],
            "width": image.shape[2],
            "dtype": "uint16",
            "crs": "EPSG:32633",
            "transform": Affine(size_m, 0, 291000, 0, -size_m, 4641000),
        }
        with rasterio.open(folder / f"10DEC10-{name}-052800000000_01_P001.TIF", "w", **profile) as file:
            file.write(np.clip(image, 0, 2047).astype(np.uint16))
