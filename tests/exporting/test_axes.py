"""Turned Gaussians look the same from a turned camera: positions, shapes and harmonics."""

from __future__ import annotations

import numpy as np
import torch

from gradiseg_core.exporting.cloud import Cloud
from gradiseg_core.splatting.rasterization.registry import get_rasterizer
from tests.exporting import clouds


def picture(cloud: Cloud, pose: np.ndarray) -> np.ndarray:
    K = np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]])
    tensors = {
        name: torch.from_numpy(np.asarray(value, np.float64))
        for name, value in (("viewmat", pose), ("K", K))
    }
    with torch.no_grad():
        rendering = get_rasterizer("reference")(
            torch.from_numpy(cloud.means).double(),
            torch.from_numpy(cloud.quats).double(),
            torch.from_numpy(np.exp(cloud.scales)).double(),
            torch.from_numpy(cloud.opacities).double().sigmoid(),
            torch.from_numpy(cloud.sh0).double()[:, None],
            torch.from_numpy(cloud.shN).double(),
            torch.from_numpy(cloud.identities).double(),
            **tensors,
            width=64,
            height=48,
            sh_degree=3,
        )
    return rendering.color.numpy()


def test_turned_gaussians_look_the_same_from_a_turned_camera() -> None:
    cloud = clouds.make(60)
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    pose[:3, :3] *= np.sign(np.linalg.det(pose[:3, :3]))
    pose[:3, 3] = [0.1, -0.2, 4.0]
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    before, after = picture(cloud, pose), picture(cloud.y_up(), pose @ flip)
    assert before.std() > 0.05
    np.testing.assert_allclose(after, before, atol=1e-6)
    wrong = picture(cloud.y_up(), pose)
    assert np.abs(wrong - before).mean() > 0.02


def test_turning_twice_changes_nothing() -> None:
    cloud = clouds.make(20, offset=(1, 2, 3))
    twice = cloud.y_up().y_up()
    for name in ("means", "quats", "shN", "offset"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(cloud, name))
