"""The pages of the documentation that are notebooks: they run, end in pictures, and become pages of the site."""

import importlib
import sys
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.workflow.conftest import ROOT

NAMES = ("notebooks/my-first-cube.md", "notebooks/my-own-network.md", "gallery.md")


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    """The module of .ci that runs them."""
    pytest.importorskip("jupytext", reason="pip install 'hsisr[notebooks]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / ".ci"))
        patch.setattr(sys, "dont_write_bytecode", True)
        return importlib.import_module("notebooks")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_ends_in_pictures(notebooks, name):
    code = [cell for cell in notebooks.execute(ROOT / "docs" / name).cells if cell.cell_type == "code"]
    assert len(code) >= 8 and all(cell.execution_count for cell in code)
    assert any("image/png" in output.get("data", {}) for output in code[-1].outputs)
    assert max(len(cell.source.splitlines()) for cell in code if not cell.source.startswith("%%writefile")) <= 16
    assert max(len(line) for cell in code for line in cell.source.splitlines()) <= 112


def test_every_notebook_is_run(notebooks):
    marked = {page for page in (ROOT / "docs").rglob("*.md") if page.read_text().startswith("---\njupyter:\n")}
    assert marked == {ROOT / "docs" / name for name in notebooks.PAGES} == {ROOT / "docs" / name for name in NAMES}


def test_a_cell_that_fails_fails(notebooks, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("---\njupyter: {kernelspec: {name: python3}}\n---\n\n```python\n1 / 0\n```\n")
    with pytest.raises(notebooks.CellExecutionError, match="ZeroDivisionError"):
        notebooks.run(page)


def test_results_follow_their_cells(notebooks):
    picture = {"image/png": "UE5H", "text/plain": "<Figure>"}  # "PNG"
    shown = new_output("display_data", picture, metadata={"image/png": {"width": 9}})
    printed = new_output("stream", name="stdout", text="\x1b[1mbold\x1b[0m\n")
    cells = [
        new_markdown_cell("# Title\n\nWords."),
        new_code_cell("plot()", outputs=[shown, printed]),
        new_code_cell("%%writefile a.yaml\nx: 1", outputs=[printed]),
        new_code_cell("%%bash\nls", outputs=[]),
        new_code_cell("3", outputs=[new_output("execute_result", {"text/plain": "3"})]),
    ]
    nbformat.validate(new_notebook(cells=cells))
    page, pictures = notebooks.as_markdown(new_notebook(cells=cells), "page")
    assert pictures == {"page-1.png": b"PNG"}
    assert page.split("\n\n") == [
        "# Title",
        "Words.",
        "```python\nplot()\n```",
        "```text\nbold\n```",
        '<p><img src="page-1.png" alt="Title" width="9"></p>',
        '```yaml title="a.yaml"\nx: 1\n```',
        "```bash\nls\n```",
        "```python\n3\n```",
        "```text\n3\n```\n",
    ]
    folded, _ = notebooks.as_markdown(new_notebook(cells=cells[:2]), "page", folded=True)
    assert folded.index("<img") < folded.index("??? abstract") < folded.index("    plot()")
