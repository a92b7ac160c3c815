"""Training: schedules, exact resume, selection by validation, the lock, models to and from files."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import hsisr
from hsisr import inference, metrics, pairs, paths
from hsisr.config import Schedule, Training
from hsisr.errors import HsisrError
from hsisr.files import read_json
from hsisr.training import engine, state, train_one
from hsisr.training.objectives import Batch, Supervised
from hsisr.training.schedules import learning_rate


@pytest.mark.parametrize(
    ("schedule", "step", "epoch", "expected"),
    [
        (Schedule(kind="constant"), 500, 99.0, 1.0),
        (Schedule(kind="halving", every_epochs=30), 0, 29.99, 1.0),
        (Schedule(kind="halving", every_epochs=30), 0, 30.0, 0.5),
        (Schedule(kind="halving", every_epochs=30), 0, 90.5, 0.125),
        (Schedule(kind="cosine"), 0, 0.0, 1.0),
        (Schedule(kind="cosine"), 500, 0.0, 0.01 + 0.99 * 0.5),
        (Schedule(kind="cosine"), 1000, 0.0, 0.01),
        (Schedule(kind="cosine", warmup_steps=10), 4, 0.0, 0.5),
    ],
)
def test_learning_rate(schedule, step, epoch, expected):
    assert learning_rate(1.0, schedule, step, epoch, total_steps=1000) == pytest.approx(expected)


def test_published_steps_visit_every_band_of_a_batch_in_order():
    objective = Supervised(Training(bands_per_step=2), seed=0)
    visited = [bands.tolist() for bands in objective._bands(2, 5, number=3)]
    assert visited == [[0, 1], [2, 3], [4]]


def test_random_visit_draws_without_repetition_and_can_be_drawn_again():
    objective = Supervised(Training(bands_per_step=3, visit="random"), seed=0)
    draws = [objective._bands(4, 9, number)[0].tolist() for number in range(50)]
    assert all(len(set(patch)) == 3 for draw in draws for patch in draw)
    assert len({tuple(patch) for draw in draws for patch in draw}) > 60  # of 84
    assert draws[17] == objective._bands(4, 9, 17)[0].tolist()


def test_any_module_that_takes_all_bands_can_be_trained():
    class Nearest(torch.nn.Module):
        def forward(self, lr, guide):
            return torch.nn.functional.interpolate(lr, scale_factor=2)

    batch = Batch(torch.ones(1, 3, 2, 2), torch.ones(1, 1, 4, 4), torch.zeros(1, 3, 4, 4))
    assert [loss.item() for loss in Supervised(Training(), 0).losses(Nearest(), batch, 0)] == [1.0]


def test_trained_model_comes_back_from_its_file(small):
    folder = train_one(small, small.model("tiny"), seed=3)
    summary = read_json(folder / "train.json", "training")
    assert summary["steps"] == 6 and summary["settings"]["seeds"] == [3]
    network = inference.load_model(folder)
    pair = pairs.read(small.path(paths.PAIR, item="indian_pines-validation"))
    estimate = inference.predict(network, pair.lr, pair.guide)
    psnr = metrics.score(pair.hr, estimate, 4, "mulsr")["psnr"]
    assert psnr == pytest.approx(summary["validation_psnr"], abs=1e-9)
    history = np.genfromtxt(folder / "history.csv", delimiter=",", names=True)
    assert history["step"].tolist() == [2, 4, 6]
    assert summary["validation_psnr"] == pytest.approx(history["validation_psnr"].max(), abs=1e-9)
    assert summary["kept_step"] == history["step"][history["validation_psnr"].argmax()]


def test_stopped_and_resumed_equals_uninterrupted(small, monkeypatch):
    model = small.model("tiny")
    whole = train_one(small, model, seed=0)
    expected = (whole / "model.safetensors").read_bytes()
    for stop_after in (1, 3, 5):
        (whole / "state/last.pt").unlink()
        (whole / "model.safetensors").unlink()
        train_on = engine.Run._train_on

        def stopping(run, batch, train_on=train_on, stop_after=stop_after):
            train_on(run, batch)
            if run.batch == stop_after:
                run._validate() if run._validation_due() else None
                run._save()
                raise KeyboardInterrupt

        monkeypatch.setattr(engine.Run, "_train_on", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_one(small, model, seed=0)
        monkeypatch.setattr(engine.Run, "_train_on", train_on)
        train_one(small, model, seed=0)
        assert (whole / "model.safetensors").read_bytes() == expected


def test_last_weights_are_kept_when_asked_for(small):
    recipe = small.model("tiny")
    last = recipe.__class__(**{**recipe.__dict__, "training": recipe.training.model_copy(update={"select": "last"})})
    folder = train_one(small, last, seed=0)
    assert read_json(folder / "train.json", "training")["kept_step"] == 6
    kept = inference.load_model(folder).state_dict()
    for key, value in torch.load(folder / "state/last.pt", weights_only=True)["model"].items():
        torch.testing.assert_close(kept[key], value, rtol=0, atol=0)


def test_loss_that_is_no_number_names_scene_and_step(small, monkeypatch):
    losses = Supervised.losses

    def broken(self, model, batch, number):
        for loss in losses(self, model, batch, number):
            yield loss * math.nan if number == 2 else loss

    monkeypatch.setattr(Supervised, "losses", broken)
    with pytest.raises(HsisrError, match=r"the loss became nan at step 2, on patches of indian_pines-train"):
        train_one(small, small.model("tiny"), seed=0)


def test_second_trainer_is_refused_and_a_dead_ones_lock_is_free(tmp_path):
    program = f"""
from hsisr.training.state import run_lock
with run_lock({str(tmp_path)!r}):
    print("held", flush=True)
    input()
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(HsisrError, match=f"process {holder.pid} is training here"), state.run_lock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with state.run_lock(tmp_path):
        pass


def test_state_of_other_settings_is_not_used(tmp_path):
    state.save(tmp_path, {"a": 1}, {"step": 3})
    assert state.load(tmp_path, {"a": 2}) is None
    assert state.load(tmp_path, {"a": 1}) is None  # set aside under another name
    state.save(tmp_path, {"a": 1}, {"step": 3})
    assert state.load(tmp_path, {"a": 1})["step"] == 3


def test_state_with_code_in_it_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "state").mkdir()
    torch.save({"settings_hash": Evil()}, tmp_path / "state/last.pt")
    with pytest.raises(HsisrError, match="damaged training state"):
        state.load(tmp_path, {})
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_gpu_that_is_not_there_is_one_line(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(HsisrError, match="torch sees no GPU"):
        hsisr.training.choose_device(name)


def test_model_files_that_are_none(tmp_path, small):
    with pytest.raises(HsisrError, match="no such model file"):
        inference.load_model(tmp_path / "absent")
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(HsisrError, match="not a model file, or damaged"):
        inference.load_model(path)
    folder = train_one(small, small.model("tiny"), seed=0)
    whole = (folder / "model.safetensors").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HsisrError, match="not a model file, or damaged"):
        inference.load_model(path)


def test_train_by_configuration(small, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(small.config.model_dump(exclude_unset=True)))
    folders = hsisr.train(path, seed=0)
    assert [str(folder) for folder in folders] == ["runs/indian_pines_x4/tiny/seed0"]
    with pytest.raises(HsisrError, match="holds? no network"):
        hsisr.train(path, model="bicubic")
