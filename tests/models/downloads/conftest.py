"""The local server, and what a download left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gradiseg_core.config.downloads import DownloadsConfig
from tests.models.downloads.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def config(tmp_path: Path) -> DownloadsConfig:
    return DownloadsConfig(
        folder=str(tmp_path / "downloads"),
        lock=str(tmp_path / "lock.json"),
        retries=2,
        timeout_s=5.0,
    )


def no_sleep(seconds: float) -> None:
    """Wait for nothing between attempts."""


def left_behind(folder: Path) -> list[str]:
    """Names of all files below a folder, without those that only lock."""
    if not folder.exists():
        return []
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.endswith(".lock"))
