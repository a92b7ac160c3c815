"""An edit reruns what it must, and nothing else."""

import pytest

#: Jobs that see all models of a benchmark at once.
COMPARED = {"runtime": 1, "classify": 1}


@pytest.fixture
def edited(finished):
    """Edit a file of the finished project; it is put back afterwards."""
    before = {}

    def edit(name: str, old: str, new: str) -> None:
        path = finished.folder / name
        before.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    yield edit
    for path, text in before.items():
        path.write_text(text)


def test_edit_of_training_reruns_training_and_what_follows(finished, edited):
    edited("hsisr/training/schedules.py", '"""', '"""Edited. ')
    assert finished.planned("all") == {"train": 1, "evaluate": 1, **COMPARED, "merge": 1, "report": 1}


def test_edit_of_a_reader_reruns_from_convert_on(finished, edited):
    edited("hsisr/datasets/readers/numpy.py", '"""', '"""Edited. ')
    jobs = finished.planned("all")
    assert "fetch" not in jobs and "split" not in jobs
    assert jobs["convert"] == 1 and jobs["pairs"] == 3 and jobs["train"] == 1 and jobs["evaluate"] == 3


def test_edit_of_metrics_reruns_scores_only(finished, edited):
    edited("hsisr/metrics/__init__.py", '"""', '"""Edited. ')
    assert finished.planned("all") == {"evaluate": 3, "classify": 1, "merge": 1, "report": 1}


def test_edit_of_a_models_training_reruns_that_model(finished, edited):
    edited("config.yaml", "max_steps: 6", "max_steps: 7")
    assert finished.planned("all") == {"train": 1, "evaluate": 1, **COMPARED, "merge": 1, "report": 1}


def test_edit_of_the_report_section_rewrites_the_report_only(finished, edited):
    edited("config.yaml", "title: Hyperspectral", "title: My hyperspectral")
    assert finished.planned("all") == {"report": 1}
