"""From linked masks to label maps: votes of points and masks, outlines, division and filling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from gradiseg_core.files.id_maps import sample_cells, spread_cells
from gradiseg_core.stages.tracking.evidence import (
    DEPTH_TOLERANCE,
    NO_MASK,
    Links,
    Masks,
    Observations,
    SegmentedView,
    pixels_at,
    project,
)
from gradiseg_core.stages.tracking.outlines import (
    Outlines,
    coarse_stride,
    known_depth,
    outlines,
)

if TYPE_CHECKING:
    from gradiseg_core.stages.tracking.backends.sfm import Options as SfmOptions

#: Rounds of votes, each with outlines drawn from the result of the one before.
ROUNDS = 2
MAX_VOTES = 20
#: A region that lies fully in an object's outline counts as if it saw this many of its points.
OUTLINE_POINTS = 5.0
#: A region needs this share of its pixels in an object's outline for that to count at all.
MIN_COVER = 0.5
#: ... and must be this share of the outline that is visible in the view: outlines are coarse, and
#: a small region beside a large object may lie in its fringe.
MIN_FILL = 0.15
#: An unmasked region is given to an object that has this share of its evidence,
FILL_SHARE = 0.7
#: and at least this much (in fully seen points).
FILL_EVIDENCE = 2.0
#: An object that a view misses is part of a mask that holds this share of its outline there.
SPLIT_SHARE = 0.6


@dataclass(frozen=True)
class Votes:
    """What the votes decided, and from what.

    Attributes:
        masks: M masks.
        seen: All observations.
        cluster: [M] object of each mask, 0..C-1.
        label: [P] object of each point, -1 for none.
        confidence: [P] in 0..1; see :func:`vote`.
        drawn: Outlines of the objects.
        known: [C] whether enough views show the object.
    """

    masks: Masks
    seen: Observations
    cluster: NDArray[np.int64]
    label: NDArray[np.int64]
    confidence: NDArray[np.float64]
    drawn: Outlines
    known: NDArray[np.bool_]


def vote(
    masks: Masks,
    seen: Observations,
    num_points: int,
    cluster: NDArray[np.int64],
    outline_votes: sparse.csr_array | None = None,
    links: Links | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Give points the cluster of most of their masks, and masks that of most of their points.

    Both repeat until nothing changes. A point's vote weighs as much as its
    confidence: the share of its own observations that agree with its label.

    Args:
        masks: M masks.
        seen: All observations.
        num_points: P.
        cluster: [M] starting clusters 0..C-1.
        outline_votes: [M, C] further votes of each mask, in points.
        links: Each of these votes as one point of its weight.

    Returns:
        cluster: [M]; masks without any evidence keep theirs.
        point_label: [P]; -1 for points that no mask holds.
        confidence: [P] in 0..1.
    """
    real = (seen.mask >= 0) & (seen.weight > 0)  # a point without any weight has no label
    weight, point, mask = seen.weight[real], seen.point[real], seen.mask[real]
    voters = num_points
    if links is not None:
        weight = np.append(weight, links.weight)
        point = np.append(point, num_points + links.group)
        mask = np.append(mask, links.mask)
        voters += links.count
    count = int(cluster.max()) + 1 if outline_votes is None else outline_votes.shape[1]
    for _ in range(MAX_VOTES):
        votes = sparse.csr_array((weight, (point, cluster[mask])), shape=(voters, count))
        label, most, total = _row_best(votes)
        confidence = most / np.maximum(total, 1e-12)
        mass = sparse.csr_array(
            (weight * confidence[point], (mask, label[point])), shape=(len(masks), count)
        )
        best, _, _ = _row_best(mass if outline_votes is None else mass + outline_votes)
        new = np.where(best >= 0, best, cluster)
        if np.array_equal(new, cluster):
            break
        cluster = new
    return cluster, label[:num_points], confidence[:num_points]


