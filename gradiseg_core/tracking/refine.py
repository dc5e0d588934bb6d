"""From linked masks to labels: points and masks vote in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gradiseg_core.config.tracking import SfmTrackingConfig
from gradiseg_core.tracking.evidence import Masks, Observations, View

MAX_ROUNDS = 20


def vote(
    masks: Masks, seen: Observations, num_points: int, cluster: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Let points take the cluster of most of their masks, and masks that of most of their points.

    Both repeat until nothing changes. A point's say is its confidence, the share of its own
    observations that agree with its label.

    Args:
        masks: M masks.
        seen: All observations.
        num_points: P.
        cluster: [M] starting clusters 0..C-1.

    Returns:
        cluster: [M]; masks without any point keep theirs.
        point_label: [P]; -1 for points that no mask holds.
        confidence: [P] in 0..1.
    """
    real = seen.mask >= 0
    weight, point, mask = seen.weight[real], seen.point[real], seen.mask[real]
    count = int(cluster.max()) + 1
    for _ in range(MAX_ROUNDS):
        votes = sparse.csr_array(
            (weight, (point, cluster[mask])), shape=(num_points, count)
        ).toarray()
        total = votes.sum(axis=1)
        label = np.where(total > 0, votes.argmax(axis=1), -1)
        confidence = votes.max(axis=1) / np.maximum(total, 1e-12)
        mass = sparse.csr_array(
            (weight * confidence[point], (mask, label[point])), shape=(len(masks), count)
        ).toarray()
        new = np.where(mass.sum(axis=1) > 0, mass.argmax(axis=1), cluster)
        if np.array_equal(new, cluster):
            break
        cluster = new
    return cluster, label, confidence


def refine(
    views: list[View],
    masks: Masks,
    seen: Observations,
    xyz: NDArray[np.float64],
    cluster: NDArray[np.int64],
    config: SfmTrackingConfig,
) -> tuple[list[NDArray[np.int32]], dict]:
    """Return the label map [H, W] of each view (0 = none), and counts."""
    cluster, _, _ = vote(masks, seen, len(xyz), cluster)
    views_of = np.zeros(int(cluster.max()) + 1, dtype=np.int64)
    for c in range(len(views_of)):
        views_of[c] = len(np.unique(masks.view[cluster == c]))
    kept = views_of[cluster] >= config.min_views
    table = np.append(np.where(kept, cluster + 1, 0), 0).astype(np.int32)  # last: no mask
    return [table[ids] for ids in masks.maps], {"objects_dropped": int((views_of == 1).sum())}
