"""Hooks of mkdocs: README and its kind become pages, public packages get pages of their API, notebooks run."""

import ast
import os
import re
import sys
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".ci"))

import notebooks  # noqa: E402

#: Notebook -> its page as Markdown, with what came out of its cells.
_RUN: dict[str, str] = {}
#: Packages that other programs import, in the order in which a user meets them.
PACKAGES = ("hsisr", "hsisr.datasets", "hsisr.degrade", "hsisr.pairs", "hsisr.patches", "hsisr.metrics", "hsisr.models")
PACKAGES += ("hsisr.ops", "hsisr.training", "hsisr.inference", "hsisr.evaluation")
#: Page of the site -> file outside docs/ that it is made from.
OUTSIDE = {"start.md": "README.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def _file(package: str) -> Path:
    place = ROOT.joinpath(*package.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _strings(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def public_names(package: str) -> dict[str, str]:
    """Public name -> its full path: of `__all__`, or else of what is imported as itself."""
    paths, again, listed = {}, set(), set()
    for node in ast.walk(ast.parse(_file(package).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hsisr"):
            paths |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            again |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__":
                listed |= _strings(node.value)
            elif isinstance(target, ast.Name) and target.id == "_PUBLIC" and isinstance(node.value, ast.Dict):
                listed |= {key.value for key in node.value.keys}
    public = (listed or again) & set(paths)
    return {name: paths[name] for name in sorted(public, key=str.lower)}


def api_page(package: str) -> str:
    """Markdown of a package's page, which mkdocstrings fills in."""
    summary = (ast.get_docstring(ast.parse(_file(package).read_text())) or "").partition("\n\n")[0]
    parts = [f"# {package}\n\n{summary}\n"]
    for name, path in public_names(package).items():
        parts.append(f"::: {path}\n    options:\n      heading: {package}.{name}\n      toc_label: {name}\n")
    return "\n".join(parts)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the API at the end of the navigation."""
    config.nav.append({"Python": [{package: f"api/{package}.md"} for package in PACKAGES]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for name, source in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    for package in PACKAGES:
        files.append(File.generated(config, f"api/{package}.md", content=api_page(package)))
    if config.extra["execute"]:
        for page, folded in notebooks.PAGES.items():
            _add_notebook(page, folded, files, config)
    return files


def _add_notebook(page: str, folded: bool, files: Files, config: MkDocsConfig) -> None:
    """Run a notebook; its pictures, and itself for Jupyter, become files beside its page."""
    notebook = notebooks.execute(ROOT / "docs" / page)
    place = Path(page)
    _RUN[page], made = notebooks.as_markdown(notebook, place.stem, folded)
    made[f"{place.stem}.ipynb"] = nbformat.writes(notebook).encode()
    _RUN[page] += f"\n[Download this page as a notebook]({place.stem}.ipynb)\n"
    for name, content in made.items():
        files.append(File.generated(config, (place.parent / name).as_posix(), content=content))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the pages are on the site; what is not on the site keeps its name without a link."""
    uri = page.file.src_uri
    markdown = _RUN.get(uri, markdown)
    source = ROOT / OUTSIDE.get(uri, f"docs/{uri}")
    pages = {ROOT / file: name for name, file in OUTSIDE.items()}

    def lead(match: re.Match[str]) -> str:
        words, link, anchor = match.groups(default="")
        target = (source.parent / link).resolve()
        name = pages.get(target, os.path.relpath(target, ROOT / "docs"))
        if files.get_file_from_path(name) is None:
            return words
        return f"[{words}]({os.path.relpath(name, Path(uri).parent)}{anchor})"

    return LINK.sub(lead, markdown)
