"""Objectives of training: losses and order of steps against a literal transcription of the published ones."""

import copy

import numpy as np
import pytest
import torch

from hsisr import degrade
from hsisr.config import (
    Objective,
    Objectives,
    RgbObjective,
    Schedule,
    TotalVariation,
    Training,
    UnlabelledObjective,
)
from hsisr.errors import HsisrError
from hsisr.models import DeepShare, MulSR
from hsisr.models.hybrid.held import Solved
from hsisr.models.hybrid.samples import PriorPatches
from hsisr.samples import Sample
from hsisr.training.objectives import (
    Batch,
    Iteration,
    RgbTask,
    SpectralMixup,
    Supervised,
    Unlabelled,
    build,
    distance,
    mix,
    mixing_matrix,
)
from hsisr.training.schedules import learning_rate

PUBLISHED = TotalVariation(space=1e-3, bands=2e-3)
BANDS, SCALE, SIZE, BATCH = 9, 2, 3, 2
WAVELENGTHS = np.linspace(420, 680, BANDS)


class Patches:
    """Samples by number, as a patch file gives them, in float64."""

    label = "patches.h5"
    rule = degrade.PROTOCOLS["wald"]

    def __init__(self, bands: int, seed: int, labelled: bool = True, count: int = 40) -> None:
        self.bands, self.count, self.labelled, self.seed = bands, count, labelled, seed
        self.wavelengths_nm = WAVELENGTHS if bands == BANDS else None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Sample:
        hr = np.random.default_rng([self.seed, number]).random((self.bands, SIZE * SCALE, SIZE * SCALE))
        return Sample(degrade.imresize(hr, 1 / SCALE), None, hr if self.labelled else None)

    def stack(self, numbers) -> Sample:
        samples = [self[k] for k in numbers]
        return Sample(
            np.stack([s.lr for s in samples]), None, np.stack([s.hr for s in samples]) if self.labelled else None
        )


