"""Benchmarks on a data set of the user's own: scenes that do not go together, and protocols that make a guide."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsisr import datasets, degrade
from hsisr.cli import steps as cli_steps
from hsisr.config import Config
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.evaluation import evaluate_model
from hsisr.files import file_hash
from hsisr.pipeline import benchmark, pair_files, patch_files, paths
from hsisr.pipeline.patch_files import PatchFile
from hsisr.scene import Scene
from hsisr.training import train_one
from tests.unit import own_scene
from tests.unit.conftest import CONFIG, small_scene

TINY = {"base": "two-stream", "training": CONFIG["models"]["tiny"]["training"] | {"max_steps": 2}}


def own(folder: Path, scenes: Mapping[str, Scene], name: str = "field_x4", **choice: object) -> benchmark.Benchmark:
    """A benchmark on scenes of the user's own, as they are after the conversion."""
    for scene_name, scene in scenes.items():
        scene.save(folder / f"field/{scene_name}.h5")
        scene.save(folder / paths.SCENE.format(dataset="field", scene=scene_name))
    config = CONFIG | {
        "datasets": {"field": {"path": "field"}},
        "benchmarks": {name: {"models": ["bicubic", "tiny"], **choice}},
        "models": {"tiny": TINY},
    }
    return benchmark.resolve(Config.parse(config), name)


def make_pairs(chosen: benchmark.Benchmark) -> None:
    for items in chosen.parts.values():
        for item in items:
            pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))


def five(odd: str = "", bands: int = 5, shift_nm: float = 0.0) -> dict[str, Scene]:
    """Scenes a to e: c validates, e tests, the others train. odd: names of those that have other bands."""
    scenes = {name: replace(small_scene(48, 48, seed), name=name) for seed, name in enumerate("abcde")}
    for name in odd:
        part = scenes[name].bands(range(bands))
        scenes[name] = replace(part, wavelengths_nm=part.wavelengths_nm + shift_nm)
    return scenes


def run(chosen: benchmark.Benchmark) -> None:
    """All steps of a benchmark."""
    make_pairs(chosen)
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    train_one(chosen, chosen.model("tiny"), 0)
    evaluate_model(chosen, "tiny", "test")


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        ("b", "scene b: has 4 bands, and scene a 5; a network learns one set of bands"),
        ("c", "validation, c: has 4 bands, and the training patches 5"),
        ("e", "scene e: has 4 bands, and tiny 5"),
    ],
)
def test_a_scene_of_another_number_of_bands_is_named(tmp_path, monkeypatch, one_thread, odd, fault):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HsisrError, match=fault):
        run(own(tmp_path, five(odd, bands=4)))


def test_scenes_of_other_wavelengths_are_named(tmp_path, monkeypatch, one_thread, capsys):
    monkeypatch.chdir(tmp_path)
    run(own(tmp_path, five("bce", shift_nm=-100.0)))
    said = capsys.readouterr().err
    assert said.count("band centres lie") == 3
    assert "scene b: its band centres lie up to 100 nm from those of scene a" in said
    assert "validation, c: its band centres lie up to 100 nm from those of the training patches" in said
    assert "scene e: its band centres lie up to 100 nm from those of tiny" in said


def test_crops_of_scenes_of_several_numbers_of_bands_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = own(tmp_path, five("d", bands=4), "field_x4_mulsr")
    with pytest.raises(HsisrError, match="scene d: has 4 bands, and scene a 5"):
        patch_files.make(chosen, chosen.path(paths.PATCHES))


