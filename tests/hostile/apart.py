"""A call in a process of its own, whose time and memory are measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MOST_SECONDS, MOST_KB = 20, 500_000
#: What the process does: the call, then a line of JSON on what it cost. The system's own count of memory would begin
#: with that of the process that starts it.
_CODE = """
import importlib, json, re, sys, time
from pathlib import Path
module, _, name = sys.argv[1].rpartition(".")
call, options, said = getattr(importlib.import_module(module), name), json.loads(sys.argv[3]), None
from hsisr.errors import HsisrError
began = time.process_time()
try:
    call(Path(sys.argv[2]), **options)
except HsisrError as error:
    said = str(error)
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
print(json.dumps({"said": said, "seconds": time.process_time() - began, "kb": int(peak)}))
"""
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")


def refused(call: str, file: Path, **options) -> str:
    """The one line with which a call, by its whole name, refuses a file, soon and in little memory."""
    words = [sys.executable, "-c", _CODE, call, str(file), json.dumps(options)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["said"] and len(found["said"].splitlines()) == 1
    assert found["seconds"] < MOST_SECONDS and found["kb"] < MOST_KB, found
    return found["said"]
