"""`solo`, the model for one image alone: its weights, its scores, what it stands, what it costs.

    python studies/solo.py weights --scale 4 --out <file> [--steps 6000] [--blur 0] [--start <file>]
    python studies/solo.py cave --data <folder> [--sources scenes photographs] [--minutes 10] [--alone] [--validate cd]
    python studies/solo.py cave --data <folder> --model <file> ...
    python studies/solo.py sources --data <folder> --out <folder> --steps 3000 [--photos <folder>]
    python studies/solo.py others --data <folder> --model <file> ...
    python studies/solo.py finetuned --data <folder>
    python studies/solo.py robust --data <folder> --model <file> [--validate beads face]
    python studies/solo.py pieces --data <folder> --model <file> ...
    python studies/solo.py cost

weights: trains on the photographs of the data set `rgb_photos` (public domain, CC0) under several PSFs and noises,
and writes a model file of half-precision numbers with the hashes of its photographs. cave: trains under protocol
`mixup` for the minutes and scores the four test scenes; --validate: scenes left out of the training and scored in
place of the test scenes, for all choices; --photos: a folder of photographs in place of `rgb_photos`; --alone: no
light network, the deep one learns of random mixtures of an image's components; --out: a file for the network, in
place of scores; --model: no training, the mean of these networks' results. sources: the same with photographs alone,
scenes alone and both, three seeds each: mean and standard deviation over the seeds; every training leaves a file in
the folder, and the same command goes on where it was interrupted. others: scores model files as they are on Samson,
Jasper Ridge, Indian Pines and EnMAP under `wald`. finetuned: the weights that come with hsisr on these four, before
and after `hsisr finetune` with the LR image alone, in --steps (300). robust: the same on CAVE, PSFs and noises.
pieces: model files on --steps (1000) random pieces of CAVE's training scenes and of these four, by the shorter side;
"lose": share of the pieces that lose more than that against bicubic. cost: seconds and FLOPs of one image beside
DeepShare, interleaved, median of --rounds.
<folder>: holds `cave`, `samson`, `jasper_ridge`, `enmap_potsdam`.
"""

import argparse
import copy
import hashlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

import cave
import numpy as np
import other_data
import torch
from hybrid import TEST, TRAIN
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter
from torch.utils.flop_counter import FlopCounterMode

from hsisr import datasets, degrade, metrics
from hsisr.config import Training
from hsisr.datasets.writers import export
from hsisr.degrade.estimation import spectral_subspace
from hsisr.degrade.protocols import Protocol, find_protocol
from hsisr.degrade.psf import BlockMeanPsf, GaussianPsf
from hsisr.degrade.sensor import footprint_of
from hsisr.files import read_json, write_json
from hsisr.inference import Options, finetune, predict
from hsisr.models import registry
from hsisr.models.model_files import load_model, save_model
from hsisr.models.options import SoloOptions
from hsisr.models.shipped import OPTIONS, shipped_model
from hsisr.samples import Sample, orient
from hsisr.scene import Scene
from hsisr.training import fit

#: Side of a training patch in LR pixels, patches in a batch, and draws of PSF, noise and spectra for every photograph.
PATCH_PX, BATCH, DRAWS = 16, 16, 16
#: Standard deviations of Gaussian PSFs in LR pixels that are scored, and the range of the weights that travel.
SIGMAS, TAUGHT = (0.3, 0.4, 0.5, 0.6, 0.7), (0.25, 0.75)
#: How much photographs are blurred at most, in HR pixels: images of sensors are never as sharp as these.
BLUR_HR_PX = 1.25
#: Bands of virtual spectra, and powers of their mixtures of red, green and blue.
VIRTUAL_BANDS, POWERS = 12, (0.5, 3.0)
#: Mean squared gradient, over that of its image, that every patch of a mixture has at least when places are drawn.
EVERYWHERE = 0.05
#: Decay of the average of a network's weights, if it is taught by mixtures.
AVERAGE = 0.999
#: Sides of random pieces in LR pixels, and the shorter ones from which on they are told apart.
SIDES_LR_PX, GROUPS_LR_PX = (4, 97), (4, 8, 16, 24)
#: Signal to noise in dB; half of the draws have no noise.
SNR_DB = (20.0, 50.0)


