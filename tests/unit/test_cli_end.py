"""How a command ends when the system stops it: temporary files removed, a line that says how to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import own_scene

REPOSITORY = Path(__file__).parents[2]
STOPPED_WHILE_IT_WORKS = """
import signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored where the tests run under nohup
signal.signal(signal.SIGINT, signal.default_int_handler)  # and this one where they run in the background
from hsisr import inference
from hsisr.cli import main
import hsisr.inference.scenes as scenes
def wait(*arguments, ahead):
    open("working", "w").close()
    time.sleep(60)
scenes.compute = wait
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_predict_says_how_to_resume(number, tmp_path):
    own_scene.write_pair(tmp_path, 16, 16)
    words = ["predict", "lr.tif", "--guide", "guide.tif", "--model", "gsa", "-o", "sr.tif", "--device", "cpu"]
    running = subprocess.Popen(
        [sys.executable, "-c", STOPPED_WHILE_IT_WORKS, *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (tmp_path / "working").exists():
        assert time.monotonic() < end and running.poll() is None
        time.sleep(0.05)
    running.send_signal(number)
    running.send_signal(signal.SIGTERM)  # as a scheduler sends it to all, and its child to this one again
    _, said = running.communicate(timeout=30)
    assert running.returncode == 128 + number
    assert said.splitlines()[-1] == f"hsisr: stopped by {number.name}; the same command goes on where it was"
    assert "Traceback" not in said and not list(tmp_path.glob(".*.tmp-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("words", [["--version"], ["schema"]])
def test_a_full_disk_behind_stdout_is_one_line(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hsisr", *words], stdout=full, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "hsisr: error: what is printed cannot be written (No space left on device)\n"


def test_a_signal_while_python_ends_changes_nothing():
    program = "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
    program += "import sys; sys.argv = ['hsisr', '--version']; from hsisr.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_streams_that_are_closed_stop_no_command(tmp_path):
    own_scene.write_pair(tmp_path, 16, 16)
    words = "predict lr.tif --guide guide.tif --model gsa --tile 8 -o sr.tif <&- >&- 2>&-"
    line = f"{sys.executable} -m hsisr {words}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert done.returncode == 0 and (tmp_path / "sr.tif").is_file()


def test_what_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "pair.h5").mkdir()
    for words in (["info", "folder.npy"], ["registration", "pair.h5"], ["compare", "pair.h5", "pair.h5"]):
        done = subprocess.run(
            [sys.executable, "-m", "hsisr", *words], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr


def test_what_gdal_says_in_no_encoding_stays_unsaid(tmp_path):
    """rasterio prints a traceback of its own where it cannot decode a warning."""
    header = "samples = 4\nlines = 4\nbands = 1\ndata type = 1\ninterleave = bsq\nbyte order = 0\nheader offset = 0\n"
    place = b"map info = {UTM, 1, 1, 5, 6, 30, 30, 31, North, \xf0GS}\n"
    (tmp_path / "a.hdr").write_bytes(b"ENVI\n" + header.encode() + place)
    (tmp_path / "a.img").write_bytes(bytes(16))
    done = subprocess.run(
        [sys.executable, "-m", "hsisr", "info", "a.hdr"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "Unicode" not in done.stderr and done.returncode == 0


def test_names_and_places_that_cannot_be_used_are_one_line(tmp_path):
    """What Python, or GDAL, would end with a traceback on."""

    def said(words: list[str | bytes], **variables: str) -> tuple[int, str, str]:
        line = [sys.executable, "-P", "-m", "hsisr", *words]
        settings = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=settings)
        return done.returncode, done.stdout, done.stderr

    status, _, line = said(["init", b"n\xe9"])
    assert (status, line) == (1, "hsisr: error: n\\udce9: this name is no text in utf-8; rename the file or folder\n")
    status, _, line = said(["init", "--source", ""])
    assert status == 1 and line.startswith("hsisr: error: the argument after --source is empty; ")
    status, printed, _ = said(["init", "né t"], PYTHONIOENCODING="ascii")
    assert status == 0 and printed.splitlines()[-1] == r"next: cd 'n\xe9 t' && hsisr run"
    deleted = f"cd '{tmp_path / 'né t'}' && rm -r \"$PWD\" && exec '{sys.executable}' -P -m hsisr init q"
    settings = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["sh", "-c", deleted], capture_output=True, text=True, env=settings)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith("was deleted; change to another one (cd)")
    assert "Traceback" not in done.stderr


def test_a_home_that_snakemake_cannot_write_to_is_one_line(tmp_path):
    (tmp_path / "Snakefile").touch()
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hsisr", "run", "-n"], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "file")},
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "file/snakemake: Snakemake cannot write its files there; choose another place (export XDG_" in done.stderr
