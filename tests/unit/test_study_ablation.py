"""studies/ablation.py: which arms there are, that a second sitting goes on with the rest, and what is made of them."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from hsisr.files import read_json, write_json

from .studies import opened


@pytest.fixture(scope="module")
def ablation():
    """The program as a module."""
    with opened("ablation") as program:
        yield program


class FakeData:
    """No scenes; bicubic has 30 dB and 5 degrees everywhere."""

    bicubic = {"one": (29.0, 4.0), "two": (31.0, 6.0)}
    test = {"one": None, "two": None}

    def __init__(self, folder, photographs):
        pass


def options(folder: Path, **changed) -> Namespace:
    """Of the command line."""
    given = {"out": folder, "data": None, "photos": None, "models": ("solo",), "minutes": float("inf")}
    return Namespace(**given | changed)


@pytest.fixture
def trained(ablation, monkeypatch) -> list:
    """Names and steps of the arms that have been trained, by a stand-in whose gain is the number of labelled scenes."""
    done = []

    def train(arm, steps, data, folder):
        done.append((arm.name, steps))
        return arm

    monkeypatch.setattr(ablation, "Data", FakeData)
    monkeypatch.setattr(ablation, "_train", train)
    monkeypatch.setattr(ablation, "_costs", lambda *_: dict.fromkeys(ablation.COMPONENTS, 0.5) | {"all": 1.0})
    monkeypatch.setattr(ablation, "_score", lambda arm, pair, scale: (30.0 + arm.labelled + arm.seed, 5.0))
    return done


def test_arms_of_a_seed_come_first_and_equal_time_repeats_no_arm_without_components(ablation):
    every = list(ablation.arms(("solo", "deepshare-s")))
    assert len(every) == len(set(every)) == 2 * 3 * 3 * (5 + 4)
    assert [arm.seed for arm in every] == sorted(arm.seed for arm in every)
    assert not any(arm.component == "none" and arm.budget == "time" for arm in every)


def test_a_second_sitting_trains_what_the_first_has_left(ablation, trained, tmp_path):
    ablation.run(options(tmp_path, minutes=0))
    assert trained == []
    ablation.run(options(tmp_path))
    assert len(trained) == 3 * 3 * 9
    name, steps = trained.pop(30)
    (tmp_path / f"{name}.json").unlink()
    before = len(trained)
    ablation.run(options(tmp_path))
    assert trained[before:] == [(name, steps)]


def test_equal_time_takes_as_many_steps_as_fit(ablation, trained, tmp_path):
    ablation.run(options(tmp_path))
    steps = dict(trained)
    usual = ablation.STEPS["solo"]
    assert steps["solo-steps-all-5-seed1"] == steps["solo-time-rgb-5-seed1"] == usual
    assert steps["solo-time-all-5-seed1"] == read_json(tmp_path / "solo-time-all-5-seed1.json")["steps"] == usual // 2


def test_table_has_mean_and_spread_over_seeds_and_says_where_seeds_are_missing(ablation, trained, tmp_path, capsys):
    ablation.run(options(tmp_path))
    (tmp_path / "solo-time-all-2-seed0.json").unlink()
    capsys.readouterr()
    ablation.print_table(options(tmp_path))
    printed = capsys.readouterr().out
    assert "| none | +2.00 ± 1.00 / +0.00 ± 0.00 | +3.00 ± 1.00 / +0.00 ± 0.00 | +6.00 ± 1.00" in printed
    assert "| all | +2.00 ± 1.00 / +0.00 ± 0.00 | +3.50 ± 0.71 / +0.00 ± 0.00 (2) |" in printed
    cell = ablation.cells(tmp_path)["solo", "time", "none", 5]
    np.testing.assert_allclose([cell.mean[0], cell.spread[0]], [6, 1])


def test_figure_shows_what_is_there(ablation, trained, tmp_path):
    arm = next(ablation.arms(("solo",)))
    write_json(tmp_path / f"{arm.name}.json", {"scores": {"one": (31, 4)}, "bicubic": {"one": (30, 5)}})
    ablation.draw(options(tmp_path, picture=tmp_path / "gains.svg"))
    assert "equal steps" in (tmp_path / "gains.svg").read_text()
