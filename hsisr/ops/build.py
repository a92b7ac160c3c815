"""Builds the C++ and CUDA libraries of csrc on first use, keeps them in a cache, and loads them.

A library's name in the cache is a hash of its inputs: sources, flags, the versions of torch, CUDA and compiler, and for
CPU code the processor's features. So a change never loads a stale build, and several machines can share a cache.
Nothing happens at import.

A build takes a lock, which the system frees when the process dies, and works in a folder of its own. Only a finished
library is moved to its name. So a killed build, or two processes at once, leave nothing half done.
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from hsisr import temporary
from hsisr.errors import HsisrError
from hsisr.locks import hold
from hsisr.ops.plan import Variant
from hsisr.outputs import cache_folder
from hsisr.screen import say
from hsisr.sources import PACKAGE, csrc_folder
from hsisr.system import cpu_flags

_CPU_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fopenmp")
_CUDA_FLAGS = ("-O3",)


class Unavailable(Exception):
    """A library cannot be built or loaded here; the text says why."""


@dataclass(frozen=True)
class Library:
    """A library to build: its name, which is also its namespace in torch.ops, its sources in csrc, and its flags.

    capability, channels, taps: for a CUDA library, the kind of GPU and the sizes that it takes.
    """

    name: str
    sources: tuple[str, ...]
    flags: tuple[str, ...]
    cuda_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()
    capability: tuple[int, int] = (0, 0)
    channels: int = 0
    taps: int = 0

    @property
    def cuda(self) -> bool:
        return bool(self.cuda_flags)


def cpu_library() -> Library:
    """The CPU kernels, for all sizes, float and double."""
    name = "hsisr_scan_cpu"
    flags = (*_CPU_FLAGS, f"-DHSISR_LIBRARY={name}")
    return Library(name, ("conv_scan_cpu.cpp", "binding.cpp"), flags, link_flags=("-fopenmp",))


def cuda_library(variant: Variant, capability: tuple[int, int]) -> Library:
    """The CUDA kernels of one variant for one kind of GPU."""
    sm = f"{capability[0]}{capability[1]}"
    name = f"hsisr_scan_{variant.name}_sm{sm}"
    flags = ("-O2", "-DHSISR_WITH_CUDA", f"-DHSISR_LIBRARY={name}")
    cuda_flags = (*_CUDA_FLAGS, f"-gencode=arch=compute_{sm},code=sm_{sm}", *variant.defines)
    sources = ("conv_scan.cu", "binding.cpp")
    return Library(name, sources, flags, cuda_flags, (), capability, variant.channels, variant.taps)


def load(library: Library, device: torch.device | None = None) -> Any:
    """Return the library's namespace in torch.ops; build it first if the cache has none.

    device: the GPU on which `load` tests that the kernels of a CUDA library start; None: no test.
    Raises Unavailable.
    """
    if library not in _loaded:
        _loaded[library] = _load(library, device)
    outcome = _loaded[library]
    if isinstance(outcome, Unavailable):  # tried once; another try would cost the same time
        raise outcome
    return outcome


def obstacle(library: Library) -> str | None:
    """Say why `load` would fail, as far as this is known without a build; None if there is no obstacle."""
    try:
        if cached_path(library).exists():
            return None
        _check_tools(library)
    except Unavailable as error:
        return str(error)
    return None


def cached_path(library: Library) -> Path:
    """The path of the built library, whether it exists or not. Raises Unavailable if the sources are missing."""
    return cache_folder() / f"{library.name}_{_key(library)}.so"


def source_folder() -> Path:
    """The folder csrc: inside an installed package, or beside it in a checkout. Raises Unavailable."""
    folder = csrc_folder()
    if folder is None:
        raise Unavailable(
            f"the C++ sources are missing: neither {PACKAGE.folder / '_csrc'} nor csrc beside the package"
        )
    return folder


@cache
def cuda_root() -> Path:
    """The CUDA toolkit's root: $CUDA_HOME, or the root that nvcc itself names. Raises Unavailable.

    The nvcc on PATH may be a wrapper or a link, so its place says nothing. A dry run of nvcc names the root.
    """
    if home := os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH"):
        return Path(home)
    if not shutil.which("nvcc"):
        raise Unavailable("no CUDA compiler: nvcc is not on PATH and CUDA_HOME is not set")
    said = subprocess.run(["nvcc", "--dryrun", "nothing.cu"], capture_output=True, text=True).stderr
    roots = [line.removeprefix("#$ TOP=") for line in said.splitlines() if line.startswith("#$ TOP=")]
    if not roots:
        raise Unavailable("nvcc does not say where its toolkit lies: set CUDA_HOME")
    return Path(roots[0].strip()).resolve()


def check_toolkit() -> None:
    """Raise Unavailable if there is no CUDA toolkit, or if its major version differs from PyTorch's.

    A library of another version loads, brings its own CUDA runtime, and fails at its first launch.
    """
    root = cuda_root()
    found = re.search(r"release (\d+)\.(\d+)", _version(_nvcc()))
    if found is None:
        raise Unavailable(f"{root / 'bin' / 'nvcc'} does not say its version: set CUDA_HOME to a CUDA toolkit")
    wanted = str(torch.version.cuda).split(".")[0]
    if found[1] != wanted:
        raise Unavailable(
            f"nvcc in {root} is of CUDA {found[1]}.{found[2]} and PyTorch of CUDA {torch.version.cuda}: install a "
            f"toolkit of CUDA {wanted} and set CUDA_HOME to it"
        )


_loaded: dict[Library, Any] = {}


def _load(library: Library, device: torch.device | None) -> Any:
    try:
        path = cached_path(library)
        if not path.exists():
            _build(library, path)
        torch.ops.load_library(str(path))
        kernels = getattr(torch.ops, library.name)
        if device is not None and library.cuda:
            _start_once(library, kernels, device)
    except Unavailable as error:
        return error
    except torch.OutOfMemoryError:  # says nothing about the library
        raise
    except (OSError, RuntimeError, HsisrError) as error:  # a full disk, a cache without locks, a compiler that fails
        return Unavailable(_cause(error))
    return kernels


def _start_once(library: Library, kernels: Any, device: torch.device) -> None:
    """Start a kernel on a tiny map: a library that does not fit the driver or the GPU fails here, not in a training."""
    if torch.cuda.is_current_stream_capturing():  # a CUDA graph only records launches
        return
    with torch.inference_mode():
        x = torch.zeros(1, library.channels, 2, 8, device=device).contiguous(memory_format=torch.channels_last)
        weight = x.new_zeros(library.channels, library.channels, 1, library.taps)
        kernels.forward(x, weight, x.new_zeros(library.channels), x.new_zeros(1), 2, False, False, 1)
        torch.cuda.synchronize(device)


def _build(library: Library, path: Path) -> None:
    _check_tools(library)
    with (
        temporary.new_folder(path.parent, library.name) as folder,
        hold(path.with_suffix(".lock"), wait=True, advice="set XDG_CACHE_HOME to a folder on another one"),
    ):
        if not path.exists():  # it exists if another process built it while this one waited
            _compile(library, folder)
            os.replace(folder / f"{library.name}.so", path)


def _compile(library: Library, folder: Path) -> None:
    """Run ninja in `folder` through torch's extension builder, which knows torch's headers and libraries."""
    with _environment(library, _mortal_ninja(folder)):
        from torch.utils import cpp_extension

        if library.cuda:
            cpp_extension.CUDA_HOME = str(cuda_root())  # the module sets it on import, perhaps wrongly
        say(f"hsisr: building {library.name}, once for this machine")
        cpp_extension.load(
            library.name,
            [str(source_folder() / source) for source in library.sources],
            extra_cflags=list(library.flags),
            extra_cuda_cflags=list(library.cuda_flags),
            extra_ldflags=list(library.link_flags),
            build_directory=str(folder),
            with_cuda=library.cuda,
            is_python_module=False,
        )


def _mortal_ninja(folder: Path) -> Path:
    """A folder with a ninja that ends, together with its compilers, when this process ends in any way."""
    programs = folder / "programs"
    programs.mkdir()
    if sys.platform == "linux":
        command = [sys.executable, "-c", _MORTAL.format(parent=os.getpid()), str(shutil.which("ninja", path=_places()))]
        (programs / "ninja").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        (programs / "ninja").chmod(0o755)
    return programs


#: Program that asks the system to end it together with its parent process, and then becomes ninja. Ninja ends its
#: compilers.
_MORTAL = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() == {parent}:
    os.execv(sys.argv[1], sys.argv[1:])
"""


