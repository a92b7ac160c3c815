"""From a cube to its low-resolution image, from a scene to a pair: LR, guide and HR reference on aligned grids."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hsisr.degrade.noise import Noise, parse_noise, scene_seed
from hsisr.degrade.protocols import PROTOCOLS, Protocol, find_protocol, fixed_sampler
from hsisr.degrade.response import apply_response, goes_by_index, response_by_index
from hsisr.degrade.response import response as response_matrix
from hsisr.degrade.sensor import whole_lr_pixels
from hsisr.errors import HsisrError, notice
from hsisr.lazy_names import notebook
from hsisr.missing import array_of
from hsisr.scene import Scene, check_scene

#: Share of values outside [0, 1], as glints and noise make them, that a protocol clips without a line.
_CLIPPED = 0.01


class AnyPair:
    """The common part of pairs in memory (`Pair`) and in files (`hsisr.pairs.PairFile`); see `Pair`."""

    name: str
    lr: np.ndarray
    guide: np.ndarray | None
    hr: np.ndarray | None
    mask: np.ndarray | None
    metadata: dict[str, Any]
    wavelengths_nm: np.ndarray | None

    def __repr__(self) -> str:
        line: str = notebook().describe_pair(self.name, self.lr, self.guide, self.hr, self.metadata)
        return line

    def _repr_html_(self) -> str:
        card: str = notebook().pair_card(self.name, self.lr, self.guide, self.hr, self.metadata, self.wavelengths_nm)
        return card

    @property
    def convention(self) -> str | None:
        """Metric convention of its scores; None if there is no reference, or if its protocol is not known."""
        known = PROTOCOLS.get(self.metadata.get("protocol", ""))
        found: str | None = self.metadata.get("convention", None if known is None else known.convention)
        return found

    def cut_back(self, estimate: np.ndarray) -> np.ndarray:
        """The estimate (bands, H, W), cut to the reference's size, which may not be a multiple of the scale.

        An estimate of any other size than that of the whole LR pixels stays as it is.
        """
        if self.hr is None:
            return estimate
        (rows, columns), scale = self.hr.shape[1:], self.metadata.get("scale")
        known = isinstance(scale, int | np.integer) and scale > 0  # a file may hold anything
        if not known or estimate.shape[1:] != tuple(-(-size // scale) * scale for size in (rows, columns)):
            return estimate
        return estimate[:, :rows, :columns]


@dataclass(frozen=True, eq=False, repr=False)
class Pair(AnyPair):
    """The input of a model and the reference for its score; LR pixel i covers the HR pixels i s .. i s + s - 1.

    lr: (B, h, w). guide: (G, h s, w s), or None for single-image protocols. hr: (B, h s, w s), up to s - 1 rows and
    columns less under `mixup`, or None under `full`.
    mask: of hr's size, True where valid, or None: all are. All images float32.
    metadata: protocol, scale, psf and sampling (words), kernel (array or None), phase, noise_sigma, response (name or
    None), response_matrix (G, B) or None, seed, part, crop (r0, r1, c0, c1) in pixels of the scene; for a user's own
    protocol also convention. wavelengths_nm: (B,), or None if they are not known.
    """

    lr: np.ndarray
    guide: np.ndarray | None
    hr: np.ndarray | None
    mask: np.ndarray | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    wavelengths_nm: np.ndarray | None = None

    name = "pair"  # not a field: only pairs in files have names of their own


def degrade(
    cube: np.ndarray,
    protocol: str | Protocol,
    scale: int,
    noise: float | Mapping[str, float] | Noise | None = None,
    seed: int | Sequence[int] = 0,
    training: bool = False,
) -> np.ndarray:
    """The LR image (B, h, w) that a protocol makes from a cube (B, H, W).

    cube: float, without NaN, in [0, 1] under the protocols that clip. It is cropped at the bottom and right to a
    multiple of `scale`; only under `mixup`, h and w are rounded up instead. noise: None: as the protocol says; 0: none;
    else a standard deviation, `{snr_db: ..}` or a Noise.
    seed: of the noise and of the random training degradation. training: degrade as the protocol does for training
    patches. This differs from the test only if `Protocol.random_training` is true.
    Returns float64 for float64 input, else float32; always computed in float64.
    Raises HsisrError for an unknown protocol, for `full`, and for input that cannot be degraded, or that has another
    unit than the protocol clips to.

    Example:

        >>> cube = np.random.default_rng(0).random((5, 32, 32))
        >>> degrade.degrade(cube, "wald", scale=4).shape
        (5, 8, 8)
    """
    protocol = find_protocol(protocol)
    cube = _crop(check_cube(cube, scale), scale, protocol.cuts_back)
    _check_unit(cube, protocol)
    lr = _degrade(cube, protocol, scale, noise, seed, training)
    return lr if cube.dtype.type is np.float64 else lr.astype(np.float32)  # of either byte order


def degrade_crop(crop: np.ndarray, protocol: Protocol, scale: int, seed: int | Sequence[int]) -> np.ndarray:
    """The LR image of a training crop: `degrade` with `training`, without checking the crop.

    crop: (B, H, W) float64, finite, H and W multiples of `scale`. protocol: one that degrades. seed: of the random
    training degradation and of the noise. Returns (B, h, w) float64.
    """
    return _degrade(crop, protocol, scale, None, seed, training=True)


def _degrade(
    cube: np.ndarray,
    protocol: Protocol,
    scale: int,
    noise: float | Mapping[str, float] | Noise | None,
    seed: int | Sequence[int],
    training: bool,
) -> np.ndarray:
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise HsisrError(f"seed: expected a whole number >= 0 or several, not {seed!r}") from None
    if training and protocol.training is not None:
        degradation = protocol.training(rng, scale)
        sampler = degradation.crop_sampler(scale, cube.shape[1:])
    else:
        degradation = protocol.degradation(scale)
        sampler = fixed_sampler(protocol, scale, cube.shape[1:])
    level = parse_noise(noise) or degradation.noise
    lr, _ = _observe(sampler(cube), level, rng, protocol.clips and degradation.clips)
    return lr


def pair(
    scene: Scene,
    protocol: str | Protocol,
    scale: int,
    seed: int = 0,
    response: str | os.PathLike[str] | np.ndarray | None = None,
    noise: float | Mapping[str, float] | Noise | None = None,
    part: str = "",
) -> Pair:
    """The pair that a protocol makes from a scene, cropped at the bottom and right to a multiple of `scale`.

    Bad bands stay, in all but a simulated guide; a line says which they are.
    Under `mixup` without a guide, the reference stays whole instead. The LR image then has ceil(H / scale) rows and
    ceil(W / scale) columns, and the super-resolved image is cut back to the reference.

    response: name, file or matrix (G, B) of a simulated guide; `none`: no guide; None: as the protocol says. `wald` and
    `full` take the scene's own guide, if it has one. noise: as for `degrade`. seed, part: of the noise, together with
    the scene's name (see `scene_seed`).
    `wald` with the scene's own guide tests at reduced resolution: scene and guide are each degraded by `scale`, the
    factor between their resolutions, and the scene is the reference. A guide on the scene's own grid stays as it is.
    `full`: the scene is the LR image, and nothing is degraded.
    Raises HsisrError if scene, guide and scale do not fit, or a response does not overlap the scene's bands.

    Example:

        >>> cube = np.random.default_rng(0).random((31, 32, 32))
        >>> scene = hsisr.Scene(cube, "mine", wavelengths_nm=np.linspace(400, 700, 31))
        >>> made = degrade.pair(scene, "wald", scale=4)
        >>> made.lr.shape, made.guide.shape, made.hr.shape
        ((31, 8, 8), (3, 32, 32), (31, 32, 32))
    """
    protocol = find_protocol(protocol)
    check_scene(scene, "pair")
    _tell_of_bad_bands(scene)
    if isinstance(response, os.PathLike):
        response = os.fspath(response)
    try:
        if protocol.sampling is None:
            return _full_resolution(scene, protocol, scale, response, noise)
        return _simulate(scene, protocol, scale, seed, response, noise, part)
    except HsisrError as error:
        raise HsisrError(f"scene {scene.name}: {error}") from error


def _tell_of_bad_bands(scene: Scene) -> None:
    """A line on bad bands. They stay, so that scenes with other bad bands have the same bands."""
    bad = np.flatnonzero([] if scene.bad_bands is None else scene.bad_bands)
    if len(bad):
        runs = np.split(bad, np.flatnonzero(np.diff(bad) > 1) + 1)
        numbers = ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
        notice(
            f"scene {scene.name}: {len(bad)} of its {scene.shape[0]} bands are bad ({numbers}, from 0), and count in "
            "scores like the others; to leave them out of all scenes of a data set, give it `band_steps: [{choose: "
            "...}]` with the bands that are good in all (in Python hsisr.datasets.bands.choose)"
        )


def scene_response(scene: Scene, response: str | np.ndarray) -> np.ndarray:
    """The matrix (G, B) that makes a guide from a scene's bands; bands without data get weight 0.

    response: a name, a file, or a matrix (G, B). Raises HsisrError if it does not fit the scene's bands.

    Example:

        >>> scene = hsisr.Scene(np.zeros((4, 8, 8)))
        >>> degrade.scene_response(scene, np.full((1, 4), 0.25))
        array([[0.25, 0.25, 0.25, 0.25]])
    """
    bands = scene.shape[0]
    if isinstance(response, str):
        if goes_by_index(response):
            matrix = response_by_index(response, bands)
        elif scene.wavelengths_nm is None:
            raise HsisrError(
                f"response {response} needs wavelengths, which are not known; give a matrix (G, B) or `none`"
            )
        else:
            matrix = response_matrix(response, scene.wavelengths_nm, scene.fwhm_nm)
    else:
        matrix = np.asarray(response, dtype=float)
        if matrix.ndim != 2 or matrix.shape[1] != bands or not np.isfinite(matrix).all():
            raise HsisrError(f"response matrix: expected (channels, {bands}), finite; got shape {matrix.shape}")
    if scene.bad_bands is None:
        return matrix
    return _without_bad_bands(matrix, np.asarray(scene.bad_bands, dtype=bool))


def check_scale(scale: int) -> None:
    """Raise HsisrError unless `scale` is a whole number >= 1."""
    if isinstance(scale, bool) or not isinstance(scale, int | np.integer) or scale < 1:
        raise HsisrError(f"scale must be a whole number >= 1, not {scale!r}")


def check_cube(cube: np.ndarray, scale: int) -> np.ndarray:
    """Return the cube; raises HsisrError if it cannot be degraded by `scale`."""
    check_scale(scale)
    cube = array_of("a cube", cube)
    if cube.ndim != 3 or 0 in cube.shape:
        raise HsisrError(f"a cube must be (bands, rows, columns), none of them 0, not {cube.shape}")
    if not np.issubdtype(cube.dtype, np.floating):
        raise HsisrError(f"a cube must hold floats in [0, 1], not {cube.dtype}; divide it by its peak value first")
    if min(cube.shape[1:]) < scale:
        raise HsisrError(f"an image of {cube.shape[1]} x {cube.shape[2]} pixels is smaller than the scale {scale}")
    if not all(np.isfinite(band).all() for band in cube):
        bad = sum(int(band.size - np.isfinite(band).sum()) for band in cube)
        raise HsisrError(f"the cube holds {bad} NaN or infinite values; drop the bands or crop the pixels they are in")
    return cube


def check_views(
    lr: np.ndarray, guide: np.ndarray, scale: int, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return an LR image (B, h, w) and its guide (G, h s, w s); mask: (h s, w s), True where a pixel is valid.

    Raises HsisrError if they do not fit together, or hold anything but finite floats.
    """
    lr, guide = check_cube(lr, 1), check_cube(guide, 1)
    check_scale(scale)
    size = (scale * lr.shape[1], scale * lr.shape[2])
    if guide.shape[1:] != size:
        raise HsisrError(f"registration: LR {lr.shape[1:]} and guide {guide.shape[1:]} do not differ by scale {scale}")
    if mask is not None and (np.shape(mask) != size or np.asarray(mask).dtype != bool):
        raise HsisrError(
            f"registration: the mask is {np.shape(mask)} of {np.asarray(mask).dtype}; expected {size} of bool, True "
            "where a pixel is valid"
        )
    return lr, guide


