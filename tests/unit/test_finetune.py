"""Adapting a model to one scene: parts that stay apart, a folder that predict takes, scores."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hsisr import degrade
from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.degrade.estimation import noise_level
from hsisr.errors import HsisrError
from hsisr.files import file_hash
from hsisr.finetuning import adaptation
from hsisr.finetuning.adaptation import table
from hsisr.finetuning.quality import compare
from hsisr.finetuning.reduced import parts
from hsisr.inference import Options, finetune, load_model, read_metadata, super_resolve_file
from hsisr.inference.feed import Feed
from hsisr.inference.guide import fit
from hsisr.inference.images import Source
from hsisr.models import registry
from hsisr.models.apply import open_method
from hsisr.models.hybrid import Hybrid
from hsisr.models.model_files import save_model
from hsisr.scene import Scene
from hsisr.training import engine, fitting, state
from hsisr.training.stopping import Interrupted
from tests.unit import own_scene
from tests.unit.own_scene import SCALE

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Options(device="cpu")
halfway = adaptation._halfway
SHARES = {"training": 0.5, "validation": 0.25, "test": 0.25}


def feed_of(lr, guide) -> Feed:
    low, sharp = Source.of(lr, "lr"), Source.of(guide, "guide")
    return Feed(open_method("gsa", SCALE, 3), low, fit(low, sharp, SCALE))


def test_parts_are_cut_before_they_are_degraded(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 64, 32)
    found = parts(feed_of(lr, guide), SHARES, 4)
    whole = read_scene(lr).cube
    assert [part.lr.shape[1] for part in found.values()] == [32, 16, 16]
    np.testing.assert_allclose(np.concatenate([part.lr for part in found.values()], axis=1), whole, atol=1e-6)
    test = found["test"]
    np.testing.assert_allclose(test.low_lr, degrade.degrade(whole[:, 48:], "wald", SCALE, noise=0), atol=1e-6)
    changed = read_scene(lr).load()
    changed.stored[:, 48:] = 9000  # what lies in one part leaves the others as they are
    export(changed, tmp_path / "changed.tif")
    again = parts(feed_of(tmp_path / "changed.tif", guide), SHARES, 4)
    np.testing.assert_array_equal(again["training"].low_lr, found["training"].low_lr)
    np.testing.assert_array_equal(again["validation"].low_lr, found["validation"].low_lr)
    assert np.abs(again["test"].low_lr - test.low_lr).max() > 0.1


def test_scores_of_a_perfect_result_are_perfect(tmp_path):
    lr, guide, sharp = own_scene.write_pair(tmp_path, 64, 64)
    cut = parts(feed_of(lr, guide), SHARES, 4)
    test = cut["test"]
    # the truth at either resolution; LR images here are block means, which Wald's PSF does not quite undo
    truth = {test.low_lr.shape: test.lr, test.lr.shape: sharp[:, 48 * SCALE :]}
    methods = {"truth": lambda low, *_: truth[low.shape], "zero": _zero}
    scores = compare(test, cut["training"], SCALE, {"reduced": methods, "full": methods})
    assert scores["reduced"]["truth"]["psnr"] > 100 > scores["reduced"]["zero"]["psnr"]
    assert scores["full"]["truth"]["consistency_guide"] < 0.02 < scores["full"]["zero"]["consistency_guide"]
    assert scores["full"]["truth"]["consistency_lr"] < 0.02 < scores["full"]["zero"]["consistency_lr"]


def _zero(low, *_):
    return np.zeros((len(low), low.shape[1] * SCALE, low.shape[2] * SCALE), np.float32)


def test_the_folder_it_writes_is_a_model_for_that_scene(tmp_path, capsys):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    summary = finetune(lr, guide, "mulsr-xs", tmp_path / "run", steps=6, options=CPU)
    assert summary == json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert set(summary["reduced"]) == {"mulsr-xs", "bicubic", "gsa", "prior"}
    assert summary["full"]["mulsr-xs"]["consistency_guide"] > 0
    said = read_metadata(tmp_path / "run")
    assert said["wavelengths_nm"] == list(own_scene.WAVELENGTHS_NM) and said["peak"] == 1 and said["scale"] == SCALE
    assert (said["band_numbers"], said["guide_band_numbers"]) == ([0, 1, 2, 3], [0, 1, 2])
    assert "held-out part, reduced resolution" in table(summary)
    assert "on the held-out part gsa is better than mulsr-xs by" in capsys.readouterr().err
    out = super_resolve_file(lr, guide, tmp_path / "run", tmp_path / "sr.tif", CPU)
    assert "warning" not in capsys.readouterr().err
    assert read_scene(out).shape == (4, 96 * SCALE, 48 * SCALE)
    replace(read_scene(lr).load(), provenance={"sha256": {"raw.mat": "ab"}}).save(tmp_path / "converted.h5")
    again = finetune(
        tmp_path / "converted.h5", guide, tmp_path / "run", tmp_path / "more", steps=2, hold_out=0, options=CPU
    )
    assert again["base"] == "mulsr-xs" and "reduced" not in again
    assert said["adapted_to_sha256"] == [file_hash(lr)]
    assert read_metadata(tmp_path / "more")["adapted_to_sha256"] == sorted([file_hash(lr), "ab"])


def test_a_network_that_prepares_its_own_samples_is_adapted_too(tmp_path, monkeypatch):
    monkeypatch.setattr(Hybrid, "adapts_at_once", False)
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    summary = finetune(lr, guide, "hybrid", tmp_path / "run", steps=2, options=CPU)
    assert summary["reduced"]["hybrid"]["psnr"] > summary["reduced"]["bicubic"]["psnr"]
    assert finetune(lr, guide, tmp_path / "run", tmp_path / "more", steps=1, hold_out=0, options=CPU)["steps"] == 1
    out = super_resolve_file(lr, guide, tmp_path / "run", tmp_path / "sr.tif", CPU)
    assert read_scene(out).shape == (4, 96 * SCALE, 48 * SCALE)


def test_the_degraded_image_is_as_noisy_as_the_image_itself(tmp_path):
    smooth = np.random.default_rng(0).random((2, 8, 8), np.float32).repeat(8, axis=1).repeat(8, axis=2)
    mixed = np.tensordot(np.random.default_rng(1).random((20, 2)).astype(np.float32), smooth, 1) / 4
    noise = np.random.default_rng(2).normal(0, 0.02, mixed.shape).astype(np.float32)
    export(Scene(mixed + noise, "lr"), tmp_path / "lr.tif")
    export(Scene(np.ones((3, 64 * SCALE, 64 * SCALE), np.float32), "guide"), tmp_path / "guide.tif")
    part = parts(feed_of(tmp_path / "lr.tif", tmp_path / "guide.tif"), {"training": 1.0}, 4)["training"]
    assert noise_level(part.low_lr.reshape(20, -1)) == pytest.approx(noise_level(part.lr.reshape(20, -1)), rel=0.15)
    assert np.std(part.signal - mixed) < 0.6 * np.std(noise)  # what lies outside the spectra's subspace is gone
    few = Feed(open_method("gsa", SCALE, 3), Source.of(Scene(part.lr[:8], "few"), "few"), None)
    assert parts(few, {"training": 1.0}, 4)["training"].noise == 0  # signal and noise look alike in few bands
    further = part.further(SCALE)
    assert (further.lr.shape, further.hr.shape) == ((20, 4, 4), (20, 4 * SCALE, 4 * SCALE))
    assert replace(part, lr=part.lr[:, :16], mask=part.mask[:16]).further(SCALE) is None


def test_hybrid_learns_a_scene_only_if_that_helps_at_another_scale(tmp_path, capsys):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    summary = finetune(lr, guide, "hybrid", tmp_path / "run", minutes=60, options=CPU)
    assert summary["steps"] == 0 and summary["other_scale_db"] > 0.3
    assert load_model(tmp_path / "run").filters.any() and not load_model(tmp_path / "run").last.weight.any()
    assert "has learnt it in closed form, without steps" in capsys.readouterr().err
    mixed = np.tensordot(np.random.default_rng(1).dirichlet(np.ones(4), 20), read_scene(lr).cube, 1)
    noise = np.random.default_rng(0).normal(0, 0.05, mixed.shape)
    export(Scene((mixed + noise).astype(np.float32), "noisy"), tmp_path / "noisy.tif")
    summary = finetune(tmp_path / "noisy.tif", guide, "hybrid", tmp_path / "noise", options=CPU)
    assert "learns nothing of it and stays as it was, as its noise hides" in capsys.readouterr().err
    assert summary["reduced"]["hybrid"] == summary["reduced"]["prior"]


class Clock:
    """Time that passes as steps and validations say, so that a machine's speed decides nothing. In seconds."""

    def __init__(self, monkeypatch, step: float, validation: float, first_step: float = 0, first_validation: float = 0):
        self.now = 0.0
        monkeypatch.setattr(engine.Run, "_take_step", self.timed(engine.Run._take_step, step, first_step))
        call = self.timed(adaptation._Validation.__call__, validation, first_validation)
        monkeypatch.setattr(adaptation._Validation, "__call__", call)
        monkeypatch.setattr(engine, "time", self)
        monkeypatch.setattr(adaptation, "time", self)

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def timed(self, function, seconds: float, more: float):
        """The function, which takes so long, and the first time so much more."""
        first = [more]

        def slow(*words, **named):
            self.now += seconds + (first.pop() if first else 0)
            return function(*words, **named)

        return slow


