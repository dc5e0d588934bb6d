"""How consistent IDs are, judged without ground truth: a 3D point has one object.

Every SfM track is a 3D point that was matched in several views by its looks, whatever the masks
there say; ID maps that are right give all its observations one ID. Backend `sfm` makes its IDs
from the same tracks, so for it the number shows what the tracks could not reconcile; for other
trackers it is independent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
        * ``objects``: per ID, ``tracks`` (points whose ID it is), ``views_seen`` (views that
          observe any of them), ``persistence`` (share of those views in which this ID is the most
          frequent one, 0 included, among the observations of its points) and ``switches`` (views
          in which another ID > 0 is).
    """
    point, view, ids = [], [], []
    for index, stem in enumerate(sorted(maps)):
        xy, points = observations.get(stem, (np.zeros((0, 2)), np.zeros(0, dtype=np.int64)))
        height, width = maps[stem].shape
        columns = np.clip(xy[:, 0].astype(np.int64), 0, width - 1)
        rows = np.clip(xy[:, 1].astype(np.int64), 0, height - 1)
        point.append(points)
        view.append(np.full(len(points), index))
        ids.append(maps[stem][rows, columns].astype(np.int64))
    points, views, values = (np.concatenate(part) for part in (point, view, ids))
    if len(points) == 0:
        return {"id_consistency": None, "unlabelled": None, "tracks": 0, "objects": {}}
    track_id, labelled_count = _majority(points, values, num_points)
    judged = (values > 0) & (labelled_count[points] >= 2)
    agrees = values == track_id[points]
    return {
        "id_consistency": float(agrees[judged].mean()) if judged.any() else None,
        "unlabelled": float((values == 0).mean()),
        "tracks": int((labelled_count >= 2).sum()),
        "objects": _per_object(track_id, points, views, values),
    }


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
    track_id: NDArray, points: NDArray, views: NDArray, values: NDArray
) -> dict[int, dict]:
    tracks = np.bincount(track_id)
    objects = {}
    for label in np.flatnonzero(tracks[1:]) + 1:
        mine = track_id[points] == label
        dominant = []
        for view in np.unique(views[mine]):
            votes = np.bincount(values[mine & (views == view)], minlength=label + 1)
            # On ties the object's own ID counts as dominant.
            dominant.append(label if votes[label] == votes.max() else int(votes.argmax()))
        held = np.array(dominant)
        objects[int(label)] = {
            "tracks": int(tracks[label]),
            "views_seen": len(held),
            "persistence": float((held == label).mean()),
            "switches": int(((held != label) & (held > 0)).sum()),
        }
    return objects
