"""The cache of built libraries: names, locks, failures, and where the sources are looked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hsisr.ops import build, plan

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache, and no memory of what was loaded or failed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_loaded", {})
    return tmp_path / "cache" / "hsisr"


@pytest.fixture
def pretend(monkeypatch):
    """Replaces the compiler: counts the builds and leaves a file; loading does nothing."""
    built = []

    def compile_library(library, folder):
        built.append(library.name)
        (folder / f"{library.name}.so").write_text("library")

    monkeypatch.setattr(build, "_compile", compile_library)
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    return built


def test_importing_builds_nothing(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import hsisr.ops"], check=True, env=environment, cwd=REPOSITORY)
    assert list(tmp_path.iterdir()) == []


def test_builds_once_and_then_loads(fresh, pretend):
    for _ in range(3):
        build._loaded.clear()  # as in a new process
        build.load(build.cpu_library())
    assert pretend == ["hsisr_scan_cpu"]
    assert [p.suffix for p in sorted(fresh.iterdir())] == [".lock", ".so"]


@pytest.mark.parametrize("change", ["flags", "torch", "cuda", "compiler", "processor", "source"])
def test_name_changes_with_all_that_shapes_the_library(monkeypatch, tmp_path, change):
    library, before = build.cpu_library(), build.cached_path(build.cpu_library())
    if change == "flags":
        library = build.Library(library.name, library.sources, (*library.flags, "-DX"), link_flags=library.link_flags)
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0")
    elif change == "cuda":
        monkeypatch.setattr(torch.version, "cuda", "0.0")
    elif change == "compiler":
        monkeypatch.setattr(build, "_version", lambda compiler: "other")
    elif change == "processor":
        monkeypatch.setattr(build, "_cpu_features", lambda: "other")
    else:
        csrc = tmp_path / "csrc"
        shutil.copytree(build.source_folder(), csrc)
        monkeypatch.setattr(build, "source_folder", lambda: csrc)
        assert build.cached_path(library) == before, "where the sources lie must not matter"
        (csrc / "layout.h").write_text((csrc / "layout.h").read_text() + "\n")
    assert build.cached_path(library) != before


def test_each_variant_and_device_has_its_own_library():
    libraries = {
        build.cached_path(build.cuda_library(plan.variant_for(channels, 7, precision, capability), capability))
        for channels in (16, 64)
        for precision in plan.PRECISIONS
        for capability in ((8, 0), (9, 0))
    }
    assert len(libraries) == 16


#: A process of its own that builds slowly: says so, waits, and leaves a file where the library should be.
SLOW_BUILD = """
import time, torch
from hsisr.ops import build

def compile_library(library, folder):
    print("building", flush=True)
    time.sleep({seconds})
    (folder / f"{{library.name}}.so").write_text("library")

build._compile = compile_library
torch.ops.load_library = lambda path: None
build.load(build.cpu_library())
"""


def start_slow_build(cache, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_BUILD.format(seconds=seconds)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)}, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_at_once_build_once(tmp_path):
    processes = [start_slow_build(tmp_path, 3) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(said) == ["", "building\n"]


def test_a_killed_build_blocks_nobody(tmp_path):
    victim = start_slow_build(tmp_path, 1000)
    assert victim.stdout.readline() == "building\n"
    victim.kill()
    victim.communicate()
    assert not list((tmp_path / "hsisr").glob("*.so")), "nothing unfinished lies under the library's name"
    survivor = start_slow_build(tmp_path, 0)
    assert survivor.communicate(timeout=120)[0] == "building\n"
    assert survivor.returncode == 0


def test_no_compiler(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(build.Unavailable, match="no C\\+\\+ compiler: no-such-compiler is not on PATH"):
        build.load(build.cpu_library())
    assert "no-such-compiler" in build.obstacle(build.cpu_library())


def test_read_only_cache(fresh, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be: fails for every user, root too")
    with pytest.raises(build.Unavailable, match="cannot be written"):
        build.load(build.cpu_library())


def test_a_compiler_that_fails_is_told_and_not_tried_again(fresh, monkeypatch):
    tries = []

    def compile_library(library, folder):
        tries.append(library)
        raise RuntimeError("Error building extension\nFAILED: x.o\nx.cpp:1:1: error: no such thing")

    monkeypatch.setattr(build, "_compile", compile_library)
    for _ in range(2):
        with pytest.raises(build.Unavailable, match="Error building extension"):
            build.load(build.cpu_library())
    assert len(tries) == 1
    assert not list(fresh.glob(".*")), "the build folder is removed"


def test_cuda_library_without_cuda_in_torch(fresh, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    library = build.cuda_library(plan.variant_for(64, 7, "fp32", (8, 0)), (8, 0))
    with pytest.raises(build.Unavailable, match="built without CUDA"):
        build.load(library)


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc on PATH")
def test_toolkit_root_is_where_nvcc_says_even_behind_a_wrapper(monkeypatch, tmp_path):
    wrapper = tmp_path / "bin" / "nvcc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec "{shutil.which("nvcc")}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    build.cuda_root.cache_clear()
    root = build.cuda_root()
    build.cuda_root.cache_clear()
    assert (root / "bin" / "nvcc").is_file() and root != tmp_path


def test_sources_are_found_in_an_installed_package(tmp_path):
    """The layout of the wheel: csrc travels as hsisr/_csrc."""
    installed = tmp_path / "site"
    shutil.copytree(REPOSITORY / "hsisr", installed / "hsisr", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "csrc", installed / "hsisr" / "_csrc")
    program = "from hsisr.ops import build; print(build.source_folder())"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.stdout.strip() == str(installed / "hsisr" / "_csrc"), done.stderr


def test_missing_sources_are_told(fresh, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "__file__", str(tmp_path / "site" / "hsisr" / "ops" / "build.py"))
    with pytest.raises(build.Unavailable, match=r"the C\+\+ sources are missing: neither .*_csrc nor .*csrc"):
        build.load(build.cpu_library())


@pytest.mark.slow
def test_a_real_build_in_an_empty_cache(tmp_path):
    program = "from hsisr import ops; ops.check(build_missing=True)"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, env=environment
    )
    assert "cpu fp64: largest relative error" in done.stdout
    assert len(list((tmp_path / "hsisr").glob("*.so"))) == 1
