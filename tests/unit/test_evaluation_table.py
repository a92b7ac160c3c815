"""The table for the terminal: the best model first, and a sentence that says what it means."""

import pytest

from hsisr.evaluation import table
from hsisr.evaluation.results import ModelResult, Results


def results(convention="mulsr", test=("field-test",), **scores) -> Results:
    """Results with one score a model, others beside it."""
    key = "psnr" if convention else "qnr"
    columns = table.COLUMNS if convention else table.FULL_COLUMNS
    models = {
        name.replace("_", "-"): ModelResult.model_construct(mean=dict.fromkeys(columns, 0.5) | {key: value}, seeds={})
        for name, value in scores.items()
    }
    return Results.model_construct(convention=convention, protocol="wald", parts={"test": list(test)}, models=models)


def test_the_best_stands_first(capsys):
    found = results(bicubic=32.83, my_net=39.5, gsa=38.16)
    assert table.ranking(found) == ["my-net", "gsa", "bicubic"]
    table.print_table({"field_x4": found})
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == ["field_x4", "model", "my-net", "gsa", "bicubic"]


def test_no_terminal_is_too_narrow_for_numbers_and_names(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    table.print_table({"field_x4": results(a_network_with_quite_a_long_name_of_its_own=32.83)})
    line = capsys.readouterr().out.splitlines()[2].split()
    assert line[:3] == ["a-network-with-quite-a-long-name-of-its-own", "32.83", "0.5000"] and len(line) == 7


def test_identical_images_lead_and_undefined_scores_come_last():
    assert table.ranking(results(bicubic=32.0, same=None)) == ["same", "bicubic"]
    assert table.ranking(results(None, blind=None, good=0.9)) == ["good", "blind"]


def learnt_elsewhere(found: Results, name: str) -> Results:
    """The results, with weights of a file for a model."""
    found.models[name].weights = {"file": "w.safetensors", "sha256": "0"}
    return found


def spreading(found: Results, **spreads: float) -> Results:
    """The results, with a standard deviation of the PSNR over two seeds."""
    for name, spread in spreads.items():
        found.models[name].seeds, found.models[name].seed_std = {"0": {}, "1": {}}, {"psnr": spread}
    return found


SENTENCES = [
    (
        spreading(results(bicubic=32.83, prior=39.0, net=39.2, other=39.1), net=0.25, other=0.05),
        "net, other and prior lead with 39.20 to 39.00 dB PSNR, no further apart than they spread, 6.37 dB above "
        "bicubic interpolation, on ground that no model has seen in training: field-test.",
    ),
    (
        results(bicubic=32.83, prior=39.23),
        "prior leads with 39.23 dB PSNR, 6.40 dB above bicubic interpolation, on ground that no model has seen in "
        "training: field-test.",
    ),
    (
        results(test=("a", "b"), gsa=38.0, prior=39.0),
        "prior leads with 39.00 dB PSNR, on ground that no model has seen in training: 2 scenes.",
    ),
    (
        results(bicubic=32.83, prior=39.231, hybrid=39.232, gsa=38.16),
        "hybrid and prior lead with 39.23 dB PSNR, 6.40 dB above bicubic interpolation, on ground that no model has "
        "seen in training: field-test.",
    ),
    (
        results(bicubic=40.62, net=40.61),
        "bicubic leads with 40.62 dB PSNR, on ground that no model has seen in training: field-test.",
    ),
    (
        results(bicubic=40.0, same=None),
        "same leads with \u221e dB PSNR, on ground that no model has seen in training: field-test.",
    ),
    (
        learnt_elsewhere(results(bicubic=32.83, published=39.23), "published"),
        "published leads with 39.23 dB PSNR, 6.40 dB above bicubic interpolation, on field-test. No model that trained "
        "here has seen this ground; published may have.",
    ),
    (
        results(None, bicubic=0.5, prior=0.91),
        "prior leads with 0.91 QNR, on ground that no model has seen in training: field-test.",
    ),
]


@pytest.mark.parametrize(("found", "sentence"), SENTENCES)
def test_what_the_table_means(found, sentence):
    assert table.meaning(found) == sentence
