"""studies/solo.py: what `sources` trains, that it goes on with the rest, what a training may start from; mixtures."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch

from hsisr import metrics
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.models.model_files import load_model
from hsisr.models.shipped import shipped_model

from .studies import opened


@pytest.fixture(scope="module")
def solo():
    """The program as a module."""
    with opened("solo") as program:
        yield program


def crops(solo, *names: str):
    """Random crops of images without content."""
    lr, hr = np.zeros((3, 16, 16), np.float32), np.zeros((3, 32, 32), np.float32)
    return solo.Crops({name: [[(lr, hr)]] for name in names})


def test_sources_trains_each_kind_on_its_images_and_goes_on_where_it_was(solo, tmp_path, monkeypatch, capsys):
    every, trained = crops(solo, *solo.TRAIN[:2], "a photograph"), []

    def train(options, part, folder):
        trained.append((folder.name, part.names))
        return len(part.names) + part.seed, Namespace(steps=7)

    monkeypatch.setattr(solo, "_cave_images", lambda *_: (every, {"one": None, "two": None}))
    monkeypatch.setattr(solo, "_trained", train)
    monkeypatch.setattr(solo, "_score", lambda gain, pair, scale: (30.0 + gain, 5.0))
    options = Namespace(out=tmp_path, scale=2)
    solo._sources(options)
    assert len(trained) == 9
    assert dict(trained)["photographs-seed1"] == ["a photograph"]
    assert dict(trained)["scenes-seed0"] == list(solo.TRAIN[:2])
    assert dict(trained)["both-seed2"] == every.names
    assert "| scenes | 2 | 33.00 ± 1.00 | 5.00 ± 0.00 |" in capsys.readouterr().out
    (tmp_path / "scenes-seed1.json").unlink()
    solo._sources(options)
    assert [name for name, _ in trained[9:]] == ["scenes-seed1"]
    assert json.loads((tmp_path / "scenes-seed1.json").read_text())["steps"] == 7


def test_a_training_starts_from_another_scale_but_for_the_last_layers(solo):
    part = crops(solo, "one")
    form = {"alone": False, "width": 48, "blocks": 5}
    learning = {"optimiser": "muon", "rate": 1e-3, "steps": 1, "minutes": None, "threads": 1, "processes": 1}
    options = Namespace(scale=2, start=shipped_model(4), **form, **learning)
    known = load_model(shipped_model(4)).state_dict()
    found = solo._trained(options, part)[0].state_dict()
    for name, value in found.items():
        if "last" in name:
            assert not value.any()  # an image without content teaches nothing
        else:
            torch.testing.assert_close(value, known[name])


def test_mixed_crops_are_the_same_mixture_of_lr_and_hr_at_unit_strength(solo):
    rng = np.random.default_rng(0)
    low = rng.standard_normal((3, 20, 20)).astype(np.float32)
    high = low.repeat(2, axis=1).repeat(2, axis=2)
    samples = solo.Crops({"one": [[(low, high)]]}, mixed=True)
    assert samples.bands == 1
    sample = samples[5]
    assert sample.lr.shape == (1, 16, 16) and sample.hr.shape == (1, 32, 32)
    np.testing.assert_array_equal(sample.hr[:, ::2, ::2], sample.lr)
    alone = np.eye(3, dtype=np.float32)[:, None]
    shares = np.concatenate([solo._mixture((alone, alone), rng)[0] for _ in range(200)])[:, 0]
    np.testing.assert_allclose(np.linalg.norm(shares, axis=1), 1, rtol=1e-5)
    first, second, third = np.abs(shares).mean(axis=0)
    assert first > second > third > 0.05


def test_mixed_crops_are_more_often_where_detail_is_but_everywhere(solo):
    rng = np.random.default_rng(0)
    low = np.zeros((3, 32, 128), np.float32)
    low[:, :, 64:] = rng.standard_normal((3, 32, 64))
    samples = solo.Crops({"one": [[(low, low.repeat(2, axis=1).repeat(2, axis=2))]]}, mixed=True)
    rows, columns = np.array([samples._place(low, rng) for _ in range(500)]).T
    assert rows.min() == 0 and rows.max() == 16 and columns.min() < 10 and columns.max() == 112
    assert 0.02 < (columns < 48).mean() < 0.25


def test_several_networks_are_scored_by_the_mean_of_their_results(solo):
    rng = np.random.default_rng(0)
    pair = rng.random((3, 16, 16), dtype=np.float32), rng.random((3, 32, 32), dtype=np.float32)
    models = [registry.build(name, 2, 3, 0) for name in ("bicubic", "bicubic-ibp")]
    mean = (predict(models[0], pair[0]) + predict(models[1], pair[0])) / 2
    expected = metrics.score(pair[1], mean, 2, "mixup")
    assert solo._score(models, pair, 2) == pytest.approx((expected["psnr"], expected["sam"]))
