"""The half of the demo that has no guide: Spectral Mixup, with photographs as a second task."""

import json

import yaml

from tests.workflow.conftest import FEW_BANDS, ROOT

NAME = "indian_pines_x4_mixup"


def test_image_alone_with_virtual_spectra_and_photographs(scored_copy):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    training = {"max_steps": 12, "validate_every_steps": 6, "threads": 1, "schedule": {"kind": "constant"}}
    config["datasets"] = FEW_BANDS
    config["evaluation"] = {"runtime": False, "classification": False}
    training["objectives"] = {"mixup": {"count": 1}, "rgb": {"count": 1, "dataset": "rgb_photos"}}
    config["models"]["deepshare-demo"]["training"] |= training
    (scored_copy.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    scored_copy.snakemake(f"results/{NAME}.json", "--cores", "2")

    results = json.loads((scored_copy.folder / f"results/{NAME}.json").read_text())
    assert list(results["models"]) == ["bicubic", "deepshare-demo", "solo-demo"]
    assert (results["protocol"], results["convention"]) == ("mixup", "mixup")
    assert results["models"]["deepshare-demo"]["mean"]["psnr"] > 30
    bicubic, solo = (results["models"][name]["mean"] for name in ("bicubic", "solo-demo"))
    assert solo["psnr"] > bicubic["psnr"] and solo["sam"] < bicubic["sam"]
    assert len(list((scored_copy.folder / "data/scenes/rgb_photos").glob("*.h5"))) == 5
    assert (scored_copy.folder / "data/patches/rgb_photos_x4_mixup/train.h5").is_file()
