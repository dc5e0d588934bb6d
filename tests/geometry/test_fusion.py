"""The fused surface against exact distances."""

from __future__ import annotations

import numpy as np
import pytest
from plyfile import PlyData

from gradiseg_core.files.geometry import write_surface_ply
from gradiseg_core.geometry.fusion import Field, fuse, pixel_weights, volume_of
from gradiseg_core.geometry.options import FusionOptions, SurfaceOptions
from gradiseg_core.geometry.surface import (
    HALF_RING,
    Surface,
    extract,
    neighbour_mean,
)
from tests.geometry.ray_casting import BALL, BOXES, TABLE, Cast, cast, distance


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast()


@pytest.fixture(scope="module")
def fused(views: Cast) -> Field:
    # Maps of 160 px: voxels twice as large as the default's, 1.5 px of these maps.
    options = FusionOptions(voxel_px=3.0)
    return fuse(views.depths, views.alphas, views.colours, views.cameras, options)


@pytest.fixture(scope="module")
def surface(fused: Field) -> Surface:
    return extract(fused, SurfaceOptions())


def test_volume_lies_around_what_the_cameras_look_at(views: Cast) -> None:
    volume = volume_of(views.cameras, FusionOptions())
    np.testing.assert_allclose(volume.focus, [0.0, 0.0, 0.2], atol=1e-6)
    assert volume.distance == pytest.approx(np.hypot(2.4, 1.1))
    # A voxel is 1.5 px wide in an image of 320 px, whatever the maps' size.
    focal_320 = 1.1 * 320
    assert volume.voxel == pytest.approx(1.5 * volume.distance / focal_320)
    assert volume.radius == pytest.approx(0.6 * volume.distance)


def test_surface_is_within_a_voxel(surface: Surface) -> None:
    error = np.abs(distance(surface.points)) / surface.voxel
    assert len(surface) > 5000
    assert np.median(error) < 0.2
    assert np.percentile(error, 98) < 1.0


def test_surface_is_complete(surface: Surface) -> None:
    """Points on the seen parts of box, ball and table have a node within a voxel or two."""
    from scipy.spatial import cKDTree

    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    center, radius, _ = BALL
    circle = np.stack([0.6 * np.cos(angles), 0.6 * np.sin(angles), 0.8 + 0 * angles], axis=1)
    top = np.array([[x, y, BOXES[0][1][2]] for x in (-0.8, -0.4) for y in (-0.3, 0.2)])
    table = np.array([[-0.5, -0.8, 0.0], [0.9, -0.2, 0.0], [-0.4, 0.9, 0.0]])
    away, _ = cKDTree(surface.points).query(np.concatenate([circle * radius + center, top, table]))
    assert away.max() < 1.5 * surface.voxel


def test_normals_and_colours(surface: Surface) -> None:
    from skimage.color import rgb2lab

    center, radius, colour = BALL
    out = surface.points - np.array(center)
    on_ball = (np.abs(np.linalg.norm(out, axis=1) - radius) < surface.voxel) & (out[:, 2] > 0)
    cosine = (out[on_ball] * surface.normals[on_ball]).sum(axis=1) / radius
    assert np.median(cosine) > 0.98
    lab = rgb2lab(np.array(colour)[None, None])[0, 0]
    assert np.linalg.norm(np.median(surface.lab[on_ball], axis=0) - lab) < 3
    on_table = (np.linalg.norm(surface.points[:, :2], axis=1) > 1.2) & (surface.points[:, 2] < 0.05)
    assert np.median(surface.normals[on_table, 2]) > 0.99
    lab = rgb2lab(np.array(TABLE)[None, None])[0, 0]
    assert np.linalg.norm(np.median(surface.lab[on_table], axis=0) - lab) < 1


def test_concave_where_boxes_touch_and_nowhere_else(surface: Surface) -> None:
    """The small box's top meets the big box's side in a crease; edges and faces have none."""
    joint = np.array([-0.1, 0.0, 0.35])
    near = np.abs(surface.points - joint)
    crease = (near[:, 0] < 1.5 * surface.voxel) & (near[:, 2] < 1.5 * surface.voxel)
    crease &= near[:, 1] < 0.2
    assert crease.sum() > 10
    assert np.median(surface.concavity[crease]) > 0.5
    x, y, z = surface.points.T
    edge = (np.abs(x + 0.9) < 0.03) & (z > 0.72) & (np.abs(y) < 0.2)  # convex, of the big box
    face = (np.abs(z - 0.8) < 0.03) & (np.abs(x + 0.5) < 0.2) & (np.abs(y) < 0.2)
    for flat in (edge, face):
        assert flat.sum() > 10
        assert np.median(surface.concavity[flat]) < 0.05


