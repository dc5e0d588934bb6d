"""Cutting a surface at its concave creases.

Supervoxels grow from the flattest node of each cell, along paths that avoid creases and steps of
colour; then the two neighbouring regions of least cost merge, again and again. With c the mean
concavity along the border of two regions, E = min(dLab / scale, 1) their difference of colour (the
lightness halved: shading changes it) and n the size of the smaller one, the cost is

    (c (0.45 + 0.55 E) + 0.1 E) min(1, n / whole)^0.4

Where merging stops is the granularity; one sequence of merges holds all cuts.

Source: Stein, Schoeler, Papon and Woergoetter, "Object partitioning using local convexity",
CVPR 2014 (LCCP), for cutting at concave borders; the growth of supervoxels, the graded concavity,
colour and size are ours.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import Volume
from gradiseg_core.geometry.labels import LIGHTNESS
from gradiseg_core.geometry.options import SegmentationOptions
from gradiseg_core.geometry.support import Support

#: Lab units of a step of colour that cost supervoxels as much as one voxel of length.
_GROWTH_LAB = 10.0
#: Pairs of nodes that something shares with the support which it rises from, over the root of its
#: size; bumps and things that stand have more than 1, a whisk that lies on its tip 0.1.
_STANDING = 0.5
#: An object counts as cut off where more than this share of it lies outside the frame.
OUTSIDE = 0.02


@dataclass(frozen=True)
class Hierarchy:
    """Supervoxels and the order in which they merge.

    Attributes:
        supervoxels: [N] int64, 0..R-1; -1 in the support.
        merges: [M, 2] int64, regions that merge, each named after its first supervoxel; the second
            one's name goes.
        costs: [M] float64, of each merge.
    """

    supervoxels: NDArray[np.int64]
    merges: NDArray[np.int64]
    costs: NDArray[np.float64]

    def cut(self, stop: float) -> NDArray[np.int64]:
        """Return the regions where merging stops at the first cost above ``stop``, [N]; -1: none.

        Regions are numbered 0, 1, ... in the order of their first supervoxels.
        """
        above = np.flatnonzero(self.costs > stop)
        last = above[0] if len(above) else len(self.costs)
        name = np.arange(int(self.supervoxels.max(initial=-1)) + 1)
        for kept, gone in self.merges[:last][::-1]:  # later merges first: names are then final
            name[gone] = name[kept]
        compact = np.unique(name, return_inverse=True)[1]
        return np.where(self.supervoxels >= 0, np.append(compact, -1)[self.supervoxels], -1)


class RegionGraph:
    """Regions that merge, with what their cost needs.

    Attributes:
        size: [R] nodes; of a region that is gone, those that it had.
        border: Per region, by neighbour: concavity summed over the border, pairs of nodes there.
    """

    def __init__(
        self,
        regions: NDArray[np.int64],
        surface: Surface,
        edges: NDArray[np.int64],
        options: SegmentationOptions,
    ) -> None:
        known = regions >= 0
        count = int(regions.max(initial=-1)) + 1
        self.options = options
        self.size = np.bincount(regions[known], minlength=count).astype(np.float64)
        lab = surface.lab * np.array([LIGHTNESS, 1.0, 1.0])
        self.lab = np.stack(
            [np.bincount(regions[known], lab[known, i], count) for i in range(3)], axis=1
        ) / np.maximum(self.size, 1)[:, None]  # fmt: skip
        self.alive = np.ones(count, bool)
        # Of each region, its neighbours: concavity summed over the border, pairs of nodes there.
        self.border: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]
        pairs = np.sort(regions[edges], axis=1)
        across = (pairs[:, 0] >= 0) & (pairs[:, 0] != pairs[:, 1])
        concavity = surface.concavity[edges[across]].mean(axis=1)
        key, place = np.unique(pairs[across, 0] * max(count, 1) + pairs[across, 1],
                               return_inverse=True)  # fmt: skip
        total, number = np.bincount(place, concavity), np.bincount(place)
        for pair, c, n in zip(key.tolist(), total.tolist(), number.tolist(), strict=True):
            a, b = divmod(pair, count)
            self.border[a][b] = self.border[b][a] = (c, n)

    def cost(self, a: int, b: int) -> float:
        """Return the cost of merging two neighbours."""
        total, number = self.border[a][b]
        colour = float(np.sqrt(((self.lab[a] - self.lab[b]) ** 2).sum()))
        contrast = min(colour / self.options.colour_scale, 1.0)
        smaller = min(self.size[a], self.size[b]) / self.options.whole_size
        along = total / number * (0.45 + 0.55 * contrast) + 0.1 * contrast
        return along * min(1.0, smaller) ** 0.4

    def merge(self, a: int, b: int) -> None:
        """Merge region b into a."""
        total = self.size[a] + self.size[b]
        self.lab[a] = (self.size[a] * self.lab[a] + self.size[b] * self.lab[b]) / total
        self.size[a], self.alive[b] = total, False
        for other, (c, n) in self.border[b].items():
            del self.border[other][b]
            if other != a:
                before = self.border[a].get(other, (0.0, 0))
                self.border[a][other] = self.border[other][a] = (before[0] + c, before[1] + n)
        self.border[b] = {}


def supervoxels(
    surface: Surface, support: Support, options: SegmentationOptions
) -> NDArray[np.int64]:
    """Return the supervoxel of every node, [N], numbered 0, 1, ...; -1 in the support.

    Args:
        surface: N nodes.
        support: No supervoxel grows into it.
        options: Cells and costs.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, dijkstra

    nodes = np.flatnonzero(~support.inside)
    label = np.full(len(surface), -1, np.int64)
    if len(nodes) == 0:
        return label
    edges = surface.edges[~support.inside[surface.edges].any(axis=1)]
    a, b = edges.T
    length = np.sqrt(((surface.index[a] - surface.index[b]) ** 2).sum(axis=1))
    crease = 0.5 * (surface.concavity[a] + surface.concavity[b])
    step = np.linalg.norm(surface.lab[a] - surface.lab[b], axis=1)
    cost = length * (1.0 + options.crease_cost * crease) + step / _GROWTH_LAB
    place = np.full(len(surface), -1, np.int64)
    place[nodes] = np.arange(len(nodes))
    both = np.concatenate([place[edges], place[edges[:, ::-1]]])
    graph = coo_array((np.tile(cost, 2), tuple(both.T)), (len(nodes),) * 2).tocsr()
    part = connected_components(graph, directed=False)[1]
    cell = surface.index[nodes] // options.cell
    order = np.lexsort((surface.concavity[nodes], part, *cell.T))
    group = np.concatenate([cell, part[:, None]], axis=1)[order]
    first = np.concatenate([[True], (group[1:] != group[:-1]).any(axis=1)])
    seeds = np.sort(order[first])
    sources = dijkstra(graph, indices=seeds, min_only=True, return_predecessors=True)[2]
    label[nodes] = np.searchsorted(seeds, sources)
    return label


