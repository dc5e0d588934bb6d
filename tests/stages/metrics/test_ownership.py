"""Labels of single Gaussians against surfaces with known owners."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.stages.metrics.ownership import label_purity, score_gaussians
from tests import synthetic, trained_scene

SURFACE = (np.array([[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]]), np.array([0, 1, 2]))


def score(labels: list[int], opacities: list[float] | None = None) -> dict:
    """Five Gaussians: two at object 1, one each at 2 and at the background, one far away."""
    means = np.array([[0.1, 0, 0], [0.102, 0, 0], [0.2, 0, 0.004], [0.0, 0, 0], [0.5, 0, 0]])
    weights = np.array(opacities or [0.5, 0.5, 0.5, 0.5, 0.5])
    return label_purity(means, weights, np.array(labels), SURFACE, {1: 7, 2: 9})


def test_all_right() -> None:
    result = score([7, 7, 9, 0, 3])
    assert result == {
        "purity": 1.0, "iou": 1.0, "off_surface": pytest.approx(0.2), "gaussians": 5,
        "why": None, "over": None,
    }  # fmt: skip


def test_a_foreign_label_costs_its_opacity() -> None:
    result = score([7, 9, 9, 0, 3], [0.6, 0.2, 0.5, 0.5, 0.5])
    assert result["purity"] == pytest.approx((0.75 + 1.0) / 2)
    assert result["iou"] == pytest.approx((0.75 + 0.5 / 0.7) / 2)


def test_a_label_that_leaks_onto_the_background_costs_iou_alone() -> None:
    result = score([7, 7, 9, 7, 3])
    assert result["purity"] == 1.0
    assert result["iou"] == pytest.approx((2 / 3 + 1.0) / 2)


def test_faint_gaussians_and_objects_without_an_id() -> None:
    assert score([7, 7, 9, 7, 3], [0.5, 0.5, 0.5, 0.04, 0.5])["iou"] == 1.0
    lost = label_purity(SURFACE[0], np.ones(3), np.array([0, 7, 9]), SURFACE, {1: None, 2: 9})
    assert lost["purity"] == pytest.approx(0.5)


def test_an_object_without_gaussians_is_named() -> None:
    means = SURFACE[0][1:2]  # at object 1 alone
    found = label_purity(means, np.ones(1), np.array([7]), SURFACE, {1: 7, 2: 9})
    assert found["purity"] == 1.0
    assert found["over"] == "over 1 of 2 objects (not object 2: no Gaussian lies on it)"
    found = label_purity(means + 9.0, np.ones(1), np.array([7]), SURFACE, {1: 7, 2: 9})
    assert found["purity"] is None
    assert found["why"] == "object 1, object 2: no Gaussian lies on it"


def test_a_trained_scene_in_another_frame(tmp_path: Path) -> None:
    """The exact frame is the trained one, turned, moved and twice as large."""
    folders = trained_scene.make(tmp_path)
    points, owner = synthetic.balls()
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    shift = np.array([3.0, -1, 2])
    np.savez(folders.scene / "surface.npz", points=2.0 * points @ turn.T + shift, owners=owner)
    cameras = []
    for camera in load_cameras(folders.colmap).values():
        pose = camera.cam_from_world.copy()
        pose[:3, :3] = camera.cam_from_world[:3, :3] @ turn.T
        pose[:3, 3] = 2.0 * camera.cam_from_world[:3, 3] - pose[:3, :3] @ shift
        cameras.append(
            {"name": camera.name, "K": camera.K.tolist(), "cam_from_world": pose[:3].tolist()}
        )
    truth = folders.scene / "ground_truth.json"
    truth.write_text(json.dumps({"cameras": cameras}))
    match = {"objects": {str(k): {"id": int(v)} for k, v in enumerate(trained_scene.TRACKED) if k}}
    found = score_gaussians(folders.train, folders.scene, folders.colmap, match)
    assert found["purity"] == found["iou"] == 1.0
    assert found["off_surface"] == 0.0
    truth.write_text(json.dumps({"cameras": cameras[:2]}))
    with pytest.raises(InputError, match="exact cameras"):
        score_gaussians(folders.train, folders.scene, folders.colmap, match)
