"""Download of one file over HTTP: resumed, retried, from several mirrors, checked, with a progress bar."""

import json
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

import hsisr
from hsisr.errors import HsisrError
from hsisr.files import cannot_write, file_hash

#: Tries for each mirror, and seconds before the second try. The wait doubles from try to try.
ATTEMPTS = 4
FIRST_WAIT_S = 1.0
#: Longest wait for a connection, and for the next bytes, in seconds.
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
#: Longest wait for the first byte of the file, in seconds, redirects and headers included.
ANSWER_S = 120.0
#: A server that sends fewer than LEAST_BYTES in STALL_WINDOW_S seconds counts as stalled.
LEAST_BYTES = 10_000
STALL_WINDOW_S = 60.0
#: Longest time for one answer, in seconds. A later run keeps the part that has arrived by then.
LONGEST_S = 24 * 3600.0

_BLOCK_BYTES = 2**20
_MOST_REDIRECTS = 10
_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = {"User-Agent": f"hsisr/{hsisr.__version__} (data set download)", "Accept-Encoding": "identity"}


def download(
    urls: Sequence[str],
    target: Path,
    sha256: str | None = None,
    size_bytes: int | None = None,
    progress: bool = True,
    way_out: str = "",
    hosts: Sequence[str] = (),
) -> str:
    """Bring a file to `target` from the first of `urls` that has it, and return that URL.

    A file at the target is checked and kept. A partial file waits beside it as `<name>.part`. The download resumes
    there, if the server confirms that the file is the same. It takes no more than `size_bytes`.
    progress: whether to show a bar. way_out: the advice that ends an error. hosts: a server may redirect to these
    hosts and to their sub-domains; if `sha256` is known, to any host.
    Raises HsisrError in one line with every mirror's URL and reason.
    """
    if target.is_file():
        fault = _fault(target, sha256, size_bytes)
        if fault:
            raise HsisrError(f"{target}: {fault}; delete it to fetch it again")
        return f"{target} (was there already)"
    if target.is_symlink():
        raise HsisrError(f"{target}: is a link to a file that is not there; delete it to fetch the file")
    wanted = _Wanted(target, sha256, size_bytes, tuple(hosts), progress)
    failures = []
    for url in urls:
        reason = _from_mirror(url, wanted)
        if reason is None:
            return url
        failures.append(f"{url}: {reason}")
    raise HsisrError(f"cannot fetch {'; '.join(failures)}; {way_out}".rstrip("; "))


class _Fault(Exception):
    """Why a try failed. `again`: whether another try may succeed. `wait_s`: how long the server wants us to wait."""

    def __init__(self, reason: str, again: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait_s = again, wait_s


@dataclass(frozen=True)
class _Wanted:
    """The file to fetch, and its target."""

    target: Path
    sha256: str | None
    size_bytes: int | None
    hosts: tuple[str, ...]
    progress: bool

    @property
    def part(self) -> Path:
        """Path of the partial file."""
        return self.target.with_name(self.target.name + ".part")


def _from_mirror(url: str, wanted: _Wanted) -> str | None:
    """None if the file has reached its target, else the reason."""
    part = wanted.part
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            _stream(url, wanted)
            fault = _fault(part, wanted.sha256, wanted.size_bytes)
            if fault:
                _forget(part)
                raise _Fault(fault, again=attempt == 0)  # start again once: the two halves may not match
            os.replace(part, wanted.target)
            _forget(part)
            return None
        except _Fault as failure:
            reason = str(failure)
            if not failure.again:
                return reason
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(failure.wait_s or FIRST_WAIT_S * 2**attempt, 60.0))
    return f"{reason} ({ATTEMPTS} tries)"


def _stream(url: str, wanted: _Wanted) -> None:
    """Add to the partial file until it is complete. Raises _Fault."""
    part = wanted.part
    if part.is_symlink() or _notes(part).is_symlink():  # a link is not ours, and may lead to another file of ours
        _forget(part)
    have = part.stat().st_size if part.is_file() else 0
    validator = _validator(part)
    headers = dict(_HEADERS)
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _faults(part):
        response = _answer(url, headers, wanted)
        with response:
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{have}":
                return  # the partial file is complete
            _check_status(response, part)
            start = have if response.status_code == 206 else 0
            if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                _forget(part)
                raise _Fault("answered with another range than asked for", again=True)
            _remember(part, url, response)
            _write(response, start, _total(response, start), wanted)


def _answer(url: str, headers: dict[str, str], wanted: _Wanted) -> requests.Response:
    """The server's answer, with its headers read. Raises _Fault, and the errors of requests."""
    answers: queue.Queue = queue.Queue(1)

    def ask() -> None:
        try:
            answers.put(_follow(url, headers, wanted))
        except Exception as error:
            answers.put(error)

    # a slow server may send headers for ever: a socket's time-out starts again with every byte
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_S)
    except queue.Empty:
        raise _Fault("no answer in time", again=True) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _follow(url: str, headers: dict[str, str], wanted: _Wanted) -> requests.Response:
    """The answer after all redirects. Raises _Fault for a forbidden redirect."""
    for _ in range(_MOST_REDIRECTS):
        response = requests.get(
            url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), allow_redirects=False
        )
        if not response.is_redirect:
            return response
        response.close()
        target = urljoin(url, response.headers["Location"])
        _check_redirect(url, target, wanted)
        url = target
    raise _Fault(f"more than {_MOST_REDIRECTS} redirects", again=False)


