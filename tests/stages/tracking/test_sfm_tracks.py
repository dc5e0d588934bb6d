"""Backend `sfm` on a synthetic scene whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.errors import InputError
from gradiseg_core.stages.tracking import sfm_tracks
from gradiseg_core.stages.tracking.backends.sfm import Options as SfmOptions
from gradiseg_core.stages.tracking.evidence import SegmentedView
from gradiseg_core.stages.tracking.quality import assess_maps
from gradiseg_core.stages.tracking.sfm_tracks import solve
from tests.stages.tracking import blobs as synthetic

CONFIG = SfmOptions()


@pytest.fixture(scope="module")
def scene() -> synthetic.Blobs:
    return synthetic.make()


def judge(scene: synthetic.Blobs, views: list[SegmentedView], config: SfmOptions = CONFIG) -> dict:
    maps = solve(views, scene.xyz, config).maps
    names = [view.camera.stem for view in scene.views]
    return assess_maps([maps[name] for name in names], scene.exact, names=names)


def test_exact_masks_with_arbitrary_ids_are_solved_exactly(scene):
    rng = np.random.default_rng(1)
    shuffled = {
        i: np.append(0, rng.permutation(900)[: scene.table] + 1)[view.segments]
        for i, view in enumerate(scene.views)
    }
    quality = judge(scene, synthetic.with_segments(scene, shuffled))
    assert quality["accuracy"] == 1.0
    assert quality["num_ids"] == scene.table


def test_result_does_not_depend_on_order_of_views_or_ids(scene):
    rng = np.random.default_rng(2)
    fragmented = cut(scene, [0, 3, 4], label=1)
    first = solve(synthetic.with_segments(scene, fragmented), scene.xyz, CONFIG).maps
    renamed = {
        i: np.append(0, rng.permutation(200) + 1)[fragmented.get(i, view.segments)]
        for i, view in enumerate(scene.views)
    }
    views = synthetic.with_segments(scene, renamed)
    again = solve([views[i] for i in rng.permutation(len(views))], scene.xyz, CONFIG).maps
    assert all(np.array_equal(first[stem], again[stem]) for stem in first)


def cut(scene: synthetic.Blobs, where: list[int], label: int) -> dict[int, np.ndarray]:
    """Cut object ``label`` into a left and a right half in some views."""
    segments = {}
    for i in where:
        ids = scene.views[i].segments.copy()
        rows, columns = np.nonzero(ids == label)
        right = columns > np.median(columns)
        ids[rows[right], columns[right]] = 100
        segments[i] = ids
    return segments


def test_fragments_seen_whole_elsewhere_are_joined(scene):
    quality = judge(scene, synthetic.with_segments(scene, cut(scene, [0, 2, 5], label=2)))
    assert quality["accuracy"] == 1.0
    assert quality["fragments"] == 0


def test_parts_never_seen_whole_are_joined_by_their_border():
    # The same cut through space in every view: two objects as far as points can tell.
    scene = synthetic.make(points_per_object=120)
    segments = {}
    for i, view in enumerate(scene.views):
        ids, depth = synthetic.trace(view.camera)
        rows, columns = np.nonzero(ids == 3)
        rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1)
        in_cam = rays @ np.linalg.inv(view.camera.K).T * depth[rows, columns][:, None]
        rotation, translation = (
            view.camera.cam_from_world[:3, :3],
            view.camera.cam_from_world[:3, 3],
        )
        x_in_world = (in_cam - translation) @ rotation
        upper = x_in_world[:, 2] > synthetic.CENTERS[2, 2]
        ids[rows[upper], columns[upper]] = 100
        segments[i] = ids
    # Outlines cannot know: the halves' hulls overlap. Judge what points and borders say.
    halves = synthetic.with_segments(scene, segments)
    config = SfmOptions(fill=False, split=False, join="never")
    whole = [synthetic.trace(view.camera)[0] for view in scene.views]
    exact = [segments[i] for i in range(len(scene.views))]
    for options, truth in ((config, exact), (config.model_copy(update={"join": "always"}), whole)):
        maps = solve(halves, scene.xyz, options).maps
        quality = assess_maps([maps[view.camera.stem] for view in scene.views], truth)
        assert quality["merges"] == 0
        assert quality["accuracy"] > 0.98


def test_missed_object_is_filled_only_when_asked(scene):
    missed = scene.views[4].segments.copy()
    missed[missed == 1] = 0
    views = synthetic.with_segments(scene, {4: missed})
    assert judge(scene, views)["accuracy"] > 0.998
    kept = solve(views, scene.xyz, SfmOptions(fill=False)).maps["view_04"]
    assert np.array_equal(kept == 0, missed == 0)


def test_mask_over_two_objects_is_divided(scene):
    # A view in which objects 1 and 3 look close, and one mask covers both.
    merged = scene.views[6].segments.copy()
    merged[merged == 3] = 1
    views = synthetic.with_segments(scene, {6: merged})
    whole = judge(scene, views, SfmOptions(split=False))
    divided = judge(scene, views)
    assert whole["switches"] == 1
    assert divided["switches"] == 0
    assert divided["accuracy"] > 0.998 > whole["accuracy"]


def test_object_merged_with_the_table_is_divided(scene):
    merged = scene.views[3].segments.copy()
    merged[merged == 2] = scene.table
    quality = judge(scene, synthetic.with_segments(scene, {3: merged}))
    assert quality["switches"] == 0
    assert quality["accuracy"] > 0.995


def test_object_without_points_in_some_views_is_found_by_outline(scene, monkeypatch):
    monkeypatch.setattr(sfm_tracks, "REPROJECT_ANGLE_DEG", 0.0)
    # Object 4 is detected in every third view only, and reprojection is off.
    views = [
        SegmentedView(
            view.camera,
            view.segments,
            view.xy[keep],
            view.point_index[keep],
        )
        for i, view in enumerate(scene.views)
        for keep in [np.flatnonzero((scene.owner[view.point_index] != 4) | (i % 3 == 0))]
    ]
    quality = judge(scene, views, SfmOptions())
    assert quality["accuracy"] == 1.0


def test_wobbly_boundaries_do_not_mislead(scene):
    rng = np.random.default_rng(3)
    wobbly = {}
    for i, view in enumerate(scene.views):
        rows, columns = np.mgrid[: synthetic.HEIGHT, : synthetic.WIDTH]
        rows = np.clip(rows + rng.integers(-1, 2, rows.shape), 0, synthetic.HEIGHT - 1)
        columns = np.clip(columns + rng.integers(-1, 2, rows.shape), 0, synthetic.WIDTH - 1)
        wobbly[i] = view.segments[rows, columns]
    maps = solve(synthetic.with_segments(scene, wobbly), scene.xyz, CONFIG).maps
    quality = assess_maps([maps[v.camera.stem] for v in scene.views], list(wobbly.values()))
    assert quality["accuracy"] == 1.0


def test_single_view_objects_are_dropped(scene, monkeypatch):
    monkeypatch.setattr(sfm_tracks, "REPROJECT_ANGLE_DEG", 0.0)
    # A mask in the air that no other view has, around no point.
    segments = scene.views[1].segments.copy()
    segments[:6, :6] = 77
    blank = scene.views[1]
    far = ~((blank.xy[:, 0] < 7) & (blank.xy[:, 1] < 7))
    views = synthetic.with_segments(scene, {1: segments})
    views[1] = SegmentedView(blank.camera, segments, blank.xy[far], blank.point_index[far])
    config = SfmOptions()
    assert not solve(views, scene.xyz, config).maps["view_01"][:6, :6].any()
    kept = solve(views, scene.xyz, config.model_copy(update={"min_views": 1})).maps["view_01"]
    assert (kept[:6, :6] == kept[0, 0]).all()
    assert kept[0, 0] > 0


def test_no_masks_or_no_points_is_an_error(scene):
    empty = {i: np.zeros_like(view.segments) for i, view in enumerate(scene.views)}
    with pytest.raises(InputError, match="no view has a mask"):
        solve(synthetic.with_segments(scene, empty), scene.xyz, CONFIG)
    blind = [
        SegmentedView(v.camera, v.segments, np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
        for v in scene.views
    ]
    with pytest.raises(InputError, match="no SfM point"):
        solve(blind, scene.xyz, CONFIG)
