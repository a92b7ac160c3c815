"""A file system of a few kilobytes over a folder, for one command, where the system lets a user mount one.

All commands run in forks of one process that has loaded the package: to start each anew takes longer than its work.
"""

import functools
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
_SECONDS = 300


@dataclass(frozen=True)
class Ended:
    """How a command ended. said: on stdout and stderr; left: names below the folder."""

    code: int
    said: str
    left: list[str]

    def check(self) -> None:
        """It succeeded, or said in one line why not; nothing but finished files is left."""
        lines = [line for line in self.said.splitlines() if line.startswith("hsisr: error:")]
        assert self.code in (0, 1), self.said
        assert len(lines) == self.code and "Traceback" not in self.said, self.said
        assert not any(".tmp-" in name or ".work" in name for name in self.left), self.left


@functools.cache
def available() -> bool:
    """Whether a user may mount a file system here, in a name space of his own."""
    words = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=100k small /tmp"]
    try:
        return subprocess.run(words, capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


needs_one = pytest.mark.skipif(
    sys.platform != "linux" or not available(), reason="users cannot mount file systems here (unshare -rm)"
)


class Runner:
    """Runs `hsisr` in forks of a process, which answers a line of JSON with another one."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def run(
        self,
        words: list[str],
        where: Path,
        folder: Path,
        older: str,
        size: str | None = None,
        largest: int | None = None,
        **environment: str,
    ) -> Ended:
        """Run `hsisr` with these words in `where`; `folder` holds a file `older`.

        size: of a disk that is mounted over `folder` meanwhile. largest: bytes of a file that may be written.
        """
        request = {"words": words, "where": str(where), "folder": str(folder), "older": older}
        request |= {"size": size, "largest": largest, "environment": environment}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


@contextmanager
def runner(mounts: bool) -> Iterator[Runner]:
    """A runner. mounts: whether it may mount disks, in a name space of its own."""
    command = ["unshare", "-rm"] * mounts + [sys.executable, "-m", "tests.hostile.small_disk"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Runner(process)


def _serve() -> None:
    """Answer every request. Only forks return from here: to the end of their command."""
    import h5py  # noqa: F401
    import rasterio  # noqa: F401

    import hsisr.cli
    import hsisr.inference  # noqa: F401

    gc.freeze()  # so that forks do not copy what they only look through
    for line in sys.stdin:
        request = json.loads(line)
        folder, size = Path(request["folder"]), request["size"]
        if size is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(folder)], check=True)
        (folder / request["older"]).write_text("older")
        with tempfile.TemporaryFile() as said:
            child = os.fork()
            if child == 0:
                return _command(request, said.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said.seek(0)
            answer = {"code": code, "said": said.read().decode()}
        answer["left"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        if size is not None:
            subprocess.run(["umount", str(folder)], check=True)
        print(json.dumps(answer), flush=True)


def _command(request: dict[str, Any], said: int) -> None:
    """`python -m hsisr`, in this process."""
    signal.alarm(_SECONDS)
    os.chdir(request["where"])
    os.environ.update(request["environment"])
    for stream in (1, 2):
        os.dup2(said, stream)
    if request["largest"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest"],) * 2)
    sys.argv = ["hsisr", *request["words"]]
    sys.modules["hsisr.cli"].main()


if __name__ == "__main__":
    _serve()
