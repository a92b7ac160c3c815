"""A sweep: every model is scored on one scene under every degradation of a grid. The worst place of the grid counts.

A stopped sweep resumes: a file beside the result holds every finished place of the grid.
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hsisr import degrade
from hsisr.config import Sweep, check_section
from hsisr.datasets import read_scene
from hsisr.errors import HsisrError, notice
from hsisr.evaluation import sweep_map
from hsisr.files import cannot_write, file_hash, read_json, settings_hash, stamp, write_json, write_text
from hsisr.inference.images import middle_piece
from hsisr.inference.progress import Progress
from hsisr.metrics import json_ready, score
from hsisr.models.apply import open_method
from hsisr.pipeline import steps
from hsisr.pipeline.pair_files import cut
from hsisr.scene import Scene

#: Scores that a sweep keeps.
SCORES = ("psnr", "ssim", "sam", "ergas")
#: The convention of these scores.
CONVENTION = "mulsr"


#: A scene whose largest value is below this has another unit than [0, 1], such as radiance in W/m2.
_FAINT = 0.05
#: Share of values below 0, as noise makes them of dark ground, that is set to 0 without a line.
_NEGATIVE = 0.01


class _Found(BaseModel):
    """The required keys of a place's findings."""

    model_config = ConfigDict(extra="ignore", strict=True)

    scores: dict[str, dict[str, float | None] | None]
    refused: dict[str, str]
    warned: dict[str, list[str]]


class _Row(_Found):
    psf: str
    fwhm_lr: float
    shift_px: float
    response: int | str
    snr_db: float | None


