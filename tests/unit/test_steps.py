"""Every step has one identity: what it reads changes it, nothing else does."""

import os
import re
import shutil
from pathlib import Path

import pytest

from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.pipeline import benchmark, steps
from hsisr.sources import PACKAGE, Sources

CONFIG = {
    "benchmarks": {"indian_pines_x4": {"models": ["bicubic", "gsa", "small", "hybrid"]}},
    "models": {"small": {"base": "mulsr", "width": 16, "blocks": 1}},
}


def all_steps(config: dict) -> dict[str, steps.Step]:
    """The steps of a benchmark, by name."""
    parsed = Config.parse(config)
    chosen = benchmark.resolve(parsed, "indian_pines_x4")
    return {
        "fetch": steps.fetching(parsed, "indian_pines"),
        "fetch cave": steps.fetching(parsed, "cave"),
        "convert": steps.conversion(parsed, "indian_pines"),
        "convert cave": steps.conversion(parsed, "cave"),
        "split": steps.splitting(parsed, "indian_pines"),
        "pairs": steps.pairing(chosen, "indian_pines-train"),
        "patches": steps.cutting(chosen),
        "train": steps.training(chosen, "small", 0),
        "train hybrid": steps.training(chosen, "hybrid", 0),
        "evaluate": steps.scoring(chosen, "small"),
        "evaluate gsa": steps.scoring(chosen, "gsa"),
        "runtime": steps.costing(chosen),
        "classify": steps.classifying(chosen),
        "merge": steps.merging(chosen),
        "report": steps.reporting(parsed, [chosen]),
    }


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package's sources, which the steps ask; returns a function that reads it anew."""
    shutil.copytree(PACKAGE.folder, tmp_path / "hsisr", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE.folder.parent / "csrc", tmp_path / "csrc")

    monkeypatch.setattr(steps, "PACKAGE", Sources(tmp_path / "hsisr"))
    monkeypatch.setattr(steps, "csrc_folder", lambda: tmp_path / "csrc")

    def read() -> dict[str, steps.Step]:
        steps.PACKAGE._hashes.clear()  # comments are all that is edited, so that imports are still the same ones
        found = all_steps(CONFIG)
        for step in found.values():
            step.digest  # noqa: B018  (kept by the step)
        return found

    return read


def changed(before: dict[str, steps.Step], after: dict[str, steps.Step]) -> set[str]:
    return {name for name in before if before[name].digest != after[name].digest}


def test_an_edit_of_any_module_changes_the_steps_that_can_reach_it(copy, tmp_path):
    """Every module in turn; the steps that change are those whose closure holds it, and no other."""
    before = copy()
    assert changed(before, copy()) == set()
    for module in PACKAGE.modules:
        path = tmp_path / PACKAGE.path(module).relative_to(PACKAGE.folder.parent)
        text = path.read_text()
        path.write_text(text + "# edited\n")
        expected = {name for name, step in before.items() if module in step.closure}
        assert changed(before, copy()) == expected, module
        path.write_text(text)


REACHED = {
    "hsisr/training/objectives/loss.py": {"train", "train hybrid"},
    "hsisr/models/hybrid/filters.py": {"train hybrid", "runtime"},
    "hsisr/models/two_stream.py": set(),
    "hsisr/models/classical/gsa.py": {"evaluate gsa", "runtime"},
    "hsisr/datasets/conversion.py": {"convert", "convert cave"},
    "hsisr/datasets/catalogue/cave.yaml": set(),  # a comment; what it says is a setting
    "hsisr/datasets/catalogue/cave.sha256": {"fetch cave"},
    "hsisr/degrade/responses/color_infrared.csv": {
        *("pairs", "patches", "train", "train hybrid", "evaluate", "evaluate gsa", "runtime", "report")
    },
    "hsisr/degrade/responses/nikon_d700.csv": set(),
    "hsisr/report/templates/style.css": {"report"},
    "hsisr/cli/steps.py": set(),
    "csrc/conv_scan.h": {"train", "evaluate", "runtime"},
}


@pytest.mark.parametrize("name", REACHED)
def test_an_edit_changes_what_uses_the_file(copy, tmp_path, name):
    before = copy()
    with open(tmp_path / name, "a") as file:
        file.write("# edited\n")
    found = changed(before, copy())
    assert REACHED[name] <= found <= REACHED[name] | ALLOWED.get(name, set())


#: Steps that a file reaches beside those that matter to the test.
ALLOWED = {
    "hsisr/datasets/conversion.py": set(all_steps(CONFIG)) - {"fetch", "fetch cave"},  # the split asks for sizes
}


