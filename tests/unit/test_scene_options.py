"""The options of a user's own scene: one model for the command line, the section `predict` and Python."""

from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import typer.main

from hsisr import cli
from hsisr.cli.app import app
from hsisr.config import Config, Prediction, SceneOptions
from hsisr.errors import HsisrError
from hsisr.inference import Options

assert cli
COMMAND = typer.main.get_command(app).commands["predict"]
PARAMETERS = {parameter.name: parameter for parameter in COMMAND.params}


def described(kind):
    return {field.name: field.default for field in fields(kind)}


@pytest.mark.parametrize("name", sorted(set(described(Prediction)) - {"parts"}))  # of jobs, not of one command
def test_the_command_has_every_option_with_the_same_default_and_words(name):
    parameter, field = PARAMETERS[name], described(Prediction)[name]
    if name not in ("lr", "model", "read", "read_guide", "memory"):
        assert parameter.default == field.get_default()
    if name not in ("lr", "guide", "model", "format", "read", "memory"):  # a job has memory of its own
        assert parameter.help == field.description


def test_the_command_takes_nothing_else_but_where_to_write_and_whom_to_trust():
    own = {"out", "part", "overwrite", "help", "config", "quiet", "verbose"}
    assert set(PARAMETERS) - set(described(Prediction)) <= own
    assert set(described(SceneOptions)) < set(described(Prediction))


def test_memory_of_the_command_is_that_of_python():
    assert Options(memory=PARAMETERS["memory"].default) == Options()


SAID = {
    "lr": "lr.tif", "guide": "guide.tif", "model": "gsa", "scale": 4, "align": True, "correct_shift": "field",
    "mask_change": True, "keep_light": True, "grid": "guide", "maps": "maps", "report": "quality.html",
    "uncertainty": "sigma.tif", "parts": 3,
    "exact": True, "cog": True, "tile": 24, "halo": 3, "memory": "2G", "device": "cpu", "precision": "bf16",
    "format": "cog", "peak": 2.5, "guide_peak": 3, "bands": "0-2,5", "guide_bands": [1], "preview": "p.png",
    "read": {"variable": "I_MS"}, "read_guide": {"nodata": 0},
}  # fmt: skip


def test_the_words_of_a_section_are_a_command_that_says_the_same(monkeypatch):
    assert set(SAID) == set(described(Prediction))
    prediction = Config.parse({"predict": {"field": SAID}}).predict["field"]
    called = {}
    monkeypatch.setattr("hsisr.inference.folder.is_collection", lambda lr: False)
    monkeypatch.setattr(
        "hsisr.inference.scenes.super_resolve_file",
        lambda lr, guide, model, out, options, preview, *more: called.update(options=options, preview=preview),
    )
    COMMAND.main([*prediction.words(), "--out", "sr.tif"], standalone_mode=False)
    same = {key: value for key, value in asdict(prediction).items() if key in described(SceneOptions)}
    assert asdict(called["options"]) == same and str(called["preview"]) == "p.png"
    assert called["options"].bands == (0, 1, 2, 5) and called["options"].memory == 2 * 2**30


def test_words_leave_out_what_is_as_it_would_be():
    words = Config.parse({"predict": {"a": {"lr": "x", "model": "gsa"}}}).predict["a"].words()
    assert [word for word in words if word not in ("--memory", str(768 * 2**20))] == ["x", "--model", "gsa"]


def test_words_of_a_part_name_no_file_but_the_result():
    words = Config.parse({"predict": {"field": SAID}}).predict["field"].words(joins=False)
    assert not {"--preview", "--report", "--maps", "--uncertainty", "--parts"} & set(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--correct-shift", "field", "lr.tif"], "field"),
        (["lr.tif", "--correct-shift=affine"], "affine"),
        (["--correct-shift", "lr.tif"], "shift"),
        (["--correct-shift", "scenes"], "shift"),
        (["--correct-shift", "fieldx", "lr.tif"], "fieldx"),
        (["lr.tif", "--correct-shift", "--exact"], "shift"),
        (["lr.tif", "--correct-shift"], "shift"),
        (["lr.tif"], None),
    ],
)
def test_a_shift_is_corrected_with_and_without_a_word(words, said, tmp_path, monkeypatch):
    (tmp_path / "scenes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert COMMAND.make_context("predict", words).params["correct_shift"] == said


def test_true_is_a_shift_as_it_was_before():
    assert Options(correct_shift=True) == Options(correct_shift="shift")
    assert Options(correct_shift=False) == Options()


def test_a_word_for_a_shift_that_is_none_is_named():
    with pytest.raises(HsisrError, match="'fieldx' is not allowed; did you mean field\\? must be 'shift', 'affine' or"):
        COMMAND.main(["lr.tif", "--correct-shift", "fieldx"], standalone_mode=False)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"tile": 3}, "option tile: 3 is not allowed; must be greater than or equal to 8"),
        ({"memory": "3X"}, "option memory: '3X' is not allowed; expected a size such as 512M or 2G"),
        ({"memory": 0}, "option memory: 0 is not allowed; expected a size"),
        ({"memory": "nan"}, "option memory: 'nan' is not allowed; expected a size"),
        ({"bands": "a-b"}, "option bands: 'a-b' is not allowed; expected numbers from 0 and ranges of them"),
        ({"bands": ()}, r"option bands: .* is not allowed; value should have at least 1 item"),
        ({"bands": [True, False, True]}, "option bands.0: True is not allowed; expected a number, not true or false"),
        ({"guide_bands": np.array([True, False])}, "option guide_bands: .* expected a number, not true or false"),
        ({"peak": True}, "option peak: True is not allowed; expected a number, not true or false"),
        ({"peak": 0.0}, "option peak: 0.0 is not allowed; must be greater than 0"),
        ({"peak": float("inf")}, "option peak: inf is not allowed"),
        ({"precision": "16"}, "option precision: '16' is not allowed; must be '32', 'bf16' or 'fp16'"),
        ({"correct_shift": "fields"}, "option correct_shift: 'fields' is not allowed; did you mean field\\? must be"),
        ({"tyle": 24}, "option tyle: unknown key; did you mean tile?"),
    ],
)
def test_values_that_are_not_allowed(option, said):
    with pytest.raises(HsisrError, match=said):
        Options(**option)
    with pytest.raises(HsisrError, match=said.replace("option ", "config.yaml: predict.a.")):
        Config.parse({"predict": {"a": {"lr": "x", "model": "gsa", **option}}})


def test_options_can_be_replaced_and_compared():
    assert replace(Options(tile=24), halo=2) == Options(tile=24, halo=2) != Options()
    assert all(field.default_factory is MISSING or asdict(Options())[field.name] == {} for field in fields(Options))


def test_a_scene_whose_name_starts_like_an_option():
    words = Config.parse({"predict": {"a": {"lr": "-o.tif", "model": "gsa"}}}).predict["a"].words()
    assert COMMAND.make_context("predict", words).params["lr"] == Path("-o.tif")


@pytest.mark.parametrize(("key", "value"), [("parts", True), ("parts", 10**30), ("parts", "many"), ("halo", True)])
def test_numbers_of_a_prediction(key, value):
    with pytest.raises(HsisrError, match=f"config.yaml: predict.a.{key}: "):
        Config.parse({"predict": {"a": {"lr": "x", "model": "gsa", key: value}}})
