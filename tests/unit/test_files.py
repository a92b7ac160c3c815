"""Files between steps: whole or not at all, stamped, refused when unknown."""

import math
import os
import stat

import pytest

from hsisr import files
from hsisr.errors import HsisrError


def test_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a" / "file.json"
    files.write_json(path, {"x": 1})
    with pytest.raises(ZeroDivisionError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert files.read_json(path) == {"x": 1}
    assert list(path.parent.iterdir()) == [path]


def test_written_file_has_the_permissions_of_a_plain_one(tmp_path):
    (tmp_path / "plain").write_text("")
    files.write_text(tmp_path / "ours", "")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_unwritable_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HsisrError, match="cannot write there"):
        files.write_text(tmp_path / "file" / "below", "")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_holds_numbers_only(tmp_path, value):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "x.json", {"x": value})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("schema", "message"),
    [("hsisr/pair/99", "written in schema hsisr/pair/99"), ("hsisr/scene/1", "not an hsisr pair file"), (None, "None")],
)
def test_foreign_stamp_is_refused(schema, message):
    with pytest.raises(HsisrError, match=message):
        files.check_stamp("x.h5", {"schema": schema}, "pair")


def test_settings_hash_ignores_the_order_of_keys():
    assert files.settings_hash({"a": 1, "b": [1, 2]}) == files.settings_hash({"b": [1, 2], "a": 1})
    assert files.settings_hash({"a": 1}) != files.settings_hash({"a": 2})


def test_natural_order():
    assert sorted(["b10", "b9", "a1"], key=files.natural_key) == ["a1", "b9", "b10"]


def test_names_that_differ_only_in_case_or_zeros_have_one_order():
    """Names of scenes come from a set: each process had its own order, and so its own split."""
    ordered = ["01", "1", "1\u00b2", "A2", "a2", "a10"]
    for start in range(len(ordered)):
        assert sorted(ordered[start:] + ordered[:start], key=files.natural_key) == ordered
