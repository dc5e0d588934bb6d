"""Commands in messages are those that the user can give here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gradiseg_core import programs


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("gradiseg", "snakemake", "python"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return folder


def test_of_an_environment_that_is_not_active(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/gradiseg", "run"])
    assert programs.gradiseg() == [".venv/bin/gradiseg"]
    assert programs.snakemake() == [".venv/bin/snakemake"]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert programs.snakemake() == ["../../.venv/bin/snakemake"]


def test_of_an_active_environment(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{venv}:/usr/bin")
    monkeypatch.setattr(sys, "argv", [str(venv / "gradiseg")])  # what a system makes of a name
    assert programs.gradiseg() == ["gradiseg"]
    assert programs.snakemake() == ["snakemake"]


def test_of_another_one_than_the_active(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("gradiseg", "snakemake"):
        (other / name).write_text("#!/bin/sh\n")
        (other / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}:{venv}")
    monkeypatch.setattr(sys, "argv", [str(venv / "gradiseg")])
    assert programs.gradiseg() == [".venv/bin/gradiseg"]
    assert programs.snakemake() == [".venv/bin/snakemake"]


def test_without_programs(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (venv / "snakemake").unlink()
    package = Path(programs.__file__).parent / "__main__.py"
    monkeypatch.setattr(sys, "argv", [str(package), "run"])
    assert programs.gradiseg() == [".venv/bin/python", "-m", "gradiseg_core"]
    assert programs.snakemake() == [".venv/bin/python", "-m", "snakemake"]
