"""What `hsisr datasets` and `hsisr info` print."""

import numpy as np
import pytest
import scipy.io

from hsisr import datasets
from hsisr.datasets import facts, writers
from hsisr.pipeline import paths
from hsisr.scene import Scene

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


UTM = {"crs": "EPSG:32632", "transform": (30.0, 0.0, 399960.0, 0.0, -30.0, 5300040.0)}


def told(path, **options) -> dict[str, str]:
    lines = datasets.info(path, **options).splitlines()[1:]
    return dict(line.strip().split("  ", 1) for line in lines)


@pytest.mark.parametrize("ending", [".tif", ".hdr", ".h5"])
def test_info_says_where_a_file_lies_and_what_it_holds(ending, tmp_path):
    stored = np.arange(2 * 40 * 30, dtype=np.int16).reshape(2, 40, 30)
    writers.export(Scene(stored, "s", scale=0.5, offset=1.0, nodata=0, **UTM), tmp_path / f"s{ending}")
    found = {key: value.strip() for key, value in told(tmp_path / f"s{ending}").items()}
    assert found["EPSG"] == "32632, WGS 84 / UTM zone 32N" and "crs" not in found
    assert found["pixel size"] == "30 x 30 metre"
    assert found["extent"] == "x 399960 to 400860, y 5298840 to 5300040"
    assert found["values"] == "1.5 to 1200.5"  # 0 is missing


def test_info_writes_a_system_out_that_has_no_number(tmp_path):
    own = "+proj=tmerc +lat_0=1 +lon_0=2 +x_0=3 +ellps=WGS84 +units=m"
    writers.export(Scene(np.ones((1, 4, 4), np.int16), "s", **{**UTM, "crs": own}), tmp_path / "s.tif")
    found = told(tmp_path / "s.tif")
    assert "EPSG" not in found and "Transverse_Mercator" in found["crs"]


def test_info_takes_options_of_the_reader(tmp_path):
    scipy.io.savemat(tmp_path / "two.mat", {"a": np.full((6, 5, 3), 2.0), "b": np.full((6, 5, 4), 7.0)})
    assert "variable" in told(tmp_path / "two.mat")["as a scene"]
    assert told(tmp_path / "two.mat", variable="b")["values"].strip() == "7 to 7"


def test_values_leave_out_what_a_mask_hides_and_look_at_a_part_of_large_scenes(monkeypatch):
    cube = np.arange(200 * 8, dtype=np.float32).reshape(1, 200, 8)
    mask = np.ones((200, 8), bool)
    mask[0] = False
    assert facts.values(Scene(cube, mask=mask))["values"] == "8 to 1599"
    assert facts.values(Scene(cube, mask=~np.ones((200, 8), bool)))["values"] == "none: every pixel is missing"
    monkeypatch.setattr(facts, "_MOST_BYTES", cube.nbytes // 2)
    assert facts.values(Scene(cube))["values"] == "0 to 1599, in 96 of 200 rows"


def test_place_of_a_turned_grid_and_of_an_unknown_system():
    turned = facts.place(Scene(np.zeros((1, 10, 20)), transform=(0.0, 2.0, 100.0, 3.0, 0.0, 50.0), crs="nonsense"))
    assert turned == {"pixel size": "3 x 2", "extent": "x 100 to 120, y 50 to 110"}
    assert facts.place(Scene(np.zeros((1, 10, 20)))) == {}


def test_info_warns_once(tmp_path, capsys):
    centres = np.array([500.0, 600.0, 700.0])
    writers.export(Scene(np.ones((3, 4, 4), np.float32), "s", wavelengths_nm=centres), tmp_path / "s.hdr")
    header = (tmp_path / "s.hdr").read_text()
    assert "500.0, 600.0, 700.0" in header
    (tmp_path / "s.hdr").write_text(header.replace("500.0, 600.0, 700.0", "1, 2, 3"))  # numbers of bands
    datasets.info(tmp_path / "s.hdr")
    assert capsys.readouterr().err.count("hsisr: warning:") == 1
