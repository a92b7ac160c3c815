"""Spectral Mixup through configuration, patch files and training runs, on small synthetic scenes."""

import numpy as np
import pytest
import torch

from hsisr import degrade, inference
from hsisr.config import Config
from hsisr.errors import HsisrError
from hsisr.files import read_json
from hsisr.pipeline import benchmark, pair_files, patch_files, paths, steps
from hsisr.pipeline.patch_files import PatchFile
from hsisr.samples import Sample, orient
from hsisr.scene import Scene
from hsisr.training import engine, train_one
from tests.unit.conftest import small_scene

BANDS, SCALE, SIZE = 9, 2, 4
NAME = "indian_pines_x2_mixup"
TRAINING = {
    "epochs": None,
    "max_steps": 12,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "validate_every_steps": 6,
    "augment": "dihedral",
    "total_variation": {"space": 1e-3, "bands": 2e-3},
    "objectives": {"mixup": {"count": 2}, "rgb": {"count": 1}, "unlabelled": {"count": 1}},
    "threads": 1,
    "device": "cpu",
}
CONFIG = {
    "benchmarks": {NAME: {"models": ["bicubic", "tiny"]}},
    "models": {"tiny": {"base": "deepshare-s", "width": 16, "training": TRAINING}},
    "patches": {"size_lr_px": SIZE, "stride_lr_px": SIZE, "crops_per_scene": 10},
    "scenes": {"rgb_photos": ["astronaut", "coffee"]},
    "datasets": {
        "indian_pines": {
            "splits": {
                "regions": {
                    "train": [
                        {"scene": "indian_pines", "name": "one", "region": [0, 16, 0, 24]},
                        {"scene": "indian_pines", "name": "two", "region": [16, 32, 0, 16]},
                    ],
                    "validation": [{"scene": "indian_pines", "name": "three", "region": [32, 48, 0, 16]}],
                    "test": [{"scene": "indian_pines", "name": "four", "region": [48, 64, 0, 16]}],
                    "unlabelled": [{"scene": "indian_pines", "name": "five", "region": [64, 80, 0, 32]}],
                }
            }
        }
    },
}


