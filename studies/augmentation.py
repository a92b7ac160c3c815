"""The effect of the order of augmentation and degradation: a small MulSR on CAVE x8 under `mulsr`, trained three ways.

    python studies/augmentation.py --data <folder with CAVE> [--steps 300]

The three ways: no augmentation; crops augmented before they are degraded, as in MulSR's program and in `PatchFile`; and
crops augmented afterwards, which reverses the shift of the LR image. Everything else is equal. Printed: PSNR of the
middle 256 x 256 pixels of the test scenes, with the protocol's test degradation. Scenes are those of
workflow/presets/cave-quick.yaml. It takes about ten minutes on one thread.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import cave

from hsisr import degrade, metrics
from hsisr.config import Schedule, Training
from hsisr.files import stamp
from hsisr.inference import predict
from hsisr.models import registry
from hsisr.pipeline.patch_files import PatchFile
from hsisr.samples import Sample, augment
from hsisr.scene import Scene
from hsisr.training import fit

SCALE, SIZE_LR_PX = 8, 8
TRAIN_SCENES = (
    *("balloons", "beads", "cd", "chart_and_stuffed_toy", "face"),
    *("fake_and_real_peppers", "feathers", "flowers", "hairs"),
)


class AugmentedAfterwards(PatchFile):
    """Crops that are first degraded and then augmented."""

    def stack(self, numbers: Iterable[int]) -> Sample:
        """Samples with these numbers, stacked."""
        samples = [augment(self[k], np.random.default_rng([self.seed, 7, k])) for k in numbers]
        return Sample(*(np.stack([getattr(sample, key) for sample in samples]) for key in ("lr", "guide", "hr")))


def main() -> None:
    """Parse the command line, train three networks, print their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="local copy of CAVE, whole or in part")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--base", default="mulsr-xs")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "train.h5"
        write_crops(path, cave.read(options.data, TRAIN_SCENES))
        pairs = {scene.name: test_pair(scene) for scene in cave.read(options.data, cave.SCENES)}
        print(f"{options.base}, {options.steps} steps, PSNR (dB) of {', '.join(pairs)}; mean")
        for label, patches in (
            ("no augmentation", PatchFile(path, augment=False)),
            ("augmented before degradation", PatchFile(path, augment=True)),
            ("augmented afterwards", AugmentedAfterwards(path, augment=False)),
        ):
            scores = train(patches, options, Path(folder) / label.replace(" ", "-"), pairs)
            print(f"{label:30}", *(f"{score:.2f}" for score in scores), f"{np.mean(scores):.2f}", sep="  ", flush=True)


def write_crops(path: Path, scenes: list[Scene]) -> None:
    """A patch file of protocol `mulsr`, like that of the step `patches`."""
    with h5py.File(path, "w") as file:
        file.attrs.update(stamp("patches"))
        file.attrs.update(scale=SCALE, protocol="mulsr", names=[scene.name for scene in scenes], labelled=True)
        file.attrs.update(per_epoch=1000 * len(scenes), size_lr_px=SIZE_LR_PX, bands=31, guide_channels=3)
        for k, scene in enumerate(scenes):
            group = file.create_group(f"scenes/{k}")
            group["cube"] = scene.stored[...]
            group.attrs.update(scale=scene.scale, offset=scene.offset)
            group["response"] = degrade.scene_response(scene, "nikon_d700")


def test_pair(scene: Scene) -> degrade.Pair:
    """The pair of a scene's middle."""
    middle = [slice(n // 2 - 128, n // 2 + 128) for n in scene.shape[1:]]
    return degrade.pair(scene.window(*middle), "mulsr", SCALE)


def train(patches: PatchFile, options: argparse.Namespace, folder: Path, pairs: dict[str, degrade.Pair]) -> list[float]:
    """PSNR of every pair, by a network trained on the patches."""
    torch.manual_seed(0)
    network = registry.build(options.base, SCALE, 31, 3)
    training = Training(
        epochs=None,
        max_steps=options.steps,
        batch_size=4,
        bands_per_step=4,
        visit="random",
        learning_rate=2e-3,
        schedule=Schedule(kind="cosine", warmup_steps=50),
        validate_every_steps=options.steps,
        threads=options.threads,
        device="cpu",
    )
    fit(network, patches, folder, training)
    estimates = (predict(network, pair.lr, pair.guide) for pair in pairs.values())
    return [
        metrics.score(pair.hr, estimate, SCALE, "mulsr")["psnr"]
        for pair, estimate in zip(pairs.values(), estimates, strict=True)
    ]


if __name__ == "__main__":
    main()
