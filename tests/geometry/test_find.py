"""From depth maps to ID maps, on exact depth."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.geometry.find import Found, NoSurfaceError, find_objects
from gradiseg_core.geometry.options import (
    FusionOptions,
    GeometryOptions,
    SegmentationOptions,
    StereoOptions,
)
from gradiseg_core.geometry.support import find_support
from gradiseg_core.stages.tracking.quality import assess_maps
from tests.geometry.ray_casting import BALL, Cast, cast

#: Voxels for maps of 160 px; sizes in voxels are a quarter of those at 320 px.
OPTIONS = GeometryOptions(
    stereo=StereoOptions(iterations=0),  # exact depth needs none, and there is no texture
    fusion=FusionOptions(voxel_px=3.0),
    segmentation=SegmentationOptions(whole_size=200, min_size=30),
)


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast()


def _find(views: Cast, options: GeometryOptions = OPTIONS, first: int = 0, **more) -> Found:
    return find_objects(
        views.depths[first:], views.alphas[first:], views.colours[first:], views.cameras[first:],
        views.photographs[first:], options, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(views: Cast) -> Found:
    return _find(views)


def test_touching_things_are_separate_objects_in_all_views(found: Found, views: Cast) -> None:
    assert len(found.objects) == 3
    scores = assess_maps(found.ids, views.ids)
    assert scores["accuracy"] > 0.98
    assert (scores["switches"], scores["fragments"], scores["merges"]) == (0, 0, 0)
    assert all(entry["iou"] > 0.93 for entry in scores["objects"])


def test_objects_are_described(found: Found, views: Cast) -> None:
    sizes = [entry.size for entry in found.objects]
    assert [entry.id for entry in found.objects] == [1, 2, 3]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == np.bincount(found.object_of)[1:].tolist()
    ball = found.objects[2]
    assert np.linalg.norm(ball.center - np.array(BALL[0])) < 0.1
    assert ball.height == pytest.approx(0.6, abs=0.05)
    assert ball.views == sum((ids == 3).any() for ids in views.ids)


def test_support_is_the_table(found: Found) -> None:
    assert found.support.normal @ np.array([0.0, 0.0, 1.0]) > 0.999
    x, y, z = found.surface.points.T
    table = (np.abs(np.hypot(x, y) - 1.3) < 0.12) & (np.abs(z) < 0.01)
    assert found.support.inside[table].mean() > 0.98
    assert not found.support.inside[z > 0.1].any()
    np.testing.assert_allclose(
        found.support.height[z > 0.1] * found.surface.voxel, z[z > 0.1], atol=0.03
    )


def test_support_follows_bumps(found: Found) -> None:
    """On a table that bends by 3 voxels a plane loses a tenth of it; a height field does not."""
    from dataclasses import replace

    surface = found.surface
    bent = surface.points.copy()
    bent[:, 2] += 3 * surface.voxel * np.cos(np.hypot(bent[:, 0], bent[:, 1]) * 2.0)
    bent_surface = replace(surface, points=bent)
    table = found.support.inside
    field = find_support(bent_surface, OPTIONS.support)
    plane = find_support(bent_surface, OPTIONS.support.model_copy(update={"bump": 0.0}))
    assert field.inside[table].mean() > 0.94 > plane.inside[table].mean() + 0.05
    assert field.sd < 0.6 * plane.sd
    assert not field.inside[found.object_of == 1].mean() > 0.02


def test_same_input_same_result(found: Found, views: Cast) -> None:
    again = _find(views)
    assert np.array_equal(again.object_of, found.object_of)
    assert all(np.array_equal(a, b) for a, b in zip(again.ids, found.ids, strict=True))
    assert np.array_equal(again.surface.points, found.surface.points)


def test_threads_change_nothing(found: Found, views: Cast) -> None:
    from gradiseg_core.compute.cpu_runtime import get_threads, set_threads

    before = get_threads()
    set_threads(3)
    try:
        again = _find(views)
    finally:
        set_threads(before)
    assert np.array_equal(again.surface.points, found.surface.points)
    assert np.array_equal(again.object_of, found.object_of)


def test_cuts_of_the_hierarchy_are_nested(found: Found) -> None:
    fine, coarse = (found.hierarchy.cut(stop) for stop in (0.05, 0.45))
    known = fine >= 0
    assert np.array_equal(known, coarse >= 0)
    assert fine.max() > coarse.max()
    pairs = np.unique(np.stack([fine[known], coarse[known]]), axis=1)
    assert pairs.shape[1] == fine.max() + 1  # every fine region lies in one coarse one


def test_larger_photographs_get_ids_of_their_size(found: Found, views: Cast) -> None:
    large = [photograph.repeat(2, 0).repeat(2, 1) for photograph in views.photographs]
    maps = find_objects(
        views.depths, views.alphas, views.colours, views.cameras, large, OPTIONS
    ).ids
    assert maps[0].shape == large[0].shape[:2]
    truth = views.ids[0].repeat(2, 0).repeat(2, 1)
    assert assess_maps(maps[:1], [truth])["accuracy"] > 0.98


def test_two_views_are_reported(views: Cast) -> None:
    with pytest.raises(NoSurfaceError, match="2 views are too few") as failure:
        _find(views, first=len(views.depths) - 2)
    assert failure.value.diagnostics == {"views": 2}


def test_disagreeing_depths_are_reported(views: Cast) -> None:
    """Depths that are off by 20 % at random give no surface that the views would show."""
    generator = np.random.default_rng(0)
    factors = generator.uniform(0.8, 1.2, len(views.depths)).astype(np.float32)
    depths = [depth * factor for depth, factor in zip(views.depths, factors, strict=True)]
    with pytest.raises(NoSurfaceError, match="views are too few or too far apart") as failure:
        find_objects(depths, views.alphas, views.colours, views.cameras, views.photographs, OPTIONS)
    assert failure.value.diagnostics["agreement"] < 0.5


def test_an_empty_table_is_reported(views: Cast) -> None:
    empty = cast(things=False)
    with pytest.raises(NoSurfaceError, match="no object stands out"):
        _find(empty)


def test_flat_things_come_from_another_tracker(found: Found, views: Cast) -> None:
    """A sheet on the table is no geometry; a tracker's ID of a box adds nothing."""
    others = []
    for ids in views.ids:
        other = np.where(ids == 1, 4, 0).astype(np.int32)
        rows, columns = np.nonzero(ids == 0)
        other[rows[-200:], columns[-200:]] = 9
        others.append(other)
    maps = _find(views, others=others).ids
    for before, ids, other in zip(found.ids, maps, others, strict=True):
        assert set(np.unique(ids)) <= {0, 1, 2, 3, 4}
        assert np.array_equal(ids == 4, (other == 9) & (before == 0))
        assert np.array_equal(np.where(ids == 4, 0, ids), before)
