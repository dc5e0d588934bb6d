"""Repair of a tracker's IDs: what links say, what points say, who wins, and the names after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradiseg_core.config.tracking import RepairConfig, TrackingConfig
from gradiseg_core.stages.tracking import repair as repairing
from gradiseg_core.stages.tracking import sfm_tracks
from gradiseg_core.stages.tracking.backends.sfm import Options as SfmOptions
from gradiseg_core.stages.tracking.evidence import number_masks
from gradiseg_core.stages.tracking.repair import keep_names, links_of, repair
from tests.stages.tracking import blobs as synthetic

SFM, REPAIR = SfmOptions(), RepairConfig()


def renamed(blobs, rename):
    """Views with IDs ``rename(view index)[exact ID]``."""
    segments = {i: rename(i)[exact] for i, exact in enumerate(blobs.exact)}
    return synthetic.with_segments(blobs, segments)


def test_switches_are_split_and_fragments_joined():
    blobs = synthetic.make()

    def tracker(index):
        table = np.array([0, 1, 2, 3, 4, 5])
        if index >= 6:
            table[1] = 11  # lost and found again under another number
        if index in (3, 8):
            table[[2, 3]] = table[[3, 2]]  # mistaken for one another
        return table

    maps, details = repair(renamed(blobs, tracker), blobs.xyz, SFM, REPAIR)
    for view, exact in zip(blobs.views, blobs.exact, strict=True):
        # Object 1 has the name that covers more of it: 1 in six views, 11 in four.
        assert np.array_equal(maps[view.camera.stem], exact)
    assert (details["ids_before"], details["ids_after"]) == (6, 5)
    assert details["ids_new"] == 0
    assert details["background_as_segment"] is False
    assert details["changed"]["view_00"] == 0.0
    assert details["changed"]["view_03"] > 0.0
    assert details["changed"]["view_06"] > 0.0


def test_one_id_for_two_objects_gives_the_smaller_a_new_one():
    blobs = synthetic.make()
    wandering = renamed(
        blobs, lambda index: np.array([0, 1, 7 if index >= 5 else 2, 3, 7 if index < 5 else 4, 5])
    )
    maps, _details = repair(wandering, blobs.xyz, SFM, REPAIR)
    names = {
        (int(label), int(exact))
        for view, truth in zip(blobs.views, blobs.exact, strict=True)
        for label, exact in np.unique(
            np.stack([maps[view.camera.stem].ravel(), truth.ravel()]), axis=1
        ).T
    }
    assert len(names) == 5  # one name for each object, one object for each name
    assert {exact for _, exact in names} == {1, 2, 3, 4, 5}


def test_missed_objects_come_back_out_of_what_has_no_id(monkeypatch):
    blobs = synthetic.make(num_views=12, points_per_object=80)
    # The tracker knows no table, and misses object 3 in two views.
    views = renamed(blobs, lambda index: np.array([0, 1, 2, 0 if index in (4, 7) else 3, 4, 0]))
    maps, details = repair(views, blobs.xyz, SFM, REPAIR)
    assert details["background_as_segment"] is True
    for index in (4, 7):
        ids, exact = maps[f"view_{index:02d}"], blobs.exact[index]
        assert (ids[exact == 3] == 3).mean() > 0.7
        assert (ids[exact == blobs.table] == 0).mean() > 0.95
    monkeypatch.setattr(repairing, "BACKGROUND_SHARE", 1.0)
    untouched, details = repair(views, blobs.xyz, SFM, REPAIR)
    assert details["background_as_segment"] is False
    assert (untouched["view_04"][blobs.exact[4] == 3] == 3).mean() < 0.5


def test_the_tracker_decides_where_there_are_no_points(monkeypatch):
    monkeypatch.setattr(sfm_tracks, "REPROJECT_ANGLE_DEG", 0.0)
    blobs = synthetic.make()
    alone = blobs.owner != 2  # object 2 is a plain ball: no points at all
    number = np.cumsum(alone) - 1
    views = [
        replace(
            view,
            xy=view.xy[alone[view.point_index]],
            point_index=number[view.point_index[alone[view.point_index]]],
        )
        for view in blobs.views
    ]
    maps, _ = repair(views, blobs.xyz[alone], SFM, REPAIR)
    for view, exact in zip(blobs.views, blobs.exact, strict=True):
        assert (maps[view.camera.stem][exact == 2] == 2).mean() > 0.9


def test_links_of_windows_by_hand():
    blobs = synthetic.make(num_views=4, points_per_object=5)
    ids = [[[1, 2]], [[1, 0]], [[0, 2]], [[1, 2]]]
    views = [
        replace(view, segments=np.array(segments))
        for view, segments in zip(blobs.views, ids, strict=True)
    ]
    masks = number_masks(views)
    # Masks: 0: view 0 ID 1, 1: view 0 ID 2, 2: view 1 ID 1, 3: view 2 ID 2, 4, 5: view 3.
    links = links_of(views, masks, points=6.0, window=3)
    groups = [links.mask[links.group == g].tolist() for g in range(links.count)]
    assert groups == [[0, 2], [1, 3], [2, 4], [3, 5]]
    weight = dict(zip(links.mask.tolist(), links.weight.tolist(), strict=True))
    assert weight == {0: 6.0, 1: 6.0, 2: 3.0, 3: 3.0, 4: 6.0, 5: 6.0}
    whole = links_of(views, masks, points=6.0, window=0)
    assert [whole.mask[whole.group == g].tolist() for g in range(whole.count)] == [
        [0, 2, 4],
        [1, 3, 5],
    ]
    assert set(whole.weight) == {6.0}


def test_names_go_to_those_that_hold_most():
    before = {"a": np.array([[4, 4, 4, 4, 4, 7, 9, 9, 9]])}
    after = {"a": np.array([[1, 1, 1, 2, 2, 3, 4, 4, 0]])}
    maps, new = keep_names(before, after, background=9)
    # Cluster 1 holds most of ID 4; 2 holds the rest and becomes new; 4 is background.
    assert maps["a"].tolist() == [[4, 4, 4, 10, 10, 7, 0, 0, 0]]
    assert new == 1


def test_repair_needs_ids_to_repair():
    with pytest.raises(ValueError, match="`repair: sfm` repairs the IDs of"):
        TrackingConfig(repair="sfm")
    assert TrackingConfig(backend="deva", repair="sfm").name == "deva+sfm"
    own = TrackingConfig(backend="precomputed", repair="sfm", sfm={"fill": False})
    assert own.association == SfmOptions(fill=False)
    assert TrackingConfig(backend="deva").association is None
