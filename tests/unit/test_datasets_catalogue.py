"""The catalogue: every entry complete and consistent, and users' own sets."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hsisr import datasets
from hsisr.datasets import fetching
from hsisr.datasets.catalogue import PARTS
from hsisr.degrade import response
from hsisr.errors import HsisrError

NAMES = ["cave", "chikusei", "div2k", "harvard", "indian_pines", "ntire2020", "rgb_photos", "roman_colosseum"]


def test_names():
    assert datasets.names() == NAMES
    assert datasets.names({"mine": {}, "cave": {}}) == sorted([*NAMES, "mine"])


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_complete(name):
    entry = datasets.entry(name)
    assert entry.title and entry.licence and entry.citation and entry.homepage.startswith("https://")
    assert entry.scenes and entry.default_split in entry.splits
    assert entry.auxiliary or (entry.wavelengths_nm is not None and len(entry.wavelengths_nm) == entry.bands)
    assert {"download": entry.files, "package": entry.install, "request": entry.instructions}[entry.access]
    for split in entry.splits.values():
        assert split.description


@pytest.mark.parametrize("name", NAMES)
def test_every_split_names_known_scenes_and_does_not_overlap(name):
    for split in datasets.entry(name).splits:
        parts = datasets.parts(name, split=split)
        assert list(parts) == list(PARTS)
        assert parts["train"]


@pytest.mark.parametrize("name", [name for name in NAMES if datasets.entry(name).response])
def test_default_response_exists(name):
    entry = datasets.entry(name)
    matrix = response(entry.response, np.asarray(entry.wavelengths_nm))
    assert matrix.shape[1] == entry.bands


def test_scene_counts_are_the_published_ones():
    counts = {name: len(datasets.entry(name).scenes) for name in NAMES}
    assert counts["cave"] == 32
    assert counts["harvard"] == 77
    assert counts["ntire2020"] == 460
    assert counts["div2k"] == 900


def test_hashes_of_all_cave_files_are_known():
    table = fetching._hash_table("cave.sha256")
    expected = {f"{scene}_RGB.bmp" for scene in datasets.entry("cave").scenes}
    expected |= {f"{scene}_ms_{band:02d}.png" for scene in datasets.entry("cave").scenes for band in range(1, 32)}
    assert set(table) == expected
    assert len(table) == 1024
    assert all(len(digest) == 64 for digest in table.values())


def test_evenly_spaced_wavelengths():
    assert datasets.entry("cave").wavelengths_nm == tuple(range(400, 701, 10))
    assert datasets.entry("harvard").wavelengths_nm == tuple(range(420, 721, 10))
    assert datasets.entry("chikusei").wavelengths_nm[-1] == 1018


def test_indian_pines_wavelengths_hit_the_published_anchor_points():
    removed = {*range(104, 109), *range(150, 164), 220}
    bands = [band for band in range(1, 221) if band not in removed]
    centres = dict(zip(bands, datasets.entry("indian_pines").wavelengths_nm, strict=True))
    anchors = {1: 400.02, 31: 696.50, 32: 686.91, 64: 994.88, 90: 1244.26, 95: 1273.00, 131: 1630.90, 182: 2122.78,
               216: 2459.54}  # fmt: skip
    for band, published in anchors.items():
        assert centres[band] == pytest.approx(published, abs=0.02)


def test_unknown_name_lists_the_known():
    with pytest.raises(HsisrError, match=r"unknown data set 'cafe'; did you mean cave\? known: cave, .*, mine"):
        datasets.entry("cafe", {"mine": {}})


def test_extra_changes_single_keys_of_a_catalogued_set():
    changed = datasets.entry("harvard", {"harvard": {"scale": 20}})
    assert changed.scale == 20
    assert changed.scenes == datasets.entry("harvard").scenes
    assert datasets.entry("harvard").scale == "scene_maximum"


def test_own_set_finds_its_scenes(tmp_path):
    for name in ("b10.tif", "b2.tif", "notes.txt", "b2.tif.aux.xml", ".hidden.tif"):
        (tmp_path / name).write_text("x")
    (tmp_path / "bands").mkdir()
    (tmp_path / "bands" / "x_01.png").write_text("x")
    entry = datasets.entry("mine", {"mine": {"path": str(tmp_path)}})
    assert entry.scenes == ("b2", "b10", "bands")
    assert entry.access == "folder"


def test_own_set_finds_scenes_by_its_layout(tmp_path):
    for name in ("site1/refl_a.mat", "site1/refl_b.mat", "site1/other_c.mat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    extra = {"mine": {"path": str(tmp_path), "layout": "site[12]/refl_{scene}.mat"}}
    assert datasets.entry("mine", extra).scenes == ("a", "b")
    extra["mine"]["layout"] = "site1/refl_a.mat"
    assert datasets.entry("mine", extra).scenes == ("mine",)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "needs `path`"),
        ({"path": "/does/not/exist"}, "no such folder"),
        ({"path": ".", "scenes": ["a"], "colour": 1}, "colour: unknown key; allowed here: access,"),
        ({"path": ".", "layot": "x"}, "layot: unknown key; did you mean layout"),
        ({"path": 5}, "path: 5 is not allowed; expected text"),
        ({"path": ".", "layout": 5}, "layout: 5 is not allowed; expected a list"),
        ({"path": ".", "scenes": ["a"], "splits": 5}, "splits: 5 is not allowed; expected keys and values"),
        ({"path": ".", "scenes": ["1"], "splits": {"s": {"train": [1]}}}, "splits.s.train.0: 1 .* into quotes"),
        (
            {"path": ".", "scenes": ["a"], "splits": {"s": {"train": [{"scene": "a", "rows": [0, 5]}]}}},
            r"splits.s.train.0.rows: unknown key; allowed here: name, region, scene \(1 more",
        ),
        ({"path": ".", "scenes": ["a", "a"]}, "a name stands twice"),
        ({"path": ".", "scenes": ["a b"]}, "only letters, digits"),
        ({"path": ".", "scenes": ["a"], "bands": 3, "wavelengths_nm": [500, 600]}, "2 values for 3 bands"),
        ({"path": ".", "scenes": ["a"], "wavelengths_nm": {"first": 500, "last": 600}}, "`bands` beside it"),
        ({"path": ".", "scenes": ["a"], "scale": "largest"}, "scale"),
        ({"path": ".", "scenes": ["a"], "scale": "1/0"}, "scale"),
        ({"path": ".", "scenes": ["a"], "default_split": "x"}, "default_split"),
        (
            {"path": ".", "scenes": ["a"], "splits": {"s": {"train": [{"scene": "a", "region": [5, 5, 0, 1]}]}}},
            "region",
        ),
    ],
)
def test_settings_that_make_no_sense(settings, fault):
    with pytest.raises(HsisrError, match=fault) as caught:
        datasets.entry("mine", {"mine": settings})
    assert str(caught.value).startswith(("datasets.mine", "/does/not/exist"))
    assert "\n" not in str(caught.value)


def test_catalogue_is_cheap_to_import():
    code = (
        "import sys, hsisr.datasets as d; d.parts('cave'); "
        "print(sorted({'torch', 'h5py', 'rasterio', 'scipy', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_documentation_has_a_section_with_the_commands(name):
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"hsisr fetch {name}" in section
    assert f"hsisr convert {name}" in section


def put(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"")


@pytest.mark.parametrize(
    ("odd", "named"),
    [("my scene.tif", "'my scene.tif' would"), ("été.npy", "'été.npy' would"), ("_x/1.png", "'_x/1.png'")],
)
def test_files_whose_names_would_leave_them_out_are_refused(tmp_path, odd, named):
    put(tmp_path, "a.tif", "b.TIF", "notes (old).txt", odd)
    with pytest.raises(HsisrError, match=f"{named}.* rename it, or name the scenes to use by `scenes`"):
        datasets.entry("field", {"field": {"path": str(tmp_path)}})
    assert datasets.entry("field", {"field": {"path": str(tmp_path), "scenes": ["a", "b"]}}).scenes == ("a", "b")


def test_guides_and_labels_are_no_scenes(tmp_path):
    """Not those that the entry names, nor in silence those that it does not name; a number is a scene's own."""
    put(tmp_path, "a.tif", "a_2.tif", "a_pan.tif", "a_gt.npy", "b.tif", "b_gt.npy", "pan.tif")

    def scenes(**settings):
        return datasets.entry("field", {"field": {"path": str(tmp_path), **settings}}).scenes

    guide, labels = {"layout": ["{scene}_pan.tif", "pan.tif"]}, {"layout": "{scene}_gt.npy"}
    assert scenes(guide=guide, labels=labels) == ("a", "a_2", "b")
    assert scenes(guide={"layout": "{scene}.tif"}, layout="{scene}.tif") == ("a", "a_2", "a_pan", "b", "pan")
    assert len(scenes(layout="{scene}.*")) == 7
    assert len(scenes(splits={"mine": {"train": ["a", "a_2"], "test": ["b"]}})) == 7
    assert scenes(scenes=["a", "b"]) == ("a", "b")
    for settings, pattern in (({"labels": labels}, "_pan.tif"), ({"guide": guide}, "_gt.npy"), ({}, "_gt.npy")):
        with pytest.raises(HsisrError, match=rf"a{pattern} may be a scene, or .* `guide: .*'{{scene}}{pattern}'}}`"):
            scenes(**settings)


