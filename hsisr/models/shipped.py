"""Weights that come with the package: `solo` for images without a guide, taught by photographs in the public domain.

`studies/solo.py weights` trains them. Importable without torch.
"""

from pathlib import Path

from hsisr.errors import HsisrError, option

#: The model whose weights come with the package, and its options there, where they are not the defaults.
SHIPPED = "solo"
OPTIONS: dict[str, float] = {"colour": 0.2}

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


def shipped_weights(scale: int | None) -> Path:
    """The model file for a scale. Raises HsisrError where there is none, and for None: nothing says the scale."""
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
