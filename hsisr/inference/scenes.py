"""Super-resolving a scene on the disk by tiles. A stopped run resumes, and memory does not grow with the scene."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

import hsisr
from hsisr.config import SceneOptions, checked_options
from hsisr.datasets import picture, writers
from hsisr.datasets.readers.images import gdal_cache
from hsisr.datasets.stacking import have_georeference
from hsisr.degrade.displacement import MODELS
from hsisr.devices import choose_device
from hsisr.errors import HsisrError, notice, option, percent
from hsisr.files import settings_hash, size
from hsisr.inference import align, guide, plan, run, suitability
from hsisr.inference import uncertainty as uncertainties
from hsisr.inference.feed import Feed
from hsisr.inference.images import Source, chosen_bands, stacked_sources
from hsisr.inference.learning import learn_scene
from hsisr.inference.maps import check_mappable, map_files, write_guided, write_maps
from hsisr.inference.own_detail import OwnDetail
from hsisr.inference.progress import Progress, Watched
from hsisr.inference.result import Estimates, result_scene
from hsisr.inference.staging import Staging
from hsisr.inference.tiles import Tiling
from hsisr.models.apply import Method, open_method
from hsisr.models.shipped import MADE, NAMED
from hsisr.outputs import check_outputs
from hsisr.scene import Scene
from hsisr.screen import say
from hsisr.system import return_freed_memory

#: GDAL's cache, in bytes, for files that it reads or writes. Its own default grows with the machine's memory.
_GDAL_CACHE = 32 * 2**20
#: Time to read a result back and to add overviews, divided by the time to write its rows.
_AFTER_WRITING = 1.0
#: Tags that distinguish a file of standard deviations from a result.
_SAID = {"HSISR_CONTENT": "standard deviation"}


class Options(SceneOptions):
    """Options for super-resolving a scene. By default, hsisr chooses.

    scale: HR over LR size, if neither the model nor the guide states it. tile, halo: LR pixels. memory: bytes for the
    work on one tile, or a text such as 2G; None: a quarter of the free memory. device: auto, cpu, cuda, `cuda:<index>`,
    or several with commas, which share the tile rows. precision: 32, bf16 or fp16. exact: the whole scene at once,
    without tiles. align: reproject or resample the guide onto the LR image's grid. correct_shift: move the guide by the
    measured displacement: True or `shift`, `affine`, or `field`, a smooth displacement. mask_change: leave out the
    guide's detail where it shows other ground, and even out haze and shadow.
    keep_light: leave smooth differences of light between guide and LR image as they are. grid: `lr`, or `guide`: the
    result lies where a guide lies that is off (correct_shift `affine` or `field`), which is then not resampled. peak,
    guide_peak: values that the model sees as 1. bands, guide_bands: to use, from 0, numbers or a text such as
    0-30,40; the result has these bands. read, read_guide: options of the readers (`variable`, `axes`, `nodata`, ...).
    format: of the output, if its ending does not choose it.
    Raises HsisrError for a value that is not allowed.
    """

    def __init__(self, **values: Any) -> None:
        super().__init__(**checked_options(SceneOptions, values))


#: Takes a warning for the user, one line.
Note = Callable[[str], None]
#: Writes a file about a result, from the method's images, the result and its standard deviations (or None).
Page = Callable[[Feed, Scene, Scene | None], None]


def super_resolve_file(
    lr: str | os.PathLike,
    guide: str | os.PathLike | Sequence[str | os.PathLike] | None,
    model: str | os.PathLike,
    out: str | os.PathLike,
    options: Options | None = None,
    preview: str | os.PathLike | None = None,
    overwrite: bool = False,
    maps: str | os.PathLike | None = None,
    pages: Mapping[Path, Page] | None = None,
    uncertainty: str | os.PathLike | None = None,
) -> Path:
    """Super-resolve a scene file to `out`. Returns the path of the result's data.

    lr, guide: any file that `read_scene` reads. A scene file with its own guide needs no other. Several guides on one
    grid are stacked. model: a run folder, a model file, or an untrained method such as bicubic.
    options: how the files are read and the result is written; None: the defaults. preview: also write this PNG or JPEG.
    overwrite: whether existing outputs are replaced; inputs never are. maps: a folder for maps and numbers of the
    measured displacement, light and change; None: no maps. pages: further files, each with a function that writes it
    from the method's images and the result, such as `hsisr.report.quality.writer`. uncertainty: a file for the standard
    deviation of every sample, in the result's values and float32, for methods that compute it; None: no file.
    After any stop, the same command resumes at the first missing tile row.
    Raises HsisrError for inputs that cannot be read or do not fit together, for outputs that may not be written, and
    for a full disk.
    """
    out, options = Path(out), options or Options()
    outs = [*writers.written_files(out, options.format), *([] if preview is None else [preview]), *(pages or ())]
    outs += [] if maps is None else map_files(maps, uncertainty is not None)
    outs += [] if uncertainty is None else writers.written_files(uncertainty)
    check_outputs(outs, [lr, *list_guides(guide), model_file(model)], overwrite or run.is_unfinished(out))
    if preview is not None:
        picture.check_ending(preview)
    wanted = maps is not None, uncertainty is not None
    with environment(), run.work_folder(out) as folder:
        prepared, chosen, staging = begin(lr, guide, model, options, outs, overwrite, folder, *wanted)
        result = prepared.result(staging, str(model))
        writers.check_writable(result, out, options.format)
        said = None
        if uncertainty is not None:  # refuse a format that cannot hold it before the computation
            said = uncertainties.sigma_scene(result, prepared.feed.lr.good, staging, _SAID)
            writers.check_writable(said, uncertainty)
        _announce(prepared, chosen, staging, result, out)
        compute(prepared, staging, ahead=chosen.ahead(prepared.feed))
        prepared.inputs.check_unchanged()
        run.begin_outputs(folder, outs, overwrite)
        deviations = None
        if uncertainty is not None:
            deviations = uncertainties.compute(
                uncertainties.Uncertainty.of(prepared.feed, staging), staging.tiling, folder, Path(uncertainty)
            )
        prepared = replace(prepared, feed=replace(prepared.feed, learnt=None))  # takes much of a large scene's memory
        return_freed_memory()
        if uncertainty is not None and deviations is not None:
            said = uncertainties.sigma_scene(result, prepared.feed.lr.good, deviations, _SAID)
            _write(said, Path(uncertainty), None)
        path = _write(result, out, options.format)
        if line := result.stored.cut:
            notice(f"{path.name}: {line}")
        if preview is not None:
            from hsisr.inference.preview import write_preview

            write_preview(preview, prepared.feed, result)
        if maps is not None:
            write_maps(maps, prepared.feed)
            if deviations is not None:
                write_guided(maps, uncertainties.share_scene(result, prepared.feed.lr.shape[0], deviations))
        for write in (pages or {}).values():
            write(prepared.feed, result, said)
        return path


def check_comparable(options: Options, command: str) -> None:
    """Raise HsisrError for a command that compares pixels with the LR image's, if they lie on the guide's grid."""
    if options.grid == "guide":
        raise HsisrError(
            f"{command}: compares pixels with those of the LR image, on its grid; leave out {option('grid')}"
        )


def environment() -> AbstractContextManager:
    """GDAL's settings while a scene is read and written."""
    return gdal_cache(_GDAL_CACHE)


