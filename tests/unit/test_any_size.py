"""Scenes of any size: methods that learn scenes give one result, whatever tiles, memory and devices make it."""

import gc
import json
import re
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import hsisr
from hsisr import scene
from hsisr.datasets import read_scene, writers
from hsisr.datasets.writers import export
from hsisr.degrade import Sensor, gaussian_footprint
from hsisr.inference import kept, progress, save_model, scenes, super_resolve_file
from hsisr.inference.learning import LEARNT, learn_scene
from hsisr.inference.progress import seconds_left
from hsisr.models import registry
from hsisr.models.prior import blocks, effort
from hsisr.models.windows import HeldImages
from tests.unit.large_scene import BANDS, CPU, SCALE, TOLERANCE, largest_difference, results, write_pair


def test_prior_has_one_result_for_a_scene(tmp_path):
    lr, guide, _ = write_pair(tmp_path)
    whole, *others = results(tmp_path, "prior", lr, guide).values()
    assert max(largest_difference(whole, other) for other in others) < TOLERANCE


def test_prior_has_one_result_for_a_large_scene(tmp_path, small_blocks):
    lr, guide, _ = write_pair(tmp_path)
    whole, *others = results(tmp_path, "prior", lr, guide).values()
    assert max(largest_difference(whole, other) for other in others) < TOLERANCE


def test_a_sample_of_a_scene_teaches_most_of_what_all_of_it_does(tmp_path, monkeypatch):
    lr, guide, sharp = write_pair(tmp_path, 96, 96, holes=False)
    errors = []
    for most in (96**2 - 1, 96**2):  # LR pixels up to which a scene is taken whole
        monkeypatch.setattr(blocks, "_MOST_LR_PX", most)
        result = np.load(super_resolve_file(lr, guide, "prior", tmp_path / f"{most}.npy", CPU))
        errors.append(np.sqrt(((result - sharp) ** 2).mean()))
    assert errors[1] != errors[0] < 1.2 * errors[1]  # the light differs from place to place


def test_windows_of_a_scene_have_every_lr_pixel_once(monkeypatch):
    monkeypatch.setattr(blocks, "_MOST_LR_PX", 1000)
    monkeypatch.setattr(blocks, "LEARNT_LR_PX", 16)
    rng = np.random.default_rng(0)
    images = HeldImages(rng.random((2, 48, 64)), rng.random((1, 96, 128)).astype(np.float32), 2)
    footprint = gaussian_footprint(2)
    windows = blocks.LearningWindows(images, 2, footprint)
    assert len(windows) == 12 and windows.shape == (16, 16)
    seen = footprint.sampler(2, (96, 128))(images.guide)[0]
    found, bands = np.empty((48, 64)), np.empty((2, 48, 64))
    for number in range(12):
        rows, columns = (slice(16 * n, 16 * n + 16) for n in divmod(number, 4))
        window = windows[number]
        found[rows, columns] = window.sampler(window.guide)[0]
        bands[:, rows, columns] = window.bands.reshape(2, 16, 16)
    np.testing.assert_allclose(found, seen, atol=1e-12)  # what a window's borders see lies in it
    np.testing.assert_array_equal(bands, images.lr)


def test_hybrid_in_memory_is_hybrid_on_files(tmp_path, hybrid, small_blocks):
    lr, guide, _ = write_pair(tmp_path, holes=False)
    on_files = np.load(super_resolve_file(lr, guide, hybrid, tmp_path / "sr.npy", CPU))
    in_memory = hsisr.super_resolve(read_scene(lr), read_scene(guide), model=hybrid)
    assert largest_difference(on_files, in_memory) < TOLERANCE


def test_hybrid_has_one_result_for_a_scene(tmp_path, hybrid):
    lr, guide, _ = write_pair(tmp_path, flat=True)
    whole, *others = results(tmp_path, hybrid, lr, guide).values()
    assert max(largest_difference(whole, other) for other in others) < TOLERANCE


def test_hybrid_has_one_result_for_a_large_scene(tmp_path, hybrid, small_blocks):
    lr, guide, _ = write_pair(tmp_path)
    whole, *others = results(tmp_path, hybrid, lr, guide).values()
    assert max(largest_difference(whole, other) for other in others) < TOLERANCE


KILLED = """
import os, signal, sys
from hsisr.inference import Options, super_resolve_file
from hsisr.inference.staging import Staging

write = Staging.write_row

def dying(self, row, tiles):
    if row == 1 and sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, row, tiles)

Staging.write_row = dying
super_resolve_file("lr.tif", "guide.tif", "prior", "sr.npy", Options(device="cpu", tile=16))
"""


