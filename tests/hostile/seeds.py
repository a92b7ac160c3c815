"""Small valid files of every kind that hsisr reads: what the fuzzer damages, and what crafted files start from."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from tests.unit import product_files as made

BANDS, SIDE = 6, 24


def scene(name: str = "seed"):
    """A smooth scene with wavelengths and a place on the ground."""
    from hsisr.scene import Scene

    rows, columns = np.mgrid[:SIDE, :SIDE]
    waves = [np.sin(rows / 3 + band) + np.cos(columns / 4 - band) + 2.2 for band in range(BANDS)]
    noise = np.random.default_rng(0).integers(0, 200, (BANDS, SIDE, SIDE))
    stored = (np.stack(waves) * 10_000 + noise).astype(np.uint16)
    return Scene(
        stored, name, scale=1 / 65535, wavelengths_nm=np.linspace(450, 900, BANDS), fwhm_nm=np.full(BANDS, 10.0),
        crs="EPSG:32631", transform=(30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0), nodata=0.0,
    )  # fmt: skip


def write(folder: Path) -> None:
    """Write one or more files of every kind into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _images(folder)
    _products(folder)
    _own_files(folder)
    _models(folder)
    _archives(folder)
    _records(folder)


def _images(folder: Path) -> None:
    import h5py
    import scipy.io
    from PIL import Image

    from hsisr.datasets import writers

    seed = scene()
    cube = np.asarray(seed.stored)
    formats = {"x.tif": None, "cog.tif": "cog", "envi/x.img": None, "x.npy": None, "x73.mat": "matlab7.3"}
    (folder / "envi").mkdir()
    for name, form in formats.items():
        writers.export(seed, folder / name, form)
    scipy.io.savemat(folder / "v5.mat", {"cube": np.moveaxis(cube, 0, -1)}, do_compression=True)
    np.savez_compressed(folder / "x.npz", cube=cube, wl=seed.wavelengths_nm)
    with h5py.File(folder / "plain.h5", "w") as file:
        file.create_dataset("a/b/cube", data=cube, chunks=(BANDS, 8, 8), compression="gzip")
    picture = Image.fromarray(np.moveaxis(cube[:3] >> 8, 0, -1).astype(np.uint8))
    for ending in ("png", "jpg", "bmp"):
        picture.save(folder / f"rgb.{ending}")


def _products(folder: Path) -> None:
    """Agencies' products: of one file, or of several in a folder of their own."""
    made.prisma(folder / "prisma.he5")
    made.aviris(folder / "aviris.nc")
    made.neon(folder / "neon.h5")
    made.tanager(folder / "tanager.h5")
    made.tanager(folder / "basic.h5", "SWATHS")
    for name in ("emit", "planet", "stac"):
        (folder / name).mkdir()
    shutil.move(made.emit(folder / "emit")[0], folder / "emit" / "a_RFL_.nc")
    shutil.move(next((folder / "emit").glob("*_MASK_*")), folder / "emit" / "a_MASK_.nc")
    shutil.move(made.planet(folder / "planet")[0], folder / "planet" / "a_AnalyticMS_SR_8b.tif")
    shutil.move(next((folder / "planet").glob("*_udm2_*")), folder / "planet" / "a_udm2.tif")
    made.stac(folder / "stac")
    for make in (made.enmap, made.desis, made.sentinel2, made.landsat, made.hyperion):
        make(folder / make.__name__)
    made.zipped(folder / "desis", folder / "desis.zip")
    made.tarred(next((folder / "landsat").iterdir()), folder / "landsat.tar")
    (folder / "vrt").mkdir()
    source = '<SimpleSource><SourceFilename relativeToVRT="1">x.tif</SourceFilename><SourceBand>{band}</SourceBand>'
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}">{source.format(band=band)}</SimpleSource></VRTRasterBand>'
        for band in range(1, BANDS + 1)
    )
    (folder / "vrt" / "x.vrt").write_text(f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}">{bands}</VRTDataset>')
    shutil.copy(folder / "x.tif", folder / "vrt")