def test_an_entry_of_the_catalogue_belongs_to_its_own_data_set(copy, tmp_path):
    before = copy()

    def edited(entry: str, old: str, new: str) -> set[str]:
        change = {"cave": {}, "indian_pines": {}}
        change[entry] = {old: new}
        config = CONFIG | {"datasets": {name: facts for name, facts in change.items() if facts}}
        return {name for name, step in all_steps(config).items() if step.digest != before[name].digest}

    assert edited("cave", "black_level", 3) == {"convert cave"}
    assert edited("indian_pines", "black_level", 3) == {"convert"}
    assert edited("indian_pines", "title", "A title.") == {"fetch", "convert", "report"}
    assert edited("indian_pines", "notes", "A note.") == set()


def test_settings_reach_the_steps_that_read_them(copy):
    before = copy()

    def edited(change: dict) -> set[str]:
        return {name for name, step in all_steps(CONFIG | change).items() if step.digest != before[name].digest}

    assert edited({"report": {"title": "x"}}) == {"report"}
    assert edited({"evaluation": {"classification": False}}) == {"merge"}
    assert edited({"patches": {"stride_lr_px": 3}}) == {"patches", "train", "train hybrid"}
    assert edited({"training": {"workers": 3, "save_every_seconds": 1}}) == set()
    scored = {"evaluate", "runtime", "classify", "merge"}
    assert edited({"training": {"learning_rate": 0.5}}) == {"train", "train hybrid", *scored}


def test_files_of_a_local_source_belong_to_its_fetch(tmp_path, monkeypatch):
    """Their content does, not their times: also of an archive, and of files that a person has put into place."""
    monkeypatch.chdir(tmp_path)
    raw = Path("data/raw/roman_colosseum")
    for folder in (Path("copy"), Path("own"), raw):
        folder.mkdir(parents=True)
        (folder / "a_M2AS.tif").write_bytes(b"one")
        (folder / "a_P2AS.tif").write_bytes(b"two")
    own = {"datasets": {"mine": {"path": "own"}}}

    def digests() -> list[str]:
        chosen = Config.parse({"sources": {"chikusei": "archive.zip", "roman_colosseum": "copy"}} | own)
        return [
            steps.fetching(chosen, "roman_colosseum").digest,
            steps.fetching(Config(), "roman_colosseum").digest,
            steps.fetching(chosen, "mine").digest,
            steps.fetching(chosen, "chikusei").digest,
        ]

    for place, file in enumerate((Path("copy/a_P2AS.tif"), raw / "a_P2AS.tif", Path("own/a_P2AS.tif"))):
        before = digests()
        os.utime(file, ns=(1, 1))
        assert digests() == before
        file.write_bytes(b"not")
        assert [now == then for now, then in zip(digests(), before, strict=True)] == [k != place for k in range(4)]
    before = digests()
    Path("archive.zip").write_bytes(b"PK\x05\x06")
    assert digests()[:3] == before[:3] and digests()[3] != before[3]


def test_the_source_of_the_environment_belongs_to_the_fetch(monkeypatch):
    before = steps.fetching(Config(), "cave").digest
    monkeypatch.setenv("HSISR_SOURCE_CAVE", "https://mirror.org/cave")
    after = steps.fetching(Config(), "cave").digest
    assert after != before
    assert steps.fetching(Config.parse({"sources": {"cave": "elsewhere"}}), "cave").digest == after


def test_inputs_name_every_file():
    found = all_steps(CONFIG)
    scene = "data/scenes/indian_pines/indian_pines.h5"
    assert found["train hybrid"].inputs["scenes"] == [scene] and "scenes" not in found["train"].inputs
    assert found["train"].inputs["patches"] == ["data/patches/indian_pines_x4/train.h5"]
    assert found["evaluate"].inputs["weights"] == ["runs/indian_pines_x4/small/seed0/model.safetensors"]
    assert found["evaluate gsa"].inputs["weights"] == []


def test_code_names_files_of_the_package():
    code = all_steps(CONFIG)["train"].code
    assert "hsisr/training/objectives/loss.py" in code and "csrc/conv_scan.h" in code
    assert not [name for name in code if Path(name).is_absolute() or "emulation" in name]


