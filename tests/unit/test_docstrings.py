"""Docstrings of what the packages export: every argument is named, the result is described, and so are errors.

The house writes prose, not sections, so that the rules are about words:

* an argument counts when its name stands in the docstring of the function, of the method that it overrides, or, for
  a class, of the class or its `__init__`;
* a field of a dataclass, or of a model of pydantic, may have a comment instead, or a description of its own;
* a result is described when the docstring says "return" or "yield", or when its first word is not a verb but the
  result itself ("The scene ...", "Whether ...", "Scores of ...");
* an error is described when a function that raises `HsisrError` itself says "raise", "refuse" or "error".

Examples know numpy as `np`, `hsisr` and four of its packages by name, and run here.
"""

import ast
import dataclasses
import doctest
import importlib
import inspect
import io
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
from pydantic import BaseModel

import hsisr
from hsisr import datasets, degrade, metrics, models

#: First words of docstrings that tell what a function does, and not what comes out of it.
VERB = re.compile(
    "Add|Apply|Build|Check|Choose|Compute|Convert|Copy|Crop|Cut|Degrade|Draw|Estimate|Evaluate|Extract|Fetch|Fill|Find|"
    "Fit|Gather|Learn|List|Load|Look|Make|Map|Measure|Merge|Mix|Move|Multiply|Open|Pick|Plot|Predict|Prepare|Project|"
    "Put|Read|Reduce|Resample|Run|Sample|Save|Score|Search|Select|Set|Simulate|Solve|Split|Take|Train|Turn|Write"
)


def packages() -> list[ModuleType]:
    """`hsisr` and its parts that say what they export; `hsisr.metrics` exports what it imports as itself."""
    names = [module.name for module in pkgutil.iter_modules(hsisr.__path__) if module.name not in ("__main__", "cli")]
    modules = [hsisr, *(importlib.import_module(f"hsisr.{name}") for name in names)]
    return [module for module in modules if hasattr(module, "__all__") or module is metrics]


def public_names(package: ModuleType) -> list[str]:
    return getattr(package, "__all__", None) or [name for name in dir(package) if not name.startswith("_")]


def exported() -> Iterator[tuple[str, Callable, type | None]]:
    """Every exported function, class and public method, once: its name, itself, and the class that a method is of."""
    seen = {hsisr.HsisrError}  # built by its message, as every exception is
    for package in packages():
        for name in sorted(public_names(package)):
            thing = getattr(package, name)
            if (
                not (inspect.isfunction(thing) or inspect.isclass(thing))
                or thing is hsisr.HsisrError
                or id(thing) in seen
            ):
                continue
            seen.add(id(thing))
            yield f"{package.__name__}.{name}", thing, None
            for key, value in vars(thing).items() if inspect.isclass(thing) else ():
                method = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                if not key.startswith("_") and inspect.isfunction(method):
                    yield f"{package.__name__}.{name}.{key}", method, thing


FOUND = list(exported())
PARSER = doctest.DocTestParser()


def words_on(thing: Callable, owner: type | None) -> str:
    """What is written about a function, a method (or the one that it overrides), or a class and its making."""
    if inspect.isclass(thing):
        return f"{inspect.getdoc(thing)} {thing.__init__.__doc__}"
    overridden = [
        vars(base)[thing.__name__] for base in (owner.__mro__ if owner else ()) if thing.__name__ in vars(base)
    ]
    return "\n".join(method.__doc__ for method in (thing, *overridden) if method.__doc__)


def fields_explained(cls: type) -> set[str]:
    """Fields of a class, and of those that it inherits from, which a comment or a description explains."""
    explained = set()
    for base in cls.__mro__:
        if not (dataclasses.is_dataclass(base) or issubclass(base, BaseModel)) or base is BaseModel:
            continue
        lines = textwrap.dedent(inspect.getsource(base)).splitlines()
        (tree,) = ast.parse("\n".join(lines)).body
        for node in tree.body:
            if isinstance(node, ast.AnnAssign):
                above = lines[node.lineno - 2].strip()
                inside = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                if "  #" in inside or above.startswith("#") or "description=" in inside:
                    explained.add(node.target.id)
    return explained


def unnamed_arguments(thing: Callable, owner: type | None) -> list[str]:
    """Arguments of which nothing is said."""
    text = words_on(thing, owner)
    explained = fields_explained(thing) if inspect.isclass(thing) else set()
    arguments = [name for name in inspect.signature(thing).parameters if name not in ("self", "cls", *explained)]
    return [name for name in arguments if not re.search(rf"\b{re.escape(name)}\b", text)]


def own_statements(function: Callable) -> Iterator[ast.AST]:
    """Everything inside a function, but not what is inside functions within it."""
    waiting = list(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))


def gives_something(function: Callable) -> bool:
    return any(
        isinstance(node, ast.Yield | ast.YieldFrom) or (isinstance(node, ast.Return) and node.value is not None)
        for node in own_statements(function)
    )


def raises_error(function: Callable) -> bool:
    return any(
        isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and "HsisrError" in ast.unparse(node.exc.func)
        for node in own_statements(function)
    )


def test_every_argument_is_named():
    missing = {name: lack for name, thing, owner in FOUND if (lack := unnamed_arguments(thing, owner))}
    assert len(FOUND) > 170
    assert missing == {}


def test_every_result_is_described():
    def described(text: str) -> bool:
        return bool(re.search(r"\b(return|yield)", text, re.IGNORECASE)) or not VERB.fullmatch(text.split()[0])

    functions = [entry for entry in FOUND if inspect.isfunction(entry[1]) and gives_something(entry[1])]
    assert len(functions) > 100
    assert [name for name, function, owner in functions if not described(words_on(function, owner))] == []


def test_every_error_is_described():
    functions = [entry for entry in FOUND if inspect.isfunction(entry[1]) and raises_error(entry[1])]
    assert len(functions) > 10
    said = re.compile(r"\b(raise|refuse|error|HsisrError)", re.IGNORECASE)
    assert [name for name, function, owner in functions if not said.search(words_on(function, owner))] == []


def test_pages_made_of_docstrings_lose_no_word():
    """A word in <angle brackets> is taken for HTML, unless it is code."""
    lost = {name: re.findall(r"<\w+>", re.sub(r"`[^`]*`", "", thing.__doc__ or "")) for name, thing, _ in FOUND}
    assert {name: found for name, found in lost.items() if found} == {}


WRITTEN = [PARSER.get_doctest(thing.__doc__ or "", {}, name, None, 0) for name, thing, _ in FOUND]
EXAMPLES = [test for test in WRITTEN if test.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples_give_what_they_say(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example.globs = {
        "np": np,
        "hsisr": hsisr,
        **{part.__name__[6:]: part for part in (datasets, degrade, metrics, models)},
    }
    said = io.StringIO()
    assert doctest.DocTestRunner().run(example, out=said.write).failed == 0, said.getvalue()


def test_there_are_examples():
    assert len(EXAMPLES) >= 60


@pytest.mark.parametrize(
    ("text", "lack"),
    [("Add first to second.", []), ("Add two.", ["first", "second"]), ("Add firsts to second.", ["first"])],
)
def test_a_name_counts_as_a_word(text, lack):
    def function(first, second):
        return first + second

    function.__doc__ = text
    assert unnamed_arguments(function, None) == lack