def literal_h(y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """h(y, t), written as in the paper."""
    n, c, h, w = y.shape
    rows = ((y[:, :, 1:] - y[:, :, :-1]) ** 2).sum() / (c * (h - 1) * w)
    columns = ((y[:, :, :, 1:] - y[:, :, :, :-1]) ** 2).sum() / (c * h * (w - 1))
    bands = ((y[:, 1:] - y[:, :-1]) ** 2).sum() / ((c - 1) * h * w)
    return (y - t).abs().mean() + 1e-3 / n * (rows + columns) + 2e-3 / n * bands


def literal_map(x: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """x[..., C] @ matrix with the bands moved last and back."""
    return (x.permute(0, 2, 3, 1) @ torch.from_numpy(np.asarray(matrix, float))).permute(0, 3, 1, 2)


def literal_iteration(net, adam, labelled, photos, lr_only, number, seed, counts, use_unlabelled):
    """One iteration, line by line as published; returns the names of its optimiser steps."""

    def stack(patches, numbers):
        samples = [patches[k] for k in numbers]
        return [
            None if getattr(samples[0], key) is None else torch.from_numpy(np.stack([getattr(s, key) for s in samples]))
            for key in ("lr", "hr")
        ]

    def upsampled(lr):
        return torch.from_numpy(degrade.imresize(lr.numpy(), SCALE))

    def step(loss):
        adam.zero_grad()
        loss.backward()
        adam.step()

    order = []
    lr, hr = stack(labelled, range(number * BATCH, (number + 1) * BATCH))
    bicubic = upsampled(lr)
    step(literal_h(net(lr, bicubic), hr))
    order.append("labelled")
    for k in range(counts["mixup"]):
        matrix = np.random.default_rng([seed, 3, number, k + 1]).random((BANDS, BANDS))
        matrix = matrix / matrix.sum(axis=0).mean()
        triple = [(x + literal_map(x, matrix)) / 2 for x in (lr, bicubic, hr)]
        step(literal_h(net(triple[0], triple[1]), triple[2]))
        order.append("mixup")
    for k in range(counts["rgb"]):
        first = (number * counts["rgb"] + k) * BATCH
        rgb_lr, rgb_hr = (literal_map(x, degrade.RGB_TO_EIGHT) for x in stack(photos, range(first, first + BATCH)))
        step(literal_h(net(rgb_lr, upsampled(rgb_lr), modality="rgb"), rgb_hr))
        order.append("rgb")
    for k in range(counts["unlabelled"] if use_unlabelled else 0):
        first = (number * counts["unlabelled"] + k) * BATCH
        lr, _ = stack(lr_only, range(first, first + BATCH))
        bicubic, v = upsampled(lr), degrade.spectral_mixup_matrix(WAVELENGTHS)
        rgb = net(literal_map(lr, v), literal_map(bicubic, v), modality="rgb")
        step(literal_h(literal_map(net(lr, bicubic), v), rgb))
        order.append("unlabelled")
    return order


def test_iterations_are_those_of_the_paper_step_by_step():
    torch.manual_seed(0)
    net = DeepShare(BANDS, SCALE, width=16).double()
    twin, start = copy.deepcopy(net), copy.deepcopy(net)
    labelled, photos, lr_only = Patches(BANDS, 1), Patches(3, 2), Patches(BANDS, 3, labelled=False)
    counts = {"mixup": 2, "rgb": 2, "unlabelled": 1}
    objectives = {name: {"count": count} for name, count in counts.items()}
    objectives["unlabelled"]["stop_epoch"] = 2
    training = Training(batch_size=BATCH, total_variation=PUBLISHED, objectives=objectives)
    iteration = build(training, 7, net, labelled, {"rgb": photos, "unlabelled": lr_only})

    adams = [torch.optim.Adam(n.parameters(), lr=1e-3) for n in (net, twin)]
    for number, epoch in enumerate((0.0, 1.99, 2.0)):
        batch = Batch.of([labelled[k] for k in range(number * BATCH, (number + 1) * BATCH)], torch.device("cpu"))
        order = []
        for losses in iteration.steps(net, batch, number, epoch):
            adams[0].zero_grad()
            for name, loss in losses:
                loss.backward()
                order.append(name)
            adams[0].step()
        expected = literal_iteration(twin, adams[1], labelled, photos, lr_only, number, 7, counts, epoch < 2)
        assert order == expected
        assert iteration.step_count(net, BANDS, epoch) == len(expected)
    assert expected == ["labelled", "mixup", "mixup", "rgb", "rgb"]
    for (name, mine), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert float((mine - theirs).detach().abs().max()) < 1e-9, name
    moved = (net.final.weight - start.final.weight).detach().abs().max()
    assert float(moved) > 1e-3


@pytest.mark.parametrize("shape", [(1, 2, 2, 2), (3, 5, 4, 7)])
def test_loss_is_the_published_one(shape):
    y, t = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    assert float(distance(y, t, PUBLISHED)) == pytest.approx(float(literal_h(y, t)), rel=1e-14)
    assert float(distance(y, t, TotalVariation())) == pytest.approx(float((y - t).abs().mean()), rel=1e-14)


@pytest.mark.parametrize("made", [torch.ones(2, 1, 4, 4), torch.ones(2, 3, 2, 2), (torch.ones(2, 3, 4, 4),)])
def test_an_image_unlike_the_wanted_one_is_refused_and_not_stretched(made):
    with pytest.raises(HsisrError, match=r"the network makes .*; expected \(2, 3, 4, 4\): samples, bands"):
        distance(made, torch.ones(2, 3, 4, 4), TotalVariation())


@pytest.mark.parametrize("shape", [(2, 1, 3, 3), (2, 3, 1, 3), (2, 3, 3, 1), (1, 1, 1, 1)])
def test_what_has_no_neighbour_has_no_variation(shape):
    y = torch.full(shape, 0.5, requires_grad=True)
    loss = distance(y, torch.zeros(shape), TotalVariation(space=1, bands=1))
    loss.backward()
    assert float(loss.detach()) == 0.5 and y.grad.isfinite().all()


def test_mixtures_are_those_of_the_paper():
    matrix = mixing_matrix(6, np.random.default_rng(0))
    raw = np.random.default_rng(0).random((6, 6))
    np.testing.assert_allclose(matrix, raw / np.mean([raw[:, column].sum() for column in range(6)]), rtol=1e-14)
    assert float(matrix.sum(0).mean()) == pytest.approx(1)
    x = torch.rand(2, 6, 3, 4, dtype=torch.float64)
    expected = np.moveaxis((np.moveaxis(x.numpy(), 1, -1) + np.moveaxis(x.numpy(), 1, -1) @ matrix.numpy()) / 2, -1, 1)
    np.testing.assert_allclose(mix(x, matrix), expected, rtol=1e-13)


def test_mixtures_differ_and_come_again():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, lr):
            seen.append(lr.clone())
            return torch.nn.functional.interpolate(lr, scale_factor=SCALE)

    def draw(seed, number):
        seen.clear()
        batch = Batch.of([Patches(BANDS, 1)[k] for k in range(BATCH)], torch.device("cpu"))
        list(SpectralMixup(Objective(count=2), Training(), seed).losses(Spy(), batch, number))
        return [x.numpy().tobytes() for x in seen]

    first = draw(0, 5)
    assert first == draw(0, 5) and len({*first, *draw(0, 6), *draw(1, 5)}) == 6


def test_together_the_gradient_is_the_weighted_sum():
    torch.manual_seed(0)
    net = DeepShare(BANDS, SCALE, width=16).double()
    labelled, photos = Patches(BANDS, 1), Patches(3, 2)
    objectives = {"mixup": {"weight": 0.5}, "rgb": {"count": 2, "weight": 3}, "step": "together"}
    training = Training(batch_size=BATCH, objectives=objectives)
    iteration = build(training, 0, net, labelled, {"rgb": photos})
    batch = Batch.of([labelled[k] for k in range(BATCH)], torch.device("cpu"))
    (losses,) = list(iteration.steps(net, batch, 0, 0.0))
    for _, loss in losses:
        loss.backward()
    found = {name: p.grad.clone() for name, p in net.named_parameters()}
    assert iteration.step_count(net, BANDS, 0.0) == 1

    net.zero_grad()
    parts = [(Supervised(training, 0), 1), (SpectralMixup(Objective(), training, 0), 0.5)]
    parts.append((RgbTask(RgbObjective(count=2), training, photos), 3))
    sum(weight * loss for part, weight in parts for loss in part.losses(net, batch, 0)).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-10, atol=1e-14)


