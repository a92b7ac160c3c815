"""Splits: the papers' lists, the validation tenth, regions and their guard bands."""

import json

import numpy as np
import pytest

from hsisr import datasets
from hsisr.datasets.splits import check_parts, region_split
from hsisr.errors import HsisrError
from hsisr.files import check_stamp


def names(items) -> list[str]:
    return [item.name for item in items]


def test_cave_usual_is_the_first_20_and_last_12_in_alphabetical_order():
    parts = datasets.parts("cave")
    scenes = sorted(datasets.entry("cave").scenes)
    assert names(parts["test"]) == scenes[20:]
    assert sorted(names(parts["train"]) + names(parts["validation"])) == scenes[:20]
    assert names(parts["validation"]) == ["cloth", "fake_and_real_tomatoes"]
    assert parts["unlabelled"] == []


def test_cave_mixup_lists():
    parts = datasets.parts("cave", split="mixup")
    labelled = ["balloons", "chart_and_stuffed_toy", "egyptian_statue", "fake_and_real_peppers", "hairs"]
    assert sorted(names(parts["train"]) + names(parts["validation"])) == labelled
    assert len(parts["unlabelled"]) == 15
    assert set(names(parts["test"])) == set(names(datasets.parts("cave")["test"]))


def test_ntire2020_lists_match_the_published_file(extra_data):
    published = {}
    for line in (extra_data / "spec" / "ntire2020_split.txt").read_text().splitlines():
        part, numbers = line.split(":")
        published[part] = [f"ARAD_HS_{number}" for number in numbers.split()]
    parts = datasets.parts("ntire2020", split="mixup")
    assert sorted(names(parts["train"]) + names(parts["validation"])) == published["labeled"]
    assert names(parts["unlabelled"]) == published["unlabeled"]
    assert names(parts["test"]) == published["test"]


def test_harvard_mixup_cuts_each_test_scene_into_four_quarters():
    items = datasets.parts("harvard", split="mixup")["test"]
    assert len(items) == 40
    covered = np.zeros((1040, 1392), int)
    for item in items[:4]:
        assert item.scene == items[0].scene
        r0, r1, c0, c1 = item.region
        covered[r0:r1, c0:c1] += 1
    assert (covered == 1).all()


def test_chikusei_mixup_covers_the_published_crop_without_overlap():
    covered = np.zeros((2517, 2335), int)
    for items in datasets.parts("chikusei", split="mixup").values():
        for item in items:
            r0, r1, c0, c1 = item.region
            covered[r0:r1, c0:c1] += 1
    assert (covered[106:2410, 143:2191] == 1).all()
    assert covered.sum() == 2304 * 2048


@pytest.mark.parametrize(("count", "taken"), [(2, [1]), (5, [2]), (10, [5]), (14, [7]), (15, [3, 11]), (20, [5, 15])])
def test_validation_is_a_tenth_spread_evenly(tmp_path, count, taken):
    scenes = [f"s{i:02d}" for i in range(count + 1)]
    extra = {
        "mine": {"path": str(tmp_path), "scenes": scenes, "splits": {"a": {"train": scenes[:-1], "test": scenes[-1:]}}}
    }
    parts = datasets.parts("mine", extra=extra)
    assert names(parts["validation"]) == [scenes[i] for i in taken]
    assert sorted(names(parts["train"]) + names(parts["validation"])) == scenes[:-1]


def test_own_validation_part_is_kept(tmp_path):
    split = {"train": ["a"], "validation": ["b"], "test": ["c"]}
    extra = {"mine": {"path": str(tmp_path), "scenes": ["a", "b", "c"], "splits": {"x": split}}}
    assert {part: names(items) for part, items in datasets.parts("mine", extra=extra).items()} == {
        "train": ["a"], "validation": ["b"], "test": ["c"], "unlabelled": []
    }  # fmt: skip


