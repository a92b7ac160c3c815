"""Batches that workers make are the batches of the trainer itself, from any number on and for any share."""

import pytest
import torch

from hsisr.config import Config
from hsisr.pipeline import benchmark, patch_files, paths
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training.feeding import Feed, Share
from tests.unit.conftest import CONFIG, small_scene

CPU = torch.device("cpu")
SIZE = 4


@pytest.fixture(params=["fixed", "random"])
def file(request, small, tmp_path):
    if request.param == "fixed":
        return PatchFile(small.path(paths.PATCHES), seed=3)
    small_scene().save(paths.SCENE.format(dataset="indian_pines", scene="indian_pines"))
    config = Config.parse(CONFIG | {"patches": {"size_lr_px": 4, "crops_per_scene": 12}})
    chosen = benchmark.resolve(config, "indian_pines_x4_mulsr")
    patch_files.make(chosen, tmp_path / "random.h5")
    return PatchFile(tmp_path / "random.h5", seed=3)


def images(batch):
    return [x for x in (batch.lr, batch.guide, batch.hr) if x is not None]


def test_workers_give_the_same_batches_from_any_number_on(file):
    alone = Feed(file, SIZE)
    expected = [images(alone.batch(number, CPU)) for number in range(8)]
    assert not torch.equal(expected[0][0], expected[1][0])
    for workers, order in ((1, range(8)), (2, range(8)), (2, (5, 6, 2, 3, 3, 7))):
        feed = Feed(file, SIZE, workers)
        for number in order:
            for found, image in zip(images(feed.batch(number, CPU)), expected[number], strict=True):
                assert torch.equal(found, image), (workers, number)
        feed.close()
    sample = file[5 * SIZE + 2]
    for found, image in zip(expected[5], (sample.lr, sample.guide, sample.hr), strict=True):
        assert torch.equal(found[2], torch.from_numpy(image))


def test_what_workers_give_lies_in_shared_memory(file):
    feed = Feed(file, SIZE, 1)
    assert all(image.is_shared() for image in images(feed.batch(0, CPU)))
    feed.close()


def test_shares_are_the_batch_in_parts(file):
    whole = Feed(file, SIZE).batch(3, CPU)
    for rank in range(2):
        share = Feed(file, SIZE, share=Share(rank, 2)).batch(3, CPU)
        assert (share.first, share.total, len(share.lr)) == (2 * rank, SIZE, 2)
        halves = [*share.shares(2), *whole.shares(4)[2 * rank : 2 * rank + 2]]
        for one, other in zip(halves[:2], halves[2:], strict=True):
            assert (one.rows, one.total) == (other.rows, other.total)
            assert all(map(torch.equal, images(one), images(other)))


def test_others_follow_the_share(file):
    feed, other = Feed(file, SIZE), Feed(reseeded(file, seed=9), SIZE)
    whole = other.batch(7, CPU)
    for share in feed.batch(3, CPU).shares(2):
        assert torch.equal(other.like(share, 7).lr, whole.lr[share.rows])


def reseeded(file, seed):
    return PatchFile(file.path, seed, file.augment)


def test_feeding_leaves_the_generators_alone(file):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    feed = Feed(file, SIZE, 1)
    feed.batch(0, CPU)
    feed.close()
    assert torch.equal(torch.rand(3), expected)
