"""What a removed thing stood on, where nothing of its foot and of what carries it was seen."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.editing.patches import Patch, beside, local_ground, support_id, surrounds
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.scene import Scene
from gradiseg_core.splatting.gaussians import SH_C0
from tests.editing.tables import scene_of
from tests.synthetic import ring_of_cameras

UP = np.array([0.0, 0.0, 1.0])
TABLE = Ground(UP, 0.0, "test")
BALL, APPLE, CUBE = 1, 2, 3
WOOD, RED = (0.5, 0.45, 0.3), (0.8, 0.1, 0.1)


def sphere(middle: tuple[float, float, float], radius: float, count: int) -> np.ndarray:
    """Points that are evenly spread over a sphere, [count, 3]."""
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    turn = np.pi * (1.0 + 5.0**0.5) * np.arange(count)
    across = np.sqrt(1.0 - height**2)
    return middle + radius * np.stack([across * np.cos(turn), across * np.sin(turn), height], 1)


def level(half: float, step: float, height: float = 0.0) -> np.ndarray:
    x, y = (array.ravel() for array in np.meshgrid(*2 * [np.arange(-half, half + 1e-9, step)]))
    return np.c_[x, y, np.full(x.size, height)]


def crowded() -> Scene:
    """A ball between an apple and another one; its foot and the table around that are missing."""
    ball = sphere((0.0, 0.0, 0.25), 0.25, 300)
    table = level(1.2, 0.08)
    table = table[np.hypot(*table[:, :2].T) > 0.75]
    parts = [
        (table, 0, WOOD, (0.05, 0.05, 0.01)),
        (ball[ball[:, 2] > 0.18], BALL, (0.9, 0.5, 0.7), 3 * (0.035,)),
        (sphere((0.53, 0.0, 0.28), 0.28, 1500), APPLE, RED, 3 * (0.025,)),
        (sphere((-0.36, 0.38, 0.27), 0.27, 1500), CUBE, RED, 3 * (0.025,)),
    ]
    sizes = [len(points) for points, *_ in parts]
    ids = np.repeat([number for _, number, *_ in parts], sizes)
    colour = np.repeat([colour for _, _, colour, _ in parts], sizes, axis=0)
    scales = np.repeat([scale for *_, scale in parts], sizes, axis=0)
    points = np.concatenate([points for points, *_ in parts])
    views = ring_of_cameras(8, 96, 72)
    return scene_of(points, colour, ids, scales, 3.0, views, ground=TABLE)


def test_between_other_things_a_hole_is_the_tables() -> None:
    """Without the foot, a plane through the apple holds more surface than what is seen of it."""
    edited = crowded().edit([{"remove": BALL}])
    filled = edited.history[-1]["filled"]
    assert filled["new"] > 20, filled
    new = np.arange(len(edited)) >= len(edited) - filled["new"]
    np.testing.assert_allclose(edited.points[new][:, 2], 0.0, atol=0.02)
    assert set(edited.ids[new]) == {0}
    colours = 0.5 + SH_C0 * edited.values["sh0"][new, 0].numpy()
    np.testing.assert_allclose(np.median(colours, axis=0), WOOD, atol=0.05)


def test_what_surrounds_a_place_is_not_beside_it() -> None:
    table = level(1.0, 0.1)
    even = np.ones(len(table))
    assert surrounds(table, even, np.zeros(3), UP)
    for share in (0.6, 0.2, 0.0):  # of what is seen of it: up to half the way round
        part = table[:, 0] > -share
        assert surrounds(table[part], even[part], np.zeros(3), UP)
    wall = np.c_[np.full(50, 0.3), np.linspace(-0.6, 0.6, 50), np.full(50, 0.2)]
    assert not surrounds(wall, np.ones(50), np.zeros(3), UP)
    # A few of its Gaussians elsewhere make no surroundings of it.
    strays = np.concatenate([wall, sphere((0.0, 0.0, 0.0), 0.5, 12)])
    assert not surrounds(strays, np.r_[np.ones(50), np.full(12, 0.1)], np.zeros(3), UP)


def test_a_book_may_carry_and_an_apple_beside_may_not() -> None:
    book = level(0.5, 0.05, 0.1)
    apple = sphere((0.5, 0.0, 0.35), 0.25, 400)
    points = np.concatenate([level(1.0, 0.05), book, apple])
    ids = np.repeat([0, 4, 5], [len(points) - len(book) - 400, len(book), 400])
    high = points[:, 2] > 0.2
    found = beside(points, ids, np.ones(len(points)), high, np.array([0.0, 0, 0.3]), UP)
    np.testing.assert_array_equal(found, ids == 5)


@pytest.mark.parametrize("degrees", [2.0, 12.0])
def test_a_plane_that_leans_is_no_support(degrees: float) -> None:
    """A real one leans as little as what most things stand on was measured wrong."""
    angle = np.radians(degrees)
    shelf = level(0.5, 0.05)
    shelf[:, 2] = 0.2 + np.tan(angle) * shelf[:, 0]
    points = np.concatenate([level(0.5, 0.2), shelf])
    middle = np.array([0.0, 0.0, 0.5])
    ground = local_ground(points, np.ones(len(points)), 0.02, TABLE, middle)
    assert ground is not None
    if degrees < 8.0:
        np.testing.assert_allclose(ground.normal, [-np.sin(angle), 0, np.cos(angle)], atol=0.01)
        assert ground.height(np.array([0.0, 0.0, 0.2])) == pytest.approx(0.0, abs=0.005)
    else:
        np.testing.assert_allclose(ground.normal, UP)
        # It is no plane of something beside it either.
    aside = shelf[shelf[:, 0] > 0.2]
    ground = local_ground(
        np.concatenate([level(0.5, 0.2), aside]), np.ones(len(aside) + 36), 0.02, TABLE, middle
    )
    assert ground is not None
    assert ground.height(np.zeros(3)) == pytest.approx(0.0, abs=0.005)


def test_the_support_lies_in_its_plane_and_things_only_touch_it() -> None:
    patch = Patch(TABLE, np.array([-1.0, -1, 0]), 0.02, (101, 101))
    table = level(1.0, 0.1)[:100]  # a quarter of it is seen
    apple = sphere((0.3, 0.3, 0.25), 0.25, 2000)
    ids = np.repeat([0, 5], [len(table), len(apple)])
    surface = np.repeat([0.001, 0.001], [len(table), len(apple)])
    flat = apple[:, 2] < 0.08
    assert flat.sum() > len(table)
    assert support_id(patch, np.concatenate([table, apple]), ids, surface) == 0