def _check_unit(cube: np.ndarray, protocol: Protocol, name: str = "the cube") -> None:
    """Raise HsisrError if a protocol would clip away most of a cube, because its values have another unit.

    name: of the cube, for a line that tells of a part that the protocol clips.
    """
    mean = float(cube.mean(dtype=float))
    if protocol.clips and mean > 1:
        raise HsisrError(
            f"the values are {mean:g} on average, and protocol {protocol.name} clips the LR image to [0, 1]; divide "
            "them by the value that counts as 1, such as 255 or 10000 (in Python Scene(scale=1/255), in config.yaml "
            "`scale` of the data set)"
        )
    share = float(((cube < 0) | (cube > 1)).mean()) if protocol.clips else 0.0
    if share > _CLIPPED:
        notice(
            f"{name}: {share:.1%} of its values lie outside [0, 1], to which protocol {protocol.name} clips the LR "
            "image; the reference keeps them"
        )


def _crop(cube: np.ndarray, scale: int, whole: bool = False) -> np.ndarray:
    """The cube cut to a multiple of the scale. whole: keep all; the super-resolved image is cut back instead."""
    if whole:
        return cube
    rows, columns = (size // scale * scale for size in cube.shape[1:])
    return cube[:, :rows, :columns]


def _observe(lr: np.ndarray, noise: Noise, rng: np.random.Generator, clips: bool) -> tuple[np.ndarray, float]:
    """Add noise to a noiseless LR image and clip it; returns the image and the noise's standard deviation."""
    sigma = noise.sigma_for(lr)
    if sigma > 0:
        lr += sigma * rng.standard_normal(lr.shape)
    if clips:
        np.clip(lr, 0.0, 1.0, out=lr)
    return lr, sigma


def _simulate(
    scene: Scene,
    protocol: Protocol,
    scale: int,
    seed: int,
    response: str | np.ndarray | None,
    noise: float | Mapping[str, float] | Noise | None,
    part: str,
) -> Pair:
    whole = protocol.cuts_back and (response is None or (isinstance(response, str) and response == "none"))
    hr = np.ascontiguousarray(_crop(check_cube(scene.filled_cube, scale), scale, whole))
    _check_unit(hr, protocol, f"scene {scene.name}")
    rows, columns = hr.shape[1:]
    guide, name, matrix = _guide(scene, hr, protocol, scale, response)
    degradation = protocol.degradation(scale)
    low = fixed_sampler(protocol, scale, (rows, columns))(hr)
    rng = np.random.default_rng(scene_seed(seed, scene.name, part))
    lr, sigma = _observe(low, parse_noise(noise) or degradation.noise, rng, protocol.clips)
    metadata = {
        "protocol": protocol.name,
        "scale": scale,
        "psf": "none" if protocol.psf is None else protocol.psf.description,
        "sampling": protocol.sampling,
        "kernel": degradation.kernel,
        "phase": degradation.phase,
        "noise_sigma": sigma,
        "response": name,
        "response_matrix": matrix,
        "seed": seed,
        "part": part,
        "crop": (0, rows, 0, columns),
    }
    if protocol.name not in PROTOCOLS:
        metadata["convention"] = protocol.convention
    used = scene.guide if matrix is None and guide is not None else None
    mask = _valid(scene, used, 1)
    mask = None if mask is None else np.ascontiguousarray(mask[:rows, :columns])
    return Pair(lr.astype(np.float32), guide, hr, mask, metadata, scene.wavelengths_nm)


def _valid(scene: Scene, guide: Scene | None, scale: int) -> np.ndarray | None:
    """Where a scene, and its own guide if it is used, hold data, on a grid `scale` times as fine; None: everywhere."""
    own, sharp = (None if image is None else image.valid_pixels() for image in (scene, guide))
    valid = None if own is None else own.repeat(scale, axis=0).repeat(scale, axis=1)
    if sharp is None:
        return valid
    size = scene.shape[1] * scale, scene.shape[2] * scale
    sharp = whole_lr_pixels(sharp, len(sharp) // size[0])
    return sharp if valid is None else valid & sharp


def _guide(
    scene: Scene, hr: np.ndarray, protocol: Protocol, scale: int, response: str | np.ndarray | None
) -> tuple[np.ndarray | None, str | None, np.ndarray | None]:
    """The guide (G, H, W) on the grid of `hr`, with the name and matrix of the response that made it."""
    if response is None and protocol.real_guide and scene.guide is not None:
        return _reduced_guide(scene, scene.guide, hr.shape[1:], protocol, scale), None, None
    if response is None:
        response = protocol.response
    if response is None or (isinstance(response, str) and response == "none"):
        return None, None, None
    matrix = scene_response(scene, response)
    name = response if isinstance(response, str) else "matrix"
    return apply_response(matrix, hr), name, matrix


def _without_bad_bands(matrix: np.ndarray, bad_bands: np.ndarray) -> np.ndarray:
    """The response without weights in bad bands; every row keeps its sum."""
    good = np.where(bad_bands, 0.0, matrix)
    sums = good.sum(axis=1, keepdims=True)
    if not (sums > 0).all():
        raise HsisrError("a channel of the response lies in bands without data only; choose another response")
    kept: np.ndarray = good * (matrix.sum(axis=1, keepdims=True) / sums)
    return kept


def _reduced_guide(scene: Scene, sharp: Scene, shape: tuple[int, int], protocol: Protocol, scale: int) -> np.ndarray:
    """The scene's own guide `sharp`, degraded to the grid of the scene (Wald's reduced resolution)."""
    ratio = _guide_ratio(scene, sharp)
    if ratio not in (1, scale):
        raise HsisrError(
            f"its guide is {ratio} times as sharp, which {protocol.name} tests at scale {ratio}, not {scale}"
        )
    guide = sharp.filled_cube[:, : shape[0] * ratio, : shape[1] * ratio]
    if ratio == 1:
        return np.ascontiguousarray(check_cube(guide, 1))
    return degrade(guide, protocol, ratio, noise=0)


def _guide_ratio(scene: Scene, sharp: Scene) -> int:
    """Guide pixels per scene pixel along an axis. Raises HsisrError unless it is one whole number for both."""
    ratio = sharp.shape[1] // scene.shape[1]
    if ratio < 1 or sharp.shape[1:] != (scene.shape[1] * ratio, scene.shape[2] * ratio):
        raise HsisrError(
            f"its guide is {sharp.shape[1]} x {sharp.shape[2]} pixels, expected a whole multiple of "
            f"{scene.shape[1]} x {scene.shape[2]}; crop the two to the same ground"
        )
    return ratio


def _full_resolution(
    scene: Scene, protocol: Protocol, scale: int, response: str | np.ndarray | None, noise: Any
) -> Pair:
    if response not in (None, "none") or noise not in (None, 0):
        raise HsisrError(f"protocol {protocol.name} simulates nothing; leave response and noise out")
    check_scale(scale)
    lr = check_cube(scene.filled_cube, 1)
    guide = None
    if scene.guide is not None:
        ratio = _guide_ratio(scene, scene.guide)
        if ratio != scale:
            raise HsisrError(
                f"its guide is {ratio} times as sharp; protocol {protocol.name} needs scale {ratio}, not {scale}"
            )
        guide = check_cube(scene.guide.filled_cube, 1)
    metadata = {
        "protocol": protocol.name,
        "scale": scale,
        "psf": "none",
        "sampling": "none: the scene is the LR image",
        "kernel": None,
        "phase": 0,
        "noise_sigma": 0.0,
        "response": None,
        "response_matrix": None,
        "seed": 0,
        "part": "",
        "crop": (0, lr.shape[1], 0, lr.shape[2]),
    }
    return Pair(lr, guide, None, _valid(scene, scene.guide, scale), metadata, scene.wavelengths_nm)
