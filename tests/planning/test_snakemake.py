"""A plain `snakemake` says what it will take, keeps budgets, and remembers how long jobs took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from gradiseg_core.planning import again
from gradiseg_core.planning.rates import FOLDER_VARIABLE
from gradiseg_core.planning.reporting import PLANNED
from gradiseg_core.planning.workflow import Command
from tests.workflow.conftest import REPOSITORY


def snakemake(folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--cores", "1", *arguments, "--configfile", "my.yaml"),
        ],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(REPOSITORY), FOLDER_VARIABLE: str(folder / "cache")}
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_before_and_after_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Küche 1"
    folder.mkdir()
    for number in range(9):
        Image.new("RGB", (400, 300), (number, 9, 9)).save(folder / f"a {number}.jpg")
    (tmp_path / "my.yaml").write_text(
        'quality: draft\nscenes: {kitchen: {path: "Küche 1"}}\n', encoding="utf-8"
    )
    budget = tmp_path / "results" / "kitchen" / "budget.json"
    dry = snakemake(tmp_path, "--dry-run")
    assert not budget.exists()
    assert "on 1 core" not in dry
    said = snakemake(tmp_path, "results/kitchen/scene")
    (line,) = [line for line in said.splitlines() if line.startswith("about ")]
    assert "on 1 core (by another machine's times): photographs 10 s; memory 0.3 GB" in line
    assert json.loads(budget.read_text())["draft"]["facts"]["views"] == 9
    assert json.loads((tmp_path / "cache" / "rates.json").read_text())["version"] == 1
    forced = snakemake(tmp_path, "results/kitchen/scene", "--forcerun", "scene", **{PLANNED: "1"})
    assert "on 1 core" not in forced
    assert "Finished" in forced
    shutil.copy(folder / "a 0.jpg", folder / "one more.jpg")
    monkeypatch.chdir(tmp_path)
    outputs = again.pending(Command(Path("my.yaml"), 1))
    assert outputs is not None
    states = {made.output: made.state for made in outputs}
    assert states[Path("results/kitchen/scene")] == "updated input files"
    assert states[Path("results/kitchen/colmap")] == "missing"
    causes, rules = again.made_again(outputs)
    assert causes[0].startswith("the photographs")
    assert rules == ["scene"]
