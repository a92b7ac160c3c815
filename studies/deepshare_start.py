"""Why a small DeepShare with `skip` hardly left the bicubic image in 400 steps: one change at a time.

    python studies/deepshare_start.py --data <folder with CAVE> [--steps 400] [--only ...]

CAVE x4 under `mixup`. `deepshare-s` learns from seven training scenes, in batches of 2 crops of 16 LR pixels. It is
scored on the middle 256 x 256 pixels of three other training scenes; no test scene is read. Prints PSNR (dB) / SAM
(degrees) and the gain over bicubic interpolation. "torch's start" means the first weights of the published network,
which `deepshare-s` had before. It takes about ten minutes on one thread.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cave
import numpy as np
import torch
from hybrid import TRAIN
from solo import Crops, _pair, _score
from torch import nn

from hsisr.config import Training
from hsisr.models import deepshare, registry
from hsisr.training import fit

SCALE, BANDS, MIDDLE_LR = 4, 31, slice(32, 96)
VALIDATION = ("feathers", "fake_and_real_peppers", "beads")


def torchs(network: nn.Module) -> None:
    """torch's first weights, except for the last convolutions, which stay 0."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("final"):
            module.reset_parameters()


def even(network: nn.Module) -> None:
    """No biases, and weights with which every convolution keeps an image's strength (LeCun et al., 1998)."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and not name.startswith("final"):
            nn.init.kaiming_normal_(parameter, nonlinearity="linear")


def as_it_is(network: nn.Module) -> None:
    """torch's first weights without their biases: `deepshare-s` today."""


def published_last(network: nn.Module) -> None:
    """torch's first weights, also in the last convolutions."""
    torchs(network)
    network.final.reset_parameters()


@dataclass(frozen=True)
class Case:
    """The change: the first weights, the weight of residuals, keys of the section `training`."""

    start: Callable[[Any], None] = torchs
    residual: float = 0.1
    training: dict[str, Any] = field(default_factory=dict)


BRISK = {"learning_rate": 1e-3, "clip_gradient": 1.0}
VARIATION = {"total_variation": {"space": 1e-3, "bands": 2e-3}}
#: The first case is the earlier setting of the presets.
CASES = {
    "torch's start, learning rate 5e-4": Case(),
    "learning rate 2e-3": Case(training={"learning_rate": 2e-3}),
    "batches of 8, a quarter of the steps": Case(training={"batch_size": 8}),
    "residuals at weight 1": Case(residual=1.0),
    "last convolution not 0": Case(published_last),
    "with the published total variation": Case(training=VARIATION),
    "no biases": Case(as_it_is),
    "no biases, learning rate 1e-3, gradient clipped": Case(as_it_is, training=BRISK),
    "no biases, an image's strength kept": Case(even),
    "the same, learning rate 1e-3, gradient clipped": Case(even, training=BRISK),
    "the same, residuals at weight 1": Case(even, residual=1.0),
    "the same, with the published total variation": Case(even, training=VARIATION),
}


def main() -> None:
    """Parse the command line and print a row for each case."""
    parser = cave.arguments(__doc__, TRAIN)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=CASES, default=tuple(CASES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    scenes = dict(zip(TRAIN, cave.read(options.data, TRAIN), strict=True))
    pairs = {name: _pair(scene, "mixup", SCALE) for name, scene in scenes.items()}
    crops = Crops({name: [[pair]] for name, pair in pairs.items() if name not in VALIDATION})
    middle_hr = slice(SCALE * MIDDLE_LR.start, SCALE * MIDDLE_LR.stop)
    held = [(pairs[k][0][:, MIDDLE_LR, MIDDLE_LR], pairs[k][1][:, middle_hr, middle_hr]) for k in VALIDATION]

    def scored(model: Any) -> np.ndarray:
        return np.mean([_score(model, pair, SCALE) for pair in held], axis=0)

    bicubic = scored(registry.build("bicubic", SCALE, BANDS, 0))
    print(f"bicubic: {bicubic[0]:.2f} / {bicubic[1]:.2f}\n\n| | PSNR / SAM | gain |\n| --- | --- | --- |", flush=True)
    for name in options.only:
        found = scored(train(CASES[name], crops, options.steps))
        gain = found - bicubic
        print(f"| {name} | {found[0]:.2f} / {found[1]:.2f} | {gain[0]:+.2f} / {gain[1]:+.2f} |", flush=True)


def train(case: Case, crops: Crops, steps: int) -> Any:
    """`deepshare-s` after `steps` steps, or after another number of steps with the same number of crops."""
    torch.manual_seed(0)
    network = registry.build("deepshare-s", SCALE, BANDS, 0)
    case.start(network)
    settings = {"batch_size": 2, "learning_rate": 5e-4, **case.training}
    training = Training(
        **settings,
        epochs=None,
        max_steps=2 * steps // settings["batch_size"],
        schedule={"kind": "cosine", "warmup_steps": 20},
        precision="bf16",
        select="last",
        threads=1,
        device="cpu",
    )
    usual, deepshare._RESIDUAL = deepshare._RESIDUAL, case.residual
    try:
        with tempfile.TemporaryDirectory() as folder:
            fit(network, crops, folder, training)
        return network.eval()
    finally:
        deepshare._RESIDUAL = usual


if __name__ == "__main__":
    main()
