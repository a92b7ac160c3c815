"""A copy of the project in a temporary folder, small enough to run for real."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from tests.conftest import NOT_INSTALLED

ROOT = Path(__file__).parents[2]

#: Of the configuration: 25 means of 8 bands each take less time than the scene's 200 bands.
FEW_BANDS = {"indian_pines": {"band_steps": [{"average": 8}]}}

#: Put on the path of every job of the finished project as `sitecustomize`: says which modules of the package it has
#: loaded, and which files of the project it has opened.
_TRACE = """
import atexit, json, os, sys, uuid
from pathlib import Path

opened = set()
project = Path.cwd()

def is_hashed():
    # a step also hashes files that only other steps use, to check what those were made with
    frame = sys._getframe(2)
    while frame is not None and "pathlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == "_hash" and frame.f_code.co_filename.endswith("sources.py")

def see(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)) and not is_hashed():
        opened.add(os.path.abspath(os.fsdecode(arguments[0])))

def tell():
    modules = sorted(name for name in sys.modules if name.split(".")[0] == "hsisr")
    files = sorted(os.path.relpath(file, project) for file in opened if Path(file).is_relative_to(project))
    content = {"words": sys.argv[1:], "modules": modules, "files": files}
    (Path(__file__).parent / f"{uuid.uuid4()}.json").write_text(json.dumps(content))

sys.addaudithook(see)
atexit.register(tell)
"""
#: Folder of the project for what it says.
_TRACES = "traces"


@dataclass(frozen=True)
class Project:
    """A checkout for tests: edits and results stay inside."""

    folder: Path

    def snakemake(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake in the copy, with the package of the copy."""
        return self.run([sys.executable, "-m", "snakemake", *words], check)

    def hsisr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a sub-command in the copy."""
        return self.run([sys.executable, "-m", "hsisr", *words], check)

    def run_in(self, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
        """Run a module in the copy, in another environment than usual."""
        return self.run([sys.executable, "-m", *words], environment=environment)

    def run(
        self, words: list[str], check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run a program in the copy. `stdout` gets both stdout and stderr."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment or self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done

    def environment(self) -> dict[str, str]:
        """Our environment, without variables that change the source of data, and without packages only for tests."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HSISR_", "SNAKEMAKE_"))}
        return kept | {"PYTHONPATH": str(NOT_INSTALLED)}

    def planned(self, *targets: str) -> dict[str, int]:
        """Rule -> jobs that Snakemake would run now."""
        lines = self.snakemake(*targets, "--dry-run").stdout.splitlines()
        jobs = {}
        for line in lines[lines.index("Job stats:") + 3 :] if "Job stats:" in lines else []:
            if not line.strip():
                break
            rule, count = line.split()
            jobs[rule] = int(count)
        return {rule: count for rule, count in jobs.items() if rule not in ("total", "all")}

    def configure(self, scores_only: bool = False, **training) -> None:
        """Change the training of the demo's network. scores_only: leave out the measures beside the scores."""
        path = self.folder / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["benchmarks"] = {"indian_pines_x4": {"models": ["bicubic", "gsa", "mulsr-demo"]}}
        config["models"]["mulsr-demo"]["training"] |= training
        config["patches"]["stride_lr_px"] = 3
        config["datasets"] = FEW_BANDS
        if scores_only:
            config["evaluation"] = {"runtime": False, "classification": False}
        path.write_text(yaml.safe_dump(config, sort_keys=False))


def copy_project(folder: Path) -> Project:
    """Copy the files of the pipeline; of the demo, only a small version of the half with a guide."""
    for name in ("hsisr", "snakemake_logger_plugin_hsisr", "workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)  # with Python's compiled files
    if (ROOT / "csrc").is_dir():
        shutil.copytree(ROOT / "csrc", folder / "csrc")
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.configure(max_steps=6, validate_every_steps=3, batch_size=2, bands_per_step=4, threads=1)
    return project


def copy_of(project: Project, folder: Path) -> Project:
    """Copy a project with all its results. Files keep their times, so nothing is made again."""
    return Project(Path(shutil.copytree(project.folder, folder, symlinks=True)))


def made_once(name: str, make: Callable[[Path], object], factory: pytest.TempPathFactory) -> Project:
    """This worker's copy of a project. The first worker that needs the project makes it, while the others wait."""
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    folder, made = run / name, run / f"{name}-made"
    with FileLock(run / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return copy_of(Project(folder), factory.mktemp(name) / "project")


def make_finished(folder: Path) -> None:
    """Run the whole demo with the users' command, and note what its jobs use (`traces`)."""
    project = copy_project(folder)
    noting = folder / _TRACES
    noting.mkdir()
    (noting / "sitecustomize.py").write_text(_TRACE)
    environment = project.environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{noting}"
    project.run_in(environment, "snakemake", "--cores", "2", "--resources", "gpu=1", "all")


def traces(finished: Project) -> list[dict]:
    """What each process of a finished project's run used: its words, modules of the package, files of the project."""
    return [json.loads(path.read_text()) for path in (finished.folder / _TRACES).glob("*.json")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the project, without results."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after a run of the whole demo. Tests must not change it."""
    return made_once("finished", make_finished, tmp_path_factory)


@pytest.fixture
def finished_copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, free to change."""
    return copy_of(finished, tmp_path / "project")


@pytest.fixture(scope="session")
def scored(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """As `finished`, without the measures beside the scores, so that remaking a part takes half the time."""

    def make(folder: Path) -> None:
        project = copy_of(finished, folder)
        project.configure(scores_only=True)
        project.snakemake("--cores", "2")

    return made_once("scored", make, tmp_path_factory)


@pytest.fixture
def scored_copy(scored: Project, tmp_path: Path) -> Project:
    """A copy of the scored project, free to change."""
    return copy_of(scored, tmp_path / "project")


@pytest.fixture
def untrained(scored_copy: Project) -> Project:
    """A copy of the scored project without the network's weights and all results that need them."""
    folder = scored_copy.folder
    shutil.rmtree(folder / "runs")
    for path in ("results/indian_pines_x4/mulsr-demo.json", "results/indian_pines_x4.json"):
        (folder / path).unlink()
    return scored_copy
