"""The first minutes of a user: the line as typed, cores as asked for, what a failure says, a project of one's own."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, Project

#: As the user types it.
TYPED = ("--cores", "8", "--resources", "gpu=1", "all")


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    """A project of ours that has run nothing yet; the package that runs is the checkout's."""
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return Project(tmp_path)


def test_the_line_as_typed(finished):
    """The project itself was made by it; here it plans, and runs what is asked for once more."""
    assert "Nothing to be done" in finished.snakemake(*TYPED, "--dry-run").stdout
    done = finished.snakemake(
        "--cores", "8", "--resources", "gpu=1", "results/report/index.html", "--forcerun", "report"
    )
    assert re.search(r"1/1  Writing the report", done.stdout)


@pytest.mark.parametrize("words", [TYPED, ("--cores", "8"), ()])
def test_everything_is_planned(bare, words):
    planned = bare.snakemake(*words, "-n").stdout
    for rule in ("fetch", "train", "merge", "report", "all"):
        assert re.search(rf"^{rule} +\d+$", planned, re.MULTILINE), rule


def test_a_child_process_runs_its_job(bare):
    words = ["--snakefile", "Snakefile", "--target-jobs", "split:dataset=indian_pines", "--allowed-rules", "split"]
    words += ["--cores", "1", "--force", "--nolock", "--resources", "gpu=1", "--set-threads", "base64//c3BsaXQ9MQ=="]
    bare.snakemake(*words, "--mode", "subprocess")
    assert (bare.folder / "data/splits/indian_pines.json").is_file()


def test_elsewhere_snakemake_is_as_without_us(tmp_path):
    (tmp_path / "Snakefile").write_text("rule all:\n    shell: 'true'\n")
    elsewhere = Project(tmp_path)
    refused = elsewhere.snakemake(*TYPED, check=False)
    assert refused.returncode == 1
    assert "dictionary update sequence element #1 has length 1; 2 is required" in refused.stdout
    done = elsewhere.snakemake("--cores", "1").stdout
    assert "1 of 1 steps (100%) done" in done and "step done in" not in done


@pytest.mark.parametrize(
    ("words", "cores"), [(["-j", "1"], 1), (["--jobs=1"], 1), (["--cores", "3"], 3), ([], os.cpu_count())]
)
def test_as_many_cores_as_asked_for(bare, words, cores):
    target = "data/splits/indian_pines.json"
    assert "Job stats" in bare.snakemake(*words, "-n", "--", target).stdout
    done = bare.snakemake(*words, "--", target)
    assert f"1 step on {cores} core{'s' if cores > 1 else ''}" in done.stdout


def test_what_is_typed_outdoes_the_profile(bare):
    done = bare.snakemake("data/splits/indian_pines.json", "--resources", "gpu=3", "--verbose")
    assert "gpu=3" in done.stdout and "gpu=1" not in done.stdout
    assert "Snakemake version" in bare.snakemake("--cores", "1", "--workflow-profile", "none", "-n").stdout


def broken(project: Project) -> Project:
    """Let fetching fail."""
    config = yaml.safe_load((project.folder / "config.yaml").read_text())
    config["sources"] = {"indian_pines": "/nowhere"}
    (project.folder / "config.yaml").write_text(yaml.safe_dump(config))
    return project


def test_the_reason_of_a_failure_is_the_last_line(bare):
    done = broken(bare).snakemake("data/raw/indian_pines/manifest.json", "--cores", "1", check=False)
    *_, where, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert last == "hsisr: error: indian_pines: /nowhere: no such file or folder"
    assert where == "failed: Fetching indian_pines; its log: logs/fetch/indian_pines.log"
    assert "Traceback" not in done.stdout and "WorkflowError" not in done.stdout
    assert "\x1b" not in done.stdout and len(done.stdout.splitlines()) <= 6


def on_a_terminal(project: Project, *words: str, **environment: str) -> str:
    """What Snakemake writes on a terminal."""
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "snakemake", *words]
    env = project.environment() | {"TERM": "xterm"} | environment
    process = subprocess.Popen(program, cwd=project.folder, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    assert process.wait(60) == 0
    os.close(ours)
    return said.decode()


def test_a_bar_on_a_terminal(bare):
    environment = {key: value for key, value in os.environ.items() if key == "NO_COLOR"}
    assert not environment, "this test needs colours"
    said = on_a_terminal(bare, "data/raw/indian_pines/manifest.json", "--cores", "1")
    assert "\r\x1b[2K[....................] 0/1" in said and "\x1b[32m1 step done" in said
    plain = on_a_terminal(bare, "data/splits/indian_pines.json", "--cores", "1", NO_COLOR="1")
    assert "\x1b[3" not in plain


def test_a_project_of_ones_own(tmp_path):
    here = Project(tmp_path)
    made = here.hsisr("init", "study").stdout.splitlines()
    study = Project(tmp_path / "study")
    assert made[-1] == "next: cd study && hsisr run"
    assert {str(path.relative_to(study.folder)) for path in study.folder.rglob("*") if path.is_file()} == {
        *("Snakefile", "config.yaml", "README.md"),
        *(f"profiles/{name}/config.yaml" for name in ("default", "slurm", "kubernetes")),
    }
    assert len([line for line in (study.folder / "README.md").read_text().splitlines() if line]) <= 10
    for words in (TYPED, ()):
        planned = study.hsisr("run", *words, "-n").stdout
        assert re.search(r"^evaluate +4$", planned, re.MULTILINE)
    study.hsisr("run", "results/indian_pines_x4/prior.json", "-j", "1")
    assert (study.folder / "results/indian_pines_x4/prior.json").is_file()

    before = (study.folder / "config.yaml").read_text()
    refused = here.hsisr("init", "study", "--scale", "8", check=False)
    assert refused.returncode == 1 and "is there already, and is not overwritten" in refused.stdout
    assert (study.folder / "config.yaml").read_text() == before
    astray = here.hsisr("run", check=False)
    assert astray.returncode == 1 and "holds no Snakefile; `hsisr init FOLDER` writes a project" in astray.stdout


MODULE = """
configfile: "config/config.yaml"


module hsisr:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from hsisr


rule copy:
    input:
        "results/indian_pines_x4/bicubic.json",
    output:
        "copy.json",
    shell:
        "cp {{input}} {{output}}"
"""


def test_as_a_module_as_snakedeploy_writes_it(tmp_path):
    """What `snakedeploy deploy-workflow` leaves: the folder config, and a Snakefile that loads the workflow."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "workflow").mkdir()
    snakefile = ROOT / "workflow/Snakefile"
    (tmp_path / "workflow/Snakefile").write_text(MODULE.format(snakefile=snakefile))
    user = Project(tmp_path)
    assert re.search(r"^report +1$", user.snakemake("-n", "--cores", "2").stdout, re.MULTILINE)
    user.snakemake("copy.json", "--cores", "2")
    assert '"psnr"' in (tmp_path / "copy.json").read_text()
    user.snakemake("--cores", "2", "--resources", "gpu=1", "copy.json")
    (tmp_path / "config/config.yaml").write_text("trainning: {}\n")
    refused = user.snakemake("-n", check=False)
    assert "hsisr: error: config/config.yaml: trainning: unknown key" in refused.stdout
