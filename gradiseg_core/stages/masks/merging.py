"""Merging of neighbouring regions by colour and boundary strength.

Notation: regions are the labels 0..n-1 of a map; region a has area |a| (px) and mean colour c_a in
CIELAB with its lightness weighted. The border of a and b is the set of pixel sides between them,
each with a contrast g: the distance between the mean colours of the `reach` pixels on its two
sides. Two regions differ by

    d(a, b) = ((1 - w) |c_a - c_b| + w mean(g over the border)) * sqrt(min(1, min(|a|, |b|) / s))

with w the boundary weight and s the area below which regions merge more readily. The pair of
smallest d merges, until none lies below the threshold (hierarchical merging of a region adjacency
graph, as in Garrido, Salembier and Garcia, "Extensive operators in partition lattices for image
sequence analysis", 1998; the difference above is ours).
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray


def merge_regions(
    labels: NDArray[np.int64],  # [H, W]
    colors: NDArray[np.float64],  # [H, W, 3]
    *,
    threshold: float,
    boundary_weight: float,
    small_area: float,
    reach: int = 2,
) -> NDArray[np.int64]:  # [H, W]
    """Merge regions while the closest pair differs by less than `threshold`.

    Args:
        labels: Regions 0..n-1, each present.
        colors: Colour of each pixel; distances in it are the unit of `threshold`.
        threshold: Largest difference that still merges (exclusive).
        boundary_weight: w, 0..1.
        small_area: s, px; 0 treats all areas alike.
        reach: Pixels on each side of a border that its contrast compares.

    Returns:
        The merged map; a region keeps the label of its largest part.
    """
    graph = _RegionGraph(labels, colors, boundary_weight, small_area, reach)
    return graph.merge(threshold)[labels]


class _RegionGraph:
    """Areas, mean colours and borders of all regions, kept current while they merge."""

    def __init__(
        self,
        labels: NDArray[np.int64],
        colors: NDArray[np.float64],
        boundary_weight: float,
        small_area: float,
        reach: int,
    ) -> None:
        self.count = int(labels.max()) + 1
        self.boundary_weight = boundary_weight
        self.small_area = small_area
        flat = labels.ravel()
        self.area = np.bincount(flat, minlength=self.count).astype(np.float64)
        sums = [np.bincount(flat, colors[..., c].ravel(), self.count) for c in range(3)]
        mean = np.stack(sums, axis=1) / self.area[:, None]  # [n, 3]
        # Plain lists: the loop below reads single numbers, where NumPy is slow.
        self.mean: list[list[float]] = mean.tolist()
        self.area_px: list[float] = self.area.tolist()
        self.borders = _borders(labels, colors, self.count, reach)

    def difference(self, a: int, b: int) -> float:
        sides, contrast = self.borders[a][b]
        (x, y, z), (u, v, w) = self.mean[a], self.mean[b]
        color = ((x - u) ** 2 + (y - v) ** 2 + (z - w) ** 2) ** 0.5
        weight = self.boundary_weight
        value = (1.0 - weight) * color + weight * contrast / sides
        smaller = min(self.area_px[a], self.area_px[b])
        if smaller < self.small_area:
            value *= (smaller / self.small_area) ** 0.5
        return value

    def merge(self, threshold: float) -> NDArray[np.int64]:
        """Merge greedily; return the label that every region ends in, [n]."""
        into = np.arange(self.count)
        version = [0] * self.count  # -1 once a region is gone
        heap = [
            (self.difference(a, b), a, b, 0, 0)
            for a in range(self.count)
            for b in self.borders[a]
            if a < b
        ]
        heapq.heapify(heap)
        while heap:
            value, a, b, version_a, version_b = heapq.heappop(heap)
            if value >= threshold:
                break
            if version[a] != version_a or version[b] != version_b:
                continue  # one of the two has changed since; a newer entry exists
            if self.area_px[a] < self.area_px[b]:
                a, b = b, a
            self._absorb(a, b)
            into[b] = a
            version[a] += 1
            version[b] = -1
            for other in self.borders[a]:
                x, y = (a, other) if a < other else (other, a)
                heapq.heappush(heap, (self.difference(x, y), x, y, version[x], version[y]))
        while not np.array_equal(into, into[into]):
            into = into[into]
        return into

    def _absorb(self, a: int, b: int) -> None:
        total = self.area_px[a] + self.area_px[b]
        share = self.area_px[b] / total
        self.mean[a] = [
            p + share * (q - p) for p, q in zip(self.mean[a], self.mean[b], strict=True)
        ]
        self.area_px[a] = total
        del self.borders[a][b], self.borders[b][a]
        for other, (sides, contrast) in self.borders[b].items():
            del self.borders[other][b]
            old_sides, old_contrast = self.borders[a].get(other, (0.0, 0.0))
            joined = (old_sides + sides, old_contrast + contrast)
            self.borders[a][other] = self.borders[other][a] = joined
        self.borders[b] = {}


def _borders(
    labels: NDArray[np.int64], colors: NDArray[np.float64], count: int, reach: int
) -> list[dict[int, tuple[float, float]]]:
    """Return for each region its neighbours with (number of sides, sum of their contrasts)."""
    pairs, contrasts = [], []
    for axis, first, second in (
        (0, labels[:-1], labels[1:]),
        (1, labels[:, :-1], labels[:, 1:]),
    ):
        apart = first != second
        low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
        pairs.append(low.astype(np.int64) * count + high)
        contrasts.append(side_contrast(colors, axis, reach)[apart])
    unique, inverse = np.unique(np.concatenate(pairs), return_inverse=True)
    sides = np.bincount(inverse, minlength=len(unique))
    sums = np.bincount(inverse, np.concatenate(contrasts), minlength=len(unique))
    borders: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for pair, number, contrast in zip(unique.tolist(), sides.tolist(), sums.tolist(), strict=True):
        a, b = divmod(pair, count)
        borders[a][b] = borders[b][a] = (float(number), contrast)
    return borders


def side_contrast(
    colors: NDArray[np.float64],  # [H, W, 3]
    axis: int,
    reach: int,
) -> NDArray[np.float64]:  # [H - 1, W] for axis 0, [H, W - 1] for axis 1
    """Return the contrast of every pixel side across `axis`.

    The means of the (at most) `reach` pixels before and after the side are compared, so that one
    noisy pixel at the border says little.
    """
    size = colors.shape[axis]
    sums = np.concatenate([np.zeros_like(colors.take([0], axis)), colors.cumsum(axis)], axis)
    middle = np.arange(1, size)
    low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach, size)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    at = sums.take(middle, axis)
    before = (at - sums.take(low, axis)) / (middle - low).reshape(shape)
    after = (sums.take(high, axis) - at) / (high - middle).reshape(shape)
    return np.linalg.norm(after - before, axis=-1)
