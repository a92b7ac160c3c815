"""Our HDF5 files, malformed in every way: one line each, or what they hold; never a traceback, never another file."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsisr import degrade, hdf5
from hsisr.errors import HsisrError
from hsisr.evaluation import preview
from hsisr.pipeline import pair_files, patch_files
from hsisr.scene import Scene

KINDS = ("scene", "pair", "patches", "crops", "preview")


def scene(bands: int = 5, size: int = 32) -> Scene:
    rng = np.random.default_rng(0)
    guide = Scene(rng.random((3, size, size), np.float32), "guide")
    return Scene(
        rng.integers(0, 1000, (bands, size, size), dtype=np.uint16),
        "s",
        scale=1e-3,
        wavelengths_nm=np.linspace(400, 700, bands),
        bad_bands=np.zeros(bands, bool),
        mask=np.ones((size, size), bool),
        labels=np.ones((size, size), np.int16),
        label_names=("a", "b"),
        crs="EPSG:32633",
        transform=(1.0, 0, 0, 0, -1.0, 0),
        nodata=7.0,
        guide=guide,
        provenance={"origin": "here"},
    )


def patches_of(path: Path) -> None:
    images = {"lr": np.ones((5, 8, 8), np.float32), "guide": np.ones((3, 32, 32), np.float32)}
    images["hr"] = np.ones((5, 32, 32), np.float32)
    patch_files.cut(path, "s", images, [(0, 0), (2, 2), (4, 4)], 4, 4)


def crops_of(path: Path) -> None:
    """A patch file of a protocol that degrades when a sample is read."""
    from hsisr import hdf5

    with hdf5.writing(path, "patches") as file:
        facts = {"scale": 4, "protocol": "mulsr", "names": ["s"], "labelled": True}
        facts |= {"per_epoch": 3, "size_lr_px": 4, "bands": 5, "guide_channels": 3}
        hdf5.set_attributes(file, facts)
        group = file.create_group("scenes/0")
        group["cube"] = np.ones((5, 40, 40), np.float32)
        hdf5.set_attributes(group, {"scale": 1.0, "offset": 0.0})
        group["response"] = np.ones((3, 5)) / 5


def pair_of(path: Path) -> None:
    whole = scene()
    pair_files.write(path, "s", degrade.pair(whole, "wald", 4, response="nikon_d700"), whole)


def preview_of(path: Path) -> None:
    cube = np.random.default_rng(0).random((5, 16, 16)).astype(np.float32)
    found = preview.make(cube[:, ::4, ::4], cube, cube, np.linspace(400, 700, 5))
    preview.write(path, {"s": found}, labelled={"s": np.ones((4, 5), np.float32)})


MAKERS: dict[str, Callable[[Path], None]] = {
    "scene": lambda path: scene().save(path),
    "pair": pair_of,
    "patches": patches_of,
    "crops": crops_of,
    "preview": preview_of,
}


def read(kind: str, path: Path) -> None:
    """Read everything that a file of a kind holds."""
    if kind == "scene":
        found = Scene.open(path).load()
        assert found.cube.ndim == 3
    elif kind == "pair":
        pair_files.read(path)
    elif kind in ("patches", "crops"):
        samples = patch_files.PatchFile(path)
        for number in range(3):
            samples[number]
            samples.scene_of(number)
    else:
        preview.read(path)
        preview.read_labelled(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    for kind, make in MAKERS.items():
        make(folder / f"{kind}.h5")
        read(kind, folder / f"{kind}.h5")
    return {kind: folder / f"{kind}.h5" for kind in MAKERS}


def paths_in(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def outside(folder: Path) -> Path:
    """Somebody else's file, whose numbers must not get into anything."""
    path = folder / "secret.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = np.full((5, 32, 32), 42, np.float32)
    (folder / "secret.bin").write_bytes(np.full(5 * 32 * 32, 42, np.float32).tobytes())
    return path