def test_restricting_scenes():
    parts = datasets.parts("cave", scenes=["balloons", "beads", "watercolors"])
    assert {part: names(items) for part, items in parts.items()} == {
        "train": ["balloons"], "validation": ["beads"], "test": ["watercolors"], "unlabelled": []
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scenes", "fault"),
    [
        (["balloons", "beads"], r"scenes: \['balloons', 'beads'\] leaves no test scene"),
        (["watercolors"], "0 training scenes; at least 2"),
        (["balloons", "watercolors"], "1 training scenes; at least 2"),
        (["balloons", "beads", "ballons"], r"no scene 'ballons'; did you mean balloons\? known: balloons, beads, cd"),
    ],
)
def test_restriction_that_leaves_too_little(scenes, fault):
    with pytest.raises(HsisrError, match=f"cave: .*{fault}"):
        datasets.parts("cave", scenes=scenes)


def test_mixup_all_keeps_every_labelled_scene():
    for name, count in (("cave", 5), ("harvard", 10), ("ntire2020", 105)):
        usual, everything = (datasets.parts(name, split=split) for split in ("mixup", "mixup-all"))
        assert len(everything["train"]) == count and everything["validation"] == []
        assert set(everything["train"]) == {*usual["train"], *usual["validation"]}
        assert everything["test"] == usual["test"] and everything["unlabelled"] == usual["unlabelled"]
    (train,) = datasets.parts("chikusei", split="mixup-all")["train"]
    assert train.region == (618, 2410, 143, 2191)


def test_eighty_of_a_hundred_train_by_a_seed():
    parts = datasets.parts("cave", split="eighty")
    assert {part: len(items) for part, items in parts.items()} == {
        "train": 23,
        "validation": 3,
        "test": 6,
        "unlabelled": 0,
    }
    assert names(parts["test"]) == [
        "fake_and_real_lemon_slices",
        "fake_and_real_tomatoes",
        "glass_tiles",
        "jelly_beans",
        "real_and_fake_apples",
        "watercolors",
    ]  # of these names, on any machine and by any version of numpy
    assert parts == datasets.parts("cave", split="eighty-0")
    assert names(datasets.parts("cave", split="eighty-1")["test"]) != names(parts["test"])
    harvard = datasets.parts("harvard", split="eighty")
    daylight = {item.scene for items in datasets.parts("harvard").values() for item in items}
    assert {item.scene for items in harvard.values() for item in items} == daylight
    assert len(harvard["test"]) == 10
    few = datasets.parts("cave", scenes=["beads", "cd", "clay", "cloth", "face"], split="eighty")
    assert len(few["test"]) == 1 and len(few["train"]) + len(few["validation"]) == 4
    with pytest.raises(HsisrError, match="split eighty: 1 scenes are too few"):
        datasets.parts("chikusei", split="eighty")


def test_unknown_split_lists_the_known():
    with pytest.raises(HsisrError, match="cave: unknown split 'x'; known: dhif, mixup, mixup-all, .*, usual, eighty"):
        datasets.parts("cave", split="x")


def test_auxiliary_sets_need_no_test_part():
    parts = datasets.parts("rgb_photos")
    assert len(parts["train"]) == 5
    assert parts["test"] == parts["validation"] == []


def test_indian_pines_regions_keep_16_pixels():
    parts = datasets.parts("indian_pines", guard_px=16)
    assert {part: items[0].region for part, items in parts.items() if items} == {
        "train": (0, 144, 0, 80), "validation": (96, 144, 96, 144), "test": (0, 80, 96, 144)
    }  # fmt: skip
    with pytest.raises(HsisrError, match="lie 16 pixels apart, expected at least 17"):
        datasets.parts("indian_pines", guard_px=17)


def own_regions(train, test, guard_px=0, **more) -> dict:
    split = {
        "guard_px": guard_px,
        "train": [{"scene": "a", "region": train}],
        "validation": [{"scene": "a", "region": [900, 950, 900, 950]}],
        "test": [{"scene": "a", "region": test, **more}],
    }
    return {"mine": {"path": "/data", "scenes": ["a"], "splits": {"x": split}}}


def test_overlapping_regions_are_refused():
    with pytest.raises(HsisrError, match=r"mine: train \(a-train\) and test \(a-test\) of scene a overlap"):
        datasets.parts("mine", extra=own_regions([0, 64, 0, 64], [63, 128, 63, 128]))