@pytest.mark.parametrize("slow", [{"first_step": 4.0}, {"first_validation": 2.0}], ids=str)
def test_a_slow_start_does_not_shorten_the_training(tmp_path, monkeypatch, capsys, slow):
    """As CUDA, workers and kernels that are built make it; they count, but nothing is planned from them."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    Clock(monkeypatch, step=0.25, validation=0.125, **slow)
    summary = finetune(lr, guide, "mulsr-xs", tmp_path / "run", minutes=0.1, hold_out=0, options=CPU)
    history = np.genfromtxt(tmp_path / "run" / "history.csv", delimiter=",", names=True)
    assert 6 <= summary["seconds"] < 7, "it takes the time that it was given; planned from the slow start it took 2 s"
    assert 8 <= history["step"].size <= 13, "and it validates over all of that time"
    assert history["learning_rate"][-1] < 0.02 * history["learning_rate"].max(), "and the rate falls to its end"
    assert "for 0.1 minutes, about 24 steps," in capsys.readouterr().err


def test_a_seed_that_no_generator_takes(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    with pytest.raises(HsisrError, match="seed: expected a whole number >= 0, not -1"):
        finetune(lr, guide, "mulsr-xs", tmp_path / "run", steps=2, seed=-1, options=CPU)
    with pytest.raises(HsisrError, match="seed: expected a whole number >= 0, not -1"):
        fitting.fit(torch.nn.Identity(), None, tmp_path / "fit", seed=-1)


def test_a_stopped_run_goes_on_at_its_pace(tmp_path, monkeypatch):
    """Its state is of the same training only; what a step takes differs each time that it is measured."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    speeds, trainings, stops = [(0.05, 0.01), (0.5, 0.01)], [], [Interrupted, KeyboardInterrupt, KeyboardInterrupt]

    def stopped(network, samples, folder, training, *others):
        trainings.append(training)
        state.save(folder, {}, {})
        raise stops.pop(0)

    monkeypatch.setattr(adaptation, "_speed", lambda *given: speeds.pop(0))
    monkeypatch.setattr(fitting, "run", stopped)
    for stop in list(stops[:2]):
        with pytest.raises(stop):
            finetune(lr, guide, "mulsr-xs", tmp_path / "run", minutes=0.2, hold_out=0, options=CPU)
    assert trainings[0] == trainings[1] and len(speeds) == 1
    with pytest.raises(KeyboardInterrupt):
        finetune(lr, guide, "mulsr-xs", tmp_path / "run", minutes=0.4, hold_out=0, options=CPU)
    assert not speeds


