"""Training: schedules, exact resume, selection by validation, the lock, models to and from files."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import hsisr
from hsisr import datasets, inference, metrics
from hsisr.config import Config, Schedule, Training
from hsisr.errors import HsisrError
from hsisr.files import read_json
from hsisr.locks import run_lock
from hsisr.pipeline import benchmark, pair_files, patch_files, paths, steps
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import engine, fit, state, train_one
from hsisr.training.objectives import Batch, Supervised
from hsisr.training.schedules import learning_rate
from tests.unit.conftest import CONFIG


def test_cosine_ends_with_the_time_where_that_is_shorter():
    schedule = Schedule(kind="cosine")
    assert learning_rate(1.0, schedule, 100, 0.0, 1000, time_used=0.5) == pytest.approx(0.01 + 0.99 * 0.5)
    assert learning_rate(1.0, schedule, 100, 0.0, 1000, time_used=1.2) == pytest.approx(0.01)
    assert learning_rate(1.0, schedule, 500, 0.0, 1000, time_used=0.1) == pytest.approx(0.01 + 0.99 * 0.5)


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
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-validation"))
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
        assert not (whole / "state/last.pt").exists()
        (whole / "model.safetensors").unlink()
        train_on = engine.Run._train_on_batch

        def stopping(run, train_on=train_on, stop_after=stop_after):
            train_on(run)
            if run.batch == stop_after:
                run._save()
                raise KeyboardInterrupt

        monkeypatch.setattr(engine.Run, "_train_on_batch", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_one(small, model, seed=0)
        monkeypatch.setattr(engine.Run, "_train_on_batch", train_on)
        train_one(small, model, seed=0)
        assert (whole / "model.safetensors").read_bytes() == expected


def test_split_without_validation_part_needs_the_last_weights(small):
    entry = datasets.entry("indian_pines")
    split = {"train": [{"scene": "indian_pines", "region": [0, 144, 0, 80]}], "tenth": False}
    split["test"] = [item.model_dump() for item in entry.splits[entry.default_split].test]
    own = {"datasets": {"indian_pines": {"default_split": "all", "splits": {"all": split}}}}
    config = Config.parse(CONFIG | own)
    with pytest.raises(HsisrError, match="no validation part to choose the weights of tiny by; set training.select"):
        benchmark.check(config)
    chosen = benchmark.resolve(config, small.name)
    with pytest.raises(HsisrError, match="no validation part"):
        train_one(chosen, chosen.model("tiny"), seed=0)
    recipe = CONFIG["models"]["tiny"]
    last = {"tiny": recipe | {"training": recipe["training"] | {"select": "last"}}}
    config = Config.parse(CONFIG | own | {"models": last})
    benchmark.check(config)
    chosen = benchmark.resolve(config, small.name)
    for item in chosen.parts["train"]:
        pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    summary = read_json(train_one(chosen, chosen.model("tiny"), seed=0) / "train.json", "training")
    assert summary["kept_step"] == 6 and summary["validation_psnr"] is None


def test_patches_per_epoch_shorten_an_epoch(small):
    recipe = small.model("tiny")
    changes = {"epochs": 2, "max_steps": None, "patches_per_epoch": 6}
    short = replace(recipe, training=recipe.training.model_copy(update=changes))
    summary = read_json(train_one(small, short, seed=0) / "train.json", "training")
    assert summary["steps"] == 6 and summary["epochs"] == pytest.approx(2)  # 2 epochs of 6 patches, 2 a batch


def test_last_weights_are_kept_when_asked_for(small):
    recipe = small.model("tiny")
    last = recipe.__class__(**{**recipe.__dict__, "training": recipe.training.model_copy(update={"select": "last"})})
    folder = train_one(small, last, seed=0)
    assert read_json(folder / "train.json", "training")["kept_step"] == 6
    kept = inference.load_model(folder).state_dict()
    for key, value in inference.load_model(folder / "checkpoints" / "last.safetensors").state_dict().items():
        torch.testing.assert_close(kept[key], value, rtol=0, atol=0)


def test_training_that_nothing_ends_is_refused(tmp_path):
    with pytest.raises(HsisrError, match="epochs or max_steps must say when training ends"):
        fit(torch.nn.Identity(), None, tmp_path, Training(epochs=None, max_minutes=1))


def test_loss_that_is_no_number_names_scene_and_step(small, monkeypatch):
    losses = Supervised.losses

    def broken(self, model, batch, number, **more):
        for loss in losses(self, model, batch, number, **more):
            yield loss * math.nan if number == 2 else loss

    monkeypatch.setattr(Supervised, "losses", broken)
    told = r"the loss became nan at step 2, on patches of indian_pines-train.* holds the best weights so far$"
    with pytest.raises(HsisrError, match=told):
        train_one(small, small.model("tiny"), seed=0)


def test_second_trainer_is_refused_and_a_dead_ones_lock_is_free(tmp_path):
    program = f"""
