"""Snakemake's command line: swallowed targets move to the front, and no line that Snakemake accepts is touched."""

import functools
import shlex
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser, parse_config
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from snakemake_logger_plugin_hsisr import default_cores, move_swallowed_targets

#: Lines that Snakemake refuses, and their targets.
REFUSED = {
    "--cores 8 --resources gpu=1 all": ["all"],
    "--resources gpu=1 mem_mb=5000 results/x.json --cores 8": ["results/x.json"],
    "--cores 8 --res gpu=1 all -n": ["all"],
    "--resources gpu=1 all mem_mb=5000": ["all"],
    "results/y.json --resources gpu=1 results/x.json": ["results/x.json", "results/y.json"],
    "--resources gpu=1 all --forcerun report": ["all"],
    "--resources gpu=1 results/a.json results/b.json --cores 2": ["results/a.json", "results/b.json"],
    "--set-threads train=4 all --cores 2": ["all"],
    "--set-resources train:mem_mb=9000 all --cores 2": ["all"],
    "--default-resources mem_mb=9000 all --cores 2": ["all"],
    "--config report=1 all --cores 2": ["all"],
    "-C report=1 all --cores 2": ["all"],
    "--config results/x.json --cores 2": ["results/x.json"],
    "--config aa=1 all --resources gpu=1 results/x.json": ["all", "results/x.json"],
    "--configfile mine.yaml all --cores 2": ["all"],
    "--configfiles mine.yaml other.yaml results/x.json": ["results/x.json"],
    "--configfile mine.yaml results/made.json --cores 2": ["results/made.json"],  # a file, and no configuration
    "-q results/x.json --cores 2": ["results/x.json"],
    "--quiet rules results/x.json --cores 2": ["results/x.json"],
    "--rerun-triggers mtime all --cores 2": ["all"],
    "--consider-ancient train=0 all": ["all"],
    "--groups train=g all": ["all"],
    "--resources gpu=1 all -j 1": ["all"],
}

#: Lines that Snakemake accepts.
ACCEPTED = (
    "",
    "all",
    "-n",
    "all --cores 8 --resources gpu=1",
    "--cores 8 all",
    "--cores 8 --resources=gpu=1 all",
    "--resources gpu=1 --cores 8 all",
    "--cores 8 --resources gpu=1 mem_mb=100 -- all",
    "--resources gpu=1 -- all results/x.json",
    "-q all",
    "-q rules all",
    "-q",
    "-nq rules progress",
    "--quiet reason --cores 2 all",
    "--forcerun report all",
    "-R report results/x.json",
    "--until train all",
    "--omit-from train",
    "--prioritize results/x.json all",
    "--config aa=1 bb=2",
    "--config a-b=1",
    "--config",
    "--configfile mine.yaml other.yaml",
    "--configfile=mine.yaml all",
    "--configfile other.json mine.yaml",
    "--set-threads train=4 evaluate=2",
    "--set-resources train:mem_mb=9000 train:runtime=10",
    "--default-resources",
    "--default-resources slurm_account='x' mem_mb=100",
    "--rerun-triggers mtime code",
    "--sdm conda",
    "--dag mermaid-js",
    "--lint",
    "--report r.html all",
    "-j 1 all",
    "-nj1",
    "--profile none --workflow-profile none all",
    "--summary results/x.json",
    "--list-changes params",
    "--target-jobs train:benchmark=indian_pines_x4,model=gsa,seed=0 --allowed-rules train",
    "--executor local --jobs 4 all",
)

