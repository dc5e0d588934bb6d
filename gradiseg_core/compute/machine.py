"""What this machine has: cores, memory, memory of its GPU, as far as this process may use them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from gradiseg_core.compute.devices import uses_gpu

CGROUP = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")


def cores() -> int:
    """Return the cores that this process may use: by its affinity and its container's quota."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _read(CGROUP / "cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        return max(1, min(usable or 1, int(quota[0]) // int(quota[1])))
    return max(1, usable or 1)


def memory_bytes() -> int:
    """Return main memory, or what a container may use of it."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _read(CGROUP / "memory.max").strip()
    return min(whole, int(limit)) if limit.isdigit() else whole


def free_memory_bytes() -> int:
    """Return how much memory can be had without swapping; all of it where that is not known."""
    for line in _read(MEMORY).splitlines():
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, memory_bytes())
    return memory_bytes()


def gpu_bytes() -> int | None:
    """Return the memory of the smallest GPU here; None where training would take the CPU."""
    tool = shutil.which("nvidia-smi")
    if not uses_gpu("auto") or tool is None:
        return None
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    sizes = [int(line) for line in done.stdout.split() if line.isdigit()]
    return min(sizes) * 2**20 if sizes else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, or an older kernel
        return ""