def test_unlabelled_gradient_flows_through_both_paths_and_the_hr_image_is_not_asked_for():
    torch.manual_seed(0)
    net = DeepShare(BANDS, SCALE, width=16).double()
    patches = Patches(BANDS, 3, labelled=False)
    part = Unlabelled(UnlabelledObjective(), Training(batch_size=BATCH), patches, WAVELENGTHS)
    batch = Batch(torch.zeros(1, BANDS, 1, 1, dtype=torch.float64), None, None)
    (loss,) = part.losses(net, batch, 0)
    loss.backward()
    for name in ("final.weight", "final_RGB.weight", "trunk.head.weight", "trunk_RGB.head.weight"):
        assert float(net.get_parameter(name).grad.abs().max()) > 0, name


@pytest.mark.parametrize(("visit", "steps"), [("all", 3 * 4), ("random", 3)])
def test_mixup_of_a_network_that_works_band_by_band(visit, steps):
    torch.manual_seed(0)
    net = MulSR(4, width=16, blocks=1)
    batch = Batch(torch.rand(1, 7, 2, 2), torch.rand(1, 3, 8, 8), torch.rand(1, 7, 8, 8))
    training = Training(bands_per_step=2, visit=visit, objectives={"mixup": {"count": 2}})
    iteration = build(training, 0, net, Patches(7, 0), {})
    losses = [loss for step in iteration.steps(net, batch, 0, 0.0) for _, loss in step]
    assert len(losses) == steps == iteration.step_count(net, 7, 0.0)
    assert len({loss.item() for loss in losses}) == steps
    bands = [Supervised(training, 0)._bands(2, 7, 4, mixture)[0].tolist() for mixture in range(3)]
    assert visit == "all" or len({str(b) for b in bands}) > 1


