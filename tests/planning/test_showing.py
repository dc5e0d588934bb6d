"""`gradiseg status` beside several configurations: whose jobs are whose, and how to go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gradiseg_core import cli
from tests.planning.photographs import photographs

STOPPED = "2026-11-26 10:00:00,1 ERROR train: stopped at iteration 5 of 9; the next run goes on\n"
FAILED = "2026-11-26 10:00:00,1 ERROR colmap: no features\n"


def log(scene: str, place: str, text: str) -> None:
    path = Path("results", scene, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of its own, and a user's beside it, which was stopped."""
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "kitchen"):
        photographs(tmp_path / "photos" / name)
    Path("config.yaml").write_text("scenes: {demo: {path: photos/demo}}\n")
    Path("kitchen.yaml").write_text("quality: draft\nscenes: {kitchen: {path: photos/kitchen}}\n")
    log("kitchen", "gradiseg_plus/seed0/logs/train.log", STOPPED)
    return tmp_path


def scenes(*arguments: str, capsys: pytest.CaptureFixture[str]) -> set[str | None]:
    assert cli.main(["status", *arguments, "--json"]) == 0
    return {job["scene"] for job in json.loads(capsys.readouterr().out)}


def test_jobs_are_those_of_what_has_begun(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scenes(capsys=capsys) == {"kitchen", None}
    log("demo", "logs/colmap.log", FAILED)
    assert scenes(capsys=capsys) == {"demo", "kitchen", None}
    for arguments in (["--configfile", "kitchen.yaml"], ["kitchen.yaml"]):
        assert scenes(*arguments, capsys=capsys) == {"kitchen", None}


def test_without_results_it_is_what_snakemake_would_make(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log("kitchen", "gradiseg_plus/seed0/logs/train.log", "")
    Path("kitchen.yaml").unlink()
    assert scenes(capsys=capsys) == {"demo", "kitchen", None}


def test_how_to_go_on(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert " 1 stopped, " in said.splitlines()[0]
    assert "\nstopped\n  kitchen, gradiseg_plus, seed 0: train: stopped at iteration 5" in said
    assert "failed" not in said
    assert said.endswith("to go on:\n  gradiseg run kitchen.yaml\n")
    log("demo", "logs/colmap.log", FAILED)
    assert cli.main(["status", "--configfile", "kitchen.yaml"]) == 0
    said = capsys.readouterr().out
    assert "to go on:\n  gradiseg run kitchen.yaml\n" in said
    assert said.endswith("also in results, of other configurations: demo\n")
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "to go on:\n  gradiseg run kitchen.yaml\n" in said
    assert "to go on, once what failed is mended:\n  gradiseg run config.yaml\n" in said
    Path("kitchen.yaml").rename("mine.yaml")  # its name says no longer of what it is
    assert cli.main(["status"]) == 0
    assert "to go on, give the command again that began it\n" in capsys.readouterr().out


def test_a_scene_that_was_copied_has_a_status(
    tmp_path: Path, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log("demo", "logs/colmap.log", FAILED)
    assert scenes("results/kitchen", capsys=capsys) == {"kitchen"}
    copy = tmp_path / "copies" / "kitchen"
    shutil.copytree("results/kitchen", copy)
    monkeypatch.chdir(copy)
    assert scenes(".", capsys=capsys) == {"kitchen"}
    assert cli.main(["status", "."]) == 0
    assert "kitchen, gradiseg_plus, seed 0: train: stopped at" in capsys.readouterr().out