def begin(
    lr: Any,
    guide: Any,
    model: Any,
    options: Options,
    outs: Sequence[str | os.PathLike],
    overwrite: bool,
    folder: Path,
    maps: bool = False,
    uncertainty: bool = False,
    part: str = "",
) -> tuple["Prepared", plan.Plan, Staging]:
    """Open the images, learn the scene, and plan the run in its folder, or find its plan.

    outs: files to be written. maps: whether maps of displacement and change are wanted. uncertainty: whether standard
    deviations are wanted. part: the part that this process makes, if several share the run. Raises HsisrError as
    `super_resolve_file`.
    """
    low, sharp, inputs = _opened(lr, guide, model, options, notice)
    aligned = folder / f"part-{part}" if part else folder  # several processes write this name at the same time
    aligned.mkdir(exist_ok=True)
    prepared = prepare(low, sharp, open_methods(model, low, sharp, options), options, guide is not None, aligned)
    prepared = replace(prepared, inputs=inputs)
    if maps:
        check_mappable(prepared.feed)
    if uncertainty:
        uncertainties.check_tells(prepared.methods[0], low, notice)
    identity = _identity(inputs, prepared.methods[0], options)
    run.check_own(folder, identity, outs, overwrite)
    planned = _plan(prepared, identity, folder, options)
    if overwrite:
        run.own(folder, [out for out in outs if os.path.lexists(out)])
    return planned


