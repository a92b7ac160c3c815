"""Builds the C++ and CUDA libraries of csrc on first use, keeps them in a cache, and loads them.

A library lies in the cache under a name that hashes all that shapes it: sources, flags, the versions of torch, CUDA and
compiler, and for CPU code the processor's features. So a change never loads a stale build, and a cache shared by
several machines serves them all. Nothing happens at import.

The build takes a lock that the system gives back when its holder dies, and works in a folder of its own; only a
finished library is moved to its name. A killed build or two processes at once leave nothing half done.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from hsisr.ops.plan import Variant

_CPU_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fopenmp")
_CUDA_FLAGS = ("-O3",)


class Unavailable(Exception):
    """A library cannot be built or loaded here; the text says why."""


@dataclass(frozen=True)
class Library:
    """What to build: its name, which is also its namespace in torch.ops, sources in csrc, and flags."""

    name: str
    sources: tuple[str, ...]
    flags: tuple[str, ...]
    cuda_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()

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
    return Library(name, ("conv_scan.cu", "binding.cpp"), flags, cuda_flags)


def load(library: Library):
    """Return the library's namespace in torch.ops; build it first if the cache has none. Raises Unavailable."""
    if library not in _loaded:
        _loaded[library] = _load(library)
    outcome = _loaded[library]
    if isinstance(outcome, Unavailable):  # tried once; asking again would only cost the time again
        raise outcome
    return outcome


def obstacle(library: Library) -> str | None:
    """Say why `load` would fail, as far as that shows without building; None if nothing stands in the way."""
    try:
        if cached_path(library).exists():
            return None
        _check_tools(library)
    except Unavailable as error:
        return str(error)
    return None


def cached_path(library: Library) -> Path:
    """Where the built library lies, or would lie. Raises Unavailable if the sources are missing."""
    return cache_folder() / f"{library.name}_{_key(library)}.so"


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/hsisr, by default ~/.cache/hsisr."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hsisr"


def source_folder() -> Path:
    """The folder csrc: inside an installed package, or beside it in a checkout. Raises Unavailable."""
    package = Path(__file__).parents[1]
    for folder in (package / "_csrc", package.parent / "csrc"):
        if (folder / "binding.cpp").is_file():
            return folder
    raise Unavailable(f"the C++ sources are missing: neither {package / '_csrc'} nor {package.parent / 'csrc'}")


@cache
def cuda_root() -> Path:
    """The CUDA toolkit's root: $CUDA_HOME, or what nvcc itself says. Raises Unavailable.

    The nvcc on PATH may be a wrapper or a link, so its place tells nothing; its own dry run does.
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


_loaded: dict[Library, object] = {}


def _load(library: Library):
    try:
        path = cached_path(library)
        if not path.exists():
            _build(library, path)
        torch.ops.load_library(str(path))
    except Unavailable as error:
        return error
    except (OSError, RuntimeError) as error:  # a full disk, a cache that cannot be written, a compiler that fails
        return Unavailable(_first_line(error))
    return getattr(torch.ops, library.name)


def _build(library: Library, path: Path) -> None:
    _check_tools(library)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{library.name}_", dir=path.parent))
    except OSError as error:
        raise Unavailable(f"the cache folder {path.parent} cannot be written ({error.strerror})") from None
    try:
        with lock(path.with_suffix(".lock")):
            if not path.exists():  # else another process has built it while this one waited
                _compile(library, folder)
                os.replace(folder / f"{library.name}.so", path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compile(library: Library, folder: Path) -> None:
    """Run ninja in `folder` through torch's extension builder, which knows its own headers and libraries."""
    with _environment(library):
        from torch.utils import cpp_extension

        if library.cuda:
            cpp_extension.CUDA_HOME = str(cuda_root())  # set when that module was first imported, perhaps wrongly
        print(f"hsisr: building {library.name}, once for this machine", file=sys.stderr, flush=True)
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


@contextmanager
def _environment(library: Library) -> Iterator[None]:
    """Make ninja reachable when Python runs from an environment that is not activated, and name the toolkit."""
    before = dict(os.environ)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if library.cuda:
        os.environ["CUDA_HOME"] = str(cuda_root())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file of the cache; the system lets it go when the process ends, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_tools(library: Library) -> None:
    source_folder()
    if not shutil.which(_compiler()):
        raise Unavailable(f"no C++ compiler: {_compiler()} is not on PATH")
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if not shutil.which("ninja", path=places):
        raise Unavailable("no ninja to run the build: pip install ninja")
    if library.cuda:
        if torch.version.cuda is None:
            raise Unavailable("this PyTorch is built without CUDA")
        cuda_root()


def _key(library: Library) -> str:
    facts = [repr(library), torch.__version__, str(torch.version.cuda), _version(_compiler())]
    facts += [_version("nvcc")] if library.cuda else [platform.machine(), _cpu_features()]
    digest = hashlib.sha256("\n".join(facts).encode())
    for source in sorted(source_folder().glob("*.*")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _version(compiler: str) -> str:
    if not shutil.which(compiler):
        return ""
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


@cache
def _cpu_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _compiler() -> str:
    return os.environ.get("CXX", "c++")


def _first_line(error: Exception) -> str:
    errors = [line for line in str(error).splitlines() if "error" in line.lower()]
    return (errors or str(error).splitlines() or [type(error).__name__])[0].strip()
