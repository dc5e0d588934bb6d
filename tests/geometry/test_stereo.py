"""Depth that is sharpened by textured photographs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.geometry.find import sharpened
from gradiseg_core.geometry.fusion import unproject, volume_of
from gradiseg_core.geometry.options import FusionOptions, GeometryOptions, StereoOptions
from gradiseg_core.geometry.stereo import neighbours, plane_normals, refine
from tests.geometry.ray_casting import Cast, cast

VIEWS = range(5)  # of a ring of 24, 15 degrees apart


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast(views=24)


def _texture(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a grey of 0 to 1 that changes within some px, and does not repeat."""
    waves = np.random.default_rng(0).normal(0.0, 30.0, (12, 3))
    return 0.5 + 0.15 * np.sin(points @ waves.T + np.arange(12)).sum(axis=-1).clip(-3, 3)


def _some(views: Cast, textured: bool) -> tuple[list, list, list[Camera], list]:
    """Depth that is 10 voxels too small, opacity, cameras and grey photographs."""
    cameras = [views.cameras[v] for v in VIEWS]
    exact = [views.depths[v] for v in VIEWS]
    greys = [
        (255 * _texture(unproject(depth, camera))).astype(np.float32) * (depth > 0)
        if textured
        else np.full(depth.shape, 100.0, np.float32)
        for depth, camera in zip(exact, cameras, strict=True)
    ]
    voxel = volume_of(cameras, FusionOptions()).voxel
    near = [np.where(depth > 0, depth - 10 * voxel, 0).astype(np.float32) for depth in exact]
    return near, [views.alphas[v] for v in VIEWS], cameras, greys


def _errors(depths: list, views: Cast, cameras: list[Camera]) -> NDArray[np.float64]:
    """Errors of all views in voxels, inside the ball that is fused."""
    volume = volume_of(cameras, FusionOptions())
    errors = []
    for depth, view, camera in zip(depths, VIEWS, cameras, strict=True):
        exact = views.depths[view]
        inside = np.linalg.norm(unproject(exact, camera) - volume.focus, axis=-1) < volume.radius
        errors.append((depth - exact)[inside & (exact > 0)] / volume.voxel)
    return np.concatenate(errors)


def test_texture_brings_depth_to_the_surface(views: Cast) -> None:
    near, alphas, cameras, greys = _some(views, textured=True)
    volume = volume_of(cameras, FusionOptions())
    found = refine(near, alphas, cameras, greys, volume, StereoOptions())
    before = np.abs(_errors(near, views, cameras))
    after = np.abs(_errors([entry.depth for entry in found], views, cameras))
    assert np.median(before) == pytest.approx(10.0, abs=0.1)
    assert np.median(after) < 1.2  # a voxel is half a pixel here
    assert (after < 3).mean() > 0.7
    costs = np.concatenate([entry.cost[entry.cost < 2] for entry in found])
    assert np.median(costs) < 0.3


def test_without_texture_depth_stays(views: Cast) -> None:
    near, alphas, cameras, greys = _some(views, textured=False)
    volume = volume_of(cameras, FusionOptions())
    found = refine(near, alphas, cameras, greys, volume, StereoOptions())
    moved = _errors([entry.depth for entry in found], views, cameras) + 10.0
    assert np.median(np.abs(moved)) < 0.1
    assert (np.abs(moved) < 1.0).mean() > 0.85  # the start is smoothed at outlines


def test_threads_change_nothing(views: Cast) -> None:
    near, alphas, cameras, greys = _some(views, textured=True)
    volume = volume_of(cameras, FusionOptions())
    before = get_threads()
    results = []
    for threads in (1, 3):
        set_threads(threads)
        try:
            found = refine(near, alphas, cameras, greys, volume, StereoOptions(iterations=1))
        finally:
            set_threads(before)
        results.append(found)
    for one, three in zip(*results, strict=True):
        assert np.array_equal(one.depth, three.depth)
        assert np.array_equal(one.cost, three.cost)


def test_no_round_leaves_depth_as_rendered(views: Cast) -> None:
    near, alphas, cameras, _ = _some(views, textured=False)
    photographs = [views.photographs[v] for v in VIEWS]
    options = GeometryOptions(stereo=StereoOptions(iterations=0))
    for before, after in zip(
        near, sharpened(near, alphas, cameras, photographs, options), strict=True
    ):
        assert np.array_equal(before, after)


def test_neighbours_are_at_a_good_angle(views: Cast) -> None:
    volume = volume_of(views.cameras, FusionOptions())
    near = neighbours(views.cameras, volume, 4)
    assert {int(other) for other in near[0][:2]} == {1, 23}
    assert all(len(others) == 4 and view not in others for view, others in enumerate(near))


def test_normals_of_a_slanted_plane() -> None:
    camera = Camera("a", 64, 48, np.array([[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]]), np.eye(4))
    normal = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    rows, columns = np.mgrid[0:48, 0:64] + 0.5
    rays = np.stack([(columns - 32) / 60, (rows - 24) / 60, np.ones_like(rows)], axis=-1)
    depth = (-2.0 / (rays @ normal)).astype(np.float32)
    inner = plane_normals(depth, camera)[8:-8, 8:-8]
    np.testing.assert_allclose(inner, np.broadcast_to(normal, inner.shape), atol=1e-3)
