"""Room on the disk: asked for before a download, and a clear error where it runs out."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradiseg_core.errors import DownloadError

#: Bytes that a download leaves free, for others that write to the same disk.
RESERVE = 200_000_000

_FULL = (errno.ENOSPC, errno.EDQUOT)


def bytes_text(size: float) -> str:
    """Return a size in decimal units: ``2.6 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check that ``needed`` bytes fit the disk of ``folder``, with some to spare.

    Raises:
        DownloadError: If they do not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise DownloadError(
            f"{what} needs {bytes_text(needed)} more in {folder}, and {bytes_text(free)} are free "
            f"({bytes_text(RESERVE)} are kept free); make room, or set `downloads.folder` to "
            "another disk"
        )


@contextmanager
def full_disk_explained(folder: Path, what: str) -> Iterator[None]:
    """Turn "no space left" within the block into an error that names the disk.

    Raises:
        DownloadError: If the disk is full, or its quota exceeded.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DownloadError(
            f"the disk of {folder} is full: {what} was not finished, and what was written of it "
            "is removed; make room, or set `downloads.folder` to another disk"
        ) from error