def identity_of(lr: Any, guide: Any, model: Any, options: Options) -> dict[str, Any]:
    """What identifies the run of a scene, as plain values: its images, model and options, and hsisr's code.

    Opens the images and the model, without lines for the user. Raises HsisrError as `super_resolve_file`.
    """
    low, sharp, inputs = _opened(lr, guide, model, options, _ignore)
    return _identity(inputs, open_methods(model, low, sharp, replace(options, device="cpu"), _ignore)[0], options)


def _opened(lr: Any, guide: Any, model: Any, options: Options, note: Note) -> tuple[Source, Source | None, run.Inputs]:
    """The LR image, the guide without channels that the model would not use (or None), and their states as opened."""
    low, sharp = open_images(lr, guide, options, note)
    inputs = run.Inputs.of((lr, low.scene.files), (guide, () if sharp is None else sharp.scene.files))
    return low, with_channels_that_vary(sharp, model, note), inputs


def _identity(inputs: run.Inputs, method: Method, options: Options) -> dict[str, Any]:
    return {
        "version": hsisr.__version__,
        "code": run.code_of(method.metadata.get("base")),
        "inputs": inputs.states,
        "model": method.sha256 or method.name,
        "options": asdict(options),
    }


def _ignore(line: str) -> None:
    """Takes a line that the run itself tells."""


@dataclass(frozen=True)
class Prepared:
    """The objects of a run: one feed, a method for each device, and its images as they were when it opened them."""

    feed: Feed
    methods: tuple[Method, ...]
    inputs: run.Inputs = run.Inputs()

    @property
    def scale(self) -> int:
        """HR over LR size."""
        return self.methods[0].scale

    def result(self, estimates: Estimates, model: str) -> Scene:
        """The result as a lazy scene (`result_scene`); model: as the user named it."""
        feed = self.feed
        place = None if feed.way is None or feed.guide is None else feed.guide.place
        return result_scene(feed.lr, estimates, self.scale, self.origin(model), feed.may_lack_pixels, feed.way, place)

    def origin(self, model: str) -> dict[str, str]:
        """Provenance tags of the result."""
        method, feed = self.methods[0], self.feed
        tags = {"HSISR_MODEL": model if method.sha256 is None else method.name, "HSISR_SCALE": str(method.scale)}
        if method.sha256 is not None:
            tags["HSISR_MODEL_SHA256"] = method.sha256
        tags["HSISR_LR"] = feed.lr.label
        if feed.guide is not None and method.needs_guide:
            tags["HSISR_GUIDE"] = feed.guide.source.label
            if any(feed.guide.shift_px):
                tags["HSISR_GUIDE_SHIFT_PX"] = ", ".join(f"{shift:.3f}" for shift in feed.guide.shift_px)
            if feed.guide.displacement is not None:
                tags["HSISR_GUIDE_DISPLACEMENT_RMS_PX"] = f"{feed.guide.displacement.rms_px:.3f}"
            if feed.way is not None:
                tags["HSISR_GRID"] = "guide"
            if feed.guide.light is not None:
                tags["HSISR_GUIDE_LIGHT"] = f"{feed.guide.light.largest:.4f}"
            if feed.guide.own is not None:
                tags["HSISR_CHANGED"] = f"{feed.guide.own.change.share:.4f}"
        return tags


def prepare(
    low: Source,
    sharp: Source | None,
    methods: tuple[Method, ...],
    options: Options,
    guide_given: bool,
    folder: Path | None = None,
    note: Note = notice,
) -> Prepared:
    """Check that images and method fit together, bring the guide onto the grid, and note faults.

    sharp: the guide, or None. guide_given: whether the user named the guide; else it comes from the scene's file.
    folder: for files of the alignment; without one, the guide is not aligned. note: gets each warning, a line.
    Raises HsisrError if they do not fit at all.
    """
    check_grid(options, methods[0])
    found = None
    if sharp is not None and methods[0].needs_guide:
        found = on_grid(low, sharp, methods[0], options, folder, note)
        _check_holes(low, found, methods[0].scale, options.mask_change, note)
    elif sharp is not None and guide_given:
        note(f"{methods[0].name} uses no guide; {sharp.label} is not read")
    if found is None:
        check_guide_options(methods[0].name, options, sharp is not None)
    feed = make_feed(methods[0], low, found, options, note)
    if options.grid == "guide" and found is not None and found.displacement is not None:
        feed = replace(feed, way=found.displacement.inverse())
    return Prepared(feed, methods)


