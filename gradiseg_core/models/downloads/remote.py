"""Fetches single files of a large zip archive on a server, by HTTP ranges."""

from __future__ import annotations

import logging
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from gradiseg_core.errors import BackendUnavailableError, DownloadError
from gradiseg_core.models.downloads.archive import checked_members, missing_members, unpack
from gradiseg_core.models.downloads.disk import bytes_text
from gradiseg_core.models.downloads.http import (
    TRANSIENT_ERRORS,
    TransientError,
    UnreachableError,
    check_answer,
    explain,
    pause,
)
from gradiseg_core.progress import Progress

if TYPE_CHECKING:
    from remotezip import RemoteZip

logger = logging.getLogger(__name__)

Members = Mapping[str, zipfile.ZipInfo]

#: Bytes of the archive's end that are asked for first; Mip-NeRF 360's directories lie within.
_DIRECTORY_BYTES = 1 << 20


def fetch_members(
    url: str,
    choose: Callable[[Members], Members],
    folder: Path,
    *,
    retries: int,
    timeout_s: float,
    sleep: Callable[[float], Any] = time.sleep,
) -> None:
    """Fetch chosen files of a zip archive; files that an earlier call fetched are kept.

    Every file is compared with the checksum (CRC-32) in the archive's directory.

    Args:
        url: Address of the archive; the server must serve ranges.
        choose: Gets the checked files of the archive by name, returns those to fetch by their path
            below ``folder``.
        folder: Folder to fill.
        retries: Further attempts in a row in which no file is completed.
        timeout_s: Longest wait for the server's next bytes, s.
        sleep: Waits; replaced by tests.

    Raises:
        UnreachableError: If the connection fails again and again.
        DownloadError: If the archive is missing, hostile, not an archive, or lacks the files, or if
            the disk is or would be full (the caller removes ``folder``).
        BackendUnavailableError: If the package remotezip is missing.
    """
    try:
        import remotezip
    except ImportError as error:
        raise BackendUnavailableError(
            f"fetching parts of {url} needs the package remotezip; run `pip install "
            "-e '.[models]'`, start Snakemake with `--sdm conda`, or fetch the scene by hand "
            "and name its folder in `path`"
        ) from error
    cut = (
        *TRANSIENT_ERRORS,
        remotezip.RemoteIOError,
        remotezip.OutOfBound,  # a range that came back shorter than asked for
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
    )
    folder.mkdir(parents=True, exist_ok=True)
    failures, reached = 0, 0
    while True:
        try:
            with _session(timeout_s) as session:
                _check_server(session, url)
                with remotezip.RemoteZip(
                    url, initial_buffer_size=_DIRECTORY_BYTES, session=session
                ) as archive:
                    _fetch(archive, choose, folder, url)
            return
        except cut as error:
            complete = sum(path.is_file() for path in folder.rglob("*"))
            failures = 1 if complete > reached else failures + 1
            reached = max(reached, complete)
            if failures > retries:
                raise UnreachableError(_gave_up(url, error, failures, complete)) from error
            logger.warning("%s: %s; trying again", url, _explain(error))
            pause(failures, sleep)


def _fetch(
    archive: RemoteZip, choose: Callable[[Members], Members], folder: Path, url: str
) -> None:
    members = choose(checked_members(archive, url))
    left = [info.file_size for info in missing_members(members, folder).values()]
    logger.info("fetching %d files (%s) of %s", len(left), bytes_text(sum(left)), url)
    with Progress(url.rpartition("/")[2], sum(left), "B") as progress:
        unpack(archive, members, folder, url, advance=progress.advance)


def _check_server(session: requests.Session, url: str) -> None:
    """Ask for four bytes, so that a missing, foreign or range-less archive has its own message."""
    with session.get(url, headers={"Range": "bytes=0-3"}, stream=True) as response:
        check_answer(response, url)
        if response.status_code != 206:
            raise DownloadError(
                f"{url} is not served in parts (the server ignores ranges), and all of it would be "
                "many gigabytes; fetch the scene by hand and name its folder in `path`"
            )
        start = response.raw.read(4)
        if len(start) < 4:
            raise TransientError("the connection was cut")
        if not start.startswith(b"PK"):
            raise DownloadError(
                f"{url} is not a zip archive (it starts with {start!r}); its publisher may have "
                "moved it. Fetch the scene by hand and name its folder in `path`"
            )


def _session(timeout_s: float) -> requests.Session:
    """Return a session that waits ``timeout_s`` wherever no other limit is given."""

    class Session(requests.Session):
        def request(self, *args: Any, **kwargs: Any) -> requests.Response:
            kwargs.setdefault("timeout", timeout_s)
            return super().request(*args, **kwargs)

    session = Session()
    session.headers["Accept-Encoding"] = "identity"
    return session


def _explain(error: Exception) -> str:
    if isinstance(error, TransientError | requests.RequestException | TimeoutError):
        return explain(error)
    if isinstance(error, zipfile.BadZipFile | zlib.error):
        return f"a damaged part arrived ({error})"
    return "the connection was cut"


def _gave_up(url: str, error: Exception, attempts: int, complete: int) -> str:
    return (
        f"parts of {url} could not be fetched: {_explain(error)}, after {attempts} attempts; check "
        f"the connection and run again ({complete} complete files are kept)"
    )
