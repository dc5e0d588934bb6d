"""Keeps COLMAP's own log out of the terminal, and reports progress instead.

COLMAP logs through glog, which knows nothing of Python's `logging` and writes to stderr. While one
of the context managers here is open, its messages go to a file.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

#: A program that prints the number that a query returns.
_READ = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "?mode=ro", uri=True)
print(db.execute(sys.argv[2]).fetchone()[0])
"""


@contextmanager
def glog_to_folder(folder: Path) -> Iterator[None]:
    """Send COLMAP's messages to `folder/colmap.log.<time>` instead of stderr."""
    from gradiseg_core.files._pycolmap import pycolmap

    settings = pycolmap.logging
    names = ("logtostderr", "alsologtostderr", "logtostdout", "stderrthreshold")
    before = {name: getattr(settings, name) for name in names}
    levels = (settings.WARNING, settings.ERROR, settings.FATAL)
    for name in names[:3]:
        setattr(settings, name, False)
    settings.stderrthreshold = int(settings.FATAL)
    # The file of level INFO also receives all levels above it; an empty name means no file.
    settings.set_log_destination(settings.INFO, str(folder / "colmap.log."))
    for level in levels:
        settings.set_log_destination(level, "")
    try:
        yield
    finally:
        settings.set_log_destination(settings.INFO, "")
        for name, value in before.items():
            setattr(settings, name, value)


@contextmanager
def progress_of_table(
    database: Path, query: str, what: str, total: int, *, every_s: float = 10.0
) -> Iterator[None]:
    """Log "`what`: n of `total`" now and then, with n read from COLMAP's database.

    COLMAP's long calls return nothing before they end, but commit each item to SQLite. A separate
    process reads it: pycolmap and Python each bring a SQLite, and two in one process do not see
    each other's locks. One then cuts the shared memory that the other has mapped, and the process
    dies of SIGBUS (sqlite.org/howtocorrupt.html, section 2.2.1).

    Args:
        database: COLMAP's database file.
        query: SQL that returns the number of finished items.
        what: Name of the work, for the message.
        total: Number of all items.
        every_s: Seconds between two messages.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            command = [sys.executable, "-c", _READ, database.as_uri(), query]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.returncode:  # locked for a moment: report next time
                logger.debug("progress of %s not readable: %s", what, found.stderr.strip())
                continue
            logger.info("%s: %d of %d", what, int(found.stdout), total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