def test_mixtures_are_of_the_batch_also_for_a_network_that_works_in_place():
    class Gain(torch.nn.Module):
        def __init__(self, in_place: bool) -> None:
            super().__init__()
            self.in_place, self.gain = in_place, torch.nn.Parameter(torch.ones(1))

        def forward(self, lr, guide):
            halves = [image.mul_(0.5) if self.in_place else image * 0.5 for image in (lr, guide)]
            return self.gain * torch.nn.functional.interpolate(halves[0], scale_factor=4) + halves[1].mean()

    torch.manual_seed(0)
    images = torch.rand(1, 7, 2, 2), torch.rand(1, 3, 8, 8), torch.rand(1, 7, 8, 8)
    training, found = Training(objectives={"mixup": {"count": 2}}), []
    for net in (Gain(True), Gain(False)):
        steps = build(training, 0, net, Patches(7, 0), {}).steps(net, Batch(*(x.clone() for x in images)), 0, 0.0)
        found.append([loss.item() for step in steps for _, loss in step])
    assert found[0] == found[1] and len(found[0]) == 3


def test_guide_is_left_out_for_a_network_that_takes_none():
    net = DeepShare(BANDS, SCALE, width=16)
    lr, hr = torch.rand(1, BANDS, 3, 3), torch.rand(1, BANDS, 6, 6)
    with_guide, without = (
        next(Supervised(Training(), 0).losses(net, Batch(lr, guide, hr), 0)) for guide in (torch.rand(1, 3, 6, 6), None)
    )
    assert float(with_guide) == float(without)


@pytest.mark.parametrize(("epoch", "active"), [(0.0, False), (1.0 - 1e-12, True), (2.5, True), (3.0, False)])
def test_objectives_start_and_stop(epoch, active):
    training = Training()
    part = SpectralMixup(Objective(count=2, start_epoch=1, stop_epoch=3), training, 0)
    net = DeepShare(BANDS, SCALE, width=16)
    assert Iteration([Supervised(training, 0), part]).step_count(net, BANDS, epoch) == (3 if active else 1)


def test_epoch_ends_with_the_samples_of_the_first_objective_that_runs_out():
    training = Training()
    rgb, few = RgbObjective(count=6), Patches(3, 0, count=100)
    part = RgbTask(rgb, training, few)
    assert Iteration([Supervised(training, 0)]).samples_per_epoch(40) == 40
    assert Iteration([Supervised(training, 0), part]).samples_per_epoch(40) == pytest.approx(100 / 6)
    assert Iteration([Supervised(training, 0), part]).samples_per_epoch(10) == 10


def test_published_schedule_of_the_learning_rate():
    schedule = Schedule(kind="mixup", every_epochs=5)
    rates = [learning_rate(1.0, schedule, 0, epoch + part, 99, 10) for epoch in range(10) for part in (0, 0.99)]
    expected = [1.0] * 4 + [0.3] * 5 + [0.3**2 * 0.3]
    assert rates[::2] == pytest.approx(expected) and rates[1::2] == pytest.approx(expected)
    assert learning_rate(1.0, schedule, 0, 9.0, 99) == pytest.approx(0.09)  # without a last epoch


def test_bands_apart_have_no_variation_to_weigh():
    training = Training(total_variation=PUBLISHED, bands_per_step=2)
    with pytest.raises(
        HsisrError, match=r"total_variation.bands: MulSR takes 2 bands of 7 in a step, not always neigh"
    ):
        build(training, 0, MulSR(4, width=16, blocks=1), Patches(7, 0), {})
    whole = Training(total_variation=PUBLISHED, bands_per_step=7)
    assert len(build(whole, 0, MulSR(4, width=16, blocks=1), Patches(7, 0), {}).parts) == 1


