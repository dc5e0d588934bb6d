"""An object's shadow on what it stood on: how much light it left, and Gaussians without it."""

from __future__ import annotations

import numpy as np
import torch

from gradiseg_core.editing.patches import Patch, on_plane
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.shading import light_left, lightened
from gradiseg_core.splatting.rasterization.reference import SH_C0
from tests.editing.tables import make, table_colour
from tests.synthetic import ring_of_cameras

SIZE = 81
X, Y = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
RADIUS = np.hypot(X, Y)
FOOT = RADIUS < 0.2


def patch() -> Patch:
    ground = Ground(np.array([0.0, 0, 1]), 0.0, "test")
    return Patch(ground, np.array([-1.0, -1, 0]), 2.0 / (SIZE - 1), (SIZE, SIZE))


def support() -> np.ndarray:
    """Wood that is lighter on one side, with specks."""
    colours = np.stack([0.7 + 0.1 * X, 0.55 + 0.05 * Y, 0.4 + 0 * X], axis=-1)
    specks = np.random.default_rng(0).random((SIZE, SIZE)) < 0.05
    return np.where(specks[..., None], 0.7 * colours, colours)


def shadow(depth: float = 0.5) -> np.ndarray:
    return 1.0 - depth * np.exp(-((np.maximum(RADIUS - 0.2, 0.0) / 0.2) ** 2))


def test_the_light_that_a_shadow_leaves_is_found() -> None:
    left = light_left(patch(), support() * shadow()[..., None], ~FOOT, FOOT, 0.6)
    assert np.abs(left - shadow())[~FOOT].mean() < 0.02
    assert np.abs(left - shadow())[~FOOT].max() < 0.15
    assert (left[RADIUS > 0.8] == 1.0).mean() > 0.98
    np.testing.assert_array_equal(left[FOOT], 1.0)


def test_without_a_shadow_all_light_is_left() -> None:
    left = light_left(patch(), support(), ~FOOT, FOOT, 0.6)
    assert left.min() > 0.9
    assert left.mean() > 0.995
    nothing = np.zeros_like(FOOT)
    np.testing.assert_array_equal(light_left(patch(), support(), ~FOOT, nothing, 0.6), 1.0)
    np.testing.assert_array_equal(light_left(patch(), support(), nothing, FOOT, 0.6), 1.0)


def test_what_is_dark_beyond_the_light_is_not_this_objects_shadow() -> None:
    other = 1.0 - 0.6 * np.exp(-(((X - 0.75) ** 2 + Y**2) / 0.02))
    left = light_left(patch(), support() * (shadow() * other)[..., None], ~FOOT, FOOT, 0.6)
    there = np.hypot(X - 0.75, Y) < 0.1
    assert left[there].min() > 0.9  # of the 0.4 that is there
    assert left[(RADIUS > 0.22) & (RADIUS < 0.25)].mean() < 0.6


def test_paint_around_the_foot_is_no_shadow() -> None:
    colours = support()
    colours[RADIUS < 0.4, 2] *= 0.3  # a yellow mat: blue alone is missing
    assert light_left(patch(), colours, ~FOOT, FOOT, 0.6).min() > 0.9


def test_pixels_know_where_they_look_at_the_plane() -> None:
    camera = ring_of_cameras(1, 96, 72)[0]
    place, depth, thickness = on_plane(patch(), camera)
    row, column = 50, 40
    assert depth[row, column] > 0
    x, y = (place[1, row, column], place[0, row, column])
    point = np.array([-1 + x * patch().cell, -1 + y * patch().cell, 0.0])
    in_camera = camera.cam_from_world[:3, :3] @ point + camera.cam_from_world[:3, 3]
    pixel = camera.K @ in_camera / in_camera[2]
    np.testing.assert_allclose(pixel[:2], [column + 0.5, row + 0.5], atol=1e-6)
    np.testing.assert_allclose(depth[row, column], in_camera[2], atol=1e-9)
    assert (thickness >= 4.0 * patch().cell).all()


def test_gaussians_become_as_light_as_the_patch_says_and_what_stands_there_stays() -> None:
    scene, kinds = make()
    dark = torch.tensor(0.6 * table_colour(scene.points)).float()
    table = torch.from_numpy(kinds["table"] | kinds["junk"])
    sh0 = torch.where(table[:, None, None], (dark - 0.5)[:, None] / SH_C0, scene.trained.sh0)
    scene = scene.changed({**scene.values, "sh0": sh0}, np.arange(len(scene)))
    left = np.full((SIZE, SIZE), 0.6)
    new, shN, count = lightened(scene.trained, patch(), left, list(scene.cameras.values()))
    colour = (0.5 + SH_C0 * new[:, 0]).numpy()
    seen = kinds["table"] & (np.abs(scene.points[:, :2]) < 0.8).all(axis=1)
    seen &= (np.abs(scene.points[:, :2]) > 0.5).any(axis=1)
    np.testing.assert_allclose(colour[seen], table_colour(scene.points)[seen], atol=0.04)
    top = kinds["box"] & (scene.points[:, 2] > 0.3)
    np.testing.assert_allclose(new[top], scene.trained.sh0[top], atol=0.05)
    assert seen.sum() <= count < len(scene)
    assert not shN.any()


def test_an_objects_shadow_goes_with_it() -> None:
    scene, kinds = make()
    points = scene.points
    away = np.maximum(np.abs(points[:, :2]).max(axis=1) - 0.3, 0.0)
    light = np.where(kinds["table"], 1.0 - 0.5 * np.exp(-((away / 0.2) ** 2)), 1.0)
    colour = (0.5 + SH_C0 * scene.trained.sh0[:, 0].numpy()) * light[:, None]
    sh0 = torch.tensor((colour - 0.5) / SH_C0).float()[:, None]
    scene = scene.changed({**scene.values, "sh0": sh0}, np.arange(len(scene)))
    edited, kept = scene.edit([{"remove": 1}]), scene.edit([{"remove": 1, "shadow": False}])
    bare = scene.kept(kinds["table"] | kinds["junk"])
    truth = torch.tensor((table_colour(bare.points) - 0.5) / SH_C0).float()[:, None]
    bare = bare.changed({**bare.values, "sh0": truth}, np.arange(len(bare)))
    assert edited.history[-1]["filled"]["lightened"] > 50
    assert "lightened" not in kept.history[-1]["filled"]
    for view in ("view_000.png", "view_003.png"):
        was = np.abs(scene.render(view).color - bare.render(view).color).max(axis=-1) > 0.05
        wanted = bare.render(view).color[was]
        error = np.abs(edited.render(view).color[was] - wanted).mean()
        assert error < 0.04
        assert error < 0.6 * np.abs(kept.render(view).color[was] - wanted).mean()
