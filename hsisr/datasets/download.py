"""Download of one file over HTTP: resumed, retried, from several mirrors, checked, with a progress bar."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

import hsisr
from hsisr.errors import HsisrError
from hsisr.files import file_hash

#: Tries for each mirror, and the wait before the second in seconds; it doubles from try to try.
ATTEMPTS = 4
FIRST_WAIT_S = 1.0
#: Longest wait for a connection, and for the next bytes, in seconds.
CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
#: A server that sends less than so much in such a time counts as stalled.
LEAST_BYTES = 10_000
STALL_WINDOW_S = 60.0

_BLOCK_BYTES = 2**20
_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = {"User-Agent": f"hsisr/{hsisr.__version__} (data set download)", "Accept-Encoding": "identity"}


def download(
    urls: Sequence[str],
    target: Path,
    sha256: str | None = None,
    size_bytes: int | None = None,
    progress: bool = True,
    way_out: str = "",
) -> str:
    """Bring a file to `target` from the first mirror that has it, and return where it came from.

    A file that is there already is checked and kept. Half a file waits beside it as `<name>.part` and goes on where
    it stopped, if the server agrees that it is the same file. way_out: what an error ends with.
    Raises HsisrError in one line with every mirror's URL and reason.
    """
    if target.is_file():
        fault = _fault(target, sha256, size_bytes)
        if fault:
            raise HsisrError(f"{target}: {fault}; delete it to fetch it again")
        return f"{target} (was there already)"
    failures = []
    for url in urls:
        reason = _from_mirror(url, target, sha256, size_bytes, progress)
        if reason is None:
            return url
        failures.append(f"{url}: {reason}")
    raise HsisrError(f"cannot fetch {'; '.join(failures)}; {way_out}".rstrip("; "))


class _Fault(Exception):
    """Why a try failed; `again` says whether another may succeed, `wait_s` how long the server wants us to wait."""

    def __init__(self, reason: str, again: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait_s = again, wait_s


def _from_mirror(url: str, target: Path, sha256: str | None, size_bytes: int | None, progress: bool) -> str | None:
    """None when the file is at `target`, else why it is not."""
    part = target.with_name(target.name + ".part")
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            _stream(url, part, target.name, progress)
            fault = _fault(part, sha256, size_bytes)
            if fault:
                _forget(part)
                raise _Fault(fault, again=attempt == 0)  # once more from the start, in case halves did not match
            os.replace(part, target)
            _forget(part)
            return None
        except _Fault as failure:
            reason = str(failure)
            if not failure.again:
                return reason
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(failure.wait_s or FIRST_WAIT_S * 2**attempt, 60.0))
    return f"{reason} ({ATTEMPTS} tries)"


def _stream(url: str, part: Path, label: str, progress: bool) -> None:
    """Add to `part` until it is whole. Raises _Fault."""
    have = part.stat().st_size if part.is_file() else 0
    validator = _validator(part)
    headers = dict(_HEADERS)
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _faults():
        response = requests.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
        with response:
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{have}":
                return  # all of it is here already
            _check_status(response, part)
            start = have if response.status_code == 206 else 0
            if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                _forget(part)
                raise _Fault("answered with another range than asked for", again=True)
            _remember(part, url, response)
            total = _total(response, start)
            _write(response, part, start, total, label, progress)


def _check_status(response: requests.Response, part: Path) -> None:
    status = response.status_code
    if status == 416:  # the half file is no part of what the server has now
        _forget(part)
        raise _Fault("half file does not fit the server's", again=True)
    if status in _TEMPORARY_STATUS:
        raise _Fault(f"HTTP {status} {response.reason}", again=True, wait_s=_retry_after(response))
    if status not in (200, 206):
        raise _Fault(f"HTTP {status} {response.reason}", again=False)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise _Fault("the server sent an HTML page in place of the file", again=False)


def _write(response: requests.Response, part: Path, start: int, total: int | None, label: str, progress: bool) -> None:
    received = start
    window_start, window_bytes = time.monotonic(), 0
    with _bar(label, start, total, progress) as advance, open(part, "ab" if start else "wb") as file:
        # read1 gives what has arrived: iter_content would wait for a full block, and lose it when the line breaks
        while block := response.raw.read1(_BLOCK_BYTES):
            if received == 0 and _is_html(block):
                raise _Fault("the server sent an HTML page in place of the file", again=False)
            file.write(block)
            file.flush()
            received += len(block)
            window_bytes += len(block)
            advance(len(block))
            if time.monotonic() - window_start > STALL_WINDOW_S:
                if window_bytes < LEAST_BYTES:
                    raise _Fault("stalled", again=True)
                window_start, window_bytes = time.monotonic(), 0
    if total is not None and received != total:
        raise _Fault(f"broke off after {received:,} of {total:,} bytes", again=True)


def _fault(path: Path, sha256: str | None, size_bytes: int | None) -> str | None:
    """What is wrong with a whole file, or None."""
    size = path.stat().st_size
    if size == 0:
        return "empty file (0 bytes)"
    if size_bytes is not None and size != size_bytes:
        return f"{size:,} bytes, the published file has {size_bytes:,}"
    if sha256 is not None and (actual := file_hash(path)) != sha256:
        return f"is not the published file (SHA-256 {actual[:16]}..., expected {sha256[:16]}...)"
    return None


def _remember(part: Path, url: str, response: requests.Response) -> None:
    """Keep what identifies the server's version of the file, for resuming."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    _notes(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


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
def _faults() -> Iterator[None]:
    """Turn what requests and the disk raise into a _Fault in plain words."""
    try:
        yield
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _Fault(_plain(error), again=True) from error
    except requests.RequestException as error:
        raise _Fault(_plain(error), again=False) from error
    except OSError as error:
        raise HsisrError(f"{error.filename or 'the disk'}: cannot be written ({error.strerror or error})") from error


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
