"""The script for the first GPU: what it does where there is none, and the page it writes, rehearsed on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "studies" / "first_gpu_run.sh"


def run(folder: Path, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run([SCRIPT, python, folder], capture_output=True, text=True, env=environment, timeout=1200)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_runs_nothing(tmp_path):
    done = run(tmp_path / "out")
    why = "torch sees no GPU" if torch.version.cuda else "its torch is built without CUDA"
    assert done.returncode == 2
    assert done.stderr == f"first_gpu_run: no GPU for {sys.executable}: {why}; nothing was run\n"
    assert not (tmp_path / "out").exists() and done.stdout == ""


def test_without_python_or_torch_it_says_so(tmp_path):
    assert "no no-such-python here; name a Python" in run(tmp_path / "out", "no-such-python").stderr
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    done = run(tmp_path / "out", str(bare))
    assert done.returncode == 2 and done.stderr.endswith("torch cannot be imported; nothing was run\n")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which the script would use")
def test_rehearsed_it_writes_a_page_that_says_it_is_none_of_a_gpu(tmp_path):
    done = run(tmp_path / "out", HSISR_REHEARSE_GPU_TESTS="1")
    page = (tmp_path / "out" / "report.md").read_text()
    assert done.returncode == 0, page
    assert "**nothing here is from a GPU**" in page
    for step in ("machine", "self-check", "tests", "dsca", "training", "finetune"):
        assert f"| {step} | passed | " in page and f"## {step}: passed" in page
    assert "cpu fp32: largest relative error" in page and "of unbind" in page and "steps of 1e-4" in page