def test_touching_regions_need_a_guard_of_zero():
    regions = [0, 64, 0, 64], [0, 64, 64, 128]
    assert datasets.parts("mine", extra=own_regions(*regions))["test"]
    with pytest.raises(HsisrError, match="lie 0 pixels apart, expected at least 8"):
        datasets.parts("mine", extra=own_regions(*regions, guard_px=8))


def test_diagonal_neighbours_are_as_far_as_their_larger_gap():
    extra = own_regions([0, 64, 0, 64], [70, 128, 90, 128], guard_px=26)
    assert datasets.parts("mine", extra=extra)["test"]


def test_item_names_are_unique():
    with pytest.raises(HsisrError, match="'a-train' stands twice"):
        datasets.parts("mine", extra=own_regions([0, 64, 0, 64], [64, 128, 0, 64], name="a-train"))


def test_whole_scene_and_its_region_overlap():
    items = {"train": [datasets.Item("a", "a")], "test": [datasets.Item("a-test", "a", (0, 8, 0, 8))]}
    with pytest.raises(HsisrError, match="overlap"):
        check_parts("x", items)


@pytest.mark.parametrize(("height", "width"), [(145, 145), (320, 320), (95, 100), (512, 217)])
def test_region_split_is_disjoint_and_divides_by_16(height, width):
    split = region_split("a", height, width, guard_px=16)
    items = {
        part: [datasets.Item(part, "a", getattr(split, part)[0].region)] for part in ("train", "validation", "test")
    }
    check_parts("a", items, guard_px=16)
    for (item,) in items.values():
        r0, r1, c0, c1 = item.region
        assert r1 <= height and c1 <= width
        assert (r1 - r0) % 16 == (c1 - c0) % 16 == 0


def test_region_split_of_too_small_a_scene():
    with pytest.raises(HsisrError, match="48 x 48 pixels are too few"):
        region_split("a", 48, 48)


def test_set_without_a_split_tests_on_its_last_fifth(tmp_path):
    extra = {"mine": {"path": str(tmp_path), "scenes": [f"s{i}" for i in range(10)]}}
    assert names(datasets.parts("mine", extra=extra)["test"]) == ["s8", "s9"]
    extra["mine"]["scenes"] = ["s0", "s1"]
    with pytest.raises(HsisrError, match="2 scenes are too few"):
        datasets.parts("mine", extra=extra)


def test_one_scene_set_without_a_split_is_cut_into_regions(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 160, 150), np.float32))
    extra = {"mine": {"path": str(tmp_path), "reader_options": {"axes": "BHW"}}}
    parts = datasets.parts("mine", extra=extra)
    assert parts["train"][0].region == (0, 160, 0, 80)
    assert parts["test"][0].region == (0, 96, 96, 144)


def test_split_file(tmp_path):
    content = datasets.split("indian_pines", tmp_path / "s.json")
    written = json.loads((tmp_path / "s.json").read_text())
    check_stamp("s.json", written, "split")
    assert written == json.loads(json.dumps(content))
    assert written["parts"]["test"] == [
        {"name": "indian_pines-test", "scene": "indian_pines", "region": [0, 80, 96, 144]}
    ]
    first = (tmp_path / "s.json").read_bytes()
    datasets.split("indian_pines", tmp_path / "s.json")
    assert (tmp_path / "s.json").read_bytes() == first


@pytest.mark.parametrize(
    ("split", "fault"),
    [
        (
            {"train": ["a", "b"], "test": ["b"], "tenth": False},
            "'b' stands in train and in test of its split; keep one",
        ),
        ({"train": ["a", "b", "b"], "test": ["c"], "tenth": False}, "'b' stands twice in its split"),
        (
            {"train": ["A", "b"], "test": ["c"]},
            "the scene 'A', which it does not have; did you mean a[?] known: a, b, c",
        ),
        ({"train": ["a", "b"]}, "mine: its split has no test scene; add one"),
    ],
)
def test_splits_with_a_slip(split, fault):
    extra = {"mine": {"path": ".", "scenes": ["a", "b", "c"], "splits": {"own": split}}}
    with pytest.raises(HsisrError, match=fault):
        datasets.parts("mine", extra=extra)
