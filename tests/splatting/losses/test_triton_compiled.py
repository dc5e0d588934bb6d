"""The losses' Triton kernels compile for GPUs, which the interpreter cannot tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux: pip install triton")

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "triton_resources.py"


def resources(cache: Path, *arguments: str) -> list[dict]:
    """Compile in a process of its own: this one may hold the interpreter's kernels."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", *arguments],
        env=os.environ | {"TRITON_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_papers_size_fits_compute_capability_90(tmp_path) -> None:
    from gradiseg_core.splatting.losses import _identity_triton

    rows = {row["kernel"]: row for row in resources(tmp_path, "--arch", "90")}
    assert len(rows) == 11
    for row in rows.values():
        assert row["stack"] == 0, row  # nothing spilled
        assert row["programs"] >= 3, row
    # As many programs as are launched run at once.
    assert rows["head: dW, db"]["programs"] >= _identity_triton.PROGRAMS_EACH


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("--arch", "80", "86"),
        ("--arch", "86", "90", "--classes", "2", "20", "--dims", "8"),
        ("--arch", "86", "90", "--classes", "300", "--dims", "32"),
    ],
)
def test_other_sizes_and_architectures_compile(tmp_path, arguments) -> None:
    for row in resources(tmp_path, *arguments):
        assert row["stack"] <= 256, row
        assert row["programs"] >= 2, row
        assert row["shared"] <= 99 * 1024, row  # what a program may have on 8.6