from hsisr.locks import run_lock
with run_lock({str(tmp_path)!r}):
    print("held", flush=True)
    input()
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(HsisrError, match=f"process {holder.pid} is training here"), run_lock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with run_lock(tmp_path), pytest.raises(HsisrError, match="is training here"), run_lock(tmp_path):
        pass


def test_state_of_other_settings_is_not_used_and_the_difference_named(tmp_path, capsys):
    first = {"settings": {"a": 1}, "code": {"x.py": "0"}, "data": {"patches": {"x.h5": "0"}}}
    for other, told in (
        ({"settings": {"a": 2}}, "a: 1, now 2"),
        ({"code": {"x.py": "1", "y.py": "0"}}, "code: x.py, y.py"),
        ({"data": {"patches": {"x.h5": "1"}}}, "data: patches"),
    ):
        state.save(tmp_path, first, {"step": 3})
        assert state.load(tmp_path, first | other) is None
        assert f"belongs to another run ({told}); kept as last.pt." in capsys.readouterr().err
        assert state.load(tmp_path, first) is None  # set aside under another name
    state.save(tmp_path, first, {"step": 3})
    assert state.load(tmp_path, first)["step"] == 3
    state.remove(tmp_path)
    assert state.load(tmp_path, first) is None


def test_state_with_code_in_it_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "state").mkdir()
    torch.save({"identity": Evil()}, tmp_path / "state/last.pt")
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


def test_time_may_be_added_to_a_state(tmp_path):
    before = {"settings": {"training": {"max_minutes": 1, "learning_rate": 0.1}}}
    state.save(tmp_path, before, {"step": 3})
    after = {"settings": {"training": {"max_minutes": 2, "learning_rate": 0.1}}}
    assert state.load(tmp_path, after)["step"] == 3
    after = {"settings": {"training": {"max_minutes": 1, "learning_rate": 0.2}, "seed": 1}}
    told = steps.difference(before, after)
    assert told == "seed: None, now 1; training.learning_rate: 0.1, now 0.2"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_is_one_line_and_keeps_the_last_good_state(small_disk):
    state.save(small_disk, {}, {"step": 3, "weights": torch.zeros(100_000)})
    with pytest.raises(
        HsisrError, match=r"last.pt: cannot be written \(No space left on device\); the state before it"
    ):
        state.save(small_disk, {}, {"step": 4, "weights": torch.zeros(200_000)})
    assert state.load(small_disk, {})["step"] == 3
    assert [path.name for path in (small_disk / "state").iterdir()] == ["last.pt"]


def test_training_on_a_full_disk_is_one_line(small, small_disk):
    rest = small_disk / "rest"
    with pytest.raises(HsisrError, match="No space left on device") as error:
        rest.write_bytes(bytes(900_000))
        fit_nearest(small, small_disk)
    assert "\n" not in str(error.value)
    rest.unlink()
    assert fit_nearest(small, small_disk).steps == 4


def fit_nearest(small, folder, validate=None, **change):
    """Train a tiny network of the user's own for 4 steps."""
    fields = {"epochs": None, "max_steps": 4, "batch_size": 2, "validate_every_steps": 1, "threads": 1, "device": "cpu"}
    network = Tiny(small.scale)
    return fit(network, PatchFile(small.path(paths.PATCHES)), folder, Training(**fields | change), validate=validate)


class Tiny(torch.nn.Module):
    """Nearest neighbours, times a weight."""

    guide_channels = 0

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.weight = torch.nn.Parameter(torch.ones(50_000))

    def forward(self, lr):
        return torch.nn.functional.interpolate(lr, scale_factor=self.scale) * self.weight[0]


