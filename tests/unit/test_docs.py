"""Pages: their links lead somewhere, every page is linked, what they mention exists, what they explain is all."""

import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
NAME = re.compile(r"`(hsisr(?:\.\w+)+)")


def targets(page: Path) -> set[Path]:
    """Files that a page links."""
    return {(page.parent / link).resolve() for link in LINK.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert [str(target) for target in targets(page) if not target.exists()] == []


@pytest.mark.parametrize("index", ["docs/index.md", "docs/decisions/README.md"])
def test_every_page_is_linked(index):
    beside = {page.resolve() for page in (ROOT / index).parent.glob("*.md")} - {(ROOT / index).resolve()}
    assert len(beside) >= 2
    assert beside <= targets(ROOT / index)


def exists(name: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_exist(page):
    missing = [name for name in sorted(set(NAME.findall(page.read_text()))) if not exists(name)]
    assert missing == []


def test_lint_of_the_workflow_says_what_is_explained(tmp_path):
    shutil.copy(ROOT / "config.yaml", tmp_path)
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--lint"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    found = set(re.findall(r"^    \* (.*?)[.:]*$", said.stdout + said.stderr, re.MULTILINE))
    page = (ROOT / "docs/pipeline.md").read_text()
    section = re.search(r"^## What `snakemake --lint` says\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)[1]
    explained = set(re.findall(r"^\| `(.*?)[.:]*` \|", section, re.MULTILINE))
    assert found == explained
