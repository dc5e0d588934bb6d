"""The embedded scene as a capture by three cameras: objects as good as those of one camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.alignment import align_cameras
from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.geometry import GeometryConfig
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.config.train import Densification, TrainConfig
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.stages.geometry.stage import reconstruct_surface
from gradiseg_core.stages.grounding.stage import ground
from gradiseg_core.stages.metrics.stage import evaluate
from gradiseg_core.stages.rendering.stage import render_views
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.sfm.stage import reconstruct
from gradiseg_core.stages.tracking.stage import Association, associate
from gradiseg_core.stages.training.stage import Training, train
from tests.mixed_scene import write_mixed

pytestmark = pytest.mark.slow

TRAIN = TrainConfig(
    iterations=600,
    longest_side=320,
    num_classes="auto",
    densification=Densification(max_gaussians=12000),
)


def object_scores(source: Path, out: Path) -> dict[str, float]:
    """Run all stages; return the IoU of the objects by test view, and the mean (``all``)."""
    scene, colmap, geometry = out / "scene", out / "colmap", out / "geometry"
    tracking, trained, render = out / "tracking", out / "train", out / "render"
    prepare(SceneConfig(source="lerf_mask", path=source), scene, name="demo")
    config = ColmapConfig(camera_model="PINHOLE", guided_matching=True)
    reconstruct(scene, colmap, config, seed=0, threads=2)
    truth = json.loads((source / "ground_truth.json").read_text())["cameras"]
    exact = {
        entry["name"]: Camera(
            entry["name"], 1, 1, np.array(entry["K"]), np.array(entry["cam_from_world"])
        )
        for entry in truth
    }
    errors = align_cameras(load_cameras(colmap), exact).rotation_error_deg
    assert len(errors) == 36
    assert max(errors.values()) < 1.0
    reconstruct_surface(scene, colmap, geometry, GeometryConfig(iterations=1000), seed=0, threads=2)
    chosen = TrackingConfig(backend="geometry")
    job = Association(
        scene, colmap, None, chosen, max_ids=256, seed=0, threads=2, geometry_dir=geometry
    )
    associate(job, tracking)
    train(Training(scene, colmap, tracking, TRAIN, "gradiseg", 0, 2, out / "work"), trained)
    render_views(scene, colmap, trained, render, RenderConfig(), threads=2)
    options = GroundingConfig(backend="manual")
    ground(scene, colmap, tracking, trained, render, out / "grounding", options)
    metrics = evaluate(
        scene, colmap, trained, render, out / "grounding", out / "metrics",
        MetricsConfig(lpips=False),
    )  # fmt: skip
    scores: dict[str, list[float]] = {}
    for entry in metrics["objects"]["objects"].values():
        for row in entry["views"]:
            scores.setdefault(row["view"], []).append(row["iou"])
    means = {view: float(np.nanmean(values)) for view, values in scores.items()}
    return means | {"all": metrics["summary"]["object_miou"]}


def test_three_cameras_find_the_objects_as_well_as_one(tmp_path: Path) -> None:
    write_mixed(DEMO_FOLDER, tmp_path / "mixed")
    mixed = object_scores(tmp_path / "mixed", tmp_path / "of_three")
    one = object_scores(DEMO_FOLDER, tmp_path / "of_one")
    assert one["all"] > 0.75
    assert mixed["all"] > one["all"] - 0.02  # measured: 0.786 and 0.795
