"""Pair and patch files: what is cut where, and that any sample can be made again."""

import itertools
import multiprocessing
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from hsisr import degrade, evaluation, metrics
from hsisr.config import Config, Patches
from hsisr.errors import HsisrError
from hsisr.pipeline import benchmark, pair_files, patch_files, paths
from hsisr.pipeline.patch_files import PatchFile
from hsisr.samples import Sample, augment
from hsisr.scene import Scene
from tests.unit.conftest import CONFIG, small_scene


def test_pair_is_the_degraded_region_and_nothing_of_its_neighbours(small):
    scene = Scene.open(small.scene_path(small.item("indian_pines-test")))
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-test"))
    hr = scene.cube[:, 0:80, 96:144]
    np.testing.assert_array_equal(pair.hr, hr)
    np.testing.assert_allclose(pair.lr, degrade.degrade(hr, "wald", 4), rtol=0, atol=1e-7)
    np.testing.assert_array_equal(pair.labels, scene.labels[0:80, 96:144])
    assert pair.guide.shape == (3, 80, 48) and pair.metadata["protocol"] == "wald"


def test_patches_lie_where_they_say(small):
    file = PatchFile(small.path(paths.PATCHES), augment=False)
    pair = pair_files.read(small.path(paths.PAIR, item="indian_pines-train"))
    corners = list(itertools.product(range(0, 33, 4), range(0, 17, 4)))
    assert len(file) == len(corners) == 45
    found = {tuple(map(tuple, file[k].lr[:, :, 0])) for k in range(len(file))}
    assert found == {tuple(map(tuple, pair.lr[:, r : r + 4, c])) for r, c in corners}
    sample = file[0]
    for r, c in corners:
        if np.array_equal(sample.lr, pair.lr[:, r : r + 4, c : c + 4]):
            window = np.s_[:, 4 * r : 4 * r + 16, 4 * c : 4 * c + 16]
            np.testing.assert_array_equal(sample.hr, pair.hr[window])
            np.testing.assert_array_equal(sample.guide, pair.guide[window])
            return
    raise AssertionError("the first sample is no patch of the pair")


def test_last_patches_reach_the_far_border():
    grid = Patches(size_lr_px=4, stride_lr_px=4)
    assert patch_files._corners(np.ones((10, 4), bool), grid, "x", 0) == [(0, 0), (4, 0), (6, 0)]
    published = grid.model_copy(update={"to_border": False})
    assert patch_files._corners(np.ones((10, 4), bool), published, "x", 0) == [(0, 0), (4, 0)]


def test_random_places_are_drawn_once_over_the_whole_scene():
    drawn = Patches(size_lr_px=4, crops_per_scene=64, places="random")
    corners = patch_files._corners(np.ones((10, 6), bool), drawn, "x", 0)
    assert len(corners) == 64 and corners == patch_files._corners(np.ones((10, 6), bool), drawn, "x", 0)
    assert {row for row, _ in corners} == set(range(7)) and {column for _, column in corners} == set(range(3))
    assert corners != patch_files._corners(np.ones((10, 6), bool), drawn, "x", 1)


def test_every_epoch_visits_every_patch_once_in_its_own_order(small):
    file = PatchFile(small.path(paths.PATCHES), seed=5, augment=False)
    epochs = [[file[e * len(file) + k].lr.tobytes() for k in range(len(file))] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) and epochs[0] != epochs[1]
    other = PatchFile(small.path(paths.PATCHES), seed=6, augment=False)
    assert epochs[0] != [other[k].lr.tobytes() for k in range(len(other))]


def test_sample_depends_on_its_number_only(small):
    path = small.path(paths.PATCHES)
    forward = [PatchFile(path, seed=1)[k].hr for k in range(60)]
    backward = PatchFile(path, seed=1)
    for k in reversed(range(60)):
        np.testing.assert_array_equal(backward[k].hr, forward[k])
    resumed = next(PatchFile(path, seed=1).batches(4, start=7))
    np.testing.assert_array_equal(resumed[2].hr, forward[30])


