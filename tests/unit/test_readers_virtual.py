"""Images in archives and at addresses, opened by windows when the user names them so."""

import functools
import gzip
import http.server
import threading
import zipfile

import numpy as np
import pytest

from hsisr.datasets import read_scene
from hsisr.errors import HsisrError
from hsisr.inference.images import open_lazily
from hsisr.inference.run import state_of

from . import product_files as made

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
STORED = made.cube(3).astype(np.uint16)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an image, in a zip archive and compressed by gzip, as the current one."""
    made.tiff(tmp_path / "a.tif", STORED)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.tif", "images/a.tif")
        archive.writestr("note.txt", "none")
    (tmp_path / "a.tif.gz").write_bytes(gzip.compress((tmp_path / "a.tif").read_bytes()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["/vsizip/a.zip/images/a.tif", "/vsizip/{}/a.zip/images/a.tif", "/vsigzip/a.tif.gz",
                                  "/vsizip/{{{}/a.zip}}/images/a.tif", "/vsigzip/{}/a.tif.gz"])  # fmt: skip
def test_images_in_archives(folder, path):
    path = path.format(folder)
    scene = read_scene(path)
    assert np.array_equal(scene.stored, STORED) and scene.transform[0] == made.PIXEL_M
    lazy = open_lazily(path)
    assert np.array_equal(lazy.window(slice(2, 4), slice(3, 8)).stored, STORED[:, 2:4, 3:8])
    archive = folder / ("a.tif.gz" if "gzip" in path else "a.zip")
    facts = archive.stat()
    times = [facts.st_mtime_ns, facts.st_ctime_ns]
    assert state_of(path)[1:] == [[str(archive), facts.st_size, *times]]


@pytest.mark.parametrize("name", ["a}.zip", "{a}.zip", "}{.zip"])
def test_names_of_archives_may_hold_braces(folder, name):
    (folder / "a.zip").rename(folder / name)
    for path in (f"/vsizip/{name}/images/a.tif", f"/vsizip/{{{folder}/{name}}}/images/a.tif"):
        assert np.array_equal(read_scene(path).stored, STORED)


@pytest.mark.parametrize("name", ["s3:a.tif", "zip:a.tif", "file:a.tif", "https:a.tif"])
def test_a_file_whose_name_looks_like_an_address_is_a_file(folder, name):
    (folder / "a.tif").rename(folder / name)
    assert np.array_equal(read_scene(name).stored, STORED)


@pytest.mark.parametrize(
    ("path", "said"),
    [("/vsizip/a.zip/b.tif", "a.zip: holds no b.tif; it holds images/a.tif, note.txt"),
     ("/vsizip/b.zip/a.tif", "/vsizip/b.zip/a.tif: no such archive; expected /vsizip/ARCHIVE.zip/IMAGE.tif"),
     ("/vsizip/a.zip/note.txt", "of images in archives and on the web only .tif, .tiff, .jp2 are read"),
     ("/vsizip/a.tif/a.tif", "a.tif: damaged or cut archive"),
     ("https://127.0.0.1:9/a.vrt", "of images in archives and on the web only"),
     ("/vsicurl/https://127.0.0.1:9/a.tif", "no such file or folder")],
)  # fmt: skip
def test_what_is_not_there(folder, path, said):
    with pytest.raises(HsisrError) as caught:
        read_scene(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_at_an_address(folder, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.tif"
        assert np.array_equal(read_scene(address).stored, STORED)
        assert state_of(address) == [address]
        (folder / "b.tif").write_bytes(b"II*\0nonsense" * 30)
        with pytest.raises(HsisrError, match="damaged or cut raster file"):
            read_scene(address.replace("a.tif", "b.tif"))
        made.tiff(folder / "long.tif", np.ones((1, 1000, 1000), np.uint16))
        with pytest.raises(HsisrError, match="/long.tif: its server sends whole files only, not windows of them"):
            read_scene(address.replace("a.tif", "long.tif"))
        lacking = address.replace("a.tif", "c.tif")
        with pytest.raises(HsisrError, match=f"{lacking}: cannot be fetched .*404.*; check the address"):
            read_scene(lacking)
        server.shutdown()
    silent = address.replace("a.tif", "d.tif")
    with pytest.raises(HsisrError, match=f"{silent}: cannot be fetched .*; check the address and the connection"):
        read_scene(silent)
