"""The catalogue: what hsisr knows of each data set. Each set has one YAML file beside this module.

Users pass their own sets, and changes to catalogued ones, as `extra`: the `datasets:` section of config.yaml.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import yaml
from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from hsisr.config import Section, check_section
from hsisr.datasets.layout import list_scenes
from hsisr.errors import HsisrError, did_you_mean
from hsisr.limits import LEAST_PLAUSIBLE_NM, MOST_PLAUSIBLE_NM

#: Parts of a split, in the order in which they are listed.
PARTS = ("train", "validation", "test", "unlabelled")

_FOLDER = Path(__file__).parent
_SCENE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _factor(value: Any) -> Any:
    """A factor or the name of a rule. A text such as `1/65535` is exact, and easier to read than 1.5259e-05."""
    if value in _SCALE_RULES:
        return value
    try:
        above, _, below = str(value).partition("/")
        number = float(Fraction(above.strip()) / Fraction(below.strip() or 1))
    except (ValueError, ArithmeticError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"expected a number above 0 such as 1/10000, or {' or '.join(_SCALE_RULES)}")
    return number


def _nanometres(values: tuple[float, ...]) -> tuple[float, ...]:
    """Band centres, after a check of their unit."""
    for value in values:
        if not LEAST_PLAUSIBLE_NM <= value <= MOST_PLAUSIBLE_NM:
            raise ValueError(f"{value:g} is no wavelength in nm; give {LEAST_PLAUSIBLE_NM:g} to {MOST_PLAUSIBLE_NM:g}")
    return values


_ScaleRule = Literal["type_maximum", "scene_maximum"]
_SCALE_RULES = get_args(_ScaleRule)
_Layout = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
_Scale = Annotated[float | _ScaleRule, BeforeValidator(_factor)]
_Wavelengths = Annotated[tuple[float, ...], AfterValidator(_nanometres)]


class RemoteFile(Section):
    """One published file: `name` below the raw folder, mirrors in the order of trial, hash and size if known.

    unpack: whether it is an archive to unpack. A set that must be requested has no urls: a person puts its files into
    the raw folder.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    size_bytes: int | None = Field(None, gt=0)
    unpack: bool = False


class Region(Section):
    """A part of a scene.

    region: (r0, r1, c0, c1) in HR pixels: rows r0..r1-1 and columns c0..c1-1. name: the name of its pair file.
    """

    scene: str
    region: tuple[int, int, int, int]
    name: str | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Region":
        r0, r1, c0, c1 = self.region
        if not (0 <= r0 < r1 and 0 <= c0 < c1):
            raise ValueError(f"region {list(self.region)}: expected first row < end row, first column < end column")
        return self


#: What stands in a part of a split. A tag says which of the two a value is meant to be; errors then speak of this one.
_Member = Annotated[
    Annotated[str, Tag("a name")] | Annotated[Region, Tag("a region")],
    Discriminator(lambda value: "a region" if isinstance(value, (Mapping, Region)) else "a name"),
]


class Split(Section):
    """Which scenes, or regions of scenes, serve for training, validation and test, or without their HR image.

    description: the split in words. unlabelled: scenes that train without their HR image.
    guard_px: least distance in HR pixels between regions of one scene that belong to different parts. tenth: if the
    split names no validation part, whether a tenth of the training scenes validates. With neither, networks train
    with `select: last`.
    """

    description: str = ""
    tenth: bool = True
    guard_px: int = Field(0, ge=0)
    train: tuple[_Member, ...] = ()
    validation: tuple[_Member, ...] = ()
    test: tuple[_Member, ...] = ()
    unlabelled: tuple[_Member, ...] = ()


class Guide(Section):
    """The real sharp image of each scene: its layout, its reader (None: the reader of the scene) and its scale."""

    layout: _Layout
    reader: str | None = None
    reader_options: dict[str, Any] = {}
    scale: _Scale = 1.0
    wavelengths_nm: _Wavelengths | None = None


class Labels(Section):
    """The land-cover map of each scene: its layout, and the names of its classes, counted from 0."""

    layout: _Layout
    names: tuple[str, ...] = ()