def test_a_killed_run_goes_on_with_what_it_has_learnt(tmp_path):
    lr, guide, _ = write_pair(tmp_path, width=16)

    def run(word: str) -> subprocess.CompletedProcess:
        words = [sys.executable, "-c", KILLED, word]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    expected = super_resolve_file(lr, guide, "prior", tmp_path / "expected.npy", replace(CPU, tile=16)).read_bytes()
    assert run("die").returncode == -signal.SIGKILL
    assert (tmp_path / ".sr.npy.work" / LEARNT).is_file()
    again = run("live")
    assert again.returncode == 0 and "resumes: 1 of 3 tile rows are done" in again.stderr, again.stderr
    assert (tmp_path / "sr.npy").read_bytes() == expected
    assert not list(tmp_path.glob(".sr*"))


def test_what_was_learnt_cannot_run_code(tmp_path):
    import pickle

    harm = tmp_path / "harm"

    class Harmful:
        def __reduce__(self):
            return Path.mkdir, (harm,)

    file = tmp_path / LEARNT
    file.write_bytes(pickle.dumps(Harmful()))
    assert kept.read(file, "run", "hsisr") is None
    np.savez(file, facts=np.array([Harmful()], object))
    assert kept.read(file, "run", "hsisr") is None
    for module, name in (("os", "system"), ("subprocess", "Popen"), ("hsisr.inference.scenes", "Path")):
        facts = {"identity": "run", "learnt": {"class": [module, name], "state": {"tuple": [str(harm)]}}}
        np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8))
        assert kept.read(file, "run", "hsisr") is None
    assert not harm.exists()


def test_what_was_learnt_is_read_as_it_was_and_for_its_run_alone(tmp_path):
    facts = [(0.5, 2.0), {"a": 1, (1, 2.0): None}, gaussian_footprint(2), np.arange(6.0).reshape(2, 3), np.float32(3)]
    kept.write(tmp_path / LEARNT, facts, "one")
    assert kept.read(tmp_path / LEARNT, "other", "hsisr") is None
    again = kept.read(tmp_path / LEARNT, "one", "hsisr")
    assert again[:2] == facts[:2] and again[4] == facts[4]
    np.testing.assert_array_equal(again[2].rows, facts[2].rows)
    np.testing.assert_array_equal(again[3], facts[3])


@pytest.mark.parametrize("large", [False, True])
def test_how_far_learning_has_come_is_told(tmp_path, monkeypatch, request, large):
    if large:
        request.getfixturevalue("small_blocks")
    lr, guide, _ = write_pair(tmp_path, holes=False)
    told = []
    for name in ("_START", "_CHOOSING"):  # or they would be nearly all of so small a scene
        monkeypatch.setattr(effort, name, 0.0)
    monkeypatch.setattr(HeldImages, "tell", lambda images, done, total: told.append(done / total))
    images = HeldImages(read_scene(lr).cube, read_scene(guide).cube, SCALE)
    registry.build("prior", SCALE, BANDS, 3).estimate(images, Sensor(footprint=gaussian_footprint(SCALE)))
    assert 0 < told[0] < 0.6 and 0.9 < told[-1] <= 1


def test_effort_counts_features_windows_and_passes():
    small, large = (effort.Costs((side, side), BANDS, 3, 8) for side in (64, 256))
    assert small.features == 3 + 6 + 3 * 4 + 512 and large.features > 1.4 * small.features
    assert large.passes(3) == pytest.approx(3 * large.passes(1))
    assert small.passes(3) < 2 * small.passes(1)  # a single window keeps its features
    assert large.effort.making > 16 * 1.3 * small.effort.making


def test_what_is_left_counts_what_follows():
    assert seconds_left(1, 4, 10) == 30
    assert seconds_left(1, 4, 10, ahead=0.5) == 50
    assert seconds_left(4, 4, 40, ahead=0.5) == 20


