"""Fetching from local copies, packages and people's hands; the manifest."""

import json
import os
import shutil
import threading
import zipfile

import pytest

from hsisr import datasets
from hsisr.datasets import fetching, manifest
from hsisr.datasets.archives import unpack
from hsisr.errors import HsisrError
from hsisr.files import check_stamp, file_hash
from hsisr.locks import take

from .fakes import EXTRA, FOLDER, make_fakes


@pytest.fixture
def local_cave(tmp_path):
    """A local copy of the fake CAVE, unpacked."""
    folder = tmp_path / "copy"
    unpack(FOLDER / "cave" / "complete_ms_data.zip", folder / "complete_ms_data")
    return folder


def fetch(name, folder, source=None, extra=EXTRA):
    return datasets.fetch(name, folder, None if source is None else str(source), progress=False, extra=extra)


def test_indian_pines_from_its_package(tmp_path):
    content = fetch("indian_pines", tmp_path / "raw")
    check_stamp("manifest", content, "manifest")
    assert content == json.loads((tmp_path / "raw" / "manifest.json").read_text())
    assert content["origin"][0].startswith("package tensorly ")
    assert {file["checked"] for file in content["files"].values()} == {"published"}
    for name, facts in content["files"].items():
        assert file_hash(tmp_path / "raw" / name) == facts["sha256"]
        assert (tmp_path / "raw" / name).stat().st_size == facts["size_bytes"]


def test_photographs_from_their_package(tmp_path):
    fetch("rgb_photos", tmp_path / "raw")
    assert datasets.present("rgb_photos", tmp_path / "raw") == list(datasets.entry("rgb_photos").scenes)


def test_absent_package_says_what_to_install(tmp_path):
    extra = {"indian_pines": {"package": "no_such_package_here"}}
    with pytest.raises(HsisrError, match=r'pip install "hsisr\[demo\]"') as caught:
        fetch("indian_pines", tmp_path / "raw", extra=extra)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw" / "manifest.json").exists()


@pytest.mark.parametrize("deeper", ["", "complete_ms_data", "complete_ms_data/balloons_ms"])
@pytest.mark.parametrize("form", ["path", "url", "environment"])
def test_local_copy_is_used_where_it_lies(local_cave, tmp_path, monkeypatch, deeper, form):
    source = local_cave / deeper
    if form == "environment":
        monkeypatch.setenv("HSISR_SOURCE_CAVE", str(source))
    content = fetch("cave", tmp_path / "raw", {"path": source, "url": source.as_uri(), "environment": None}[form])
    assert content["root"] == str(source)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["manifest.json"]
    expected = ["balloons"] if deeper.endswith("balloons_ms") else list(make_fakes.CAVE_SCENES)
    assert datasets.present("cave", tmp_path / "raw", EXTRA) == expected
    assert not any("Thumbs" in name or "RGB" in name for name in content["files"])


def test_argument_goes_before_environment(local_cave, tmp_path, monkeypatch):
    monkeypatch.setenv("HSISR_SOURCE_CAVE", "/does/not/exist")
    assert fetch("cave", tmp_path / "raw", local_cave)["root"] == str(local_cave)
    with pytest.raises(HsisrError, match="cave: /does/not/exist: no such file or folder"):
        fetch("cave", tmp_path / "raw2")


@pytest.mark.parametrize("name", ["cave", "harvard", "ntire2020", "chikusei", "div2k"])
def test_folder_with_the_published_archives(tmp_path, name):
    content = fetch(name, tmp_path / "raw", FOLDER / name)
    assert content["root"] == "."
    assert datasets.present(name, tmp_path / "raw", EXTRA) == list(datasets.entry(name, EXTRA).scenes)
    assert all((FOLDER / name / archive).is_file() for archive in content["archives"])


def test_single_archive(tmp_path):
    fetch("harvard", tmp_path / "raw", FOLDER / "harvard" / "CZ_hsdbi.tgz")
    assert datasets.present("harvard", tmp_path / "raw", EXTRA) == ["img3"]


def test_data_files_themselves(tmp_path):
    content = fetch("roman_colosseum", tmp_path / "raw", FOLDER / "roman_colosseum")
    assert len(content["files"]) == 2


@pytest.mark.parametrize("source", ["ftp://host/x", "s3://bucket/x"])
def test_source_of_unknown_kind(tmp_path, source):
    with pytest.raises(HsisrError, match="give a folder, or a file://, http:// or https:// URL"):
        fetch("cave", tmp_path / "raw", source)


def test_folder_without_the_data_set(tmp_path):
    with pytest.raises(HsisrError, match=r"holds no scene of it; expected balloons_ms_\[0-9\]\[0-9\]\.png"):
        fetch("cave", tmp_path / "raw", FOLDER / "harvard")


def test_published_hashes_are_checked(local_cave, tmp_path):
    with pytest.raises(HsisrError, match=r"balloons_ms_01\.png: is not the published file"):
        fetch("cave", tmp_path / "raw", local_cave, extra=None)
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_hash_trusted_on_first_use_holds_later(local_cave, tmp_path):
    content = fetch("cave", tmp_path / "raw", local_cave)
    assert {file["checked"] for file in content["files"].values()} == {"first use"}
    band = next(local_cave.rglob("cd_ms_05.png"))
    band.write_bytes(next(local_cave.rglob("cd_ms_06.png")).read_bytes())
    with pytest.raises(HsisrError, match=r"cd_ms_05\.png: changed since it was first fetched") as caught:
        fetch("cave", tmp_path / "raw", local_cave)
    assert f"delete {tmp_path / 'raw' / 'manifest.json'};" in str(caught.value)
    (tmp_path / "raw" / "manifest.json").unlink()
    fetch("cave", tmp_path / "raw", local_cave)


