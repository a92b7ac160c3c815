"""hsisr.models.Hybrid: starts as the prior, learns what it leaves, stays in agreement with the guide."""

import numpy as np
import pytest
import torch

from hsisr import benchmark, degrade, evaluation, pairs, paths
from hsisr.config import Config, Training
from hsisr.inference import load_model, predict
from hsisr.models import registry
from hsisr.models.hybrid import invisible
from hsisr.models.hybrid.maps import cosines, stack
from hsisr.models.hybrid.samples import PriorPatches, solved
from hsisr.models.prior import prior
from hsisr.scene import Scene
from hsisr.training import train_one
from tests.unit.conftest import CONFIG
from tests.unit.test_degrade_estimation import scene


@pytest.fixture(scope="module")
def pair() -> degrade.Pair:
    return degrade.pair(Scene(scene(31, 128), "s", wavelengths_nm=np.linspace(400, 700, 31)), "mulsr", 4)


def test_untrained_it_is_the_prior(pair):
    network = registry.build("hybrid", 4, 31, 3)
    found = predict(network, pair.lr, pair.guide)
    np.testing.assert_allclose(found, prior(pair.lr, pair.guide, scale=4), atol=1e-6)


@pytest.mark.parametrize(("bands", "channels", "size"), [(8, 1, 48), (40, 4, 50), (5, 2, 51)])
def test_any_bands_channels_and_sizes(bands, channels, size):
    scale = 3 if size % 3 == 0 else 2
    hr = scene(bands, size, rank=3)
    guide = hr[:channels]
    lr = degrade.gaussian_footprint(scale).sampler(scale, hr.shape[1:])(hr).astype(np.float32)
    network = registry.build("hybrid", scale, bands, channels, {"width": 8, "blocks": 1})
    torch.nn.init.normal_(network.last.weight)
    assert predict(network, lr, guide).shape == hr.shape


def test_cosines_are_orthonormal_and_slowest_first():
    basis = cosines(6, 31)
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-6)
    assert [(np.diff(np.sign(row)) != 0).sum() for row in basis] == list(range(6))


def test_a_correction_cannot_be_seen_in_the_guide():
    rng = np.random.default_rng(0)
    correction, response = rng.standard_normal((6, 4, 4)).astype(np.float32), rng.random((3, 6))
    left = invisible(correction, response)
    assert np.abs(np.tensordot(response, left, 1)).max() < 1e-5 and np.abs(left).max() > 0.1
    np.testing.assert_allclose(invisible(left, response), left, atol=1e-5)


def test_samples_are_the_same_whenever_they_are_asked_for(pair):
    patches = solved([("s", pair.lr, pair.guide, pair.hr)], 4, cosines(5, 31), size_px=32, patches_per_scene=10)
    assert (len(patches), patches.guide_channels, patches.bands) == (10, 3 + 5 + 5 + 1, 5)
    stacked = patches.stacked([3, 4])
    np.testing.assert_array_equal(stacked.hr[1], patches[4].hr)
    assert stacked.guide.shape == (2, 14, 32, 32) and patches.scene_of(7) == "s"


def test_maps_say_what_the_prior_knows(pair):
    basis = cosines(5, 31)
    found = stack(pair.lr, pair.guide, 4, basis)
    np.testing.assert_allclose(found.maps[:3], pair.guide)
    expected = np.tensordot(basis, found.image, 1) / np.sqrt(31)
    np.testing.assert_allclose(found.maps[3:8], expected, atol=1e-5)


def test_the_engine_teaches_it(tmp_path):
    """A correction that follows from the maps is learnt by `hsisr.training.fit`, on samples of solved scenes."""
    from hsisr.training import fit

    torch.manual_seed(0)
    network = registry.build("hybrid", 4, 31, 3, {"width": 16, "blocks": 1, "components": 4})
    maps = scene(3 + 4 + 4 + 1, 64)
    wanted = 0.05 * (maps[3:7] - 0.5)
    patches = PriorPatches([(maps, wanted)], ["s"], size_px=32, per_epoch=100)
    settings = Training(epochs=None, max_steps=150, batch_size=4, learning_rate=1e-2, device="cpu")
    fit(network, patches, tmp_path, settings)
    with torch.inference_mode():
        found = network(torch.zeros(1), torch.from_numpy(maps)[None])[0].numpy()
    assert ((found - wanted) ** 2).mean() < 0.2 * (wanted**2).mean()


def test_the_pipeline_trains_and_scores_it_and_tells_methods_the_sensor(small):
    few = CONFIG["models"]["tiny"]["training"] | {"max_steps": 2}
    config = CONFIG | {
        "benchmarks": {small.name: {"models": ["gsa", "told", "small"]}},
        "models": {
            "told": {"base": "gsa", "sensor": "known"},
            "small": {"base": "hybrid", "width": 8, "blocks": 1, "components": 3, "training": few},
        },
    }
    chosen = benchmark.resolve(Config.parse(config), small.name)
    train_one(chosen, chosen.model("small"), 0)
    scores = {name: evaluation.evaluate_model(chosen, name, "").result.mean["psnr"] for name in chosen.models}
    assert all(np.isfinite(list(scores.values())))
    assert scores["small"] > scores["gsa"] - 1  # two steps away from the prior
    assert (predict(load_model(chosen.path(paths.RUN, model="small", seed=0)), *images(chosen)) != 0).any()


def images(chosen: benchmark.Benchmark) -> tuple[np.ndarray, np.ndarray]:
    pair = pairs.read(chosen.path(paths.PAIR, item=chosen.parts["test"][0].name))
    return pair.lr, pair.guide
