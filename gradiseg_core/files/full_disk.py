"""Recognises that an error was caused by a full disk.

Python says ENOSPC; COLMAP's database says "No registered database factory succeeded", SQLite
"database or disk is full", PyTorch "unexpected pos" or "failed writing file". None names the disk.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_CODES = (errno.ENOSPC, errno.EDQUOT)
_SAYINGS = ("no space left on device", "database or disk is full", "disk quota exceeded")
#: Where less than this is free, the disk is taken for the cause of an error that does not name it.
_PROBE = 1_000_000  # bytes


def is_full_disk(error: BaseException, path: Path) -> bool:
    """Tell whether an error, or what caused it, comes from a full disk.

    Args:
        error: The error.
        path: A file or folder on the disk that was written to, which is asked where the error
            itself does not say.
    """
    return any(_says_full(cause) for cause in _chain(error)) or _full(_existing(path))


def explain_full_disk(error: BaseException, folders: Iterable[Path]) -> str | None:
    """Return a message that names the full disk; None where the error has another cause.

    Args:
        error: What ended a stage.
        folders: Where the stage writes: results, work files, temporary files.
    """
    named = [
        Path(cause.filename)
        for cause in _chain(error)
        if isinstance(cause, OSError) and isinstance(cause.filename, str)
    ]
    places = [_existing(Path(folder)) for folder in (*named, *folders)]
    free = {place: shutil.disk_usage(place).free for place in dict.fromkeys(places)}
    empty = [place for place in free if _full(place)]
    if not empty and not any(_says_full(cause) for cause in _chain(error)):
        return None
    listed = "; ".join(f"{size / 1e6:,.0f} MB free in {place}" for place, size in free.items())
    return (
        f"the disk{f' of {empty[0]}' if empty else ''} is full, or a quota is reached ({listed}): "
        f"{type(error).__name__}: {str(error).strip()}. Make room (finished scenes, "
        "`downloads`), or set `results` (for temporary files the variable TMPDIR) to another disk, "
        "and run again: what is finished is kept"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _CODES:
        return True
    return any(saying in str(error).lower() for saying in _SAYINGS)


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next((p for p in (path, *path.parents) if p.is_dir()), Path(path.anchor))


def _full(folder: Path) -> bool:
    """Tell whether a small file does not fit; this also finds quotas, unlike `disk_usage`."""
    if shutil.disk_usage(folder).free < _PROBE:
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
    except OSError as error:
        return error.errno in _CODES
    return False
