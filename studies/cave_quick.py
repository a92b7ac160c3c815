"""The gain from the fast form of MulSR: the literal form gets the training time of the preset cave-quick. Both are
scored.

    HSISR_SOURCE_CAVE=... snakemake results/cave_x8.json --cores 2 --configfile workflow/presets/cave-quick.yaml
    python studies/cave_quick.py

Run both in one folder, on a machine without other work. The literal form computes band by band. It learns from the same
patches with the same settings. The speed of both is measured in turns, without validation. The literal form then takes
as many steps as fit into the time, so its learning rate also falls to the end. Both are scored on the test scenes in
the fast form, which is the same function. The trained network is also scored in bfloat16.
"""

import argparse
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from hsisr import config, metrics
from hsisr.files import read_json
from hsisr.inference import load_model, predict
from hsisr.models import MulSR, load_official
from hsisr.pipeline import pair_files, paths
from hsisr.pipeline.benchmark import Benchmark, resolve
from hsisr.pipeline.patch_files import PatchFile
from hsisr.training import fit
from tests.unit.plain_mulsr import PlainMulSR

MODEL = "mulsr-quick"
#: For the measurement of both forms.
ROUNDS, TIMED_STEPS = 3, 15


class LiteralForm(nn.Module):
    """The literal network with the skip connection of `hsisr.models.MulSR`, trained band by band."""

    def __init__(self, like: MulSR, blocks: int) -> None:
        super().__init__()
        self.scale, self.like = like.scale, [like]  # in a list, so that its weights are not registered here
        self.plain = PlainMulSR(like.scale, like.width, blocks, like.guide_channels)
        with torch.no_grad():
            self.plain.end_x2[1].weight_g.zero_()
            self.plain.end_x2[1].bias.zero_()

    def super_resolve_bands(self, lr: Tensor, guide: Tensor, bands: Tensor) -> Tensor:
        """lr (N, B, h, w), guide (N, G, H, W), bands (N, K) -> (N, K, H, W): one call for each band, as published."""
        triplets = self.like[0]._triplets(lr, bands).unflatten(0, (len(lr), -1))
        return torch.cat([self._band(triplets[:, k], guide) for k in range(triplets.shape[1])], dim=1)

    def _band(self, triplet: Tensor, guide: Tensor) -> Tensor:
        return self.like[0].with_skip(self.plain(triplet, guide)[0], triplet, self.scale)


def main() -> None:
    """Train the literal form for the same time, and score both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", default="cave_x8")
    parser.add_argument("--config", default="config.yaml")
    parser.add_argument("--preset", default="workflow/presets/cave-quick.yaml")
    parser.add_argument("--no-scores", dest="scores", action="store_false", help="compare steps, do not train")
    options = parser.parse_args()
    chosen = resolve(config.load([options.config, options.preset]), options.benchmark)
    summary = read_json(chosen.path(paths.TRAINING, model=MODEL, seed=0))
    trained = load_model(Path(chosen.path(paths.RUN, model=MODEL, seed=0)))
    print(f"fast form    {summary['steps']} steps in {summary['timing']['seconds']:.0f} s, validations included")
    if options.scores:
        print_scores(chosen, trained, {"fast form": "32", "in bfloat16": "bf16"})

    fast, slow = seconds_per_step(chosen, trained)
    steps = round(summary["steps"] * fast / slow)
    print(f"fast form    {fast:.2f} s a step")
    print(f"literal form {slow:.2f} s a step: {steps} steps in the same time, {fast / slow:.2f}")
    if options.scores:
        literal = train_literally(chosen, trained, steps)
        same = load_official(MulSR(trained.scale, **chosen.model(MODEL).options), literal.plain.state_dict())
        print_scores(chosen, same, {"literal form": "32"})


def train_literally(chosen: Benchmark, like: MulSR, steps: int) -> LiteralForm:
    """The literal form after `steps` of the preset's training."""
    torch.manual_seed(0)
    literal = LiteralForm(like, chosen.model(MODEL).options["blocks"])
    time_fit(chosen, literal, steps)
    return literal


def seconds_per_step(chosen: Benchmark, like: MulSR) -> tuple[float, float]:
    """Seconds of the fast and of the literal form, measured in turns."""
    found: dict[type, list[float]] = {MulSR: [], LiteralForm: []}
    for _ in range(ROUNDS):
        options = chosen.model(MODEL).options
        for model in (MulSR(like.scale, **options), LiteralForm(like, options["blocks"])):
            found[type(model)].append(time_fit(chosen, model, TIMED_STEPS) / TIMED_STEPS)
    return statistics.median(found[MulSR]), statistics.median(found[LiteralForm])


def time_fit(chosen: Benchmark, model: nn.Module, steps: int) -> float:
    """Seconds for `steps` steps of the preset's training, without validation."""
    settings = chosen.model(MODEL).training
    patches = PatchFile(chosen.path(paths.PATCHES), 0, settings.augment)
    update = {"max_steps": steps, "max_minutes": None, "validate_every_steps": steps}
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        return fit(model, patches, folder, settings.model_copy(update=update)).seconds


def print_scores(chosen: Benchmark, network: MulSR, precisions: dict[str, str]) -> None:
    """PSNR in dB, SAM in degrees and ERGAS of each test scene, in each precision."""
    for item in chosen.parts["test"]:
        pair = pair_files.read(chosen.path(paths.PAIR, item=item.name))
        for name, precision in precisions.items():
            estimate = predict(network, pair.lr, pair.guide, precision)
            found = metrics.score(pair.hr, estimate, chosen.scale, chosen.convention)
            print(
                f"{item.name:15} {name:13} {found['psnr']:.3f} / {found['sam']:.3f} / {found['ergas']:.3f}", flush=True
            )


if __name__ == "__main__":
    main()
