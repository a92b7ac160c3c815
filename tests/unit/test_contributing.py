"""CONTRIBUTING.md: whoever follows its pages, in a copy of the package, has what they promise."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(r"^```python\n# (.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: The import that a registry's line needs: registry -> (line before it, line).
IMPORTS = {
    "hsisr/models/registry.py": ("    BicubicOptions,\n", "    BilinearOptions,\n"),
    "hsisr/metrics/conventions/__init__.py": (
        "from hsisr.metrics.conventions.base import Convention\n",
        "from hsisr.metrics.conventions.clipped import CLIPPED\n",
    ),
}


def registered(content: str, registry: str, text: str) -> str:
    """The content of a module with `text` as the last entry of a dictionary, or the first of a line of names."""
    start = re.search(rf"^{registry}\b.* = [({{]", content, re.MULTILINE).end()
    if content[start] != "\n":
        return content[:start] + text.strip() + " " + content[start:]
    end = start + re.search(r"\n(    \)\n)?}", content[start:]).start() + 1
    return content[:end] + text + content[end:]


def follow(place: str, text: str, folder: Path) -> None:
    """Do what a block says: a file of its own, the end of a file, or an entry of a registry in a file."""
    if found := re.fullmatch(r"at the end of (\S+)", place):
        file = folder / found[1]
        file.write_text(f"{file.read_text()}\n\n{text}")
    elif found := re.fullmatch(r"in (\w+) of (\S+)", place):
        file = folder / found[2]
        content = registered(file.read_text(), found[1], text)
        before, line = IMPORTS.get(found[2], ("", ""))
        assert not line or content.count(before) == 1
        file.write_text(content.replace(before, before + line) if line else content)
    else:
        file = folder / place
        assert not file.exists()
        file.write_text(text)


@pytest.mark.parametrize("section", ["model", "reader", "protocol", "metric convention"])
def test_page_works(section, tmp_path):
    page = re.search(rf"^## Add a {section}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]
    blocks = BLOCK.findall(page)
    *steps, (last, check) = blocks
    assert steps and last == "check"
    shutil.copytree(ROOT / "hsisr", tmp_path / "hsisr", ignore=shutil.ignore_patterns("__pycache__"))
    for place, text in steps:
        follow(place, text, tmp_path)
    where = "import hsisr; print(hsisr.__file__)\n"
    run = subprocess.run([sys.executable, "-c", where + check], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    package, *said = run.stdout.splitlines()
    assert Path(package).parent == tmp_path / "hsisr"
    assert len(said) == 1
    promised = re.search(r"  # (\(.*\))$", check, re.MULTILINE)
    assert promised is None or said == [promised[1]]