def _own_files(folder: Path) -> None:
    from dataclasses import replace

    from hsisr import degrade
    from hsisr.datasets import writers
    from hsisr.evaluation import preview
    from hsisr.pipeline import pair_files
    from hsisr.scene import Scene

    seed = scene()
    sharp = Scene(np.asarray(seed.stored)[:3].repeat(2, 1).repeat(2, 2), "guide", scale=1 / 65535)
    replace(seed, guide=sharp, mask=np.ones((SIDE, SIDE), bool), labels=np.ones((SIDE, SIDE), np.int16)).save(
        folder / "scene.h5"
    )
    placed = replace(sharp, crs=seed.crs, transform=(15.0, 0.0, 500_000.0, 0.0, -15.0, 4_000_000.0))
    writers.export(placed, folder / "guide.tif")
    pair = degrade.pair(seed, "wald", 2, seed=0, response="color_infrared")
    pair_files.write(folder / "pair.h5", "seed", pair, seed)
    random = np.random.default_rng(0)
    reference, lr = random.random((BANDS, SIDE, SIDE), np.float32), random.random((BANDS, 12, 12), np.float32)
    made = preview.make(lr, reference * 0.9, reference, seed.wavelengths_nm)
    preview.write(folder / "preview.h5", {"a": made}, None, {"a": random.random((5, BANDS), np.float32)})


def _models(folder: Path) -> None:
    import torch

    from hsisr.models import registry
    from hsisr.models.model_files import save_model
    from hsisr.training import state

    torch.manual_seed(0)
    network = registry.build("mulsr-xs", 2, BANDS, 3)
    facts = {"base": "mulsr-xs", "options": {}, "scale": 2, "bands": BANDS, "guide_channels": 3}
    save_model(folder / "model.safetensors", network, facts)
    torch.save(network.state_dict(), folder / "checkpoint.pth")
    torch.save(network.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    state.save(folder / "run", {"settings": {}}, {"model": network.state_dict(), "step": 3})
    shutil.copy(folder / "run" / "state" / "last.pt", folder / "last.pt")


def _archives(folder: Path) -> None:
    with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d/a.txt", "hello" * 100)
        archive.write(folder / "x.npy", "d/x.npy")
    with tarfile.open(folder / "archive.tar.gz", "w:gz") as archive:
        archive.add(folder / "x.npy", "d/x.npy")


def _records(folder: Path) -> None:
    from hsisr import datasets
    from hsisr.evaluation import results
    from hsisr.files import stamp, write_json

    scores = {"psnr": 30.0, "ssim": 0.9, "sam": 2.0, "ergas": 3.0, "rmse": 0.1, "cc": 0.9}
    model = {
        "base": "bicubic", "options": {}, "mean": scores, "std": scores, "scenes": {"a": scores}, "seeds": {},
        "seed_std": {}, "parameters": 0, "training_steps": 0, "timing": {"seconds": 1.0},
    }  # fmt: skip
    content = {
        **stamp("results"), "dataset": "x", "scale": 2, "protocol": "wald", "convention": "mulsr", "command": "c",
        "parts": {"train": ["b"], "test": ["a"]}, "response": None, "models": {"bicubic": model, "gsa": model},
        "environment": {"python": "3"},
    }  # fmt: skip
    results.write(folder / "results.json", results.Results.model_validate(content))
    place = {"psf": "gaussian", "fwhm_lr": 1.0, "shift_px": 0.0, "response": 3, "snr_db": None}
    found = {"scores": {"gsa": {"psnr": 30.0, "sam": 2.0}, "x": None}, "refused": {"x": "no"}, "warned": {"gsa": ["w"]}}
    models = {"gsa": {"places": 1, "refused": 0, "psnr_mean": 30.0, "worst_at": "a"}, "x": {"places": 0, "refused": 1}}
    swept = {"scene": "a", "shape": [6, 24, 24], "scale": 2, "models": models, "grid": [{**place, **found}]}
    write_json(folder / "sweep.json", {**stamp("sweep"), **swept})
    (folder / "history.csv").write_text(
        "step,epoch,loss,validation_psnr,learning_rate,seconds,patches_per_second,memory_mb\n"
        "10,1,0.5,20.1,0.001,1.0,10.0,100\n20,2,0.4,21.1,0.001,2.0,10.0,100\n"
    )
    shutil.copy(Path(__file__).parents[2] / "config.yaml", folder / "config.yaml")
    datasets.fetch("indian_pines", folder / "raw", progress=False)
    shutil.copy(folder / "raw" / "manifest.json", folder / "manifest.json")
