"""What compiling CUDA code needs from the machine: toolkit, ninja, memory for the compilers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

JOB_GB = 3.0  # memory of one nvcc on gsplat's largest file


def toolkit_home() -> Path | None:
    """Return the folder of the CUDA toolkit with its headers, or None.

    PyTorch takes the folder above ``nvcc``, which is wrong if ``nvcc`` on the path is only a script
    that calls the real one. So ``nvcc`` itself is asked.
    """
    named = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    candidates = [Path(value) for value in named if value]
    nvcc = shutil.which("nvcc")
    if nvcc is not None:
        told = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True, check=False
        )
        candidates += [
            Path(line.partition("TOP=")[2].strip()).resolve()
            for line in told.stderr.splitlines()
            if "TOP=" in line
        ]
    candidates.append(Path("/usr/local/cuda"))
    for home in candidates:
        if (home / "bin" / "nvcc").is_file() and _header(home) is not None:
            return home
    return None


def _header(home: Path) -> Path | None:
    places = ("include", "targets/x86_64-linux/include", "targets/sbsa-linux/include")
    found = (home / place / "cuda_runtime.h" for place in places)
    return next((path for path in found if path.is_file()), None)


def compiler_environment() -> dict[str, str]:
    """Return the environment for PyTorch's compiler: where toolkit and ninja are, how many jobs."""
    environment = dict(os.environ)
    beside = str(Path(sys.executable).parent)  # ninja, where the environment is not activated
    path = environment.get("PATH", os.defpath)
    if shutil.which("ninja") is None and beside not in path.split(os.pathsep):
        environment["PATH"] = os.pathsep.join([beside, path])
    home = toolkit_home()
    if home is not None:
        environment["CUDA_HOME"] = str(home)
    if not environment.get("MAX_JOBS"):  # gsplat's default is 10, which takes 30 GB
        environment["MAX_JOBS"] = str(jobs())
    return environment


def jobs() -> int:
    """Return how many compilers the cores and the memory allow, also in a container."""
    return max(1, min(len(os.sched_getaffinity(0)), int(free_memory() / (JOB_GB * 1e9))))


def free_memory(root: Path = Path("/")) -> int:
    """Return the free memory, bytes, within the limits of a container or a scheduler.

    Args:
        root: Folder of ``proc`` and ``sys``.
    """
    lines = (root / "proc/meminfo").read_text().splitlines()
    meminfo = dict(line.split(":", 1) for line in lines)
    free = int(meminfo["MemAvailable"].split()[0]) * 1024
    for path in _limits(root):
        try:
            limit = path.read_text().strip()
        except OSError:
            continue  # the root group has none
        if limit.isdigit():
            free = min(free, int(limit))
    return free


def _limits(root: Path) -> list[Path]:
    """Return the files with the limits of this process's control groups and those above."""
    found = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, controllers, name = line.split(":", 2)
        if number == "0":
            top, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the name may be the host's; then the top is the container's own.
        folder = top / name.strip("/")
        found += [g / file for g in (folder, *folder.parents) if g.is_relative_to(top)]
    return found
