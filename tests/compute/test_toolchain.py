"""What compilers are given: folders, and as many at once as memory allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradiseg_core.compute import toolchain


def meminfo(root: Path, free_gb: float) -> None:
    (root / "proc" / "self").mkdir(parents=True)
    text = f"MemTotal: 99999999 kB\nMemAvailable: {round(free_gb * 1e9 / 1024)} kB\n"
    (root / "proc" / "meminfo").write_text(text)


@pytest.mark.parametrize(
    ("cgroup", "file", "limit", "expected"),
    [
        ("0::/", "memory.max", "max", 20e9),
        ("0::/job/step", "job/memory.max", "8000000000", 8e9),
        ("0::/hosts/own/name", "memory.max", "7000000000", 7e9),
        ("3:cpu:/x\n2:memory:/x", "memory/x/memory.limit_in_bytes", "6000000000", 6e9),
        ("0::/", "memory.max", "90000000000", 20e9),
    ],
)
def test_memory_is_what_the_control_group_leaves(
    tmp_path: Path, cgroup: str, file: str, limit: str, expected: float
) -> None:
    meminfo(tmp_path, 20.0)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup + "\n")
    path = tmp_path / "sys" / "fs" / "cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(limit + "\n")
    assert toolchain.free_memory(tmp_path) == pytest.approx(expected, rel=1e-6)


def test_compilers_fit_memory_unless_the_user_chose(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda of: set(range(64)))
    monkeypatch.setattr(toolchain, "free_memory", lambda: int(10.5e9))
    monkeypatch.delenv("MAX_JOBS", raising=False)
    assert toolchain.compiler_environment()["MAX_JOBS"] == "3"
    assert "MAX_JOBS" not in os.environ
    monkeypatch.setattr(toolchain, "free_memory", lambda: 0)
    assert toolchain.jobs() == 1
    monkeypatch.setenv("MAX_JOBS", "5")
    assert toolchain.compiler_environment()["MAX_JOBS"] == "5"
