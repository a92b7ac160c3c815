"""Whether a scene suits a model's training: its range of values, its bands and its wavelengths."""

import numpy as np

from hsisr.errors import HsisrError, option
from hsisr.inference.images import Source
from hsisr.models.apply import Method
from hsisr.pipeline.known_bands import TOLERANCE_NM

#: Values up to here count as [0, 1] with a few brighter ones. Larger values are divided by their largest.
_UNIT_RANGE = 1.5
#: If values reach less than this part of a model's range, the model has hardly been trained for them.
_FAINT = 0.05
#: A scene whose values are this many times larger or smaller than those of the adaptation causes a warning.
_OTHER_RANGE = 3.0


def peak_of(
    image: Source,
    given: float | None,
    trained: float | None,
    reached: float | None = None,
    name: str = "peak",
    untrained: bool = False,
) -> tuple[float, str | None]:
    """The value that a model sees as 1, with a note for the user if it is not 1.

    given: by the user, as the option `name`. trained: the model's own peak, if it states one. Otherwise: 1 if the
    values lie in [0, 1], else the largest sampled value. reached: the largest value in the model's training, if it
    states one; it can be far below the peak. untrained: whether the model needs no training; then the peak is the
    largest value also if the values are faint.
    """
    if given is not None:
        if not (np.isfinite(given) and given > 0):
            raise HsisrError(f"{image.label}: the peak must be a positive number, not {given}")
        return float(given), None
    size = image.largest
    if trained is not None:
        known = reached or trained
        if size and not 1 / _OTHER_RANGE <= size / known <= _OTHER_RANGE:
            return trained, (
                f"{image.label}: its values reach {size:g}, and the model was trained with up to {known:g}; "
                f"give {option(name)} if their units differ"
            )
        return trained, None
    if size > _UNIT_RANGE:
        low, high = image.reach
        reach = f"reach {high:g}; they are divided by that"
        if size > high:
            reach = f"go down to {low:g}; they are divided by {size:g}"
        return size, (
            f"{image.label}: its values {reach} for the model, which takes [0, 1]; {option(name)} says otherwise"
        )
    usual = reached or 1.0
    if untrained and 0 < size < _FAINT:
        return size, (
            f"{image.label}: its values only reach {size:.3g}; they are divided by that for the model, which takes "
            f"[0, 1]; {option(name)} says otherwise"
        )
    if 0 < size < _FAINT * usual:
        return (
            1.0,
            f"{image.label}: its values only reach {size:.3g}, and those of the model's training {usual:.3g}; "
            f"{option(name)} stretches them",
        )
    return 1.0, None


def check_bands(method: Method, lr: Source) -> list[str]:
    """Notes for the user if a scene's bands differ from those of the training.

    Raises HsisrError if the model takes another number of bands, or belongs to one data set with other bands.
    """
    count = lr.shape[0]
    if method.bands is not None and method.bands != count:
        raise HsisrError(
            f"{lr.label}: {count} good bands, and {method.name} was trained for {method.bands}; choose bands with "
            f"{option('bands')}, or teach a fresh one: `hsisr finetune LR GUIDE --model {method.name}`"
        )
    trained, found = method.metadata.get("wavelengths_nm"), lr.wavelengths_nm
    if trained is None or found is None:
        return [] if method.bands is None else list(filter(None, [_other_numbers(method, lr, "band_numbers", "bands")]))
    trained = np.asarray(trained, float)
    if method.bands is not None:
        return _same_bands(method, lr, trained, found)
    low, high = trained.min() - TOLERANCE_NM, trained.max() + TOLERANCE_NM
    outside = int(((found < low) | (found > high)).sum())
    if not outside:
        return []
    return [
        f"{lr.label}: {outside} of its {count} bands lie outside the {trained.min():.0f} to {trained.max():.0f} nm "
        f"that {method.name} was trained on ({found.min():.0f} to {found.max():.0f} nm here); hsisr finetune adapts it"
    ]


def check_guide(method: Method, guide: Source) -> str | None:
    """A note for the user if the channels of a guide are not those that taught the model, or stand in another order.

    guide: with as many channels as the model takes.
    """
    trained, found = method.metadata.get("guide_wavelengths_nm"), guide.wavelengths_nm
    if trained is None or found is None:
        return _other_numbers(method, guide, "guide_band_numbers", "guide_bands")
    apart = float(np.abs(np.asarray(trained, float) - found).max())
    if apart <= TOLERANCE_NM:
        return None
    return (
        f"{guide.label}: its band centres lie up to {apart:.0f} nm from those of the guide that taught {method.name}, "
        "which treats each band as the one it knows"
    )


def check_flat(method: Method, guide: Source) -> str | None:
    """A note for the user if channels of a trained model's guide hold no detail."""
    flat = guide.flat_bands
    if not len(flat):
        return None
    told = ", ".join(str(number) for number, band in zip(guide.numbers, guide.good, strict=True) if band in flat)
    return (
        f"{guide.label}: its band {told} (from 0) is the same number everywhere, and {method.name} learnt from guides "
        f"whose bands all hold detail; {option('model')} prior leaves such bands out"
    )


def _other_numbers(method: Method, image: Source, key: str, name: str) -> str | None:
    """A note if other bands of a file taught the model, where wavelengths do not tell; name: of the option."""
    taught = method.metadata.get(key)
    if taught is None or list(taught) == image.numbers:
        return None
    was, now = (", ".join(map(str, numbers)) for numbers in (taught, image.numbers))
    return (
        f"{image.label}: {method.name} learnt from bands {was} of its file, and here bands {now} stand for them; "
        f"choose the same bands with {option(name)}, unless this file holds only those"
    )


def _same_bands(method: Method, lr: Source, trained: np.ndarray, found: np.ndarray) -> list[str]:
    apart = float(np.abs(trained - found).max())
    if apart <= TOLERANCE_NM:
        return []
    told = f"{lr.label}: its band centres lie up to {apart:.0f} nm from those {method.name} was trained on"
    if "taught_by" in method.metadata:
        raise HsisrError(
            f"{told}, {trained.min():.0f} to {trained.max():.0f} nm; learn from the scene itself by `hsisr finetune LR "
            f"GUIDE --model {method.name}`, or take {option('model')} prior"
        )
    return [f"{told}; the model treats each band as the one it knows"]
