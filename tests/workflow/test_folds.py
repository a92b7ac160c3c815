"""A study with folds, on scenes of its own and with a network of its own, by configuration alone."""

import json

import numpy as np
import yaml

from tests.unit.conftest import small_scene
from tests.workflow.test_own_network import BLOCKS, NETWORK

TRAINING = {"epochs": None, "max_steps": 4, "batch_size": 2, "validate_every_steps": 2, "threads": 1, "device": "cpu"}


def test_two_folds_give_mean_and_spread(project):
    """The split, the runs, the table, the results and the report."""
    folder = project.folder
    (folder / "mynet.py").write_text(NETWORK)
    (folder / "blocks.py").write_text(BLOCKS)
    (folder / "raw").mkdir()
    for number in range(4):
        np.save(folder / f"raw/s{number}.npy", small_scene(32, 32, seed=number).stored)
    facts = {"path": "raw", "reader_options": {"axes": "BHW"}, "scale": "1/65535",
             "wavelengths_nm": [540, 580, 660, 700, 820]}  # fmt: skip
    config = {
        "datasets": {"mine": facts},
        "benchmarks": {"mine_x4": {"models": ["own"], "folds": 2}},
        "models": {"own": {"base": "mynet:Net", "width": 4, "training": TRAINING}},
        "patches": {"size_lr_px": 4, "stride_lr_px": 4},
        "evaluation": {"runtime": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    jobs = project.planned()
    assert jobs == {"fetch": 1, "convert": 4, "split": 1, "pairs": 4, "patches": 2, "train": 2, "evaluate": 2,
                    "merge": 3, "report": 1}  # fmt: skip
    project.snakemake("--cores", "2")
    assert project.planned() == {}

    results = json.loads((folder / "results/mine_x4.json").read_text())
    tested = [fold["test"] for fold in results["folds"].values()]
    assert sorted(name for names in tested for name in names) == [f"s{number}" for number in range(4)]
    for name, model in results["models"].items():
        parts = [json.loads((folder / f"results/mine_x4-fold{number}.json").read_text()) for number in (1, 2)]
        psnr = [part["models"][name]["mean"]["psnr"] for part in parts]
        assert np.isclose(model["mean"]["psnr"], np.mean(psnr))
        assert np.isclose(model["fold_std"]["psnr"], np.std(psnr, ddof=1))
        assert model["fold_std"]["psnr"] > 0
    spread = f"{results['models']['own']['fold_std']['psnr']:.2f}"
    assert f"\u00b1 {spread}" in project.hsisr("table").stdout
    page = (folder / "results/report/index.html").read_text()
    assert spread in page and "Mean scores over 2 folds" in page and "2, dealt with seed 0" in page

    config["benchmarks"]["mine_x4"]["fold_seed"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    jobs = project.planned()
    assert jobs["train"] == 2 and not {"fetch", "convert", "pairs"} & set(jobs)