def build_hierarchy(
    surface: Surface, support: Support, options: SegmentationOptions, stop: float
) -> Hierarchy:
    """Return the supervoxels and their merges up to a cost.

    Args:
        surface: N nodes.
        support: Never merges with the rest.
        options: Costs.
        stop: Largest cost that any cut will ask for.
    """
    regions = supervoxels(surface, support, options)
    graph = RegionGraph(regions, surface, surface.edges, options)
    heap = [
        (graph.cost(a, b), a, b) for a, others in enumerate(graph.border) for b in others if a < b
    ]
    heapq.heapify(heap)
    merges, costs = [], []
    while heap and heap[0][0] <= stop:
        cost, a, b = heapq.heappop(heap)
        # Entries stay in the heap when a region grows; those that no longer hold are passed over.
        if not (graph.alive[a] and graph.alive[b]) or graph.cost(a, b) != cost:
            continue
        graph.merge(a, b)
        merges.append((a, b))
        costs.append(cost)
        for other in graph.border[a]:
            first, second = min(a, other), max(a, other)
            heapq.heappush(heap, (graph.cost(first, second), first, second))
    return Hierarchy(regions, np.array(merges, np.int64).reshape(-1, 2), np.array(costs))


def absorb_small(
    regions: NDArray[np.int64], surface: Surface, options: SegmentationOptions
) -> NDArray[np.int64]:
    """Return the regions with small ones in the neighbour that costs least; -1 without any."""
    graph = RegionGraph(regions, surface, surface.edges, options)
    name = np.arange(len(graph.size))
    for small in np.lexsort((name, graph.size)):
        if graph.size[small] >= options.min_size:
            continue  # it may have taken in others meanwhile
        others = graph.border[small]
        target = min(others, key=lambda other: (graph.cost(small, other), other), default=-1)
        if target >= 0:
            graph.merge(target, int(small))
        name[name == small] = target
    return np.where(regions >= 0, np.append(name, -1)[regions], -1)


