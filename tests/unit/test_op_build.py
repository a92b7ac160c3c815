"""The cache of built libraries: names, locks, failures, and where the sources are looked for."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hsisr import ops
from hsisr.errors import HsisrError
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
        monkeypatch.setattr(build, "cpu_flags", lambda: "other")
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
    assert not [file.name for file in (tmp_path / "hsisr").iterdir() if ".tmp-" in file.name], "nothing is left behind"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot end a process with its parent")
def test_compilers_end_with_the_process_that_started_them(tmp_path):
    import psutil

    slow = tmp_path / "slow-c++"
    script = f'case "$*" in *" -c "*) touch {tmp_path}/compiling; sleep 300;; *) exec c++ "$@";; esac'
    slow.write_text(f"#!/bin/sh\n{script}\n")
    slow.chmod(0o755)
    program = "from hsisr.ops import build; build.load(build.cpu_library())"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "CXX": str(slow)}
    builder = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=REPOSITORY)
    waited_until(lambda: (tmp_path / "compiling").exists())
    below = psutil.Process(builder.pid).children(recursive=True)
    assert any("slow-c++" in " ".join(process.cmdline()) for process in below)
    builder.kill()
    builder.wait()
    assert not psutil.wait_procs(below, timeout=20)[1]


def waited_until(happened, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


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
        title = "Error building extension 'x': [1/2] c++ -c x.cpp"
        raise RuntimeError(f"{title}\nFAILED: x.o\nc++ -c x.cpp\nx.cpp:1:1: error: no such thing")

    monkeypatch.setattr(build, "_compile", compile_library)
    for _ in range(2):
        with pytest.raises(build.Unavailable, match="^x.cpp:1:1: error: no such thing$"):
            build.load(build.cpu_library())
    assert len(tries) == 1
    assert not list(fresh.glob(".*")), "the build folder is removed"


#: What builds have printed, and the line that tells the cause.
FAILURES = {
    "nvcc fatal   : Unsupported gpu architecture 'compute_35'": (
        "Error building extension 'x': [1/3] /cuda/bin/nvcc -gencode=arch=compute_35 -c x.cu\n"
        "FAILED: [code=1] conv_scan.cuda.o \n/cuda/bin/nvcc -gencode=arch=compute_35 --Werror all-warnings -c x.cu\n"
        "nvcc fatal   : Unsupported gpu architecture 'compute_35'\n"
        "[2/3] c++ -MMD -c binding.cpp -o binding.o\nninja: build stopped: subcommand failed.\n"
    ),
    "/usr/bin/ld: cannot find -lcudart: No such file or directory": (
        "Error building extension 'x': [1/1] c++ a.o -lcudart -o x.so\n"
        "FAILED: [code=1] x.so\nc++ a.o -lcudart -o x.so\n"
        "/usr/bin/ld: cannot find -lcudart: No such file or directory\ncollect2: error: ld returned 1 exit status\n"
    ),
    "a.cpp:7:10: fatal error: x.h: No such file or directory": (
        "Error building extension 'x': [1/2] env CCACHE=1 my-errors -c a.cpp\nFAILED: a.o\nenv my-errors -c a.cpp\n"
        "In file included from a.cpp:1:\na.cpp:7:10: fatal error: x.h: No such file or directory\n"
    ),
    "No module named ninja": "No module named ninja",
    "RuntimeError": "",
}


@pytest.mark.parametrize("cause", FAILURES)
def test_a_failed_build_tells_its_cause_not_its_commands(cause):
    assert build._cause(RuntimeError(FAILURES[cause])) == cause


def test_a_real_compiler_that_fails_tells_the_line_of_the_source(fresh, monkeypatch, tmp_path):
    csrc = tmp_path / "csrc"
    shutil.copytree(build.source_folder(), csrc)
    (csrc / "binding.cpp").write_text("#error this does not compile\n")
    monkeypatch.setattr(build, "source_folder", lambda: csrc)
    library = build.Library("hsisr_broken", ("binding.cpp",), ())
    with pytest.raises(build.Unavailable, match=r"binding\.cpp:1:2: error: #error this does not compile$") as told:
        build.load(library)
    assert "-isystem" not in str(told.value)


def toolkit(folder: Path, release: str) -> Path:
    """A CUDA toolkit whose nvcc only says its version."""
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.88'\n")
    nvcc.chmod(0o755)
    return folder


@pytest.fixture
def with_toolkit(monkeypatch, tmp_path):
    """with_toolkit(release): puts CUDA_HOME there, and pretends that PyTorch is of CUDA 12.6."""
    monkeypatch.setattr(torch.version, "cuda", "12.6")

    def use(release: str) -> Path:
        root = toolkit(tmp_path / f"cuda-{release}", release)
        monkeypatch.setenv("CUDA_HOME", str(root))
        build.cuda_root.cache_clear()
        return root

    yield use
    build.cuda_root.cache_clear()


def cuda_library() -> build.Library:
    return build.cuda_library(plan.variant_for(64, 7, "fp32", (9, 0)), (9, 0))


def test_a_toolkit_of_another_cuda_is_refused(fresh, pretend, with_toolkit):
    root = with_toolkit("13.0")
    with pytest.raises(build.Unavailable) as told:
        build.load(cuda_library())
    assert str(told.value) == (
        f"nvcc in {root} is of CUDA 13.0 and PyTorch of CUDA 12.6: install a toolkit of CUDA 12 and set CUDA_HOME to it"
    )
    assert build.obstacle(cuda_library()) == str(told.value) and pretend == []
    build._loaded.clear()
    with_toolkit("12.9")
    build.load(cuda_library())
    assert pretend == [cuda_library().name]


def test_an_nvcc_that_says_no_version_is_refused(fresh, with_toolkit):
    root = with_toolkit("12.6")
    (root / "bin" / "nvcc").unlink()
    with pytest.raises(build.Unavailable, match="does not say its version: set CUDA_HOME"):
        build.load(cuda_library())


def test_the_toolkit_under_cuda_home_is_a_part_of_the_name(with_toolkit):
    names = set()
    for release in ("12.4", "12.6"):
        with_toolkit(release)
        names.add(build.cached_path(cuda_library()))
    assert len(names) == 2


def test_architectures_that_a_container_presets_do_not_reach_the_build(fresh, monkeypatch, with_toolkit):
    from torch.utils import cpp_extension

    seen = {}

    def load(name, *_, build_directory, **__):
        seen.update({key: os.environ[key] for key in ("TORCH_CUDA_ARCH_LIST", "CUDA_HOME")})
        (Path(build_directory) / f"{name}.so").write_text("library")

    root = with_toolkit("12.6")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "7.0 10.3+PTX 99.9")
    monkeypatch.setattr(cpp_extension, "load", load)
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    build.load(cuda_library())
    assert seen == {"TORCH_CUDA_ARCH_LIST": "9.0", "CUDA_HOME": str(root)}
    assert os.environ["TORCH_CUDA_ARCH_LIST"] == "7.0 10.3+PTX 99.9"


class FakeKernels:
    """Takes the place of a loaded CUDA library: its forward raises `error`, if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, []

    def forward(self, x, weight, bias, slope, dim, reverse, save_z, tiles):
        self.calls.append((tuple(x.shape), tuple(weight.shape), tiles))
        if self.error:
            raise self.error


