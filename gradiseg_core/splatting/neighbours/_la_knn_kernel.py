"""Streaming LA-KNN in numba: all Gaussians against all samples, nothing of size M x N.

A Gaussian can enter a sample's list only if ``0 < d <= worst``, with ``worst`` the k-th smallest d
so far, and almost none does. So vectors of 16 Gaussians pass a cheap float32 filter first:
``p_j . u - p_i . u`` (three multiply-adds) within ``[-margin, worst + margin]``, where ``margin``
bounds the rounding errors of that shortcut. Whatever passes is decided by ``(p_j - p_i) . u`` in
float64, so that the answer is Eq. 4's and the shortcut costs no exactness.

``worst`` starts at the k-th smallest d of an evenly spaced subset of the Gaussians (no subset's
k-th smallest can be below that of all): orderings in which d falls steadily would otherwise update
the list at every step. Tiles of Gaussians stay in the first-level cache while a group of samples
passes over them; each sample sees the Gaussians in order, whatever the threads do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute import simd as v
from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take

TILE = 2048  # Gaussians: 24 KiB of coordinates
GROUP = 32  # samples that pass over a tile one after the other: its way from memory pays
BANDS = 8  # of tiles, while they are written
PRIMING = 1024  # Gaussians of the subset that bounds the k-th smallest d

# The filter computes c . u - t with |c|, |t| <= 3 R (R the largest centred coordinate; |u| = 1)
# in four roundings of float32 plus those of centring: below 64 * 2**-24 * R with much to spare.
_MARGIN = 64.0 * 2.0**-24


def run(
    means: NDArray[np.float32],  # [N, 3]
    sample: NDArray[np.int64],  # [M], valid
    directions: NDArray[np.float32],  # [M, 3], NaN where there is none
    k: int,
) -> NDArray[np.int64]:
    """Return the k nearest ahead of every sample, [M, k], padded with -1."""
    count = len(means)
    stride = max(count // PRIMING, 1)
    subset = means[::stride][:TILE]
    # Any centre is right; a finite one near the middle keeps the filter's margin small.
    subset = subset[np.isfinite(subset).all(axis=1)]
    centre = subset.mean(axis=0) if len(subset) else np.zeros(3, dtype=np.float32)
    tiles = -(-count // TILE)
    # Tiles of [3, TILE] coordinates, the last one of the subset, aligned to cache lines; beyond
    # the last Gaussian stands NaN, which no comparison lets pass.
    buffer = np.empty((tiles + 1) * 3 * TILE + v.LANES, dtype=np.float32)
    start = -(buffer.ctypes.data // buffer.itemsize) % v.LANES
    coordinates = buffer[start : start + (tiles + 1) * 3 * TILE]
    reach = np.zeros(tiles + 1, dtype=np.float32)
    run_queue(_tile_means, BANDS, means, stride, centre, coordinates, reach)
    found = np.full((len(sample), k), -1, dtype=np.int64)
    groups = -(-len(sample) // GROUP)
    run_queue(_search, groups, means, sample, directions, stride, centre, coordinates, reach, found)
    return found


@kernel()
def _tile_means(queue, means, stride, centre, coordinates, reach):
    """Write centred coordinates of all tiles, and each one's largest absolute coordinate."""
    band = take(queue)
    while band < BANDS:
        for tile in range(reach.size * band // BANDS, reach.size * (band + 1) // BANDS):
            first = tile * TILE
            step = 1
            if tile == reach.size - 1:
                first = 0
                step = stride
            highest = np.float32(0.0)
            for axis in range(3):
                base = (tile * 3 + axis) * TILE
                for place in range(TILE):
                    j = first + place * step
                    if j < means.shape[0]:
                        value = means[j, axis] - centre[axis]
                        coordinates[base + place] = value
                        if abs(value) > highest:
                            highest = abs(value)
                    else:
                        coordinates[base + place] = np.float32(np.nan)
            reach[tile] = highest
        band = take(queue)


@kernel()
def _search(queue, means, sample, directions, stride, centre, coordinates, reach, found):
    """Fill ``found``, group by group of samples."""
    count, k = found.shape
    groups = (count + GROUP - 1) // GROUP
    tiles = reach.size - 1
    group = take(queue)
    while group < groups:
        first = group * GROUP
        last = min(first + GROUP, count)
        distances = np.full((GROUP, k), np.inf)
        worst = np.full(GROUP, -1.0)
        for row in range(first, last):
            if not np.isnan(directions[row, 0]):
                worst[row - first] = _pass_tile(
                    means,
                    sample[row],
                    directions[row],
                    centre,
                    coordinates,
                    tiles,
                    0,
                    stride,
                    reach[tiles],
                    np.inf,
                    np.full(k, np.inf),
                    np.empty(k, dtype=np.int64),
                )
        for tile in range(tiles):
            for row in range(first, last):
                if worst[row - first] > 0.0:
                    worst[row - first] = _pass_tile(
                        means,
                        sample[row],
                        directions[row],
                        centre,
                        coordinates,
                        tile,
                        tile * TILE,
                        1,
                        reach[tile],
                        worst[row - first],
                        distances[row - first],
                        found[row],
                    )
        group = take(queue)


@kernel()
def _ahead(means, i, j, u):
    """Return d = (p_j - p_i) . u in float64."""
    d = (np.float64(means[j, 0]) - np.float64(means[i, 0])) * np.float64(u[0])
    d += (np.float64(means[j, 1]) - np.float64(means[i, 1])) * np.float64(u[1])
    return d + (np.float64(means[j, 2]) - np.float64(means[i, 2])) * np.float64(u[2])


@kernel()
def _pass_tile(
    means,
    i,
    u,
    centre,
    coordinates,
    tile,
    first,
    step,
    reach,
    worst,
    distances,
    found,
):
    """Insert what one tile holds into a sample's sorted list; return the new ``worst``.

    Place j of the tile is Gaussian ``first + j * step``.
    """
    p0 = means[i, 0] - centre[0]
    p1 = means[i, 1] - centre[1]
    p2 = means[i, 2] - centre[2]
    scale = max(max(reach, abs(p0)), max(abs(p1), abs(p2)))
    length = max(abs(u[0]), max(abs(u[1]), abs(u[2])))
    margin = np.float32(_MARGIN) * scale * length
    offset = v.splat(margin - (p0 * u[0] + p1 * u[1] + p2 * u[2]))
    limit = np.float32(worst) + np.float32(2.0) * margin
    u0 = v.splat(u[0])
    u1 = v.splat(u[1])
    u2 = v.splat(u[2])
    base = tile * 3 * TILE
    for j in range(0, TILE, 2 * v.LANES):
        at = base + j
        d = v.load(coordinates, at) * u0 + offset
        d = v.load(coordinates, at + TILE) * u1 + d
        d = v.load(coordinates, at + 2 * TILE) * u2 + d
        at += v.LANES
        e = v.load(coordinates, at) * u0 + offset
        e = v.load(coordinates, at + TILE) * u1 + e
        e = v.load(coordinates, at + 2 * TILE) * u2 + e
        hits = v.lanes_within(d, limit) | (v.lanes_within(e, limit) << np.uint32(v.LANES))
        if hits == 0:
            continue
        for lane in range(2 * v.LANES):
            if (hits >> np.uint32(lane)) & np.uint32(1):
                at = first + (j + lane) * step
                worst = _insert(means, i, at, u, worst, distances, found)
        limit = np.float32(worst) + np.float32(2.0) * margin
    return worst


@kernel()
def _insert(means, i, j, u, worst, distances, found):
    """Insert Gaussian j if it lies ahead and near enough; return the new ``worst``."""
    k = distances.size
    d = _ahead(means, i, j, u)
    # Not yet full: up to the bound of the start, inclusive. Full: strictly below the last.
    if j == i or not (d > 0.0 and d <= worst and d < distances[k - 1]):
        return worst
    place = k - 1
    while place > 0 and distances[place - 1] > d:
        distances[place] = distances[place - 1]
        found[place] = found[place - 1]
        place -= 1
    distances[place] = d
    found[place] = j
    return min(worst, distances[k - 1])
