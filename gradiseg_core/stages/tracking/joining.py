"""Joining of clusters that are parts of one object: side by side in all views that see both.

Linkage joins what some view sees whole. Stripes, print and faces of a box are segments of their own
in every view, so no view ever does. But the cameras move: two objects that touch in one photograph
come apart in another, or something else comes between them, while the parts of one object stay side
by side in all views that see both. The *adjacency* of clusters c, d is

    S(c, d) = sum_v s_v(c, d) / ( sum_v min(b_v(c), b_v(d)) + prior )

over the views v that see both, with s_v(c, d) the length of their common border and b_v the length
of all of a cluster's border in v (the frame does not count). When c and d join, s_v(c + d, e) =
s_v(c, e) + s_v(d, e) and b_v(c + d) = b_v(c) + b_v(d) - 2 s_v(c, d): no pass over pixels is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.stages.tracking.evidence import Masks


def border_lengths(
    masks: Masks, cluster: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Measure the borders of all clusters in all views.

    Args:
        masks: M masks.
        cluster: [M] cluster of each mask, 0..count-1, or -1 for masks to leave out.
        count: C.

    Returns:
        common: [V, C, C] symmetric, pixel sides between two clusters (diagonal 0).
        whole: [V, C] sides between a cluster and anything else, pixels without a mask included.
    """
    common = np.zeros((len(masks.maps), count, count), np.float32)
    whole = np.zeros((len(masks.maps), count), np.float32)
    table = np.append(cluster, -1)  # masks.maps holds -1 where there is no mask
    for v, ids in enumerate(masks.maps):
        own = table[ids]
        for first, second in ((own[:-1], own[1:]), (own[:, :-1], own[:, 1:])):
            apart = first != second
            a, b = first[apart], second[apart]
            for x in (a, b):
                whole[v] += np.bincount(x[x >= 0], minlength=count)
            both = (a >= 0) & (b >= 0)
            sides = np.bincount(a[both] * count + b[both], minlength=count**2)
            sides = sides.reshape(count, count)
            common[v] += sides + sides.T
    return common, whole


def cut_off(masks: Masks, cluster: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Tell which clusters the frame cuts off in most of their views: table, walls, [C]."""
    touching, seen = np.zeros(count), np.zeros(count)
    table = np.append(cluster, -1)
    for ids in masks.maps:
        own = table[ids]
        here = np.unique(own)
        seen[here[here >= 0]] += 1
        edge = np.unique(np.concatenate([own[0], own[-1], own[:, 0], own[:, -1]]))
        touching[edge[edge >= 0]] += 1
    return touching > 0.5 * seen


def join(
    masks: Masks,
    cluster: NDArray[np.int64],
    *,
    threshold: float,
    prior: float,
    min_views: int,
) -> NDArray[np.int64]:
    """Join the clusters of largest adjacency first, while it is at least `threshold`.

    Clusters that the frame cuts off in most views take no part: everything lies beside the table,
    in all views. Neither do those of fewer than `min_views` views.

    Args:
        masks: M masks.
        cluster: [M] clusters 0..C-1.
        threshold: Least adjacency, 0..1; above 1 nothing joins.
        prior: Border of other things that every pair starts with, px.
        min_views: Views that a cluster needs, and that two clusters must share.

    Returns:
        [M] clusters, numbered 0..n-1 in the order of the given numbers.
    """
    count = int(cluster.max()) + 1
    views_of = np.unique(np.stack([cluster, masks.view]), axis=1)[0]
    allowed = np.bincount(views_of, minlength=count) >= min_views
    allowed &= ~cut_off(masks, cluster, count)
    members = np.flatnonzero(allowed)
    number = np.full(count, -1)
    number[members] = np.arange(len(members))
    common, whole = border_lengths(masks, number[cluster], len(members))
    into = np.arange(len(members))
    alive = np.ones(len(members), bool)
    if len(members) < 2:
        return cluster
    score = np.stack(
        [_scores(common, whole, a, prior, min_views) for a in range(len(into))], axis=0
    )
    while True:
        a, b = divmod(int(score.argmax()), len(members))
        if score[a, b] < threshold:
            break
        a, b = (a, b) if a < b else (b, a)
        whole[:, a] += whole[:, b] - 2.0 * common[:, a, b]
        whole[:, b] = 0.0
        common[:, a] += common[:, b]
        common[:, :, a] = common[:, a]
        common[:, b] = 0.0
        common[:, :, b] = 0.0
        common[:, a, a] = 0.0
        alive[b] = False
        into[into == b] = a
        score[b] = score[:, b] = -1.0
        score[a] = score[:, a] = np.where(alive, _scores(common, whole, a, prior, min_views), -1.0)
    joined = np.arange(count)
    joined[members] = members[into]
    return np.unique(joined[cluster], return_inverse=True)[1].astype(np.int64)


def _scores(
    common: NDArray[np.float32], whole: NDArray[np.float32], a: int, prior: float, min_views: int
) -> NDArray[np.float64]:
    """Return S(a, d) for all d, [C]; -1 for a itself and where too few views see both."""
    both = (whole > 0) & (whole[:, a, None] > 0)  # [V, C]
    shorter = np.where(both, np.minimum(whole, whole[:, a, None]), 0.0)
    border = shorter.sum(axis=0, dtype=np.float64) + prior
    value = common[:, a].sum(axis=0, dtype=np.float64) / np.maximum(border, 1.0)
    value[both.sum(axis=0) < min_views] = -1.0
    value[a] = -1.0
    return value
