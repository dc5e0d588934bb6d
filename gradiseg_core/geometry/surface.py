"""The surface of a fused field: points, normals, concavity and the graph of neighbours.

The surface is where the smoothed distance f changes its sign; its nodes are the voxels just behind
it, f <= 0 with one of the six neighbours in free space. With g the gradient of f, the normal is
g / |g|, and the least principal curvature k_min the smaller eigenvalue of the Hessian of f in the
tangent plane, over |g|: positive where the surface is convex, negative in a crease.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import Field
from gradiseg_core.geometry.grid import BlockGrid, slot_of
from gradiseg_core.geometry.options import SurfaceOptions

#: The 13 neighbours of a voxel that come after it; the other 13 are their opposites.
HALF_RING = np.array(
    [o for o in np.ndindex(3, 3, 3) if tuple(np.subtract(o, 1)) > (0, 0, 0)], np.int64
) - 1  # fmt: skip
#: Neighbours whose normals are more opposite than this are two sides of something thin.
MIN_COSINE = -0.3
#: The smoothed distance is known where this share of the Gaussian's weight falls on known voxels.
_MIN_SUPPORT = 0.2


def extract(field: Field, options: SurfaceOptions) -> Surface:
    """Return the surface of a fused field; it may be empty."""
    grid = field.grid
    smooth = _smoothed(field, options.blur)
    is_node = np.zeros(grid.num_slots, np.bool_)
    bands = -(-len(grid.blocks) // _BAND)
    run_queue(_find_nodes, bands, grid.blocks, grid.table, smooth, field.views, is_node)
    slots = np.flatnonzero(is_node)
    index = grid.indices(slots)
    offset, normals = np.zeros((len(slots), 3)), np.zeros((len(slots), 3), np.float32)
    curvature = np.zeros(len(slots), np.float32)
    valid = np.zeros(len(slots), np.bool_)
    run_queue(
        _differentiate, -(-len(slots) // _NODES), grid.table, smooth, index, offset, normals,
        curvature, valid,
    )  # fmt: skip
    slots, index, offset, normals = slots[valid], index[valid], offset[valid], normals[valid]
    edges = _edges(grid, slots, index, normals)
    raw = (-curvature[valid] - options.flat) / (options.crease - options.flat)
    return Surface(
        points=grid.points(index + offset),
        normals=normals,
        lab=field.lab[slots],
        concavity=neighbour_mean(raw.clip(0.0, 1.0), edges),
        index=index,
        edges=edges,
        voxel=grid.voxel,
    )


def neighbour_mean(values: NDArray, edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean over every node and its neighbours, [N]."""
    count = len(values)
    total = values.astype(np.float64)
    number = np.ones(count)
    for here, there in ((0, 1), (1, 0)):
        total = total + np.bincount(edges[:, here], values[edges[:, there]], count)
        number += np.bincount(edges[:, here], minlength=count)
    return (total / number).astype(np.float32)


