"""A user's own protocol, built from the settings that stand in a configuration file."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hsisr.degrade import own_files
from hsisr.degrade.families import FamilyPsf
from hsisr.degrade.noise import NO_NOISE, parse_noise
from hsisr.degrade.protocols import CONVENTIONS, PROTOCOLS, Protocol
from hsisr.degrade.psf import AnisotropicPsf, ArrayPsf, BlockMeanPsf, GaussianPsf, Psf
from hsisr.degrade.response import BY_INDEX, RESPONSES, load_response
from hsisr.degrade.sampling import SAMPLINGS
from hsisr.errors import HsisrError, did_you_mean


def _family(family: str, fwhm_lr: float = 1.0, shift_px: Sequence[float] = (0.0, 0.0)) -> Psf:
    return FamilyPsf(family, fwhm_lr, tuple(shift_px))


#: PSF kind -> function that makes the PSF, and the settings that it takes.
_PSFS: dict[str, tuple[Callable[..., Psf], tuple[str, ...]]] = {
    "gaussian": (GaussianPsf, ("sigma_px", "sigma_lr", "mtf_gain")),
    "anisotropic": (AnisotropicPsf, ("l1", "l2", "theta", "taps")),
    "family": (_family, ("family", "fwhm_lr", "shift_px")),
    "mean": (BlockMeanPsf, ()),
    "array": (ArrayPsf, ("weights",)),
}

_KEYS = ("psf", "sampling", "phase", "noise", "response", "clip", "convention", "description")


class CustomProtocol(Protocol):
    """A user's own protocol. It can stand wherever the name of a protocol can.

    name: `[a-z][a-z-]*`, not one of the built-in names. settings: these keys, of which only `psf` is required:
    psf: `{kind: gaussian, sigma_px | sigma_lr | mtf_gain: ..}`, `{kind: anisotropic, l1, l2, theta, taps}`,
    `{kind: family, family, fwhm_lr, shift_px}` (see `hsisr.degrade.families`), `{kind: mean}`,
    `{kind: array, weights: [[..], ..]}`, a file that holds its weights (.npy, .csv, .mat, .tif, .png;
    `hsisr.degrade.own_files`), or `none` (see `hsisr.degrade.psf`).
    sampling: one of SAMPLINGS, default `centre`. phase: the pixel that `strided` reads, in HR pixels, 0 .. scale - 1.
    noise: sigma, `{sigma: ..}` or `{snr_db: ..}`; default none. clip: whether LR is clipped to [0, 1]; default no.
    response: name of the guide's response, which may end in `@index`; or a file that holds a response (.csv, .mat,
    .npy); or `none` for no guide. The default is nikon_d700.
    convention: one of CONVENTIONS, default `mulsr`. description: one line.
    Training patches are degraded as the test images are. Raises HsisrError for an unknown key or value.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        where = f"protocol {name}"
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z-]*", name) or name in PROTOCOLS:
            raise HsisrError(f"{where}: expected a new name of letters a-z and `-`; taken: {', '.join(PROTOCOLS)}")
        _only(settings, _KEYS, where)
        if "psf" not in settings:
            raise HsisrError(f"{where}: psf is missing; give a kind ({', '.join(_PSFS)}) with its settings, or none")
        sampling = _one_of(settings.get("sampling", "centre"), SAMPLINGS, f"{where}: sampling")
        phase = settings.get("phase", 0)
        if isinstance(phase, bool) or not isinstance(phase, int) or phase < 0 or (phase and sampling != "strided"):
            raise HsisrError(
                f"{where}: phase must be a whole number >= 0, and 0 unless sampling is strided; not {phase!r}"
            )
        response = settings.get("response", "nikon_d700")
        by_wavelength = response.removesuffix(BY_INDEX) if isinstance(response, str) else response
        if own_files.is_file_name(by_wavelength):
            _at(f"{where}: response", load_response, by_wavelength)
        else:
            _one_of(by_wavelength, (*RESPONSES, "none", None), f"{where}: response")
        clip = settings.get("clip", False)
        if not isinstance(clip, bool):
            raise HsisrError(f"{where}: clip must be true or false, not {clip!r}")
        response = None if response == "none" else response
        super().__init__(
            name=name,
            description=str(settings.get("description", "user's protocol")),
            psf=_psf(settings["psf"], where),
            sampling=sampling,
            phase=phase,
            noise=parse_noise(settings.get("noise")) or NO_NOISE,
            clips=clip,
            needs_guide=response is not None,
            response=response,
            convention=_one_of(settings.get("convention", "mulsr"), CONVENTIONS, f"{where}: convention"),
        )


def _psf(settings: Any, where: str) -> Psf | None:
    if settings is None or settings == "none":
        return None
    if own_files.is_file_name(settings):
        return ArrayPsf(_at(f"{where}: psf", own_files.read_psf, settings))
    if not isinstance(settings, Mapping) or "kind" not in settings:
        raise HsisrError(
            f"{where}: psf must be a mapping with a kind ({', '.join(_PSFS)}), a file "
            f"({', '.join(own_files.PSF_ENDINGS)}), or none"
        )
    kind = _one_of(settings["kind"], tuple(_PSFS), f"{where}: psf kind")
    make, keys = _PSFS[kind]
    options = {key: value for key, value in settings.items() if key != "kind"}
    _only(options, keys, f"{where}: psf {kind}")
    try:
        return make(**options)
    except TypeError as error:
        raise HsisrError(f"{where}: psf {kind}: {error}; it takes {', '.join(keys) or 'nothing'}") from error


def own_paths(settings: Mapping[str, Any]) -> list[str]:
    """The files that the settings of a protocol name."""
    named = [settings.get("response"), settings.get("psf")]
    paths = [str(value).removesuffix(BY_INDEX) for value in named if isinstance(value, (str, os.PathLike))]
    return [path for path in paths if own_files.is_file_name(path)]


def without_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a protocol that makes the same LR images but needs no file.

    Weights replace the PSF's file. If the response is a file, it becomes `none`: there is no guide.
    """
    found = dict(settings)
    if own_files.is_file_name(found.get("psf")):
        found["psf"] = {"kind": "array", "weights": own_files.read_psf(found["psf"]).tolist()}
    if own_paths(found):
        found["response"] = "none"
    return found


def _at(where: str, read: Callable[[Any], Any], path: Any) -> Any:
    """Read a file; an error says which key names the file."""
    try:
        return read(path)
    except HsisrError as error:
        raise HsisrError(f"{where}: {error}") from error


def _only(settings: Any, allowed: tuple[str, ...], where: str) -> None:
    if not isinstance(settings, Mapping):
        raise HsisrError(f"{where}: expected a mapping of {', '.join(allowed)}, not {settings!r}")
    unknown = [str(key) for key in settings if key not in allowed]
    if unknown:
        raise HsisrError(
            f"{where}: unknown {', '.join(unknown)}; {did_you_mean(unknown[0], allowed)}allowed: "
            f"{', '.join(allowed) or 'nothing'}"
        )


def _one_of(value: Any, allowed: tuple[Any, ...], where: str) -> Any:
    if value not in allowed:
        near = did_you_mean(value, allowed)
        raise HsisrError(f"{where} {value!r} is not known; {near}choose one of {', '.join(map(str, allowed))}")
    return value