def test_lines_say_what_is_left_of_learning_and_tiles(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    told = progress.Learning("prior", ahead=20.0)
    for now[0], done, total in ((1.0, 1, 10), (4.0, 5, 10), (9.0, 6, 10), (20.0, 5, 5)):  # less than expected
        told(done, total)
    with progress.Progress(total=4, done=1, ahead=0.5) as tiles:  # a run that goes on: three tiles are missing
        for now[0] in (25.0, 35.0, 50.0):
            tiles.advance()
    assert capsys.readouterr().err.splitlines() == [
        "prior learns the scene, 50% done, 20 s left with all that follows",
        "prior learns the scene, 100% done, 80 s left with all that follows",
        "tile 3 of 4, 22 s left",
        "tile 4 of 4, 20 s left",
    ]


def test_a_slow_start_of_learning_has_no_line_yet(monkeypatch, tmp_path, capsys):
    now = iter(range(0, 10**6, 60))  # each look at the clock is a minute later
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    told = progress.Learning("solo", ahead=20.0)
    told(0.0, 10.0)
    assert not capsys.readouterr().err
    low, _, _ = write_pair(tmp_path, holes=False)
    super_resolve_file(low, None, "solo", tmp_path / "sr.npy", replace(CPU, scale=SCALE))
    assert "solo learns the scene" not in capsys.readouterr().err  # it has one window, and tells before it


def test_lines_say_how_far_a_long_writing_is(tmp_path, monkeypatch, capsys):
    now = iter(range(0, 1000, 7))
    monkeypatch.setattr(scene, "STRIP_BYTES", 1)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    lr, _, _ = write_pair(tmp_path, 80, 24)
    super_resolve_file(lr, None, "bicubic", tmp_path / "sr.tif", replace(CPU, scale=4))
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("row")] == [
        "row 128 of 320, 56 s left",
        "row 256 of 320, 42 s left",
    ]


@pytest.mark.parametrize("uncertainty", [False, True])
def test_what_was_learnt_takes_no_memory_while_files_are_written(tmp_path, monkeypatch, uncertainty):
    low, guide, _ = write_pair(tmp_path)
    learnt, written = [], []

    def learn(*arguments):
        feed = learn_scene(*arguments)
        learnt.append(weakref.ref(feed.learnt))
        return feed

    def write(scene, out, *arguments):
        gc.collect()
        written.append(learnt[0]())
        return export(scene, out, *arguments)

    monkeypatch.setattr(scenes, "learn_scene", learn)
    monkeypatch.setattr(writers, "export", write)
    sigma = tmp_path / "sigma.tif" if uncertainty else None
    super_resolve_file(low, guide, "prior", tmp_path / "sr.tif", CPU, uncertainty=sigma)
    assert written == [None] * (2 if uncertainty else 1)


def test_a_tile_that_takes_more_than_the_memory_is_said(tmp_path, capsys):
    lr, guide, _ = write_pair(tmp_path)
    super_resolve_file(lr, guide, "prior", tmp_path / "sr.npy", replace(CPU, memory=2**14))
    assert "memory 16 kB: the smallest tile, 16 LR pixels with a halo of 1, takes about" in capsys.readouterr().err


def test_what_was_learnt_takes_its_part_of_the_memory(tmp_path, monkeypatch, capsys):
    assert kept.held_bytes([np.zeros((2, 3)), {"a": (np.zeros(5, np.float32), 1.0)}]) == 48 + 20
    lr, guide, _ = write_pair(tmp_path)
    sides = []
    for held in (0, 2**19, 2**30):
        monkeypatch.setattr(kept, "held_bytes", lambda learnt, held=held: held)
        super_resolve_file(lr, guide, "prior", tmp_path / f"{held}.npy", replace(CPU, memory=2**20))
        sides.append(int(re.search(r"tiles of (\d+) LR pixels", capsys.readouterr().err)[1]))
    assert sides[0] > 1.2 * sides[1] > 1.2 * sides[2] >= 16


def test_solo_has_one_result_for_a_scene(tmp_path, small_blocks):
    low, _, _ = write_pair(tmp_path)
    torch.manual_seed(0)
    network = registry.build("solo", SCALE, BANDS, 0, {"width": 8, "blocks": 2}).eval()
    for part in (network.deep, network.light):
        torch.nn.init.normal_(part.last.weight, std=0.05)
    facts = {"base": "solo", "options": {"width": 8, "blocks": 2}, "scale": SCALE, "bands": None, "guide_channels": 0}
    facts["wavelengths_nm"] = None
    save_model(tmp_path / "solo.safetensors", network, facts)
    whole, *others = results(tmp_path, tmp_path / "solo.safetensors", low, None).values()
    bicubic = np.load(super_resolve_file(low, None, "bicubic", tmp_path / "plain.npy", replace(CPU, scale=SCALE)))
    assert largest_difference(whole, bicubic) > 1e-2
    assert max(largest_difference(whole, other) for other in others) < TOLERANCE
