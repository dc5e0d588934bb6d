"""How consistent IDs are, judged without ground truth: a 3D point has one object.

Every SfM track is a 3D point that was matched in several views by its looks, whatever the masks
there say; ID maps that are right give all its observations one ID. Backend `sfm` makes its IDs
from the same tracks, so for it the number shows what the tracks could not reconcile; for other
trackers it is independent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.manifest import in_order

#: Pairs of IDs that share fewer tracks are not listed: matches along outlines are often wrong.
MIN_ALIKE = 3


def track_consistency(
    maps: dict[str, NDArray], observations: dict[str, tuple[NDArray, NDArray]], num_points: int
) -> dict:
    """Measure the agreement of ID maps with SfM tracks.

    An observation's ID is the ID at its pixel; the ID of a track is the one that most of its
    observations with an ID > 0 carry (the smaller ID on ties).

    Args:
        maps: [H, W] ID maps by stem.
        observations: By stem, (xy [n, 2] px, point_index [n]).
        num_points: Number of SfM points.

    Returns:
        A dictionary with

        * ``id_consistency``: share of observations with an ID > 0 that carry their track's ID,
          over tracks with at least two such observations; None without any;
        * ``unlabelled``: share of observations whose ID is 0;
        * ``tracks``: number of tracks judged;
        * ``views``: per stem, ``observations`` judged and the share of them that ``agrees`` (None
          without any);
        * ``alike``: pairs of IDs that share tracks, each as ``ids`` (the smaller first), ``tracks``
          (observed under both IDs), ``share`` (of all tracks observed under the ID that has fewer)
          and ``together`` (views that show both); the most shared tracks first. Two IDs that share
          many and are never seen together are the fragments of one object;
        * ``objects``: per ID, ``tracks`` (points whose ID it is), ``views_seen`` (views that
          observe any of them), ``persistence`` (share of those views in which this ID is the most
          frequent one, 0 included, among the observations of its points), ``switches`` (views
          in which another ID > 0 is) and ``switched`` (those views' [stem, ID there]).
    """
    stems = in_order(maps)
    point, view, ids = [], [], []
    for index, stem in enumerate(stems):
        xy, points = observations.get(stem, (np.zeros((0, 2)), np.zeros(0, dtype=np.int64)))
        height, width = maps[stem].shape
        columns = np.clip(xy[:, 0].astype(np.int64), 0, width - 1)
        rows = np.clip(xy[:, 1].astype(np.int64), 0, height - 1)
        point.append(points)
        view.append(np.full(len(points), index))
        ids.append(maps[stem][rows, columns].astype(np.int64))
    points, views, values = (np.concatenate(part) for part in (point, view, ids))
    if len(points) == 0:
        nobody = {stem: {"observations": 0, "agrees": None} for stem in stems}
        return {"id_consistency": None, "unlabelled": None, "tracks": 0, "objects": {}} | {
            "views": nobody,
            "alike": [],
        }
    track_id, labelled_count = _majority(points, values, num_points)
    judged = (values > 0) & (labelled_count[points] >= 2)
    agrees = values == track_id[points]
    return {
        "id_consistency": float(agrees[judged].mean()) if judged.any() else None,
        "unlabelled": float((values == 0).mean()),
        "tracks": int((labelled_count >= 2).sum()),
        "views": {
            stem: _view_share(agrees[judged & (views == index)]) for index, stem in enumerate(stems)
        },
        "alike": _alike(points, values, maps),
        "objects": _per_object(track_id, points, views, values, stems),
    }


def _view_share(agrees: NDArray[np.bool_]) -> dict:
    return {
        "observations": len(agrees),
        "agrees": float(agrees.mean()) if len(agrees) else None,
    }


def _alike(points: NDArray, values: NDArray, maps: dict[str, NDArray]) -> list[dict]:
    """Return the pairs of IDs > 0 that share at least `MIN_ALIKE` tracks; see above."""
    real = values > 0
    pairs = np.unique(np.stack([points[real], values[real]], axis=1), axis=0)
    owned = np.bincount(pairs[:, 1])
    both: dict[tuple[int, int], int] = {}
    for ids in np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1):
        for position, low in enumerate(ids.tolist()):
            for high in ids[position + 1 :].tolist():
                both[low, high] = both.get((low, high), 0) + 1
    present = [set(np.unique(ids).tolist()) for ids in maps.values()]
    found = [
        {
            "ids": [low, high],
            "tracks": count,
            "share": count / int(min(owned[low], owned[high])),
            "together": sum(low in ids and high in ids for ids in present),
        }
        for (low, high), count in both.items()
        if count >= MIN_ALIKE
    ]
    return sorted(found, key=lambda entry: (-entry["tracks"], entry["ids"]))


def _majority(points: NDArray, values: NDArray, num_points: int) -> tuple[NDArray, NDArray]:
    """Return per point its most frequent ID > 0 (0: none), and its number of IDs > 0."""
    real = values > 0
    pairs, counts = np.unique(
        np.stack([points[real], values[real]], axis=1), axis=0, return_counts=True
    )
    track_id = np.zeros(num_points, dtype=np.int64)
    order = np.lexsort((-pairs[:, 1], counts))  # the last one written wins: most, then smallest ID
    track_id[pairs[order, 0]] = pairs[order, 1]
    return track_id, np.bincount(points[real], minlength=num_points)


def _per_object(
    track_id: NDArray, points: NDArray, views: NDArray, values: NDArray, stems: list[str]
) -> dict[int, dict]:
    tracks = np.bincount(track_id)
    objects = {}
    for label in np.flatnonzero(tracks[1:]) + 1:
        mine = track_id[points] == label
        dominant = []
        seen = np.unique(views[mine])
        for view in seen:
            votes = np.bincount(values[mine & (views == view)], minlength=label + 1)
            # On ties the object's own ID counts as dominant.
            dominant.append(label if votes[label] == votes.max() else int(votes.argmax()))
        held = np.array(dominant)
        switched = (held != label) & (held > 0)
        objects[int(label)] = {
            "tracks": int(tracks[label]),
            "views_seen": len(held),
            "persistence": float((held == label).mean()),
            "switches": int(switched.sum()),
            "switched": [[stems[seen[i]], int(held[i])] for i in np.flatnonzero(switched)],
        }
    return objects
