"""The whole workflow, every stage real, on a scene of a few small pictures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.cameras import Frame
from gradiseg_core.files.colmap import load_points
from gradiseg_core.files.geometry import (
    CUTS,
    SavedSurface,
    load_geometry,
    save_facts,
    save_surface,
)
from gradiseg_core.modules import runs_nothing
from tests import tiny_tabletop
from tests.tiny_tabletop import CONFIG
from tests.workflow.conftest import REPOSITORY

# Python runs this before anything else; at its end a job tells what it ran.
RECORDER = """\
import atexit, json, os, sys

def record():
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is None:
        return
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    told = {"rule": job.rule, "output": list(job.output), "core": list(job.input.get("core", []))}
    told["files"] = [os.path.abspath(file) for file in files if file]
    with open(os.path.join(os.environ["RECORDS"], f"{os.getpid()}.json"), "w") as out:
        json.dump(told, out)

atexit.register(record)
"""


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the repository's workflow with all results below `folder`."""
    path = os.pathsep.join([str(folder / "recorder"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--directory", str(folder), "--configfile", str(folder / "tiny.yaml"), *arguments),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "RECORDS": str(folder / "records")},
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end_to_end")
    tiny_tabletop.make(folder / "tiny")
    (folder / "tiny.yaml").write_text(CONFIG)
    (folder / "records").mkdir()
    (folder / "recorder").mkdir()
    (folder / "recorder" / "sitecustomize.py").write_text(RECORDER)
    done = snakemake(folder, "--cores", "2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    done = snakemake(folder, "--cores", "2", "exports", "edits", "views")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    baseline = ("--config", "variants=[baseline]", "--", "results/tiny/baseline/seed0/train")
    done = snakemake(folder, "--cores", "2", *baseline)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    pretend_a_surface(folder / "results" / "tiny", folder / "found" / "tiny")
    depth = ("results=found", "train={terms: {surface_depth: {}}}")
    done = snakemake(folder, "--cores", "2", "--config", *depth, "--", FOUND, ON_SURFACE)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


FOUND = "found/tiny/tracking"
ON_SURFACE = "found/tiny/gradiseg/seed0/train"


def pretend_a_surface(made: Path, copy: Path) -> None:
    """Copy a scene's first stages; its sparse points become a surface with two objects."""
    for part in ("scene", "colmap", "geometry"):
        shutil.copytree(made / part, copy / part)
    points, _ = load_points(copy / "colmap")
    count = len(points)
    numbers = 1 + (points[:, 0] > np.median(points[:, 0])).astype(np.int32)
    surface = SavedSurface(
        points=points,
        normals=np.tile(np.array([0, 0, 1], np.float32), (count, 1)),
        lab=np.full((count, 3), 50, np.float32),
        concavity=np.zeros(count, np.float32),
        index=np.zeros((count, 3), np.int64),
        edges=np.zeros((0, 2), np.int64),
        height=np.ones(count, np.float32),
        in_support=np.zeros(count, np.bool_),
        supervoxels=np.zeros(count, np.int64),
        merges=np.zeros((0, 2), np.int64),
        costs=np.zeros(0),
        cuts=dict.fromkeys(CUTS, numbers),
        voxel=0.05,
    )
    save_surface(copy / "geometry", surface, Frame())
    facts = load_geometry(copy / "geometry").facts | {"verdict": "found", "reason": None}
    save_facts(copy / "geometry", facts, Frame())


def test_every_stage_leaves_its_files(folder: Path) -> None:
    scene = folder / "results" / "tiny"
    run = scene / "gradiseg" / "seed0"
    for path in (
        scene / "scene" / "scene.json",
        scene / "colmap" / "sparse" / "0" / "cameras.bin",
        scene / "geometry" / "overview.png",
        scene / "geometry" / "gaussians" / "point_cloud.ply",
        scene / "masks" / "masks.json",
        scene / "tracking" / "objects.json",
        scene / "association" / "quality.json",
        scene / "figures" / "curves.png",
        scene / "figures" / "comparison.png",
        scene / "report.html",
        run / "train" / "point_cloud.ply",
        run / "train" / "identities.safetensors",
        run / "render" / "render.json",
        scene / "tracking" / "objects" / "1.png",
        run / "grounding" / "selection.json",
        run / "second_grounding" / "names.json",
        run / "second_metrics" / "metrics.json",
        run / "metrics" / "per_view.csv",
        run / "exports" / "small" / "small.spz",
        run / "edits" / "gold" / "point_cloud.ply",
        run / "edits" / "gold" / "turntable.mp4",
        run / "view.html",
        folder / "results" / "tables" / "tables.md",
        folder / "results" / "tables" / "tables.tex",
        folder / "results" / "tables" / "quality.png",
    ):
        assert path.stat().st_size > 0, path
    assert len(list((run / "render" / "side_by_side").glob("*.png"))) == 2
    assert not list(scene.glob(".work/**/checkpoint.pt"))


def test_every_job_names_all_modules_that_it_runs(folder: Path) -> None:
    """What is not named reruns nothing when it changes."""
    jobs = [json.loads(path.read_text()) for path in (folder / "records").glob("*.json")]
    assert {job["rule"] for job in jobs} == {
        *("scene", "colmap", "geometry", "masks", "tracking", "association", "train", "render"),
        *("grounding", "metrics", "curves", "comparison", "quality", "tables", "view"),
        *("edit", "export"),
        *("second_grounding", "second_metrics", "scene_report"),
    }
    ran = {job["output"][0]: job["files"] for job in jobs if job["rule"] == "tracking"}
    assert {name: any("sfm_tracks" in file for file in files) for name, files in ran.items()} == {
        "results/tiny/tracking": True,
        FOUND: False,
    }
    assert {job["output"][0].split("/")[2] for job in jobs if job["rule"] == "train"} == {
        *("baseline", "gradiseg"),
    }
    core = REPOSITORY / "gradiseg_core"
    for job in jobs:
        named = {(folder / path).resolve() for path in job["core"]}
        ran = {Path(file).resolve() for file in job["files"]}
        ran = {file for file in ran if file.is_relative_to(core) and not runs_nothing(file)}
        missing = {file.relative_to(core).as_posix() for file in ran - named}
        assert not missing, (job["output"], missing)


def test_without_a_surface_segments_are_joined_and_it_is_said(folder: Path) -> None:
    scene = folder / "results" / "tiny"
    reason = json.loads((scene / "geometry" / "geometry.json").read_text())["reason"]
    assert "of the views' pixels show the fused surface" in reason
    objects = json.loads((scene / "tracking" / "objects.json").read_text())
    assert (objects["backend"], objects["instead_of_geometry"]) == ("sfm", reason)
    assert f"Geometry found no objects: {reason}" in (scene / "tracking" / "report.md").read_text()
    for stage in ("geometry", "tracking"):
        assert reason in (scene / "logs" / f"{stage}.log").read_text()


def test_with_a_surface_no_segment_is_made(folder: Path) -> None:
    scene = folder / "found" / "tiny"
    objects = json.loads((scene / "tracking" / "objects.json").read_text())
    assert (objects["backend"], objects["instead_of_geometry"]) == ("geometry", None)
    assert objects["num_ids"] == 2
    assert not (scene / "masks").exists()
    finer = ("--config", "results=found", "tracking={geometry: {granularity: parts}}", "--", FOUND)
    done = snakemake(folder, "--dry-run", *finer)
    planned = re.findall(r"^(\w+) +\d+$", done.stdout + done.stderr, re.M)
    assert set(planned) == {"tracking", "total"}


def test_a_training_is_held_to_the_surface(folder: Path) -> None:
    records = (folder / ON_SURFACE / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(record)["surface_depth_loss"] for record in records]
    assert losses[0] == 0.0  # nothing is solid yet
    assert 0.0 < losses[-1] < 1.0
    jobs = [json.loads(path.read_text()) for path in (folder / "records").glob("*.json")]
    read = {job["output"][0]: {Path(file).name for file in job["core"]} for job in jobs}
    own = {"surface.py", "surface_depth.py"}
    assert own <= read[ON_SURFACE]
    assert not own & read["results/tiny/gradiseg/seed0/train"]


def test_the_run_learns_and_is_scored(folder: Path) -> None:
    run = folder / "results" / "tiny" / "gradiseg" / "seed0"
    lines = (run / "train" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert records[-1]["iteration"] == 60
    assert records[-1]["l1"] < records[0]["l1"]
    summary = json.loads((run / "metrics" / "metrics.json").read_text())["summary"]
    assert 5.0 < summary["psnr"] < 40.0
    assert 0.0 <= summary["object_miou"] <= 1.0


def test_tables_say_which_grounding_answered_and_where_it_clicked(folder: Path) -> None:
    text = (folder / "results" / "tables" / "tables.md").read_text()
    assert "prompts grounded by colour_words," in text
    assert "prompts grounded by clicks (" in text
    assert "clicked where annotated in frame" in text


def test_every_job_leaves_a_log_and_a_benchmark(folder: Path) -> None:
    for where in ("tiny", "tiny/gradiseg/seed0", "tables"):
        results = folder / "results" / where
        logs = {path.stem for path in (results / "logs").glob("*.log")}
        benchmarks = {path.stem for path in (results / "benchmarks").glob("*.tsv")}
        assert logs == benchmarks
        assert logs
    log = folder / "results" / "tiny" / "gradiseg" / "seed0" / "logs" / "train.log"
    assert "gradiseg, seed 0" in log.read_text()


def test_outputs_follow_the_umask(folder: Path) -> None:
    """Files that were made through a temporary one are easily their owner's alone."""
    umask = os.umask(0)
    os.umask(umask)
    wrong = [
        f"{path.relative_to(folder)}: {path.stat().st_mode & 0o777:o}"
        for path in [*(folder / "results").rglob("*")]
        if not path.is_symlink()
        and path.stat().st_mode & 0o777 != (0o777 if path.is_dir() else 0o666) & ~umask
    ]
    assert not wrong


def test_nothing_is_left_to_do(folder: Path) -> None:
    done = snakemake(folder, "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_the_report_holds_tables_and_pictures(folder: Path) -> None:
    done = snakemake(folder, "--report", str(folder / "report.html"))
    assert done.returncode == 0, done.stderr[-3000:]
    html = (folder / "report.html").read_text(encoding="utf-8")
    for part in (
        "curves.png",
        "comparison.png",
        "tables.csv",
        "side_by_side",
        "quality.png",
        "report.html",
    ):
        assert part in html, part
    assert "contact_sheet.png" in html
    assert "objects/1.png" not in html  # a picture of every object is on the contact sheet