def test_a_run_that_is_stopped_after_its_training_leaves_no_model_and_goes_on(tmp_path, monkeypatch, capsys):
    """Before, `predict` took a model without the range of the scene, and the training began anew."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 32)
    words = {"steps": 2, "hold_out": 0, "options": CPU}
    monkeypatch.setattr(adaptation, "_keep_best", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        finetune(lr, guide, "mulsr-xs", tmp_path / "run", **words)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    monkeypatch.undo()
    finetune(lr, guide, "mulsr-xs", tmp_path / "run", **words)
    assert "resumes at step 2 of 2" in capsys.readouterr().err
    assert not state.path_of(tmp_path / "run").exists()


def test_a_stopped_run_does_not_go_on_from_another_start(tmp_path, monkeypatch):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 32)
    identities = []
    monkeypatch.setattr(fitting, "run", lambda *given: identities.append(given[4]["settings"]["settings"]) or 1 / 0)
    said = {"base": "mulsr-xs", "options": {}, "scale": SCALE, "bands": 4, "guide_channels": 3}
    for seed in (0, 1, 1):
        torch.manual_seed(seed)
        save_model(tmp_path / "base.safetensors", registry.build("mulsr-xs", SCALE, 4, 3), said)
        with pytest.raises(ZeroDivisionError):
            finetune(lr, guide, tmp_path / "base.safetensors", tmp_path / "run", steps=1, hold_out=0, options=CPU)
    assert identities[0] != identities[1] == identities[2]


def test_what_cannot_be_scored_or_has_other_bands_is_told_before_the_training(tmp_path, monkeypatch, capsys):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    changed = read_scene(lr).load()
    changed.stored[:, 72:] = 0
    export(changed, tmp_path / "dark.tif")
    with pytest.raises(HsisrError, match=r"the part for test cannot be scored \(metr"):
        finetune(tmp_path / "dark.tif", guide, "mulsr-xs", tmp_path / "run", steps=1, options=CPU)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(fitting, "run", lambda *given: 1 / 0)
    for bands, fault, told in ((4, ZeroDivisionError, None), (3, HsisrError, "finetune LR GUIDE --model two-stream`$")):
        said = {"base": "two-stream", "options": {}, "scale": SCALE, "bands": bands, "guide_channels": 3}
        said["wavelengths_nm"] = [300.0 + band for band in range(bands)]
        save_model(tmp_path / "base.safetensors", registry.build("two-stream", SCALE, bands, 3), said)
        with pytest.raises(fault, match=told):
            finetune(lr, guide, tmp_path / "base.safetensors", tmp_path / "run", steps=1, hold_out=0, options=CPU)
    assert "nm from those two-stream was trained on; the model treats each band" in capsys.readouterr().err


def test_validation_that_takes_long_is_done_less_often(tmp_path, monkeypatch):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    Clock(monkeypatch, step=0.25, validation=0.5)
    summary = finetune(lr, guide, "mulsr-xs", tmp_path / "run", minutes=0.1, hold_out=0, options=CPU)
    history = np.genfromtxt(tmp_path / "run" / "history.csv", delimiter=",", names=True)
    assert 2 <= history["step"].size <= 4 and 6 <= summary["seconds"] < 7


def test_training_that_does_harm_is_undone(tmp_path, monkeypatch, capsys):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 48)
    finetune(lr, guide, "mulsr-xs", tmp_path / "run", steps=6, hold_out=0, options=CPU)
    monkeypatch.setattr("hsisr.finetuning.adaptation._ADAPTING_RATE", 0.05)
    finetune(lr, guide, tmp_path / "run", tmp_path / "more", steps=4, hold_out=0, options=CPU)
    assert "mulsr-xs is better as it was" in capsys.readouterr().err
    before, after = (load_file(tmp_path / run / "model.safetensors") for run in ("run", "more"))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_an_adapted_network_lies_halfway_between_start_and_training(tmp_path, monkeypatch):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 32)
    finetune(lr, guide, "mulsr-xs", tmp_path / "run", steps=4, hold_out=0, options=CPU)
    trained = {}
    monkeypatch.setattr(adaptation, "_halfway", lambda start, after: trained.update(after) or halfway(start, after))
    finetune(lr, guide, tmp_path / "run", tmp_path / "more", steps=4, hold_out=0, options=CPU)
    before, after = (load_file(tmp_path / run / "model.safetensors") for run in ("run", "more"))
    assert any(not torch.equal(trained[key], before[key]) for key in before)
    for key, weights in after.items():
        torch.testing.assert_close(weights, (before[key] + trained[key]) / 2)


def test_the_same_seed_gives_the_same_model(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 32)
    for run in ("a", "b"):
        finetune(lr, guide, "mulsr-xs", tmp_path / run, steps=3, hold_out=0, options=CPU)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_numbers_of_any_range_are_brought_to_the_models(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 96, 32)
    for path in (lr, guide):
        export(replace(read_scene(path).load(), scale=1.0), path.with_name(f"dn_{path.name}"))
    finetune(tmp_path / "dn_lr.tif", tmp_path / "dn_guide.tif", "mulsr-xs", tmp_path / "run", steps=2, options=CPU)
    said = read_metadata(tmp_path / "run")
    assert 5000 < said["peak"] < 10_000 and 5000 < said["guide_peak"] < 10_000


def test_a_dark_scene_is_predicted_without_a_warning_about_its_range(tmp_path, capsys):
    """README's two commands; a model file of an older version, which says the peak alone, loads with the warning."""
    lr, guide, _ = own_scene.write_pair(tmp_path, 64, 64)
    dark = [
        export(replace(read_scene(path).load(), scale=2e-5), tmp_path / f"dark_{path.name}") for path in (lr, guide)
    ]
    finetune(*dark, "mulsr-xs", tmp_path / "run", steps=2, options=CPU)
    said = read_metadata(tmp_path / "run")
    assert (said["peak"], said["guide_peak"]) == (1, 1) and 0.1 < said["reach"] < 0.21 and said["guide_reach"] < 0.21
    capsys.readouterr()
    super_resolve_file(*dark, tmp_path / "run", tmp_path / "sr.tif", CPU)
    assert "warning" not in capsys.readouterr().err
    older = {key: value for key, value in said.items() if key not in ("reach", "guide_reach")}
    save_model(tmp_path / "older.safetensors", load_model(tmp_path / "run"), older)
    super_resolve_file(*dark, tmp_path / "older.safetensors", tmp_path / "older.tif", CPU)
    assert "trained with up to 1;" in capsys.readouterr().err
    np.testing.assert_array_equal(read_scene(tmp_path / "older.tif").cube, read_scene(tmp_path / "sr.tif").cube)


def test_scenes_that_are_too_small_and_models_that_cannot_learn(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 24, 24)
    with pytest.raises(HsisrError, match="at scale 4; 16 x 48 are needed, or 16 x 32 with --hold-out 0 "):
        finetune(lr, guide, "mulsr-xs", tmp_path / "run", options=CPU)
    with pytest.raises(HsisrError, match="at scale 4; 16 x 32 are needed$"):
        finetune(lr, guide, "mulsr-xs", tmp_path / "run", hold_out=0, options=CPU)
    for side in (48, 32):  # what the line says does
        lr, guide, _ = own_scene.write_pair(tmp_path, 16, side)
        finetune(lr, guide, "mulsr-xs", tmp_path / f"{side}", steps=1, hold_out=0.25 if side == 48 else 0, options=CPU)
    with pytest.raises(HsisrError, match="has nothing to learn"):
        finetune(lr, guide, "gsa", tmp_path / "run", options=CPU)
    with pytest.raises(HsisrError, match="give --scale"):
        finetune(lr, None, "deepshare-s", tmp_path / "run", options=CPU)
    with pytest.raises(HsisrError, match="unknown model"):
        finetune(lr, guide, "none", tmp_path / "run", options=CPU)
    assert not (tmp_path / "run").exists()
