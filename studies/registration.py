"""A guide that lies beside its scene, shows other ground, or shows it in other light: what hsisr gives back.

    python studies/registration.py field --data <folder with complete_ms_data> [--scenes ...]
    python studies/registration.py guide --data <folder with complete_ms_data> [--scenes ...] --models prior <file>
    python studies/registration.py change --data <folder with complete_ms_data> [--scenes ...]
    python studies/registration.py light --data <folder with complete_ms_data> [--scenes ...]
    python studies/registration.py enmap --data <folder with enmap_potsdam> --work WORK

field: guides of CAVE under `wald` are warped by a random smooth field of up to 2 LR pixels and a turn of 0.5 degrees,
and moved back by the measured field; PSNR (dB) and SAM (degrees) of `prior`, given and scored on the ground that the
warped guide has (it is cut at its border, as any image is), and the field's error (HR pixels, root mean square) there.
"guide's grid": the same with `grid="guide"`, scored against the truth, warped as its guide is; beside it, what `prior`
makes of an LR image of that warped truth, on which the guide lies well. Warped values outside [0, 1] are cut off.
Beside it, phase correlation of scikit-image in windows, on the LR image's bands through the response and the guide at
LR resolution, interpolated by a thin-plate spline; and the length of the field that is measured on the guide as it lay.
guide: results on the grids of the same guides, of the methods and files of trained hybrids that --models names. The
first row of a scene is "guide's grid", the second "not moved there". Beside the scores: how many of 100 samples lie
within 1.645 standard deviations of the result, by thirds of the spectrum.
change: a fifth of a guide shows another scene, or is exposed otherwise. light: every channel of a guide is multiplied
by a smooth random gain of its own, or thin haze lies over it; PSNR (dB) and SAM (degrees) of `prior`, with keep_light
and without it. enmap: as field, on EnMAP at half its
resolution with a guide of four Sentinel-2 bands simulated from it, at scale 2; the second row scores pixels whose bands
have a root mean square of 0.02 or more, which leaves water out. The scene and its warped form are both samples of the
blurred full image. An interpolation between the scene's own pixels would ring around bright shores, more strongly than
dark water reflects.
"""

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cave
import numpy as np
import own_scene
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, map_coordinates, zoom
from scipy.signal import resample
from skimage.registration import phase_cross_correlation

import hsisr
from hsisr import degrade, metrics
from hsisr.degrade import measure_displacement
from hsisr.degrade.sampling import interpolate, interpolate_at
from hsisr.missing import fill_invalid
from hsisr.models.prior.errors import SIGMAS_90

#: Largest length of the smooth field in LR pixels, and the turn.
LR_PIXELS, DEGREES = 2.0, 0.5
#: HR pixels around what is compared: of footprints, and of the spline.
BORDER_PX = 8
#: Root mean square of a pixel's bands from which on it counts as land; part of a place's pixels that make it valid.
LEAST_LIGHT, WHOLE = 0.02, 0.999
#: Pixels of EnMAP for a pixel of its scene, and the standard deviation of the blur before, in its pixels: after it, an
#: interpolation hardly rings.
ENMAP_STEP, ENMAP_BLUR = 2, 1.0
#: HR pixels by which an image is mirrored before Fourier interpolation.
PAD_PX = 32
#: Side of the windows of phase correlation in LR pixels, their step, and parts of an LR pixel that it tells apart.
WINDOW, STEP, PARTS = 16, 8, 50
#: Shares by which light differs, and of haze; a wave of it has this part of a side as standard deviation.
LIGHTS, HAZE, LIGHT_WAVES = (0.05, 0.15, 0.3), 0.2, 5
#: What windows fade with, and the error of a match from which on it is left out.
TAPER, WORST = np.outer(np.hanning(WINDOW + 2), np.hanning(WINDOW + 2))[1:-1, 1:-1], 0.5


