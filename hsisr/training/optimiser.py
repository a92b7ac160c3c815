"""The rule that turns gradients into steps: Adam, as the papers have it, or Muon."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hsisr.config import Training

#: Least side of a weight, as a matrix, that Muon takes. First and last layers, and biases, are smaller.
_LEAST_SIDE = 24
#: Momentum of Muon, and size of its steps: with this factor they are as long as those of Adam at one learning rate.
_MOMENTUM, _AS_ADAM = 0.95, 0.2
#: Coefficients and rounds of the iteration that makes a matrix nearly orthogonal, from Jordan et al.
_QUINTIC, _ROUNDS = (3.4445, -4.7750, 2.0315), 5


def build_optimiser(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimiser of a network, as the section `training` of a configuration says."""
    betas = training.beta1, training.beta2
    if training.optimiser == "muon":
        return Muon(model.parameters(), training.learning_rate, betas)
    fused = training.precision != "fp16"  # the fused form unscales gradients only after the clipping
    return torch.optim.Adam(model.parameters(), lr=training.learning_rate, betas=betas, fused=fused)


class Muon(torch.optim.Optimizer):
    """Orthogonal steps for large weights, Adam's for all others.

    A weight of a hidden layer is a matrix (outputs, inputs x kernel). Its gradients point in few directions, and Adam
    follows these. Muon makes all singular values of the step (nearly) equal, so rare directions are learnt as well.
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the length of the steps is that of
    Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982.

    weights: of a network. learning_rate: of all weights. betas, epsilon: Adam's.
    """

    def __init__(
        self, weights: Iterable[Tensor], learning_rate: float, betas: tuple[float, float], epsilon: float = 1e-8
    ) -> None:
        super().__init__(weights, {"lr": learning_rate, "betas": betas, "eps": epsilon})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    change = self._orthogonal if _is_large(weight) else self._adam
                    change(weight, weight.grad, group)

    def _orthogonal(self, weight: Tensor, gradient: Tensor, group: dict) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].mul_(_MOMENTUM).add_(gradient)
        matrix = (gradient + _MOMENTUM * momentum).flatten(1)
        length = _AS_ADAM * math.sqrt(max(matrix.shape))
        weight.add_(_orthogonalised(matrix).view_as(weight), alpha=-group["lr"] * length)

    def _adam(self, weight: Tensor, gradient: Tensor, group: dict) -> None:
        state, (first, second) = self.state[weight], group["betas"]
        if not state:
            state.update(steps=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        state["steps"] += 1
        mean = state["mean"].lerp_(gradient, 1 - first) / (1 - first ** state["steps"])
        square = state["square"].lerp_(gradient**2, 1 - second) / (1 - second ** state["steps"])
        weight.addcdiv_(mean, square.sqrt_().add_(group["eps"]), value=-group["lr"])


def _is_large(weight: Tensor) -> bool:
    return weight.ndim > 1 and min(len(weight), weight[0].numel()) >= _LEAST_SIDE


def _orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix (m, n) with singular values between 0.7 and 1.2, and the same singular vectors."""
    if matrix.shape[0] > matrix.shape[1]:
        return _orthogonalised(matrix.T).T
    a, b, c = _QUINTIC
    matrix = matrix / (matrix.norm() + torch.finfo(matrix.dtype).tiny)
    # every round is a polynomial of the small square times the matrix, so the rounds need the square alone
    square, identity = matrix @ matrix.T, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    rounds = identity
    for _ in range(_ROUNDS):
        factor = a * identity + b * square + c * square @ square
        rounds, square = factor @ rounds, factor @ square @ factor
    return rounds @ matrix
