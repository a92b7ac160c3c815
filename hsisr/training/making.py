"""Weights of `hybrid` that are made on this machine: fetch CAVE, learn from its training scenes, write a model file."""

import os
from collections.abc import Iterator
from pathlib import Path

from hsisr import datasets, degrade, temporary
from hsisr.config import Training
from hsisr.errors import HsisrError, notice
from hsisr.files import settings_hash
from hsisr.models.shipped import MADE

#: What teaches: the training scenes of a split of the data set. The protocol has noise: filters that have seen none
#: make much of it.
_DATASET, _SPLIT, _PROTOCOL = "cave", "usual", "mulsr"
#: The camera that takes the guides.
_RESPONSE = "nikon_d700"
_SEED, _STEPS = 0, 600


def make_weights(scale: int, out: str | os.PathLike) -> Path:
    """Make the weights that the name `hybrid` stands for at a scale, and return the path `out` of the model file.

    scale: HR pixels per LR pixel. The published files stay in the folder `published` beside the model file. Where a
    copy of the data set holds some of the training scenes only, these teach, and a line says so; the model file names
    them. If it stops, the same call goes on where the training was. Raises HsisrError if the data set cannot be
    fetched, or holds no training scene.
    """
    import torch

    from hsisr.models import registry
    from hsisr.models.base import as_model
    from hsisr.models.model_files import save_model
    from hsisr.training.fitting import fit

    out, data_set = Path(out), datasets.entry(_DATASET)
    raw = out.parent / "published" / _DATASET
    datasets.fetch(_DATASET, raw)
    wanted, here = data_set.splits[_SPLIT].train, datasets.present(_DATASET, raw)
    names = [str(name) for name in wanted if name in here]
    if not names:
        raise HsisrError(
            f"{_DATASET}: the copy holds none of the training scenes {', '.join(map(str, wanted))}; add one"
        )
    if len(names) < len(wanted):
        notice(f"{_DATASET}: the copy holds {len(names)} of the {len(wanted)} training scenes; these teach {MADE}")
    hashes: dict[str, str] = {}

    def pairs(folder: Path) -> Iterator[tuple[str, degrade.Pair]]:
        for name in names:
            scene = datasets.convert(_DATASET, name, raw, folder / "scene.h5")
            hashes[name] = settings_hash(scene.provenance["sha256"])
            yield name, degrade.pair(scene, _PROTOCOL, scale, _SEED, _RESPONSE)

    torch.manual_seed(_SEED)
    bands, channels = data_set.bands, 3
    assert bands is not None  # this data set has one camera
    network = registry.build(MADE, scale, bands, channels)
    work = out.with_name(f".{out.name}.work")  # stays if the command stops, which then goes on from there
    with temporary.new_folder(out.parent, out.stem) as folder:
        samples = as_model(network).prepare_training(pairs(folder), _SEED)
        assert samples is not None
        settings = Training(
            epochs=None,
            max_steps=_STEPS,
            batch_size=8,
            learning_rate=2e-3,
            schedule={"kind": "cosine"},
            validate_every_steps=100,
        )
        fit(network, samples, work, settings, seed=_SEED)
    taught = {"dataset": _DATASET, "licence": data_set.licence, "split": _SPLIT, "scenes": hashes}
    facts = {"base": MADE, "options": {}, "scale": scale, "bands": bands, "guide_channels": channels}
    told = {"protocol": _PROTOCOL, "wavelengths_nm": data_set.wavelengths_nm, "taught_by": taught}
    save_model(out, network, facts | told, {"taught_by": taught, "protocol": _PROTOCOL, "steps": _STEPS, "seed": _SEED})
    temporary.remove(work)
    return out