def _places() -> str:
    """The folders of programs, with those of a Python environment that is not activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


@contextmanager
def _environment(library: Library, programs: Path) -> Iterator[None]:
    """Put ninja on PATH, even if Python runs from an environment that is not activated; name the toolkit.

    programs: a folder that comes first on PATH.
    """
    before = dict(os.environ)
    os.environ["PATH"] = os.pathsep.join([str(programs), _places()])
    if library.cuda:
        os.environ["CUDA_HOME"] = str(cuda_root())
        # containers set it to many kinds of GPU, and an older PyTorch does not know all of them
        os.environ["TORCH_CUDA_ARCH_LIST"] = "{}.{}".format(*library.capability)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _check_tools(library: Library) -> None:
    source_folder()
    if not shutil.which(_compiler()):
        raise Unavailable(f"no C++ compiler: {_compiler()} is not on PATH")
    if not shutil.which("ninja", path=_places()):
        raise Unavailable("no ninja to run the build: pip install ninja")
    if library.cuda:
        if torch.version.cuda is None:
            raise Unavailable("this PyTorch is built without CUDA")
        check_toolkit()


def _key(library: Library) -> str:
    facts = [repr(library), torch.__version__, str(torch.version.cuda), _version(_compiler())]
    facts += [_version(_nvcc())] if library.cuda else [platform.machine(), cpu_flags() or platform.processor()]
    digest = hashlib.sha256("\n".join(facts).encode())
    for source in sorted(source_folder().glob("*.*")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _nvcc() -> str:
    """The compiler that a build would run: nvcc of the toolkit, which may differ from nvcc on PATH."""
    try:
        return str(cuda_root() / "bin" / "nvcc")
    except Unavailable:
        return "nvcc"


@cache
def _version(compiler: str) -> str:
    if not shutil.which(compiler):
        return ""
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


def _compiler() -> str:
    return os.environ.get("CXX", "c++")


def _cause(error: Exception) -> str:
    """The first line of an error that says what failed, without ninja's own lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    after_failed = [False, *(line.startswith("FAILED: ") for line in lines)]  # the line after it repeats the command
    pairs = zip(lines, after_failed, strict=False)
    said = [line for line, command in pairs if not command and not _NINJAS.match(line)]
    told = [line for line in said if _TELLS.search(line)] or said or lines or [type(error).__name__]
    return told[0] if len(told[0]) <= _LONGEST_CAUSE else told[0][:_LONGEST_CAUSE] + " ..."


#: Ninja's own lines: title of the error, progress with the whole command, last line.
_NINJAS = re.compile(r"Error building extension|\[\d+/\d+\]|FAILED: |ninja: build stopped")
_TELLS = re.compile(r"\berror\b|\bfatal\b|cannot |undefined |no space|not found|killed", re.IGNORECASE)
_LONGEST_CAUSE = 300