def test_samples_are_views_and_stacks_of_them_the_callers_own(small):
    file = PatchFile(small.path(paths.PATCHES), seed=1)
    stacked = file.stack(range(5, 9))
    for k in range(4):
        for name in ("lr", "guide", "hr"):
            np.testing.assert_array_equal(getattr(stacked, name)[k], getattr(file[5 + k], name))
    assert all(file[k].hr.flags.c_contiguous for k in range(20))
    mapped = PatchFile(small.path(paths.PATCHES), seed=1, augment=False)
    with pytest.raises(ValueError, match="read-only"):
        mapped[5].hr[...] = 0
    own = mapped.stack([5])
    own.hr[...] = 0
    assert mapped[5].hr.any()


def test_file_that_is_not_in_one_piece_is_one_line(small, tmp_path):
    import h5py

    path = tmp_path / "chunked.h5"
    shutil.copy(small.path(paths.PATCHES), path)
    with h5py.File(path, "r+") as file:
        lr = file["lr"][...]
        del file["lr"]
        file.create_dataset("lr", data=lr, chunks=True)
    with pytest.raises(HsisrError, match="lr is not stored in one piece, or cut.; delete it and make it again"):
        PatchFile(path)[0]


def test_workers_that_fork_read_the_same_samples(small):
    file = PatchFile(small.path(paths.PATCHES), seed=1)
    here = [file[k].lr for k in range(8)]  # the handle is open before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map(_Reader(file), range(8))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


class _Reader:
    def __init__(self, file: PatchFile) -> None:
        self.file = file

    def __call__(self, number: int) -> np.ndarray:
        return self.file[number].lr


def test_augmentation_keeps_lr_guide_and_hr_aligned():
    index = np.arange(36.0, dtype=np.float32).reshape(1, 6, 6)
    sample = Sample(index, np.kron(index, np.ones((1, 2, 2))), np.kron(index, np.ones((1, 2, 2))))
    seen = set()
    for seed in range(200):
        changed = augment(sample, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed.hr, np.kron(changed.lr, np.ones((1, 2, 2))))
        np.testing.assert_array_equal(changed.guide, changed.hr)
        assert sorted(changed.lr.ravel()) == sorted(index.ravel())
        seen.add(changed.lr.tobytes())
    assert len(seen) == 16  # 8 flips and rotations, each with and without the roll


def test_random_protocol_keeps_scenes_and_degrades_when_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_scene().save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    config = Config.parse(CONFIG | {"patches": {"size_lr_px": 4, "crops_per_scene": 12}})
    chosen = benchmark.resolve(config, "indian_pines_x4_mulsr")
    assert patch_files.make(chosen, chosen.path(paths.PATCHES)) == 12
    file = PatchFile(chosen.path(paths.PATCHES), seed=2, augment=False)
    samples = [file[k] for k in range(12)]
    train = small_scene().cube[:, 0:144, 0:80]
    for sample in samples:
        assert sample.lr.shape == (5, 4, 4) and sample.hr.shape == (5, 16, 16) and sample.guide.shape == (3, 16, 16)
        places = np.argwhere(train[0] == sample.hr[0, 0, 0])
        assert any(np.array_equal(train[:, r : r + 16, c : c + 16], sample.hr) for r, c in places)
    means = [float(np.abs(sample.lr.mean() - sample.hr.mean())) for sample in samples]
    assert max(means) > 0 and len({sample.lr.tobytes() for sample in samples}) == 12
    np.testing.assert_array_equal(file[3].lr, samples[3].lr)


def test_patches_of_a_protocol_that_does_not_turn_are_degraded_after_they_are_turned(small):
    corner = {"psf": "none", "sampling": "strided", "phase": 1}
    chosen = benchmark.resolve(Config.parse(CONFIG | {"protocols": {"corner": corner}}), "indian_pines_x4_corner")
    for item in chosen.parts["train"]:
        pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))
    patch_files.make(chosen, chosen.path(paths.PATCHES))
    for choice in (True, "dihedral", False):
        file = PatchFile(chosen.path(paths.PATCHES), augment=choice)
        for sample in (file[k] for k in range(30)):
            np.testing.assert_array_equal(sample.lr, sample.hr[:, 1::4, 1::4])
    choice = {"protocols": {"corner": corner}, "benchmarks": {"indian_pines_x4_corner": {"noise": 0.05}}}
    noisy = benchmark.resolve(Config.parse(CONFIG | choice), "indian_pines_x4_corner")
    for item in noisy.parts["train"]:
        pair_files.make(noisy, item.name, noisy.path(paths.PAIR, item=item.name))
    patch_files.make(noisy, "noisy.h5")
    sample = PatchFile("noisy.h5").stack(range(20))
    assert np.std(sample.lr - sample.hr[:, :, 1::4, 1::4]) == pytest.approx(0.05, rel=0.05)