def test_files_that_may_be_scenes_or_bands_are_refused(tmp_path):
    put(tmp_path, "one/01.tif", "one/02.tif", "two/01.tif")
    with pytest.raises(
        HsisrError, match="one/01.tif may be the scene 01, or a band of the scene one; .*'one/{scene}.tif'"
    ):
        datasets.entry("field", {"field": {"path": str(tmp_path)}})
    for layout, scenes in (("{scene}/*", ("one", "two")), ("one/{scene}.tif", ("01", "02"))):
        assert datasets.entry("field", {"field": {"path": str(tmp_path), "layout": layout}}).scenes == scenes


def test_no_scene_says_what_is_there(tmp_path):
    put(tmp_path, "a.png", "b.png")
    with pytest.raises(HsisrError, match="it holds a.png, b.png; `layout` of the data set says where scenes lie"):
        datasets.entry("field", {"field": {"path": str(tmp_path)}})
    assert datasets.entry("field", {"field": {"path": str(tmp_path), "layout": "{scene}.png"}}).scenes == ("a", "b")


def test_links_to_folders_are_followed_once(tmp_path):
    put(tmp_path, "real/a/1.png", "real/b/1.png", "set/c/1.png")
    for name in "ab":
        (tmp_path / "set" / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "set/c/loop").symlink_to(tmp_path / "set")
    assert datasets.entry("field", {"field": {"path": str(tmp_path / "set")}}).scenes == ("a", "b", "c")
