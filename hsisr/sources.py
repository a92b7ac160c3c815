"""The package's own sources: the modules that a function can reach, and hashes of their text.

The sources decide what a function reaches, not the modules that happen to be loaded. Every import in every module is
followed, also inside functions, but not imports for type checkers. A module that is loaded only by its name (a model, a
reader) is invisible to this: the code that loads it must state its name.
"""

import ast
import gc
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path

from hsisr.errors import HsisrError

#: Name of the dictionary in an `__init__` that maps public names to modules that load at first use.
_LAZY_TABLE = "_PUBLIC"
#: The nodes of a tree that can hold an import.
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


class Sources:
    """The sources of one package. folder: of the package; it has the package's name.

    Sources are read once and kept, because a process runs the program that it started with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, Path | None] = {}
        self._imports: dict[str, frozenset[str]] = {}
        self._closures: dict[frozenset[str], tuple[str, ...]] = {}
        self._lazy: dict[str, dict[str, str]] = {}
        self._names: dict[Path, str] = {}
        self._hashes: dict[Path, str] = {}

    def path(self, module: str) -> Path | None:
        """The file of a module; None if the package has no module of that name."""
        if module not in self._paths:
            self._paths[module] = self._find(module)
        return self._paths[module]

    def _find(self, module: str) -> Path | None:
        package, *parts = module.split(".")
        if package != self.folder.name:
            return None
        return _module_file(self.folder.joinpath(*parts))

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """All modules of the package, sorted."""
        found = []
        for file in self.folder.rglob("*.py"):
            parts = file.relative_to(self.folder.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        return tuple(sorted(found))

    def provider(self, package: str, name: str) -> str:
        """The module that `from package import name` loads, or that defines the name."""
        if self.path(f"{package}.{name}") is not None:
            return f"{package}.{name}"
        return self._lazy_table(package).get(name, package)

    def closure(self, roots: Iterable[str]) -> tuple[str, ...]:
        """Modules that the modules `roots` can reach, with the roots, sorted. Raises KeyError for unknown ones."""
        start, found = frozenset(roots), set[str]()
        if start not in self._closures:  # a workflow has hundreds of steps that start at the same modules
            waiting = list(start)
            with _no_collection():
                while waiting:
                    module = waiting.pop()
                    if module not in found:
                        found.add(module)
                        waiting += self.imports(module)
            self._closures[start] = tuple(sorted(found))
        return self._closures[start]

    def imports(self, module: str) -> frozenset[str]:
        """Modules of the package that a module imports, or loads through a package's lazy table, and their parents."""
        if module not in self._imports:
            path = self.path(module)
            if path is None:
                raise KeyError(f"{self.folder.name} has no module {module}")
            parents = module.split(".")
            above = (".".join(parents[:count]) for count in range(1, len(parents)))
            found = {name for name in above if self.path(name) is not None}
            package = module if self._is_package(module) else module.rpartition(".")[0]
            self._imports[module] = frozenset(found | set(self._find_imports(_parse(path), package)))
        return self._imports[module]

    def hashes(self, modules: Iterable[str], files: Iterable[Path] = ()) -> dict[str, str]:
        """Path -> 12 hex digits of its SHA-256, for modules and other files; paths as in a checkout."""
        paths = [path for module in modules if (path := self.path(module)) is not None]
        return dict(sorted((self._known_name(path), self._hash(path)) for path in {*paths, *files}))

    def _known_name(self, path: Path) -> str:
        if path not in self._names:
            self._names[path] = self._name(path)
        return self._names[path]

    def _name(self, path: Path) -> str:
        """The same name in every installation. `csrc` lies beside the package, or inside it as `_csrc`."""
        above, inside = self.folder.parent, self.folder / "_csrc"
        if path.is_relative_to(inside):
            return f"csrc/{path.relative_to(inside).as_posix()}"
        return path.relative_to(above).as_posix() if path.is_relative_to(above) else path.name

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return self._hashes[path]

    def _find_imports(self, tree: ast.Module, package: str) -> Iterator[str]:
        """The imports of a module. package: the start of relative imports."""
        packages: dict[str, str] = {}  # local name -> package, for later attribute access
        for node in _executed(tree, _STATEMENTS):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if self.path(alias.name) is not None:
                        yield alias.name
                        top = alias.name.partition(".")[0]
                        packages[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                source = _absolute(node, package)
                for alias in node.names if self.path(source) is not None else ():
                    found = self.provider(source, alias.name)
                    yield found
                    if found == f"{source}.{alias.name}" and self._is_package(found):
                        packages[alias.asname or alias.name] = found
        if packages:  # few modules import a whole package; to look into every expression takes long
            for node in _executed(tree, (ast.AST,)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in packages:
                    yield self.provider(packages[node.value.id], node.attr)

    def _is_package(self, module: str) -> bool:
        path = self.path(module)
        return path is not None and path.name == "__init__.py"

    def _lazy_table(self, package: str) -> dict[str, str]:
        if package not in self._lazy:
            path, found = self.path(package), {}
            if path is not None and self._is_package(package):
                for node in _parse(path).body:
                    if isinstance(node, ast.Assign) and any(_is_named(target, _LAZY_TABLE) for target in node.targets):
                        found = ast.literal_eval(node.value)
            self._lazy[package] = found
        return self._lazy[package]


#: The sources of hsisr itself.
PACKAGE = Sources(Path(__file__).parent)


class OwnSources(Sources):
    """The sources of a foreign module, from the user's project or an installed package.

    folder: that holds the module or its package. only: name of a package; None: use every module of the folder. Imports
    of hsisr's modules are followed as well.
    """

    def __init__(self, folder: Path, only: str | None) -> None:
        super().__init__(folder)
        self.only = only

    def _find(self, module: str) -> Path | None:
        """The file of a module; None if it is not one of these."""
        top = module.partition(".")[0]
        if top == PACKAGE.folder.name:
            return PACKAGE.path(module)
        if not top or self.only not in (None, top):
            return None
        return _module_file(self.folder.joinpath(*module.split(".")))

    def reached(self, module: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """All that a module can reach: path below the folder -> hash of these sources, and hsisr's modules, sorted."""
        closure = self.closure([module])
        ours = tuple(name for name in closure if PACKAGE.path(name) is not None)
        return self.hashes(name for name in closure if name not in ours), ours

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@cache
def own_sources(folder: Path, only: str | None = None) -> OwnSources:
    """The sources below a folder, as they were at the first call. Arguments as for `OwnSources`."""
    return OwnSources(folder, only)


def csrc_folder() -> Path | None:
    """The folder of the C++ and CUDA sources; None if it is missing."""
    return _find_folder("csrc", "binding.cpp")


def workflow_folder() -> Path:
    """The folder of the workflow: its Snakefile, rules, schemas and presets. Raises HsisrError if it is missing."""
    return _need_folder("workflow", "Snakefile")


def profiles_folder() -> Path:
    """The folder of Snakemake's profiles. Raises HsisrError if it is missing."""
    return _need_folder("profiles", "default/config.yaml")


def _find_folder(name: str, known: str) -> Path | None:
    """A folder that lies in an installed package as _<name>, and beside the package in a checkout."""
    for folder in (PACKAGE.folder / f"_{name}", PACKAGE.folder.parent / name):
        if (folder / known).is_file():
            return folder
    return None


def _need_folder(name: str, known: str) -> Path:
    folder = _find_folder(name, known)
    if folder is None:
        raise HsisrError(
            f"{PACKAGE.folder}: lacks the folder {name}; install hsisr again, from its wheel or a checkout"
        )
    return folder


def _module_file(place: Path) -> Path | None:
    """The file of a module: of the package in the folder `place`, or a file of this name; None without either."""
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((file for file in candidates if file.is_file()), None)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module in a `from ... import` of a module of this package."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:  # in a user's own file
        raise HsisrError(f"{path}: not a Python program ({error}); mend it") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python does not look for unreachable circles meanwhile.

    It looks after every few hundred new objects. A tree is thousands, and the search takes longer than all else here.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _executed(tree: ast.AST, kinds: tuple[type[ast.AST], ...]) -> Iterator[ast.AST]:
    """The nodes of a tree, without nodes only for type checkers. kinds: enter only nodes of these classes."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _is_named(node.test, "TYPE_CHECKING"):
            waiting += node.orelse
        else:
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, kinds)]


def _is_named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
