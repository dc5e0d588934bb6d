"""Thin things that the surface lacks stand out of the background."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.backdrop import difference, join_thin
from gradiseg_core.geometry.fusion import fuse, unproject
from gradiseg_core.geometry.labelling import label_view
from gradiseg_core.geometry.options import FusionOptions, GeometryOptions, SurfaceOptions
from gradiseg_core.geometry.surface import extract
from tests.geometry.ray_casting import Cast, cast


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast()


@pytest.fixture(scope="module")
def scene(views: Cast) -> tuple[Surface, np.ndarray]:
    """The surface, and the exact object of every node."""
    fused = fuse(
        views.depths, views.alphas, views.colours, views.cameras, FusionOptions(voxel_px=3.0)
    )
    surface = extract(fused, SurfaceOptions())
    x, y, z = surface.points.T
    ball = np.hypot(x - 0.55, y - 0.85) < 0.32
    object_of = np.select([z < 0.03, ball, x < -0.1], [0, 3, 1], 2).astype(np.int32)
    return surface, object_of


def test_table_is_as_expected_and_objects_are_not(views: Cast, scene: tuple) -> None:
    surface, object_of = scene
    away = difference(surface, object_of, views.cameras[0], views.photographs[0])
    inside = np.linalg.norm(unproject(views.depths[0], views.cameras[0]), axis=-1) < 1.2
    table = inside & (views.ids[0] == 0)
    assert np.quantile(away[table], 0.9) < 5
    boxes = views.ids[0] > 0
    assert np.median(away[boxes & (away > 0)]) > 25


def test_without_background_nothing_is_known(views: Cast, scene: tuple) -> None:
    surface, object_of = scene
    away = difference(surface, object_of * 0 + 1, views.cameras[0], views.photographs[0])
    assert (away == 0).all()


def test_a_wire_joins_the_object_that_it_touches(views: Cast, scene: tuple) -> None:
    """It is in one photograph alone, so that no surface has it."""
    surface, object_of = scene
    photograph, ids = views.photographs[0].copy(), views.ids[0]
    rows, columns = np.nonzero(ids == 3)
    bottom = rows.max() + 1
    column = int(columns[rows == bottom - 1].mean())
    photograph[bottom : bottom + 4, column : column + 2] = (20, 160, 60)
    found = label_view(
        surface, object_of, views.depths[0], views.cameras[0], photograph, GeometryOptions()
    )
    assert (found[bottom : bottom + 4, column : column + 2] == 3).mean() > 0.8
    assert (found[bottom + 8 :, column] == 0).all()


def test_noise_and_what_is_far_stay_background() -> None:
    labels = np.zeros((240, 320), np.int32)
    labels[100:120, 100:120] = 5
    away = np.zeros(labels.shape)
    away[110, 120:124] = 30.0  # a wire
    away[130:132, 110] = 30.0  # two pixels
    away[110, 200:230] = 30.0  # far away
    away[90:100, 100:120] = 10.0  # a shadow
    found = join_thin(labels, away)
    assert (found[110, 120:124] == 5).all()
    assert (found > 0).sum() == 400 + 4
    assert np.array_equal(join_thin(labels * 0, away), labels * 0)