def check_grid(options: Options, method: Method) -> None:
    """Raise HsisrError for the guide's grid, if no displacement is to be measured, or the method cannot make it."""
    if options.grid == "lr":
        return
    given = option("grid", repr(options.grid))
    if options.correct_shift not in MODELS:
        raise HsisrError(
            f"{given}: is of a guide that lies off; also give {option('correct_shift')} as {' or '.join(MODELS)}"
        )
    if not method.works_anywhere:
        raise HsisrError(
            f"{given}: {method.name} makes pixels of the LR image's grid only; prior and hybrid make the guide's"
        )


def check_guide_options(model: str, options: Options, given: bool) -> None:
    """Raise HsisrError for an option on guides, with its name, if the model uses no guide.

    given: whether there is one nevertheless, which some options describe.
    """
    for name in (
        "align",
        "correct_shift",
        "mask_change",
        "keep_light",
        *(() if given else ("guide_peak", "guide_bands", "read_guide")),
    ):
        if value := getattr(options, name):
            said = option(name, value if value is True else repr(value))
            raise HsisrError(f"{said}: there is no guide that {model} would use; give one, or leave the option out")


def with_channels_that_vary(sharp: Source | None, model: Any, note: Note = notice) -> Source | None:
    """The guide without blank channels, for methods that take any guide; a line names channels that are left out."""
    return guide.drop_constant_channels(sharp, note) if sharp is not None and is_untrained(model) else sharp


def open_images(lr: Any, guide_path: Any, options: Options, note: Note = notice) -> tuple[Source, Source | None]:
    """The LR image and its guide (or None), opened lazily, with the bands that the user chose."""
    whole = Source.of(lr, "LR image", options.read)
    low = chosen_bands(whole, options.bands)
    if guide_path is None:
        sharp, label = [whole.scene.guide], f"{whole.label} (its guide)"
    else:
        sharp, label = list_guides(guide_path), "guide"
    if sharp[0] is None:
        return low, None
    sources = [Source.of(image, label, options.read_guide) for image in sharp]
    return guide.in_one_crs(low, chosen_bands(stacked_sources(sources), options.guide_bands), note)


def make_feed(method: Method, lr: Source, sharp: guide.Guide | None, options: Options, note: Note = notice) -> Feed:
    """A method with its images, after a check against the images of its training."""
    from hsisr.models.registry import Classical

    trained, untrained = method.metadata, isinstance(method.model, Classical)
    given, known, reached = options.peak, trained.get("peak"), trained.get("reach")
    peak, line = suitability.peak_of(lr, given, known, reached, untrained=untrained)
    lines = [lr.incomplete, lr.outliers, _lost_place(lr), line, *suitability.check_bands(method, lr)]
    guide_peak = 1.0
    if sharp is not None:
        given, known, reached = options.guide_peak, trained.get("guide_peak"), trained.get("guide_reach")
        guide_peak, line = suitability.peak_of(sharp.source, given, known, reached, "guide_peak", untrained)
        lines += [sharp.source.incomplete, sharp.source.outliers, line, suitability.check_guide(method, sharp.source)]
        if not untrained:
            lines.append(suitability.check_flat(method, sharp.source))
    for line in filter(None, lines):
        note(line)
    footprint = None
    if sharp is not None and method.takes_sensor:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            footprint = align.measure_footprint(lr, sharp, method.scale)
        for warning in found:
            note(f"{lr.label}: {warning.message}")
    return Feed(method, lr, sharp, peak, guide_peak, options.memory if options.exact else None, footprint)


def _lost_place(lr: Source) -> str | None:
    unused = lr.scene.provenance.get("georeference")
    return f"{lr.label}: says where it lies by {unused}, which the result does not keep" if unused else None


def is_untrained(model: Any) -> bool:
    """Whether `model` names a method that takes any guide, not a network trained with one."""
    return is_name(model) and str(model) not in NAMED


def is_name(model: Any) -> bool:
    """Whether `model` is a name that hsisr knows, not a file. A name does not state the scale."""
    from hsisr.models import registry

    return str(model) in registry.names() and not Path(model).exists()


