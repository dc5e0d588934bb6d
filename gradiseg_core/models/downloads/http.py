"""Fetches one file over HTTP: retries, resumes, and checks what arrives.

pooch, which fetches by address and hash, starts again from the first byte after a cut connection.
Files of 2.6 GB must resume, so the transfer is done here, on top of requests.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from gradiseg_core.errors import DownloadError
from gradiseg_core.models.downloads.disk import bytes_text, full_disk_explained, require_space
from gradiseg_core.progress import Progress

logger = logging.getLogger(__name__)

_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)
_CHUNK = 1 << 20
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


class TransientError(DownloadError):
    """The server's answer may be different if it is asked again a little later."""


class UnreachableError(DownloadError):
    """The connection failed for good; what had arrived is worth keeping."""


#: Errors that another attempt may avoid, unlike a 404, a wrong hash or a full disk.
TRANSIENT_ERRORS: tuple[type[Exception], ...] = (
    TransientError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    HTTPError,
    TimeoutError,
    ConnectionError,
)


def pause(attempt: int, sleep: Callable[[float], Any] = time.sleep) -> None:
    """Wait before attempt number ``attempt`` (1 is the first further one): 1, 2, 4, ... s."""
    longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempt - 1))
    # Workers that failed together do not come back together.
    sleep(longest * random.uniform(0.75, 1.0))


def fetch_url(
    url: str,
    target: Path,
    *,
    retries: int,
    timeout_s: float,
    expected_size: int | None = None,
    sleep: Callable[[float], Any] = time.sleep,
) -> None:
    """Fetch ``url`` into ``target``; a part that an earlier call left is completed.

    Beside ``target`` lies ``<target>.json`` with the server's mark of the content (ETag or date).
    Without it nothing is resumed: halves of two different files must not be joined.

    Args:
        url: Address.
        target: File to write; it stays, cut short, after an error (the caller removes it).
        retries: Further attempts in a row without a new byte.
        timeout_s: Longest wait for the server's next bytes, s.
        expected_size: Size for the disk check where the server names none, bytes.
        sleep: Waits; replaced by tests.

    Raises:
        UnreachableError: If the connection fails again and again.
        DownloadError: If the server refuses or sends a web page; if the disk is or would be full.
    """
    failures, reached = 0, 0
    while True:
        try:
            with full_disk_explained(target.parent, url):
                _attempt(url, target, timeout_s, expected_size)
            return
        except TRANSIENT_ERRORS as error:
            have = _size(target)
            failures = 1 if have > reached else failures + 1
            reached = max(reached, have)
            if failures > retries:
                raise UnreachableError(
                    f"{url} could not be fetched: {explain(error)}, after {failures} attempts; "
                    f"check the connection and run again ({bytes_text(have)} are kept and will be "
                    "continued)"
                ) from error
            logger.warning("%s: %s; trying again", url, explain(error))
            pause(failures, sleep)


def explain(error: Exception) -> str:
    """Return what happened to a connection, in a few words."""
    if isinstance(error, requests.Timeout | TimeoutError):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | HTTPError):
        return "the connection was cut"
    if isinstance(error, requests.ConnectionError | ConnectionError):
        return "no connection to the server"
    return str(error)


def check_answer(response: requests.Response, url: str) -> None:
    """Raise unless the answer is the file.

    Raises:
        TransientError: If the server is busy or broken.
        DownloadError: If it refuses, or sends a web page (of a login, a proxy, an error).
    """
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        raise TransientError(f"the server answered {status} {response.reason}")
    if status == 404 or status == 410:
        raise DownloadError(
            f"{url} does not exist (the server answered {status}): it was moved or removed; fetch "
            "the file by hand from another place and name it in the configuration"
        )
    if status >= 400:
        raise DownloadError(
            f"the server refuses {url} ({status} {response.reason}); fetch the file by hand and "
            "name it in the configuration"
        )
    if response.headers.get("Content-Type", "").partition(";")[0].strip() == "text/html":
        raise _web_page(url)


def _attempt(url: str, target: Path, timeout_s: float, expected_size: int | None) -> None:
    mark = _read_mark(target)
    have = _size(target) if mark is not None else 0
    headers = {"Accept-Encoding": "identity"}
    if have and mark is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    with requests.get(url, headers=headers, stream=True, timeout=timeout_s) as response:
        if response.status_code == 416:
            # There is more than the server has, so it is not the same file.
            _discard(target)
            raise TransientError("the server has a shorter file than before")
        check_answer(response, url)
        resumed = response.status_code == 206 and _range_start(response) == have
        if response.status_code == 206 and not resumed:
            _discard(target)
            raise TransientError("the server sent a part that was not asked for")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        wanted = total if total is not None else expected_size
        if wanted is not None:
            require_space(target.parent, wanted - have, url)
        _write_mark(target, response)
        logger.info(
            "%s %s%s", "continuing" if resumed else "fetching", url,
            f" ({bytes_text(wanted)})" if wanted else "",
        )  # fmt: skip
        with (
            target.open("ab" if resumed else "wb") as file,
            Progress(target.name.strip("."), total, "B", done=have) as progress,
        ):
            for chunk in response.iter_content(_CHUNK):
                if not have and _looks_like_html(chunk):
                    raise _web_page(url)
                file.write(chunk)
                have += len(chunk)
                progress.advance(len(chunk))
        if total is not None and have != total:
            raise TransientError(f"the connection was cut at {have} of {total} bytes")


def _range_start(response: requests.Response) -> int | None:
    # Content-Range: bytes 100-199/200
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else None


def _looks_like_html(chunk: bytes) -> bool:
    return chunk[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _web_page(url: str) -> DownloadError:
    return DownloadError(
        f"{url} gave a web page instead of the file: a proxy or a login stands between, or the "
        "file was moved; open the address in a browser, or fetch the file by hand"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def mark_file(target: Path) -> Path:
    """Return where the server's mark of a partial file is kept."""
    return target.with_name(f"{target.name}.json")


def _read_mark(target: Path) -> str | None:
    try:
        mark = json.loads(mark_file(target).read_text()).get("mark")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return mark if isinstance(mark, str) else None


def _write_mark(target: Path, response: requests.Response) -> None:
    # A weak ETag (W/) promises the same meaning, not the same bytes; RFC 9110 forbids it here.
    etag = response.headers.get("ETag", "")
    mark = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    mark_file(target).write_text(json.dumps({"mark": mark}))


def _discard(target: Path) -> None:
    target.unlink(missing_ok=True)
    mark_file(target).unlink(missing_ok=True)
