"""The tutorial and the page on custom experiments: every command and every program in them runs, in order."""

import re
import shlex
import sys

import pytest
import yaml

from hsisr.config import Config
from tests.workflow.conftest import ROOT, Project

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```|^    ((?:snakemake|hsisr) [^\n]*)$", re.MULTILINE | re.DOTALL)


#: Of an experiment -> what shows as well that it runs. Folds run in test_folds.
LESS = {"max_steps: 40": "max_steps: 4", "seeds: [0, 1]": "seeds: [0]", ", folds: 3": ""}


def parts(page: str) -> list[tuple[str, str]]:
    """Kind and text of the page's blocks, and of its indented commands, in order."""
    found = BLOCK.finditer((ROOT / "docs" / page).read_text())
    return [("command", match[3]) if match[3] else (match[1], match[2]) for match in found]


def run(project: Project, kind: str, text: str, number: int) -> None:
    if kind == "command":
        program, *words = shlex.split(text)
        project.run([sys.executable, "-m", program, *words])
    elif kind == "python":  # as a file, which processes that it starts can import
        name = re.match(r"# (\w+\.py)\n", text)
        file = project.folder / (name[1] if name else f"example{number}.py")
        file.write_text(text)
        project.run([sys.executable, str(file)])
    elif kind == "yaml":
        Config.parse(yaml.safe_load(text))
        for long, short in LESS.items():
            text = text.replace(long, short)
        assert "max_steps: 4," in text and "seeds: [0]" in text and "folds" not in text
        (project.folder / "mine.yaml").write_text(text)
    else:
        raise AssertionError(f"a block of {kind}, which this test cannot run")


@pytest.mark.parametrize("page", ["tutorial.md", "custom-experiments.md"])
def test_everything_in_the_page_runs(scored_copy, page):
    steps = parts(page)
    assert len(steps) >= 3
    for number, (kind, text) in enumerate(steps):
        run(scored_copy, kind, text, number)


def test_programs_are_short():
    first, second, *_ = (text for kind, text in parts("custom-experiments.md") if kind == "python")
    for text in (first, second):
        lines = [line for line in text.splitlines() if line and not line.startswith(("import", "from", "if __name__"))]
        assert len(lines) <= 20
