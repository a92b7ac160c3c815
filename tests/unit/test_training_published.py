"""Training through `fit` against runs of the papers' own programs: every loss, every learning rate, the last weights.

The recorded runs start from known weights, and take recorded batches and mixing matrices.
"""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hsisr.config import Schedule, TotalVariation, Training
from hsisr.degrade import PROTOCOLS
from hsisr.models import DeepShare, MulSR, load_official
from hsisr.pipeline.patch_files import Sample
from hsisr.training import fit, objectives
from hsisr.training.objectives import mixup, rgb
from tests.unit.vectors import filled


class Recorded:
    """Samples of a recorded run, in its order, as a patch file gives them; each array (batches, N, C, H, W).

    epochs: of the run, in which all samples are taken once.
    """

    label = "recorded batches"
    rule = PROTOCOLS["mixup"]
    wavelengths_nm = np.linspace(400, 700, 31)

    def __init__(self, epochs: int, lr: np.ndarray, guide: np.ndarray | None, hr: np.ndarray | None) -> None:
        self.images = [None if x is None else x.reshape(-1, *x.shape[2:]) for x in (lr, guide, hr)]
        self.bands, self.count = lr.shape[2], len(self.images[0]) // epochs

    def __len__(self) -> int:
        return self.count

    def identity(self) -> dict[str, str]:
        return {"recorded": self.label}

    def stack(self, numbers: Iterable[int]) -> Sample:
        chosen = list(numbers)
        return Sample(*(None if x is None else x[chosen] for x in self.images))


class Observed(objectives.Iteration):
    """An iteration that keeps the losses that it gives."""

    def __init__(self, inner: objectives.Iteration) -> None:
        super().__init__(inner.parts, inner.together)
        self.taken: list[float] = []

    def _losses(self, *arguments):
        for name, loss in super()._losses(*arguments):
            self.taken.append(loss.item())
            yield name, loss


def run(tmp_path, model, training, patches, others, iteration) -> tuple[list[float], list[float]]:
    """Losses and learning rates of every step of `fit`."""
    observed, rates = Observed(iteration), []
    hook = register_optimizer_step_pre_hook(lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"]))
    try:
        fit(model, patches, tmp_path / "run", training, objective=observed, others=others)
    finally:
        hook.remove()
    return observed.taken, rates


def check(model, before, vectors, losses, rates) -> None:
    np.testing.assert_allclose(losses, vectors["loss"], rtol=1e-9)
    np.testing.assert_allclose(rates, vectors["rate"], rtol=1e-12)
    after = model.state_dict()
    assert set(vectors["keys"]) == set(after)
    norms = np.array([float(after[key].norm()) for key in vectors["keys"]])
    moved = np.array([float((after[key] - before[key]).norm()) for key in vectors["keys"]])
    assert np.abs(norms - vectors["final_norm"]).max() < 1e-9 * vectors["final_norm"].max()
    assert np.abs(moved - vectors["moved_norm"]).max() < 1e-9 * vectors["moved_norm"].max()
    assert moved.max() > 1e-3


def start(model, folder, state_dict) -> dict[str, torch.Tensor]:
    load_official(model, filled(folder, state_dict))
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_mulsr_trains_as_its_program_does(extra_data, tmp_path, one_thread):
    folder = extra_data / "reference"
    vectors = np.load(folder / "training_mulsr_x4.npz")
    model = MulSR(4).double()
    before = start(model, folder, "mulsr_state_dict.json")
    patches = Recorded(3, vectors["lr"], vectors["rgb"], vectors["hr"])
    training = Training(
        epochs=3,
        batch_size=2,
        learning_rate=1e-4,
        beta2=0.999,
        schedule=Schedule(kind="halving", every_epochs=2),
        device="cpu",
        threads=1,
    )
    iteration = objectives.build(training, 0, model, patches, {})
    losses, rates = run(tmp_path, model, training, patches, {}, iteration)
    assert len(losses) == 18
    check(model, before, vectors, losses, rates)


@pytest.fixture
def eight_channels(monkeypatch):
    """The recorded photographs have been mixed into eight channels already."""
    monkeypatch.setattr(rgb, "RGB_TO_EIGHT", np.eye(8))


def test_spectral_mixup_trains_as_its_program_does(extra_data, tmp_path, one_thread, monkeypatch, eight_channels):
    folder = extra_data / "reference"
    vectors = np.load(folder / "training_deepshare_x4.npz")
    model = DeepShare(31, 4, width=32).double()
    before = start(model, folder, "deepshare_31bands_x4_state_dict.json")
    labelled, photographs, lr_only = (
        Recorded(2, vectors[f"{part}_lr"], None, None if part == "unl" else vectors[f"{part}_hr"])
        for part in ("lab", "rgb", "unl")
    )
    counts = {name: {"count": 2} for name in ("mixup", "rgb", "unlabelled")}
    training = Training(
        epochs=2,
        batch_size=2,
        learning_rate=1e-4,
        beta2=0.999,
        schedule=Schedule(kind="mixup", every_epochs=5),
        total_variation=TotalVariation(space=1e-3, bands=2e-3),
        objectives=counts,
        device="cpu",
        threads=1,
    )
    matrices = iter(vectors["mixing"].astype(np.float32).astype(float))  # as the program holds them
    monkeypatch.setattr(mixup, "mixing_matrix", lambda bands, rng: torch.from_numpy(next(matrices)))
    others = {"rgb": photographs, "unlabelled": lr_only}
    iteration = objectives.build(training, 0, model, labelled, others)
    recorded = torch.from_numpy(vectors["V"].astype(float))
    (unlabelled,) = (part for part in iteration.parts if part.name == "unlabelled")
    torch.testing.assert_close(unlabelled.matrix, recorded, rtol=0, atol=1e-7)  # theirs is kept in float32
    unlabelled.matrix = recorded
    losses, rates = run(tmp_path, model, training, labelled, others, iteration)
    assert len(losses) == 56 and next(matrices, None) is None
    check(model, before, vectors, losses, rates)
