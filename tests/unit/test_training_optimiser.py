"""Muon against its definition, and against torch's Adam for the weights that it leaves to Adam."""

import copy

import pytest
import torch
from torch import nn

from hsisr.config import Training
from hsisr.training.optimiser import Muon, _orthogonalised, build_optimiser


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 32, 3), nn.ReLU(), nn.Conv2d(32, 40, 3), nn.ReLU(), nn.Conv2d(40, 4, 3))


def one_step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    optimiser.zero_grad()
    images = torch.rand(2, 2, 12, 12, generator=torch.Generator().manual_seed(seed))
    (model(images) - images.mean()).square().mean().backward()
    optimiser.step()


def test_small_weights_take_the_steps_of_adam():
    """In a network without a large weight."""
    small = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    ours, torchs = copy.deepcopy(small), copy.deepcopy(small)
    muon = Muon(ours.parameters(), 1e-2, (0.9, 0.99))
    adam = torch.optim.Adam(torchs.parameters(), lr=1e-2, betas=(0.9, 0.99))
    for seed in range(4):
        one_step(ours, muon, seed)
        one_step(torchs, adam, seed)
    for one, other in zip(ours.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(40, 32, 3, 3), (64, 24), (300, 3, 3, 3)])
def test_steps_of_large_weights_are_orthogonal_and_as_long_as_those_of_adam(shape):
    """In training, the root mean square of Adam's steps is about a fifth of the learning rate."""
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.zeros(shape))
    layer.weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    build_optimiser(layer, Training(optimiser="muon", learning_rate=1e-3)).step()
    step = layer.weight.detach().flatten(1)
    values = torch.linalg.svdvals(step) / (1e-3 * 0.2 * max(step.shape) ** 0.5)
    assert values.min() > 0.6 and values.max() < 1.25
    assert 0.15e-3 < step.square().mean().sqrt() < 0.25e-3
    assert (step.flatten() @ layer.weight.grad.flatten()) < 0


@pytest.mark.parametrize("shape", [(24, 90), (90, 24)])
def test_the_rounds_on_the_square_are_the_rounds_on_the_matrix(shape):
    """Of a matrix with singular values between 1 and 1e-4; the least ones lose digits when they are squared."""
    left, values, right = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), False)
    matrix = left * torch.logspace(0, -4, len(values)) @ right
    expected = matrix / matrix.norm()
    for _ in range(5):
        square = expected @ expected.T
        expected = 3.4445 * expected + (-4.7750 * square + 2.0315 * square @ square) @ expected
    torch.testing.assert_close(_orthogonalised(matrix), expected, rtol=0, atol=5e-4)


def test_a_run_goes_on_from_its_state():
    whole, parts = network(), network()
    optimiser = Muon(whole.parameters(), 1e-2, (0.9, 0.99))
    for seed in range(4):
        one_step(whole, optimiser, seed)
    first = Muon(parts.parameters(), 1e-2, (0.9, 0.99))
    for seed in range(2):
        one_step(parts, first, seed)
    second = Muon(parts.parameters(), 1.0, (0.5, 0.5))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for seed in range(2, 4):
        one_step(parts, second, seed)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
