"""Temporary files: those of killed processes are removed, those of living ones and of anybody else are not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hsisr import temporary
from hsisr.cli.app import app
from hsisr.errors import HsisrError
from hsisr.files import atomic_path, write_text

REPOSITORY = Path(__file__).parents[2]
KILLED_WHILE_IT_WRITES = """
import os, signal, sys
from pathlib import Path
from hsisr import temporary
from hsisr.files import atomic_path
with atomic_path(sys.argv[1]) as new, temporary.new_folder(Path(sys.argv[1]).parent, "export") as folder:
    new.write_text("half")
    (folder / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_it_writes(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_WRITES, str(path)], cwd=REPOSITORY, timeout=60)
    assert done.returncode == -9
    assert len(names(path.parent)) == 2


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    killed_while_it_writes(tmp_path / "a.h5")
    write_text(tmp_path / "a.h5", "whole")
    with temporary.new_folder(tmp_path, "export"):
        pass
    assert names(tmp_path) == ["a.h5"]


def test_a_writer_of_another_file_leaves_it(tmp_path):
    killed_while_it_writes(tmp_path / "a.h5")
    write_text(tmp_path / "b.h5", "whole")
    assert len(names(tmp_path)) == 3


def test_what_a_living_process_writes_stays(tmp_path):
    with atomic_path(tmp_path / "a") as mine:
        write_text(tmp_path / "a", "another thread's")
        temporary.remove_left(tmp_path / "a")
        assert mine.exists() and list(temporary.left_in(tmp_path)) == []


@pytest.mark.parametrize("name", ["*.tif", "[ab].tif", "?", "a b", "ä" * 100, "-rf", "x" * 250])
def test_a_name_is_never_a_pattern(tmp_path, name):
    others = [tmp_path / f".{other}.tmp-notes" for other in ("a.tif", "b", "x.tif")]
    for other in others:
        other.write_text("somebody's own")
    write_text(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole"
    assert all(other.read_text() == "somebody's own" for other in others)


def test_another_host_has_a_day(tmp_path):
    theirs = tmp_path / ".a.tmp-00000000-1-1-abc"
    theirs.write_text("half")
    temporary.remove_left(tmp_path / "a")
    assert theirs.exists()
    os.utime(theirs, (time.time() - 90_000,) * 2)
    temporary.remove_left(tmp_path / "a")
    assert not theirs.exists()


def test_a_number_that_was_given_again_is_another_process(tmp_path):
    with atomic_path(tmp_path / "a") as mine:
        place, process, start, _ = mine.name.partition(".tmp-")[2].split("-")
        earlier = tmp_path / f".b.tmp-{place}-{process}-{int(start) - 1}-abc"
        earlier.write_text("half")
        assert list(temporary.left_in(tmp_path)) == [earlier]


def test_links_are_removed_and_not_followed(tmp_path):
    killed_while_it_writes(tmp_path / "a.h5")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "precious").write_text("kept")
    left = next(file for file in tmp_path.iterdir() if file.name.startswith(".a.h5"))
    left.unlink()
    left.symlink_to(tmp_path / "own")
    write_text(tmp_path / "a.h5", "whole")
    assert not left.is_symlink() and (tmp_path / "own" / "precious").read_text() == "kept"


def test_clean_up_names_what_it_removes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    scenes = tmp_path / "data" / "scenes"
    scenes.mkdir(parents=True)
    (scenes / ".mine.tmp-x").write_text("somebody's own")
    subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_WRITES, str(scenes / "a.h5")], cwd=REPOSITORY, timeout=60)
    app(["clean-up"], standalone_mode=False)
    said = capsys.readouterr().out
    assert ".a.h5.tmp-" in said and ".export.tmp-" in said and said.endswith("kB freed\n")
    assert names(scenes) == [".mine.tmp-x"]
    with pytest.raises(HsisrError, match="^scene: no such folder$"):
        app(["clean-up", "scene"], standalone_mode=False)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HsisrError, match="file: cannot be written"), temporary.new_folder(tmp_path / "file", "export"):
        pass
