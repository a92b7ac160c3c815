"""Every module can be imported where the operating system lacks what only some have."""

import os
import subprocess
import sys

import pytest

from tests.workflow.conftest import ROOT

#: Modules of the standard library that Windows lacks.
POSIX_ONLY = ("fcntl", "resource", "grp", "pwd", "termios", "pty", "tty", "syslog", "posix_ipc")
#: Functions of `os` that Windows, or macOS too, lacks.
MISSING = (
    *("sched_getaffinity", "sched_setaffinity", "fork", "statvfs", "sysconf", "getuid", "geteuid", "fchmod", "nice"),
    *("getloadavg", "posix_fadvise", "posix_fallocate", "O_NOFOLLOW"),
)
#: All are imported once as they are, which loads what they need of others, whose builds for other systems differ.
IMPORT_ALL = f"""
import importlib, os, pkgutil, sys
import hsisr, snakemake_logger_plugin_hsisr
names = [found.name for package in (hsisr, snakemake_logger_plugin_hsisr)
         for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".") if "__main__" not in found.name]
for name in names:
    importlib.import_module(name)
for name in {POSIX_ONLY}:
    sys.modules[name] = None
for name in {MISSING}:
    if hasattr(os, name):
        delattr(os, name)
for name in names:
    if name != "hsisr.ops.scan":  # it registers itself with torch, once in a process
        importlib.reload(sys.modules[name])
print(len(names))
"""


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_without_posix() -> None:
    assert int(run(IMPORT_ALL)) > 150


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_threads_and_memory_are_told_elsewhere(system: str) -> None:
    told = run(f"""
import os, sys
from hsisr import system
del os.sched_getaffinity
sys.platform = {system!r}
os.environ.pop("OMP_NUM_THREADS", None)
print(system.available_threads() == os.cpu_count(), system.most_memory_mb())
""").split()
    assert told[0] == "True"
    assert told[1] == "nan" if system == "win32" else float(told[1]) > 0


def test_a_lock_says_where_it_works(tmp_path) -> None:
    told = run(f"""
import sys
sys.modules["fcntl"] = None
from pathlib import Path
from hsisr.errors import HsisrError
from hsisr.locks import take
try:
    take(Path({str(tmp_path / "lock")!r}))
except HsisrError as error:
    print(error)
""")
    assert "no POSIX locks; use Linux or macOS, on Windows its subsystem for Linux" in told