def test_what_an_objective_needs_is_told_in_one_line():
    with pytest.raises(HsisrError, match="4 channels; the objective rgb takes photographs of 3"):
        RgbTask(RgbObjective(), Training(), Patches(4, 0))
    with pytest.raises(HsisrError, match="unlabelled: needs the wavelengths"):
        Unlabelled(UnlabelledObjective(), Training(), Patches(BANDS, 0), None)
    corrections = PriorPatches([Solved(np.zeros((5, 8, 8)), np.zeros((3, 8, 8)))], ["s"], 8, 1)
    with pytest.raises(HsisrError, match=r"objectives.mixup: patches of solved scenes pair LR images of 1 bands"):
        build(Training(objectives={"mixup": {}}), 0, DeepShare(BANDS, SCALE, width=16), corrections, {})
    assert Objectives() == Objectives(mixup=None, rgb=None, unlabelled=None, step="each")


def test_unlabelled_scenes_have_their_own_wavelengths_and_no_other_bands(capsys):
    training, network = Training(objectives={"unlabelled": {}}), DeepShare(BANDS, SCALE, width=16)
    elsewhere = Patches(BANDS, 1)
    elsewhere.wavelengths_nm = WAVELENGTHS + 40
    part = build(training, 0, network, Patches(BANDS, 0), {"unlabelled": elsewhere}).parts[-1]
    np.testing.assert_array_equal(part.matrix, degrade.spectral_mixup_matrix(WAVELENGTHS + 40))
    assert "its band centres lie up to 40 nm from those of patches.h5" in capsys.readouterr().err
    with pytest.raises(HsisrError, match="has 8 bands, and patches.h5 9"):
        build(training, 0, network, Patches(BANDS, 0), {"unlabelled": Patches(8, 1)})


def test_alpha_weight_adds_the_distance_at_half_the_scale():
    torch.manual_seed(0)
    hr, guide = torch.rand(2, BANDS, 16, 16), torch.rand(2, 3, 16, 16)
    batch = Batch(torch.rand(2, BANDS, 4, 4), guide, hr)
    model = MulSR(4, 16, 1, alpha_weight=0.25)
    rule = degrade.PROTOCOLS["wald"]
    loss = next(Supervised(Training(bands_per_step=3), 0, rule).losses(model, batch, 0))
    sr, half = model.super_resolve_scales(batch.lr, guide, [0, 1, 2])
    reduced = np.stack([degrade.degrade(image.numpy(), "wald", 2, noise=0) for image in hr])[:, :3]
    l1_loss = torch.nn.functional.l1_loss
    expected = l1_loss(sr, hr[:, :3]) + 0.25 * l1_loss(half, torch.from_numpy(reduced))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert model.end[1].weight_g.grad.abs().sum() > 0
    late = degrade.CustomProtocol("late", {"psf": "none", "sampling": "strided", "phase": 3})
    with pytest.raises(HsisrError, match="reduces HR images by 2 .* phase 3 must .* set the model's alpha_weight to 0"):
        next(Supervised(Training(), 0, late).losses(model, batch, 0))


def test_published_matrix_goes_by_number_of_the_band():
    by_index = UnlabelledObjective(response="cie1964@index")
    harvard = np.linspace(420, 720, 31)
    patches = Patches(31, 0)
    published = torch.from_numpy(degrade.spectral_mixup_matrix(np.linspace(400, 700, 31)))
    torch.testing.assert_close(Unlabelled(by_index, Training(), patches, harvard).matrix, published)
    torch.testing.assert_close(Unlabelled(by_index, Training(), patches, None).matrix, published)
    resampled = Unlabelled(UnlabelledObjective(), Training(), patches, harvard).matrix
    assert (resampled - published).abs().sum() > 0.1 * published.sum()
    with pytest.raises(HsisrError, match="cie1964@index is for 31 bands, and patches.h5 has 9; take cie1964"):
        Unlabelled(by_index, Training(), Patches(BANDS, 0), WAVELENGTHS)
