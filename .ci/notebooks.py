"""Pages of the documentation that are notebooks: Jupyter runs their code, and the site shows what comes out.

They are Markdown that jupytext reads: they can be read as pages, and Jupyter opens them. What a run made is kept in
.cache/notebooks until the page, the package or the locked versions change.
"""

import base64
import hashlib
import os
import re
import sys
import tempfile
from html import escape
from pathlib import Path
from textwrap import indent

import jupytext
import nbformat
from filelock import FileLock
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError as CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
KEPT = ROOT / ".cache/notebooks"
#: Pages whose code is run, below docs/ -> whether it is folded below what it draws.
PAGES = {"notebooks/my-first-cube.md": False, "notebooks/my-own-network.md": False, "gallery.md": True}
#: What a notebook can use of the checkout: a change of it runs them again.
USED = ("hsisr", "workflow", "profiles", "snakemake_logger_plugin_hsisr", "requirements.lock", ".ci/notebooks.py")
#: Seconds that a cell may take.
MOST_SECONDS = 300


def run(page: Path) -> NotebookNode:
    """Run a page in an empty folder, by a kernel of its own; returns it with what came out of each cell.

    Raises nbclient's CellExecutionError for a cell that fails.
    """
    notebook = jupytext.read(page)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=MOST_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR", "--InlineBackend.figure_formats={'retina'}"],
        )
        client.execute(env=_environment())
        text = nbformat.writes(notebook).replace(f"{folder}/", "")
    return nbformat.reads(text, as_version=4)


def execute(page: Path) -> NotebookNode:
    """As `run`, but what an equal run has made is taken from where it is kept."""
    kept = KEPT / f"{page.stem}-{_digest(page)}.ipynb"
    KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(KEPT / f"{page.stem}.lock"):  # tests run side by side
        if not kept.exists():
            notebook = run(page)
            for old in KEPT.glob(f"{page.stem}-*.ipynb"):
                old.unlink()
            kept.write_text(nbformat.writes(notebook))
    return nbformat.read(kept, as_version=4)


def as_markdown(notebook: NotebookNode, name: str, folded: bool = False) -> tuple[str, dict[str, bytes]]:
    """A notebook as a page of Markdown, and its pictures: file name, which begins with `name`, -> content.

    folded: whether code stands folded below what it draws, and not above.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    heading = name
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [heading])[-1]
            continue
        results = [] if cell.source.startswith("%%writefile ") else _block_of(cell.outputs)
        for data, metadata in ((output.data, output.metadata) for output in cell.outputs if "data" in output):
            if "image/png" in data:
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                width = metadata.get("image/png", {}).get("width")
                size = f' width="{width}"' if width else ""
                results.append(f'<p><img src="{file}" alt="{escape(heading)}"{size}></p>')
            elif "text/html" in data:
                results.append(f"<div>{data['text/html']}</div>")
            else:
                results.append(_block("text", data["text/plain"]))
        code = _code(cell.source)
        parts += (
            [*results, f'??? abstract "The lines that draw it"\n\n{indent(code, "    ")}']
            if folded
            else [code, *results]
        )
    return "\n\n".join(parts) + "\n", pictures


def _block_of(outputs: list[NotebookNode]) -> list[str]:
    """What a cell printed, as one block without colours; or nothing."""
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [_block("text", text)] if text.strip() else []


def _code(source: str) -> str:
    """A cell as a block of code; a file that it writes, or a program of a shell, in its own language."""
    magic, _, rest = source.partition("\n")
    if magic.startswith("%%writefile "):
        file = magic.split()[1]
        return _block(f'{ {".py": "python", ".yaml": "yaml"}[Path(file).suffix] } title="{file}"', rest)
    return _block("bash", rest) if magic == "%%bash" else _block("python", source)


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text.strip(chr(10))}\n```"


def _environment() -> dict[str, str]:
    """Ours, less what would change where data comes from; programs of this Python first, and the checkout's package."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HSISR_", "SNAKEMAKE_"))}
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {"PATH": programs, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def _digest(page: Path) -> str:
    """Twelve hex digits of everything that the result of a page depends on."""
    found = hashlib.sha256(sys.version.encode())
    places = [page, *(ROOT / name for name in USED)]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            found.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return found.hexdigest()[:12]
