"""Files made to harm: other files of the user in a result, memory without end, code, escapes. One line each."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsisr import limits
from hsisr.cli.app import app
from hsisr.config import load
from hsisr.datasets import archives
from hsisr.datasets.readers import describe, read_scene
from hsisr.errors import HsisrError, printable
from hsisr.files import read_json, stamp
from hsisr.models.model_files import load_model, read_metadata

from . import apart, seeds

SHAPE = (6, 24, 24)
SECRET = (b"somebody's own, " * 256)[: 6 * 24 * 24]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    seeds.write(folder)
    return folder


def refused(call: Callable, *arguments, **options) -> str:
    """The one line with which a call refuses."""
    with pytest.raises(HsisrError) as caught:
        call(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def run(*words) -> None:
    app([str(word) for word in words], standalone_mode=False)


# Leaks: data sets that lie in other files


def external(file: h5py.File, name: str, folder: Path) -> None:
    file.create_dataset(name, shape=SHAPE, dtype="u1", external=[(str(folder / "secret"), 0, len(SECRET))])


def external_in_parts(file: h5py.File, name: str, folder: Path) -> None:
    half = len(SECRET) // 2
    parts = [(str(folder / "secret"), 0, half), (str(folder / "secret"), half, half)]
    file.create_dataset(name, shape=SHAPE, dtype="u1", external=parts)


def virtual(file: h5py.File, name: str, folder: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "u1")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "private", shape=SHAPE)
    file.create_virtual_dataset(name, layout)


def external_link(file: h5py.File, name: str, folder: Path) -> None:
    file[name] = h5py.ExternalLink(str(folder / "other.h5"), "private")


def soft_link_to_external(file: h5py.File, name: str, folder: Path) -> None:
    external(file, "behind", folder)
    file["behind"].attrs["MATLAB_class"] = np.bytes_("uint8")
    file[name] = h5py.SoftLink("/behind")


def soft_link_to_link(file: h5py.File, name: str, folder: Path) -> None:
    file["way"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
    file[name] = h5py.SoftLink("/way/private")


def soft_loop(file: h5py.File, name: str, folder: Path) -> None:
    file[name] = h5py.SoftLink(f"/{name}")


LEAKS = [
    external, external_in_parts, virtual, external_link, soft_link_to_external, soft_link_to_link, soft_loop
]  # fmt: skip


@pytest.fixture(params=LEAKS, ids=lambda leak: leak.__name__)
def leak(request, tmp_path) -> Callable:
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["private"] = np.frombuffer(SECRET, np.uint8).reshape(SHAPE)
    return request.param


def scene_file(leak: Callable, folder: Path) -> Path:
    """A scene file as hsisr writes it, but for its cube."""
    path = folder / "leaking.h5"
    seeds.scene().save(path)
    with h5py.File(path, "r+") as file:
        del file["cube"]
        leak(file, "cube", folder)
    return path


def matlab_file(leak: Callable, folder: Path) -> Path:
    path = folder / "leaking.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        leak(file, "cube", folder)
        if isinstance(file.get("cube", getlink=True), h5py.HardLink):
            file["cube"].attrs["MATLAB_class"] = np.bytes_("uint8")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack("<H", 0x0200) + b"IM")
    return path


def plain_file(leak: Callable, folder: Path) -> Path:
    path = folder / "leaking.h5"
    with h5py.File(path, "w") as file:
        leak(file, "cube", folder)
    return path


def pair_file(leak: Callable, folder: Path) -> Path:
    path = folder / "leaking.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({**stamp("pair"), "name": "x", "metadata": "{}"})
        leak(file, "lr", folder)
    return path


@pytest.mark.parametrize("made", [scene_file, matlab_file, plain_file])
def test_no_command_brings_another_file_into_a_result(leak, made, whole, tmp_path):
    file = made(leak, tmp_path)
    read = ["--read", "axes=BHW"] if made is plain_file else []
    commands = [
        ["show", file, "-b", 0, "-o", tmp_path / "s.png", *read],
        ["export", file, tmp_path / "e.npy", *read],
        ["degrade", file, "--protocol", "wald", "--scale", 2, "-o", tmp_path / "p.h5", *read],
        ["predict", file, "--model", "bicubic", "--scale", 2, "-o", tmp_path / "r.tif", *read],
        ["predict", whole / "x.tif", "--guide", file, "--model", "gsa", "-o", tmp_path / "r.tif",
         *[word.replace("--read", "--read-guide") for word in read]],
        ["finetune", file, whole / "guide.tif", "--steps", 1, "-o", tmp_path / "run", *read],
        ["score", file, file, "--scale", 2, *read],
    ]  # fmt: skip
    before = {path.name for path in tmp_path.iterdir()}
    for command in commands:
        line = refused(run, *command)
        assert "leaking" in line and ("refused" in line or "not followed" in line), command
    assert {path.name for path in tmp_path.iterdir()} - {"run"} == before


def test_no_pair_brings_another_file_into_a_result(leak, tmp_path):
    file = pair_file(leak, tmp_path)
    assert "refused" in refused(run, "show", file, "-o", tmp_path / "s.png")
    assert "refused" in refused(run, "registration", file)


# Bombs: little that says that it is much


def blank_png(folder: Path) -> Path:
    rows, columns = 30_000, 30_000
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(100 * (1 + columns))) for _ in range(rows // 100)) + packer.flush()

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    (folder / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", pixels) + part(b"IEND", b"")
    )
    return folder / "a.png"


def array_header(shape: tuple[int, ...]) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return text.getvalue()


def blank_npz(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:  # noqa: SIM117  # one in the other
        with archive.open("cube.npy", "w", force_zip64=True) as file:
            file.write(array_header((3, 10_000, 20_000)))
            for _ in range(600):
                file.write(bytes(1_000_000))
    return folder / "a.npz"


def npz_that_claims(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("cube.npy", array_header((6, 60_000, 60_000)) + bytes(1000))
    return folder / "a.npz"


def blank_matlab(folder: Path) -> Path:
    count = 600_000_000
    array = struct.pack("<IIIIII", 6, 8, 9, 0, 5, 12) + struct.pack("<iii4x", 1000, 1000, 600)
    array += struct.pack("<HH4s", 1, 4, b"cube") + struct.pack("<II", 2, count)
    packer = zlib.compressobj(9)
    packed = packer.compress(struct.pack("<II", 14, len(array) + count) + array)
    packed += b"".join(packer.compress(bytes(1_000_000)) for _ in range(600)) + packer.flush()
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (folder / "a.mat").write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)
    return folder / "a.mat"


def sparse_tiff(folder: Path, **size) -> Path:
    import rasterio

    profile = {"width": 20_000, "height": 20_000, "count": 6, "tiled": True, "SPARSE_OK": True, "compress": "deflate"}
    with rasterio.open(folder / "a.tif", "w", driver="GTiff", dtype="uint16", **(profile | size)):
        pass
    return folder / "a.tif"


def tiff_of_many_bands(folder: Path, count: int = 20_000) -> Path:
    return sparse_tiff(folder, width=16, height=16, count=count, blockxsize=16, blockysize=16, interleave="pixel")


def blank_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("cube", (6, 60_000, 60_000), "u2", chunks=(6, 64, 64), compression="gzip")
    return folder / "a.h5"


BOMBS = [blank_png, blank_npz, npz_that_claims, blank_matlab, sparse_tiff, tiff_of_many_bands, blank_hdf5]


@apart.needs_linux
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_refused_soon_in_little_memory(bomb, tmp_path):
    options = {} if bomb in (blank_png, blank_matlab, sparse_tiff, tiff_of_many_bands) else {"axes": "BHW"}
    said = apart.refused("hsisr.datasets.readers.read_scene", bomb(tmp_path), **options)
    if bomb is not npz_that_claims:
        assert "damaged" not in said and "HSISR_MOST_" in said


def test_what_is_refused_as_a_bomb_can_be_allowed(tmp_path, monkeypatch):
    file = tiff_of_many_bands(tmp_path, 50)
    monkeypatch.setenv("HSISR_MOST_BANDS", "49")
    assert "HSISR_MOST_BANDS" in refused(read_scene, file)
    monkeypatch.setenv("HSISR_MOST_BANDS", "50")
    assert read_scene(file).shape == (50, 16, 16)
    monkeypatch.setenv("HSISR_MOST_BANDS", "many")
    assert "expected a whole number" in refused(read_scene, file)


def test_info_reads_headers_only(tmp_path):
    assert "600000000" not in str(describe(blank_npz(tmp_path)))
    assert describe(blank_npz(tmp_path))["cube"] == "3x10000x20000 uint8"


def test_hard_links_without_end(tmp_path):
    with h5py.File(tmp_path / "loops.h5", "w") as file:
        for number in range(12):
            file[f"g{number}"] = file["/"]
        file["cube"] = np.ones(SHAPE, np.uint16)
    assert read_scene(tmp_path / "loops.h5", axes="BHW").shape == SHAPE
    with h5py.File(tmp_path / "fans.h5", "w") as file:
        below = file
        for level in range(7):
            group = file.create_group(f"level{level}")
            for number in range(12):
                below[f"g{number}"] = group
            below = group
    assert limits.OBJECTS.variable in refused(read_scene, tmp_path / "fans.h5", axes="BHW")


# Model files


def model_file(path: Path, header: object, n: int | None = None) -> Path:
    text = json.dumps({"__metadata__": {"hsisr": header if isinstance(header, str) else json.dumps(header)}}).encode()
    path.write_bytes(struct.pack("<Q", len(text) if n is None else n) + text)
    return path


FACTS = {"base": "mulsr-xs", "options": {}, "scale": 2, "bands": 6, "guide_channels": 3}
WRONG = [
    *({"base": base} for base in (["x"], None, "../../x", "bicubic")),
    *({"scale": scale} for scale in ("2", -2, 0, 2.5, 10**9, True)),
    *({"bands": bands} for bands in (10**9, "6", 0)),
    *({"options": options} for options in ([1], None, {"zzz": 1}, {"width": 10**6}, {"blocks": 10**8})),
    *({"guide_channels": channels} for channels in (-1, 10**9)),
    {"peak": float("nan")},
    {"peak": "1"},
]


@pytest.mark.parametrize("change", [*WRONG, *FACTS], ids=str)
def test_what_a_model_file_says_is_checked(change, tmp_path):
    facts = {**stamp("model"), **FACTS}
    if isinstance(change, dict):
        facts |= change
    else:
        del facts[change]
    refused(load_model, model_file(tmp_path / "m.safetensors", facts))


@pytest.mark.parametrize("text", ["[1]", '"x"', "null", "3", "[" * 100_000, "9" * 6000])
def test_a_header_that_is_none(text, tmp_path):
    refused(read_metadata, model_file(tmp_path / "m.safetensors", text))


@apart.needs_linux
def test_a_network_larger_than_its_file_is_never_made(tmp_path):
    """Its width alone would take gigabytes."""
    file = model_file(tmp_path / "m.safetensors", {**stamp("model"), **FACTS, "options": {"width": 20_002}})
    assert "do not fit" in apart.refused("hsisr.models.model_files.load_model", file)


# Texts


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 50_000, '{"a": ' + "9" * 6000 + "}", "[]", "1", "\0", "\ufeff{}"]
)
def test_a_text_that_is_no_file_of_ours(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    refused(read_json, tmp_path / "a.json", "results")


def test_a_folder_in_place_of_a_file(tmp_path):
    refused(read_json, tmp_path)
    refused(load, tmp_path)


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        ALIASES, "models: &a\n  x: *a\n", "sources: &a [*a]\n", "a: " + "[" * 20_000, "report: {title: 2001-02-31}\n",
        "report: {scenes: " + "9" * 5000 + "}\n", "? [1, 2]\n: 3\n", "a: \0",
        '!!python/object/apply:os.system ["false"]\n',
    ],
)  # fmt: skip
def test_a_configuration_without_end_or_sense(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    refused(load, tmp_path / "config.yaml")


# Names


def test_members_that_are_one_file_on_many_disks(tmp_path):
    for names in (["d/a.txt", "d/A.txt"], ["d/a.txt", "D/b.txt"], ["d/\u00e4", "d/a\u0308"]):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, name)
        assert "one name on many disks" in refused(archives.unpack, tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_terminal_never_obeys_a_name(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **{"\x1b[2Jgone": np.ones(SHAPE), "two\nlines": np.ones(3)})
    run("info", tmp_path / "a.npz")
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\\x1b[2Jgone" in said and "two lines" in said
    assert "\x1b" not in refused(read_scene, tmp_path / "a.npz", variable="\x1b[31m")


def test_what_is_shown_of_a_text():
    assert printable("a\nb\t\x1b[0m\u202e\udc80é") == "a\\nb\\t\\x1b[0m\\u202e\\udc80é"


def test_a_name_of_two_lines_is_refused(whole, tmp_path):
    line = refused(run, "export", whole / "x.tif", tmp_path / "a\nb.tif")
    assert "line break" in line and list(tmp_path.iterdir()) == []