def test_a_prediction_names_all_files_of_its_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.hdr", "a.img", "a.img.aux.xml", "bands/B1.tif", "bands/deep/B2.tif", "bands/.hidden"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("ENVI")
    mine = {"lr": "a.hdr", "guide": "bands", "model": "gsa"}
    inputs = steps.predicting(Config.parse({"predict": {"mine": mine}}), "mine").inputs
    assert inputs["lr"] == ["a.hdr", "a.img"]
    assert inputs["guide"] == ["bands", "bands/B1.tif", "bands/deep/B2.tif"]


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ({"uncertainty": "a.tif"}, "predict.mine: a.tif: is the input a.tif"),
        ({"uncertainty": "./predictions/mine.tif"}, "is named for two outputs"),
        ({"uncertainty": "sigma.tif"}, "predict.mine: sigma.tif is a file of predict.other too"),
        ({"preview": "c.png"}, "predict.mine: c.png is a file of predict.other too"),
        ({"uncertainty": "predictions/other.tif"}, "is a file of predict.other too"),
        ({"uncertainty": "sigma.xyz"}, "predict.mine: sigma.xyz: no format '.xyz'"),
        ({"preview": "picture.gif"}, "predict.mine: picture.gif: a picture ends in"),
    ],
)
def test_a_prediction_does_not_write_over_another_one(tmp_path, monkeypatch, mine, said):
    monkeypatch.chdir(tmp_path)
    other = {"lr": "c.png", "model": "gsa", "uncertainty": "sigma.tif"}
    config = Config.parse({"predict": {"mine": {"lr": "a.tif", "model": "gsa", **mine}, "other": other}})
    with pytest.raises(HsisrError, match=re.escape(said)):
        steps.predicting(config, "mine")


def test_a_prediction_depends_on_the_code_of_all_that_it_writes():
    mine = {"lr": "a.tif", "guide": "b.tif", "model": "prior"}
    page = {"report": "quality.html"}
    plain, told = (
        steps.predicting(Config.parse({"predict": {"mine": {**mine, **more}}}), "mine").code for more in ({}, page)
    )
    of_prior = {path.relative_to(PACKAGE.folder).as_posix() for path in (PACKAGE.folder / "models/prior").glob("*.py")}
    assert of_prior <= {name.removeprefix("hsisr/") for name in plain}
    of_page = {"report/quality.py", "report/templates/quality.html.j2", "evaluation/quality/blocks.py"}
    assert of_page <= {name.removeprefix("hsisr/") for name in told}


def test_weights_that_come_with_the_package_belong_to_what_uses_them():
    scene = {"lr": "a.tif", "model": "solo"}
    chosen = {"one": {**scene, "scale": 2}, "any": scene, "none": {**scene, "model": "bicubic"}}
    config = Config.parse({"predict": chosen, "sweeps": {"mine": {"scene": "a.tif", "models": ["solo"], "scale": 4}}})

    def weights(step: steps.Step) -> set[str]:
        return {name.rpartition("/")[2] for name in step.code if name.endswith(".safetensors")}

    assert weights(steps.predicting(config, "one")) == {"solo_x2.safetensors"}
    assert weights(steps.predicting(config, "any")) > {"solo_x2.safetensors", "solo_x4.safetensors"}
    assert weights(steps.predicting(config, "none")) == set()
    assert weights(steps.sweeping(config.sweeps["mine"])) == {"solo_x4.safetensors"}


@pytest.mark.parametrize("before", ["", "./", ".//", "{here}/", "{link}/", "../{name}/", "runs/../"])
def test_a_prediction_may_be_made_of_another_one(tmp_path, monkeypatch, before):
    """Snakemake knows the file that another rule makes by one name alone."""
    (tmp_path / "project/runs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    before = before.format(here=tmp_path / "project", link=tmp_path / "link", name="project")
    first, run = "predictions/first.tif", "runs/cave_x8/mulsr/seed0"
    chain = {
        "first": {"lr": f"{tmp_path}/a.tif", "model": "gsa"},
        "second": {"lr": before + first, "guide": before + first, "model": before + run},
    }
    config = Config.parse({"predict": chain, "sweeps": {"s": {"scene": before + first, "models": [before + run]}}})
    model = f"{run}/model.safetensors"
    assert steps.predicting(config, "first").inputs["lr"] == [str(tmp_path / "a.tif")]
    assert steps.predicting(config, "second").inputs == {"lr": [first], "guide": [first], "model": [model]}
    assert steps.sweeping(config.sweeps["s"]).inputs == {"scene": [first], "models": [model]}
    with pytest.raises(HsisrError, match="a copy of the run outside runs/ is used as it is"):
        benchmark.check(Config.parse({"predict": {"it": {"lr": "a", "model": f"{before}runs/no_x8/mulsr/seed0"}}}))


def test_a_prediction_names_its_options_and_files():
    config = Config.parse({"predict": {"mine": {"lr": "a.tif", "guide": "b.tif", "model": "bicubic", "align": True}}})
    step = steps.predicting(config, "mine")
    assert step.inputs == {"lr": ["a.tif"], "guide": ["b.tif"], "model": []}
    assert step.settings["lr"] == "a.tif" and step.settings["align"] is True and step.settings["tile"] is None
    other = Config.parse({"predict": {"mine": {"lr": "a.tif", "guide": "b.tif", "model": "bicubic"}}})
    assert steps.predicting(other, "mine").settings != step.settings
