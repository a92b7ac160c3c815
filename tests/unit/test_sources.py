"""What a module can reach is read from its text: imports inside functions, lazy tables, no imports for types."""

import pytest

from hsisr.sources import PACKAGE, Sources

FILES = {
    "p/__init__.py": '_PUBLIC = {"deep": "p.lazy", "other": "p.other"}\n',
    "p/lazy.py": "def deep():\n    from p.inside import thing\n    return thing\n",
    "p/inside.py": "import json\nthing = 1\n",
    "p/other.py": "other = 2\n",
    "p/start.py": "from typing import TYPE_CHECKING\nfrom p import deep\nif TYPE_CHECKING:\n    from p import typed\n",
    "p/typed.py": "",
    "p/whole.py": "import p\nfrom p import sub\n\ndef f():\n    return p.other, sub.part.x\n",
    "p/sub/__init__.py": "",
    "p/sub/part.py": "x = 1\n",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return Sources(tmp_path / "p")


def test_closure_follows_what_runs(package):
    assert package.closure(["p.start"]) == ("p", "p.inside", "p.lazy", "p.start")
    assert package.closure(["p.whole"]) == ("p", "p.other", "p.sub", "p.sub.part", "p.whole")
    assert package.closure(["p.other"]) == ("p", "p.other")
    assert package.closure(iter(["p.other"])) is package.closure(["p.other"])  # hundreds of steps ask for few of them
    with pytest.raises(KeyError, match=r"p has no module p\.nothing"):
        package.closure(["p.nothing"])


def test_names_lead_to_the_module_that_provides_them(package):
    assert package.provider("p", "deep") == "p.lazy"
    assert package.provider("p", "sub") == "p.sub"
    assert package.provider("p", "unknown") == "p"
    assert package.provider("p.sub.part", "x") == "p.sub.part"


def test_hashes_follow_the_text(package, tmp_path):
    before = package.hashes(["p.other"])
    (tmp_path / "p/other.py").write_text("other = 3\n")
    assert package.hashes(["p.other"]) == before  # a process asks for the program that it started with
    after = Sources(tmp_path / "p").hashes(["p.other"])
    assert list(after) == ["p/other.py"] and after != before


def test_every_module_of_hsisr_can_be_followed():
    for module in PACKAGE.modules:
        assert module in PACKAGE.closure([module])