def test_files_of_ones_own_may_change(tmp_path):
    """A new fetch records them; one that finds the same leaves the manifest as it was, whatever the times of files."""
    source, written = tmp_path / "mine", tmp_path / "raw" / "manifest.json"
    source.mkdir()
    (source / "a.npy").write_bytes(b"first")
    extra = {"mine": {"path": str(source)}}
    fetch("mine", tmp_path / "raw", extra=extra)
    before = written.stat().st_mtime_ns, written.read_bytes()
    os.utime(source / "a.npy", ns=(1, 1))
    fetch("mine", tmp_path / "raw", extra=extra)
    assert (written.stat().st_mtime_ns, written.read_bytes()) == before
    (source / "a.npy").write_bytes(b"other")
    with pytest.raises(HsisrError, match=r"a\.npy: changed since it was fetched .*; run `hsisr fetch mine`"):
        manifest.read(tmp_path / "raw", "mine").verify("a.npy")
    fetch("mine", tmp_path / "raw", extra=extra)
    assert manifest.read(tmp_path / "raw", "mine").verify("a.npy")


def test_a_damaged_file_of_the_same_size_is_brought_again(tmp_path):
    content = fetch("indian_pines", tmp_path / "raw")
    name = next(iter(content["files"]))
    with open(tmp_path / "raw" / name, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    with pytest.raises(HsisrError, match="run `hsisr fetch indian_pines`"):
        manifest.read(tmp_path / "raw", "indian_pines").verify(name)
    assert fetch("indian_pines", tmp_path / "raw") == content
    assert manifest.read(tmp_path / "raw", "indian_pines").verify(name)


def test_files_of_an_earlier_source_do_not_count(tmp_path):
    """What another archive has left in the raw folder is not in the new one, and not of it."""
    for archive, scenes in (("first.zip", ("a", "b")), ("second.zip", ("a",))):
        with zipfile.ZipFile(tmp_path / archive, "w") as file:
            for scene in scenes:
                file.writestr(f"{scene}.npy", f"{scene} of {archive}")
    extra = {"mine": {"path": str(tmp_path), "scenes": ["a", "b"]}}
    fetch("mine", tmp_path / "raw", tmp_path / "first.zip", extra)
    assert datasets.present("mine", tmp_path / "raw", extra) == ["a", "b"]
    fetch("mine", tmp_path / "raw", tmp_path / "second.zip", extra)
    assert datasets.present("mine", tmp_path / "raw", extra) == ["a"]
    assert file_hash(tmp_path / "raw" / "a.npy") == manifest.read(tmp_path / "raw", "mine").files["a.npy"]["sha256"]


def test_the_same_scene_twice(local_cave, tmp_path):
    shutil.copytree(local_cave / "complete_ms_data" / "cd_ms", local_cave / "again" / "cd_ms")
    with pytest.raises(HsisrError, match="scene cd is there twice"):
        fetch("cave", tmp_path / "raw", local_cave)


def test_set_behind_a_form_says_all_in_one_message_and_goes_on_when_the_files_are_there(tmp_path):
    raw = tmp_path / "raw"
    with pytest.raises(HsisrError) as caught:
        fetch("ntire2020", raw)
    text = str(caught.value)
    for part in ("needs a person", "https://competitions.codalab.org", str(raw), "ARAD_HS_0001.mat", "SHA-256",
                 "HSISR_SOURCE_NTIRE2020"):  # fmt: skip
        assert part in text
    assert "\n" not in text
    shutil.copytree(FOLDER / "ntire2020", raw, dirs_exist_ok=True)
    content = fetch("ntire2020", raw)
    assert len(content["files"]) == 2
    assert (raw / "NTIRE2020_Train_Spectral.zip").is_file()


def test_download_must_have_all_scenes(tmp_path):
    extra = {"cave": {**EXTRA["cave"], "scenes": ["balloons", "clay"], "access": "package", "package": "tensorly"}}
    extra["cave"] |= {"files": [{"name": "Indian_pines_gt.npy"}], "package_folder": "datasets/data"}
    with pytest.raises(HsisrError, match="lacks the scenes balloons, clay"):
        fetch("cave", tmp_path / "raw", extra=extra)


def test_own_folder(tmp_path):
    extra = {"mine": {"path": str(FOLDER / "roman_colosseum")}}
    content = fetch("mine", tmp_path / "raw", extra=extra)
    assert content["root"] == str(FOLDER / "roman_colosseum")
    assert len(content["files"]) == 2


def test_raw_folder_of_another_set_or_of_none(tmp_path):
    fetch("indian_pines", tmp_path / "raw")
    with pytest.raises(HsisrError, match="holds the data set 'indian_pines', expected 'cave'"):
        manifest.read(tmp_path / "raw", "cave")
    with pytest.raises(HsisrError, match="run `hsisr fetch cave`"):
        manifest.read(tmp_path / "absent", "cave")


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HsisrError, match="choose another folder"):
        fetch("indian_pines", tmp_path / "file" / "raw")


def test_a_second_download_waits_for_the_first(tmp_path, monkeypatch, capsys):
    """Before, both wrote to one partial file, and the first to end moved it away as complete."""
    brought = []
    monkeypatch.setattr(fetching, "_bring", lambda *given: brought.append(len(brought)) or {})
    first = take(tmp_path / ".fetch.lock")
    second = threading.Thread(target=fetch, args=("cave", tmp_path, "http://127.0.0.1:1"))
    second.start()
    second.join(0.2)
    assert second.is_alive() and brought == []
    first.release()
    second.join(10)
    assert brought == [0] and not list(tmp_path.iterdir())
    assert "waits for process" in capsys.readouterr().err