def main() -> None:
    parser = cave.arguments(__doc__)
    parser.add_argument("what", choices=["field", "guide", "change", "light", "enmap"])
    parser.add_argument("--models", nargs="+", default=["prior"], help="of guide")
    parser.add_argument("--size", type=int, default=512, help="of guide: side of the scenes' middles, HR pixels")
    parser.add_argument("--work", type=Path, help="folder for the mosaic of enmap")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    {"field": _field, "guide": _guide, "change": _change, "light": _light, "enmap": _enmap}[options.what](options)


def _field(options: argparse.Namespace) -> None:
    _print_head()
    for scene in cave.read(options.data, options.scenes):
        pair = degrade.pair(scene, "wald", options.scale)
        valid = np.ones(pair.hr.shape[1:], bool)
        response = pair.metadata["response_matrix"]
        _print_rows({scene.name: 0.0}, pair.lr, pair.hr, pair.hr, response, valid, options.scale)


def _guide(options: argparse.Namespace) -> None:
    names = [title for model in options.models for title in (Path(model).stem, "within")]
    print(f"| scene | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for scene in cave.read(options.data, options.scenes):
        middle = [slice((side - options.size) // 2, (side + options.size) // 2) for side in scene.shape[1:]]
        pair = degrade.pair(replace(scene, stored=scene.stored[:, *middle]), "wald", options.scale)
        moved = smooth_field(pair.hr.shape[1:], options.scale, seed=sum(map(ord, scene.name)))
        truth = _warped(pair.hr, moved)
        valid, seen = _seen_there(moved, np.ones(moved.shape[1:], bool))
        guide = degrade.apply_response(pair.metadata["response_matrix"], truth).astype(np.float32)
        given = np.ma.array(guide, mask=np.broadcast_to(~valid, guide.shape))
        low = degrade.degrade(truth, "wald", options.scale, noise=0)
        kinds = {"guide's grid": (pair.lr, {"correct_shift": "field", "grid": "guide"}), "not moved there": (low, {})}
        for kind, (lr, chosen) in kinds.items():
            cells = []
            for model in options.models:
                image, sigma = hsisr.super_resolve(lr, given, model=model, uncertainty=True, **chosen)
                within = np.abs(image - truth)[:, seen] < SIGMAS_90 * sigma[:, seen]
                cells.append(_scores(truth, image, seen))
                cells.append(" / ".join(f"{100 * third.mean():.1f}" for third in np.array_split(within, 3)))
            print(f"| {scene.name}, {kind} | {' | '.join(cells)} |", flush=True)


def _enmap(options: argparse.Namespace) -> None:
    """The mosaic's middle, at scale 2; pixels without data are filled and not compared."""
    folder = options.work
    folder.mkdir(parents=True, exist_ok=True)
    own_scene.enmap(options.data, folder)
    scene = hsisr.read_scene(folder / "mosaic.tif")
    good = ~scene.bad_bands
    rows, columns = (size // (2 * ENMAP_STEP) * 2 * ENMAP_STEP for size in scene.shape[1:])
    cube = fill_invalid(scene.cube, scene.mask)[good, :rows, :columns]
    blurred = gaussian_filter(cube, (0, ENMAP_BLUR, ENMAP_BLUR))
    hr, valid = (image[..., ::ENMAP_STEP, ::ENMAP_STEP] for image in (blurred, scene.mask[:rows, :columns]))
    response = degrade.scene_response(scene, "sentinel2")[:, good]
    low = degrade.degrade(hr, "wald", 2, noise=0)
    _print_head()
    rows_of = {"enmap x2": 0.0, "enmap x2, land": LEAST_LIGHT}
    _print_rows(rows_of, low, hr, blurred, response, valid, 2)


def _print_head() -> None:
    names = ["as it lay", "warped", "moved back", "true field", "guide's grid", "not moved there"]
    names += ["error of the field", "phase correlation", "unwarped"]
    print(f"| scene | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")


def _print_rows(
    names: dict[str, float],
    lr: np.ndarray,
    hr: np.ndarray,
    fine: np.ndarray,
    response: np.ndarray,
    valid: np.ndarray,
    scale: int,
) -> None:
    """One row for each name: of the pixels whose bands have a root mean square of that value or more.

    Scores are those of the convention `mulsr`, without SSIM, which needs whole windows of such pixels.
    fine: the image of which hr is every n-th pixel along each axis; its warped form is made of it.
    """
    shape = hr.shape[1:]
    grid = np.stack(np.mgrid[: shape[0], : shape[1]]).astype(float)
    moved = smooth_field(shape, scale, seed=sum(map(ord, next(iter(names)))))
    truth = _warped(fine, moved)
    guide, warped = (degrade.apply_response(response, cube).astype(np.float32) for cube in (hr, truth))
    back = inverse(moved)
    whole = np.ones(shape, bool)
    seen = _common(back) & binary_erosion(valid, iterations=BORDER_PX)
    valid_there, seen_there = _seen_there(moved, valid)
    found = measure_displacement(lr, warped, scale, valid)
    none = measure_displacement(lr, guide, scale, valid)
    at = found.at(np.arange(shape[0]), np.arange(shape[1]))
    phase = phase_field(lr, warped, scale)
    right, inside = interpolate_at(warped, whole, grid + back)
    made = []
    for sharp, mask in ((guide, inside), (warped, inside), interpolate_at(warped, whole, grid + at), (right, inside)):
        held = np.ma.array(np.asarray(sharp), mask=np.broadcast_to(~(mask & valid), sharp.shape))
        made.append((hr, hsisr.super_resolve(lr, held, model="prior"), seen))
    given = np.ma.array(warped, mask=np.broadcast_to(~valid_there, warped.shape))
    there = hsisr.super_resolve(lr, given, model="prior", correct_shift="field", grid="guide")
    low = degrade.degrade(truth, "wald", scale, noise=0)
    made += [(truth, image, seen_there) for image in (there, hsisr.super_resolve(low, given, model="prior"))]
    for name, least in names.items():
        cells = []
        for reference, image, place in made:
            light = np.sqrt((reference**2).mean(axis=0)) >= least
            cells.append(_scores(reference, image, place & light))
        shown = seen & (np.sqrt((hr**2).mean(axis=0)) >= least)
        errors = [np.sqrt(((field - back) ** 2).sum(axis=0)[shown].mean()) for field in (at, phase)]
        cells.append(f"{errors[0]:.3f} (says {found.error_px:.3f})")
        cells.append(f"{errors[1]:.3f}")
        cells.append(f"{none.rms_px:.3f}{'' if none.is_evident else ', left'}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _scores(reference: np.ndarray, image: np.ndarray, place: np.ndarray) -> str:
    pair = reference, np.clip(image, 0, 1)
    sam = metrics.sam(*pair, epsilon=metrics.CONVENTIONS["mulsr"].sam_epsilon, mask=place)
    return f"{metrics.psnr(*pair, mask=place):.2f} / {sam:.2f}"


def _warped(fine: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """What lies at places + moved (2, H, W); fine: as for `_print_rows`."""
    places = np.stack(np.mgrid[: moved.shape[1], : moved.shape[2]]) + moved
    return np.clip(moved_guide(fine, fine.shape[1] // moved.shape[1] * places), 0, 1)


def _seen_there(moved: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W) of a guide, moved so, that show valid ground of the scene, and those that are scored."""
    places = np.stack(np.mgrid[: moved.shape[1], : moved.shape[2]]) + moved
    valid_there = map_coordinates(valid.astype(float), places, order=1) > WHOLE
    return valid_there, _common(moved) & binary_erosion(valid_there, iterations=BORDER_PX)


def _common(moved: np.ndarray) -> np.ndarray:
    """Where the other image has the ground at all (H, W): it was cut at the border as any image is."""
    limits = np.array(moved.shape[1:])[:, None, None]
    places = np.stack(np.mgrid[: moved.shape[1], : moved.shape[2]]) + moved
    inside = ((places > BORDER_PX) & (places < limits - 1 - BORDER_PX)).all(axis=0)
    return binary_erosion(inside, iterations=BORDER_PX)


def smooth_field(shape: tuple[int, int], scale: int, seed: int) -> np.ndarray:
    """(2, H, W) HR pixels: smooth noise of at most 2 LR pixels, and a turn about the middle."""
    rng = np.random.default_rng(seed)
    small = [-(-size // 8) for size in shape]
    noise = rng.standard_normal((2, small[0] + 64, small[1] + 64))
    smooth = gaussian_filter(noise, (0, shape[0] / 32, shape[1] / 32))[:, 32 : 32 + small[0], 32 : 32 + small[1]]
    field = zoom(smooth, (1, 8, 8), order=3, mode="nearest", grid_mode=True)[:, : shape[0], : shape[1]]
    field -= field.mean(axis=(1, 2), keepdims=True)
    field *= LR_PIXELS * scale / np.hypot(*field).max()
    rows, columns = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    angle = np.deg2rad(DEGREES)
    field[0] += np.sin(angle) * columns + (np.cos(angle) - 1) * rows
    field[1] += -np.sin(angle) * rows + (np.cos(angle) - 1) * columns
    return field


def moved_guide(guide: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The guide at places, by Fourier interpolation to half pixels and a quintic spline there, which lose nothing."""
    moved = []
    for channel in guide:
        padded = np.pad(channel.astype(float), PAD_PX, mode="symmetric")
        for axis in (0, 1):
            padded = resample(padded, 2 * padded.shape[axis], axis=axis)
        moved.append(map_coordinates(padded, 2 * (places + PAD_PX), order=5, mode="mirror"))
    return np.stack(moved).astype(np.float32)


def inverse(field: np.ndarray) -> np.ndarray:
    """The field that moves back what `field` has moved."""
    grid = np.stack(np.mgrid[: field.shape[1], : field.shape[2]]).astype(float)
    back = -field
    for _ in range(20):
        back = -np.stack([map_coordinates(axis, grid + back, order=1, mode="nearest") for axis in field])
    return back


def phase_field(lr: np.ndarray, guide: np.ndarray, scale: int) -> np.ndarray:
    """(2, H, W): scikit-image's phase correlation in windows, joined by a smoothing thin-plate spline."""
    footprint = degrade.gaussian_footprint(scale)
    low = footprint.sampler(scale, guide.shape[1:])(guide)
    flat = lr.reshape(len(lr), -1).astype(float)
    response = np.linalg.lstsq(np.vstack([flat, np.ones(flat.shape[1])]).T, low.reshape(len(low), -1).T, rcond=1e-3)[0]
    like = (response[:-1].T @ flat + response[-1][:, None]).reshape(low.shape)
    centres, shifts = [], []
    for row in range(0, lr.shape[1] - WINDOW + 1, STEP):
        for column in range(0, lr.shape[2] - WINDOW + 1, STEP):
            place = (slice(row, row + WINDOW), slice(column, column + WINDOW))
            # what the guide shows at x + u is what the LR image shows at x
            parts = [(image[place] - image[place].mean()) * TAPER for image in (low.mean(0), like.mean(0))]
            shift, error, _ = phase_cross_correlation(*parts, upsample_factor=PARTS, normalization=None)
            if error < WORST and np.abs(shift).max() < WINDOW / 2:
                centres.append([(axis + WINDOW / 2) * scale for axis in (row, column)])
                shifts.append(np.asarray(shift) * scale)
    spline = RBFInterpolator(np.array(centres), np.array(shifts), smoothing=1.0, kernel="thin_plate_spline")
    height, width = lr.shape[1:]
    places = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2) * scale + (scale - 1) / 2
    coarse = spline(places).T.reshape(2, height, width)
    return np.asarray(interpolate(coarse, scale))


def _change(options: argparse.Namespace) -> None:
    names = ["found", "changed: plain", "masked", "bicubic", "rest: plain", "masked", "unchanged guide"]
    names += ["beyond 2 LR px: masked", "unchanged guide"]
    print(f"| scene | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    scenes = cave.read(options.data, options.scenes)
    for number, scene in enumerate(scenes):
        pair = degrade.pair(scene, "wald", options.scale)
        other = degrade.pair(scenes[number - 1], "wald", options.scale).guide
        reference = hsisr.super_resolve(pair.lr, pair.guide, model="prior")
        bicubic = hsisr.super_resolve(pair.lr, model="bicubic", scale=options.scale)
        for kind, guide, changed in _changes(pair.guide, other, number):
            plain = hsisr.super_resolve(pair.lr, guide, model="prior")
            masked = hsisr.super_resolve(pair.lr, guide, model="prior", mask_change=True)
            far = ~binary_dilation(changed, iterations=2 * options.scale)
            parts = [(changed, (plain, masked, bicubic)), (~changed, (plain, masked, reference))]
            parts.append((far, (masked, reference)))
            cells = [
                f"{metrics.score(pair.hr, image, options.scale, 'mulsr', mask=mask)['psnr']:.2f}"
                for mask, images in parts
                for image in images
            ]
            print(f"| {scene.name}, {kind} | {_found(pair.lr, guide, changed, options.scale)} | {' | '.join(cells)} |",
                  flush=True)  # fmt: skip


def _changes(guide: np.ndarray, other: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Guides, of which a fifth is not as it was, with where; and one that is as it was."""
    height, width = guide.shape[1:]
    side = round(np.sqrt(0.2 * height * width))
    row, column = np.random.default_rng(seed).integers(20, np.array([height, width]) - side - 20)
    changed = np.zeros((height, width), bool)
    changed[row : row + side, column : column + side] = True
    yield "nothing", guide, changed
    yield "another scene", np.where(changed, other, guide), changed
    yield "half as bright, with haze", np.where(changed, 0.5 * guide + np.float32(0.1), guide), changed


def _light(options: argparse.Namespace) -> None:
    kinds = [*(f"{share:.0%}" for share in LIGHTS), f"haze {HAZE:.0%}"]
    names = ["as it is", *(f"{kind}: {how}" for kind in kinds for how in ("kept", "evened"))]
    print(f"| scene | {' | '.join(names)} |\n| --- |{' --- |' * len(names)}")
    for number, scene in enumerate(cave.read(options.data, options.scenes)):
        pair = degrade.pair(scene, "wald", options.scale)
        given = [(pair.guide, False), *((guide, kept) for guide in _lit(pair.guide, number) for kept in (True, False))]
        cells = []
        for guide, kept in given:
            image = hsisr.super_resolve(pair.lr, guide, model="prior", keep_light=kept)
            cells.append(_scores(pair.hr, image, np.ones(image.shape[1:], bool)))
        print(f"| {scene.name} | {' | '.join(cells)} |", flush=True)


def _lit(guide: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Guides in light that differs by up to each share of LIGHTS; and one under haze."""
    waves = np.random.default_rng(seed).standard_normal((len(guide) + 1, *guide.shape[1:]))
    waves = np.stack([gaussian_filter(wave, guide.shape[1] / LIGHT_WAVES) for wave in waves])
    waves = (waves / np.abs(waves).max(axis=(1, 2), keepdims=True)).astype(np.float32)
    for share in LIGHTS:
        yield guide * (1 + share * waves[:-1])
    haze = HAZE * (1 + waves[-1]) / 2
    yield (1 - haze) * guide + haze * guide.max()


def _found(lr: np.ndarray, guide: np.ndarray, changed: np.ndarray, scale: int) -> str:
    """Part of the ground that is found to have changed, and of what has changed that is found."""
    from hsisr.degrade.change import find_change
    from hsisr.degrade.view import view_of

    found = find_change(view_of(lr, guide, scale, fine=True)).changed
    wide = found.repeat(scale, axis=0).repeat(scale, axis=1)
    return f"{found.mean():.1%}, {wide[changed].mean():.1%} of it"


if __name__ == "__main__":
    main()
