"""The lock: against other processes and oneself, after its holder has died, where there are none, for several users."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hsisr.errors import HsisrError
from hsisr.inference.run import work_folder
from hsisr.locks import Taken, hold, run_lock, take
from hsisr.ops import build

REPOSITORY = Path(__file__).parents[2]

TRY = """
import sys
from hsisr.errors import HsisrError
from hsisr.locks import take
try:
    take(sys.argv[1])
    print("free")
except HsisrError as error:
    print(error)
"""


def tried(path):
    """What another process says that tries to take the lock."""
    ran = subprocess.run([sys.executable, "-c", TRY, str(path)], cwd=REPOSITORY, capture_output=True, text=True)
    return ran.stdout.strip()


def test_names_its_holder_and_is_free_when_it_is_released(tmp_path):
    lock = take(tmp_path / "lock")
    assert tried(tmp_path / "lock") == f"{tmp_path / 'lock'}: held by process {os.getpid()}"
    lock.release()
    assert tried(tmp_path / "lock") == "free"


def test_refusing_oneself_does_not_let_others_in(tmp_path):
    with run_lock(tmp_path):
        with pytest.raises(HsisrError, match="is training here"), run_lock(tmp_path):
            pass
        assert "held by" in tried(tmp_path / "state" / "lock")


def test_one_that_waits_outlives_the_folder(tmp_path):
    """As of a run's folder, which whoever finishes the run removes."""
    folder, got = tmp_path / "work", []
    lock = take(folder / "lock")
    waiting = threading.Thread(target=lambda: got.append(take(folder / "lock", wait=True)))
    waiting.start()
    shutil.rmtree(folder)
    lock.release()
    waiting.join(timeout=30)
    assert [one.path.is_file() for one in got] == [True]
    got[0].release()


def test_a_link_to_the_folder_is_the_same_lock(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with hold(tmp_path / "lock"), pytest.raises(Taken):
        take(tmp_path / "link" / "lock")


def test_a_worker_that_outlives_its_holder_does_not_hold_the_lock(tmp_path):
    program = """
import os, sys, time
from hsisr.locks import take
lock = take(sys.argv[1])
worker = os.fork()
if not worker:
    time.sleep(600)
print(worker, flush=True)
time.sleep(600)
"""
    words = [sys.executable, "-c", program, str(tmp_path / "lock")]
    holder = subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    worker = int(holder.stdout.readline())
    assert f"held by process {holder.pid}" in tried(tmp_path / "lock")
    holder.kill()
    holder.wait()
    try:
        assert tried(tmp_path / "lock") == "free"
    finally:
        os.kill(worker, 9)


def test_threads_wait_for_each_other(tmp_path):
    inside, most = [], []

    def work():
        with hold(tmp_path / "lock", wait=True):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_a_lock_file_that_its_holder_removes_lets_one_waiter_in(tmp_path):
    path = tmp_path / "lock"

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with hold(path):
        waiter = context.Process(target=wait_in_child, args=(str(path), queue))
        waiter.start()
        waiter.join(1)
        path.unlink()
    number, pid = queue.get(timeout=30)
    waiter.join()
    assert pid == waiter.pid and number == os.stat(path).st_ino, "the lock of a file that others do not see"


def wait_in_child(path, queue):
    from hsisr import locks

    locks._held.clear()  # a fork remembers what its parent holds
    with locks.hold(path, wait=True):
        queue.put((os.stat(path).st_ino, os.getpid()))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks(tmp_path, monkeypatch, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    for lock in (run_lock(tmp_path), work_folder(tmp_path / "sr.tif"), hold(tmp_path / "lock")):
        with (
            pytest.raises(HsisrError, match="its file system has no locks .*; mount it with locks .*, or choose"),
            lock,
        ):
            pass
    with pytest.raises(HsisrError) as caught:
        take(tmp_path / "lock", advice="set TMPDIR to a folder on another one")
    assert str(caught.value).endswith("or set TMPDIR to a folder on another one")


def test_a_build_in_a_cache_without_locks_says_so(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(build, "_loaded", {})
    with pytest.raises(build.Unavailable, match="has no locks .*, or set XDG_CACHE_HOME to a folder on another one"):
        build.load(build.cpu_library())


def test_a_lock_for_everybody_is_so_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        take(tmp_path / "everybody", mode=0o666).release()
        take(tmp_path / "mine").release()
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("everybody", "mine")] == [0o666, 0o600]


def test_a_link_in_place_of_a_lock_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(HsisrError, match="cannot be locked"):
        take(tmp_path / "lock")
    assert (tmp_path / "precious").read_text() == "content"


GPUS = """
import types, sys, pathlib
torch = sys.modules["torch"] = types.ModuleType("torch")
torch.cuda = types.SimpleNamespace(
    device_count=lambda: 2,
    get_device_properties=lambda index: types.SimpleNamespace(uuid=index),
    mem_get_info=lambda index: (index, 3),
)
import os
from hsisr import devices

opened = os.open
def refuse(path, *args):
    if str(path).endswith("gpu-0.lock"):
        raise PermissionError(13, "Permission denied")
    return opened(path, *args)
os.open = refuse
print(devices.take_gpus(1), devices.take_gpus(2))
"""


def test_a_gpu_lock_file_of_another_user_that_cannot_be_opened_blocks_nobody(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", GPUS], cwd=REPOSITORY, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert ran.stdout == "[1] [0, 1]\n", ran.stderr
    assert (tmp_path / "hsisr-gpu-1.lock").stat().st_mode & 0o777 == 0o666


def test_work_folder_is_gone_after_success_and_names_who_works_in_it(tmp_path, monkeypatch):
    with work_folder(tmp_path / "sr.tif") as folder:
        (folder / "row-000000.f32").write_bytes(b"x")
        (folder / "timing").mkdir()
        with pytest.raises(HsisrError, match=f"sr.tif: process {os.getpid()} is writing it; wait"):
            work_folder(tmp_path / "sr.tif").__enter__()
        assert "held by" in tried(folder / "lock")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="stop"), work_folder(tmp_path / "sr.tif") as folder:
        raise ValueError("stop")
    (folder / "row-000000.f32").touch()

    def without_locks(path, **others):  # as after a failure of a network file system's
        raise HsisrError(f"{path}: its file system has no locks")

    monkeypatch.setattr("hsisr.inference.run.take", without_locks)
    for name in ("sr.tif", "other.tif"):
        with pytest.raises(HsisrError, match="no locks"):
            work_folder(tmp_path / name).__enter__()
    assert list(tmp_path.iterdir()) == [folder] and (folder / "row-000000.f32").is_file()


WITHOUT_FCNTL = """
import pkgutil, sys, importlib
sys.modules["fcntl"] = None
import hsisr
for module in pkgutil.walk_packages(hsisr.__path__, "hsisr."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from hsisr.locks import take
from hsisr.errors import HsisrError
try:
    take(sys.argv[1])
except HsisrError as error:
    print(error)
"""


def test_everything_can_be_imported_where_there_is_no_fcntl(tmp_path):
    words = [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path / "lock")]
    ran = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "has no POSIX locks; use Linux or macOS" in ran.stdout


def test_only_one_module_knows_the_systems_locks():
    sources = [path for path in Path(REPOSITORY, "hsisr").rglob("*.py") if "fcntl" in path.read_text()]
    assert [path.name for path in sources] == ["locks.py"]
