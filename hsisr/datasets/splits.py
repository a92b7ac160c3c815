"""Splits: which scenes, or regions of scenes, train, validate and test. Overlaps are found before anything is made.

A published split without a validation part gives up a tenth of its training scenes for it, at least one. Of n scenes in
the split's order, k = max(1, round(n / 10)) validate: those at positions floor((i + 1/2) n / k), i = 0 .. k-1. The
user's choice of scenes comes first, so the tenth comes from the scenes in use. A split with `tenth: false` keeps all.
A user's set without a split tests on its last fifth; a set of one scene is split by regions.

Every set of several scenes also has the split `eighty`: 80 % of the scenes, drawn by a seed, train, as MulSR's authors
split. `eighty-1`, `eighty-2` and so on are other draws. The scenes are those of the set's own split, if it has one.

A cross-validation deals all scenes of a split into folds, except the unlabelled ones.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hsisr.datasets.catalogue import PARTS, DataSet, Region, Split, entry
from hsisr.errors import HsisrError, did_you_mean
from hsisr.files import natural_key, stamp, write_json

#: Sizes of regions made by `region_split` are multiples of this, so every usual scale divides them.
REGION_MULTIPLE_PX = 16


@dataclass(frozen=True)
class Item:
    """One image of a split: the whole scene, or its region (r0, r1, c0, c1) in HR pixels, end excluded.

    name: the name of the item's pair file, unique over all parts.
    """

    name: str
    scene: str
    region: tuple[int, int, int, int] | None = None


def parts(
    name: str,
    scenes: Sequence[str] | None = None,
    split: str | None = None,
    extra: Mapping[str, Mapping] | None = None,
    guard_px: int | None = None,
) -> dict[str, list[Item]]:
    """The items of each part of a data set, by part: train, validation, test, unlabelled (in this order, all present).

    name: of the data set. scenes: use only these. split: name of one of the data set's splits; None: its default.
    extra: see `entry`. guard_px: least distance in HR pixels between regions of one scene that belong to different
    parts, for instance the diameter of the blur in use; None: as the split declares.
    Raises HsisrError for names that do not exist, for parts that overlap or come too near, and if no training or no
    test scene is left (auxiliary RGB sets need no test).

    Example:

        >>> {part: len(items) for part, items in datasets.parts("cave").items() if items}
        {'train': 18, 'validation': 2, 'test': 12}
    """
    data_set = entry(name, extra)
    _, chosen = _chosen_split(data_set, split, scenes)
    items = {part: [_item(source, part) for source in getattr(chosen, part)] for part in PARTS}
    items = _restrict(data_set, items, scenes)
    if chosen.tenth and not items["validation"] and not data_set.auxiliary:
        items["train"], items["validation"] = _tenth(name, items["train"])
    needed = ("train",) if data_set.auxiliary else ("train", "test")
    for part in needed:
        if not items[part]:
            why = "its split has" if scenes is None else f"scenes: {sorted(scenes)} leaves"
            raise HsisrError(f"{name}: {why} no {part} scene; add one")
    check_parts(name, items, chosen.guard_px if guard_px is None else guard_px)
    return items


def fold(
    name: str,
    number: int,
    count: int,
    seed: int = 0,
    scenes: Sequence[str] | None = None,
    split: str | None = None,
    extra: Mapping[str, Mapping] | None = None,
) -> dict[str, list[Item]]:
    """The items of each part in one fold of a cross-validation, as `parts` gives them.

    name: of the data set. number: of the fold, from 1. count: of folds. seed: it deals the items of train, validation
    and test into folds. Each fold tests once; of the other items, a tenth validates. scenes, split, extra: as for
    `parts`. Raises HsisrError as `parts`, for a number that is no fold, and if a fold would have
    nothing to train or validate on.

    Example:

        >>> {part: len(items) for part, items in datasets.fold("cave", 1, 4).items() if items}
        {'train': 22, 'validation': 2, 'test': 8}
    """
    if not 1 <= number <= count:
        raise HsisrError(f"{name}: there is no fold {number} of {count}; folds are counted from 1")
    data_set = entry(name, extra)
    _, chosen = _chosen_split(data_set, split, scenes)
    whole = parts(name, scenes, split, extra)
    pool = sorted((item for part in _DEALT for item in whole[part]), key=lambda item: natural_key(item.name))
    if len(pool) < max(count, 3):
        raise HsisrError(
            f"{name}: {count} folds need at least {max(count, 3)} scenes or regions, and its split has {len(pool)}; "
            "choose fewer folds, or add scenes"
        )
    drawn = sorted(pool, key=lambda item: hashlib.sha256(f"{seed} {item.name}".encode()).digest())
    tested = set(drawn[number - 1 :: count])
    validation: list[Item] = []
    train = [item for item in pool if item not in tested]
    if chosen.tenth:
        train, validation = _tenth(name, train)
    test = [item for item in pool if item in tested]
    items = {"train": train, "validation": validation, "test": test, "unlabelled": whole["unlabelled"]}
    check_parts(name, items, chosen.guard_px)
    return items


def split(
    name: str,
    out_path: str | os.PathLike,
    scenes: Sequence[str] | None = None,
    split: str | None = None,
    extra: Mapping[str, Mapping] | None = None,
    settings: Any = None,
) -> dict:
    """Write the parts of a data set (see `parts`) as JSON and return them.

    name, scenes, split, extra: as for `parts`. out_path: of the JSON file. settings: the values behind the file's
    config hash. Raises HsisrError as `parts`.
    """
    data_set = entry(name, extra)
    chosen_name, chosen = _chosen_split(data_set, split, scenes)
    items = parts(name, scenes, split, extra=extra)
    content = {
        **stamp("split", settings),
        "dataset": name,
        "split": chosen_name,
        "description": chosen.description,
        "guard_px": chosen.guard_px,
        "parts": {part: [asdict(item) for item in members] for part, members in items.items()},
    }
    write_json(out_path, content)
    return content


def region_split(scene: str, height: int, width: int, guard_px: int = REGION_MULTIPLE_PX) -> Split:
    """Split one scene of height x width pixels. The left 3/5 train; of the right part, the upper 2/3 test and the rest
    validates. guard_px: distance between the regions. Sizes are cut to multiples of 16 pixels.

    Raises HsisrError if the scene is too small for three regions.
    """
    multiple = REGION_MULTIPLE_PX
    rows, columns = height // multiple * multiple, width // multiple * multiple
    train = round(columns * 0.6 / multiple) * multiple
    right = train + -(-guard_px // multiple) * multiple
    below = -(-guard_px // multiple) * multiple
    test = round((rows - below) * 2 / 3 / multiple) * multiple
    if train <= 0 or right >= columns or test <= 0 or test + below >= rows:
        raise HsisrError(
            f"scene {scene}: {height} x {width} pixels are too few for three regions {guard_px} pixels apart; "
            "give more scenes or regions of your own under splits"
        )
    return Split(
        description=f"left part trains, upper right tests, lower right validates; {guard_px} pixels between them",
        guard_px=guard_px,
        train=(Region(scene=scene, region=(0, rows, 0, train)),),
        validation=(Region(scene=scene, region=(test + below, rows, right, columns)),),
        test=(Region(scene=scene, region=(0, test, right, columns)),),
    )


def check_parts(name: str, items: Mapping[str, Sequence[Item]], guard_px: int = 0) -> None:
    """Raise HsisrError if an item name stands twice, or if two parts overlap or come nearer than guard_px."""
    listed = [(part, item) for part, members in items.items() for item in members]
    seen: dict[str, tuple[str, Item]] = {}
    for part, item in listed:
        first, other = seen.setdefault(item.name, (part, item))
        if other == item and first != part:
            raise HsisrError(f"{name}: {item.name!r} stands in {first} and in {part} of its split; keep one")
        if other is not item:
            raise HsisrError(f"{name}: {item.name!r} stands twice in its split; keep one, or give each its own name")
    by_scene: dict[str, list[tuple[str, Item]]] = {}
    for part, item in listed:
        by_scene.setdefault(item.scene, []).append((part, item))
    for scene, members in by_scene.items():
        for i, (part, item) in enumerate(members):
            for other_part, other in members[i + 1 :]:
                gap = _gap(item.region, other.region)
                if gap < 0 or (part != other_part and gap < guard_px):
                    raise HsisrError(
                        f"{name}: {part} ({item.name}) and {other_part} ({other.name}) of scene {scene} "
                        + ("overlap" if gap < 0 else f"lie {gap} pixels apart, expected at least {guard_px}")
                    )


def overlap(one: Item, other: Item) -> bool:
    """Whether two items share ground."""
    return one.scene == other.scene and _gap(one.region, other.region) < 0


#: Parts whose items are dealt into folds.
_DEALT = ("train", "validation", "test")

#: Name of a drawn split, with its seed; without one, the seed is 0.
_EIGHTY = re.compile(r"eighty(?:-(\d+))?")


def _chosen_split(data_set: DataSet, wanted: str | None, scenes: Sequence[str] | None) -> tuple[str, Split]:
    """Name and content of a split: the wanted one, the default one, or for a set without splits, the rule `last_fifth`.

    scenes: the scenes in use, for a split that is drawn; None: all.
    """
    wanted = wanted or data_set.default_split
    if wanted in data_set.splits:
        return wanted, data_set.splits[wanted]
    if wanted is not None and (drawn := _EIGHTY.fullmatch(wanted)):
        return wanted, _eighty(data_set, int(drawn[1] or 0), scenes)
    if wanted is not None:
        known = [*sorted(data_set.splits), "eighty"]
        raise HsisrError(
            f"{data_set.name}: unknown split {wanted!r}; {did_you_mean(wanted, known)}known: {', '.join(known)}"
        )
    if len(data_set.scenes) == 1:
        return "regions", region_split(data_set.scenes[0], *_size(data_set))
    if len(data_set.scenes) < 3:
        raise HsisrError(
            f"{data_set.name}: 2 scenes are too few to split; say how under datasets.{data_set.name}.splits"
        )
    tests = max(1, round(len(data_set.scenes) / 5))
    return "last_fifth", Split(
        description="the last fifth of the scenes in natural order tests",
        train=data_set.scenes[:-tests],
        test=data_set.scenes[-tests:],
    )


def _eighty(data_set: DataSet, seed: int, scenes: Sequence[str] | None) -> Split:
    """80 % of the scenes train, and the others test. The order depends only on the seed and the names."""
    own = data_set.splits.get(data_set.default_split or "")
    pool = data_set.scenes if own is None else _scenes_of(own, data_set.scenes)
    pool = [scene for scene in pool if scenes is None or scene in set(scenes)]
    count = round(0.8 * len(pool))
    if len(pool) < 3:
        raise HsisrError(f"{data_set.name}: split eighty: {len(pool)} scenes are too few; choose another split")
    drawn = sorted(pool, key=lambda scene: hashlib.sha256(f"{seed} {scene}".encode()).digest())
    train = set(drawn[:count])
    return Split(
        description=f"80 % of the scenes, drawn with seed {seed}, train and validate; the others test",
        train=tuple(scene for scene in pool if scene in train),
        test=tuple(scene for scene in pool if scene not in train),
    )


def _scenes_of(split: Split, order: Sequence[str]) -> list[str]:
    """The scenes that a split names, whole or in part, in the order of `order`."""
    named = {source if isinstance(source, str) else source.scene for part in PARTS for source in getattr(split, part)}
    return [scene for scene in order if scene in named]


def _size(data_set: DataSet) -> tuple[int, int]:
    """(rows, columns) of the only scene of a user's own set."""
    from hsisr.datasets.conversion import read_raw

    if data_set.path is None:
        raise HsisrError(f"{data_set.name}: has no split; give one under datasets.{data_set.name}.splits")
    return read_raw(data_set, data_set.scenes[0], data_set.path).shape[1:]