class _Summary(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    places: int
    refused: int
    psnr_mean: float = 0.0
    psnr_worst: float = 0.0
    psnr_best: float = 0.0
    sam_mean: float = 0.0
    sam_worst: float = 0.0
    worst_at: str = ""


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    scene: str
    scale: int
    models: dict[str, _Summary]
    grid: list[_Row]


class _Line(BaseModel):
    """A line of the file from which a sweep resumes. sweep: the hash of the sweep's identity."""

    model_config = ConfigDict(strict=True)

    sweep: str
    place: dict[str, Any]
    found: _Found


@dataclass(frozen=True)
class Place:
    """One place of the grid; see `hsisr.config.Sweep`."""

    psf: str
    fwhm_lr: float
    shift_px: float
    response: int | str
    snr_db: float | None

    @property
    def optics(self) -> str:
        """PSF, width and shift in words: a row of the map."""
        shift = f", shift {self.shift_px:g} px" if self.shift_px else ""
        return f"{self.psf}{'' if self.psf == 'delta' else f', FWHM {self.fwhm_lr:g}'}{shift}"

    @property
    def sensor(self) -> str:
        """Response and noise in words: a column of the map."""
        channels = f"{self.response} ch" if isinstance(self.response, int) else self.response
        return f"{channels}, {'no noise' if self.snr_db is None else f'{self.snr_db:g} dB'}"

    def pair(self, scene: Scene, settings: Sweep) -> degrade.Pair:
        """The pair made from the scene with this place's degradation."""
        shift = (self.shift_px, self.shift_px)
        protocol = degrade.Protocol(
            "sweep", "one place of a sweep", degrade.FamilyPsf(self.psf, self.fwhm_lr, shift), "centre"
        )
        response = boxes(scene.shape[0], self.response) if isinstance(self.response, int) else self.response
        noise = 0.0 if self.snr_db is None else {"snr_db": self.snr_db}
        return degrade.pair(scene, protocol, settings.scale, settings.seed, response, noise)


def places(settings: Sweep) -> list[Place]:
    """The whole grid, rows of the map first. A single-pixel PSF has no width, so it stands there once."""
    grid = product(settings.psfs, settings.fwhm_lr, settings.shifts_px, settings.responses, settings.snr_db)
    every = [Place(*values) for values in grid]
    return [place for place in every if place.psf != "delta" or place.fwhm_lr == settings.fwhm_lr[0]]


def boxes(bands: int, channels: int) -> np.ndarray:
    """A response (channels, bands) of adjacent boxes, as equal in size as possible, each with sum 1.

    Raises HsisrError if there are more channels than bands.
    """
    if channels > bands:
        raise HsisrError(f"sweep: a guide of {channels} channels cannot be made of {bands} bands; take fewer channels")
    matrix = np.zeros((channels, bands))
    for row, members in zip(matrix, np.array_split(np.arange(bands), channels), strict=True):
        row[members] = 1 / len(members)
    return matrix


def run(settings: Sweep, out: str | os.PathLike, picture: str | os.PathLike) -> dict[str, Any]:
    """Run a sweep, or the rest of one. Write the result as JSON and the map as PNG, and return the result.

    settings: of the sweep. out: path of the JSON file. picture: path of the PNG. Raises HsisrError for a scene or a
    model that cannot be opened. If a model refuses a place (a network for another number of channels), this place
    stays empty and holds the reason.
    """
    identity = _identity(steps.sweeping(settings))
    scene = _scene(settings)
    settings = _with_fitting_responses(settings, scene)
    for model in settings.models:
        if not Path(model).exists():  # report an unknown model before the computation
            open_method(model, settings.scale, 3)
    log = _Log(Path(out), identity)
    grid = places(settings)
    finished = [log.find(asdict(place)) for place in grid]
    with Progress(len(grid), sum(entry is not None for entry in finished), "place") as progress:
        for number, place in enumerate(grid):
            if finished[number] is None:
                finished[number] = log.add(asdict(place), _measure(place, scene, settings))
                progress.advance()
    rows = [{**asdict(place), **entry} for place, entry in zip(grid, finished, strict=True)]
    result = {
        **stamp("sweep", identity),
        "scene": scene.name,
        "shape": list(scene.shape),
        "scale": settings.scale,
        "convention": CONVENTION,
        "models": {model: summary(grid, rows, model) for model in settings.models},
        "grid": rows,
    }
    sweep_map.draw(picture, table(result, "psnr"), f"{scene.name} x{settings.scale}: PSNR in dB")
    write_json(out, result)
    log.remove()
    return result


def is_unfinished(out: str | os.PathLike) -> bool:
    """Whether a sweep that writes to `out` was stopped after its start."""
    return _log_of(Path(out)).is_file()


def summary(grid: list[Place], rows: list[dict[str, Any]], model: str) -> dict[str, Any]:
    """Summary of one model over the grid: mean, worst and best PSNR (dB), the worst place, mean SAM, refused places."""
    pairs = zip(grid, rows, strict=True)
    known = [(place, scores) for place, row in pairs if (scores := row["scores"][model]) and scores["psnr"] is not None]
    if not known:
        return {"places": 0, "refused": len(rows)}
    psnr = [scores["psnr"] for _, scores in known]
    worst = known[int(np.argmin(psnr))][0]
    return {
        "places": len(known),
        "refused": len(rows) - len(known),
        "psnr_mean": float(np.mean(psnr)),
        "psnr_worst": float(np.min(psnr)),
        "psnr_best": float(np.max(psnr)),
        "sam_mean": float(np.mean([scores["sam"] for _, scores in known])),
        "sam_worst": float(np.max([scores["sam"] for _, scores in known])),
        "worst_at": f"{worst.optics}; {worst.sensor}",
    }


def table(result: Mapping[str, Any], key: str) -> dict[str, dict[str, dict[str, float | None]]]:
    """Model -> row of the map -> column -> a score; None if the model refused."""
    found: dict[str, dict[str, dict[str, float | None]]] = {model: {} for model in result["models"]}
    for entry in result["grid"]:
        place = Place(*(entry[name] for name in Place.__dataclass_fields__))
        for model, scores in entry["scores"].items():
            found[model].setdefault(place.optics, {})[place.sensor] = None if scores is None else scores[key]
    return found


def read(path: str | os.PathLike) -> dict[str, Any]:
    """The result of a sweep. Raises HsisrError for another file, or if a required key is missing."""
    content = read_json(path, "sweep")
    check_section(_Result, content, str(path))
    return content


def check_current(path: str | os.PathLike, found: Mapping[str, Any], settings: Sweep) -> None:
    """Raise HsisrError if a result of a sweep was made by other code, settings or files than the present ones."""
    step = steps.sweeping(settings)
    identity = _identity(step)
    # after the scene was taken away, nobody can tell
    whole = len(identity["inputs"]) == sum(map(len, step.inputs.values()))
    if whole and found["config_hash"] != settings_hash(identity):
        raise HsisrError(f"{path}: made with other settings, files or code; make it again with the step sweep")


def _identity(step: steps.Step) -> dict[str, Any]:
    files = [file for label in step.inputs.values() for file in label if Path(file).is_file()]
    return {**step.identity, "inputs": {file: file_hash(file) for file in files}}


def _scene(settings: Sweep) -> Scene:
    """The middle of the scene, good bands only, values in [0, 1]; those of another unit are divided by the largest."""
    scene = read_scene(settings.scene)
    if scene.bad_bands is not None:
        scene = scene.bands(np.flatnonzero(~np.asarray(scene.bad_bands, bool)))
    sides = [min(settings.size_px or side, side) // settings.scale * settings.scale for side in scene.shape[1:]]
    if min(sides) == 0:
        raise HsisrError(f"{settings.scene}: {scene.shape[1]} x {scene.shape[2]} pixels are fewer than the scale")
    rows, columns = (middle_piece(length, side) for length, side in zip(scene.shape[1:], sides, strict=True))
    scene = cut(scene, (*rows, *columns))
    cube = scene.filled_cube
    largest, negative = float(cube.max()), float((cube < 0).mean())
    if largest <= 0:
        raise HsisrError(f"{settings.scene}: no value is above 0; a sweep takes images of intensities, in [0, 1]")
    if negative > _NEGATIVE:
        notice(f"{settings.scene}: {negative:.1%} of its values are below 0; the sweep sets them to 0")
    if largest > 1 or largest < _FAINT:
        notice(
            f"{settings.scene}: its values reach {largest:.3g}; they are divided by that for scores, whose peak is 1"
        )
        cube = cube / largest
    values = np.clip(cube, 0, 1).astype(np.float32)
    return Scene(
        values, scene.name, wavelengths_nm=scene.wavelengths_nm, fwhm_nm=scene.fwhm_nm, mask=scene.valid_pixels()
    )


def _with_fitting_responses(settings: Sweep, scene: Scene) -> Sweep:
    """The settings, after a check that every response makes a guide of the scene, which takes long to show otherwise.

    Where the user names no responses, those of more channels than the scene has bands are left out, with a line.
    """
    bands = scene.shape[0]
    many = [response for response in settings.responses if isinstance(response, int) and response > bands]
    if many and "responses" not in settings.model_fields_set:
        notice(f"{settings.scene}: has {bands} bands; guides of {', '.join(map(str, many))} channels are left out")
        kept = [response for response in settings.responses if response not in many]
        settings = settings.model_copy(update={"responses": kept or [1]})
    for response in settings.responses:
        if isinstance(response, int):
            boxes(bands, response)
        elif response == "none":
            raise HsisrError("sweep: responses: `none` makes no guide; give a count of channels, or a response's name")
        else:
            degrade.scene_response(scene, response)
    return settings


def _measure(place: Place, scene: Scene, settings: Sweep) -> dict[str, Any]:
    """The scores of every model at a place, and the reason if one refused."""
    pair = place.pair(scene, settings)
    assert pair.guide is not None and pair.hr is not None  # a sweep simulates both
    scores: dict[str, Any] = {}
    refused: dict[str, str] = {}
    warned: dict[str, list[str]] = {}
    for model in settings.models:
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                estimate = open_method(model, settings.scale, len(pair.guide))(pair.lr, pair.guide)
        except HsisrError as error:
            scores[model], refused[model] = None, str(error)
            continue
        found = json_ready(score(pair.hr, estimate, settings.scale, CONVENTION, mask=pair.mask))
        scores[model] = {key: found[key] for key in SCORES}
        if said:
            warned[model] = sorted({str(warning.message) for warning in said})
    return {"scores": scores, "refused": refused, "warned": warned}


class _Log:
    """The finished places, in a file beside the result.

    Places of another sweep do not count. Its process may write to the same file at the same time.
    """

    def __init__(self, out: Path, identity: Any) -> None:
        self.path = _log_of(out)
        self._stamp = settings_hash(identity)
        lines = list(self._lines())
        self._finished = {_key(line["place"]): line["found"] for line in lines}
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValidationError):  # a line cut short by a power failure
                line = _Line.model_validate_json(text)
                if line.sweep == self._stamp:
                    yield line.model_dump()

    def find(self, place: Any) -> Any:
        """The findings at a place; None if it is not finished."""
        return self._finished.get(_key(place))

    def add(self, place: Any, found: Any) -> Any:
        """Keep the findings at a place, and return them."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"sweep": self._stamp, "place": place, "found": found}) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return found

    def remove(self) -> None:
        """Remove the file: the sweep is finished."""
        self.path.unlink(missing_ok=True)


def _log_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.log")


def _key(place: Any) -> str:
    return json.dumps(place, sort_keys=True)
