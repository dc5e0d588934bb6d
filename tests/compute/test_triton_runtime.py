"""Where kernels in Triton can run."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gradiseg_core.compute import triton_runtime

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("installed", "gpu", "capability", "expected"),
    [
        (True, True, (8, 6), True),
        (True, True, (9, 0), True),
        (True, True, (7, 5), False),  # no tensor cores for TF32
        (True, False, (0, 0), False),
        (False, True, (9, 0), False),
    ],
)
def test_a_gpu_needs_triton_and_tensor_cores(
    monkeypatch, installed, gpu, capability, expected
) -> None:
    monkeypatch.setattr(triton_runtime, "is_installed", lambda: installed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert triton_runtime.runs_on(CUDA) is expected


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), (None, False)])
def test_a_cpu_needs_the_interpreter(monkeypatch, value, expected) -> None:
    monkeypatch.setattr(triton_runtime, "is_installed", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    if value is not None:
        monkeypatch.setenv("TRITON_INTERPRET", value)
    assert triton_runtime.runs_on(CPU) is expected


def test_asking_does_not_import_triton() -> None:
    code = (
        "import sys, torch; from gradiseg_core.compute import triton_runtime as t; "
        "t.runs_on(torch.device('cpu')); raise SystemExit('triton' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
