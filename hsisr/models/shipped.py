"""Weights that a model's name stands for: those that come with the package, and those that are made on this machine.

`solo`, for images without a guide, is taught by photographs in the public domain (`studies/solo.py weights`): its
weights come with the package. `hybrid` is taught by CAVE, whose publisher does not say that what is made of it may be
passed on: `hsisr weights hybrid-cave-x8` makes its weights here (`hsisr.training.making`). Importable without torch.
"""

import os
from pathlib import Path

from hsisr.errors import HsisrError, option

#: The model whose weights come with the package, and its options there, where they are not the defaults.
SHIPPED = "solo"
OPTIONS: dict[str, float] = {"colour": 0.2}
#: The model whose weights are made here, and the scales for which they can be.
MADE, MADE_SCALES = "hybrid", (2, 4, 8, 16)
#: Models that may be named without a run.
NAMED = (SHIPPED, MADE)

_FOLDER = Path(__file__).with_name("weights")


def shipped_model(scale: int) -> Path | None:
    """The model file for images without a guide, of any number of bands; None: there is none for this scale."""
    path = _FOLDER / f"{SHIPPED}_x{scale}.safetensors"
    return path if path.is_file() else None


def shipped_models() -> dict[int, Path]:
    """Scale -> model file, of all scales that have one."""
    files = _FOLDER.glob(f"{SHIPPED}_x*.safetensors")
    return dict(sorted((int(file.stem.removeprefix(f"{SHIPPED}_x")), file) for file in files))


def shipped_scales() -> str:
    """The scales that have one, as a text: "2, 4"."""
    return ", ".join(map(str, shipped_models()))


def made_names() -> dict[str, int]:
    """Name -> scale of all weights that can be made here."""
    return {_made_name(scale): scale for scale in MADE_SCALES}


def made_model(scale: int) -> Path:
    """Where the weights lie that are made here for a scale, whether or not they are there yet.

    In $XDG_DATA_HOME/hsisr/weights, by default ~/.local/share/hsisr/weights.
    """
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "hsisr" / "weights" / f"{_made_name(scale)}.safetensors"


def how_to_make(path: Path) -> str:
    """What the user does to get a model file that fits this version, in words."""
    for scale in MADE_SCALES:
        if path == made_model(scale):
            return f"`hsisr weights {_made_name(scale)} --overwrite` makes them anew"
    return "train it again"


def shipped_weights(scale: int | None, name: str = SHIPPED) -> Path:
    """The model file that one of `NAMED` stands for at a scale.

    Raises HsisrError where there is none, and for a scale of None: nothing says it.
    """
    if name == MADE:
        return _made_weights(scale)
    if scale is None:
        raise HsisrError(
            f"model {SHIPPED}: there is no guide that says the scale; give {option('scale')}: {shipped_scales()}"
        )
    path = shipped_model(scale)
    if path is None:
        raise HsisrError(
            f"model {SHIPPED}: hsisr comes with weights for scale {shipped_scales()}, not {scale}; give one of these "
            f"by {option('scale')}, {option('model')} bicubic, or what `hsisr train` or `hsisr finetune` made"
        )
    return path


def _made_weights(scale: int | None) -> Path:
    if scale is None:
        raise HsisrError(f"model {MADE}: needs a guide, a sharp image of the same ground; give {option('guide')}")
    own = f"learn from the scene itself by `hsisr finetune LR GUIDE --model {MADE}`, or take {option('model')} prior"
    if scale not in MADE_SCALES:
        known = ", ".join(map(str, MADE_SCALES))
        raise HsisrError(f"model {MADE}: weights of it can be made for scale {known}, not {scale}; {own}")
    path = made_model(scale)
    if not path.is_file():
        raise HsisrError(
            f"model {MADE}: its weights for scale {scale} are not on this machine; `hsisr weights {_made_name(scale)}` "
            f"makes them from CAVE, in minutes; or {own}"
        )
    return path


def _made_name(scale: int) -> str:
    return f"{MADE}-cave-x{scale}"