def _item(source: str | Region, part: str) -> Item:
    if isinstance(source, str):
        return Item(source, source)
    return Item(source.name or f"{source.scene}-{part}", source.scene, source.region)


def _restrict(data_set: DataSet, items: dict[str, list[Item]], scenes: Sequence[str] | None) -> dict[str, list[Item]]:
    known = set(data_set.scenes)
    for members in items.values():
        for item in members:
            if item.scene not in known:
                raise HsisrError(
                    f"{data_set.name}: its split names the scene {item.scene!r}, which it does not have; "
                    f"{did_you_mean(item.scene, known)}known: {_shorten(data_set.scenes)}"
                )
    if scenes is None:
        return items
    unknown = sorted(set(scenes) - known)
    if unknown:
        raise HsisrError(
            f"{data_set.name}: no scene {', '.join(map(repr, unknown))}; {did_you_mean(unknown[0], data_set.scenes)}"
            f"known: {_shorten(data_set.scenes)}"
        )
    return {part: [item for item in members if item.scene in set(scenes)] for part, members in items.items()}


def _tenth(name: str, train: list[Item]) -> tuple[list[Item], list[Item]]:
    """The training items without a tenth, and this tenth."""
    if len(train) < 2:
        raise HsisrError(f"{name}: {len(train)} training scenes; at least 2 are needed, as one goes to validation")
    count = max(1, round(len(train) / 10))
    taken = {(2 * i + 1) * len(train) // (2 * count) for i in range(count)}
    return (
        [item for i, item in enumerate(train) if i not in taken],
        [item for i, item in enumerate(train) if i in taken],
    )


def _gap(a: tuple[int, int, int, int] | None, b: tuple[int, int, int, int] | None) -> int:
    """Pixels between two regions: 0 if they touch, negative if they overlap. None means the whole scene."""
    if a is None or b is None:
        return -1
    rows = max(a[0], b[0]) - min(a[1], b[1])
    columns = max(a[2], b[2]) - min(a[3], b[3])
    return max(rows, columns)


def _shorten(names: Sequence[str], most: int = 40) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