def spectral_scene() -> Scene:
    """Nine bands over the visible range."""
    scene = small_scene()
    stored = np.concatenate([scene.stored, scene.stored[:4] // 2])
    return Scene(stored, scene.name, scene.scale, wavelengths_nm=np.linspace(420, 680, BANDS))


@pytest.fixture
def mixup(tmp_path, monkeypatch) -> benchmark.Benchmark:
    """The benchmark with all that its training needs."""
    monkeypatch.chdir(tmp_path)
    chosen = benchmark.resolve(Config.parse(CONFIG), NAME)
    spectral_scene().save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    for name in ("astronaut", "coffee"):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (3, 20, 30), dtype=np.uint8)
        Scene(pixels, name, scale=1 / 255).save(paths.SCENE.format(dataset="rgb_photos", scene=name))
    for items in chosen.parts.values():
        for item in items:
            pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    patch_files.make(chosen, chosen.path(paths.UNLABELLED), "unlabelled")
    photographs = chosen.photographs("tiny")
    patch_files.make(photographs, photographs.path(paths.PATCHES))
    return chosen


def changed(**training) -> Config:
    """The configuration with the network trained otherwise."""
    models = {"tiny": {**CONFIG["models"]["tiny"], "training": TRAINING | training}}
    return Config.parse(CONFIG | {"models": models})


def test_patches_are_cut_first_and_degraded_then(mixup):
    file = PatchFile(mixup.path(paths.PATCHES), augment=False)
    pair = pair_files.read(mixup.path(paths.PAIR, item="one"))
    assert len(file) == 2 * 3 + 2 * 2
    whole = [pair.lr[:, r : r + SIZE, c : c + SIZE].tobytes() for r in (0, 4) for c in (0, 4, 8)]
    for sample in (file[k] for k in range(len(file))):
        np.testing.assert_allclose(sample.lr, degrade.imresize(sample.hr, 1 / SCALE), rtol=0, atol=1e-6)
        assert sample.lr.tobytes() not in whole and sample.guide is None


def test_unlabelled_patches_hold_no_hr_image(mixup):
    file = PatchFile(mixup.path(paths.UNLABELLED), augment="dihedral")
    assert len(file) == 8 * 8 and file.names == ["five"]
    assert all(file[k].hr is None and file[k].lr.shape == (BANDS, SIZE, SIZE) for k in range(len(file)))
    import h5py

    with h5py.File(mixup.path(paths.UNLABELLED)) as content:
        assert not {"hr", "guide", "scenes"} & set(content)


def test_photographs_are_drawn_at_random_and_stay_in_their_stored_type(mixup):
    photographs = mixup.photographs("tiny")
    assert photographs.name == "rgb_photos_x2_mixup" and photographs.models == {}
    file = PatchFile(photographs.path(paths.PATCHES), augment="dihedral")
    assert len(file) == 2 * 10 and (file.bands, file.guide_channels) == (3, 0)
    samples = [file[k] for k in range(len(file))]
    for sample in samples:
        np.testing.assert_allclose(sample.lr, degrade.imresize(sample.hr, 1 / SCALE), rtol=0, atol=1e-6)
        assert np.allclose(sample.hr * 255, np.round(sample.hr * 255), atol=1e-4)
    assert len({sample.hr.tobytes() for sample in samples}) > 15
    np.testing.assert_array_equal(file[3].hr, samples[3].hr)


def test_photographs_under_a_protocol_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    Scene(pixels, "coffee").save(paths.SCENE.format(dataset="rgb_photos", scene="coffee"))
    settings = {"psf": {"kind": "mean"}}
    content = CONFIG | {"benchmarks": {}, "protocols": {"mine": settings}, "scenes": {"rgb_photos": ["coffee"]}}
    chosen = benchmark.resolve(Config.parse(content), "rgb_photos_x2_mine")
    patch_files.make(chosen, "photos.h5")
    sample = PatchFile("photos.h5", augment=False)[0]
    mean = sample.hr.reshape(3, SIZE, SCALE, SIZE, SCALE).mean((2, 4))
    np.testing.assert_allclose(sample.lr, mean, rtol=0, atol=1e-6)


def test_every_epoch_visits_every_patch_in_its_eight_orientations(mixup):
    plain = PatchFile(mixup.path(paths.PATCHES), augment=False)
    file = PatchFile(mixup.path(paths.PATCHES), seed=3, augment="dihedral")
    assert len(file) == 8 * len(plain)
    expected = {orient(plain[k], o).hr.tobytes() for k in range(len(plain)) for o in range(8)}
    for epoch in range(2):
        found = [file[epoch * len(file) + k].hr.tobytes() for k in range(len(file))]
        assert len(set(found)) == len(found) and set(found) == expected
    assert {file.scene_of(k) for k in range(len(file))} == {"one", "two"}


def test_orientations_are_the_eight_of_the_square():
    index = np.arange(9.0).reshape(1, 3, 3)
    sample = Sample(index, None, np.kron(index, np.ones((1, 2, 2))))
    seen = [orient(sample, orientation) for orientation in range(8)]
    assert len({s.lr.tobytes() for s in seen}) == 8
    np.testing.assert_array_equal(seen[0].lr, index)
    assert all(np.array_equal(s.hr, np.kron(s.lr, np.ones((1, 2, 2)))) for s in seen)


@pytest.mark.parametrize("part", ["labelled", "photographs"])
def test_first_scenes_only(mixup, part):
    path = mixup.path(paths.PATCHES) if part == "labelled" else mixup.photographs("tiny").path(paths.PATCHES)
    file = PatchFile(path, augment=False, scenes=1)
    assert len(file) == {"labelled": 6, "photographs": 10}[part]
    assert {file.scene_of(k) for k in range(len(file))} == {file.names[0]}
    with pytest.raises(HsisrError, match="holds 2 scenes, fewer than labelled_scenes: 3"):
        PatchFile(path, scenes=3)


def test_run_takes_its_steps_in_the_published_order_and_leaves_objectives_out_when_they_end(mixup, monkeypatch):
    order = []
    record = engine.Run._record
    monkeypatch.setattr(
        engine.Run, "_record", lambda run, taken: (order.extend(name for name, _ in taken), record(run, taken))
    )
    epoch = 20 / 2  # batches of 2 out of the 2 x 10 photographs, which run out first
    objectives = {"mixup": {"count": 2}, "rgb": {}, "unlabelled": {"stop_epoch": 2 / epoch}}
    config = changed(max_steps=None, epochs=3 / epoch, objectives=objectives)
    chosen = benchmark.resolve(config, NAME)
    folder = train_one(chosen, chosen.model("tiny"), seed=0)
    whole = ["labelled", "mixup", "mixup", "rgb", "unlabelled"]
    assert order == whole * 2 + whole[:4]
    summary = read_json(folder / "train.json", "training")
    assert summary["steps"] == 14 and summary["epochs"] == pytest.approx(0.3)


def test_one_step_on_the_sum(mixup):
    config = changed(objectives=TRAINING["objectives"] | {"step": "together"}, max_steps=3)
    chosen = benchmark.resolve(config, NAME)
    folder = train_one(chosen, chosen.model("tiny"), seed=0)
    assert read_json(folder / "train.json", "training")["epochs"] == pytest.approx(3 / 10)


def test_stopped_and_resumed_equals_uninterrupted(mixup, monkeypatch):
    model = mixup.model("tiny")
    folder = train_one(mixup, model, seed=1)
    taught = inference.read_metadata(folder)["trained_on"]["items"]
    assert [item["name"] for item in taught] == ["one", "two", "five", "three"]  # LR-only images teach too
    expected = (folder / "model.safetensors").read_bytes()
    network = inference.load_model(folder)
    assert not torch.equal(network.final_RGB.weight, torch.zeros_like(network.final_RGB.weight))
    assert not (folder / "state/last.pt").exists()
    (folder / "model.safetensors").unlink()
    train_on = engine.Run._train_on_batch

    def stopping(run):
        train_on(run)
        if run.batch == 1:
            run._save()
            raise KeyboardInterrupt

    monkeypatch.setattr(engine.Run, "_train_on_batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_one(mixup, model, seed=1)
    monkeypatch.setattr(engine.Run, "_train_on_batch", train_on)
    train_one(mixup, model, seed=1)
    assert (folder / "model.safetensors").read_bytes() == expected


def test_loss_that_is_no_number_names_its_objective(mixup, monkeypatch):
    from hsisr.training.objectives import RgbTask

    losses = RgbTask.losses
    monkeypatch.setattr(RgbTask, "losses", lambda *args: (loss * float("nan") for loss in losses(*args)))
    with pytest.raises(HsisrError, match=r"the loss became nan at step 3, in the objective rgb"):
        train_one(mixup, mixup.model("tiny"), seed=0)


def test_settings_of_a_run_follow_the_objectives_and_the_photographs():
    def settings(**change):
        return steps.training(benchmark.resolve(Config.parse(CONFIG | change), NAME), "tiny", 0).settings

    assert settings() == settings()
    assert settings() != settings(scenes={"rgb_photos": ["astronaut"]})
    fewer = benchmark.resolve(changed(objectives={"mixup": {"count": 1}}), NAME)
    less = steps.training(fewer, "tiny", 0).settings
    assert less != settings() and "photographs" not in less


def test_single_image_benchmark_compares_single_image_models():
    chosen = benchmark.resolve(Config(), "cave_x4_mixup")
    assert tuple(chosen.models) == benchmark.SINGLE_IMAGE_MODELS


WRONG = {
    "RGB path": ({"base": "mulsr", "training": TRAINING}, r"objectives\.rgb: needs a network with an RGB path: deepsh"),
    "sspsr": ({"base": "sspsr", "training": TRAINING}, r"objectives\.rgb: needs a network with an RGB path: deepshare"),
    "group": ({"base": "deepshare-s", "group": 6, "training": TRAINING}, "group must be 8, not 6"),
    "photographs": (
        {"base": "deepshare-s", "training": TRAINING | {"objectives": {"rgb": {"dataset": "cave"}}}},
        r"objectives\.rgb\.dataset: cave holds no photographs; known sets that do: div2k, rgb_photos",
    ),
    "order": (
        {"base": "deepshare-s", "training": TRAINING | {"objectives": {"mixup": {"start_epoch": 3, "stop_epoch": 2}}}},
        "stop_epoch 2 must lie after start_epoch 3",
    ),
    "objective": (
        {"base": "deepshare-s", "training": TRAINING | {"objectives": {"mixupp": {}}}},
        r"objectives\.mixupp: unknown key; did you mean mixup",
    ),
    "mixed corrections": (
        {"base": "hybrid", "training": {"objectives": {"mixup": {}}}},
        r"tiny.training.objectives: hybrid learns corrections, .* give this model objectives: {}",
    ),
    "own samples": ({"base": "hybrid", "training": {"augment": False}}, "augment: hybrid draws its own patches, each"),
    "guide": ({"base": "mulsr"}, "tiny needs a guide, and protocol mixup makes none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_told_before_anything_runs(case):
    recipe, message = WRONG[case]
    with pytest.raises(HsisrError, match=message) as error:
        benchmark.check(Config.parse(CONFIG | {"models": {"tiny": recipe}}))
    assert "\n" not in str(error.value)


def test_split_without_unlabelled_scenes_is_told_before_anything_runs(tmp_path):
    with pytest.raises(HsisrError, match="tiny trains on unlabelled scenes, and the split has none"):
        benchmark.check(Config.parse(CONFIG | {"datasets": {}}))
    chosen = benchmark.resolve(Config(), "indian_pines_x4_mixup")
    with pytest.raises(HsisrError, match="the split has no unlabelled scenes"):
        patch_files.make(chosen, tmp_path / "out.h5", "unlabelled")


def test_benchmark_may_have_patches_of_its_own():
    choice = {"models": ["bicubic"], "patches": {"size_lr_px": 12, "stride_lr_px": 2}}
    chosen = benchmark.resolve(Config.parse(CONFIG | {"benchmarks": {NAME: choice}}), NAME)
    other = benchmark.resolve(Config.parse(CONFIG), "indian_pines_x2")
    assert (chosen.patches.size_lr_px, other.patches.size_lr_px) == (12, SIZE)
    assert steps.cutting(chosen).settings["patches"]["size_lr_px"] == 12