def model_file(model: Any) -> Path | None:
    """The model file of a name; None if it is not a file."""
    path = Path(model)
    file = path / "model.safetensors" if path.is_dir() else path
    return file if file.is_file() else None


def list_guides(guide: Any) -> list[Any]:
    """The guides that the user names, one or several, as a list."""
    return list(guide) if isinstance(guide, (list, tuple)) else [guide]


def open_methods(
    model: Any, low: Source, sharp: Source | None, options: Options, tell: Note = say
) -> tuple[Method, ...]:
    """The method that the user names, once for each device. Errors as `open_method` and `choose_device`.

    tell: gets a line on weights that may not suit the images.
    """
    channels = 0 if sharp is None else sharp.shape[0]
    scale = options.scale
    if is_name(model) and scale is None and sharp is not None:
        scale = guide.scale_between(low, sharp, options.align)
    words = [name.strip() for name in options.device.split(",")]
    if is_untrained(model):  # it computes on the CPU: to find a GPU would load torch, and keep the GPU from others
        words = ["cpu" if word == "auto" else word for word in words]
    devices = [word if word == "cpu" else str(choose_device(word)) for word in words]
    methods = tuple(open_method(model, scale, channels, device, options.precision) for device in devices)
    if is_name(model) and str(model) == MADE:
        tell(f"model: {MADE}, taught by CAVE; on images of other cameras prior may be better")
    return methods


def on_grid(
    low: Source, sharp: Source, method: Method, options: Options, folder: Path | None, note: Note = notice
) -> guide.Guide:
    """`lay`, in even light, and moved by the measured displacement and without changed ground, if the user wants it."""
    found = lay(low, sharp, method, options, folder, note)
    if not options.keep_light:
        found = replace(found, light=align.measure_light(low, found, method.scale))
    found = move(low, found, method.scale, options, note)
    if found.lies_elsewhere and not options.keep_light:  # what lay off disturbed the measurement
        found = replace(found, light=align.measure_light(low, replace(found, light=None), method.scale))
    if found.light is not None:
        note(
            f"{found.source.label}: its light differs from that of {low.label}, slowly from place to place, by up to "
            f"{percent(found.light.largest)}; it is evened out; {option('keep_light', True)} leaves it as it is"
        )
    return _without_change(low, found, method.scale) if options.mask_change else found


def lay(
    low: Source, sharp: Source, method: Method, options: Options, folder: Path | None, note: Note = notice
) -> guide.Guide:
    """The guide on the LR image's grid, aligned if the user wants it; with a warning if it does not fit well.

    folder: for files of the alignment; None: it is not aligned. Raises HsisrError as `guide.fit`.
    """
    scale = method.scale
    known = [image for image in (low, sharp) if image.scene.transform is not None]
    if known and not have_georeference(low.scene, sharp.scene):
        lacking = min((low, sharp), key=lambda image: (image.scene.transform is not None, image.scene.crs is not None))
        note(f"{lacking.label}: has no georeference; the two images are taken to cover the same ground")
    if options.align and folder is not None:
        return align.resample(low, sharp, scale, folder)
    found = guide.fit(low, sharp, scale)
    if found.coverage < 1 and not options.mask_change:
        note(
            f"{sharp.label}: covers {found.coverage:.1%} of the ground of {low.label}; the rest of the result has no "
            "data"
        )
    return found


def _check_holes(low: Source, found: guide.Guide, scale: int, masked: bool, note: Note) -> None:
    """Tell the part of the ground on which the guide has no data, for instance under its clouds.

    The result has none there either, or is that of the LR image alone. masked: whether the LR image replaces the guide
    there. Raises HsisrError if no pixel has data in both images.
    """
    if not (_may_have_holes(found.source) or (found.coverage < 1 and (masked or _may_have_holes(low)))):
        return
    lacking = align.share_without_data(low, found, scale)
    if lacking == 1 and not align.have_common_data(low, found, scale):
        raise HsisrError(
            f"{found.source.label}: has no data on any pixel where {low.label} has, so that it tells nothing of it; "
            "give a guide with data there, or super-resolve without one"
        )
    if lacking and masked:
        say(
            f"{found.source.label}: has no data on {percent(lacking)} of the ground of {low.label}; there the result "
            "is the LR image alone"
        )
    elif lacking and found.coverage == 1:
        note(
            f"{found.source.label}: has no data on {percent(lacking)} of the ground of {low.label}, and so has the "
            f"result; {option('mask_change', True)} makes it of the LR image alone there"
        )


