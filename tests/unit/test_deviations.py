"""The table of deviations from the papers (docs/networks.md): a test holds every row, and the literal forms exist."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from hsisr import datasets
from hsisr.config import load
from hsisr.pipeline import benchmark

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "workflow/presets"


def rows() -> list[list[str]]:
    """The cells of every row of the table that says something."""
    page = (ROOT / "docs/networks.md").read_text()
    section = page[page.index("## Deviations from the papers") :]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if len(row) == 6]


def test_table_is_there():
    assert len(rows()) >= 20


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].replace(" ", "-"))
def test_row_names_a_reason_and_a_test_that_exists(row):
    what, published, here, why, literal, held = row
    assert all((what, published, here, why, literal)) and published != here
    file, _, name = re.fullmatch(r"`(tests/unit/test_\w+\.py)(::)(test_\w+)`", held).groups()
    assert f"def {name}(" in (ROOT / file).read_text(), held


def test_harvard_without_its_mask(tmp_path):
    from tests.data import make_fakes

    ref, lbl = make_fakes.harvard("img1")
    raw = tmp_path / "files"
    raw.mkdir()
    savemat(raw / "img1.mat", {"ref": np.moveaxis(ref, 0, -1), "lbl": lbl})
    own = {"harvard": {"reader_options": {"variable": "ref"}, "scenes": ["img1"]}}
    datasets.fetch("harvard", tmp_path / "raw", source=str(raw), progress=False, extra=own)
    assert datasets.convert("harvard", "img1", tmp_path / "raw", tmp_path / "img1.h5", extra=own).mask is None


@pytest.mark.parametrize(("name", "counts"), [("paper-mixup", (6, 2, 3)), ("paper-mixup-2021", (3, 1, 3))])
def test_presets_have_the_published_counts(name, counts):
    config = load(PRESETS / f"{name}.yaml")
    benchmark.check(config)
    for dataset, labelled in (("cave", 5), ("harvard", 10), ("ntire2020", 105)):
        chosen = benchmark.resolve(config, f"{dataset}_x4_mixup")
        training = chosen.model("deepshare").training
        objectives = training.objectives
        assert (objectives.rgb.count, objectives.mixup.count, objectives.unlabelled.count) == counts
        assert objectives.unlabelled.response == "cie1964@index" and training.patches_per_epoch == 3396
        assert len(chosen.parts["train"]) == labelled and training.select == "last"
        assert not chosen.patches.to_border


def test_preset_of_mulsr_takes_the_literal_forms_that_are_no_faults():
    config = load(PRESETS / "paper-mulsr.yaml")
    benchmark.check(config)
    cave, harvard = (benchmark.resolve(config, name) for name in ("cave_x8", "harvard_x16"))
    assert len(cave.parts["train"]) + len(cave.parts["validation"]) == 26 and len(cave.parts["test"]) == 6
    assert harvard.response == "nikon_d700@index" and cave.response == "nikon_d700"
    patches = benchmark.resolve(config, "roman_colosseum_x4").patches
    assert (patches.places, patches.crops_per_scene) == ("random", 64)
    literal = benchmark.resolve(config, "cave_x8_mulsr-literal")
    assert literal.rule.random_training and literal.parts == cave.parts
