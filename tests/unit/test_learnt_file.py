"""What was learnt of a scene comes back from its file, and a file cannot bring anything else."""

import json
import pickle

import numpy as np
import pytest
import torch

from hsisr.degrade import Sensor, gaussian_footprint
from hsisr.errors import HsisrError
from hsisr.inference import learnt_file
from hsisr.models import registry
from hsisr.models.windows import HeldImages


def scene():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(6, 48, 40)), axis=1), axis=2)
    sharp = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    footprint = gaussian_footprint(2)
    return HeldImages(footprint.sampler(2, (48, 40))(sharp).astype(np.float32), sharp[:3], 2), footprint


@pytest.mark.parametrize("name", ["prior", "hybrid"])
def test_what_was_learnt_comes_back(tmp_path, name):
    images, footprint = scene()
    model = registry.build(name, 2, 6, 3)
    window = images.window((3, 20), (2, 18))
    with torch.inference_mode():
        learnt = model.estimate(images, Sensor(footprint=footprint))
        learnt_file.write(tmp_path / "learnt.npz", learnt)
        again = learnt_file.read(tmp_path / "learnt.npz")
        parts = [model.super_resolve_part(one, window, (6, 4)) for one in (learnt, again)]
    np.testing.assert_array_equal(*parts)


def test_a_file_makes_no_other_objects(tmp_path):
    path = tmp_path / "learnt.npz"
    for tree in ({"class": "Popen", "fields": {"args": ["true"]}}, {"class": "Fit", "fields": {"x": 1}}, {"a": 1}):
        np.savez(path, tree=np.frombuffer(json.dumps(tree).encode(), np.uint8))
        with pytest.raises(HsisrError, match="damaged file of a run that was stopped; delete its folder"):
            learnt_file.read(path)
    for content in (b"", b"PK", pickle.dumps({"a": 1}), path.read_bytes()[:80]):
        path.write_bytes(content)
        with pytest.raises(HsisrError, match="damaged file"):
            learnt_file.read(path)


def test_only_what_is_learnt_is_written(tmp_path):
    with pytest.raises(TypeError, match="Path is no part of what is learnt|PosixPath"):
        learnt_file.write(tmp_path / "learnt.npz", tmp_path)
    assert not list(tmp_path.iterdir())
