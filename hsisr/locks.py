"""The lock of a run folder: one trainer at a time, on this host or, through a shared file system, on others."""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsisr.errors import HsisrError

#: Folders that this process holds: the system's lock would let it in twice.
_held: set[Path] = set()


@contextmanager
def run_lock(folder: str | os.PathLike) -> Iterator[None]:
    """Hold a run folder for this process alone; a lock whose process died is free.

    The lock is the system's (POSIX, which NFS knows as well): it ends with the process, however that ends, and is not
    passed on to the workers that it starts. The file `state/lock` says who holds it: process and host.
    Raises HsisrError at once, naming the holder, if another process trains there, and if the folder cannot be locked.
    """
    path = (Path(folder) / "state" / "lock").resolve()
    with _opened(path) as file:
        try:
            if path in _held:
                raise BlockingIOError
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise HsisrError(_taken(folder, file.read().split())) from None
        except OSError as error:
            raise _cannot_lock(path, error) from error
        _held.add(path)
        try:
            file.seek(0)
            file.truncate()
            # a full disk does not matter here: the name of the holder is only for the message
            with contextlib.suppress(OSError):
                file.write(f"{os.getpid()} {socket.gethostname()}")
                file.flush()
            yield
        finally:
            _held.discard(path)


@contextmanager
def _opened(path: Path) -> Iterator:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")  # noqa: SIM115  (closed below; a full disk may refuse that too)
    except OSError as error:
        raise _cannot_lock(path, error) from error
    file.seek(0)
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


def _taken(folder: str | os.PathLike, holder: list[str]) -> str:
    pid, host = holder if len(holder) == 2 else ("unknown", "unknown")
    here = host == socket.gethostname()
    stop = f"`kill {pid}`" if here else f"`kill {pid}` on {host}"
    return (
        f"{folder}: process {pid} is training here{'' if here else f', on {host}'}; wait for it or stop it with "
        f"{stop}, then run the same command again"
    )


def _cannot_lock(path: Path, error: OSError) -> HsisrError:
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return HsisrError(f"{path}: its file system has no locks; mount it with locks, or put runs/ on another one")
    return HsisrError(f"{path}: cannot be locked ({error.strerror or error}); choose another folder")