def _check_redirect(url: str, target: str, wanted: _Wanted) -> None:
    """Raise _Fault for a redirect to anything but a web address, or to an unknown host if no hash is known."""
    to = urlsplit(target)
    if to.scheme not in ("http", "https"):
        raise _Fault(f"redirects to {to.scheme}:, expected http or https", again=False)
    host, known = to.hostname or "", (urlsplit(url).hostname or "", *wanted.hosts)
    if wanted.sha256 is None and not any(host == name or host.endswith(f".{name}") for name in known):
        raise _Fault(f"redirects to {host}, and no SHA-256 is known by which that file could be checked", again=False)


def _check_status(response: requests.Response, part: Path) -> None:
    status = response.status_code
    if status == 416:  # the server's file has changed
        _forget(part)
        raise _Fault("half file does not fit the server's", again=True)
    if status in _TEMPORARY_STATUS:
        raise _Fault(f"HTTP {status} {response.reason}", again=True, wait_s=_retry_after(response))
    if status not in (200, 206):
        raise _Fault(f"HTTP {status} {response.reason}", again=False)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise _Fault("the server sent an HTML page in place of the file", again=False)


def _write(response: requests.Response, start: int, total: int | None, wanted: _Wanted) -> None:
    received = start
    began = window_start = time.monotonic()
    window_bytes = 0
    with _bar(wanted.target.name, start, total, wanted.progress) as advance, _open_part(wanted.part, start > 0) as file:
        # read1 returns what has arrived; iter_content waits for a full block, and loses it if the line breaks
        while block := response.raw.read1(_BLOCK_BYTES):
            if received == 0 and _is_html(block):
                raise _Fault("the server sent an HTML page in place of the file", again=False)
            received += len(block)
            if wanted.size_bytes is not None and received > wanted.size_bytes:
                _forget(wanted.part)
                raise _Fault(f"sends more than the {wanted.size_bytes:,} bytes of the published file", again=False)
            file.write(block)
            file.flush()
            window_bytes += len(block)
            advance(len(block))
            now = time.monotonic()
            if now - began > LONGEST_S:
                raise _Fault(f"not done after {LONGEST_S / 3600:.0f} hours", again=False)
            if now - window_start > STALL_WINDOW_S:
                if window_bytes < LEAST_BYTES:
                    raise _Fault("stalled", again=True)
                window_start, window_bytes = now, 0
    if total is not None and received != total:
        raise _Fault(f"broke off after {received:,} of {total:,} bytes", again=True)


def _open_part(path: Path, go_on: bool) -> IO[bytes]:
    """The partial file, open to write, new or at its end. Links are not followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_APPEND if go_on else os.O_TRUNC)
    return open(os.open(path, flags, 0o666), "ab" if go_on else "wb")


def _fault(path: Path, sha256: str | None, size_bytes: int | None) -> str | None:
    """The fault of a complete file, or None."""
    size = path.stat().st_size
    if size == 0:
        return "empty file (0 bytes)"
    if size_bytes is not None and size != size_bytes:
        return f"{size:,} bytes, the published file has {size_bytes:,}"
    if sha256 is not None and (actual := file_hash(path)) != sha256:
        return f"is not the published file (SHA-256 {actual[:16]}..., expected {sha256[:16]}...)"
    return None


def _remember(part: Path, url: str, response: requests.Response) -> None:
    """Keep the server's mark of this version of the file, for resuming."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    with _open_part(_notes(part), go_on=False) as file:
        file.write(json.dumps({"url": url, "validator": validator}).encode())


def _validator(part: Path) -> str | None:
    try:
        return json.loads(_notes(part).read_text(encoding="utf-8"))["validator"] or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _notes(part: Path) -> Path:
    return part.with_name(f".{part.name}.json")


def _total(response: requests.Response, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _is_html(block: bytes) -> bool:
    return block.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html"))


@contextmanager
def _faults(part: Path) -> Iterator[None]:
    """Turn errors of requests and of the disk into a _Fault in plain words."""
    try:
        yield
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _Fault(_plain(error), again=True) from error
    except requests.RequestException as error:
        raise _Fault(_plain(error), again=False) from error
    except OSError as error:
        raise cannot_write(error.filename or part, error) from error


def _plain(error: Exception) -> str:
    text = str(error)
    known = {
        "NameResolutionError": "host name not found (no network?)",
        "Name or service not known": "host name not found (no network?)",
        "Connection refused": "connection refused",
        "Network is unreachable": "no network",
        "IncompleteRead": "broke off before the end",
        "Connection aborted": "broke off",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
        "ProxyError": "the proxy refused",
    }
    for sign, plain in known.items():
        if sign in text:
            return plain
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError) or "timed out" in text:
        return "no answer in time"
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"


@contextmanager
def _bar(label: str, start: int, total: int | None, progress: bool) -> Iterator:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task(label, total=total, completed=start)
        yield lambda count: bar.advance(task, count)
