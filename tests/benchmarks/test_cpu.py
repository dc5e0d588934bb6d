"""``benchmarks/cpu.py`` begins nothing that it cannot finish, and keeps what it has measured."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks import cpu, timing


def part(name: str, run: object = lambda: time.sleep(1e-3), **options: object) -> timing.Part:
    return timing.Part(name, lambda: {timing.OURS: run}, max_rounds=3, **options)  # type: ignore[arg-type]


def broken() -> None:
    raise RuntimeError("out of luck")


def measure(
    monkeypatch: pytest.MonkeyPatch, out: Path, parts: list[timing.Part]
) -> tuple[int, list[str]]:
    monkeypatch.setattr(cpu, "collect", lambda patterns, *, quick: parts)
    status = cpu.main(["--quick", "--threads", "1", "--out", str(out)])
    return status, [entry["name"] for entry in json.loads((out / "cpu.json").read_text())["parts"]]


def test_a_missing_package_is_named_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts = [part("first", broken), part("second", packages=("no_such_package", "torch"))]
    with pytest.raises(SystemExit, match=r"second: no_such_package\n.*--parts"):
        measure(monkeypatch, tmp_path / "out", parts)
    assert not (tmp_path / "out").exists()


def test_what_was_measured_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = [part("first"), part("second", broken), part("third")]
    assert measure(monkeypatch, tmp_path, parts) == (1, ["first", "third"])

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(monkeypatch, tmp_path, [part("first"), part("second", interrupted)])
    assert [p["name"] for p in json.loads((tmp_path / "cpu.json").read_text())["parts"]] == [
        "first"
    ]
    assert "| first |" in (tmp_path / "cpu.md").read_text()


def test_parts_say_which_packages_they_import() -> None:
    """gsplat is imported inside functions, where a missing one shows minutes later."""
    for chosen in cpu.collect([], quick=False):
        needs = "gsplat" in chosen.name or "whole step" in chosen.name
        assert chosen.packages == (("gsplat",) if needs else ())
