"""A file system without locks: what needs one says so, everything else works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from . import seeds

SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
int flock(int file, int operation) { errno = ENOLCK; return -1; }
static int refuse(const char *name, int file, int command, void *argument) {
    if (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW) {
        errno = ENOLCK;
        return -1;
    }
    int (*real)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
    return real(file, command, argument);
}
#define REFUSING(NAME)                                       \\
    int NAME(int file, int command, ...) {                   \\
        va_list arguments;                                   \\
        va_start(arguments, command);                        \\
        void *argument = va_arg(arguments, void *);          \\
        va_end(arguments);                                   \\
        return refuse(#NAME, file, command, argument);       \\
    }
REFUSING(fcntl)
REFUSING(fcntl64)
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler, to take locks away"
)


@pytest.fixture(scope="module")
def without_locks(tmp_path_factory):
    """Runs a command of hsisr in a folder of seeds; no lock can be had there. Returns how it ended."""
    folder = tmp_path_factory.mktemp("locks")
    seeds.write(folder)
    (folder / "no_locks.c").write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "no_locks.so", "no_locks.c", "-ldl"], cwd=folder, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(folder / "no_locks.so"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "hsisr", *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)

    run.folder = folder
    return run


@pytest.mark.parametrize(
    "words",
    [
        ["info", "scene.h5"],
        ["show", "pair.h5", "-o", "a.png"],
        ["export", "scene.h5", "b.h5"],
        ["degrade", "scene.h5", "--protocol", "wald", "--scale", "2", "-o", "c.h5"],
        ["score", "scene.h5", "scene.h5", "--scale", "2"],
    ],
    ids=lambda words: words[0],
)
def test_what_needs_no_lock_works(words, without_locks):
    done = without_locks(*words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "scene.h5", "--model", "bicubic", "--scale", "2", "-o", "d.tif"],
        ["finetune", "x.tif", "guide.tif", "--steps", "1", "-o", "tuned"],
    ],
    ids=lambda words: words[0],
)
def test_what_needs_one_says_so_in_one_line(words, without_locks):
    done = without_locks(*words)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1
    assert "its file system has no locks" in lines[0] and "choose another output" in lines[0]
    assert not [path.name for path in without_locks.folder.rglob("*") if path.name.endswith(".work")]


def test_the_op_runs_without_its_library_and_says_why(without_locks):
    done = without_locks("ops", "--build")
    assert "Traceback" not in done.stderr and "has no locks" in done.stdout + done.stderr
