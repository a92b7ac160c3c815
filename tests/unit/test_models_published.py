"""The list of published weights, and fetching those with a plain URL: from a server of our own."""

import json
from dataclasses import replace

import pytest
import torch

from hsisr.cli.app import app
from hsisr.errors import HsisrError
from hsisr.inference import load_model, read_metadata
from hsisr.models import DeepShare, registry
from hsisr.models.checkpoints import published

from .test_datasets_download import Server, server  # noqa: F401  (a fixture)


@pytest.fixture
def mirror(server: Server, tmp_path, monkeypatch) -> Server:  # noqa: F811
    """A place with one checkpoint of each data set, of a network small enough to send."""
    torch.manual_seed(0)
    network = DeepShare(bands=9, scale=4, width=16)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    content = (tmp_path / "weights.pth").read_bytes()
    names = ["README.md", "models/Cave x4.pth", "models/Harvard_x4.pth"]
    server.files = {
        "/api": json.dumps({"siblings": [{"rfilename": name} for name in names]}).encode(),
        "/resolve/models/Cave%20x4.pth": content,
    }
    server.network = network
    entry = replace(
        published.checkpoint("deepshare-cave-x4"), listing=f"{server.url}/api", files=f"{server.url}/resolve/", bands=9
    )
    monkeypatch.setattr(published, "known_checkpoints", lambda: [entry])
    real = registry.build
    monkeypatch.setattr(
        registry, "build", lambda *words, **facts: real(*words[:4], **facts | {"options": {"width": 16}})
    )
    return server


def run(*words: str) -> None:
    app([*words], standalone_mode=False)


def test_every_entry_names_a_network_that_exists():
    for entry in published.known_checkpoints():
        assert registry.entry(entry.base).kind == "network"
        assert entry.name in published.table()
        assert f"hsisr import-weights FILE --model {entry.base} --scale" in entry.by_hand
        assert bool(entry.listing) == bool(entry.files) == bool(entry.pattern)


def test_fetched_and_imported(mirror, tmp_path):
    out = tmp_path / "cave.safetensors"
    run("weights", "deepshare-cave-x4", "-o", str(out))
    assert torch.equal(load_model(out).final.weight, mirror.network.final.weight)
    assert read_metadata(out)["source"] == "Cave x4.pth"
    assert (tmp_path / "published" / "Cave x4.pth").is_file()
    before = len(mirror.requests)
    run("weights", "deepshare-cave-x4", "-o", str(out))
    assert len(mirror.requests) == before + 1  # the listing; the file is there
    out.write_bytes(b"trained by me")
    with pytest.raises(HsisrError, match="exists already"):
        run("weights", "deepshare-cave-x4", "-o", str(out))
    assert out.read_bytes() == b"trained by me"
    run("weights", "deepshare-cave-x4", "-o", str(out), "--overwrite")
    assert read_metadata(out)["source"] == "Cave x4.pth"


@pytest.mark.parametrize(
    ("listing", "reason"),
    [
        (b"[]", "not a listing of files"),
        (b"no json", "not a listing of files"),
        (b'{"siblings": []}', "found no file"),
        (b'{"siblings": [{"rfilename": "cave.pth"}, {"rfilename": "old/Cave.pth"}]}', "found cave.pth, old/Cave.pth"),
    ],
)
def test_a_strange_place_ends_with_the_way_by_hand(mirror, tmp_path, listing, reason):
    mirror.files["/api"] = listing
    with pytest.raises(HsisrError, match=f"{reason}; get it from https://github.com/kli8996/HSISR"):
        published.fetch(published.checkpoint("deepshare-cave-x4"), tmp_path)
    assert list(tmp_path.glob("*.listing.json")) == []


def test_no_network(mirror, tmp_path):
    mirror.files = {}
    with pytest.raises(HsisrError, match=r"HTTP 404.*; get it from"):
        published.fetch(published.checkpoint("deepshare-cave-x4"), tmp_path)


def test_no_plain_url(tmp_path):
    with pytest.raises(HsisrError, match=r"mulsr has no plain URL: get it from the Google Drive folder"):
        published.fetch(published.checkpoint("mulsr"), tmp_path)
    with pytest.raises(HsisrError, match=r"unknown published weights 'x'; known: deepshare-cave-x4"):
        published.checkpoint("x")
