"""How often the intervals of `--uncertainty` hold what they promise, and how wide they are (docs/how-good.md).

    python studies/uncertainty.py cave --data <folder with complete_ms_data> [--scenes ...] [--protocols mulsr wald]
    python studies/uncertainty.py enmap --data <folder with enmap_potsdam> --work WORK
    python studies/uncertainty.py indian_pines
    python studies/uncertainty.py many_bands --data <folder with jasper_ridge, samson, paris_eo1>
    python studies/uncertainty.py fit --data <folder with complete_ms_data>
    python studies/uncertainty.py solo --data <folder with cave, samson, jasper_ridge> [--scales 2 3 4 8]
    python studies/uncertainty.py fit_solo --data <folder with cave>

Prints, for each third of the spectrum, how many of 100 samples lie within 1.645 standard deviations of the result (90
is right), and the mean width of these intervals over that of a constant, both brought to 90 of 100: below 1 is sharper.
CAVE x8; EnMAP x2 by Wald's protocol beside four Sentinel-2 bands; Indian Pines x4 by Wald's protocol; many_bands: three
small scenes that chose how the test one scale down counts, by Wald's protocol beside simulated guides. All but CAVE are
references with noise of their own, which no result can have: a second row takes it into the intervals. Its estimate is
what all other bands do not explain of a band (Roger and Arnold, Reliably estimating the noise in AVIRIS hyperspectral
images, Int. J. Remote Sensing 1996). --model: prior, or a file of a trained hybrid. solo: the weights that come with
hsisr, on CAVE by the protocols `mixup` and `wald`, and x4 on three other scenes by `wald`.
fit, fit_solo: learn `WEIGHTS` of `hsisr.models.prior.errors` and `hsisr.models.solo.errors` from the ten training
scenes.
"""

import argparse
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import cave
import numpy as np
import other_data
import own_scene
from hybrid import TEST, TRAIN
from scipy.io import loadmat

import hsisr
from hsisr import degrade
from hsisr.datasets import read_scene
from hsisr.degrade import Sensor
from hsisr.degrade.estimation import estimate_footprint
from hsisr.models.prior import estimate
from hsisr.models.prior.errors import SIGMAS_90, WEIGHTS, local_variance, parts
from hsisr.models.shipped import shipped_models
from hsisr.models.solo import errors as solo_errors
from hsisr.models.windows import HeldImages, Window, hr_places
from hsisr.scene import Scene

PIXELS = 20_000

#: Absolute errors and standard deviations (B, n) of sampled pixels.
Sampled = tuple[np.ndarray, np.ndarray]

#: Parts of a variance (parts, n) and absolute errors (n,) of samples.
Seen = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cave", "enmap", "indian_pines", "many_bands", "fit", "solo", "fit_solo"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, help="folder for the files of enmap")
    parser.add_argument("--scenes", nargs="+", default=[*TRAIN, *TEST])
    parser.add_argument("--protocols", nargs="+", default=["mulsr", "wald"])
    parser.add_argument("--model", default="prior")
    parser.add_argument("--scales", nargs="+", type=int, default=[*shipped_models()], help="of solo")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.what in ("fit", "fit_solo"):
        if options.what == "fit":
            weights = _most_likely(list(_seen(options.data)), WEIGHTS)
        else:
            weights = _most_likely(list(_seen_by_solo(options.data)), solo_errors.WEIGHTS)
        print(" ".join(f"{weight:.2e}" for weight in weights))
        return
    print("| data | within 90 % intervals, thirds of the spectrum | width over a constant's |\n| --- | --- | --- |")
    if options.what == "cave":
        for protocol in options.protocols:
            found = {
                name: _of_pair(pair, options.model) for name, pair in _pairs(options.data, options.scenes, protocol)
            }
            for name, sampled in found.items():
                _print(f"{name}, {protocol}", [sampled])
            _print_groups(f"CAVE x8 {protocol}", found)
    elif options.what == "solo":
        _solo(options)
    elif options.what == "indian_pines":
        pair = degrade.pair(other_data.indian_pines(), "wald", 4)
        _print_with_noise("Indian Pines x4 wald", _of_pair(pair, options.model), pair.hr.reshape(len(pair.hr), -1))
    elif options.what == "many_bands":
        for scene in _many_bands(options.data):
            for scale, guide in product((2, 3, 4), ("sentinel2", "ikonos", "worldview2")):
                pair = degrade.pair(scene, "wald", scale, response=guide)
                name = f"{scene.name} x{scale} {guide}"
                _print_with_noise(name, _of_pair(pair, options.model), pair.hr.reshape(len(pair.hr), -1))
    else:
        options.work.mkdir(parents=True, exist_ok=True)
        found, reference, wavelengths_nm = _enmap(options)
        _print_with_noise("EnMAP x2 wald", found, reference)
        _print_detectors(found, reference, wavelengths_nm)


