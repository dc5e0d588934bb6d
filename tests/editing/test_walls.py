"""A wall behind an object that was photographed from one side, of known colours.

A red box stands on a table before a wall; no view sees the middle of the wall and of the table
behind the box, so nothing was trained there.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.removal import sights, training_cameras
from gradiseg_core.editing.scene import Scene
from gradiseg_core.editing.walls import hole_behind, shadow_on
from tests.editing.tables import scene_of
from tests.synthetic import look_at

HALF, TOP, WALL, STEP = 0.25, 0.5, 0.5, 0.06


def plane(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.meshgrid(x, y)
    return first.ravel(), second.ravel()


def cameras() -> list[Camera]:
    K = np.array([[88.0, 0, 40], [0, 88, 30], [0, 0, 1]])
    found = []
    for index, angle in enumerate(np.radians(np.linspace(-25, 25, 6))):
        eye = np.array([2.4 * np.sin(angle), -2.4 * np.cos(angle), 0.9 + 0.25 * (index % 3)])
        pose = look_at(eye, np.array([0.0, 0.0, 0.25]))
        found.append(Camera(f"view_{index:03d}.png", 80, 60, K, pose))
    return found


@cache
def make(depth: float = 0.0) -> tuple[Scene, Scene]:
    """The scene as it is trained, and the truth without the box.

    Args:
        depth: How far what is behind is scattered; 0 makes a wall.
    """
    x, y = plane(np.arange(-1.2, 1.21, STEP), np.arange(-1.0, WALL, STEP))
    table = np.c_[x, y, 0 * x]
    x, z = plane(np.arange(-1.2, 1.21, STEP), np.arange(STEP, 1.2, STEP))
    back = np.c_[x, WALL + depth * np.random.default_rng(0).random(len(x)), z]
    edge = np.arange(-HALF, HALF + 0.01, STEP)
    u, v = plane(edge, np.arange(0.03, TOP, STEP))
    sides = [np.c_[s * HALF + 0 * u, u, v] for s in (-1, 1)]
    sides += [np.c_[u, s * HALF + 0 * u, v] for s in (-1, 1)]
    u, v = plane(edge, edge)
    box = np.concatenate([*sides, np.c_[u, v, 0 * u + TOP]])
    colours = [
        np.c_[0.5 + 0.2 * table[:, 0], 0.45 - 0.15 * table[:, 0], 0.3 + 0 * table[:, 0]],
        np.c_[0.25 + 0.3 * back[:, 2], 0.5 + 0.15 * back[:, 0], 0.6 - 0.2 * back[:, 2]],
        np.tile([0.9, 0.1, 0.1], (len(box), 1)),
    ]
    points, colour = np.concatenate([table, back, box]), np.concatenate(colours)
    is_box = np.arange(len(points)) >= len(points) - len(box)
    full = certain(points, colour, is_box)
    never = ~seen(full) & ~is_box
    assert never[len(table) : -len(box)].sum() > 20  # of the wall
    return full.kept(~never), certain(points[~is_box], colour[~is_box], is_box[~is_box])


def certain(points: np.ndarray, colour: np.ndarray, is_box: np.ndarray) -> Scene:
    ground = Ground(np.array([0.0, 0.0, 1.0]), 0.0, "test")
    return scene_of(points, colour, is_box, 0.035, 3.0, cameras(), ground=ground)


def seen(scene: Scene) -> np.ndarray:
    """Which Gaussians lie no deeper than what some view shows at their place."""
    result = np.zeros(len(scene), bool)
    for camera in scene.cameras.values():
        depth = scene.render(camera).depth
        x = scene.points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
        place = np.floor(x @ camera.K.T / x[:, 2:]).astype(int)[:, :2]
        inside = ((place >= 0) & (place < [camera.width, camera.height])).all(axis=1)
        column, row = np.where(inside[:, None], place, 0).T
        result |= ~inside | (x[:, 2] < depth[row, column] + 0.1)
    return result


def test_the_wall_goes_on_behind_what_is_removed() -> None:
    scene, truth = make()
    edited = scene.edit([{"remove": 1}])
    (record,) = edited.history
    assert record["filled"]["new"] > 20
    assert record["filled_behind"]["new"] > 20
    new = edited.points[len(edited) - record["filled_behind"]["new"] :]
    np.testing.assert_allclose(new[:, 1], WALL, atol=0.02)
    assert (np.abs(new[:, 0]) < 0.6).all()  # with the mixtures around it, in cells of 0.035
    only_support = edited.kept(np.arange(len(edited)) < len(edited) - len(new))
    for view in ("view_001.png", "view_004.png"):
        was = scene.render(view).ids == 1
        wanted = truth.render(view).color[was]
        error = np.abs(edited.render(view).color[was] - wanted).mean()
        without = np.abs(only_support.render(view).color[was] - wanted).mean()
        assert error < 0.5 * without
        assert error < 0.04


def test_of_what_is_no_plane_nothing_is_assumed() -> None:
    scene, _ = make(depth=1.5)
    mask = scene.ids == 1
    views = sights(scene, mask, training_cameras(scene))

    def never(*_: object) -> np.ndarray:
        raise AssertionError("it looked for colours")

    assert hole_behind(scene.kept(~mask), scene.points[mask], views, never) is None


@pytest.mark.parametrize(("offset", "there"), [(0.5, True), (-0.5, False), (30.0, False)])
def test_a_shadow_is_behind(offset: float, there: bool) -> None:
    scene, _ = make()
    mask = scene.ids == 1
    views = sights(scene, mask, training_cameras(scene))
    points = np.array([[0.1, 0.0, 0.3]])
    shadow = shadow_on(Ground(np.array([0.0, 1.0, 0.0]), offset, "test"), points, views)
    assert len(shadow) == (len(views) if there else 0)
    for place, view in zip(shadow, views, strict=False):
        eye = view.camera.center_in_world
        assert place[1] == pytest.approx(offset)
        assert np.linalg.norm(np.cross(place - eye, points[0] - eye)) < 1e-9