def test_patience_ends_training_at_the_best(small, tmp_path, capsys):
    scores = iter([20.0, 21.0, 20.5, 20.9, 30.0])
    outcome = fit_nearest(small, tmp_path, lambda net: next(scores), max_steps=100, patience_validations=2)
    assert (outcome.steps, outcome.kept_step, outcome.validation_psnr) == (4, 2, 21.0)
    assert "patience" not in capsys.readouterr().err
    fit_nearest(small, tmp_path, max_steps=1, patience_validations=2)
    assert "patience_validations: nothing validates this training" in capsys.readouterr().err


def test_a_psnr_of_any_number_type_is_taken_and_none_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "remove", lambda folder: None)
    fit_nearest(small, tmp_path, lambda net: np.float32(20))
    assert fit_nearest(small, tmp_path, lambda net: np.float32(20)).validation_psnr == 20  # its state can be read
    for found, fault in (
        (math.nan, "validation gives nan at step 2; lower training.learning_rate"),
        (-math.inf, "validation gives -inf at step 2"),
        (None, "validate: returned None; expected the PSNR"),
    ):
        scores = iter([20.0, found])
        with pytest.raises(HsisrError, match=fault):
            fit_nearest(small, tmp_path / "none", lambda net, scores=scores: next(scores))


def test_a_loaded_network_is_trained_in_training_mode(small, tmp_path):
    modes = []

    class Seen(Tiny):
        def forward(self, lr):
            modes.append(self.training)
            return super().forward(lr)

    training = Training(epochs=None, max_steps=2, batch_size=2, validate_every_steps=1, threads=1, device="cpu")
    patches = PatchFile(small.path(paths.PATCHES))
    fit(Seen(small.scale).eval(), patches, tmp_path, training, validate=lambda net: modes.append(net.training) or 1)
    assert modes[-4:] == [True, False, True, False]


@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed. "), ConnectionResetError()]
)
def test_a_worker_that_was_killed_is_one_line(small, tmp_path, monkeypatch, error):
    def batch(*_):
        raise error

    monkeypatch.setattr(engine.Feed, "batch", batch)
    with pytest.raises(HsisrError, match="a process that prepares batches was ended from outside"):
        fit_nearest(small, tmp_path, workers=1)


@pytest.mark.parametrize(
    ("error", "workers"),
    [(RuntimeError("Caught ValueError in DataLoader worker process 0.\nof one's own"), 1), (EOFError("mine"), 0)],
)
def test_a_fault_of_ones_own_samples_keeps_its_words(small, tmp_path, monkeypatch, error, workers):
    def batch(*_):
        raise error

    monkeypatch.setattr(engine.Feed, "batch", batch)
    with pytest.raises(type(error), match="mine|of one's own"):
        fit_nearest(small, tmp_path, workers=workers)


def test_a_run_too_short_for_an_objective_says_so_and_makes_one_step_at_least(small, tmp_path, capsys):
    mixup = {"mixup": {"start_epoch": 1}}
    assert fit_nearest(small, tmp_path, epochs=1e-12, max_steps=None, objectives=mixup).steps == 1
    assert "objectives.mixup: start_epoch 1 was not reached, as training ended after" in capsys.readouterr().err


def test_weights_that_the_last_step_spoils_are_refused(small, tmp_path):
    with pytest.raises(HsisrError, match="the weights became NaN or infinite at step 1; lower training.learning_rate"):
        fit_nearest(small, tmp_path, max_steps=1, learning_rate=1e38, beta1=0.99)
    assert not (tmp_path / "model.safetensors").exists()


def test_time_ends_training_and_more_time_goes_on(small, tmp_path, monkeypatch):
    outcome = fit_nearest(small, tmp_path, max_steps=10**6, max_minutes=1e-9)
    assert outcome.steps == 1
    assert not (tmp_path / "state/last.pt").exists()  # a finished run keeps no state
    again = fit_nearest(small, tmp_path, max_steps=10**6, max_minutes=1e-9)
    assert again.steps == 1
    with monkeypatch.context() as patch:  # ended before the state of the finished run was removed
        patch.setattr(state, "remove", lambda folder: None)
        fit_nearest(small, tmp_path, max_steps=10**6, max_minutes=1e-9)
    more = fit_nearest(small, tmp_path, max_steps=10**6, max_minutes=(again.seconds + 0.3) / 60)
    assert more.steps > 1 and more.seconds > again.seconds


