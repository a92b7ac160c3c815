"""The commands of the README, as typed there."""

import json
import re
import shlex
import sys

import torch

from hsisr.models import MulSR
from tests.workflow.conftest import ROOT

README = (ROOT / "README.md").read_text()


def readme_commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^    (snakemake .*)$", README, re.MULTILINE)]


def test_readme_commands_work_as_typed(finished):
    commands = readme_commands()
    assert len(commands) >= 5
    for words in commands:
        done = finished.snakemake(*words)
        if "-n" in words:
            for rule in ("fetch", "convert", "split", "pairs", "patches", "train", "evaluate", "merge"):
                assert re.search(rf"^{rule} +\d+$", done.stdout, re.MULTILINE), (words, rule)


def test_published_benchmark_is_planned_down_to_the_raw_files(finished):
    jobs = finished.planned("results/cave_x8.json")
    assert jobs == {
        "fetch": 1,
        "convert": 32,
        "split": 1,
        "pairs": 12 + 2,  # test and validation; training patches are degraded at random when they are read
        "patches": 1,
        "train": 1,
        "evaluate": 3,
        "runtime": 1,
        "merge": 1,
    }


def test_second_run_does_nothing(finished):
    assert finished.planned("all") == {}


def test_results_say_what_made_them(finished):
    results = json.loads((finished.folder / "results/indian_pines_x4.json").read_text())
    assert results["command"] == "snakemake results/indian_pines_x4.json --cores all"
    assert list(results["models"]) == ["bicubic", "gsa", "mulsr-demo"]
    assert results["protocol"] == "wald" and results["convention"] == "mulsr"
    assert results["parts"]["test"] == ["indian_pines-test"]
    finished.snakemake(*shlex.split(results["command"])[1:], "--forcerun", "merge")
    assert json.loads((finished.folder / "results/indian_pines_x4.json").read_text()) == results


def test_configfile_becomes_part_of_the_command(scored_copy):
    (scored_copy.folder / "mine.yaml").write_text("report: {scenes: 1}\n")
    words = ["results/indian_pines_x4/bicubic.json", "--cores", "2", "--configfile", "mine.yaml"]
    scored_copy.snakemake(*words)
    scores = json.loads((scored_copy.folder / words[0]).read_text())
    assert scores["command"].endswith("--cores all --configfile mine.yaml")


def test_table_and_doctor(finished):
    table = finished.hsisr("table").stdout
    assert "mulsr-demo" in table and "report: " in table
    assert "the demo can run" in finished.hsisr("doctor").stdout


def test_help_of_every_command_starts_without_torch(finished):
    program = "import sys; import hsisr.cli; sys.exit('torch' in sys.modules)"
    finished.run([sys.executable, "-c", program])
    assert "Usage" in finished.hsisr("train", "--help").stdout


def test_readme_python_runs_as_printed(finished):
    torch.save({"model": MulSR(8).state_dict()}, finished.folder / "published-checkpoint.pth")
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    finished.run([sys.executable, "-c", f"for block in {blocks!r}: exec(block, {{}})"])
