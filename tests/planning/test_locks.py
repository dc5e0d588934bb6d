"""Locks of Snakemake that were left, and runs that are at work."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gradiseg_core import cli
from gradiseg_core.planning import launch
from tests.planning.photographs import photographs

pytestmark = pytest.mark.usefixtures("untimed")


def test_a_lock_that_was_left_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results")
    assert cli.main(["run", "kitchen", "--quality", "draft"]) == 1
    told = capsys.readouterr().err
    assert "locked by a Snakemake that was killed" in told
    assert "  gradiseg run kitchen.yaml -- --unlock\n  gradiseg run kitchen.yaml\n" in told


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_lock_of_an_own_run_that_was_killed_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"

    def killed(program: list[str]) -> int:
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("results/tables/all.csv\n")
        return 129

    def ended(program: list[str]) -> int:
        assert not lock.exists()
        return 0

    monkeypatch.setattr(launch, "watched", killed)
    assert cli.main(["run", "kitchen"]) == 129
    assert "To go on where it stopped:\n  gradiseg run kitchen.yaml\n" in capsys.readouterr().err
    assert cli.main(["run", "kitchen", "--plan"]) == 0
    assert lock.exists()
    monkeypatch.setattr(launch, "watched", ended)
    capsys.readouterr()
    assert cli.main(["run", "kitchen"]) == 0
    assert "was killed and left this folder locked: unlocked" in capsys.readouterr().out
    assert cli.main(["run", "kitchen"]) == 0
    assert "locked" not in capsys.readouterr().out
    lock.write_text("results/tables/all.csv\n")  # of a Snakemake, perhaps on another machine
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    for _ in range(2):
        assert cli.main(["run", "kitchen"]) == 1
        assert "locked by a Snakemake that was killed" in capsys.readouterr().err
        assert lock.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_that_is_at_work_is_left_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/tables/all.csv\n")
    (tmp_path / ".snakemake" / "gradiseg_run.txt").write_text(platform.node())
    (tmp_path / "snakemake").write_text("import time\nprint(flush=True)\ntime.sleep(100)\n")
    other = subprocess.Popen([sys.executable, "snakemake"], stdout=subprocess.PIPE)
    assert other.stdout is not None
    try:
        other.stdout.readline()
        assert cli.main(["run", "kitchen"]) == 1
        said = capsys.readouterr().err
        assert "another run is at work here" in said
        assert "`gradiseg status` shows it" in said
        assert lock.exists()
        assert not started
        assert not (tmp_path / "kitchen.yaml").exists()
        lock.write_text("elsewhere/tables/all.csv\n")
        assert cli.main(["run", "kitchen"]) == 0
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
