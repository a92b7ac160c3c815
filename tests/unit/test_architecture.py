"""The house: imports go down its layers and never in a circle, torch comes late, and what is imported is declared."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import hsisr
from hsisr.pipeline import paths
from tests.unit import own_scene
from tests.unit.conftest import CONFIG
from tests.unit.fakes import FOLDER

ROOT = Path(__file__).parents[2]
PACKAGE = Path(hsisr.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Declared, but run by others: by torch's builder of extensions, and as the program that runs the workflow.
NEVER_IMPORTED = {"ninja", "snakemake"}
#: Conda's names, where they are not PyPI's.
CONDA = {"pytorch": "torch", "snakemake-minimal": "snakemake", "matplotlib-base": "matplotlib"}


def python(program: str, *words: str, folder: Path = ROOT) -> str:
    """Run a program in a process of its own; returns what it printed."""
    run = subprocess.run([sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_imports_go_down_the_layers():
    program = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache', '--no-logo'])"
    assert "0 broken" in python(program)


def test_there_are_no_exceptions():
    assert not any("ignore_imports" in contract for contract in PROJECT["tool"]["importlinter"]["contracts"])


def in_circles(imports: dict[str, set[str]]) -> set[str]:
    """Modules on a circle, or between two: what is left when those are taken away that import, or that nobody does."""
    left = set(imports)
    while True:
        wanted = {name for module in left for name in imports[module]}
        loose = {module for module in left if module not in wanted or not imports[module] & left}
        if not loose:
            return left
        left -= loose


def test_circles_are_found():
    chain = {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a"}}
    assert in_circles(chain) == set()
    assert in_circles(chain | {"c": {"b"}}) == {"b", "c"}


def test_no_module_imports_itself_in_a_circle():
    """Where `hsisr.report` imports `hsisr.report.page`, that module must not import a name from `hsisr.report`."""
    import grimp

    graph = grimp.build_graph("hsisr", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 150
    assert in_circles(imports) == set()


def test_importing_the_package_imports_nothing_else():
    program = (
        "import sys, time; start = time.perf_counter(); import hsisr; seconds = time.perf_counter() - start\n"
        "print(f'{seconds:.3f}', sorted({'numpy', 'torch', 'h5py', 'pydantic', 'hsisr.scene'} & set(sys.modules)))"
    )
    seconds, found = python(program).split(maxsplit=1)
    print(f"import hsisr: {seconds} s")
    assert found == "[]\n"


HSISR = """
import sys
from hsisr.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""


def test_data_is_fetched_converted_and_split_without_torch(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"sources": {"chikusei": str(FOLDER / "chikusei")}}))
    for step in ("fetch", "convert", "split"):
        python(HSISR, step, "chikusei", folder=tmp_path)
    python(HSISR, "clean-up", "data", folder=tmp_path)
    assert (tmp_path / "data/scenes/chikusei/chikusei.h5").is_file()
    assert (tmp_path / "data/splits/chikusei.json").is_file()


def test_a_method_without_training_is_scored_without_torch(small, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    python(HSISR, "evaluate", "indian_pines_x4", "gsa", folder=tmp_path)
    scores = json.loads((tmp_path / small.path(paths.SCORES, model="gsa")).read_text())
    assert scores["environment"]["threads"] >= 1 and scores["environment"]["gpu"] is None


def test_a_method_without_training_predicts_without_torch(tmp_path):
    lr, guide, _ = own_scene.write_pair(tmp_path, 16, 16)
    python(HSISR, "predict", str(lr), "--guide", str(guide), "--model", "prior", "-o", "sr.tif", folder=tmp_path)
    assert (tmp_path / "sr.tif").is_file()


LOADED = """
import sys
from hsisr.inference import load_model
load_model(sys.argv[1])
assert "torch" in sys.modules and "torch._dynamo" not in sys.modules
"""


def test_a_model_file_is_loaded_without_the_compiler_of_torch(tmp_path):
    python(LOADED, str(own_scene.random_network(tmp_path / "model.safetensors")))


HELP = """
import contextlib, io, sys
import typer
import hsisr.cli
from hsisr.cli.app import app
commands = typer.main.get_command(app).commands
assert {"fetch", "train", "report"} <= set(commands)
for words in [[], *([name] for name in commands)]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        app([*words, "--help"], standalone_mode=False)
    assert "Usage" in said.getvalue(), words
assert "torch" not in sys.modules
"""


def test_help_needs_no_torch():
    python(HELP)


def imported() -> set[str]:
    """Top-level names that the package imports from elsewhere, outside the standard library."""
    names: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).split(".")[0])
    return names - sys.stdlib_module_names - {"hsisr"}


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared_and_every_dependency_imported():
    providers = importlib.metadata.packages_distributions()
    used = {normal(providers[name][0]) for name in imported()}
    declared = {normal(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    optional = {normal(Requirement(line).name) for line in PROJECT["project"]["optional-dependencies"]["xarray"]}
    assert used == declared - NEVER_IMPORTED | optional


def test_conda_environment_asks_for_the_same():
    wanted = {Requirement(line).name: str(Requirement(line).specifier) for line in PROJECT["project"]["dependencies"]}
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = [Requirement(line) for line in lines if isinstance(line, str) and line not in ("pip",)]
    conda = {CONDA.get(entry.name, entry.name): str(entry.specifier) for entry in found if entry.name != "python"}
    assert conda == wanted


@pytest.mark.parametrize("extra", ["test", "dev", "demo", "notebooks", "docs"])
def test_lock_pins_what_is_declared(extra):
    lock = {normal(line.split("==")[0]) for line in (ROOT / "requirements.lock").read_text().splitlines()}
    lines = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"][extra]
    assert {normal(Requirement(line).name) for line in lines} - {"hsisr"} <= lock


def test_types_are_published():
    assert (PACKAGE / "py.typed").is_file()
    assert hsisr.__version__ == re.search(r'"(.+)"', (PACKAGE / "_version.py").read_text().splitlines()[-1])[1]