CHILD = (
    "--snakefile Snakefile --target-jobs train:seed=0 --allowed-rules train --cores 2 --attempt 1 --force-use-threads "
    "--resources mem_mb=3000 gpu=1 --wait-for-files .snakemake/tmp data/x.h5 --force "
    "--target-files-omit-workdir-adjustment "
    "--set-resources base64//dHJhaW46bWVtX21iPTkwMDA= --set-threads base64//dHJhaW49NA== --config aa=1 "
    "--default-resources base64//bWVtX21iPTEwMDA= base64//dG1wZGlyPXN5c3RlbV90bXBkaXI= --mode remote"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A project of ours, with files that a line may name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text('module hsisr:\n    snakefile: "x"\n')
    (tmp_path / "results").mkdir()
    for name in ("mine.yaml", "other.yaml", "other.json", "results/made.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def moved(line: str) -> list[str]:
    return move_swallowed_targets(["/usr/bin/snakemake", *shlex.split(line)])[1:]


parser = functools.cache(get_argument_parser)


def parsed(words: list[str]):
    """What Snakemake's own parser makes of the words; an error of any kind if it refuses them."""
    try:
        arguments = parser().parse_args(words)
    except SystemExit as end:
        raise ValueError("refused") from end
    parse_config(arguments.config)
    for file in arguments.configfile:
        if not isinstance(yaml.safe_load(file.read_text()), dict) or file.parts[0] == "results":
            raise ValueError(f"{file} is no configuration")
    return arguments


def accepts(line: str) -> bool:
    try:
        parsed(shlex.split(line))
    except (ValueError, OSError):
        return False
    return True


@pytest.mark.parametrize("line", REFUSED)
def test_targets_move_to_the_front(line):
    assert not accepts(line)
    words = moved(line)
    assert sorted(words) == sorted(shlex.split(line))
    assert list(parsed(words).targets) == REFUSED[line]


@pytest.mark.parametrize("line", ACCEPTED)
def test_a_line_that_is_accepted_stays(line):
    assert accepts(line)
    assert moved(line) == shlex.split(line)


@pytest.mark.parametrize("line", REFUSED)
def test_what_was_moved_is_not_moved_again(line):
    words = moved(line)
    assert move_swallowed_targets(["snakemake", *words]) == ["snakemake", *words]


def test_lines_put_together():
    accepted = [f"{a} {b}" for a in ACCEPTED for b in ACCEPTED if b.startswith("-") and accepts(f"{a} {b}")]
    assert len(accepted) > 1000
    for line in accepted:
        assert moved(line) == shlex.split(line)


def test_child_processes_are_left_alone():
    assert accepts(CHILD)
    assert moved(CHILD) == shlex.split(CHILD)
    assert moved(f"{CHILD} --resources gpu=1 all") == shlex.split(f"{CHILD} --resources gpu=1 all")
    coded = "--set-threads train=4 base64//dHJhaW49NA== --resources gpu=1 base64//bWVtX21iPTEwMDA="
    assert moved(coded) == shlex.split(coded)


@pytest.mark.parametrize("line", ["--resources all gpu=1", "--configfile all --cores 2", "--set-threads all"])
def test_an_option_keeps_the_word_that_it_needs(line):
    assert moved(line) == shlex.split(line)


LINE = ["--cores", "8", "--resources", "gpu=1", "all"]


def test_only_in_a_project_of_ours(folder, monkeypatch):
    other = folder / "other"
    other.mkdir()
    (other / "Snakefile").write_text("rule all:\n    shell: 'true'\n")
    assert move_swallowed_targets(["snakemake", "-s", "other/Snakefile", *LINE])[3:] == LINE
    monkeypatch.chdir(other)
    assert move_swallowed_targets(["snakemake", *LINE])[1:] == LINE
    for words in (
        ["-s", "../Snakefile"],
        ["--snakefile=../Snakefile"],
        ["-s../Snakefile"],
        ["--snakefile", "../Snakefile"],
    ):
        assert move_swallowed_targets(["snakemake", *words, *LINE])[1] == "all"
    (other / "Snakefile").unlink()
    assert move_swallowed_targets(["snakemake", *LINE])[1:] == LINE
    (other / "workflow").mkdir()
    (other / "workflow/Snakefile").write_text("from hsisr.sources import workflow_folder\n")
    assert move_swallowed_targets(["snakemake", *LINE])[1] == "all"


@pytest.mark.parametrize("program", ["/usr/bin/pytest", "python", "/x/site-packages/other/__main__.py", "snakefmt", ""])
def test_only_for_snakemake(program):
    assert move_swallowed_targets([program, *LINE]) == [program, *LINE]


@pytest.mark.parametrize("program", ["snakemake", "/x/bin/snakemake.exe", "/x/site-packages/snakemake/__main__.py"])
def test_every_way_to_start_snakemake(program):
    assert move_swallowed_targets([program, *LINE])[1] == "all"
    assert move_swallowed_targets([]) == []


def test_cores_are_not_asked_for_where_jobs_are_named():
    for line in ("-j 1", "-j1", "-nj1", "-pnj 2 all", "--jobs 3", "--jobs=3", "all -j4", "-j=2"):
        assert default_cores(["snakemake", *line.split()]) is None, line
    for line in ("", "-n", "all --cores 2", "--jobname x", "--jobscript x", "-p", "--report j.html", "-q all", "-sj"):
        assert default_cores(["snakemake", *line.split()]) == "all", line


def test_snakemake_finds_the_plugin():
    assert LoggerPluginRegistry().is_installed("hsisr")
