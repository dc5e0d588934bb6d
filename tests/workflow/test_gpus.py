"""Jobs that use a GPU say so, take one, and run in the environment that has gsplat."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradiseg_core.compute.devices import VISIBLE
from tests.workflow.conftest import JOINED, REPOSITORY, Workflow


def gpus(workflow: Workflow, *arguments: str) -> dict[str, set[int]]:
    """What a dry run says of resource `gpu`, by rule; it tells of rules without a message only."""
    for path in (workflow.folder / "rules").glob("*.smk"):
        path.write_text(re.sub(r"    message:\n        .*\n", "", path.read_text()))
    done = workflow.snakemake("--dry-run", "--forceall", *arguments)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    found: dict[str, set[int]] = {}
    for job in re.split(r"\n(?:local)?(?:rule|checkpoint) ", output)[1:]:
        resource = re.search(r"resources:.*\bgpu=(\d+)", job)
        if resource is not None:
            found.setdefault(job.partition(":")[0], set()).add(int(resource[1]))
    return found


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [("0,1", "auto", 1), ("", "auto", 0), ("", "cuda", 1), ("0,1", "cpu", 0)],
)
def test_training_and_rendering_take_a_gpu(
    workflow: Workflow, monkeypatch, visible: str, device: str, expected: int
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    for stage in ("train", "render", "geometry"):
        workflow.append("config.yaml", f"{stage}: {{device: {device}}}\n")
    found = gpus(workflow)
    assert found["train"] == found["render"] == found["geometry"] == {expected}
    assert found["masks"] == found["tracking"] == found["grounding"] == {0}


def test_models_take_a_gpu_where_they_run(workflow: Workflow, monkeypatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    for name in ("deva.pth", "sam.pth"):
        (workflow.folder / name).touch()
    workflow.edit("config.yaml", JOINED, "")
    workflow.append(
        "config.yaml",
        "masks: {backend: sam, sam: {checkpoint: sam.pth}}\n"
        "tracking: {backend: deva, repair: sfm, deva: {checkpoint: deva.pth, device: cpu,"
        " detections: masks}}\n"
        "grounding: {backend: groundingdino, groundingdino: {sam: {checkpoint: sam.pth}}}\n",
    )
    found = gpus(workflow)
    assert found["masks"] == found["grounding"] == {1}
    assert found["tracking"] == {0}


@pytest.mark.usefixtures("conda")
def test_the_environment_with_gsplat_is_taken_on_a_gpu(workflow: Workflow, monkeypatch) -> None:
    shutil.rmtree(workflow.folder / "results")
    for visible in ("0", ""):
        monkeypatch.setenv(VISIBLE, visible)
        done = workflow.snakemake("--dry-run", "--sdm", "conda", "--until", "render")
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert ("envs/train_cuda.yaml" in output) == bool(visible)
        assert ("envs/train.yaml" in output) != bool(visible)


STAGE = """\
import os, sys, types
sys.path.insert(0, sys.argv[1])
from _stage import stage
job = types.SimpleNamespace(
    scriptdir=sys.argv[1], log=[sys.argv[2]], rule="train", resources={"gpu": int(sys.argv[3])}
)
with stage(job):
    print(os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


@pytest.mark.parametrize(("count", "seen"), [(1, "GPU-6"), (0, "1,0")])
def test_a_job_sees_the_gpu_that_it_holds(tmp_path: Path, count: int, seen: str) -> None:
    tool = tmp_path / "nvidia-smi"
    lines = "".join(f"echo 'GPU {i}: NVIDIA H100 (UUID: GPU-{i + 5})'\n" for i in range(2))
    tool.write_text("#!/bin/sh\n" + lines)
    tool.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    arguments = [str(REPOSITORY / "workflow_scripts"), str(tmp_path / "log"), str(count)]
    done = subprocess.run(
        [sys.executable, "-c", STAGE, *arguments],
        env=os.environ | {VISIBLE: "1,0", "TMPDIR": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == seen
    assert (f"using GPU {seen}" in (tmp_path / "log").read_text()) == bool(count)
