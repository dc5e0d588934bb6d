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
