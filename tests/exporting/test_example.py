"""`examples/export.py` runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import trained_scene
from tests.exporting import clouds

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_example(tmp_path: Path) -> None:
    folders = trained_scene.make(tmp_path / "results" / "balls")
    done = subprocess.run(
        [sys.executable, "examples/export.py", str(folders.train.parent), str(tmp_path / "out")],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    counts = [len(clouds.properties(Path(line))["x"]) for line in done.stdout.splitlines()]
    whole = clouds.properties(tmp_path / "out" / "scene.ply")
    assert sum(counts) == len(whole["object_id"])
    assert len(json.loads((tmp_path / "out" / "objects.json").read_text())["objects"]) == 4
    assert (tmp_path / "out" / "object.spz").stat().st_size > 0
