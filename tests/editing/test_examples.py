"""The scripts in examples/ run as their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gradiseg_core
from tests import trained_scene
from tests.editing.conftest import RED

REPOSITORY = Path(__file__).resolve().parents[2]


def example(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / name), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_query(folders: trained_scene.Folders, scene: gradiseg_core.Scene) -> None:
    view = "view_001.png"
    rendered = scene.render(view)
    row, column = next(
        zip(*((rendered.ids == RED) & (rendered.alpha > 0.99)).nonzero(), strict=True)
    )
    shown = example("query.py", str(folders.train.parent), view, f"{column}.5", f"{row}.5")
    assert f"{RED:4d}  red ball" in shown
    assert "150 Gaussians" in shown
    assert f"of {view}: ID {RED}, red ball" in shown


@pytest.mark.parametrize("name", ["red ball", str(RED)])
def test_remove(name: str, folders: trained_scene.Folders, tmp_path: Path) -> None:
    shown = example("remove.py", str(folders.train.parent), name, str(tmp_path))
    assert "Gaussians removed" in shown
    assert RED not in gradiseg_core.load(tmp_path, device="cpu").ids
    assert (tmp_path / "view_000.png").is_file()
