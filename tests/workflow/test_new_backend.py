"""One more backend is one file: what a newcomer writes, and all that follows from it.

Everything happens in a copied checkout, into which the file is put; nothing else there is changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.files.id_maps import read_id_map
from tests.stages.sfm.scenes import write_manifest
from tests.workflow.conftest import JOINED, Workflow
from tests.workflow.toy_backend import FILE, TOY

CHOSEN = "masks: {backend: toy, toy: {levels: 3}}\n"
AFTER_MASKS = {
    "masks", "tracking", "association", "train", "render", "grounding", "metrics", "tables",
    "curves", "comparison", "quality", "scene_report",
}  # fmt: skip


@pytest.fixture
def with_toy(workflow: Workflow) -> Workflow:
    (workflow.folder / FILE).write_text(TOY)
    return workflow


def python(workflow: Workflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copied checkout's own package."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=workflow.folder,
        env={**os.environ, "PYTHONPATH": str(workflow.folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_file_that_nobody_chooses_reruns_nothing(with_toy: Workflow) -> None:
    assert with_toy.planned() == {}
    with_toy.edit(FILE, "levels / 256", "levels / 255.5")
    assert with_toy.planned() == {}


@pytest.mark.usefixtures("conda")
def test_choosing_it_plans_its_jobs_in_its_environment(with_toy: Workflow) -> None:
    with_toy.edit("config.yaml", JOINED, "")
    with_toy.append("config.yaml", CHOSEN)
    assert set(with_toy.planned()) == AFTER_MASKS
    done = with_toy.snakemake("results/alpha/masks", "--dry-run", "--sdm", "conda")
    output = done.stdout + done.stderr
    assert "envs/scene.yaml" in output
    assert "envs/masks.yaml" not in output
    asked = """\
from gradiseg_core.config import root
settings = root.load({"scenes": {"a": {"source": "demo"}}, "masks": {"backend": "toy"}})
print(settings.section("a", "masks").chosen.requires, settings.resolve("a", "masks"))
"""
    resolved = python(with_toy, "-c", asked)
    assert resolved.stdout.strip() == (
        "Requires(environment='scene', mem_mb=1234, runtime_min=7, gpu=False) "
        "{'backend': 'toy', 'options': {'levels': 4}}"
    ), resolved.stderr


def test_an_edit_reruns_masks_where_it_is_chosen(with_toy: Workflow) -> None:
    with_toy.edit("config.yaml", JOINED, "")
    with_toy.append("config.yaml", CHOSEN)
    assert with_toy.snakemake("--touch", "--forceall", "--cores", "1").returncode == 0
    assert with_toy.planned() == {}
    with_toy.edit(FILE, "levels / 256", "levels / 255.5")
    assert set(with_toy.planned()) == AFTER_MASKS


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{levls: 3}", "masks.toy.levls: unknown key; did you mean 'levels'?"),
        ("{levels: 0}", "masks.toy.levels: "),
    ],
)
def test_wrong_options_are_refused_by_name(with_toy: Workflow, written: str, message: str) -> None:
    with_toy.append("config.yaml", f"masks: {{backend: toy, toy: {written}}}\n")
    done = with_toy.snakemake("--dry-run")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_the_generated_reference_has_it(with_toy: Workflow) -> None:
    done = python(with_toy, "-m", "gradiseg_core.config.docs")
    assert done.returncode == 0, done.stderr
    page = (with_toy.folder / "docs" / "configuration.md").read_text()
    assert "### `masks.toy`\n\nBands of equal brightness, for a test.\n" in page
    assert "| `levels` | `4` (1 to 255) | Number of bands. |" in page
    schema = json.loads((with_toy.folder / "schemas" / "config.schema.json").read_text())
    assert schema["$defs"]["MasksConfig"]["properties"]["backend"]["enum"] == [
        "graph", "precomputed", "sam", "toy",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("REQUIRES = ", "ALSO = ", "lacks `REQUIRES`, a Requires"),
        ("def run(", "def go(", "lacks `run`, a function"),
        ("class Options(", "class Option(", "lacks `Options`, a BackendOptions"),
        (
            'Requires("scene", mem_mb=1234, runtime_min=7)',
            '"scene"',
            "lacks `REQUIRES`, a Requires",
        ),
        ("(BackendOptions)", "", "lacks `Options`, a BackendOptions"),
    ],
)
def test_a_file_that_lacks_a_part_is_refused(
    with_toy: Workflow, old: str, new: str, message: str
) -> None:
    with_toy.edit(FILE, old, new)
    done = with_toy.snakemake("--dry-run")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert f"gradiseg_core/stages/masks/backends/toy.py {message}" in output
    assert "Traceback" not in output


def test_it_segments(with_toy: Workflow) -> None:
    """Two views on two processes, through the stage as the rule's script calls it."""
    scene, colmap, out = (with_toy.folder / name for name in ("scene", "colmap", "out"))
    (colmap / "images").mkdir(parents=True)
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    pictures = {"a.png": np.tile(ramp, (8, 1)), "b.png": np.tile(ramp[::-1], (8, 1))}
    for name, picture in pictures.items():
        Image.fromarray(picture).convert("RGB").save(colmap / "images" / name)
    shutil.copytree(colmap / "images", scene / "images")
    write_manifest(scene, list(pictures))
    script = f"""
from pathlib import Path
from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.stages.masks.stage import generate
config = MasksConfig(backend="toy", toy={{"levels": 3}})
print(generate(Path({str(scene)!r}), Path({str(colmap)!r}), Path({str(out)!r}), config, threads=2))
"""
    (with_toy.folder / "call.py").write_text(script)
    done = python(with_toy, "call.py")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "masks.json").read_text()) == {
        "backend": "toy", "views": {"a": 3, "b": 3},
    }  # fmt: skip
    for name, picture in pictures.items():
        ids = read_id_map(Path(out / name))
        np.testing.assert_array_equal(ids, 1 + (picture * (3 / 256)).astype(int))
