"""Weights that come with the package: `solo` for images without a guide, taught by photographs in the public domain.

`studies/solo.py weights` trains them. Importable without torch.
"""

from pathlib import Path

_FOLDER = Path(__file__).with_name("weights")


def shipped_model(scale: int) -> Path | None:
    """The model file for images without a guide, of any number of bands; None: there is none for this scale."""
    path = _FOLDER / f"solo_x{scale}.safetensors"
    return path if path.is_file() else None


def shipped_models() -> dict[int, Path]:
    """Scale -> model file, of all scales that have one."""
    files = _FOLDER.glob("solo_x*.safetensors")
    return dict(sorted((int(file.stem.removeprefix("solo_x")), file) for file in files))
