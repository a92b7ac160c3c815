"""One kind of lock for all work that only one process may do at a time: run folders, work folders, builds, GPUs.

The lock is the system's (POSIX; NFS has it too). It ends with the process, however the process ends, and child
processes do not inherit it. The library filelock does not serve: in most of its versions, it uses flock. Forked workers
share such a lock, and keep it when their parent is killed. Also, filelock does not know who holds a lock.
"""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hsisr.errors import HsisrError
from hsisr.screen import say

#: Lock files that this process holds. The system would give it a lock twice, and release both with the first.
_held: set[Path] = set()
_change = threading.Condition()
#: Errors of file systems without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Taken(HsisrError):
    """Another process, or this one, already holds the lock. holder: as the lock file states."""

    def __init__(self, path: Path, holder: "Holder") -> None:
        super().__init__(f"{path}: held by {holder}")
        self.holder = holder


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: number of the process and name of its host, both `unknown` if the file does not state them."""

    pid: str = "unknown"
    host: str = "unknown"

    def __str__(self) -> str:
        return f"process {self.pid}{'' if self.here else f' on {self.host}'}"

    @property
    def here(self) -> bool:
        """Whether the holder's host is this host."""
        return self.host == socket.gethostname()


@dataclass(frozen=True, eq=False)
class Lock:
    """A lock that is held until `release` or the end of this process."""

    path: Path
    _file: IO[str]

    def release(self) -> None:
        """Release the lock. The lock file stays, unless its folder has been removed."""
        with contextlib.suppress(OSError):  # closing can fail on a full disk
            self._file.close()
        _give_back(self.path)


def take(
    path: str | os.PathLike, wait: bool = False, mode: int | None = None, advice: str = "choose another folder"
) -> Lock:
    """Take the lock of the file `path`. Its folder is made. The file then states who holds the lock.

    wait: until the lock is free. mode: of a new lock file, whatever the umask says, such as 0o666 for a lock that other
    users need; None: as the umask says. advice: for the user, if `path` cannot be locked.
    Raises Taken at once if another process, or this one, holds the lock and `wait` is not set. Raises HsisrError if the
    file cannot be made or opened, and if its file system, or this operating system, has no locks.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.parent.resolve() / path.name
    except OSError as error:
        raise _cannot_lock(path, error, advice) from error
    _claim(path, wait)  # first: the system's lock ends when this process closes any file on `path`
    try:
        return Lock(path, _locked_file(path, wait, mode, advice))
    except BaseException:
        _give_back(path)
        raise


def take_in_turn(path: str | os.PathLike, what: str, work: str, advice: str = "choose another folder") -> Lock:
    """Take a lock as `take`, after those who hold it; a line says who. what: is locked. work: that they do with it."""
    try:
        return take(path, advice=advice)
    except Taken as taken:
        say(f"{what}: waits for {taken.holder}, which {work}")
        return take(path, wait=True, advice=advice)


@contextmanager
def hold(path: str | os.PathLike, wait: bool = False, advice: str = "choose another folder") -> Iterator[None]:
    """Hold a lock for the time of a block. Arguments and errors as `take`."""
    lock = take(path, wait, advice=advice)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def run_lock(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a run folder for this process alone, by its file `state/lock`.

    Raises HsisrError at once, with the holder, if another process trains there; and if the folder cannot be locked.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(Path(folder) / "state" / "lock"))
        except Taken as taken:
            raise HsisrError(_trains_here(folder, taken.holder)) from None
        yield


def _claim(path: Path, wait: bool) -> None:
    """Take the lock from this process's other threads."""
    with _change:
        while path in _held:
            if not wait:
                raise Taken(path, Holder(str(os.getpid()), socket.gethostname()))
            _change.wait()
        _held.add(path)


def _give_back(path: Path) -> None:
    with _change:
        _held.discard(path)
        _change.notify_all()


def _locked_file(path: Path, wait: bool, mode: int | None, advice: str) -> IO[str]:
    """The lock file, open and locked."""
    lock = _system_lock(path)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)  # the last holder may have removed the folder
            file = _open(path, mode)
        except OSError as error:
            raise _cannot_lock(path, error, advice) from error
        try:
            lock(file, wait)
            if _is_still(path, file):
                _sign(file)
                return file
        except (BlockingIOError, PermissionError):
            raise Taken(path, _holder(file)) from None
        except OSError as error:
            raise _cannot_lock(path, error, advice) from error
        except BaseException:
            file.close()
            raise
        file.close()  # its holder has removed the file: other processes now see another lock


def _system_lock(path: Path) -> Callable[[IO[str], bool], None]:
    try:
        import fcntl  # not at the top: Windows lacks it, and must import the rest of the package
    except ImportError:
        raise HsisrError(
            f"{path}: this operating system has no POSIX locks; use Linux or macOS, on Windows its subsystem for Linux"
        ) from None
    return lambda file, wait: fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _open(path: Path, mode: int | None) -> IO[str]:
    """The lock file, open for reading and writing, as a lock needs it.

    An existing file is opened without O_CREAT: with it, Linux refuses another user's file in a folder such as /tmp.
    Links are not followed, because anybody can put one there.
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):  # the file system has no modes
            if mode is not None:
                os.fchmod(number, mode)
    except FileExistsError:
        number = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    return open(number, "r+")


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _sign(file: IO[str]) -> None:
    # a full disk is no problem here: the holder's name is only for the message
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()


def _holder(file: IO[str]) -> Holder:
    with file:
        words = file.read().split()
    return Holder(*words) if len(words) == 2 else Holder()


def _trains_here(folder: str | os.PathLike, holder: Holder) -> str:
    stop = f"`kill {holder.pid}`" if holder.here else f"`kill {holder.pid}` on {holder.host}"
    return (
        f"{folder}: process {holder.pid} is training here{'' if holder.here else f', on {holder.host}'}; wait for it "
        f"or stop it with {stop}, then run the same command again"
    )


def _cannot_lock(path: Path, error: OSError, advice: str) -> HsisrError:
    if error.errno in _NO_LOCKS:
        return HsisrError(
            f"{path}: its file system has no locks ({os.strerror(error.errno)}); mount it with locks (NFS without "
            f"`nolock`, Lustre with `flock`), or {advice}"
        )
    return HsisrError(f"{path}: cannot be locked ({error.strerror or error}); {advice}")
