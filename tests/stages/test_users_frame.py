"""From a user's model in map coordinates or millimetres through a training to an export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.config.train import Densification, Losses, TrainConfig
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.id_maps import write_id_map
from gradiseg_core.stages.exports.stage import export_run
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.sfm.stage import reconstruct
from gradiseg_core.stages.training.stage import Training, train
from tests.exporting import clouds
from tests.stages.sfm.scenes import lens, make_scene, write_sparse


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1.0, (500_000.0, 4_000_000.0, 100.0)), (1000.0, (0.0, 0.0, 0.0)), (1e-3, (7.0, -8.0, 0.0))],
)
def test_what_is_exported_is_where_the_user_s_points_are(
    tmp_path: Path, scale: float, shift: tuple[float, float, float]
) -> None:
    made, _ = make_scene(tmp_path / "mine", count=5)
    write_sparse(tmp_path / "own", lens(), {n: c.cam_from_world for n, c in made.items()})
    model = pycolmap.Reconstruction(tmp_path / "own")
    model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(), np.array(shift)))
    (tmp_path / "mine" / "sparse" / "0").mkdir(parents=True)
    model.write_text(tmp_path / "mine" / "sparse" / "0")
    points = np.array([point.xyz for point in model.points3D.values()])

    scene, colmap, tracking = (tmp_path / "out" / n for n in ("scene", "colmap", "tracking"))
    config = SceneConfig(source="folder", path=tmp_path / "mine", test_every=3)
    manifest = prepare(config, scene, name="mine")
    reconstruct(scene, colmap, ColmapConfig(), seed=0, threads=1)
    cameras = load_cameras(colmap)
    for view in manifest.train_views:
        shape = cameras[view.name].height, cameras[view.name].width
        write_id_map(tracking / "ids" / f"{view.stem}.png", np.ones(shape, np.int32))
    stems = [view.stem for view in manifest.train_views]
    objects = [{"id": 1, "views": stems, "area_px": 100}]
    facts = {"backend": "precomputed", "num_ids": 1, "objects": objects}
    (tracking / "objects.json").write_text(json.dumps(facts))
    few = TrainConfig(
        iterations=4, num_classes=4, losses=Losses(samples=50), log_every=2, evaluations=1,
        densification=Densification(max_gaussians=len(points)), longest_side=80,
    )  # fmt: skip
    run = tmp_path / "out" / "baseline" / "seed0"
    train(
        Training(scene, colmap, tracking, few, "baseline", 0, 1, tmp_path / "work"), run / "train"
    )
    export_run(
        folder=run / "train", out_dir=tmp_path / "x", name="x", config=ExportConfig(format="ply")
    )

    cloud = clouds.properties(tmp_path / "x" / "x.ply")
    offset = np.array(json.loads((tmp_path / "x" / "export.json").read_text())["offset"])
    found = np.stack([cloud[axis] for axis in "xyz"], axis=1).astype(np.float64) + offset
    away = np.linalg.norm(found[:, None] - points[None], axis=2).min(axis=1)
    assert len(found) >= 0.5 * len(points)
    assert away.max() < 0.02 * np.ptp(points, axis=0).max()
    sizes = np.exp(np.median(np.stack([cloud[f"scale_{k}"] for k in range(3)])))
    assert 0.005 * scale < sizes < 0.5 * scale  # of a box of 0.7
