"""A name with a typing error is answered with the name that was meant, wherever names are given."""

import re

import numpy as np
import pytest
import torch

import hsisr
from hsisr import config, datasets, degrade, metrics
from hsisr.datasets import writers
from hsisr.degrade.response import load_response
from hsisr.errors import HsisrError, did_you_mean
from hsisr.models import registry
from hsisr.models.apply import open_method
from hsisr.models.checkpoints import published
from hsisr.ops import backend
from hsisr.pipeline import benchmark

PUBLISHED = published.known_checkpoints()[0].name
SCENE = hsisr.Scene(np.zeros((3, 8, 8), np.float32))


def resolve(name: str = "cave_x8", **settings):
    return benchmark.resolve(config.Config.parse(settings), name)


TYPED = {
    "model": (lambda: registry.entry("mulrs"), "mulsr"),
    "model of predict": (lambda: open_method("priorr", 4, 3), "prior"),
    "model of a benchmark": (lambda: resolve(benchmarks={"cave_x8": {"models": ["bicubci"]}}), "bicubic"),
    "model of one benchmark": (lambda: resolve().model("bicubc"), "bicubic"),
    "data set": (lambda: datasets.entry("cavee"), "cave"),
    "data set in capitals": (lambda: datasets.entry("CAVE"), "cave"),
    "scene": (lambda: datasets.convert("cave", "balooons", "raw", "out.h5"), "balloons"),
    "scene of a benchmark": (lambda: resolve().item("balooons"), "balloons"),
    "scenes of the configuration": (lambda: resolve(scenes={"cave": ["balooons"]}).parts, "balloons"),
    "split": (lambda: resolve(splits={"cave": "mixpu"}).parts, "mixup"),
    "protocol": (lambda: degrade.degrade(SCENE.cube, "wold", 2), "wald"),
    "protocol of a benchmark": (lambda: resolve("cave_x8_wold"), "wald"),
    "key of a protocol": (lambda: resolve("cave_x8_own", protocols={"own": {"psff": {"kind": "box"}}}), "psf"),
    "response": (lambda: load_response("ikonoss"), "ikonos"),
    "convention": (lambda: metrics.score(SCENE.cube, SCENE.cube, 2, "mixpu"), "mixup"),
    "published weights": (lambda: published.checkpoint(PUBLISHED[:-1]), PUBLISHED),
    "reader": (lambda: datasets.read_scene(".", "rastre"), "raster"),
    "format": (lambda: writers.export(SCENE, "scene.tif", "geotif"), "geotiff"),
    "backend": (lambda: backend.choose("crch", torch.zeros(1, 1, 4, 4), (3, 3), training=False), "torch"),
    "key of the configuration": (lambda: config.Config.parse({"benchmark": {}}), "benchmarks"),
}


@pytest.mark.parametrize("what", TYPED)
def test_a_typing_error_is_answered_with_what_was_meant(what: str) -> None:
    call, meant = TYPED[what]
    with pytest.raises(HsisrError, match=rf"did you mean {re.escape(meant)}\?"):
        call()


def test_nothing_is_suggested_where_nothing_is_like_it() -> None:
    assert did_you_mean("xyz", ["cave", "harvard"]) == ""
    assert did_you_mean("Cave", ["cave"]) == "did you mean cave? "


def test_a_part_of_a_name():
    assert did_you_mean("canon", ["camera_canon_20d", "cannon"]) == "did you mean camera_canon_20d? "
    assert did_you_mean("nikon", ["camera_nikon_d3", "camera_nikon_d40", "ikonos"]) == ""