def faults(file: h5py.File, folder: Path) -> Iterator[tuple[str, Callable[[h5py.File], None]]]:
    """Name and deed of everything that is done to a file, an object or an attribute at a time."""
    secret = outside(folder)
    for name in paths_in(file):
        is_dataset = isinstance(file[name], h5py.Dataset)
        shape = file[name].shape if is_dataset else (2, 2)

        def put(make: Callable[[h5py.File, str], None], name: str = name) -> Callable[[h5py.File], None]:
            def deed(file: h5py.File) -> None:
                del file[name]
                make(file, name)

            return deed

        yield f"{name} missing", put(lambda file, name: None)
        yield (
            f"{name} of the other sort",
            put(
                (lambda file, name: file.create_group(name).create_group("x"))
                if is_dataset
                else (lambda file, name: file.create_dataset(name, data=1.0))
            ),
        )
        yield f"{name} is text", put(lambda file, name: file.create_dataset(name, data="text"))
        yield f"{name} is complex", put(lambda file, name, s=shape: file.create_dataset(name, data=np.ones(s, complex)))
        yield f"{name} has more axes", put(lambda f, name, s=shape: f.create_dataset(name, data=np.ones((1, *s, 1))))
        yield f"{name} is empty", put(lambda file, name: file.create_dataset(name, data=h5py.Empty("f")))
        yield (
            f"{name} is huge",
            put(
                lambda f, name: f.create_dataset(
                    name, (10**6, 10**5, 10**4), "f4", chunks=(1, 64, 64), compression="gzip"
                )
            ),
        )
        yield f"{name} is not written", put(lambda f, name, s=shape: f.create_dataset(name, s or (4,), "f4"))
        yield (
            f"{name} leads outside",
            put(lambda file, name: file.__setitem__(name, h5py.ExternalLink(str(secret), "/secret"))),
        )
        yield f"{name} leads to itself", put(lambda file, name: file.__setitem__(name, h5py.SoftLink(f"/{name}")))
        yield f"{name} is virtual", put(lambda file, name: virtual(file, name, secret))
        yield (
            f"{name} lies outside",
            put(
                lambda file, name: file.create_dataset(
                    name, (5, 32, 32), "f4", external=[(str(secret.with_suffix(".bin")), 0, 5 * 32 * 32 * 4)]
                )
            ),
        )
    for name in ["/", *paths_in(file)]:
        for key in file[name].attrs:
            yield f"{name} lacks {key}", lambda file, name=name, key=key: file[name].attrs.__delitem__(key)
            for wrong in (np.ones(3), "text", 1e300, -1, np.nan, [b"\xff\xfe"]):
                yield (
                    f"{name}: {key} is {wrong!r}",
                    lambda file, name=name, key=key, wrong=wrong: file[name].attrs.__setitem__(key, wrong),
                )


def virtual(file: h5py.File, name: str, secret: Path) -> None:
    layout = h5py.VirtualLayout((5, 32, 32), "f4")
    layout[...] = h5py.VirtualSource(str(secret), "secret", (5, 32, 32))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_is_one_line_or_none(kind, whole, tmp_path):
    path = tmp_path / f"{kind}.h5"
    with h5py.File(whole[kind]) as file:
        found = list(faults(file, tmp_path))
    lines = 0
    for what, deed in found:
        shutil.copyfile(whole[kind], path)
        with h5py.File(path, "r+") as file:
            deed(file)
        try:
            read(kind, path)
            refused = False
        except HsisrError as error:
            assert "\n" not in str(error) and path.name in str(error), (what, str(error))
            refused, lines = True, lines + 1
        outward = what.endswith(("leads outside", "is virtual", "lies outside", "is huge", "leads to itself"))
        assert refused or not outward or what.startswith("yx "), what  # which nobody reads
    assert lines > len(found) / 3  # the others touch what may be absent, or what nobody reads


@pytest.mark.parametrize("kind", KINDS)
def test_cut_and_scrambled_files_are_one_line(kind, whole, tmp_path):
    content = whole[kind].read_bytes()
    path = tmp_path / f"{kind}.h5"
    rng = np.random.default_rng(1)
    spoiled = [content[: int(len(content) * part)] for part in (0.0, 0.01, 0.2, 0.5, 0.8, 0.99)]
    for _ in range(40):
        mutated = bytearray(content)
        for place in rng.integers(0, len(content), 12):
            mutated[place] = int(rng.integers(256))
        spoiled.append(bytes(mutated))
    for number, bytes_ in enumerate(spoiled):
        path.write_bytes(bytes_)
        try:
            read(kind, path)
        except HsisrError as error:
            assert "\n" not in str(error) and path.name in str(error)
        else:
            assert number >= 6  # bytes that nobody reads


