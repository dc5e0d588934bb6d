"""Repair of a tracker's IDs by SfM tracks: switched IDs are split, fragments joined.

A tracker follows objects from photograph to photograph and knows nothing of the cameras. What it
loses or confuses stays wrong in 3D (section 9 of the paper). Here its segments are masks like
any others for backend `sfm`, but its IDs are not thrown away: for every ID and every stretch of
``window`` successive views, the masks that carry it form a group that counts like ``link_points``
SfM points which all of them see (`evidence.Links`). So where an object has texture, points decide,
many against few; where it has none, the tracker does; and an ID that wanders from one object to
another does not tie the two together beyond the stretch in which it did.

What the tracker left without an ID is one more segment where it is much of the picture (a table
that nobody segmented): only then can an object that the tracker missed be cut out of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.tracking import RepairConfig
from gradiseg_core.files.manifest import by_name, in_order
from gradiseg_core.stages.tracking.evidence import Links, Masks, SegmentedView
from gradiseg_core.stages.tracking.overflow import IdMaps
from gradiseg_core.stages.tracking.sfm_tracks import solve, views_with

if TYPE_CHECKING:
    from gradiseg_core.stages.tracking.backends.sfm import Options as SfmOptions

__all__ = ["repair", "views_with"]

#: Where the tracker left at least this share of all pixels without an ID, they take part as a
#: segment (and end as ID 0), so that missed objects can be found in them; measured
#: (studies/association.md).
BACKGROUND_SHARE = 0.25


def repair(
    views: list[SegmentedView], xyz: NDArray[np.float64], config: SfmOptions, options: RepairConfig
) -> tuple[IdMaps, dict]:
    """Return the views' IDs, repaired.

    Args:
        views: Views whose ``segments`` are the tracker's IDs, consistent over views but for the
            tracker's errors; 0 = no object.
        xyz: [P, 3] points, world units.
        config: Options of backend `sfm`.
        options: Options of the repair.

    Returns:
        maps: By stem, [H, W] int32. An object keeps the tracker's ID that covers most of it; of two
            objects with one ID, the one that holds less of it gets a new ID.
        details: Counts for objects.json, with ``changed``: of every view, the share of pixels with
            another ID than before.

    Raises:
        InputError: If no view has an ID, or no point falls into any segment.
    """
    views = sorted(views, key=lambda view: by_name(view.camera.name))
    given = {view.camera.stem: view.segments.astype(np.int32) for view in views}
    unlabelled = float(np.mean([(ids == 0).mean() for ids in given.values()]))
    background = max(int(ids.max()) for ids in given.values()) + 1
    filled = unlabelled >= BACKGROUND_SHARE
    if filled and any(ids.any() for ids in given.values()):
        views = [
            replace(view, segments=np.where(view.segments == 0, background, view.segments))
            for view in views
        ]
    result = solve(
        views,
        xyz,
        config,
        lambda ordered, masks: links_of(
            ordered, masks, points=options.link_points, window=options.window
        ),
    )
    before = {view.camera.stem: view.segments.astype(np.int32) for view in views}
    maps, added = keep_names(before, result.maps, background)
    changed = {stem: float((maps[stem] != given[stem]).mean()) for stem in in_order(maps)}
    return maps, {
        **result.details,
        "unlabelled_before": unlabelled,
        "background_as_segment": filled,
        "ids_before": sum(1 for ids in _present(given) if ids),
        "ids_after": sum(1 for ids in _present(maps) if ids),
        "ids_new": added,
        "changed": changed,
    }


def links_of(views: list[SegmentedView], masks: Masks, *, points: float, window: int) -> Links:
    """Group the masks that carry one ID within ``window`` successive views.

    Every stretch of that many views has groups of its own, one for each ID that occurs in at least
    two of its views; a mask is in up to ``window`` of them, so each counts a share of ``points``.

    Args:
        views: V views in order of their names, which is the order of the tracker.
        masks: Their masks.
        points: Weight of a mask's links, in points.
        window: Views of a stretch; 0 takes all views as one.
    """
    given = given_ids(views, masks)
    length = len(views) if window == 0 else min(window, len(views))
    groups, members = [], []
    count = 0
    for start in range(len(views) - length + 1):
        inside = np.flatnonzero((masks.view >= start) & (masks.view < start + length))
        ids, index, size = np.unique(given[inside], return_inverse=True, return_counts=True)
        numbers = np.full(len(ids), -1)
        numbers[size > 1] = count + np.arange((size > 1).sum())
        real = numbers[index] >= 0
        groups.append(numbers[index][real])
        members.append(inside[real])
        count += int((size > 1).sum())
    group, mask = np.concatenate(groups), np.concatenate(members)
    memberships = np.bincount(mask, minlength=len(masks))
    return Links(group, mask, points / np.maximum(memberships, 1)[mask], count)


def given_ids(views: list[SegmentedView], masks: Masks) -> NDArray[np.int64]:
    """Return the ID in its view's segments of each mask, [M]."""
    given = np.zeros(len(masks), np.int64)
    for view, numbers in zip(views, masks.maps, strict=True):
        inside = numbers >= 0
        given[numbers[inside]] = view.segments[inside]
    return given


def keep_names(before: IdMaps, after: IdMaps, background: int) -> tuple[IdMaps, int]:
    """Name clusters after the IDs that they hold.

    Args:
        before: The tracker's IDs; ``background`` stands for what it left without one.
        after: Arbitrary cluster numbers; 0 = none.
        background: See above.

    Returns:
        The maps with names, and the number of new IDs. Clusters that are mostly background are 0;
        the others take, those with the largest overlap first, the ID that they hold most of, if
        it is free, and otherwise a number above all given IDs.
    """
    overlap: dict[tuple[int, int], int] = {}
    for stem, ids in after.items():
        pairs, counts = np.unique(
            np.stack([ids.ravel(), before[stem].ravel()]), axis=1, return_counts=True
        )
        for cluster, old, size in zip(*pairs.tolist(), counts.tolist(), strict=True):
            if cluster:
                overlap[cluster, old] = overlap.get((cluster, old), 0) + size
    most: dict[int, tuple[int, int]] = {}
    for (cluster, old), size in overlap.items():
        most[cluster] = max(most.get(cluster, (0, 0)), (size, -old))
    name: dict[int, int] = {}
    taken: set[int] = set()
    fresh = background
    new = 0
    for cluster in sorted(most, key=lambda c: (-most[c][0], c)):
        old = -most[cluster][1]
        if old == background:
            name[cluster] = 0
        elif old and old not in taken:
            name[cluster] = old
            taken.add(old)
        else:
            fresh += 1
            new += 1
            name[cluster] = fresh
    table = np.zeros(max(name, default=0) + 1, np.int32)
    for cluster, label in name.items():
        table[cluster] = label
    return {stem: table[ids] for stem, ids in after.items()}, new


def _present(maps: IdMaps) -> list[int]:
    return sorted({int(value) for ids in maps.values() for value in np.unique(ids)})
