"""What `hsisr datasets` and `hsisr info` print."""

import pytest

from hsisr import datasets
from hsisr.pipeline import paths

from .fakes import EXTRA, FOLDER


@pytest.fixture
def workplace(tmp_path):
    """A working folder with the fake CAVE fetched and two of its scenes converted."""
    raw = (tmp_path / paths.RAW.format(dataset="cave")).parent
    datasets.fetch("cave", raw, str(FOLDER / "cave"), extra=EXTRA)
    for scene in ("balloons", "cd"):
        datasets.convert("cave", scene, raw, tmp_path / paths.SCENE.format(dataset="cave", scene=scene), extra=EXTRA)
    return tmp_path


def test_table_lists_every_set_and_what_is_here(workplace):
    lines = datasets.table(EXTRA | {"mine": {"path": str(FOLDER / "roman_colosseum")}}, workplace).splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert list(rows) == sorted([*datasets.names(), "mine"])
    assert rows["cave"].split()[1:8] == ["4", "31", "400-700", "nm", "download", "4", "of"]
    assert " 2 " in rows["cave"][rows["cave"].index("4 of 4") :]
    assert " no " in rows["harvard"]
    assert len({line.index(word) for line, word in ((lines[0], "title"), (rows["cave"], "CAVE"))}) == 1


def test_page_says_everything(workplace):
    page = datasets.page("cave", EXTRA, workplace)
    for part in ("Yasuma", "complete_ms_data.zip", "HSISR_SOURCE_CAVE", "2 of 4 scenes", "nikon_d700", "split usual",
                 "the default", "split mixup", "31, 400-700 nm"):  # fmt: skip
        assert part in page


@pytest.mark.parametrize("name", datasets.names())
def test_page_of_every_set(name, tmp_path):
    page = datasets.page(name, root=tmp_path)
    assert datasets.entry(name).title in page
    assert "None" not in page


def test_page_of_a_set_without_split(tmp_path):
    page = datasets.page("mine", {"mine": {"path": str(FOLDER / "roman_colosseum")}}, tmp_path)
    assert str(FOLDER / "roman_colosseum") in page


def test_info_of_a_scene_file(workplace):
    text = datasets.info(workplace / "data/scenes/cave/cd.h5")
    for part in ("hsisr scene", "31", "uint16", "400 to 700 nm", "from licence", "from sha256"):
        assert part in text