def is_background(
    regions: NDArray[np.int64],
    surface: Surface,
    support: Support,
    volume: Volume,
    cameras: Sequence[Camera],
    options: SegmentationOptions,
) -> NDArray[np.bool_]:
    """Return which regions are no objects, [R]: flat, bumps, at the ball's rim, or cut off.

    Args:
        regions: [N], 0..R-1; -1: none.
        surface: N nodes.
        support: Heights.
        volume: The ball.
        cameras: Of the views.
        options: Limits.
    """
    count = int(regions.max(initial=-1)) + 1
    background = np.ones(count, bool)
    lowest = options.lowest(support.sd)
    away = np.linalg.norm(surface.points - volume.focus, axis=1) / volume.radius
    outside = outside_frame(regions, surface, cameras, count)
    seen = np.isfinite(outside).sum(axis=0)
    foot = _foot_concavity(regions, surface, support, count)
    cut_off = (np.nan_to_num(outside) > OUTSIDE).sum(axis=0)
    for region in np.unique(regions[regions >= 0]):
        nodes = regions == region
        background[region] = (
            np.percentile(support.height[nodes], 90) < lowest
            or foot[region] < options.min_crease
            or np.percentile(away[nodes], 98) > options.max_radius
            or cut_off[region] > options.max_cut_off * seen[region]
        )
    return background


def _foot_concavity(
    regions: NDArray[np.int64], surface: Surface, support: Support, count: int
) -> NDArray[np.float64]:
    """Return the mean concavity of each region's border with the support, [R].

    Infinite where it touches the support at hardly any place: a bump rises from it all around.
    """
    inside = support.inside[surface.edges]
    edges = surface.edges[inside[:, 0] != inside[:, 1]]
    region = regions[edges].max(axis=1)  # the support's is -1
    concavity = surface.concavity[edges].mean(axis=1)[region >= 0]
    number = np.bincount(region[region >= 0], minlength=count)
    total = np.bincount(region[region >= 0], concavity, count)
    size = np.bincount(regions[regions >= 0], minlength=count)
    stands = number > _STANDING * np.sqrt(size)
    return np.where(stands, total / np.maximum(number, 1), np.inf)


def outside_frame(
    regions: NDArray[np.int64], surface: Surface, cameras: Sequence[Camera], count: int
) -> NDArray[np.float64]:
    """Return the share of each region outside each view's frame, [V, R]; NaN where all of it is."""
    nodes = np.flatnonzero(regions >= 0)[::4]  # a quarter of the nodes says it well enough
    points, region = surface.points[nodes], regions[nodes]
    size = np.bincount(region, minlength=count)
    shares = np.full((len(cameras), count), np.nan)
    for view, camera in enumerate(cameras):
        in_camera = points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
        z = np.maximum(in_camera[:, 2], 1e-9)
        u = camera.K[0, 0] * in_camera[:, 0] / z + camera.K[0, 2]
        v = camera.K[1, 1] * in_camera[:, 1] / z + camera.K[1, 2]
        inside = (in_camera[:, 2] > 0) & (u >= 0) & (v >= 0) & (u < camera.width)
        inside &= v < camera.height
        within = np.bincount(region[inside], minlength=count)
        shares[view] = np.where(within > 0, 1.0 - within / np.maximum(size, 1), np.nan)
    return shares
