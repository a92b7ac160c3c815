"""What was learnt of a scene comes back from its file."""

import numpy as np
import pytest
import torch

from hsisr.degrade import Sensor, gaussian_footprint
from hsisr.inference import kept
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
        kept.write(tmp_path / "learnt.npz", learnt, "run")
        again = kept.read(tmp_path / "learnt.npz", "run", "hsisr")
        parts = [model.super_resolve_part(one, window, (6, 4)) for one in (learnt, again)]
    np.testing.assert_array_equal(*parts)
