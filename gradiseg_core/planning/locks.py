"""Whose the lock of a folder is: of a run that is at work, or of one that was killed."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from gradiseg_core.errors import InputError
from gradiseg_core.planning.place import Place
from gradiseg_core.stages.report.status import is_active, is_left_locked

_LOCKS = Path(".snakemake", "locks")
#: The machine on which `gradiseg run` works here, or worked when it was killed.
_RECORD = Path(".snakemake", "gradiseg_run.txt")


def make_way(results: Path, configfile: Path, place: Place) -> str | None:
    """Unlock the working directory after an own run that was killed.

    Snakemake locks what it works on, and leaves the lock where it is killed. From the lock alone it
    cannot tell whether another machine works on a shared folder, so that a user must. Of its own
    runs `gradiseg run` notes the machine, on which it can look.

    Args:
        results: Folder of the results.
        configfile: Of the run, for what is said.
        place: Likewise.

    Returns:
        What was done, in words; None where nothing was to be done.

    Raises:
        InputError: If another run is at work on these results.
    """
    if is_at_work(results):
        own: list[str | Path] = ["--configfile", configfile] if configfile.is_file() else []
        seen = place.command("status", *own)
        raise InputError(
            f"another run is at work here ({Path.cwd()}): `{seen}` shows it. Let it end, or stop "
            "it (Ctrl+C in its terminal), and give this command again"
        )
    if not is_left_by_us():
        return None
    for lock in _LOCKS.glob("*.lock"):  # what `snakemake --unlock` does
        lock.unlink(missing_ok=True)
    return "the last run was killed and left this folder locked: unlocked, and going on"


def is_at_work(results: Path) -> bool:
    """Tell whether a Snakemake of this machine works on results, from the working directory."""
    place = Path(os.path.abspath(results))
    lines = [
        line
        for lock in _LOCKS.glob("*.output.lock")
        for line in lock.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    ours = any(Path(os.path.abspath(line)).is_relative_to(place) for line in lines)
    return ours and is_active(Path().resolve())


def begun() -> float | None:
    """Return when the Snakemake of the working directory began, s since 1970; None: none is there.

    By its oldest lock.
    """
    times = [lock.stat().st_mtime for lock in _LOCKS.glob("*.lock") if lock.is_file()]
    return min(times, default=None)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Note, while the body runs Snakemake, that it does on this machine.

    The note stays where the process is killed, or where Snakemake left its lock. A lock that was
    there before is another's.
    """
    if any(_LOCKS.glob("*.lock")):
        yield
        return
    _RECORD.parent.mkdir(exist_ok=True)
    _RECORD.write_text(platform.node(), encoding="utf-8")
    try:
        yield
    finally:
        if not any(_LOCKS.glob("*.lock")):
            _RECORD.unlink(missing_ok=True)


def is_left_by_us() -> bool:
    """Tell whether the lock is of this user's `gradiseg run` that was killed on this machine."""
    if not is_left_locked(Path()) or not Path("/proc/self/cwd").exists() or not _RECORD.is_file():
        return False
    own = _RECORD.stat().st_uid == os.getuid()
    return own and _RECORD.read_text(encoding="utf-8") == platform.node()
