"""Parts: a run that several processes share gives the bytes of one, and nobody gets in another's way."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hsisr.datasets import read_scene
from hsisr.datasets.writers import export
from hsisr.errors import HsisrError
from hsisr.inference.parts import Part, super_resolve_part
from hsisr.inference.run import code_of, take_part
from hsisr.inference.scenes import Options, super_resolve_file
from hsisr.scene import Scene
from hsisr.sources import own_sources

AXES = {"read": {"axes": "BHW"}, "read_guide": {"axes": "BHW"}}
TILED = Options(tile=8, **AXES)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(6, 80, 64)), axis=1), axis=2)
    sharp = (smooth - smooth.min()) / np.ptp(smooth)
    low = sharp.reshape(6, 40, 2, 32, 2).mean(axis=(2, 4))
    np.save(tmp_path / "lr.npy", low.astype(np.float32))
    np.save(tmp_path / "guide.npy", sharp[:3].astype(np.float32))
    return tmp_path / "lr.npy", tmp_path / "guide.npy"


def test_a_part_is_named_by_number_and_count() -> None:
    assert Part.of("plan") == Part(0, 1)
    assert Part.of("3/8") == Part(3, 8)
    for wrong in ("", "3", "0/8", "9/8", "-1/8", "3/8/1", "Plan", "3 / 8"):
        with pytest.raises(HsisrError, match="expected `plan`, or number/count"):
            Part.of(wrong)


@pytest.mark.parametrize("count", [1, 3, 7, 50])
def test_parts_make_each_row_once(count: int) -> None:
    rows = [row for number in range(1, count + 1) for row in Part(number, count).rows(17)]
    assert rows == list(range(17))
    assert not Part.of("plan").rows(17)


@pytest.mark.parametrize("model", ["bicubic", "prior"])
def test_parts_joined_are_the_bytes_of_one_process(pair: tuple[Path, Path], tmp_path: Path, model: str) -> None:
    whole, shared = tmp_path / "whole.tif", tmp_path / "shared.tif"
    options = Options(tile=8, scale=2, **AXES)
    super_resolve_file(*pair, model, whole, options)
    for part in ("plan", "2/3", "3/3", "1/3"):
        super_resolve_part(*pair, model, shared, part, options)
    assert not shared.exists()
    super_resolve_file(*pair, model, shared, options)
    assert shared.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guide.npy", "lr.npy", "shared.tif", "whole.tif"]


def test_processes_share_a_run_without_a_plan(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out, whole = tmp_path / "out.tif", tmp_path / "whole.tif"
    words = [sys.executable, "-m", "hsisr", "predict", str(pair[0]), "--guide", str(pair[1]), "--tile", "8"]
    words += ["--model", "prior", "--out", str(out), "--read", "axes=BHW", "--read-guide", "axes=BHW"]
    running = [subprocess.Popen([*words, "--part", f"{part}/2"]) for part in (1, 2)]
    assert [process.wait() for process in running] == [0, 0]
    rows = len(list((tmp_path / ".out.tif.work").glob("row-*")))
    assert rows == 5
    super_resolve_file(*pair, "prior", out, TILED)
    super_resolve_file(*pair, "prior", whole, TILED)
    assert out.read_bytes() == whole.read_bytes()


def test_parts_that_are_missing_are_made_when_they_are_joined(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    super_resolve_part(*pair, "prior", out, "2/2", TILED)
    super_resolve_file(*pair, "prior", out, TILED)
    assert np.isfinite(read_scene(out).cube).all()


def test_nobody_joins_or_changes_a_run_while_a_part_is_made(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    super_resolve_part(*pair, "prior", out, "1/2", TILED)
    folder = tmp_path / ".out.tif.work"
    lock = take_part(folder, out, "2-of-2")
    try:
        with pytest.raises(HsisrError, match="is making a part of it; wait for all parts"):
            super_resolve_file(*pair, "prior", out, TILED)
        with pytest.raises(HsisrError, match="is making a part of another run"):
            super_resolve_part(*pair, "prior", out, "1/2", Options(tile=10, **AXES))
        with pytest.raises(HsisrError, match="is making part 2-of-2"):
            super_resolve_part(*pair, "prior", out, "2/2", TILED)
    finally:
        lock.release()
    assert list(folder.glob("row-*"))
    super_resolve_file(*pair, "prior", out, TILED)
    assert not folder.exists()


def test_a_part_of_a_result_that_exists_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    out.write_bytes(b"mine")
    with pytest.raises(HsisrError, match="exists already"):
        super_resolve_part(*pair, "prior", out, "1/2", TILED)
    assert out.read_bytes() == b"mine"
    assert not (tmp_path / ".out.tif.work").exists()


def test_a_part_that_is_refused_leaves_nothing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.ones((3, 50, 41), np.float32))
    with pytest.raises(HsisrError):
        super_resolve_part(pair[0], tmp_path / "other.npy", "prior", tmp_path / "out.tif", "1/2", TILED)
    assert not (tmp_path / ".out.tif.work").exists()


def test_a_run_is_of_the_code_of_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = []
    for text in ("import layers", "import layers", "import layers\nX = 1"):
        Path("mynet.py").write_text(text)
        Path("layers.py").write_text("")
        own_sources.cache_clear()
        found.append(code_of("mynet:Net"))
    assert found[0] == found[1] != found[2]
    assert found[0].keys() - code_of("mulsr").keys() == {"mynet.py", "layers.py"}
    assert code_of("mulsr") == code_of(None)


@pytest.mark.parametrize("image", ["lr.npy", "lr.hdr", "lr"])
def test_an_image_that_changes_between_two_parts_is_noticed(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture, image: str
) -> None:
    """Of the same size and time, in the data of a header, and in a file of a folder."""
    out, whole = tmp_path / "out.tif", tmp_path / "whole.tif"
    cube = np.load(pair[0])
    data = {"lr.npy": pair[0], "lr.hdr": tmp_path / "lr.img", "lr": tmp_path / "lr" / "B2.tif"}[image]
    options = TILED if image == "lr.npy" else replace(TILED, read={})

    def write(values: np.ndarray) -> None:
        if image == "lr.npy":
            np.save(data, values)
        elif image == "lr.hdr":
            export(Scene(values), tmp_path / image)
        else:
            for band, plane in enumerate(values):
                export(Scene(plane[None]), tmp_path / image / f"B{band + 1}.tif")

    write(cube)
    super_resolve_part(tmp_path / image, pair[1], "gsa", out, "1/2", options)
    size, times = data.stat().st_size, (data.stat().st_atime_ns, data.stat().st_mtime_ns)
    header = (tmp_path / image).stat().st_mtime_ns
    if image == "lr":
        export(Scene(cube[1:2] / 2), data)
    elif image == "lr.hdr":
        (cube / 2).tofile(data)
    else:
        np.save(data, cube / 2)
    os.utime(data, ns=times)
    assert data.stat().st_mtime_ns == times[1] and (image == "lr" or data.stat().st_size == size)
    assert image != "lr.hdr" or (tmp_path / image).stat().st_mtime_ns == header
    super_resolve_part(tmp_path / image, pair[1], "gsa", out, "2/2", options)
    assert "holds an unfinished run of other inputs" in capsys.readouterr().err
    super_resolve_file(tmp_path / image, pair[1], "gsa", out, options)
    super_resolve_file(tmp_path / image, pair[1], "gsa", whole, options)
    assert out.read_bytes() == whole.read_bytes()