def _row_best(
    matrix: sparse.csr_array,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return per row the column of the largest positive entry (-1: none), that entry, and the sum.

    The first column wins ties. Never makes the matrix dense: points x objects may be large.
    """
    entries = matrix.tocoo()
    best = np.full(matrix.shape[0], -1, dtype=np.int64)
    most = np.zeros(matrix.shape[0])
    order = np.lexsort((-entries.col, entries.data))  # the last one written wins
    order = order[entries.data[order] > 0]
    best[entries.row[order]] = entries.col[order]
    most[entries.row[order]] = entries.data[order]
    return best, most, np.asarray(matrix.sum(axis=1)).ravel()


def refine(
    views: list[SegmentedView],
    masks: Masks,
    seen: Observations,
    xyz: NDArray[np.float64],
    cluster: NDArray[np.int64],
    config: SfmOptions,
    boundary_px: float,
    links: Links | None = None,
) -> tuple[list[NDArray[np.int32]], dict]:
    """Turn linked masks into label maps.

    Args:
        views: V views.
        masks: M masks.
        seen: All observations.
        xyz: [P, 3] points.
        cluster: [M] from `linkage.link`.
        config: Options.
        boundary_px: Width of unsure boundaries, px.
        links: What a tracker says; see `evidence.Links`.

    Returns:
        Per view [H, W] int32 labels (0 = none), and counts for objects.json.
    """
    cluster, _, _ = vote(masks, seen, len(xyz), cluster, links=links)
    cluster = np.unique(cluster, return_inverse=True)[1].astype(np.int64)
    count = int(cluster.max()) + 1
    cluster, label, confidence = vote(masks, seen, len(xyz), cluster, links=links)
    front = known_depth(views, masks, seen, xyz, coarse_stride(views))
    for _ in range(ROUNDS):
        drawn = outlines(
            views,
            masks,
            front,
            xyz,
            cluster,
            label,
            num_labels=count,
            depth_tolerance=DEPTH_TOLERANCE,
        )
        cover = region_cover(
            [sample_cells(ids, drawn.stride) for ids in masks.maps], drawn, len(masks), count
        )
        hidden = behind_outlines(views, masks, seen, xyz, label, drawn, cover)
        voting = replace(seen, weight=np.where(hidden, 0.0, seen.weight))
        before = cluster
        cluster, label, confidence = vote(
            masks, voting, len(xyz), cluster, sparse.csr_array(OUTLINE_POINTS * cover), links
        )
        if np.array_equal(before, cluster):
            break
    num_views = np.bincount(
        np.unique(np.stack([cluster, masks.view], 1), axis=0)[:, 0], minlength=count
    )
    kept = np.where(num_views[cluster] >= config.min_views, cluster + 1, 0)
    maps = [np.append(kept, 0)[ids].astype(np.int32) for ids in masks.maps]
    known = num_views >= config.min_views
    votes = Votes(masks, seen, cluster, label, confidence, drawn, known)
    split = divide(maps, votes) if config.split else 0
    filled = fill(maps, votes, boundary_px) if config.fill else 0
    return maps, {
        "masks_divided": split,
        "regions_filled": filled,
        "objects_with_outline": int(drawn.bounded.sum()),
        "objects_dropped": int(((num_views > 0) & ~known).sum()),
    }


def region_cover(
    regions: list[NDArray], drawn: Outlines, num_regions: int, num_labels: int
) -> NDArray[np.float64]:
    """Return the share of each region in the front outline of each label, [R, C].

    It is 0 below `MIN_COVER`, and where the region is less than `MIN_FILL` of the outline.

    Args:
        regions: Per view [h, w] region at each coarse cell; -1 for none.
        drawn: Projected outlines.
        num_regions: R.
        num_labels: C.
    """
    cover = np.zeros((num_regions, num_labels))
    for region, front in zip(regions, drawn.label, strict=True):
        real = region >= 0
        size = np.bincount(region[real], minlength=num_regions)
        outline = np.bincount(front[front >= 0], minlength=num_labels)
        pairs, counts = np.unique(
            np.stack([region[real & (front >= 0)], front[real & (front >= 0)]]),
            axis=1,
            return_counts=True,
        )
        r, c = pairs
        share = counts / size[r]
        real_cover = (share >= MIN_COVER) & (counts >= MIN_FILL * outline[c])
        cover[r[real_cover], c[real_cover]] = share[real_cover]
    return cover


def behind_outlines(
    views: list[SegmentedView],
    masks: Masks,
    seen: Observations,
    xyz: NDArray[np.float64],
    label: NDArray[np.int64],
    drawn: Outlines,
    cover: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Tell which reprojected observations lie behind the object whose outline covers their mask.

    A smooth object has few points to hide what is behind it; its hull hides them as well.
    """
    hidden = np.zeros(len(seen.point), dtype=bool)
    owner = np.where(cover.max(axis=1) > 0, cover.argmax(axis=1), -1)
    for v, view in enumerate(views):
        here = np.flatnonzero((seen.view == v) & ~seen.direct & (seen.mask >= 0))
        c = owner[seen.mask[here]]
        here, c = here[c >= 0], c[c >= 0]
        _, depth = project(view.camera, xyz[seen.point[here]])
        rows, columns, _ = pixels_at(seen.xy[here] / drawn.stride, drawn.label[v].shape)
        in_front = (drawn.label[v][rows, columns] == c) & (drawn.depth[v][rows, columns] < depth)
        hidden[here] = in_front & (label[seen.point[here]] != c)
    return hidden


def divide(maps: list[NDArray[np.int32]], votes: Votes) -> int:
    """Divide, in place, masks that also cover an object which the view has no mask of.

    An object c is taken out of a mask m of object d in a view without any mask of c if most of c's
    outline that should be visible lies in m and the points there speak for c: more of c's than of
    d's and, where d itself has no outline (it could hide c), at least one of c's.

    Returns:
        The number of masks divided.
    """
    masks, seen, cluster, label = votes.masks, votes.seen, votes.cluster, votes.label
    drawn = votes.drawn
    divided = 0
    for v, ids in enumerate(maps):
        mask_map = masks.maps[v]
        front = drawn.label[v]
        small = sample_cells(mask_map, drawn.stride)
        present = set(cluster[np.unique(mask_map[mask_map >= 0])].tolist())
        here = np.flatnonzero(seen.view == v)
        for c in np.flatnonzero(votes.known & drawn.bounded):
            if c in present:
                continue
            visible = front == c
            held = np.bincount(small[visible & (small >= 0)], minlength=len(masks))
            m = int(held.argmax())
            if held[m] == 0 or held[m] < SPLIT_SHARE * visible.sum():
                continue
            d = int(cluster[m])
            full = spread_cells(visible, ids.shape, drawn.stride) & (mask_map == m)
            inside = here[full[_nearest_pixels(seen.xy[here], ids.shape)]]
            for_c = seen.weight[inside][label[seen.point[inside]] == c].sum()
            for_d = seen.weight[inside][label[seen.point[inside]] == d].sum()
            if for_c < for_d or (for_c == 0 and not drawn.bounded[d]):
                continue
            ids[full] = c + 1
            divided += 1
        divided += _divide_unbounded(ids, v, votes)
    return divided


def _divide_unbounded(ids: NDArray[np.int32], v: int, votes: Votes) -> int:
    """Take out of a mask of d what lies beyond d's outline, if its points name an unbounded object.

    This is the merge of an object with the table or a wall, when the object's points prevailed.
    """
    masks, seen, label = votes.masks, votes.seen, votes.label
    drawn, known = votes.drawn, votes.known
    front = spread_cells(drawn.label[v], ids.shape, drawn.stride)
    divided = 0
    here = np.flatnonzero((seen.view == v) & (seen.mask >= 0) & (label[seen.point] >= 0))
    for m in np.unique(seen.mask[here]):
        d = int(votes.cluster[m])
        if not (drawn.bounded[d] and known[d]):
            continue
        mine = here[seen.mask[here] == m]
        rows, columns, _ = pixels_at(seen.xy[mine], ids.shape)
        outside = front[rows, columns] != d
        points = np.bincount(
            label[seen.point[mine[outside]]],
            weights=seen.weight[mine[outside]],
            minlength=len(known),
        )
        u = int(points.argmax())
        if drawn.bounded[u] or not known[u]:
            continue
        if points[u] < FILL_EVIDENCE or points[u] < FILL_SHARE * points.sum():
            continue
        part = (masks.maps[v] == m) & (front != d)
        if part.sum() >= 0.5 * masks.area[m]:
            ids[part & (front < 0)] = u + 1
            divided += 1
    return divided


def fill(maps: list[NDArray[np.int32]], votes: Votes, boundary_px: float) -> int:
    """Label, in place, unmasked regions whose points and outlines clearly name one object.

    Gaps thinner than twice ``boundary_px`` are left alone: they belong to boundaries.

    Returns:
        The number of regions filled.
    """
    masks, seen, label = votes.masks, votes.seen, votes.label
    drawn, known = votes.drawn, votes.known
    filled = 0
    for v, ids in enumerate(maps):
        region = _unmasked_regions(masks.maps[v], masks.depth_px[v], boundary_px)
        count = int(region.max()) + 1
        if count == 0:
            continue
        here = np.flatnonzero((seen.view == v) & (seen.mask == NO_MASK))
        at = region[_nearest_pixels(seen.xy[here], ids.shape)]
        real = (at >= 0) & (label[seen.point[here]] >= 0)
        evidence = np.zeros((count, len(known)))
        points = seen.point[here[real]]
        np.add.at(
            evidence,
            (at[real], label[points]),
            seen.weight[here[real]] * votes.confidence[points],
        )
        view_only = Outlines(drawn.stride, [drawn.label[v]], [drawn.depth[v]], drawn.bounded)
        evidence += OUTLINE_POINTS * region_cover(
            [sample_cells(region, drawn.stride)], view_only, count, len(known)
        )
        evidence[:, ~known] = 0.0
        best = evidence.argmax(axis=1)
        most, total = evidence.max(axis=1), evidence.sum(axis=1)
        clear = (most >= FILL_EVIDENCE) & (most >= FILL_SHARE * total)
        table = np.append(np.where(clear, best + 1, 0), 0)  # last: no region
        ids[region >= 0] = table[region[region >= 0]]
        filled += int(clear.sum())
    return filled


def _unmasked_regions(
    mask_map: NDArray, depth_px: NDArray[np.float32], boundary_px: float
) -> NDArray[np.int64]:
    """Number the connected unmasked regions wider than twice ``boundary_px``, [H, W]; -1 else."""
    unmasked = mask_map == NO_MASK
    core, count = ndimage.label(unmasked & (depth_px >= boundary_px))
    if count == 0:
        return np.full(mask_map.shape, -1, dtype=np.int64)
    distance, nearest = ndimage.distance_transform_edt(core == 0, return_indices=True)
    grown = core[nearest[0], nearest[1]]
    return np.where(unmasked & (distance <= 2.0 * boundary_px), grown - 1, -1).astype(np.int64)


def _nearest_pixels(
    xy: NDArray, shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows, columns) of the pixels of an image that positions lie in or next to."""
    rows = np.clip(xy[:, 1].astype(np.int64), 0, shape[0] - 1)
    columns = np.clip(xy[:, 0].astype(np.int64), 0, shape[1] - 1)
    return rows, columns
