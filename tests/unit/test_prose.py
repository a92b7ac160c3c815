"""The check of the prose: what counts as a sentence, and as a long, passive or puzzling one."""

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/prose"


@pytest.fixture
def prose(monkeypatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("prose", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("prose", loader))
    loader.exec_module(module)
    return module


PAGE = """
# A title. It does not count.

One sentence here. Two
sentences here:

    code = 1. And more code.

* An item here.

| a cell. | Another cell. |

```python
x = 1. It does not count.
```

See `a.b. C` and [the page](x.md) now.
"""


def test_sentences_are_found_beside_code_and_tables(prose):
    assert list(prose.sentences(PAGE)) == [
        "One sentence here.",
        "Two sentences here:",
        "An item here.",
        "See Code and the page now.",
    ]


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("The command writes the file.", []),
        ("The file is written by the command.", ["passive"]),
        ("The files are not always read.", ["passive"]),
        ("The file is ready.", []),
        ("Nobody knows whence it comes.", ["riddles"]),
        (f"It {'very ' * 28}slow.", []),
        (f"It {'very ' * 29}slow.", ["long"]),
    ],
)
def test_kinds(prose, sentence, kinds):
    assert [kind for kind, found in prose.findings(sentence).items() if found] == kinds


def test_a_count_above_its_limit_fails_and_names_the_sentence(prose, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "CONTRIBUTING.md").write_text("Run the tests.")
    (tmp_path / "README.md").write_text("The file is written by the command. The command writes it.")
    limits = tmp_path / "limits"
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "LIMITS", limits)
    limits.write_text(json.dumps({"long": 0, "passive": 0, "riddles": 0}))
    assert prose.main([]) == 1
    assert "README.md: passive: The file is written by the command." in capsys.readouterr().out
    limits.write_text(json.dumps({"long": 3, "passive": 3, "riddles": 0}))
    assert prose.main(["--lower"]) == 0
    assert json.loads(limits.read_text()) == {"long": 0, "passive": 1, "riddles": 0}
