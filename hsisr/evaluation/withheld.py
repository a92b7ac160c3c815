"""A test on real images without a reference: withhold bands of the guide, predict them, and compare."""

import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hsisr.degrade.estimation import fit_response
from hsisr.degrade.registration import related_channels
from hsisr.degrade.sampling import interpolate
from hsisr.degrade.sensor import gaussian_footprint, whole_lr_pixels
from hsisr.errors import HsisrError, notice
from hsisr.files import stamp
from hsisr.inference import run, scenes
from hsisr.inference.guide import Guide
from hsisr.inference.images import Source, chosen_bands, middle_piece
from hsisr.inference.scenes import Options
from hsisr.missing import fill_invalid
from hsisr.models.apply import Method
from hsisr.models.windows import hr_spans

#: Most LR pixels a side that are super-resolved, in the middle of the image.
_MOST_LR_PX = 256
#: LR pixels at the border that are not compared: their footprints reach beyond the image.
_BORDER_LR_PX = 2
#: The meaning of the numbers, in one line each.
LEGEND = {
    "rmse": "root mean square error, in the band's own values",
    "cc": "correlation",
    "detail": "part of the detail that is found, which the band at LR resolution lacks: 1 all, 0 none, below 0 wrong",
}
_FORM = {"rmse": "{:.4g}", "cc": "{:.4f}", "detail": "{:.4f}"}
#: What such a test shows, and what it does not.
CAVEAT = (
    "a withheld band tests detail in the guide's own range, much of which its other bands show too; it says nothing of "
    "bands that lie far from all of the guide's, and noise that the guide's bands share counts as detail"
)


@dataclass(frozen=True, eq=False)
class _Ground:
    """The images to compare: low (B, h, w), the guide (G, H, W), and where both are valid, (H, W)."""

    low: np.ndarray
    guide: np.ndarray
    valid: np.ndarray
    rows: tuple[int, int]
    columns: tuple[int, int]


def validate(
    lr: Any, guide: Any, withhold: Iterable[int] = (), model: str = "prior", options: Options | None = None
) -> dict[str, Any]:
    """Withhold bands of a guide, one at a time. Predict each from the LR image and the other bands, and compare.

    No step sees the withheld band: what is measured on the guide, such as its displacement, is measured on the others.
    lr, guide: as for `hsisr.inference.super_resolve_file`. withhold: bands of the guide, from 0, as the guide itself
    counts them; none: each in turn that is not the same number everywhere.
    model, options: as for `super_resolve_file`; None: its defaults.
    The prediction is the super-resolved image seen through the band's spectral response. The response is fitted at LR
    resolution: there the band is known, but not its detail. Two simpler predictions are listed too: `bicubic`, the LR
    image without any guide, and `other bands`, a linear fit of the other bands at LR resolution.
    Returns {model, scale, caveat, bands: [{band, wavelength_nm, methods: {name: {rmse, cc, detail}}}]}. cc and detail
    are None for a band that is one number on all of the compared ground.
    Raises HsisrError as `super_resolve_file`, for bands that do not exist or are one number everywhere, and for a guide
    of one band.
    """
    options = options or Options()
    if options.mask_change:
        raise HsisrError("validate: mask_change would put the LR image's own detail into the test; leave it out")
    scenes.check_comparable(options, "validate")
    low, sharp = scenes.open_images(lr, guide, options)
    if sharp is None or len(sharp.good) < 2:
        label = "validate" if sharp is None else sharp.label
        raise HsisrError(f"{label}: withholding a band takes a guide of two or more, as the others predict it")
    places = dict(zip(sharp.numbers, sharp.good.tolist(), strict=True))
    flat = [number for number, place in places.items() if place in sharp.flat_bands]
    given = list(dict.fromkeys(withhold))
    unknown = [band for band in given if band not in places]
    if unknown:
        raise HsisrError(f"{sharp.label}: band {unknown[0]!r} is none of its bands {', '.join(map(str, places))}")
    wanted = [int(band) for band in given] or [number for number in places if number not in flat]
    if not wanted or set(wanted) & set(flat):
        raise HsisrError(
            f"{sharp.label}: band {', '.join(map(str, flat))} (from 0) is the same number everywhere, so that it has "
            "no detail to find; withhold another"
        )
    with tempfile.TemporaryDirectory() as folder:
        kept = _without(sharp, places[wanted[0]])
        method = scenes.open_methods(model, low, kept, options)[0]
        if not method.needs_guide:
            raise HsisrError(f"validate: {method.name} uses no guide, so that there is nothing to withhold")
        lying = scenes.lay(low, sharp, method, options, Path(folder))
        if not options.correct_shift:
            lying = scenes.move(low, lying, method.scale, options)  # tells of a shift that stays
        for line in filter(None, (low.incomplete, low.outliers, sharp.incomplete, sharp.outliers)):
            notice(line)
        bands = [_withheld(low, lying, (band, places[band]), method, options) for band in wanted]
    settings = {"lr": run.state_of(lr), "guide": run.state_of(guide), "model": model, "options": asdict(options)}
    return {
        **stamp("validate", settings),
        "model": method.name,
        "scale": method.scale,
        "caveat": CAVEAT,
        "bands": bands,
    }


