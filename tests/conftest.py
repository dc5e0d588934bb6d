"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared test scenes, or a skip where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GRADISEG_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip("shared scenes absent: set GRADISEG_SHARED_DATA to their folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none; `pytest -m gpu` names it all."""
    wanting = [item for item in items if item.get_closest_marker("gpu") is not None]
    if not wanting:
        return
    import torch

    if not torch.cuda.is_available():
        reason = "needs a CUDA device; `python -m gradiseg_core.doctor` says what is missing"
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=reason))
