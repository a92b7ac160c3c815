"""Downloads from a local server that breaks off, lies, stalls, fails and recovers."""

import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hsisr import datasets
from hsisr.datasets import download as module
from hsisr.datasets.download import download
from hsisr.errors import HsisrError

from .fakes import EXTRA, FOLDER

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A web server whose answers are a list of functions (handler, content), the last of which is repeated."""

    def __init__(self) -> None:
        self.files = {"/file.zip": CONTENT}
        self.answers = [whole]
        self.requests: list[dict] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if self.path not in outer.files:
                    answer = status(404)
                answer(self, outer.files.get(self.path, b""))

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def whole(handler, content, sent=None, length=None, etag='"v1"', kind="application/zip"):
    """Answer as an honest server does, ranges included; `sent` and `length` make it dishonest."""
    start, code = 0, 200
    wanted = handler.headers.get("Range")
    if wanted and handler.headers.get("If-Range") == etag:
        start, code = int(wanted.removeprefix("bytes=").rstrip("-")), 206
    if start >= len(content) > 0:
        return status(416, {"Content-Range": f"bytes */{len(content)}"})(handler, content)
    body = content[start:]
    handler.send_response(code)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.send_header("ETag", etag)
    if code == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    handler.wfile.write(body if sent is None else body[:sent])
    handler.close_connection = True


def breaks_off(sent):
    return lambda handler, content: whole(handler, content, sent=sent)


def status(code, headers=None):
    def answer(handler, content):
        handler.send_response(code)
        for key, value in (headers or {}).items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def html(kind="text/html"):
    return lambda handler, content: whole(handler, b"  <!DOCTYPE html><p>Not found</p>", kind=kind)


def wrong_bytes(handler, content):
    whole(handler, bytes(len(content)), etag='"v0"')


def silent(handler, content):
    time.sleep(1.0)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 2.0)
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    server = Server()
    yield server
    server.close()


def get(server, target, sha256=SHA256, urls=None, **kwargs):
    return download(urls or [f"{server.url}/file.zip"], target, sha256, progress=False, **kwargs)


def nothing_left(target) -> bool:
    return list(target.parent.iterdir()) == []


def test_plain_download(server, tmp_path):
    target = tmp_path / "file.zip"
    assert get(server, target) == f"{server.url}/file.zip"
    assert target.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file.zip"]
    assert server.requests[0]["user-agent"].startswith("hsisr/")


def test_goes_on_where_it_broke_off(server, tmp_path):
    server.answers = [breaks_off(300_000), breaks_off(300_000), whole]
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert [request.get("range") for request in server.requests] == [None, "bytes=300000-", "bytes=600000-"]


def test_goes_on_in_a_later_run(server, tmp_path):
    server.answers = [breaks_off(300_000), status(500)]
    with pytest.raises(HsisrError, match=r"HTTP 500 .*\(4 tries\)"):
        get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip.part").stat().st_size == 300_000
    server.answers = [whole]
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.requests[-1]["range"] == "bytes=300000-"


def test_starts_anew_when_the_file_changed_meanwhile(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(b"old" * 1000)
    (tmp_path / ".file.zip.part.json").write_text('{"validator": "\\"v0\\""}')
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_starts_anew_when_the_half_file_is_too_long(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(bytes(len(CONTENT) + 5))
    (tmp_path / ".file.zip.part.json").write_text('{"validator": "\\"v1\\""}')
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_half_file_of_unknown_origin_is_not_trusted(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_tries_again_after_a_passing_fault(server, tmp_path, code):
    server.answers = [status(code), status(code), whole]
    get(server, tmp_path / "file.zip")
    assert len(server.requests) == 3


def test_waits_as_long_as_the_server_asks(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    server.answers = [status(503, {"Retry-After": "7"}), status(503), whole]
    get(server, tmp_path / "file.zip")
    assert waits == [7.0, pytest.approx(0.02)]


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_does_not_insist_on_a_lasting_fault(server, tmp_path, code):
    server.answers = [status(code)]
    with pytest.raises(HsisrError, match=f"HTTP {code}"):
        get(server, tmp_path / "file.zip")
    assert len(server.requests) == 1
    assert nothing_left(tmp_path / "file.zip")


def test_second_mirror(server, tmp_path):
    urls = ["http://127.0.0.1:9/file.zip", f"{server.url}/gone.zip", f"{server.url}/file.zip"]
    assert get(server, tmp_path / "file.zip", urls=urls) == urls[2]


def test_all_mirrors_fail_in_one_line_with_each_reason(server, tmp_path):
    urls = ["http://127.0.0.1:9/file.zip", f"{server.url}/gone.zip"]
    with pytest.raises(HsisrError) as caught:
        get(server, tmp_path / "file.zip", urls=urls, way_out="put it there yourself")
    text = str(caught.value)
    assert "127.0.0.1:9/file.zip: connection refused (4 tries)" in text
    assert "gone.zip: HTTP 404 Not Found" in text
    assert text.endswith("put it there yourself")
    assert "\n" not in text


def test_host_that_does_not_exist(server, tmp_path):
    with pytest.raises(HsisrError, match=r"http://nowhere\.invalid/x\.zip: (host name not found|no network|the proxy)"):
        get(server, tmp_path / "x.zip", urls=["http://nowhere.invalid/x.zip"])


def test_wrong_bytes_are_tried_once_more_and_never_kept(server, tmp_path):
    server.answers = [wrong_bytes]
    with pytest.raises(HsisrError, match=r"is not the published file \(SHA-256"):
        get(server, tmp_path / "file.zip")
    assert len(server.requests) == 2
    assert nothing_left(tmp_path / "file.zip")
    server.answers = [wrong_bytes, whole]
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_length_that_is_too_large(server, tmp_path):
    server.answers = [lambda handler, content: whole(handler, content, length=len(content) + 1000, etag="")]
    with pytest.raises(HsisrError, match="broke off"):
        get(server, tmp_path / "file.zip", sha256=None)
    assert not (tmp_path / "file.zip").exists()


def test_whole_half_file_needs_no_bytes(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    (tmp_path / ".file.zip.part.json").write_text('{"validator": "\\"v1\\""}')
    get(server, tmp_path / "file.zip")
    assert os.listdir(tmp_path) == ["file.zip"]


def test_length_that_is_too_small(server, tmp_path):
    server.answers = [lambda handler, content: whole(handler, content, length=1000)]
    with pytest.raises(HsisrError, match="1,000 bytes, the published file has 1,024,000"):
        get(server, tmp_path / "file.zip", sha256=None, size_bytes=len(CONTENT))
    assert nothing_left(tmp_path / "file.zip")


def test_empty_file(server, tmp_path):
    server.files["/file.zip"] = b""
    with pytest.raises(HsisrError, match="empty file"):
        get(server, tmp_path / "file.zip", sha256=None)


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "application/zip"])
def test_html_page_in_place_of_the_file(server, tmp_path, kind):
    server.answers = [html(kind)]
    with pytest.raises(HsisrError, match="HTML page in place of the file"):
        get(server, tmp_path / "file.zip", sha256=None)
    assert not (tmp_path / "file.zip").exists()


def test_silent_server(server, tmp_path):
    server.answers = [silent]
    start = time.monotonic()
    with pytest.raises(HsisrError, match=r"(no answer in time|broke off) \(4 tries\)"):
        get(server, tmp_path / "file.zip")
    assert time.monotonic() - start < 10


def test_stalled_server(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STALL_WINDOW_S", 0.05)

    monkeypatch.setattr(module, "READ_TIMEOUT_S", 5.0)
    stop = threading.Event()

    def drips(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        while not stop.is_set():  # a byte now and then, for ever: no timeout of the connection ends it
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.01)

    server.answers = [drips, whole]
    get(server, tmp_path / "file.zip")
    stop.set()
    assert len(server.requests) == 2


def test_redirect(server, tmp_path):
    server.answers = [status(302, {"Location": "/file.zip"}), whole]
    get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_file_that_is_there_is_kept_if_right_and_reported_if_wrong(server, tmp_path):
    (tmp_path / "file.zip").write_bytes(CONTENT)
    get(server, tmp_path / "file.zip")
    (tmp_path / "file.zip").write_bytes(b"mine")
    with pytest.raises(HsisrError, match=r"file\.zip: is not the published file .* delete it to fetch it again"):
        get(server, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == b"mine"
    assert server.requests == []


@pytest.mark.parametrize("name", ["cave", "harvard", "chikusei", "div2k"])
def test_data_sets_come_from_a_mirror(server, tmp_path, name):
    files = {f"/{name}/{file.name}": (FOLDER / name / file.name).read_bytes() for file in datasets.entry(name).files}
    server.files = files
    server.answers = [breaks_off(500), whole]
    content = datasets.fetch(name, tmp_path / "raw", f"{server.url}/{name}/", progress=False, extra=EXTRA)
    assert content["root"] == "."
    assert set(content["archives"]) == {file.name for file in datasets.entry(name).files}
    assert datasets.present(name, tmp_path / "raw", EXTRA) == list(datasets.entry(name, EXTRA).scenes)
    assert not any(path.suffix in (".zip", ".tgz", ".part") for path in (tmp_path / "raw").rglob("*"))
    count = len(server.requests)
    assert datasets.fetch(name, tmp_path / "raw", f"{server.url}/{name}/", progress=False, extra=EXTRA) == content
    assert len(server.requests) == count


def test_data_set_from_a_mirror_that_sends_a_cut_archive(server, tmp_path):
    archive = (FOLDER / "cave" / "complete_ms_data.zip").read_bytes()
    server.files = {"/complete_ms_data.zip": archive[: len(archive) // 2]}
    with pytest.raises(HsisrError, match=r"complete_ms_data\.zip: damaged or cut archive"):
        datasets.fetch("cave", tmp_path / "raw", server.url, progress=False, extra=EXTRA)
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_no_network_names_url_reason_and_way_out(server, tmp_path):
    file = {"name": "complete_ms_data.zip", "urls": ["http://127.0.0.1:9/cave.zip"], "unpack": True}
    with pytest.raises(HsisrError) as caught:
        datasets.fetch("cave", tmp_path / "raw", progress=False, extra={"cave": {"files": [file]}})
    text = str(caught.value)
    assert text.startswith("cave: cannot fetch http://127.0.0.1:9/cave.zip: connection refused")
    assert "HSISR_SOURCE_CAVE=FOLDER" in text and "sources: {cave: FOLDER}" in text
    assert "\n" not in text


def redirect(place):
    return status(302, {"Location": place})


def test_redirect_to_a_file_of_this_machine(server, tmp_path):
    server.answers = [redirect("file:///etc/passwd")]
    with pytest.raises(HsisrError, match="redirects to file:, expected http or https"):
        get(server, tmp_path / "file.zip")
    assert nothing_left(tmp_path / "file.zip")


def test_redirect_to_another_host_only_where_the_hash_is_known_or_the_host_is(server, tmp_path):
    server.answers = [redirect(server.url.replace("127.0.0.1", "localhost") + "/file.zip"), whole] * 3
    with pytest.raises(HsisrError, match="redirects to localhost, and no SHA-256 is known"):
        get(server, tmp_path / "a.zip", sha256=None)
    server.answers = server.answers[1:]
    get(server, tmp_path / "b.zip", urls=[f"{server.url}/file.zip"])
    server.answers = [redirect(server.url.replace("127.0.0.1", "localhost") + "/file.zip"), whole]
    get(server, tmp_path / "c.zip", sha256=None, hosts=["localhost"])


def test_redirects_without_end(server, tmp_path):
    server.answers = [redirect("/file.zip")]
    with pytest.raises(HsisrError, match="more than 10 redirects"):
        get(server, tmp_path / "file.zip")


def test_no_more_is_taken_than_the_published_size(server, tmp_path):
    sent = []

    def endless(handler, content):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(bytes([1]) * 2**20)
                sent.append(1)
        except OSError:
            pass
        handler.close_connection = True

    server.answers = [endless]
    with pytest.raises(HsisrError, match="sends more than the 1,000 bytes"):
        get(server, tmp_path / "file.zip", size_bytes=1000)
    assert len(sent) < 50 and nothing_left(tmp_path / "file.zip")


def test_headers_without_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.5)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    stop = threading.Event()

    def drips(handler, content):
        handler.send_response(200)
        handler.flush_headers()
        while not stop.is_set():  # a header now and then, sooner than any timeout of the connection
            handler.wfile.write(b"X-More: 1\r\n")
            time.sleep(0.1)

    server.answers = [drips]
    began = time.monotonic()
    with pytest.raises(HsisrError, match="no answer in time"):
        get(server, tmp_path / "file.zip")
    stop.set()
    assert time.monotonic() - began < 5


def test_a_time_for_the_whole_of_it(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_S", -1.0)
    with pytest.raises(HsisrError, match="not done after"):
        get(server, tmp_path / "file.zip")


@pytest.mark.parametrize("name", ["file.zip.part", ".file.zip.part.json", "file.zip"])
def test_a_link_in_the_folder_is_never_followed(server, tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / name).symlink_to(precious)
    if name == "file.zip":
        precious.unlink()  # one that leads nowhere
        with pytest.raises(HsisrError, match="is a link"):
            get(server, tmp_path / "downloads" / "file.zip")
        assert not precious.exists()
        return
    get(server, tmp_path / "downloads" / "file.zip")
    assert precious.read_text() == "kept" and os.listdir(tmp_path / "downloads") == ["file.zip"]
