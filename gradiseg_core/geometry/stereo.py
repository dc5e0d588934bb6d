"""Depth sharpened by what neighbouring photographs show: PatchMatch stereo from a given start.

Blended depth of Gaussians lies voxels in front of the surface, more at low angles. It is near
enough, though, for a search among planes through each pixel: a plane is good where the patch around
the pixel looks the same in the neighbouring photographs. Planes of neighbouring pixels are tried,
and random changes that shrink.

Notation: r = K^-1 (u, v, 1) is the ray of a pixel, d its depth along the optical axis, n the unit
normal there in the camera's frame, n . r < 0. The plane is n . X = c with c = d n . r; a neighbour
with motion (R, t) and intrinsics K' sees it through the homography K' (R + t n' / c) K^-1.

Source: Bleyer, Rhemann and Rother, "PatchMatch Stereo", BMVC 2011, for the search; Schoenberger et
al., "Pixelwise view selection for unstructured multi-view stereo", ECCV 2016, for weighted
normalised cross-correlation. Red and black pixels change in turn (Galliani et al., ICCV 2015), so
that threads change nothing. The start, and the pull towards it, are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take
from gradiseg_core.geometry.fusion import Volume, smooth_depth, unproject
from gradiseg_core.geometry.options import StereoOptions

#: Angles between views at what they look at, degrees: nearer ones show no depth, farther ones see
#: other sides.
_ANGLES = (4.0, 40.0)
_BEST_ANGLE = 14.0
#: Depth may move this far from its start, voxels.
_LIMIT = 24.0
#: Cost of moving that far. Where photographs show no texture, nothing else decides.
_PULL = 0.1
#: Opacity from which a pixel has a start.
_MIN_OPACITY = 0.3
#: Cost of a patch that leaves a neighbour's frame, and of a pixel that is not searched.
_OUTSIDE, _NOT_SEARCHED = 1.5, 2.0
_SIDE = 5  # samples along a patch's side
_STEP = 2  # px between them
_NOISE = 4.0  # variance of grey that is noise
_SIMILAR = 20.0  # difference of grey at which a sample weighs 1 / e


@dataclass(frozen=True)
class Refined:
    """One view's depth after the search.

    Attributes:
        depth: [H, W] float32 along the optical axis, world units; as it was where not searched.
        cost: [H, W] float32, 1 - correlation with the neighbours: 0 (as shown there) to 2.
    """

    depth: NDArray[np.float32]
    cost: NDArray[np.float32]


def refine(
    depths: Sequence[NDArray[np.float32]],
    alphas: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    greys: Sequence[NDArray[np.float32]],
    volume: Volume,
    options: StereoOptions,
    advance: Callable[[], None] = lambda: None,
) -> list[Refined]:
    """Sharpen the depth of all views.

    Args:
        depths: Per view [H, W] float32 along the optical axis, world units; 0: nothing there.
        alphas: Per view [H, W] opacity, 0 to 1.
        cameras: Per view, of the maps' size.
        greys: Per view [H, W] float32 photograph, 0 to 255.
        volume: What is searched.
        options: Length of the search.
        advance: Called after each view.
    """
    shape = tuple(np.max([grey.shape for grey in greys], axis=0))
    stack = np.zeros((len(greys), *shape), np.float32)
    for grey, place in zip(greys, stack, strict=True):
        place[: grey.shape[0], : grey.shape[1]] = grey
    near = neighbours(cameras, volume, options.neighbours)
    refined = []
    for view, camera in enumerate(cameras):
        start = smooth_depth(depths[view])
        away = np.linalg.norm(unproject(start, camera) - volume.focus, axis=-1)
        searched = (alphas[view] > _MIN_OPACITY) & (start > 0) & (away < 1.05 * volume.radius)
        cost = np.full(start.shape, _NOT_SEARCHED, np.float32)
        depth, others = start.copy(), near[view]
        if len(others) >= 2 and searched.any():
            sizes = np.array([greys[other].shape for other in others])
            matrices, vectors = _motions(camera, [cameras[other] for other in others])
            shared = (
                greys[view], np.ascontiguousarray(stack[others]), sizes, matrices, vectors,
                np.linalg.inv(camera.K), start, depth, plane_normals(start, camera), cost,
                searched, volume.voxel,
            )  # fmt: skip
            run_queue(_search, len(start), *shared, -1, 0)
            for iteration in range(options.iterations):
                for parity in (0, 1):
                    run_queue(_search, len(start), *shared, parity, iteration)
        refined.append(Refined(depth, cost))
        advance()
    return refined


def neighbours(cameras: Sequence[Camera], volume: Volume, count: int) -> list[NDArray[np.int64]]:
    """Return per view the views that see the focus from a good angle, best first, at most count."""
    towards = np.stack([camera.center_in_world for camera in cameras]) - volume.focus
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    angles = np.degrees(np.arccos((towards @ towards.T).clip(-1.0, 1.0)))
    found = []
    for row in angles:
        good = np.flatnonzero((row >= _ANGLES[0]) & (row <= _ANGLES[1]))
        order = np.argsort(np.abs(np.log(row[good] / _BEST_ANGLE)), kind="stable")
        found.append(good[order[:count]])
    return found


def plane_normals(depth: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Return the normal of the plane that each pixel's smoothed surroundings lie in, [H, W, 3].

    1 / d = (n . r) / c is linear over a plane.
    """
    from scipy.ndimage import gaussian_filter

    height, width = depth.shape
    K = camera.K
    x = (np.arange(width) + 0.5 - K[0, 2]) / K[0, 0]
    y = (np.arange(height) + 0.5 - K[1, 2]) / K[1, 1]
    inverse = gaussian_filter(1.0 / np.maximum(depth, 1e-6).astype(np.float64), 1.5)
    along_y, along_x = np.gradient(inverse)
    nx, ny = along_x * K[0, 0], along_y * K[1, 1]
    towards = np.stack([nx, ny, inverse - nx * x[None, :] - ny * y[:, None]], axis=-1)
    length = np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-12)
    return (-towards / length).astype(np.float32)