def table(summary: dict[str, Any]) -> str:
    """A summary of `validate` as text: a line for each withheld band and method."""
    lines = [f"{'withheld band':16}{'predicted from':24}" + "".join(f"{name:>12}" for name in LEGEND)]
    for entry in summary["bands"]:
        nm = entry["wavelength_nm"]
        name = f"{entry['band']}" if nm is None else f"{entry['band']} ({nm:.0f} nm)"
        for method, scores in entry["methods"].items():
            values = "".join(f"{'-' if scores[key] is None else _FORM[key].format(scores[key]):>12}" for key in LEGEND)
            lines.append(f"{name:16}{method:24}{values}")
            name = ""
    lines += [f"{name}: {meaning}" for name, meaning in LEGEND.items()]
    return "\n".join([*lines, f"Note: {summary['caveat']}."])


def _without(sharp: Source, band: int) -> Source:
    others = chosen_bands(sharp, tuple(int(one) for one in sharp.good if one != band))
    return replace(others, label=f"{sharp.label} without band {sharp.numbers[list(sharp.good).index(band)]}")


def _ground(low: Source, placed: Guide, withheld: int, scale: int) -> _Ground:
    """The middle of the scene, with invalid pixels filled. Samples that the withheld band lacks do not count."""
    rows, columns = (middle_piece(size, _MOST_LR_PX) for size in low.scene.shape[1:])
    values, valid = low.window(rows, columns)
    guide, guide_valid = placed.window(*hr_spans(rows, columns, scale))
    alone = replace(placed, source=chosen_bands(placed.source, (withheld,)))
    known = guide_valid & alone.window(*hr_spans(rows, columns, scale))[1]
    both = valid.repeat(scale, axis=0).repeat(scale, axis=1) & known
    inner = np.zeros_like(both)
    border = _BORDER_LR_PX * scale
    inner[border:-border, border:-border] = True
    count = int(whole_lr_pixels(both & inner, scale).sum())
    if count < 2:
        raise HsisrError(
            f"{low.label}: {count or 'no'} pixel of its middle is valid in it and in the guide, {_BORDER_LR_PX} pixels "
            "away from its border; a response is fitted to 2 or more"
        )
    return _Ground(fill_invalid(values, valid), fill_invalid(guide, guide_valid), both & inner, rows, columns)


def _withheld(low: Source, lying: Guide, withheld: tuple[int, int], method: Method, options: Options) -> dict[str, Any]:
    """The entry of one withheld band. withheld: its number in the guide itself, and among the bands that are used.

    lying: the guide on the LR image's grid, not moved yet.
    """
    source, scale = lying.source, method.scale
    band, used = withheld
    place = int(np.flatnonzero(source.good == used)[0])
    others = [number for number in range(len(source.good)) if number != place]
    placed = replace(lying, source=_without(source, used))
    if options.correct_shift:
        placed = scenes.move(low, placed, scale, options)
    ground = _ground(low, replace(placed, source=source), used, scale)
    feed = scenes.make_feed(method, low, placed, options, _quiet)
    estimate, known = feed(ground.rows, ground.columns)
    footprint = feed.footprint or gaussian_footprint(scale)
    sampler = footprint.sampler(scale, ground.guide.shape[1:])
    valid = ground.valid & known
    whole = whole_lr_pixels(valid, scale)
    seen = sampler(ground.guide)
    truth = ground.guide[place].astype(np.float64)
    if not related_channels(ground.low, ground.guide[[place]], scale)[0]:
        notice(f"{source.label}: band {band} shows something else than the LR image does")
    response, offset = fit_response(ground.low[:, whole], seen[[place]][:, whole])
    direct, direct_offset = fit_response(seen[others][:, whole], seen[[place]][:, whole])
    predictions = {
        method.name: _through(response, offset, np.nan_to_num(estimate)),
        "bicubic": _through(response, offset, interpolate(ground.low, scale)),
        "other bands": _through(direct, direct_offset, ground.guide[others]),
    }
    blurred = interpolate(seen[[place]], scale)[0]
    wavelengths = source.wavelengths_nm
    return {
        "band": band,
        "wavelength_nm": None if wavelengths is None else float(wavelengths[place]),
        "methods": {name: _scores(truth[valid], image[valid], blurred[valid]) for name, image in predictions.items()},
    }


def _through(response: np.ndarray, offset: np.ndarray, cube: np.ndarray) -> np.ndarray:
    """The single channel (H, W) that a response makes of a cube (B, H, W)."""
    return np.asarray(np.tensordot(response[0], cube, axes=1) + offset[0])


def _scores(truth: np.ndarray, found: np.ndarray, blurred: np.ndarray) -> dict[str, float | None]:
    """The scores of pixels (n,); None where the band or its prediction is one number there."""
    error = float(((found - truth) ** 2).mean())
    lacking = float(((blurred - truth) ** 2).mean())
    varies = min(np.ptp(truth), np.ptp(found)) > 0
    return {
        "rmse": error**0.5,
        "cc": float(np.corrcoef(truth, found)[0, 1]) if varies else None,
        "detail": 1 - error / lacking if np.ptp(truth) > 0 else None,
    }


def _quiet(line: str) -> None:
    """Ignore a line: what it says was told of both images, and would be told again for each band."""