def _may_have_holes(image: Source) -> bool:
    return image.scene.mask is not None or image.scene.nodata is not None


def move(low: Source, found: guide.Guide, scale: int, options: Options, note: Note = notice) -> guide.Guide:
    """The guide, moved by the measured displacement if the user wants it; else a line on the displacement."""
    label = found.source.label
    offset = align.measure(low, found, scale)
    if options.correct_shift in MODELS:
        displacement = align.measure_displacement(low, found, scale, str(options.correct_shift))
        evident = displacement is not None and displacement.is_evident
        moved = found.displace(displacement if evident else None)
        after = align.measure(low, moved, scale) if evident else None
        if evident and not align.is_worse(after, offset):
            kept = "stays, and the LR image is moved" if options.grid == "guide" else "moved"
            say(f"{label}: {kept} by the measured {options.correct_shift}, {displacement}")
            _tell_unexplained(low, moved, after, scale, options, note)
            return moved
    if offset is None or not offset.trusted or offset.lr_px <= align.WORTH_CORRECTING_LR_PX:
        if options.correct_shift in MODELS:
            say(f"{label}: no displacement is evident; it stays where it lies")
        _tell_unexplained(low, found, offset, scale, options, note)
        return found
    if options.correct_shift:
        why = f"no {options.correct_shift} is evident; " if options.correct_shift in MODELS else ""
        where = "; the result lies where the LR image lies" if options.grid == "guide" else ""
        say(f"{label}: {why}moved by the measured shift, {offset}{where}")
        moved = found.move(offset.shift_px)
        _tell_unexplained(low, moved, align.measure(low, moved, scale), scale, options, note)
        return moved
    # edges that lie off look like change: it is told once they lie well
    note(
        f"{label}: {low.label} lies {offset} off it; --correct-shift moves the guide by that "
        "(in Python correct_shift=True)"
    )
    return found


def _tell_unexplained(
    low: Source, found: guide.Guide, offset: align.Offset | None, scale: int, options: Options, note: Note
) -> None:
    """Tell why a guide, which is not shifted, shows something else than the LR image, if it does.

    offset: as measured.
    """
    label = found.source.label
    if offset is None:
        return
    if offset.changed:
        if not options.mask_change:
            note(
                f"{label}: shows other ground or light than {low.label} on {percent(offset.changed)} of the place "
                f"where they were compared; {option('mask_change', True)} leaves its detail out there"
            )
    elif options.correct_shift not in MODELS and (field := align.find_field(low, found, scale, offset)):
        note(
            f"{label}: lies off {low.label} from place to place, by up to {field.largest_px / scale:.2f} pixels of the "
            "LR image; --correct-shift field moves it back (in Python correct_shift='field')"
        )
    elif offset.unexplained > align.UNCLEAR:
        note(
            f"{label}: {percent(offset.unexplained)} of what it shows is not what {low.label} shows there; it may lie "
            "off, or show other ground or light, and the result may be worse than without it"
        )


def _without_change(low: Source, found: guide.Guide, scale: int) -> guide.Guide:
    """The guide with a stand-in wherever it shows other ground than the LR image, or has no data."""
    change = align.find_change(low, found, scale)
    say(f"{found.source.label}: {change.share:.1%} of the ground has changed; its detail is left out there")
    if change.exposures:
        share = change.exposed.mean()
        say(f"{found.source.label}: {share:.1%} of the ground has another exposure, which is evened out")
    return replace(found, own=OwnDetail(low, change, scale))


def _plan(
    prepared: Prepared, identity: dict[str, Any], folder: Path, options: Options
) -> tuple[Prepared, plan.Plan, Staging]:
    """The facts learnt of the scene, and the run's tiles: those of the resumed run, or new ones."""
    known = run.find_plan(folder, identity)
    memory = plan.chosen_memory(prepared.feed, options.memory, notice) if known is None else 0
    feed = learn_scene(prepared.feed, folder, settings_hash(identity))
    if known is None:
        chosen = plan.make(feed, memory, options.tile, options.halo, options.exact, notice)
        run.record(folder, identity, asdict(chosen))
    else:
        chosen = _kept_plan(known, feed, folder)
    return replace(prepared, feed=feed), chosen, Staging(folder, chosen.tiling, feed.lr.shape[0], feed.method.scale)