def test_memory_is_that_of_the_surface(fused: Field, surface: Surface) -> None:
    volume = fused.grid.table.size * 512
    assert fused.grid.num_slots < 0.5 * volume
    # Twice as fine: about four times the surface, and not eight times the voxels.
    finer = cast()
    fine = fuse(
        finer.depths, finer.alphas, finer.colours, finer.cameras, FusionOptions(voxel_px=1.5)
    )
    assert fine.grid.num_slots < 6 * fused.grid.num_slots


def test_what_few_views_saw_is_not_there(views: Cast) -> None:
    options = FusionOptions(voxel_px=3.0)
    two = fuse(views.depths[:2], views.alphas[:2], views.colours[:2], views.cameras[:2], options)
    assert (two.views == 0).all()
    assert len(extract(two, SurfaceOptions())) == 0


def test_weights_fall_at_steps_from_afar_and_with_opacity(views: Cast) -> None:
    volume = volume_of(views.cameras, FusionOptions())
    near = np.full((9, 9), volume.distance, np.float32)
    opaque = np.ones((9, 9), np.float32)
    plain = pixel_weights(near, opaque, volume, FusionOptions())
    np.testing.assert_allclose(plain, 1.0, rtol=1e-5)
    np.testing.assert_allclose(
        pixel_weights(2 * near, opaque, volume, FusionOptions()), 0.25, rtol=1e-5
    )
    np.testing.assert_allclose(
        pixel_weights(near, 0.8 * opaque, volume, FusionOptions()), 0.8, rtol=1e-5
    )
    assert (pixel_weights(near, 0.4 * opaque, volume, FusionOptions()) == 0).all()
    step = near.copy()
    step[:, 5:] *= 1.02  # the slope at which a weight halves
    weight = pixel_weights(step, opaque, volume, FusionOptions())
    assert weight[4, 4] == pytest.approx(0.5, rel=1e-4)
    assert weight[4, 2] == pytest.approx(1.0, rel=1e-4)


def test_edges_join_neighbours_once(surface: Surface) -> None:
    step = np.abs(surface.index[surface.edges[:, 0]] - surface.index[surface.edges[:, 1]])
    assert (step.max(axis=1) == 1).all()
    assert len(np.unique(np.sort(surface.edges, axis=1), axis=0)) == len(surface.edges)
    assert len(HALF_RING) == 13


def test_neighbour_mean_of_a_path() -> None:
    mean = neighbour_mean(np.array([0.0, 3.0, 6.0, 1.0]), np.array([[0, 1], [1, 2]]))
    np.testing.assert_allclose(mean, [1.5, 3.0, 4.5, 1.0])


def test_ply_reads_back(surface: Surface, tmp_path) -> None:
    numbers = {"object": np.arange(len(surface), dtype=np.int32)}
    path = tmp_path / "geometry" / "surface.ply"
    write_surface_ply(path, surface.points, surface.normals, surface.lab, numbers)
    vertices = PlyData.read(tmp_path / "geometry" / "surface.ply")["vertex"]
    assert len(vertices) == len(surface)
    np.testing.assert_allclose(vertices["y"], surface.points[:, 1], rtol=1e-6)
    np.testing.assert_allclose(vertices["nz"], surface.normals[:, 2])
    assert np.array_equal(vertices["object"], numbers["object"])
    on_ball = np.linalg.norm(surface.points - np.array(BALL[0]), axis=1) < BALL[1]
    assert np.median(vertices["green"][on_ball]) > np.median(vertices["red"][on_ball]) + 60


def test_empty_surface_is_written(tmp_path) -> None:
    nothing = np.zeros((0, 3), np.float32)
    write_surface_ply(tmp_path / "empty.ply", nothing.astype(np.float64), nothing, nothing, {})
    assert len(PlyData.read(tmp_path / "empty.ply")["vertex"]) == 0