def with_holes(places: tuple[slice, slice]) -> Scene:
    """The small scene with pixels without data, and one sample without."""
    scene = small_scene()
    stored = scene.stored.copy()
    stored[:, *places] = stored[2, 60, 60] = 65535
    return replace(scene, stored=stored, nodata=65535.0)


@pytest.mark.parametrize("chosen", [{}, {"places": "random", "crops_per_scene": 200}], ids=["grid", "random"])
def test_no_patch_holds_pixels_without_data(tmp_path, monkeypatch, capsys, chosen):
    monkeypatch.chdir(tmp_path)
    scene = with_holes(np.s_[48:56, 20:60])
    scene.save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    found = benchmark.resolve(Config.parse(CONFIG | {"patches": CONFIG["patches"] | chosen}), "indian_pines_x4")
    for item in found.parts["train"]:
        pair_files.make(found, item.name, found.path(paths.PAIR, item=item.name))
    assert not pair_files.read(found.path(paths.PAIR, item="indian_pines-train")).mask[50, 30]
    patch_files.make(found, found.path(paths.PATCHES))
    with h5py.File(found.path(paths.PATCHES)) as file:
        corners = file["yx"][...]
        assert file["hr"][...].max() < 1  # the lone sample is filled
    lr_rows, lr_columns = range(48 // 4, 56 // 4), range(20 // 4, 60 // 4)
    for row, column in corners:  # beside a hole, the sensor sees some of it
        assert not (
            set(range(row - 1, row + 5)) & set(lr_rows) and set(range(column - 1, column + 5)) & set(lr_columns)
        )
    if chosen:
        assert len(corners) == 200 and len({tuple(corner) for corner in corners}) > 50
    else:
        assert len(corners) < 45
        assert f"{45 - len(corners)} of 45 patches hold pixels without data: left out" in capsys.readouterr().err


def test_a_scene_of_holes_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = with_holes(np.s_[::8, ::8])
    scene.save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    found = benchmark.resolve(Config.parse(CONFIG), "indian_pines_x4")
    pair_files.make(found, "indian_pines-train", found.path(paths.PAIR, item="indian_pines-train"))
    with pytest.raises(HsisrError, match="no patch of 4 LR pixels a side of training scene indian_pines-train is free"):
        patch_files.make(found, found.path(paths.PATCHES))
    crops = benchmark.resolve(Config.parse(CONFIG), "indian_pines_x4_mulsr")
    with pytest.raises(HsisrError, match="indian_pines-train: some pixels have no data, and protocol mulsr cuts"):
        patch_files.make(crops, crops.path(paths.PATCHES))


def test_scene_with_nan_is_refused_when_crops_are_to_be_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = small_scene()
    cube = scene.cube.astype(np.float32)
    cube[2, 5, 5] = np.nan
    Scene(cube, scene.name, wavelengths_nm=scene.wavelengths_nm, labels=scene.labels).save(
        paths.SCENE.format(dataset="indian_pines", scene="indian_pines")
    )
    chosen = benchmark.resolve(Config.parse(CONFIG), "indian_pines_x4_mulsr")
    with pytest.raises(HsisrError, match="indian_pines-train: holds NaN or infinite values"):
        patch_files.make(chosen, chosen.path(paths.PATCHES))


def test_epoch_of_a_part_of_the_patches_draws_it_anew(small):
    path = small.path(paths.PATCHES)
    for choice, of in ((False, 45), ("dihedral", 360)):
        file = PatchFile(path, 3, choice, per_epoch=20)
        assert len(file) == 20 and file.patches == 45
        epochs = [{file[20 * epoch + k].hr.tobytes() for k in range(20)} for epoch in range(2)]
        assert len(epochs[0]) == len(epochs[1]) == 20 and epochs[0] != epochs[1]
        whole = PatchFile(path, 3, choice, per_epoch=1000)
        assert len(whole) == of
        np.testing.assert_array_equal(whole[7].lr, PatchFile(path, 3, choice)[7].lr)


def test_sizes_that_do_not_divide_under_mixup(tmp_path, monkeypatch):
    """As NTIRE's 482 rows at x4: one LR row more, patches inside the reference, results cut back to it."""
    monkeypatch.chdir(tmp_path)
    small_scene(146, 143).save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    halves = {"train": [{"scene": "indian_pines", "region": [0, 146, 0, 78]}], "tenth": False}
    halves["test"] = [{"scene": "indian_pines", "region": [0, 146, 81, 143]}]
    own = {"datasets": {"indian_pines": {"default_split": "halves", "splits": {"halves": halves}}}}
    chosen = benchmark.resolve(
        Config.parse(CONFIG | own | {"benchmarks": {"indian_pines_x4_mixup": {"models": ["bicubic"]}}}),
        "indian_pines_x4_mixup",
    )
    for part in chosen.parts.values():
        for item in part:
            pair_files.make(chosen, item.name, chosen.path(paths.PAIR, item=item.name))
    pair = pair_files.read(chosen.path(paths.PAIR, item="indian_pines-test"))
    assert pair.lr.shape == (5, 37, 16) and pair.hr.shape == (5, 146, 62) and pair.labels.shape == (146, 62)
    np.testing.assert_allclose(pair.lr, degrade.imresize(pair.hr, 0.25), atol=1e-6)
    pair_files.show(pair, tmp_path / "pair.png", [0])

    patch_files.make(chosen, chosen.path(paths.PATCHES))
    file = PatchFile(chosen.path(paths.PATCHES), augment=False)
    samples = [file[k] for k in range(len(file))]
    assert all(sample.hr.shape == (5, 16, 16) for sample in samples) and len(samples) == 9 * 5

    found = evaluation.evaluate_benchmark(chosen, "test").models["bicubic"].mean
    expected = degrade.interpolate(pair.lr, 4)[:, :146, :62]
    assert found["psnr"] == pytest.approx(metrics.score(pair.hr, expected, 4, "mixup")["psnr"], abs=1e-6)


def test_patch_larger_than_the_scene_is_one_line(small):
    config = Config.parse(CONFIG | {"patches": {"size_lr_px": 30}})
    chosen = benchmark.resolve(config, small.name)
    with pytest.raises(
        HsisrError, match=r"size_lr_px: 30 is larger than training scene indian_pines-train, 36 x 20 LR"
    ):
        patch_files.make(chosen, "out.h5")


@pytest.mark.parametrize("read", [pair_files.read, PatchFile, Scene.open])
def test_absent_damaged_and_foreign_files_are_one_line(small, tmp_path, read):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 500)
    foreign = {pair_files.read: paths.PATCHES, PatchFile: paths.SCENE, Scene.open: paths.PATCHES}[read]
    for path in ("absent.h5", damaged, small.path(foreign, scene="indian_pines")):
        with pytest.raises(HsisrError, match=r"no such|damaged|not an hsisr"):
            read(path)


def test_a_loop_over_the_samples_ends_after_an_epoch(small):
    file = PatchFile(small.path(paths.PATCHES), augment=False)
    samples = list(file)
    assert len(samples) == len(file) == 45
    np.testing.assert_array_equal(samples[7].lr, file[7].lr)
    with pytest.raises(IndexError, match="there is no sample -1; they are counted from 0"):
        file[-1]


@pytest.mark.parametrize(
    ("choice", "fault"), [({"augment": "dihedrall"}, "augment 'dihedrall'"), ({"seed": -1}, "seed -1")]
)
def test_choices_that_are_not_known(small, choice, fault):
    with pytest.raises(HsisrError, match=fault):
        PatchFile(small.path(paths.PATCHES), **choice)
