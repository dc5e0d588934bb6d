"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch

from gradiseg_core.compute.triton_runtime import runs_on

# Without a GPU, kernels in Triton run in its interpreter, which must be chosen before the first
# import of Triton; nothing else here uses it.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Runs of tests say nothing about how fast this machine is.
os.environ.setdefault("GRADISEG_CACHE_DIR", tempfile.mkdtemp(prefix="gradiseg-tests-"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared test scenes, or a skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GRADISEG_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip("shared scenes absent: set GRADISEG_SHARED_DATA to their folder")
    return folder


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def triton_device(request: pytest.FixtureRequest) -> torch.device:
    """Where kernels in Triton run: on a GPU, or in its interpreter where there is none."""
    device = torch.device(request.param)
    if not runs_on(device):
        pytest.skip("set TRITON_INTERPRET=1 to run Triton's interpreter beside a GPU")
    return device


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none; `pytest -m gpu` names it all."""
    wanting = [item for item in items if item.get_closest_marker("gpu") is not None]
    if not wanting:
        return
    if not torch.cuda.is_available():
        reason = "needs a CUDA device; `gradiseg doctor` says what is missing"
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=reason))