def _motions(
    camera: Camera, others: Sequence[Camera]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return K' R K^-1, [M, 3, 3], and K' t, [M, 3], of all neighbours."""
    back, unproject_px = np.linalg.inv(camera.cam_from_world), np.linalg.inv(camera.K)
    motions = [other.cam_from_world @ back for other in others]
    pairs = list(zip(others, motions, strict=True))
    return (
        np.stack([other.K @ motion[:3, :3] @ unproject_px for other, motion in pairs]),
        np.stack([other.K @ motion[:3, 3] for other, motion in pairs]),
    )


@kernel()
def _random(a, b, c):  # type: ignore[no-untyped-def]
    """Return a number of [-1, 1] that depends on three integers alone."""
    x = np.uint32(a * 73856093) ^ np.uint32(b * 19349663) ^ np.uint32(c * 83492791)
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    return 2.0 * (x ^ (x >> np.uint32(16))) / 4294967295.0 - 1.0


@kernel(fastmath=True)
def _patch(grey, row, column, values, weights):  # type: ignore[no-untyped-def]
    """Fill in grey values and weights of a pixel's patch; return sum of weights, mean, variance."""
    height, width = grey.shape
    total, mean, square, k = 0.0, 0.0, 0.0, 0
    for a in range(_SIDE):
        for b in range(_SIDE):
            i = min(max(row + _STEP * (a - _SIDE // 2), 0), height - 1)
            j = min(max(column + _STEP * (b - _SIDE // 2), 0), width - 1)
            value = grey[i, j]
            weight = np.exp(-abs(value - grey[row, column]) / _SIMILAR)
            values[k], weights[k] = value, weight
            total += weight
            mean += weight * value
            square += weight * value * value
            k += 1
    mean /= total
    return total, mean, max(square / total - mean * mean, 0.0)


@kernel(fastmath=True)
def _dissimilarity(  # type: ignore[no-untyped-def]
    u, v, c, n, back, values, weights, moments, others, sizes, matrices, vectors, costs
):
    """Return the mean of 1 - correlation over the better half of the neighbours, for one plane."""
    total, mean, variance = moments
    m0, m1 = n[0] * back[0, 0] / c, n[1] * back[1, 1] / c
    m2 = (n[0] * back[0, 2] + n[1] * back[1, 2] + n[2]) / c
    count = len(costs)
    for o in range(count):
        p, q = matrices[o], vectors[o]
        x0, x1, x2 = p[0, 0] + q[0] * m0, p[0, 1] + q[0] * m1, p[0, 2] + q[0] * m2
        y0, y1, y2 = p[1, 0] + q[1] * m0, p[1, 1] + q[1] * m1, p[1, 2] + q[1] * m2
        z0, z1, z2 = p[2, 0] + q[2] * m0, p[2, 1] + q[2] * m1, p[2, 2] + q[2] * m2
        height, width = sizes[o, 0], sizes[o, 1]
        first, second, both, k = 0.0, 0.0, 0.0, 0
        inside = True
        for a in range(_SIDE):
            y = v + _STEP * (a - _SIDE // 2)
            for b in range(_SIDE):
                x = u + _STEP * (b - _SIDE // 2)
                z = z0 * x + z1 * y + z2
                if z <= 1e-9:
                    inside = False
                    break
                px, py = (x0 * x + x1 * y + x2) / z - 0.5, (y0 * x + y1 * y + y2) / z - 0.5
                if not (px >= 0.0 and py >= 0.0 and px < width - 1.001 and py < height - 1.001):
                    inside = False
                    break
                i, j = int(py), int(px)
                fy, fx = py - i, px - j
                value = (1.0 - fy) * (
                    (1.0 - fx) * others[o, i, j] + fx * others[o, i, j + 1]
                ) + fy * ((1.0 - fx) * others[o, i + 1, j] + fx * others[o, i + 1, j + 1])
                weighted = weights[k] * value
                first += weighted
                second += weighted * value
                both += weighted * values[k]
                k += 1
            if not inside:
                break
        costs[o] = _OUTSIDE
        if inside:
            first /= total
            spread = max(second / total - first * first, 0.0)
            shared = both / total - first * mean
            costs[o] = 1.0 - shared / np.sqrt((variance + _NOISE) * (spread + _NOISE))
    better = (count + 1) // 2
    result = 0.0
    for _ in range(better):
        least = np.argmin(costs)
        result += costs[least]
        costs[least] = 9.0
    return result / better


@kernel()
def _propose(candidate, row, column, iteration, ray, d, n, depth, normal, searched, back, unit, m):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write a candidate's normal into m; return its depth at the pixel, or -1 without any.

    Candidates 0 to 3 are planes of neighbours, 4 to 7 changes of depth, normal, and both.
    """
    if candidate < 4:
        far = 1 if iteration % 2 == 0 else 3
        i = row + (far if candidate == 0 else (-far if candidate == 1 else 0))
        j = column + (far if candidate == 2 else (-far if candidate == 3 else 0))
        if i < 0 or j < 0 or i >= depth.shape[0] or j >= depth.shape[1] or not searched[i, j]:
            return -1.0
        m[:] = normal[i, j]
        x, y = back[0, 0] * (j + 0.5) + back[0, 2], back[1, 1] * (i + 0.5) + back[1, 2]
        c = depth[i, j] * (m[0] * x + m[1] * y + m[2])
    else:
        m[:] = n
        moved = d
        if candidate != 5:
            reach = unit * 4.0 * 0.5**iteration * (2.0 if candidate == 7 else 1.0)
            moved = d + reach * _random(131 * row + candidate, column, iteration)
        if candidate != 4:
            for axis in range(3):
                seed = 131 * row + candidate + 20 * (axis + 1)
                m[axis] += 0.5 * 0.6**iteration * _random(seed, column, iteration)
            m /= np.sqrt(m[0] ** 2 + m[1] ** 2 + m[2] ** 2)
        c = moved * (m[0] * ray[0] + m[1] * ray[1] + m[2])
    facing = m[0] * ray[0] + m[1] * ray[1] + m[2]
    if facing > -0.05:
        return -1.0
    proposed = c / facing
    same = m[0] * n[0] + m[1] * n[1] + m[2] * n[2] > 0.999 and abs(proposed - d) < 0.05 * unit
    return -1.0 if candidate < 4 and same else proposed


@kernel()
def _search(  # type: ignore[no-untyped-def]
    queue, grey, others, sizes, matrices, vectors, back, start, depth, normal, cost, searched, unit,
    parity, iteration,
):  # fmt: skip
    """Try candidates for the pixels of one parity; with parity -1, find the start's costs."""
    height, width = grey.shape
    values, weights = np.empty(_SIDE * _SIDE), np.empty(_SIDE * _SIDE)
    costs, n, m, ray = np.empty(len(others)), np.empty(3), np.empty(3), np.empty(2)
    row = take(queue)
    while row < height:
        for column in range(width):
            if not searched[row, column] or (parity >= 0 and (row + column) % 2 != parity):
                continue
            moments = _patch(grey, row, column, values, weights)
            u, v = column + 0.5, row + 0.5
            ray[0], ray[1] = back[0, 0] * u + back[0, 2], back[1, 1] * v + back[1, 2]
            n[:] = normal[row, column]
            d = depth[row, column]
            best = np.float64(cost[row, column])
            if parity < 0:
                c = d * min(n[0] * ray[0] + n[1] * ray[1] + n[2], -1e-6)
                cost[row, column] = _dissimilarity(
                    u, v, c, n, back, values, weights, moments, others, sizes, matrices, vectors,
                    costs,
                )  # fmt: skip
                continue
            for candidate in range(8):
                proposed = _propose(
                    candidate, row, column, iteration, ray, d, n, depth, normal, searched, back,
                    unit, m,
                )  # fmt: skip
                moved = abs(proposed - start[row, column]) / (_LIMIT * unit)
                if proposed <= 0.0 or moved > 1.0:
                    continue
                c = proposed * (m[0] * ray[0] + m[1] * ray[1] + m[2])
                found = _PULL * moved + _dissimilarity(
                    u, v, c, m, back, values, weights, moments, others, sizes, matrices, vectors,
                    costs,
                )  # fmt: skip
                if found < best - 1e-4:
                    best, d = found, proposed
                    n[:] = m
            cost[row, column], depth[row, column] = best, d
            normal[row, column] = n
        row = take(queue)
