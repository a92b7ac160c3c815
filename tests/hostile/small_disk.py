"""A file system of a few kilobytes over a folder, for one command, where the system lets a user mount one."""

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
#: Mounts a disk of a size over a folder, puts an older file there, runs a command, lists what lies there then.
_SCRIPT = """
mount -t tmpfs -o size="$1" small "$2" || exit 90
printf older > "$2/$3"
shift 3
"$@"
code=$?
echo LISTING
find "$FOLDER" -printf '%P\\n'
exit $code
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended. left: names below the folder; kept: whether the older file is as it was, by its size."""

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


def run(size: str, folder: Path, older: str, words: list[str], where: Path, **environment: str) -> Ended:
    """Run `hsisr` with these words in `where`, while `folder` is a disk of this size that holds a file `older`."""
    command = ["unshare", "-rm", "sh", "-c", _SCRIPT, "sh", size, str(folder), older, sys.executable, "-m", "hsisr"]
    done = subprocess.run(
        [*command, *words],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "FOLDER": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    said, _, listing = done.stdout.partition("LISTING\n")
    return Ended(done.returncode, said, sorted(filter(None, listing.splitlines())))