def _smoothed(field: Field, sigma: float) -> NDArray[np.float32]:
    """Return the distances smoothed over known voxels, [S]; NaN where too few are known."""
    reach = 3
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    smooth = np.full(field.grid.num_slots, np.nan, np.float32)
    run_queue(
        _smooth, -(-len(field.grid.blocks) // _BAND), field.grid.blocks, field.grid.table,
        field.distance, field.views, (taps / taps.sum()).astype(np.float32), smooth,
    )  # fmt: skip
    return smooth


def _edges(
    grid: BlockGrid, slots: NDArray[np.int64], index: NDArray[np.int64], normals: NDArray
) -> NDArray[np.int64]:
    node = np.full(grid.num_slots, -1, np.int32)
    node[slots] = np.arange(len(slots), dtype=np.int32)
    found = np.full((len(slots), len(HALF_RING)), -1, np.int32)
    run_queue(_neighbours, -(-len(slots) // _NODES), grid.table, node, index, HALF_RING, found)
    here, ring = np.nonzero(found >= 0)
    there = found[here, ring].astype(np.int64)
    alike = np.einsum("ij,ij->i", normals[here], normals[there]) >= MIN_COSINE
    return np.stack([here[alike], there[alike]], axis=1)


_BAND = 64  # blocks that a thread takes at a time
_NODES = 4096  # nodes that a thread takes at a time


@kernel()
def _smooth(queue, blocks, table, distance, views, taps, smooth):  # type: ignore[no-untyped-def]
    """Smooth 64 blocks: a separable Gaussian over known voxels, over its weight on known voxels."""
    value, known = np.zeros((14, 14, 14), np.float32), np.zeros((14, 14, 14), np.float32)
    value2, known2 = np.zeros((14, 14, 14), np.float32), np.zeros((14, 14, 14), np.float32)
    band = take(queue)
    while 64 * band < blocks.shape[0]:
        for b in range(64 * band, min(64 * band + 64, blocks.shape[0])):
            for i in range(14):
                for j in range(14):
                    for k in range(14):
                        slot = slot_of(
                            table, 8 * blocks[b, 0] + i - 3, 8 * blocks[b, 1] + j - 3,
                            8 * blocks[b, 2] + k - 3,
                        )  # fmt: skip
                        has = slot >= 0 and views[slot] > 0
                        known[i, j, k] = 1.0 if has else 0.0
                        value[i, j, k] = distance[slot] if has else 0.0
            for i in range(14):
                for j in range(14):
                    for k in range(8):
                        s, w = np.float32(0.0), np.float32(0.0)
                        for t in range(7):
                            s += taps[t] * value[i, j, k + t]
                            w += taps[t] * known[i, j, k + t]
                        value2[i, j, k], known2[i, j, k] = s, w
            for i in range(14):
                for j in range(8):
                    for k in range(8):
                        s, w = np.float32(0.0), np.float32(0.0)
                        for t in range(7):
                            s += taps[t] * value2[i, j + t, k]
                            w += taps[t] * known2[i, j + t, k]
                        value[i, j, k], known[i, j, k] = s, w
            for i in range(8):
                for j in range(8):
                    for k in range(8):
                        s, w = np.float32(0.0), np.float32(0.0)
                        for t in range(7):
                            s += taps[t] * value[i + t, j, k]
                            w += taps[t] * known[i + t, j, k]
                        if w >= _MIN_SUPPORT:
                            smooth[512 * b + 64 * i + 8 * j + k] = s / w
        band = take(queue)


@kernel()
def _find_nodes(queue, blocks, table, smooth, views, is_node):  # type: ignore[no-untyped-def]
    """Mark the voxels behind the surface in 64 blocks."""
    band = take(queue)
    while 64 * band < blocks.shape[0]:
        for b in range(64 * band, min(64 * band + 64, blocks.shape[0])):
            for inside in range(512):
                slot = 512 * b + inside
                if views[slot] == 0 or not smooth[slot] <= 0.0:
                    continue
                i = 8 * blocks[b, 0] + (inside >> 6)
                j = 8 * blocks[b, 1] + ((inside >> 3) & 7)
                k = 8 * blocks[b, 2] + (inside & 7)
                for axis in range(3):
                    for sign in (-1, 1):
                        other = slot_of(
                            table, i + sign * (axis == 0), j + sign * (axis == 1),
                            k + sign * (axis == 2),
                        )  # fmt: skip
                        if other >= 0 and views[other] > 0 and smooth[other] > 0.0:
                            is_node[slot] = True
        band = take(queue)


@kernel()
def _differentiate(queue, table, f, index, offset, normals, curvature, valid):  # type: ignore[no-untyped-def]
    """Normals, curvature and zero crossings of 4096 nodes; a derivative may lack a neighbour."""
    h = np.empty((3, 3, 3))
    hessian, g = np.empty((3, 3)), np.empty(3)
    band = take(queue)
    while 4096 * band < index.shape[0]:
        for n in range(4096 * band, min(4096 * band + 4096, index.shape[0])):
            complete = True
            for a in range(3):
                for b in range(3):
                    for c in range(3):
                        slot = slot_of(
                            table, index[n, 0] + a - 1, index[n, 1] + b - 1, index[n, 2] + c - 1
                        )
                        h[a, b, c] = f[slot] if slot >= 0 else np.nan
                        complete = complete and h[a, b, c] == h[a, b, c]
            centre = h[1, 1, 1]
            sides = ((h[0, 1, 1], h[2, 1, 1]), (h[1, 0, 1], h[1, 2, 1]), (h[1, 1, 0], h[1, 1, 2]))
            for axis in range(3):
                low, high = sides[axis]
                if low == low and high == high:
                    g[axis] = 0.5 * (high - low)
                elif high == high:
                    g[axis] = high - centre
                elif low == low:
                    g[axis] = centre - low
                else:
                    g[axis] = 0.0
            length = np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2)
            if length < 1e-3:
                continue
            valid[n] = True
            step = min(-centre / length, 1.0)
            for axis in range(3):
                normals[n, axis] = g[axis] / length
                offset[n, axis] = step * g[axis] / length
            if not complete:
                continue  # curvature stays 0: no crease is seen there
            for axis in range(3):
                hessian[axis, axis] = sides[axis][0] + sides[axis][1] - 2.0 * centre
            hessian[0, 1] = 0.25 * (h[2, 2, 1] - h[2, 0, 1] - h[0, 2, 1] + h[0, 0, 1])
            hessian[0, 2] = 0.25 * (h[2, 1, 2] - h[2, 1, 0] - h[0, 1, 2] + h[0, 1, 0])
            hessian[1, 2] = 0.25 * (h[1, 2, 2] - h[1, 2, 0] - h[1, 0, 2] + h[1, 0, 0])
            hessian[1, 0], hessian[2, 0], hessian[2, 1] = (
                hessian[0, 1],
                hessian[0, 2],
                hessian[1, 2],
            )
            curvature[n] = _least_tangential(hessian, g / length) / length
        band = take(queue)


@kernel()
def _least_tangential(hessian, n):  # type: ignore[no-untyped-def]
    """Return the smaller eigenvalue of a symmetric [3, 3] in the plane across the unit vector n."""
    u = np.zeros(3)
    u[np.argmin(np.abs(n))] = 1.0
    u -= n * (u[0] * n[0] + u[1] * n[1] + u[2] * n[2])
    u /= np.sqrt(u[0] ** 2 + u[1] ** 2 + u[2] ** 2)
    v0 = n[1] * u[2] - n[2] * u[1]
    v1 = n[2] * u[0] - n[0] * u[2]
    v2 = n[0] * u[1] - n[1] * u[0]
    uu, uv, vv = 0.0, 0.0, 0.0
    for a in range(3):
        for b in range(3):
            ub = u[b]
            vb = v0 if b == 0 else (v1 if b == 1 else v2)
            va = v0 if a == 0 else (v1 if a == 1 else v2)
            uu += u[a] * hessian[a, b] * ub
            uv += u[a] * hessian[a, b] * vb
            vv += va * hessian[a, b] * vb
    return 0.5 * (uu + vv) - np.sqrt(0.25 * (uu - vv) ** 2 + uv * uv)


@kernel()
def _neighbours(queue, table, node, index, ring, found):  # type: ignore[no-untyped-def]
    """Find the nodes among the 13 later neighbours of 4096 nodes; -1 where there is none."""
    band = take(queue)
    while 4096 * band < index.shape[0]:
        for n in range(4096 * band, min(4096 * band + 4096, index.shape[0])):
            for r in range(ring.shape[0]):
                slot = slot_of(
                    table,
                    index[n, 0] + ring[r, 0],
                    index[n, 1] + ring[r, 1],
                    index[n, 2] + ring[r, 2],
                )
                if slot >= 0:
                    found[n, r] = node[slot]
        band = take(queue)