def _solo(options: argparse.Namespace) -> None:
    for scale, protocol in product(options.scales, ("mixup", "wald")):
        pairs = _pairs(options.data / "cave", options.scenes, protocol, scale)
        _print_groups(f"CAVE x{scale} {protocol}", {name: _of_pair(pair, "solo") for name, pair in pairs})
    for scene in (other_data.indian_pines(), other_data.samson(options.data), other_data.jasper_ridge(options.data)):
        pair = degrade.pair(scene, "wald", 4)
        _print_with_noise(f"{scene.name} x4 wald", _of_pair(pair, "solo"), pair.hr.reshape(len(pair.hr), -1))


def _pairs(data: Path, scenes: Sequence[str], protocol: str, scale: int = 8) -> Iterator[tuple[str, degrade.Pair]]:
    for name in scenes:
        scene = cave.read(data, [name])[0]
        rows, columns = (size // scale * scale for size in scene.shape[1:])  # whole LR pixels
        cut = replace(scene, stored=scene.stored[:, :rows, :columns])
        yield name, degrade.pair(cut, protocol, scale, response="nikon_d700" if protocol == "wald" else None)


def _many_bands(data: Path) -> Iterator[Scene]:
    """Jasper Ridge (AVIRIS), Samson, and Paris (Hyperion), with the sensors' nominal wavelengths."""
    yield other_data.jasper_ridge(data)
    yield other_data.samson(data)
    stored = loadmat(data / "paris_eo1/paris_data_hs_ms.mat")
    bands = stored["non_del_bands"].ravel().astype(int) - 1
    centres = np.concatenate([np.linspace(356, 1058, 70), np.linspace(852, 2577, 172)])[bands]
    cube = stored["HSim"].transpose(2, 0, 1)
    yield Scene((cube / cube.max()).astype(np.float32), "paris", wavelengths_nm=centres)


def _of_pair(pair: degrade.Pair, model: str) -> Sampled:
    scale = pair.hr.shape[1] // pair.lr.shape[1]
    guide = None if model == "solo" else pair.guide
    image, sigma = hsisr.super_resolve(pair.lr, guide, model=model, scale=scale, uncertainty=True)
    return _sampled(image, sigma, pair.hr, np.ones(image.shape[1:], bool))


def _enmap(options: argparse.Namespace) -> tuple[Sampled, np.ndarray, np.ndarray]:
    """What was sampled, the reference there (B, n), and the wavelengths (B,)."""
    lr, guide, _ = own_scene.enmap(options.data, options.work)
    image, sigma = hsisr.super_resolve(lr, guide, model=options.model, scale=2, uncertainty=True)
    truth = read_scene(options.work / "mosaic.tif")
    good = ~truth.bad_bands
    valid = truth.mask & (sigma[good] > 0).all(axis=0)
    reference = truth.cube[good]
    wavelengths_nm = np.asarray(truth.wavelengths_nm)[good]
    return _sampled(image[good], sigma[good], reference, valid), reference[:, valid], wavelengths_nm


def _sampled(image: np.ndarray, sigma: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> Sampled:
    pixels = np.random.default_rng(0).permutation(np.flatnonzero(valid))[:PIXELS]
    image, sigma, truth = (part.reshape(len(part), -1)[:, pixels] for part in (image, sigma, truth))
    return np.abs(image - truth), sigma


def _print_groups(name: str, found: dict[str, Sampled]) -> None:
    """found: scene -> what was sampled of it."""
    for group, names in (("training", TRAIN), ("test", TEST), ("all", (*TRAIN, *TEST))):
        chosen = [sampled for scene, sampled in found.items() if scene in names]
        if chosen:
            _print(f"{name}, {len(chosen)} {group} scenes", chosen)


def _print(name: str, found: list[Sampled]) -> None:
    cover, width = [], []
    for bands in np.array_split(np.arange(len(found[0][0])), 3):
        error, sigma = (np.concatenate([part[bands].ravel() for part in parts]) for parts in zip(*found, strict=True))
        cover.append(100 * float((error <= SIGMAS_90 * sigma).mean()))
        width.append(float(np.quantile(error / sigma, 0.9) * sigma.mean() / np.quantile(error, 0.9)))
    print(f"| {name} | {_cells(cover, 1)} | {_cells(width, 2)} |", flush=True)


def _print_with_noise(name: str, found: Sampled, reference: np.ndarray) -> None:
    """reference: (B, n)."""
    _print(name, [found])
    precision = np.linalg.inv(np.cov(reference.astype(np.float64)))
    noise = 1 / np.diag(precision)[:, None] / (1 - len(reference) / reference.shape[1])
    error, sigma = found
    _print(f"{name}, with the reference's noise", [(error, np.sqrt(sigma**2 + noise))])


def _print_detectors(found: Sampled, reference: np.ndarray, wavelengths_nm: np.ndarray) -> None:
    """What the reference's two detectors say of the same light, where the second begins before the first ends."""
    second = int(np.flatnonzero(np.diff(wavelengths_nm) < 0)[0]) + 1
    both = (wavelengths_nm >= wavelengths_nm[second]) & (wavelengths_nm <= wavelengths_nm[second - 1])
    bands = [np.flatnonzero(both[:second]), second + np.flatnonzero(both[second:])]
    vnir, swir = (reference[each].mean(axis=0, dtype=np.float64) for each in bands)
    apart = swir - np.polyval(np.polyfit(vnir, swir, 1), vnir)
    errors = [float(np.sqrt((found[0][each] ** 2).mean())) for each in bands]
    print(
        f"At {wavelengths_nm[second]:.0f} to {wavelengths_nm[second - 1]:.0f} nm, the reference's VNIR and SWIR bands "
        f"differ by {apart.std():.4f} RMS after the best gain; the result's errors there are {errors[0]:.4f} in the "
        f"VNIR bands and {errors[1]:.4f} in the SWIR bands."
    )


def _cells(values: list[float], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def _seen(data: Path) -> Iterator[Seen]:
    """Of the prior, x8."""
    for protocol in ("mulsr", "wald"):
        for _, pair in _pairs(data, TRAIN, protocol):
            known = Sensor(footprint=estimate_footprint(pair.lr.astype(np.float64), pair.guide, 8))
            images = HeldImages(pair.lr, pair.guide, 8)
            found = estimate(images, 8, known)
            image = found.solution(pair.guide).image()
            planes = parts(found, pair.guide, image, local_variance(image, 8, None), hr_places((0, 0), image.shape[1:]))
            yield _thinned(planes, image, pair.hr)


def _seen_by_solo(data: Path) -> Iterator[Seen]:
    """Of the weights that come with hsisr, at each of their scales."""
    for scale, protocol in product(shipped_models(), ("mixup", "wald")):
        for _, pair in _pairs(data / "cave", TRAIN, protocol, scale):
            image = hsisr.super_resolve(pair.lr, model="solo", scale=scale)
            window = Window(pair.lr, np.empty((0, *image.shape[1:]), np.float32), None)
            planes = zip(*solo_errors.parts(scale, window, image), strict=True)
            yield _thinned(map(np.stack, planes), image, pair.hr)


def _thinned(planes: Iterable[np.ndarray], image: np.ndarray, truth: np.ndarray) -> Seen:
    pixels = np.random.default_rng(0).permutation(image[0].size)[: PIXELS // 10]
    every = np.stack([plane.reshape(len(plane), -1)[:, pixels].ravel() for plane in planes])
    return every.astype(np.float64), np.abs(image - truth).reshape(len(image), -1)[:, pixels].ravel()


def _most_likely(seen: list[Seen], start: Sequence[float]) -> np.ndarray:
    """Weights of the parts of a variance, of greatest likelihood if errors have Laplace's distribution."""
    from scipy.optimize import minimize

    def surprise(logs: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = 0.0, np.zeros_like(logs)
        for every, error in seen:
            terms = np.exp(logs)[:, None] * every
            variance = terms.sum(axis=0)
            scaled = np.sqrt(2) * error / np.sqrt(variance)
            total += float((0.5 * np.log(variance) + scaled).mean())
            slope += (0.5 * (1 - scaled) / variance * terms).mean(axis=1)
        return total / len(seen), slope / len(seen)

    best = minimize(surprise, np.log(start), jac=True, method="L-BFGS-B", bounds=[(-20, 5)] * len(start))
    return np.exp(best.x)


if __name__ == "__main__":
    main()
