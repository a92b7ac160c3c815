"""A network in the user's own file goes through training, table, report and prediction by configuration only."""

import json

import pytest
import yaml

from hsisr.files import file_hash
from tests.unit import own_scene

NAME = "indian_pines_x4"
RUN = f"runs/{NAME}/mine/seed0"
NETWORK = """
import torch
from torch import nn

from blocks import Detail


class Net(nn.Module):
    def __init__(self, bands, guide_channels, scale, width: int = 16):
        super().__init__()
        self.up = nn.Upsample(scale_factor=scale, mode="bicubic")
        self.detail = Detail(bands + guide_channels, width, bands)

    def forward(self, lr, guide):
        up = self.up(lr)
        return up + self.detail(torch.cat([up, guide], 1))
"""
BLOCKS = """
from torch import nn


class Detail(nn.Sequential):
    def __init__(self, inside, width, out):
        super().__init__(nn.Conv2d(inside, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, out, 1))
"""


def configure(project, base: str = "mynet:Net", **more) -> None:
    path = project.folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["benchmarks"] = {NAME: {"models": ["bicubic", "mine"]}}
    training = {
        "epochs": None,
        "max_steps": 8,
        "batch_size": 2,
        "validate_every_steps": 4,
        "threads": 1,
        "device": "cpu",
    }
    config["models"] = {"mine": {"base": base, "width": 8, "seeds": [0], "training": training}}
    path.write_text(yaml.safe_dump(config | more, sort_keys=False))


@pytest.fixture
def own(finished_copy):
    (finished_copy.folder / "mynet.py").write_text(NETWORK)
    (finished_copy.folder / "blocks.py").write_text(BLOCKS)
    configure(finished_copy)
    return finished_copy


def test_by_configuration_alone(own):
    own.snakemake("--cores", "2")
    results = json.loads((own.folder / f"results/{NAME}.json").read_text())
    mine = results["models"]["mine"]
    assert (mine["base"], mine["options"], mine["training_steps"]) == ("mynet:Net", {"width": 8}, 8)
    assert mine["parameters"] > 0 and mine["mean"]["psnr"] > 10 and mine["classification"]
    assert mine["flops_per_value"] > 0 and mine["timing"]["seconds_per_megapixel_band"] > 0
    assert "mine" in own.hsisr("table").stdout
    page = (own.folder / "results/report/index.html").read_text()
    assert "mine" in page and ",mine,mynet:Net," in (own.folder / "results/report/scores.csv").read_text()
    assert own.planned() == {}

    weights = file_hash(own.folder / f"{RUN}/model.safetensors")
    blocks = own.folder / "blocks.py"
    blocks.write_text(BLOCKS.replace("nn.ReLU()", "nn.Tanh()"))
    jobs = own.planned()
    assert jobs == {"train": 1, "evaluate": 1, "runtime": 1, "classify": 1, "merge": 1, "report": 1}
    said = own.hsisr("evaluate", NAME, "mine", check=False).stdout
    assert "trained with other settings or code (code: blocks.py); train again" in said
    own.hsisr("train", NAME, "mine")
    assert file_hash(own.folder / f"{RUN}/model.safetensors") != weights

    own_scene.write_pair(own.folder, 24, 20)
    said = own.hsisr("predict", "lr.tif", "--guide", "guide.tif", "--model", RUN, "-o", "sr.tif", check=False).stdout
    assert "mynet:Net was trained for 25" in said  # so it is built; these images have other bands

    (own.folder / "config.yaml").write_text("{}\n")
    done = own.hsisr("predict", "lr.tif", "--model", RUN, "-o", "sr.tif", check=False)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 1
    assert "mynet:Net: a class of somebody's own, which is not imported on the word of a model file" in done.stdout


def test_without_its_file(own):
    (own.folder / "mynet.py").unlink()
    done = own.snakemake("-n", check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("hsisr: error: ")]
    assert done.returncode == 1 and len(lines) == 1 and "Traceback" not in done.stdout
    assert "models.mine.base: mynet:Net: there is no module mynet in " in lines[0]


def test_on_several_processes(own):
    """The processes that share a batch find the class, too."""
    configure(own, training={"devices": 2})
    own.hsisr("train", NAME, "mine")
    assert (own.folder / f"{RUN}/model.safetensors").is_file()
