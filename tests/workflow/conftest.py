"""A copy of the project in a temporary folder, small enough to run for real."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Project:
    """A checkout of its own: edits and results stay inside."""

    folder: Path

    def snakemake(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake there; the package that runs is the copy's."""
        return self.run([sys.executable, "-m", "snakemake", *words], check)

    def hsisr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a sub-command there."""
        return self.run([sys.executable, "-m", "hsisr", *words], check)

    def run_in(self, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
        """Run a module there, in another environment than usual."""
        return self.run([sys.executable, "-m", *words], environment=environment)

    def run(
        self, words: list[str], check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run a program there; stdout and stderr come together in `stdout`."""
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
        """Our own, less what would change where data comes from."""
        return {key: value for key, value in os.environ.items() if not key.startswith(("HSISR_", "SNAKEMAKE_"))}

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
        """Change how the demo's network is trained; scores_only: leave out what is measured beside the scores."""
        path = self.folder / "config.yaml"
        config = yaml.safe_load(path.read_text())
        config["benchmarks"] = {"indian_pines_x4": {"models": ["bicubic", "gsa", "mulsr-demo"]}}
        config["models"]["mulsr-demo"]["training"] |= training
        if scores_only:
            config["evaluation"] = {"runtime": False, "classification": False}
        path.write_text(yaml.safe_dump(config, sort_keys=False))


def copy_project(folder: Path) -> Project:
    """Copy what the pipeline consists of; of the demo the half with a guide, which trains for a few steps only."""
    for name in ("hsisr", "snakemake_logger_plugin_hsisr", "workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if (ROOT / "csrc").is_dir():
        shutil.copytree(ROOT / "csrc", folder / "csrc")
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.configure(max_steps=6, validate_every_steps=3, batch_size=2, bands_per_step=4, threads=1)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the project."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which the whole demo has run, by the line that users type; tests leave it as they found it."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    project.snakemake("--cores", "2", "--resources", "gpu=1", "all")
    return project


@pytest.fixture
def finished_copy(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to do with as one likes."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
