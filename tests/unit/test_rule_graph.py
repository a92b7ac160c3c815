"""The rule graph of the report and of the page on the architecture: what Snakemake itself would run."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from hsisr import config
from hsisr.pipeline.benchmark import resolve
from hsisr.report import export, rule_graph

ROOT = Path(__file__).parents[2]
MODELS = {"mine": {"base": "mulsr", "seeds": [0, 1], "training": {"objectives": {"mixup": {"count": 1}}}}}
CONFIGURATIONS = {
    "the demo": yaml.safe_load((ROOT / "config.yaml").read_text()),
    "folds": {"benchmarks": {"cave_x8": {"models": ["bicubic", "mine"], "folds": 3}}, "models": MODELS},
    "nothing that is trained": {"benchmarks": {"indian_pines_x4": {"models": ["bicubic", "prior"]}}},
}


def planned(folder: Path, target: str) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """Rule -> jobs, and the links of the rules, by Snakemake, where nothing is made yet."""
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), target]
    dry = subprocess.run([*words, "--dry-run"], cwd=folder, capture_output=True, text=True, check=True)
    stats = (dry.stdout + dry.stderr).partition("Job stats:")[2]
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}
    graph = subprocess.run([*words, "--rulegraph"], cwd=folder, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, re.MULTILINE))
    links = {(names[a], names[b]) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", graph, re.MULTILINE)}
    return {rule: count for rule, count in jobs.items() if rule != "total"}, links


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_graph_is_snakemakes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIGURATIONS[name]))
    loaded = config.load("config.yaml")
    benchmark = resolve(loaded, next(iter(loaded.benchmarks)))
    jobs, links = rule_graph.rules_of(benchmark)
    expected_jobs, expected_links = planned(tmp_path, f"results/{benchmark.name}.json")
    assert jobs == expected_jobs
    assert rule_graph.direct(links) == rule_graph.direct((a, b) for a, b in expected_links if a != b)


def test_drawing_shows_every_rule_and_link():
    jobs, links = {"a": 1, "b": 2, "c": 1, "d": 7}, {("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")}
    assert rule_graph.direct(links) == [("a", "b"), ("b", "c"), ("d", "c")]
    assert rule_graph.places(jobs, links) == {"a": (0, 0), "d": (0, 1), "b": (1, 0), "c": (2, 0)}
    root = ElementTree.fromstring(export.standalone(rule_graph.draw(jobs, links, "A <graph>")))
    name = "{http://www.w3.org/2000/svg}"
    assert [title.text for title in root.iter(f"{name}title")] == ["A <graph>"]
    assert [text.text for text in root.iter(f"{name}text")] == ["a (1)", "d (7)", "b (2)", "c (1)"]
    assert len(list(root.iter(f"{name}path"))) == 2 * 3 and "var(" not in ElementTree.tostring(root, "unicode")