class DataSet(Section):
    """One data set: what it is, where its files come from, how they are read, and how it is split.

    title, licence, citation, homepage, notes: texts for users. size: of the download, in words.
    access: `download`, `package` (inside an installed Python package), `request` (after a form or a mail),
        `folder` (the user's own files below `path`).
    instructions: for `request`, what to get and where. install: for `package`, the command that installs it.
    package_folder: the folder of the files in that package.
    hashes: name of a file of SHA-256 sums, by file name, beside the catalogue entry.
    reader: one of `hsisr.datasets.readers.READERS`. reader_options: its options, such as `variable`.
    layout: glob of one scene's files in the published layout. `{scene}` stands for the scene's name. A file matches
        if the end of its path matches. With several globs, the first that matches any file counts.
    scale: value = stored * scale. `type_maximum` divides by the largest number of the stored integer type,
        `scene_maximum` by the largest value of the scene's good bands.
    black_level: the stored value that means 0. Lower values are clipped to it.
    wavelengths_nm: (bands,) band centres, in YAML a list, or `{first, last}` for evenly spaced bands. None: the
        file's own.
    band_steps: changes to the bands at conversion, see `hsisr.datasets.bands.apply`. `bands` counts before them.
    labels: the file of classes, if there is one. scenes: their names, in order.
    splits: the splits by name. default_split: the split that is used if the user names none.
    protocol, response: the degradation protocol and the guide's spectral response, if config names none.
    auxiliary: whether the set holds RGB photographs for the auxiliary task. They train only, and test nothing.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    licence: str
    citation: str
    homepage: str = ""
    size: str = ""
    notes: str = ""

    access: Literal["download", "package", "request", "folder"]
    files: tuple[RemoteFile, ...] = ()
    hashes: str | None = None
    package: str | None = None
    package_folder: str = ""
    install: str = ""
    instructions: str = ""
    path: str | None = None

    reader: str = "auto"
    reader_options: dict[str, Any] = {}
    layout: _Layout
    guide: Guide | None = None
    labels: Labels | None = None

    bands: int | None = Field(None, gt=0)
    wavelengths_nm: _Wavelengths | None = None
    scale: _Scale = 1.0
    black_level: float = Field(0.0, ge=0)
    band_steps: tuple[dict[str, Any], ...] = ()

    scenes: tuple[str, ...] = ()
    protocol: str = "wald"
    response: str | None = None
    auxiliary: bool = False
    default_split: str | None = None
    splits: dict[str, Split] = {}

    @model_validator(mode="before")
    @classmethod
    def _expand_wavelengths(cls, content: Any) -> Any:
        rule = content.get("wavelengths_nm") if isinstance(content, dict) else None
        if isinstance(rule, dict):
            ends, bands = [rule.get("first"), rule.get("last")], content.get("bands")
            numbers = all(isinstance(end, (int, float)) for end in ends) and isinstance(bands, int) and bands > 0
            if set(rule) != {"first", "last"} or not numbers:
                raise ValueError(
                    "wavelengths_nm: a rule needs exactly `first` and `last`, numbers, and `bands` beside it"
                )
            values = np.linspace(rule["first"], rule["last"], content["bands"])
            content = {**content, "wavelengths_nm": tuple(round(float(value), 4) for value in values)}
        return content

    @model_validator(mode="after")
    def _agree(self) -> "DataSet":
        if self.wavelengths_nm is not None and self.bands is not None and len(self.wavelengths_nm) != self.bands:
            raise ValueError(f"wavelengths_nm: {len(self.wavelengths_nm)} values for {self.bands} bands")
        if len(set(self.scenes)) != len(self.scenes):
            raise ValueError("scenes: a name stands twice")
        for scene in self.scenes:
            if not _SCENE_NAME.fullmatch(scene):
                raise ValueError(f"scenes: {scene!r} may hold only letters, digits, _ and -")
        if self.default_split is not None and self.default_split not in self.splits:
            raise ValueError(f"default_split: {self.default_split!r} is not among {sorted(self.splits)}")
        return self

    @property
    def layouts(self) -> tuple[tuple[str, ...], ...]:
        """The layouts of a scene's cube, guide and labels, as far as the data set has them."""
        others = [part.layout for part in (self.guide, self.labels) if part is not None]
        return (self.layout, *others)


def names(extra: Mapping[str, Mapping] | None = None) -> list[str]:
    """Names of all data sets, sorted: the catalogue's (without the model entry `folder`) and those of `extra`.

    Example:

        >>> "cave" in datasets.names()
        True
    """
    return sorted((_catalogued_names() - {"folder"}) | set(extra or {}))


def entry(name: str, extra: Mapping[str, Mapping] | None = None) -> DataSet:
    """The entry of one data set.

    extra: name -> settings, as in the `datasets:` section of config.yaml. For a catalogued name, the settings replace
    single keys of its entry. Any other name is a set of the user's own, made from the entry `folder`. If it lists no
    scenes, hsisr looks for them below its `path`.
    Raises HsisrError for an unknown name, or for settings that make no sense.

    Example:

        >>> datasets.entry("cave").bands
        31
    """
    settings = (extra or {}).get(name)
    if settings is None:
        if name not in _catalogued_names():
            raise HsisrError(
                f"unknown data set {name!r}; {did_you_mean(name, names(extra))}known: {', '.join(names(extra))}; add "
                "your own under `datasets:`"
            )
        return _own_entry(name)
    where = f"datasets.{name}"
    if name in _catalogued_names():
        return check_section(DataSet, {**_load(name), **settings}, where)
    return _own(name, {**_load("folder"), "title": name, **settings, "name": name}, where)


def _own(name: str, content: dict, where: str) -> DataSet:
    """Entry of a user's own set. Finds its scenes, and makes the first of its splits the default."""
    if not content.get("path"):
        raise HsisrError(f"{where}: needs `path`, the folder that holds the scenes")
    own = check_section(DataSet, content, where)
    if own.splits and not own.default_split:
        content["default_split"] = next(iter(own.splits))
    if not own.scenes:
        named = "{scene}" in "".join(own.layout)
        others = [pattern for layout in own.layouts[1:] for pattern in layout]
        guessed = list(own.layout) == _load("folder")["layout"] and not own.splits
        content["scenes"] = list_scenes(own.path or "", own.layout, others, guessed) if named else (name,)
    return check_section(DataSet, content, where)


def _catalogued_names() -> set[str]:
    return {path.stem for path in _FOLDER.glob("*.yaml")}


@cache
def _own_entry(name: str) -> DataSet:
    return check_section(DataSet, _load(name), f"catalogue entry {name}")


@cache
def _load(name: str) -> dict:
    return {"name": name, **yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))}
