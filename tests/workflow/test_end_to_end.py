"""The whole workflow, every stage real, on a scene of a few small pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny_tabletop
from tests.workflow.conftest import REPOSITORY

CONFIG = """\
scenes:
  tiny:
    source: lerf_mask
    path: tiny
variants: [gradiseg]
seeds: [0]
train:
  {iterations: 60, longest_side: 96, checkpoint_every: 20, log_every: 10, evaluations: 1,
   num_classes: 32}
metrics: {lpips: false}
"""


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the repository's workflow with all results below `folder`."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--directory", str(folder), "--configfile", str(folder / "tiny.yaml"), *arguments),
        ],
        cwd=folder,
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
    done = snakemake(folder, "--cores", "2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def test_every_stage_leaves_its_files(folder: Path) -> None:
    scene = folder / "results" / "tiny"
    run = scene / "gradiseg" / "seed0"
    for path in (
        scene / "scene" / "scene.json",
        scene / "colmap" / "sparse" / "0" / "cameras.bin",
        scene / "masks" / "masks.json",
        scene / "tracking" / "objects.json",
        scene / "association" / "quality.json",
        scene / "figures" / "curves.png",
        scene / "figures" / "comparison.png",
        run / "train" / "point_cloud.ply",
        run / "train" / "identities.safetensors",
        run / "render" / "render.json",
        run / "grounding" / "selection.json",
        run / "metrics" / "per_view.csv",
        folder / "results" / "tables" / "tables.md",
        folder / "results" / "tables" / "tables.tex",
        folder / "results" / "tables" / "quality.png",
    ):
        assert path.stat().st_size > 0, path
    assert len(list((run / "render" / "side_by_side").glob("*.png"))) == 2
    assert not list(scene.glob(".work/**/checkpoint.pt"))


def test_the_run_learns_and_is_scored(folder: Path) -> None:
    run = folder / "results" / "tiny" / "gradiseg" / "seed0"
    lines = (run / "train" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert records[-1]["iteration"] == 60
    assert records[-1]["l1"] < records[0]["l1"]
    summary = json.loads((run / "metrics" / "metrics.json").read_text())["summary"]
    assert 5.0 < summary["psnr"] < 40.0
    assert 0.0 <= summary["object_miou"] <= 1.0


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
    for part in ("curves.png", "comparison.png", "tables.csv", "side_by_side", "quality.png"):
        assert part in html, part
