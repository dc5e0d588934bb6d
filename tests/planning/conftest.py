"""Fixtures of tests of `gradiseg run` that start no Snakemake."""

from __future__ import annotations

import pytest

from gradiseg_core.planning import budgets, launch


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that would have run."""
    found: list[list[str]] = []

    def record(program: list[str]) -> int:
        found.append(list(program))
        return 0

    monkeypatch.setattr(launch, "watched", record)
    return found


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed of time has tests of its own. Each run is a process of its own."""
    budgets._measured.cache_clear()
    monkeypatch.setattr(launch, "pending", lambda _: [])
    monkeypatch.setattr(launch, "time_training", lambda *_: None)
