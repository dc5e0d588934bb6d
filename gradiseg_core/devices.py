"""GPUs of this machine: which there are, and which one a job takes.

Several jobs of one workflow may run at once. Each takes a device that no other job holds: a lock
file a device, held while the job lives and released by the system when it dies in any way.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_S = 2.0


def visible_devices(nodes: Path = Path("/dev")) -> list[str]:
    """Return the names of the NVIDIA GPUs that this process may use, without touching CUDA.

    Args:
        nodes: Where the driver's device files are.

    Returns:
        The entries of ``CUDA_VISIBLE_DEVICES`` where a scheduler or the user set it, else the
        numbers of the device files.
    """
    given = os.environ.get(VISIBLE)
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        # CUDA itself stops reading at the first invalid entry, and -1 is the usual one.
        end = names.index("-1") if "-1" in names else len(names)
        return [name for name in names[:end] if name]
    numbers = [path.name.removeprefix("nvidia") for path in nodes.glob("nvidia[0-9]*")]
    return sorted((number for number in numbers if number.isdigit()), key=int)


def uses_gpu(wanted: str) -> bool:
    """Tell whether a stage of this ``device`` will want a GPU of this machine.

    ``cuda`` always does, so that a machine without one says so; ``auto`` where there is one.
    """
    return wanted == "cuda" or (wanted == "auto" and bool(visible_devices()))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def claimed(
    count: int, folder: Path | None = None, poll_s: float = _POLL_S
) -> Iterator[list[str] | None]:
    """Hold ``count`` GPUs of this machine for the body, and show it only these.

    To be entered before anything initialises CUDA, which reads ``CUDA_VISIBLE_DEVICES`` once.
    Jobs that find all devices held wait.

    Args:
        count: GPUs that the job asks for; 0 claims none.
        folder: Of the lock files; by default one of the user's in the folder for temporary files.
        poll_s: How often a waiting job looks again, seconds.

    Yields:
        The devices held, or None where none were asked for or the machine has too few; what needs
        a GPU then says so itself.
    """
    names = visible_devices()
    if count < 1 or len(names) < count:
        yield None
        return
    folder = folder or Path(tempfile.gettempdir()) / f"gradiseg-gpus-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        with ExitStack() as held:
            free = _take(names, count, folder, held)
            if len(free) == count:
                before = os.environ.get(VISIBLE)
                os.environ[VISIBLE] = ",".join(free)
                logger.info("using GPU %s", ", ".join(free))
                try:
                    yield free
                finally:
                    if before is None:
                        del os.environ[VISIBLE]
                    else:
                        os.environ[VISIBLE] = before
                return
        if not told:
            logger.info("all %d GPUs are held by other jobs; waiting", len(names))
            told = True
        time.sleep(poll_s)


def _take(names: list[str], count: int, folder: Path, held: ExitStack) -> list[str]:
    """Lock up to ``count`` devices that nobody holds."""
    free: list[str] = []
    for name in names:
        if len(free) == count:
            break
        file = held.enter_context((folder / f"{name.replace('/', '_')}.lock").open("a"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        free.append(name)
    return free