def test_the_first_scenes_alone_teach_where_that_is_wanted(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    chosen = own(tmp_path, five())
    make_pairs(chosen)
    whole = patch_files.make(chosen, chosen.path(paths.PATCHES))
    patches = PatchFile(chosen.path(paths.PATCHES), scenes=1)
    assert len(patches) == whole / 3 and {patches.scene_of(k) for k in range(whole)} == {"a"}

    def learn(self, pairs, seed):
        raise HsisrError(" ".join(name for name, _ in pairs))

    monkeypatch.setattr("hsisr.models.hybrid.Hybrid.prepare_training", learn)
    training = chosen.model("tiny").training.model_copy(update={"labelled_scenes": 2})
    with pytest.raises(HsisrError, match="^a b$"):
        train_one(chosen, replace(chosen.model("tiny"), base="hybrid", options={}, training=training), 0)


@pytest.mark.parametrize(("choice", "channels"), [({}, 3), ({"response": "none", "models": ["bicubic"]}, 0)])
def test_crops_of_a_set_that_names_no_response_have_the_guide_of_the_protocol(tmp_path, monkeypatch, choice, channels):
    monkeypatch.chdir(tmp_path)
    chosen = own(tmp_path, five(), "field_x4_mulsr", **choice)
    make_pairs(chosen)
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    patches = PatchFile(chosen.path(paths.PATCHES), augment=False)
    guide = pair_files.read(chosen.path(paths.PAIR, item="a")).guide
    assert patches.guide_channels == (0 if guide is None else len(guide)) == channels
    if guide is not None:
        sample = patches[0]
        matrix = degrade.scene_response(small_scene(48, 48), "nikon_d700")
        np.testing.assert_allclose(sample.guide, degrade.apply_response(matrix, sample.hr), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("protocol", "fault"), [("wald", "on average, and those of a benchmark lie in"), ("mulsr", "clips the LR")]
)
def test_scenes_of_another_unit_are_refused_before_anything_is_made_of_them(tmp_path, monkeypatch, protocol, fault):
    monkeypatch.chdir(tmp_path)
    scenes = {name: replace(scene, scale=255 / 65535) for name, scene in five().items()}
    chosen = own(tmp_path, scenes, f"field_x4_{protocol}")
    with pytest.raises(HsisrError, match=f"scene a: .*{fault}.*`scale` of the data set"):
        make_pairs(chosen)
    if chosen.draws_crops:
        with pytest.raises(HsisrError, match="scene a: .* on average"):
            patch_files.make(chosen, chosen.path(paths.PATCHES))


def test_a_guide_of_another_unit_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenes = five()
    for name, scene in scenes.items():
        guide = Scene(scene.stored[:1].repeat(4, 1).repeat(4, 2), "pan", scale=1 if name == "b" else scene.scale)
        scenes[name] = replace(scene, guide=guide)
    with pytest.raises(
        HsisrError, match=r"the guide of scene b: .* on average, .* `guide: {scale: ...}` of the data set"
    ):
        make_pairs(own(tmp_path, scenes))


def test_files_of_other_settings_are_refused(tmp_path, monkeypatch, one_thread):
    """By hand: patches of pairs, a training with validation pairs, and pairs of scenes, that other settings made."""
    monkeypatch.chdir(tmp_path)
    chosen = own(tmp_path, five())
    make_pairs(chosen)
    noisy = own(tmp_path, {}, noise=0.01)
    with pytest.raises(HsisrError, match=r"pairs/field_x4/a.h5: made with other settings .* by `hsisr pairs`"):
        patch_files.make(noisy, noisy.path(paths.PATCHES))
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    pair_files.make(noisy, "c", noisy.path(paths.PAIR, item="c"))
    with pytest.raises(HsisrError, match=r"pairs/field_x4/c.h5: made with other settings"):
        train_one(chosen, chosen.model("tiny"), 0)
    identity = {"settings": {"scale": 0.5}}
    Scene.open("field/e.h5").save(paths.SCENE.format(dataset="field", scene="e"), identity)
    with pytest.raises(HsisrError, match=r"scenes/field/e.h5: made with other settings .* by `hsisr convert`"):
        pair_files.make(chosen, "e", chosen.path(paths.PAIR, item="e"))


def test_files_of_another_region_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own(tmp_path, five())

    def tested(rows: list[int]) -> benchmark.Benchmark:
        split = {"train": ["a"], "validation": ["b"], "test": [{"scene": "c", "region": [*rows, 0, 48]}]}
        content = {"field": {"path": "field", "splits": {"mine": split}}}
        config = {"datasets": content, "benchmarks": {"field_x4": {"models": ["bicubic"]}}}
        return benchmark.resolve(Config.parse(config), "field_x4")

    upper, lower = tested([0, 32]), tested([16, 48])
    pair_files.make(upper, "c-test", upper.path(paths.PAIR, item="c-test"))
    evaluate_model(upper, "bicubic", "test")
    with pytest.raises(HsisrError, match=r"pairs/field_x4/c-test.h5: made with other settings"):
        evaluate_model(lower, "bicubic", "test")


def test_scenes_of_another_folder_than_was_fetched_are_refused(tmp_path, monkeypatch):
    """By hand: after an edit of `path`, the scenes of the folder before would be converted."""
    monkeypatch.chdir(tmp_path)

    def config(folder: str) -> list[Path]:
        Path("config.yaml").write_text(f"datasets: {{field: {{path: {folder}}}}}")
        return [Path("config.yaml")]

    for folder in ("before", "now"):
        small_scene().save(tmp_path / folder / "a.h5")
    cli_steps.fetch("field", config("before"))
    cli_steps.convert("field", "a", config("before"))
    with pytest.raises(HsisrError, match="field: was fetched from before, not from now; run `hsisr fetch field` first"):
        cli_steps.convert("field", "a", config("now"))
    cli_steps.fetch("field", config("now"))
    cli_steps.convert("field", "a", config("now"))


def test_weights_that_were_adapted_to_a_test_scene_are_refused(tmp_path, monkeypatch):
    """A scene is known by all its files: the headers of two scenes may be equal."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        export(Scene(own_scene.sharp_cube(16, 16, ord(name)), "scene"), tmp_path / f"field/{name}.hdr")
    assert Path("field/a.hdr").read_bytes() == Path("field/b.hdr").read_bytes()
    split = {"train": ["a"], "validation": ["c"], "test": ["b"]}
    field = {"path": "field", "splits": {"mine": split}, "default_split": "mine"}
    config = {"datasets": {"field": field}, "models": {"tiny": {"base": "mulsr-xs", "weights": "adapted.safetensors"}}}
    datasets.fetch("field", Path(paths.RAW.format(dataset="field")).parent, extra=config["datasets"])
    for name, said in (("a", "no such pair file"), ("b", "weights: learnt from b, which field_x4 tests")):
        adapted = [file_hash(f"field/{name}.{ending}") for ending in ("hdr", "img")]
        own_scene.random_network(Path("adapted.safetensors"), adapted_to_sha256=adapted)
        chosen = benchmark.resolve(
            Config.parse(config | {"benchmarks": {"field_x4": {"models": ["tiny"]}}}), "field_x4"
        )
        with pytest.raises(HsisrError, match=said):
            train_one(chosen, chosen.model("tiny"), 0)
