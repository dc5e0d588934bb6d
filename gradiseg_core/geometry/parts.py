"""What merging by creases gets wrong at a cut: bits of the support, and parts that hang.

Shadows and blur lift a support between objects by some voxels, with a crease around. Such bits are
low, level, and have the support's colour, or beside an object that of its shadow. And what stands
on nothing, joined to one thing by a narrow joint, is a part of it, like leaves in a pot or a spout;
a lemon in a bowl touches it along most of its outline. Covers and pages of a book differ in colour
and meet in a groove, yet together they are one convex thing.

Heights and lengths are in voxels. Every number was chosen on five tables of the generator and lies
in the middle of a range in which scores stay the same (studies/geometry.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.labels import LIGHTNESS
from gradiseg_core.geometry.options import SegmentationOptions
from gradiseg_core.geometry.segmentation import (
    OUTSIDE,
    RegionGraph,
    outside_frame,
)
from gradiseg_core.geometry.support import Support
from gradiseg_core.geometry.surface import neighbour_mean

#: Mean height of a bit of support; 3 to 10 are alike.
_BIT_HEIGHT = 6.0
#: Mean cosine of its normals with the support's.
_BIT_COSINE = 0.4
#: Difference of colour from the support beside it; 10 to 14 are alike, at 6 shadows stay.
_BIT_LAB = 12.0
#: Difference from the support at any shading that a shadow may have: bits of table have 0.2 to 4.9
#: on eight tables, low things from 7 on.
SHADOW_LAB = 5.5
_DARKEST = 0.4  # cube root of the least light that a shadow has
#: Share of the views that must show an object of the support's colour whole: objects have 0.65 to 1
#: on nine scenes, bits of a carpet that few views see 0.15 to 0.3.
_WHOLE = 0.5
#: Height of what the foot of an object has from the table; 3 to 6 are alike.
_FOOT_HEIGHT = 4.0
#: Height of the top of a whole object that may still be support.
_SLAB_HEIGHT = 8.0
#: Share of pairs of points of one thing that lie behind each other's tangent planes; 0.85 to 0.9
#: are alike. Books on books have up to 0.82, pages and covers 0.87 to 0.97, neighbours 0.6.
_CONVEX = 0.9
_CONVEX_VOXELS = 3.0  # that a point may lie in front of such a plane; 2 to 4 are alike
_CONVEX_PAIRS = 2000
#: Pairs that something apart from the support may share with it, over those shared with others.
_APART = 0.1
#: What hangs begins at this height; 8 to 15 are alike, at 5 hidden feet count as hanging.
_HANGING_HEIGHT = 10.0
#: Pairs of touching nodes in a narrow joint, over the root of the part's size; 5 to 7 are alike.
#: Leaves have 4, a book on a book and a lemon in a bowl 8 to 10.
_NARROW = 6.0


def colour_steps(surface: Surface, support: Support) -> NDArray[np.float64]:
    """Return the difference of every node's colour from the support nearest to it, [N]; 0 in it.

    Infinite everywhere without a support.
    """
    lab = surface.lab * np.array([LIGHTNESS, 1.0, 1.0])
    beside = _support_beside(surface.lab, surface, support)
    return np.linalg.norm(lab - beside * (LIGHTNESS, 1.0, 1.0), axis=1)


def shadow_steps(
    surface: Surface, support: Support, darkest: float = _DARKEST
) -> NDArray[np.float64]:
    """Return the difference of every node's colour from the support's at any shading, [N].

    A light that is k times as strong scales L + 16, a and b by the cube root of k (CIELAB, but for
    the darkest colours): a surface and its shadow lie on a ray from L = -16.

    Infinite everywhere without a support.

    Args:
        surface: N nodes.
        support: Heights and nodes.
        darkest: Cube root of the least k.
    """
    from_black = np.array([16.0, 0.0, 0.0])
    lit = _support_beside(surface.lab, surface, support) + from_black
    if np.isinf(lit).any():
        return np.full(len(surface), np.inf)
    here = surface.lab + from_black
    shade = (here * lit).sum(axis=1) / np.maximum((lit * lit).sum(axis=1), 1e-9)
    shaded = shade.clip(darkest, 1.0)[:, None] * lit
    return np.linalg.norm((here - shaded) * (LIGHTNESS, 1.0, 1.0), axis=1)


def _support_beside(
    values: NDArray[np.float32], surface: Surface, support: Support
) -> NDArray[np.float64]:
    """Return the mean of values [N, C] over the support nearest to every node; its own in it."""
    from scipy.spatial import cKDTree

    inside, outside = np.flatnonzero(support.inside)[::4], np.flatnonzero(~support.inside)
    found = values.astype(np.float64)
    if len(inside) == 0:
        return np.full_like(found, np.inf)
    count = min(8, len(inside))
    near = cKDTree(surface.points[inside]).query(surface.points[outside], k=[*range(1, count + 1)])
    found[outside] = values[inside[near[1]]].mean(axis=1)
    return found


def bits_of_support(
    supervoxels: NDArray[np.int64],
    surface: Surface,
    support: Support,
    steps: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return the nodes of supervoxels that are low, level, and have the support's colour, [N].

    Args:
        supervoxels: [N]; -1: none.
        surface: N nodes.
        support: Heights and normal.
        steps: [N] from :func:`colour_steps`.
    """
    known = supervoxels >= 0
    number = np.maximum(np.bincount(supervoxels[known]), 1)

    def means(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(supervoxels[known], values[known]) / number

    bit = (
        (means(support.height) < _BIT_HEIGHT)
        & (means(steps) < _BIT_LAB)
        & (means(surface.normals @ support.normal) > _BIT_COSINE)
    )
    return np.append(bit, False)[supervoxels]


def feet(
    surface: Surface,
    support: Support,
    steps: NDArray[np.float64],
    shades: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return the nodes that the foot of an object has from the table around it, [N].

    They are low, do not hang over, and have the colour of the support or of its shadow. Whether a
    region is an object is asked before, since its crease with the support lies there.

    Args:
        surface: N nodes.
        support: Heights and normal.
        steps: [N] from :func:`colour_steps`.
        shades: [N] from :func:`shadow_steps`.
    """
    low = (support.height < _FOOT_HEIGHT) & (surface.normals @ support.normal > 0)
    other = np.minimum(steps / _BIT_LAB, shades / SHADOW_LAB)
    return low & (neighbour_mean(other, surface.edges) < 1.0)


def trimmed(
    regions: NDArray[np.int64], support: Support, bits: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Support]:
    """Return regions without the bits of support, and the support with them."""
    return np.where(bits, -1, regions), replace(support, inside=support.inside | bits)


def join_hanging(
    regions: NDArray[np.int64],
    surface: Surface,
    support: Support,
    options: SegmentationOptions,
) -> NDArray[np.int64]:
    """Return regions in which what hangs by a narrow joint is part of what it touches most, [N].

    Args:
        regions: [N], 0..R-1; -1: none.
        surface: N nodes.
        support: Heights.
        options: Of the region graph.
    """
    graph = RegionGraph(regions, surface, surface.edges, options)
    lowest = np.full(len(graph.size), -np.inf)
    for region in np.flatnonzero(graph.size):
        lowest[region] = np.percentile(support.height[regions == region], 5)
    name = np.arange(len(graph.size))
    for region in np.argsort(graph.size, kind="stable"):
        touched = graph.border[region]
        joint = sum(pairs for _, pairs in touched.values())
        narrow = 0 < joint <= _NARROW * np.sqrt(graph.size[region])
        if lowest[region] < _HANGING_HEIGHT or not narrow:
            continue
        whole = max(touched, key=lambda other: (touched[other][1], -other))
        lowest[whole] = min(lowest[whole], lowest[region])
        graph.merge(whole, int(region))
        name[name == region] = whole
    return np.where(regions >= 0, np.append(name, -1)[regions], -1)


def join_convex(
    regions: NDArray[np.int64],
    surface: Surface,
    objects: NDArray[np.bool_],
    options: SegmentationOptions,
) -> NDArray[np.int64]:
    """Return regions in which objects that touch and are convex together are one, [N].

    Points a and b with normals n and m lie behind each other's tangent planes where n . (b - a) and
    m . (a - b) are not positive. Stein et al. (2014) ask for that along the joint; here for random
    pairs of all points, so that grooves do not matter. The most convex pair is joined first. What
    even the cut into groups keeps apart stays apart: a book on a book of its size is convex too.

    Args:
        regions: [N], 0..R-1; -1: none.
        surface: N nodes.
        objects: [R], which regions may be joined.
        options: Least size, and those of the region graph.
    """
    joined = regions.copy()
    known: dict[tuple[int, int], float] = {}
    while True:
        graph = RegionGraph(joined, surface, surface.edges, options)
        large = objects[: len(graph.size)] & (graph.size >= options.min_size)
        pairs = [
            (a, b) for a in np.flatnonzero(large).tolist() for b in graph.border[a]
            if a < b and large[b]
        ]  # fmt: skip
        pairs = [pair for pair in pairs if graph.cost(*pair) <= options.groups]
        for a, b in pairs:
            if (a, b) not in known:
                known[a, b] = _convexity(surface, joined == a, joined == b)
        best = max(pairs, key=lambda pair: known[pair], default=None)
        if best is None or known[best] < _CONVEX:
            return joined
        kept, gone = best
        joined[joined == gone] = kept
        known = {pair: share for pair, share in known.items() if kept not in pair}


def _convexity(surface: Surface, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the share of random pairs that lie behind each other's tangent planes."""
    generator = np.random.default_rng(0)
    a = generator.choice(np.flatnonzero(first), _CONVEX_PAIRS)
    b = generator.choice(np.flatnonzero(second), _CONVEX_PAIRS)
    across = surface.points[b] - surface.points[a]
    limit = _CONVEX_VOXELS * surface.voxel
    ahead = np.einsum("ij,ij->i", surface.normals[a], across) <= limit
    back = np.einsum("ij,ij->i", surface.normals[b], -across) <= limit
    return float((ahead & back).mean())


def join_enclosed(
    regions: NDArray[np.int64],
    surface: Surface,
    support: Support,
    options: SegmentationOptions,
) -> NDArray[np.int64]:
    """Return regions in which what is as low as the support, but apart from it, has no region, [N].

    The bottom of a bowl is no higher than the table. It belongs to what it touches most.

    Args:
        regions: [N], 0..R-1; -1: none.
        surface: N nodes.
        support: Heights, and which nodes are in it.
        options: Least height of an object, and those of the region graph.
    """
    graph = RegionGraph(regions, surface, surface.edges, options)
    inside = support.inside[surface.edges]
    ends = regions[surface.edges[inside[:, 0] != inside[:, 1]]].max(axis=1)
    contact = np.bincount(ends[ends >= 0], minlength=len(graph.size))
    name = np.arange(len(graph.size))
    for region in np.argsort(graph.size, kind="stable"):
        touched = graph.border[region]
        joint = sum(pairs for _, pairs in touched.values())
        if contact[region] > _APART * joint or joint == 0:
            continue
        nodes = regions == region
        if np.percentile(support.height[nodes], 90) >= options.lowest(support.sd):
            continue
        whole = max(touched, key=lambda other: (touched[other][1], -other))
        graph.merge(whole, int(region))
        name[name == region] = whole
    return np.where(regions >= 0, np.append(name, -1)[regions], -1)


def slabs(
    regions: NDArray[np.int64],
    surface: Surface,
    support: Support,
    steps: NDArray[np.float64],
    shades: NDArray[np.float64],
    background: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which regions are low and have the support's colour, or that of its shadow, [R].

    Shadows lie beside what casts them: only what touches an object may be one, so that a dark
    sheet is none.

    Args:
        regions: [N], 0..R-1; -1: none.
        surface: N nodes.
        support: Heights.
        steps: [N] from :func:`colour_steps`.
        shades: [N] from :func:`shadow_steps`.
        background: [R], regions that are no objects for other reasons.
    """
    found = np.zeros(len(background), bool)
    pairs = regions[surface.edges]
    pairs = pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
    beside = np.zeros(len(background), bool)
    for here, there in ((0, 1), (1, 0)):
        beside[pairs[~background[pairs[:, there]], here]] = True
    for region in np.unique(regions[regions >= 0]):
        nodes = regions == region
        low = np.percentile(support.height[nodes], 90) < _SLAB_HEIGHT
        plain = np.median(steps[nodes]) < _BIT_LAB
        shadow = beside[region] and np.median(shades[nodes]) < SHADOW_LAB
        found[region] = low and (plain or shadow)
    return found


def rims(
    regions: NDArray[np.int64],
    surface: Surface,
    cameras: Sequence[Camera],
    steps: NDArray[np.float64],
    count: int,
) -> NDArray[np.bool_]:
    """Return which regions have the support's colour and are whole in few views, [count].

    Where few views see the support, its surface is lumps of any height.

    Args:
        regions: [N], 0..R-1; -1: none.
        surface: N nodes.
        cameras: Of the views.
        steps: [N] from :func:`colour_steps`.
        count: R.
    """
    whole = np.nan_to_num(outside_frame(regions, surface, cameras, count), nan=1.0) <= OUTSIDE
    found = np.zeros(count, bool)
    for region in np.unique(regions[regions >= 0]):
        plain = np.median(steps[regions == region]) < _BIT_LAB
        found[region] = plain and whole[:, region].mean() < _WHOLE
    return found
