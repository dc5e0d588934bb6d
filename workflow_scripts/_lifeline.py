"""Ends a job when the Snakemake that started it has ended.

A Snakemake that is killed (SIGKILL, out of memory) cannot stop its jobs. They would go on beside
those of the next call and write the same files. Linux only; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def hold() -> None:
    """End this process as soon as one of the Snakemakes above it ends."""
    pids = _snakemakes()
    if not pids or not hasattr(os, "pidfd_open"):
        return
    # The kernel watches only the direct parent, which is often a shell. But it does not need
    # Python's lock, which a long call into a library may hold.
    if pids[0] == os.getppid():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        descriptors = [os.pidfd_open(pid) for pid in pids]
    except ProcessLookupError:
        _end()
    except OSError:  # an older kernel, or a sandbox
        return
    threading.Thread(target=_wait, args=(descriptors,), name="lifeline", daemon=True).start()


def _wait(descriptors: list[int]) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    _end()


def _end() -> None:
    logging.error("the Snakemake that started this job is gone; the job ends with it")
    os._exit(1)


def _snakemakes() -> list[int]:
    """Return the Snakemakes above this process, nearest first (jobs of a group have two)."""
    found = []
    pid = os.getppid()
    while pid > 1:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            break
        program = arguments[:3]  # python -m snakemake, or python .../bin/snakemake
        if any(Path(os.fsdecode(part)).name == "snakemake" for part in program) or any(
            part.endswith(b"/snakemake/__main__.py") for part in program
        ):
            found.append(pid)
        pid = int(status.rpartition(")")[2].split()[1])
    return found