@pytest.mark.parametrize("kind", KINDS)
def test_files_have_no_heap_of_strings(kind, whole):
    """A damaged global heap sends the HDF5 library into an endless loop."""
    assert b"GCOL" not in whole[kind].read_bytes()


def test_files_of_version_0_1_can_be_read(whole, tmp_path):
    """Their texts are of variable length."""
    for kind in ("pair", "patches", "preview"):
        shutil.copyfile(whole[kind], tmp_path / f"{kind}.h5")
        with h5py.File(tmp_path / f"{kind}.h5", "r+") as file:
            for key, value in list(file.attrs.items()):
                if isinstance(value, (bytes, np.bytes_)):
                    file.attrs[key] = value.decode()
                elif isinstance(value, np.ndarray) and value.dtype.kind == "S":
                    file.attrs[key] = [entry.decode() for entry in value]
        read(kind, tmp_path / f"{kind}.h5")


def test_nobody_is_told_to_delete_what_is_not_ours(tmp_path):
    (tmp_path / "mosaic.tif").write_bytes(b"II*\x00" + bytes(100))
    with h5py.File(tmp_path / "product.h5", "w") as file:
        file["cube"] = np.ones((3, 4, 4))
    for name in ("mosaic.tif", "product.h5"):
        for open_ in (Scene.open, pair_files.read, patch_files.PatchFile, preview.read):
            with pytest.raises(HsisrError) as caught:
                open_(tmp_path / name)
            assert "delete it" not in str(caught.value) and name in str(caught.value)


def test_a_large_kernel_fits_into_a_pair(tmp_path):
    whole = scene()
    pair = degrade.pair(whole, "wald", 4, response="nikon_d700")
    kernel = np.random.default_rng(0).random((101, 101))
    large = degrade.Pair(pair.lr, pair.guide, pair.hr, pair.mask, {**pair.metadata, "kernel": kernel})
    pair_files.write(tmp_path / "p.h5", "s", large, whole)
    assert pair_files.read(tmp_path / "p.h5").metadata["kernel"] == kernel.tolist()


@pytest.mark.parametrize("way", ["link", "soft", "virtual", "external"])
@pytest.mark.parametrize("ending", ["h5", "mat"])
def test_readers_of_foreign_files_do_not_follow_what_leads_out(tmp_path, way, ending):
    """An HDF5 product or a MATLAB 7.3 file that names another file of the user gives none of its numbers."""
    from hsisr.datasets import read_scene

    secret = outside(tmp_path)
    path = tmp_path / f"product.{ending}"
    with h5py.File(path, "w") as file:
        if way == "link":
            file["cube"] = h5py.ExternalLink(str(secret), "/secret")
        elif way == "soft":
            file["cube"] = h5py.SoftLink("/cube")
        elif way == "virtual":
            virtual(file, "cube", secret)
        else:
            stored = [(str(secret.with_suffix(".bin")), 0, 5 * 32 * 32 * 4)]
            file.create_dataset("cube", (5, 32, 32), "f4", external=stored)
    options = {"axes": "BHW"} if ending == "h5" else {}
    for more in ({}, {"variable": "cube"}):
        with pytest.raises(HsisrError, match=r"product\.\w+: cube (is a link|lies in other files)"):
            read_scene(path, "hdf5" if ending == "h5" else "matlab", **options, **more)


def test_a_file_that_a_step_made_with_other_settings(tmp_path):
    """Only the settings count, not the code; a file without them, made by hand, is taken."""
    path, by_hand = tmp_path / "pair.h5", tmp_path / "by_hand.h5"
    with hdf5.writing(path, "pair", {"step": "pairs", "settings": {"noise": 0}, "code": {"a.py": "1"}}):
        pass
    with hdf5.writing(by_hand, "pair", None):
        pass
    hdf5.check_settings(path, "pair", {"noise": 0}, "pairs")
    hdf5.check_settings(by_hand, "pair", {"noise": 1}, "pairs")
    with pytest.raises(HsisrError, match=r"pair\.h5: made with other settings .*; make it again by `hsisr pairs`"):
        hdf5.check_settings(path, "pair", {"noise": 1}, "pairs")
