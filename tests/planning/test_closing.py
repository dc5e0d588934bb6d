"""What `gradiseg run` says in the end: where to look, how to go on, why it failed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gradiseg_core import cli
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import load
from gradiseg_core.planning import budgets, launch
from gradiseg_core.planning.again import Pending
from gradiseg_core.stages.training.progress import save_checkpoint
from tests.planning.photographs import photographs

pytestmark = pytest.mark.usefixtures("untimed")


def test_how_to_go_on_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    assert cli.main(["run", "kitchen"]) == 1
    told = capsys.readouterr().err
    assert "  gradiseg status --configfile kitchen.yaml\n" in told
    assert "  gradiseg run kitchen.yaml\n" in told
    monkeypatch.setattr(launch, "watched", lambda program: 130)
    assert cli.main(["run", "kitchen"]) == 130
    assert "stopped; what is finished is kept" in capsys.readouterr().out
    monkeypatch.setattr(launch, "watched", lambda program: 0)
    page = tmp_path / "results" / "kitchen" / "report.html"
    page.write_text("page")
    objects = page.parent / "tracking" / "contact_sheet.png"
    objects.parent.mkdir()
    objects.write_text("picture")
    assert cli.main(["run", "kitchen"]) == 0
    assert capsys.readouterr().out.endswith(
        "Where to look\n  results/kitchen/report.html\n"
        "  results/kitchen/tracking/contact_sheet.png\n"
    )


def test_why_it_failed_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    logs = tmp_path / "results" / "kitchen" / "logs"

    def failed(program: list[str]) -> int:
        logs.mkdir(exist_ok=True)
        text = "2026-11-26 10:00:00,1 INFO gradiseg_core.x: a line\n"
        text += "2026-11-26 10:00:00,2 ERROR gradiseg_core.x: no pair matches; take more\n"
        (logs / "colmap.log").write_text(text)
        return 1

    monkeypatch.setattr(launch, "watched", failed)
    assert cli.main(["run", "kitchen"]) == 1
    told = capsys.readouterr().err
    assert "once what failed is mended:\n  gradiseg run kitchen.yaml\n" in told
    assert told.endswith(
        "failed\n  kitchen: colmap: no pair matches; take more\n"
        "    results/kitchen/logs/colmap.log\n"
    )
    old = time.time() - 100
    os.utime(logs / "colmap.log", (old, old))  # of an earlier run
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    assert cli.main(["run", "kitchen"]) == 1
    assert "what Snakemake says above is why" in capsys.readouterr().err


def test_what_is_kept_of_a_run_that_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    scene = tmp_path / "results" / "kitchen"
    earlier = Path("results/kitchen/scene")
    (tmp_path / earlier).mkdir(parents=True)
    Path("kitchen.yaml").write_text("scenes: {kitchen: {path: kitchen}}\nquality: draft\n")
    Path(".snakemake").mkdir()
    remade = [Pending(earlier, "scene", "updated input files")]
    monkeypatch.setattr(launch, "pending", lambda _: remade)

    def stopped(program: list[str]) -> int:
        (tmp_path / earlier).rmdir()  # as Snakemake does
        for log in (scene / "logs" / "scene.log", scene / "gradiseg_plus/seed0/logs/train.log"):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("2026-11-26 10:00:00,1 ERROR train: stopped\n")
        settings = load(read_files([Path("kitchen.yaml")]), budget_of=budgets.budget_maker(2))
        config = settings.trainings["kitchen"]["gradiseg_plus"]
        noted = {"iteration": 1432, "digest": config.digest(0)}
        save_checkpoint(scene / ".work/gradiseg_plus/0/checkpoints", {}, noted)
        return 130

    monkeypatch.setattr(launch, "watched", stopped)
    assert cli.main(["run", "kitchen", "--quality", "draft", "--cores", "2"]) == 130
    told = capsys.readouterr().out
    assert told.endswith(
        "stopped; what is finished is kept; training kitchen, gradiseg_plus, seed 0 goes on at "
        "iteration 1,432 of 3,000; what was being made is made anew: photographs; their earlier "
        "results are removed: results/kitchen/scene. To go on:\n"
        "  gradiseg run kitchen.yaml --cores 2\n"
    )