def _kept_plan(known: dict[str, Any], feed: Feed, folder: Path) -> plan.Plan:
    """The plan kept in a run's folder. Raises HsisrError if it is damaged."""
    with suppress(ValidationError, HsisrError):
        chosen: plan.Plan = TypeAdapter(plan.Plan).validate_python(known)
        if (chosen.tiling.height, chosen.tiling.width) == feed.lr.shape[1:]:
            return chosen
    raise HsisrError(f"{folder}: damaged plan of a run that was stopped; delete that folder")


def _announce(prepared: Prepared, chosen: plan.Plan, staging: Staging, result: Scene, out: Path) -> None:
    """Tell the user what will be done and what it needs, and check the disk space."""
    feed, tiling = prepared.feed, staging.tiling
    rows = len(tiling.rows)
    done = sum(staging.is_finished(row) for row in range(rows))
    out_bytes = int(np.prod(result.shape, dtype=object)) * np.dtype(result.stored.dtype).itemsize
    needed = plan.check_disk(staging, out, out_bytes)
    bands, height, width = result.shape
    guided = f", guide {feed.guide.source.label}" if feed.guide is not None else ""
    say(f"{feed.lr.label}{guided}: {feed.method.name} x{prepared.scale} to {height} x {width} pixels, {bands} bands")
    count = chosen.tiles
    tiles = f"{count} tiles of {tiling.tile} LR pixels, halo {tiling.halo}" if count > 1 else "one tile"
    if chosen.error:
        tiles += f" (measured error {chosen.error:.0e} of the scene's range)"
    left = chosen.seconds * ((rows - done) / rows + chosen.ahead(feed)) / len(prepared.methods)
    say(f"{tiles}; about {plan.duration(left)}, {size(needed)} of disk while it works")
    if done:
        say(f"resumes: {done} of {rows} tile rows are done")


def _write(result: Scene, out: Path, format: str | None) -> Path:
    """Write the result or its deviations, and say how far it is written. Returns the path of the data."""
    rows = result.shape[1]
    with Progress(rows, 0, "row", _AFTER_WRITING, f"writing {out.name}", short=False) as progress:
        return writers.export(replace(result, stored=Watched(result.stored, progress.advance)), out, format)


def compute(prepared: Prepared, staging: Staging, rows: range | None = None, ahead: float = 0.0) -> None:
    """Make the missing tile rows. Several devices share them.

    rows: those to make; None: all. ahead: time for the work after the tiles, divided by the time for all tiles.
    """
    columns = len(staging.tiling.columns)
    rows = range(len(staging.tiling.rows)) if rows is None else rows
    missing = [row for row in rows if not staging.is_finished(row)]
    with Progress(len(rows) * columns, (len(rows) - len(missing)) * columns, ahead=ahead) as progress:
        feeds = [replace(prepared.feed, method=method) for method in prepared.methods]
        shares = [missing[k :: len(feeds)] for k in range(len(feeds))]
        stopped = Event()

        def advance() -> None:
            if stopped.is_set():
                raise CancelledError
            progress.advance()

        def work(feed: Feed, share: Sequence[int]) -> None:
            for row in share:
                staging.write_row(row, _tiles(feed, staging.tiling, row, advance))

        if len(feeds) == 1:
            work(feeds[0], missing)
            return
        with ThreadPoolExecutor(len(feeds)) as pool:
            sharing = [pool.submit(work, *both) for both in zip(feeds, shares, strict=True)]
            try:
                ended = wait(sharing, return_when=FIRST_EXCEPTION).done
            finally:
                stopped.set()  # after an error or a signal, each device ends after its tile
            for device in ended:
                device.result()


def _tiles(feed: Feed, tiling: Tiling, row: int, done: Callable[[], None]) -> Iterator[np.ndarray]:
    """Results of a tile row, from left to right: (bands, kept rows, kept columns) of HR pixels."""
    scale, span = feed.method.scale, tiling.rows[row]
    for column in tiling.columns:
        estimate, _ = feed(span.window, column.window)
        inside = [slice(part.inside.start * scale, part.inside.stop * scale) for part in (span, column)]
        yield estimate[:, *inside]
        del estimate
        return_freed_memory()  # memory fragments pile up over many tiles
        done()