#: What `sources` compares, and its seeds.
KINDS = {"photographs": ("photographs",), "scenes": ("scenes",), "both": ("scenes", "photographs")}
SEEDS = (0, 1, 2)

#: LR and HR images.
Pairs = list[tuple[np.ndarray, np.ndarray]]


@dataclass(eq=False)
class Crops:
    """Random crops of images in memory, in one of their 8 flips and rotations, as `hsisr.samples.TrainingSamples`.

    images: name -> for each draw of PSF and noise, the same for all images, LR and HR images (B, h, w), (B, s h, s w),
    several where `_evened` makes them. A batch is of one draw, as patches of one scene are.
    mixed: whether a crop is one band, a random mixture of the image's, which are its components at unit strength.
    """

    images: dict[str, list[Pairs]]
    seed: int = 0
    mixed: bool = False
    wavelengths_nm: np.ndarray | None = None
    names: list[str] = field(init=False)
    _likely: dict[int, np.ndarray] = field(init=False, default_factory=dict)

    label, guide_channels, rule = "crops", 0, None

    def __post_init__(self) -> None:
        self.names = list(self.images)
        lr, hr = self.images[self.names[0]][0][0]
        self.bands, self.scale = 1 if self.mixed else len(lr), hr.shape[1] // lr.shape[1]
        self.size_px = PATCH_PX * self.scale

    def __len__(self) -> int:
        return 1000 * len(self.names)

    def __getitem__(self, number: int) -> Sample:
        """Crop of that number, counted over the whole run from 0."""
        rng = np.random.default_rng([self.seed, number])
        draws = self.images[self.scene_of(number)]
        pairs = draws[np.random.default_rng([self.seed, number // BATCH]).integers(len(draws))]
        lr, hr = pairs[rng.integers(len(pairs))]
        row, column = self._place(lr, rng)
        low = lr[:, row : row + PATCH_PX, column : column + PATCH_PX]
        row, column = row * self.scale, column * self.scale
        high = hr[:, row : row + self.size_px, column : column + self.size_px]
        if self.mixed:
            low, high = _mixture((low, high), rng)
        return orient(Sample(low.astype(np.float32), None, high.astype(np.float32)), int(rng.integers(8)))

    def _place(self, lr: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """Row and column of a crop. mixed: places with much detail are more likely."""
        rows, columns = (size - PATCH_PX + 1 for size in lr.shape[1:])
        if not self.mixed:
            return int(rng.integers(rows)), int(rng.integers(columns))
        if id(lr) not in self._likely:  # the images stay in memory as long as the crops
            self._likely[id(lr)] = np.cumsum(_detailed(lr[0].astype(np.float64)))
        likely = self._likely[id(lr)]
        found = np.searchsorted(likely, rng.random() * likely[-1], side="right")
        row, column = divmod(int(min(found, likely.size - 1)), columns)
        return row, column

    def stack(self, numbers: Iterable[int]) -> Sample:
        """Crops of those numbers, stacked along a new first axis."""
        samples = [self[number] for number in numbers]
        return Sample(np.stack([one.lr for one in samples]), None, np.stack([one.hr for one in samples]))

    def scene_of(self, number: int) -> str:
        """Name of the image that crop `number` comes from."""
        return self.names[number % len(self.names)]

    def identity(self) -> dict[str, Any]:
        """What the crops follow from."""
        images = {name: _hash(draws[0][0][1]) for name, draws in self.images.items()}
        return {"images": images, "seed": self.seed, "mixed": self.mixed}


def main() -> None:
    """Parse the command line, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=("weights", "cave", "sources", "others", "finetuned", "robust", "pieces", "cost")
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of photographs, in place of rgb_photos")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--sources", nargs="+", choices=("scenes", "photographs"), default=("scenes", "photographs"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument(
        "--blur", type=float, default=BLUR_HR_PX, help="of weights: the most of a photograph, HR pixels"
    )
    parser.add_argument(
        "--start", type=Path, help="a model file to start from; of another scale: all but the last layers"
    )
    parser.add_argument("--steps", type=int, help="of training, in place of minutes")
    parser.add_argument("--validate", nargs="+", default=(), choices=TRAIN, metavar="SCENE")
    parser.add_argument("--alone", action="store_true", help="one network for all components, taught by mixtures")
    parser.add_argument("--width", type=int, default=48, help="features of the deep network")
    parser.add_argument("--blocks", type=int, default=5, help="residual blocks of the deep network")
    parser.add_argument("--optimiser", choices=("adam", "muon"), default="adam")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--model", type=Path, nargs="+", default=(), help="model files; of cave: in place of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="that share the threads and every batch")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of cave: of the scored networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="model file to write; of sources: a folder")
    parser.add_argument("--size", type=int, default=128, help="of cost: side of the image in LR pixels")
    parser.add_argument("--rounds", type=int, default=3, help="of cost")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    works = {
        "weights": _weights,
        "cave": _cave,
        "sources": _sources,
        "others": _others,
        "finetuned": _finetuned,
        "robust": _robust,
        "pieces": _pieces,
        "cost": _cost,
    }
    works[options.what](options)


#: Strengths of an evened image's components, and how many of a scene's components are used.
STRENGTHS, USED = np.array([1.0, 0.7, 0.5]), 7


def _evened(lr: np.ndarray, hr: np.ndarray) -> Pairs:
    """Virtual spectra of an image: its first component and two others, with strengths that are nearly the same.

    A network that is measured on bands learns of weak components only if they are not weak. lr (B, h, w), hr.
    """
    low, high = _components(lr, hr)
    factors = STRENGTHS[:, None, None]
    return [
        tuple((image[[0, k, k + 1]] * factors).astype(np.float16) for image in (low, high))  # type: ignore[misc]
        for k in range(1, len(low) - 1, 2)
    ]


def _whole(lr: np.ndarray, hr: np.ndarray) -> Pairs:
    """All of an image's components, at unit strength, for mixtures. lr (B, h, w), hr."""
    low, high = (image.astype(np.float16) for image in _components(lr, hr))
    return [(low, high)]


def _mixture(images: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Of components (K, h, w), a random mixture (1, h, w) of unit strength; strong components count more.

    A network that sees one component after the other meets few images; no two mixtures are the same.
    """
    shares = rng.standard_normal(len(images[0])) / np.arange(1, len(images[0]) + 1)
    shares /= np.linalg.norm(shares)
    return [np.tensordot(shares.astype(np.float32), image.astype(np.float32), 1)[None] for image in images]


def _detailed(image: np.ndarray) -> np.ndarray:
    """Of each patch of an image (h, w), by its first pixel: the root of its mean squared gradient, and a little more.

    Dark ground, of which scenes in a laboratory have much, teaches nothing.
    """
    power = sum(step**2 for step in np.gradient(image))
    means = sliding_window_view(power, (PATCH_PX, PATCH_PX)).mean(axis=(2, 3))
    likely: np.ndarray = np.sqrt(means / max(means.mean(), np.finfo(float).tiny) + EVERYWHERE)
    return likely


def _components(lr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The components of lr (B, h, w), the strongest `USED` at most, at unit strength, and the same ones of hr."""
    flat = lr.reshape(len(lr), -1).astype(np.float64)
    found = spectral_subspace(flat, margin=0, least=min(len(lr), USED), most=USED)
    sizes = found.coefficients(flat).std(axis=1)
    low, high = (
        (found.coefficients(image.reshape(len(image), -1)) / sizes[:, None]).reshape(-1, *image.shape[1:])
        for image in (lr, hr)
    )
    return low, high


def _weights(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(options.seed)
    scenes = _photographs(None)
    hashes = {scene.name: _hash(scene.cube) for scene in scenes}
    cases = [(rng.uniform(0, options.blur), _case(number, options.scale, rng)) for number in range(DRAWS)]
    photographs = {
        scene.name: [
            _evened(*_pair(_virtual(scene, blur, rng), *case, int(rng.integers(1 << 30)))) for blur, case in cases
        ]
        for scene in scenes
    }
    crops = Crops(photographs, options.seed)
    network, outcome = _trained(options, crops)
    source = {"photographs": hashes, "steps": outcome.steps, "seed": options.seed}
    if options.out:
        _save(options.out, network.half(), {**source, "protocol": None}, **OPTIONS)
    print(f"{outcome.steps} steps in {outcome.seconds:.0f} s; {source}")


def _cave(options: argparse.Namespace) -> None:
    if options.model:
        networks, scored = [load_model(file) for file in options.model], _scored(options)
    else:
        crops, scored = _cave_images(options, options.sources)
        network, outcome = _trained(options, crops)
        print(f"{' and '.join(options.sources)}: {outcome.steps} steps in {outcome.seconds:.0f} s\n")
        if options.out:
            _save(options.out, network, {"protocol": "mixup"}, **_form(options))
            return
        networks = [network]
    averaged = copy.deepcopy(networks)
    for network in averaged:
        network.turns = 8
    psf = footprint_of(find_protocol("mixup").degradation(options.scale), options.scale)
    models = {
        "bicubic": (registry.build("bicubic", options.scale, 31, 0), None),
        "solo": (networks, None),
        "solo, 8 turns": (averaged, None),
        "solo, 8 turns, known PSF": (averaged, degrade.Sensor(footprint=psf)),
    }
    _print_scores(scored, models, options.precision)


def _sources(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    files = {(seed, kind): options.out / f"{kind}-seed{seed}.json" for seed in SEEDS for kind in KINDS}
    missing = {arm: file for arm, file in files.items() if not file.exists()}
    if missing:
        crops, scored = _cave_images(options, KINDS["both"])
    for (seed, kind), file in missing.items():
        parts = [("scenes" if name in TRAIN else "photographs") in KINDS[kind] for name in crops.names]
        images = dict(compress(crops.images.items(), parts))
        network, outcome = _trained(options, replace(crops, images=images, seed=seed), file.with_suffix(""))
        scores = {name: _score(network, pair, options.scale) for name, pair in scored.items()}
        write_json(file, {"steps": outcome.steps, "images": len(images), "scores": scores})
    print("| trained on | images | PSNR | SAM |\n| --- | --- | --- | --- |")
    for kind in KINDS:
        found = [read_json(files[seed, kind]) for seed in SEEDS]
        means = [np.mean(list(one["scores"].values()), axis=0) for one in found]
        (psnr, sam), (psnrs, sams) = np.mean(means, axis=0), np.std(means, axis=0, ddof=1)
        print(f"| {kind} | {found[0]['images']} | {psnr:.2f} ± {psnrs:.2f} | {sam:.2f} ± {sams:.2f} |")


def _cave_images(options: argparse.Namespace, sources: Sequence[str]) -> tuple[Crops, dict[str, Any]]:
    """Crops of what is trained on, and the pairs of the scenes that are scored."""
    scored = _scored(options)
    images: dict[str, Scene] = {}
    if "scenes" in sources:
        names = [name for name in TRAIN if name not in scored]
        images |= dict(zip(names, cave.read(options.data / "cave", names), strict=True))
    if "photographs" in sources:
        images |= {one.name: one for one in _photographs(options.photos)}
    prepared = _whole if options.alone else _evened
    pairs = {name: [prepared(*_pair(image, "mixup", options.scale))] for name, image in images.items()}
    return Crops(pairs, options.seed, mixed=options.alone), scored


def _scored(options: argparse.Namespace) -> dict[str, Any]:
    """The pairs of the scenes that are scored."""
    names = options.validate or TEST
    scenes = cave.read(options.data / "cave", names)
    return {name: _pair(scene, "mixup", options.scale) for name, scene in zip(names, scenes, strict=True)}


def _trained(options: argparse.Namespace, crops: Crops, folder: Path | None = None) -> Any:
    """The network and the outcome. folder: where a training that is interrupted leaves its state."""
    torch.manual_seed(crops.seed)
    network = registry.build("solo", options.scale, crops.bands, 0, _form(options))
    if options.start:
        known, own = load_model(options.start).state_dict(), network.state_dict()
        network.load_state_dict(
            {name: known[name] if known[name].shape == part.shape else part for name, part in own.items()}
        )
    settings = Training(
        epochs=None,
        max_steps=options.steps or 1_000_000,  # else the minutes end it
        max_minutes=None if options.steps else options.minutes,
        batch_size=BATCH,
        optimiser=options.optimiser,
        learning_rate=options.rate,
        schedule={"kind": "cosine", "warmup_steps": 50},
        clip_gradient=1.0,
        precision="bf16",
        ema_decay=AVERAGE if options.alone else None,
        select="last",
        threads=options.threads,
        device="cpu",
        devices=options.processes,
    )
    with tempfile.TemporaryDirectory() as place:
        outcome = fit(network, crops, folder or place, settings, seed=crops.seed)
    return network.eval(), outcome


def _form(options: argparse.Namespace) -> dict[str, Any]:
    """The network's options that the command line chooses."""
    return {"light": not options.alone, "width": options.width, "blocks": options.blocks}


def _save(path: Path, network: Any, told: dict[str, Any], **changed: Any) -> None:
    options = SoloOptions.model_validate(changed).model_dump()
    facts = {"base": "solo", "options": options, "scale": network.scale, "bands": None, "guide_channels": 0}
    save_model(path, network, {**facts, "wavelengths_nm": None, **told}, told)


def _photographs(folder: Path | None) -> list[Scene]:
    """Those of `rgb_photos`, or of a folder, in [0, 1]."""
    with tempfile.TemporaryDirectory() as place:
        if folder is None:
            datasets.fetch("rgb_photos", Path(place) / "raw", progress=False)
            names = datasets.entry("rgb_photos").scenes
            return [datasets.convert("rgb_photos", name, Path(place) / "raw", f"{place}/{name}.h5") for name in names]
        read = [datasets.read_scene(file) for file in sorted(folder.iterdir())]
        return [Scene(scene.cube[:3] / np.float32(np.iinfo(scene.stored.dtype).max), scene.name) for scene in read]


def _pair(
    scene: Scene, protocol: str | Protocol, scale: int, noise: Any = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR image, cut to whole LR pixels."""
    cube = np.asarray(scene.cube, np.float32)
    rows, columns = (size // scale * scale for size in cube.shape[1:])
    cube = cube[:, :rows, :columns]
    return degrade.degrade(cube, protocol, scale, noise, seed).astype(np.float32), cube


def _gaussian(sigma_lr: float) -> Protocol:
    return replace(find_protocol("wald"), psf=GaussianPsf(sigma_lr=sigma_lr))


def _case(number: int, scale: int, rng: np.random.Generator) -> tuple[str | Protocol, int, Any]:
    """Protocol, scale and noise of a draw: one in three is MATLAB's bicubic, every other one is noisy."""
    protocol = "mixup" if number % 3 == 0 else _gaussian(float(rng.uniform(*TAUGHT)))
    return protocol, scale, {"snr_db": float(rng.uniform(*SNR_DB))} if number % 2 else 0


def _virtual(scene: Scene, blur_px: float, rng: np.random.Generator) -> Scene:
    """A photograph, blurred, as an image of many bands: sums of powers of two mixtures of red, green and blue.

    So each colour has a spectrum of its own, and the weak components show what those of real spectra do.
    """
    colours = np.clip(np.asarray(scene.cube, np.float32), 0, 1)
    share = rng.random((VIRTUAL_BANDS, 1, 1))
    first, second = (
        np.tensordot(rng.dirichlet(np.full(3, 0.5), VIRTUAL_BANDS), colours, 1) ** rng.uniform(*POWERS, share.shape)
        for _ in range(2)
    )
    bands = share * first + (1 - share) * second
    return Scene(gaussian_filter(bands, (0, blur_px, blur_px), mode="nearest").astype(np.float32), scene.name)


def _others(options: argparse.Namespace) -> None:
    print("| scene | bicubic | solo |\n| --- | --- | --- |")
    for file in options.model:
        network = load_model(file)
        scale = network.scale
        for scene in _other_scenes(options.data, scale):
            pair = _pair(scene, "wald", scale)
            scores = [_score(model, pair, scale) for model in (registry.build("bicubic", scale, 1, 0), network)]
            cells = " | ".join(f"{psnr:.2f} / {sam:.2f}" for psnr, sam in scores)
            print(f"| {scene.name} x{scale}, {scene.shape[0]} bands | {cells} |", flush=True)


def _other_scenes(data: Path, scale: int) -> list[Scene]:
    scenes = [other_data.indian_pines(), other_data.samson(data), other_data.jasper_ridge(data)]
    return [*scenes, other_data.enmap(data / "enmap_potsdam")] if scale == 2 else scenes


def _finetuned(options: argparse.Namespace) -> None:
    data, steps = options.data, options.steps or 300
    scenes = {
        "samson": (other_data.samson(data), 2),
        "jasper_ridge": (other_data.jasper_ridge(data), 2),
        "indian_pines": (other_data.indian_pines(), 4),
        "enmap_potsdam": (other_data.enmap(data / "enmap_potsdam"), 2),
    }  # the scales at which `finetune` takes LR images that small
    print("| scene | bicubic | solo | finetuned |\n| --- | --- | --- | --- |")
    for name, (scene, scale) in scenes.items():
        pair = _pair(scene, "wald", scale)
        with tempfile.TemporaryDirectory() as place:
            lr, run, shipped = Path(place) / "lr.tif", Path(place) / "run", shipped_model(scale)
            export(Scene(pair[0], name), lr)
            finetune(lr, None, shipped, run, steps=steps, hold_out=0, options=Options(device="cpu"))
            networks = [load_model(shipped), load_model(run / "model.safetensors")]
        models = [registry.build("bicubic", scale, 1, 0), *networks]
        print(f"| {name} x{scale} | {_cells([_score(model, pair, scale) for model in models])} |", flush=True)


def _robust(options: argparse.Namespace) -> None:
    network = load_model(options.model[0])
    scale, names = network.scale, options.validate or TEST
    scenes = cave.read(options.data / "cave", names)
    bicubic = registry.build("bicubic", scale, 31, 0)
    print("| PSF, noise | bicubic | solo | least gain of a scene | solo, known PSF | least gain of a scene |")
    print(f"|{' --- |' * 6}")
    cases: dict[str, tuple[str | Protocol, Any]] = {"bicubic": ("mixup", 0)}
    cases |= {f"Gaussian {sigma}": (_gaussian(sigma), 0) for sigma in SIGMAS}
    cases |= {f"bicubic, {snr} dB": ("mixup", {"snr_db": float(snr)}) for snr in (40, 30, 20)}
    cases |= {f"Gaussian 0.5, {snr} dB": (_gaussian(0.5), {"snr_db": float(snr)}) for snr in (40, 30, 20)}
    for what, (protocol, noise) in cases.items():
        known = degrade.Sensor(footprint=footprint_of(find_protocol(protocol).degradation(scale), scale))
        models = ((bicubic, None), (network, None), (network, known))
        pairs = [_pair(scene, protocol, scale, noise) for scene in scenes]
        scores = np.array([[_score(model, pair, scale, sensor) for model, sensor in models] for pair in pairs])
        cells = [f"{psnr:.2f} / {sam:.2f}" for psnr, sam in scores.mean(axis=0)]
        gains = scores[:, 1:] - scores[:, :1]
        least = [
            f"{psnr:+.2f} / {sam:+.2f}" for psnr, sam in zip(gains[..., 0].min(0), gains[..., 1].max(0), strict=True)
        ]
        print(f"| {what} | {' | '.join([*cells[:2], least[0], cells[2], least[1]])} |", flush=True)


def _pieces(options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    scenes = [*cave.read(options.data / "cave", TRAIN), *_other_scenes(options.data, 2)]
    networks, rng = [load_model(file) for file in options.model], np.random.default_rng(options.seed)
    rows = []
    for _ in range(options.steps or 1000):
        network, scene = networks[rng.integers(len(networks))], scenes[rng.integers(len(scenes))]
        scale, least, most = network.scale, *np.log(SIDES_LR_PX)
        sides = [min(round(np.exp(rng.uniform(least, most))), size // scale) for size in scene.shape[1:]]
        corner = [rng.integers(size - scale * side + 1) for size, side in zip(scene.shape[1:], sides, strict=True)]
        rows_columns = [slice(first, first + scale * side) for first, side in zip(corner, sides, strict=True)]
        bands = rng.permutation(scene.shape[0])[: rng.choice((1, 2, 3, 8, scene.shape[0]))]
        piece = Scene(np.asarray(scene.cube[:, *rows_columns])[np.sort(bands)], scene.name)
        sigma, noise = float(rng.uniform(*TAUGHT)), {"snr_db": float(rng.uniform(*SNR_DB))}
        protocol = ("mixup", _gaussian(sigma), replace(find_protocol("wald"), psf=BlockMeanPsf()))[rng.integers(3)]
        pair = _pair(piece, protocol, scale, noise if rng.random() < 0.5 else 0)
        bicubic, solo = (_errors(pair, model) for model in (registry.build("bicubic", scale, len(bands), 0), network))
        rows.append((min(sides), 20 * np.log10(bicubic[0] / solo[0]), solo[1] - bicubic[1]))
    print("| shorter side, LR pixels | pieces | mean gain | lose 0.02 dB | 0.2 dB | 1 dB | worst | worst angle |")
    print(f"|{' --- |' * 8}")
    side, gain, angle = np.array(rows).T
    for first, last in pairwise((*GROUPS_LR_PX, np.inf)):
        here = (side >= first) & (side < last)
        lose = " | ".join(f"{(gain[here] < -least).mean():.1%}" for least in (0.02, 0.2, 1))
        means, worst = f"{gain[here].mean():+.2f} / {angle[here].mean():+.2f}", f"{gain[here].min():+.2f}"
        print(f"| from {first} | {here.sum()} | {means} | {lose} | {worst} | {angle[here].max():+.2f} |")


def _errors(pair: tuple[np.ndarray, np.ndarray], model: Any) -> tuple[float, float]:
    """Root mean square error, not 0, and spectral angle, of images too small for other scores."""
    image = predict(model, pair[0])
    angle = 0.0 if len(image) == 1 else metrics.sam(pair[1], image)
    return max(float(np.sqrt(((image - pair[1]) ** 2).mean())), 1e-9), angle


def _print_scores(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]], models: dict[str, tuple[Any, Any]], precision: str
) -> None:
    """models: name -> model, and what it knows of the sensor."""
    print(f"| scene | {' | '.join(models)} |\n| --- |{' --- |' * len(models)}")
    rows = []
    for name, pair in pairs.items():
        scale = pair[1].shape[1] // pair[0].shape[1]
        rows.append([_score(model, pair, scale, sensor, precision) for model, sensor in models.values()])
        print(f"| {name} | {_cells(rows[-1])} |", flush=True)
    print(f"| mean | {_cells(np.mean(rows, axis=0))} |")


def _cells(scores: Iterable[Sequence[float]]) -> str:
    return " | ".join(f"{psnr:.2f} / {sam:.2f}" for psnr, sam in scores)


def _score(
    model: Any,
    pair: tuple[np.ndarray, np.ndarray],
    scale: int,
    sensor: degrade.Sensor | None = None,
    precision: str = "32",
) -> tuple[float, float]:
    """PSNR and SAM of a model, or of the mean of several models' results."""
    models = model if isinstance(model, list) else [model]
    estimate = np.mean([predict(one, pair[0], sensor=sensor, precision=precision) for one in models], axis=0)
    found = metrics.score(pair[1], estimate, scale, "mixup")
    return found["psnr"], found["sam"]


def _cost(options: argparse.Namespace) -> None:
    """31 bands of --size x --size LR pixels; and for solo 200 bands, and no light network."""
    cases = {}
    for name, bands, chosen in (
        ("solo", 31, {}),
        ("solo", 200, {}),
        ("solo", 31, {"light": False}),
        ("deepshare", 31, {}),
    ):
        rng = np.random.default_rng(0)
        parts = rng.random((12, options.size, options.size), dtype=np.float32)  # as many components as get detail
        lr = np.tensordot(rng.random((bands, 12), dtype=np.float32), parts, 1)
        told = ", ".join([name, f"{bands} bands", *(f"{option}: {value}" for option, value in chosen.items())])
        cases[told] = registry.build(name, options.scale, bands, 0, chosen).eval(), lr
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (model, lr) in cases.items():
            started = time.perf_counter()
            predict(model, lr)
            seconds[name].append(time.perf_counter() - started)
    print("| model | parameters | GFLOP | seconds |\n| --- | --- | --- | --- |")
    for name, (model, lr) in cases.items():
        with FlopCounterMode(display=False) as counter:
            predict(model, lr)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        flops = counter.get_total_flops() / 1e9
        print(f"| {name} | {parameters:,} | {flops:.1f} | {statistics.median(seconds[name]):.2f} |")


def _hash(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


if __name__ == "__main__":
    main()