def test_average_follows_the_weights_and_is_what_is_kept(small, tmp_path):
    seen = []
    network = Tiny(small.scale)
    training = Training(
        epochs=None, max_steps=3, batch_size=2, ema_decay=0.5, learning_rate=0.1, threads=1, device="cpu"
    )
    step = torch.optim.Adam.step
    patches = PatchFile(small.path(paths.PATCHES))

    def spy(optimiser, *words, **more):
        step(optimiser, *words, **more)
        seen.append(float(optimiser.param_groups[0]["params"][0][0].detach()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", spy)
        fit(network, patches, tmp_path, training)
    expected, decays = 1.0, (1 / 10, 2 / 11, 3 / 12)
    for value, decay in zip(seen, decays, strict=True):
        expected = decay * expected + (1 - decay) * value
    assert float(network.weight[0].detach()) == pytest.approx(expected, rel=1e-6)


def test_bf16_trains_close_to_32_and_fp16_asks_for_a_gpu(small, tmp_path):
    model = small.model("tiny")
    losses = {}
    for precision in (32, "bf16"):
        training = model.training.model_copy(update={"precision": precision, "device": "cpu"})
        (tmp_path / "runs").exists() and shutil.rmtree(tmp_path / "runs")
        folder = train_one(small, replace(model, training=training), seed=0)
        losses[precision] = np.genfromtxt(folder / "history.csv", delimiter=",", names=True)["loss"]
        assert all(value.dtype == torch.float32 for value in inference.load_model(folder).state_dict().values())
    assert np.abs(losses["bf16"] - losses[32]).max() > 0
    np.testing.assert_allclose(losses["bf16"], losses[32], rtol=0.05)
    with pytest.raises(HsisrError, match="precision: 'fp16' needs a GPU"):
        fit_nearest(small, tmp_path / "fp16", precision="fp16")


def test_several_nodes_need_a_launcher(small, tmp_path):
    with pytest.raises(HsisrError, match="nodes: 2 nodes need srun or torchrun"):
        fit_nearest(small, tmp_path, nodes=2)


def test_what_a_run_leaves(small, tmp_path):
    scores = iter([20.0, 21.0, 20.5, 20.9])

    def export(path, network):
        path.parent.mkdir(exist_ok=True)
        save_file(network.state_dict(), path)

    training = Training(epochs=None, max_steps=4, batch_size=2, validate_every_steps=1, threads=1, device="cpu")
    patches = PatchFile(small.path(paths.PATCHES))
    network = Tiny(small.scale)
    fit(network, patches, tmp_path, training, validate=lambda net: next(scores), export=export)
    best, last = (load_file(tmp_path / f"checkpoints/{name}.safetensors") for name in ("best", "last"))
    torch.testing.assert_close(network.weight.detach(), best["weight"], rtol=0, atol=0)
    assert not torch.equal(best["weight"], last["weight"])
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    assert history.dtype.names == engine.HISTORY_COLUMNS
    assert (history["patches_per_second"] > 0).all() and (history["memory_mb"] > 50).all()


def test_tensorboard_shows_the_history(small, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fit_nearest(small, tmp_path, lambda net: 20.0)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("validation_psnr")] == [20.0] * 4


def test_gpus_that_others_hold_are_left_alone(monkeypatch):
    program = """
import types, sys
torch = sys.modules["torch"] = types.ModuleType("torch")
torch.cuda = types.SimpleNamespace(
    device_count=lambda: 3,
    get_device_properties=lambda index: types.SimpleNamespace(uuid=f"{sys.argv[1]}-{index}"),
    mem_get_info=lambda index: (index, 3),
)
from hsisr.devices import take_gpus
print(take_gpus(int(sys.argv[2])), flush=True)
input()
"""
    mark = f"test-{os.getpid()}"

    def take(count):
        words = [sys.executable, "-c", program, mark, str(count)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return process, json.loads(process.stdout.readline())

    first, one = take(1)
    second, two = take(1)
    third, most = take(3)
    assert (one, two, most) == ([0], [1], [0, 1, 2])
    for process in (first, third):
        process.communicate("")
    fourth, again = take(1)
    assert again == [0]
    for process in (second, fourth):
        process.communicate("")
    for file in Path(tempfile.gettempdir()).glob(f"hsisr-gpu-{mark}-*.lock"):
        file.unlink()
