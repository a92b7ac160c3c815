"""A few damaged files of every kind; `python -m tests.hostile.fuzz` feeds thousands."""

import pytest

from .fuzz import KINDS, fuzz


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_damaged_file_ends_well_or_in_one_line(folder, kind):
    outcomes = list(fuzz(kind, 60, 0, folder))
    assert len(outcomes) == 60
    assert [outcome for outcome in outcomes if outcome.word not in ("done", "refused")] == []
    assert any(outcome.word == "refused" for outcome in outcomes)
