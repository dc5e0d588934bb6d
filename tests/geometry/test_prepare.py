"""The colour-only training and its depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gradiseg_core.errors import InputError
from gradiseg_core.geometry.options import PrepareOptions
from gradiseg_core.geometry.prepare import depth_planes, prepare, rotation_matrices
from tests.synthetic import ring_of_cameras, write_scene


def test_depth_plane_of_a_pancake_is_its_plane() -> None:
    """A flat Gaussian's depth along any ray is where the ray meets its plane."""
    camera = ring_of_cameras(5, 64, 48)[1]
    rotation = Rotation.from_euler("xyz", [0.3, -0.2, 1.0])
    quat = torch.tensor(rotation.as_quat(scalar_first=True)[None], dtype=torch.float64)
    mean = np.array([0.2, -0.1, 0.3])
    plane = depth_planes(
        torch.tensor(mean[None]),
        quat,
        torch.tensor([[0.5, 0.4, 1e-9]], dtype=torch.float64),
        torch.tensor(camera.cam_from_world),
    )[0].numpy()
    R, t = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
    normal, point = R @ rotation.as_matrix()[:, 2], R @ mean + t
    u, v = point[:2] / point[2]
    exact = point @ normal / (normal @ np.array([u + 0.002, v - 0.003, 1.0]))
    assert plane @ np.array([1.0, u, v]) == pytest.approx(point[2])
    off = abs(exact - point[2])  # of the centre's depth
    assert off > 0.02
    assert abs(plane @ np.array([1.0, u + 0.002, v - 0.003]) - exact) < 0.1 * off


def test_depth_plane_of_a_small_ball_is_its_centre() -> None:
    camera = ring_of_cameras(5, 64, 48)[0]
    mean = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    quat = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    ball = torch.full((1, 3), 0.01, dtype=torch.float64)
    pose = torch.tensor(camera.cam_from_world)
    center = (camera.cam_from_world[:3, :3] @ mean[0].numpy()) + camera.cam_from_world[:3, 3]
    plane = depth_planes(mean, quat, ball, pose)[0].numpy()
    u, v = center[:2] / center[2]
    assert plane @ np.array([1.0, u, v]) == pytest.approx(center[2])
    # Three sigma beside it, the densest point has moved by far less than its size.
    assert abs(plane @ np.array([1.0, u + 0.03 / center[2], v]) - center[2]) < 0.01


def test_rotations_are_scipys() -> None:
    quats = np.random.default_rng(0).normal(size=(9, 4))
    exact = Rotation.from_quat(quats, scalar_first=True).as_matrix()
    np.testing.assert_allclose(rotation_matrices(torch.tensor(quats)).numpy(), exact, atol=1e-12)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("geometry")
    write_scene(root)
    return root


@pytest.mark.parametrize("depth", ["centres", "planes"])
def test_trains_and_renders_all_views_without_masks(scene: Path, depth: str) -> None:
    names = [path.name for path in sorted((scene / "colmap" / "images").iterdir())]
    options = PrepareOptions(iterations=20, longest_side=32, depth=depth)
    first, again = (prepare(scene / "colmap", names, options, seed=3) for _ in range(2))
    assert [camera.name for camera in first.cameras] == names
    camera = first.cameras[0]
    assert max(camera.width, camera.height) == 32
    shape = (camera.height, camera.width)
    assert (first.depths[0].shape, first.alphas[0].shape) == (shape, shape)
    assert first.colours[0].shape == (*shape, 3)
    seen = first.alphas[0] > 0.5
    assert seen.mean() > 0.1
    distance = np.linalg.norm(camera.center_in_world)
    assert 0.5 * distance < np.median(first.depths[0][seen]) < 1.5 * distance
    assert all(np.array_equal(a, b) for a, b in zip(first.depths, again.depths, strict=True))


def test_unknown_views_are_reported(scene: Path) -> None:
    with pytest.raises(InputError, match="none of the 1 training views has a camera"):
        prepare(scene / "colmap", ["absent.png"], PrepareOptions(), seed=0)