@pytest.fixture
def load_onto(monkeypatch, fresh, pretend, with_toolkit):
    """load_onto(kernels): loads a CUDA library that is `kernels`; the CPU plays the GPU."""

    def load(kernels: FakeKernels):
        with_toolkit("12.6")
        monkeypatch.setattr(torch.ops, cuda_library().name, kernels, raising=False)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
        return build.load(cuda_library(), torch.device("cpu"))

    return load


def test_a_library_shows_that_its_kernels_start_before_it_is_used(load_onto):
    kernels = FakeKernels()
    assert load_onto(kernels) is kernels
    assert build.load(cuda_library(), torch.device("cpu")) is kernels
    assert kernels.calls == [((1, 64, 2, 8), (64, 64, 1, 7), 1)]


def test_kernels_that_do_not_start_are_a_reason_to_fall_back(load_onto):
    reason = "the scan kernel did not start: CUDA driver version is insufficient for CUDA runtime version"
    with pytest.raises(build.Unavailable, match=reason):
        load_onto(FakeKernels(RuntimeError(reason)))


def test_a_full_gpu_says_nothing_of_a_library(load_onto):
    with pytest.raises(torch.OutOfMemoryError):
        load_onto(FakeKernels(torch.OutOfMemoryError("CUDA out of memory")))
    assert build._loaded == {}


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
    monkeypatch.setattr(build, "csrc_folder", lambda: None)
    with pytest.raises(build.Unavailable, match=r"the C\+\+ sources are missing: neither .*_csrc nor .*csrc"):
        build.load(build.cpu_library())
    with pytest.raises(HsisrError, match="not built: cpu fp64, cpu fp32; see the reasons above"):
        ops.check(build_missing=True)
    ops.check()  # nobody asked for a build


@pytest.mark.slow
def test_a_real_build_in_an_empty_cache(tmp_path):
    program = "from hsisr import ops; ops.check(build_missing=True)"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, env=environment
    )
    assert "cpu fp64: largest relative error" in done.stdout
    assert len(list((tmp_path / "hsisr").glob("*.so"))) == 1
