"""Fusion of depth maps into a truncated signed distance field.

Notation: z is a voxel's depth in a view, d the depth that the view shows there, both along the
optical axis; tau the truncation. A view says t = min(1, (d - z) / tau) of every voxel with
d - z > -tau, and nothing of what lies deeper. The field is the weighted mean of what the views say:
positive in free space, negative behind the surface.

Source: Curless and Levoy, "A volumetric method for building complex models from range images",
SIGGRAPH 1996. The weight is ours: opacity, less at steps of depth, less from afar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take
from gradiseg_core.geometry.grid import SIDE, BlockGrid, with_blocks
from gradiseg_core.geometry.options import FusionOptions

#: Longest side, px, that `voxel_px` speaks of.
REFERENCE_PX = 320.0


@dataclass(frozen=True)
class Volume:
    """What is fused.

    Attributes:
        focus: Point that the cameras look at, world, [3].
        distance: Median distance of the cameras to it, world units.
        radius: Of the ball that is fused, world units.
        voxel: Side of a voxel, world units.
    """

    focus: NDArray[np.float64]
    distance: float
    radius: float
    voxel: float


@dataclass(frozen=True)
class Field:
    """The fused field; arrays are over the slots of the grid.

    Attributes:
        grid: Where voxels are.
        volume: The ball that was fused.
        distance: [S] float32, mean of t, -1 to 1.
        views: [S] int32, views that said something; 0: nothing is known.
        lab: [S, 3] float32, CIELAB colour near the surface.
    """

    grid: BlockGrid
    volume: Volume
    distance: NDArray[np.float32]
    views: NDArray[np.int32]
    lab: NDArray[np.float32]


def volume_of(cameras: Sequence[Camera], options: FusionOptions) -> Volume:
    """Return the ball around the point nearest to all optical axes (least squares).

    Args:
        cameras: At the size of the depth maps.
        options: Size of voxel and ball.
    """
    centers = np.stack([camera.center_in_world for camera in cameras])
    axes = np.stack([camera.cam_from_world[2, :3] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # [V, 3, 3]
    system = across.sum(axis=0)
    # Parallel axes meet nowhere: the small term then keeps the focus at the cameras' mean.
    system = system + 1e-9 * len(cameras) * np.eye(3)
    mean = centers.mean(axis=0)
    focus = mean + np.linalg.solve(system, np.einsum("vij,vj->i", across, centers - mean))
    distance = float(np.median(np.linalg.norm(centers - focus, axis=1)))
    focal = [c.K[0, 0] * REFERENCE_PX / max(c.width, c.height) for c in cameras]
    voxel = options.voxel_px * distance / float(np.median(focal))
    return Volume(focus, distance, options.radius * distance, voxel)


def smooth_depth(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the depth map without what one rendering has alone: median of 5, Gaussian of 0.7."""
    from scipy.ndimage import gaussian_filter, median_filter

    return gaussian_filter(median_filter(depth, 5), 0.7)


def pixel_weights(
    depth: NDArray[np.float32],  # [H, W]
    alpha: NDArray[np.float32],  # [H, W]
    volume: Volume,
    options: FusionOptions,
) -> NDArray[np.float32]:
    """Return how much each pixel counts, [H, W]; 0 where it says nothing."""
    from scipy.ndimage import maximum_filter, minimum_filter

    known = (alpha >= options.min_opacity) & (depth > 0)
    safe = np.where(known, depth, 1.0)
    steps = (maximum_filter(depth, 3) - minimum_filter(depth, 3)) / safe
    weight = alpha / (1.0 + (steps / options.slope) ** 2) * (volume.distance / safe) ** 2
    return np.where(known, weight, 0.0).astype(np.float32)


def fuse(
    depths: Sequence[NDArray[np.float32]],
    alphas: Sequence[NDArray[np.float32]],
    colours: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    options: FusionOptions,
    advance: Callable[[], None] = lambda: None,
) -> Field:
    """Fuse the views.

    Args:
        depths: Per view [H, W] float32 along the optical axis, world units; 0: nothing there.
        alphas: Per view [H, W] opacity, 0 to 1.
        colours: Per view [H, W, 3] RGB, 0 to 1.
        cameras: Per view, of the maps' size.
        options: Voxels and weights.
        advance: Called after each view.
    """
    from skimage.color import rgb2lab

    volume = volume_of(cameras, options)
    smooth = [smooth_depth(depth) for depth in depths]
    weights = [
        pixel_weights(depth, alpha, volume, options)
        for depth, alpha in zip(smooth, alphas, strict=True)
    ]
    grid = _allocate(smooth, weights, cameras, volume, options.truncation)
    slots = grid.num_slots
    distance, weight = np.zeros(slots, np.float32), np.zeros(slots, np.float32)
    views = np.zeros(slots, np.int32)
    lab, near = np.zeros((slots, 3), np.float32), np.zeros(slots, np.float32)
    for depth, seen, colour, camera in zip(smooth, weights, colours, cameras, strict=True):
        run_queue(
            _integrate, -(-len(grid.blocks) // _BAND), grid.blocks, grid.origin, grid.voxel,
            volume.focus, volume.radius, camera.K, camera.cam_from_world, depth, seen,
            rgb2lab(colour).astype(np.float32), options.truncation * grid.voxel,
            distance, weight, views, lab, near,
        )  # fmt: skip
        advance()
    enough = views >= options.min_views
    np.divide(distance, weight, out=distance, where=weight > 0)
    np.divide(lab, near[:, None], out=lab, where=near[:, None] > 0)
    return Field(grid, volume, distance, np.where(enough, views, 0), lab)


def _allocate(
    depths: Sequence[NDArray[np.float32]],
    weights: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    volume: Volume,
    truncation: float,
) -> BlockGrid:
    """Return the grid of all blocks within the truncation of a pixel's depth."""
    side = int(np.ceil(2 * volume.radius / volume.voxel / SIDE)) + 2
    origin = volume.focus - (side * SIDE / 2) * volume.voxel
    marked = np.zeros((side,) * 3, np.bool_)
    for depth, weight, camera in zip(depths, weights, cameras, strict=True):
        points = unproject(depth, camera)[weight > 0]
        points = points[np.linalg.norm(points - volume.focus, axis=1) <= volume.radius]
        places = (points - origin) / volume.voxel
        for corner in np.ndindex(2, 2, 2):  # a block is as wide as the truncated band, or wider
            block = (places + truncation * (2.0 * np.array(corner) - 1.0)).round().astype(int) >> 3
            marked[tuple(block.clip(0, side - 1).T)] = True
    return with_blocks(marked, origin, volume.voxel)


def unproject(depth: NDArray, camera: Camera) -> NDArray[np.float64]:
    """Return the world point of every pixel's centre, [H, W, 3].

    Args:
        depth: [H, W] along the optical axis.
        camera: Of the map's size.
    """
    height, width = depth.shape
    x = (np.arange(width) + 0.5 - camera.K[0, 2]) / camera.K[0, 0]
    y = (np.arange(height) + 0.5 - camera.K[1, 2]) / camera.K[1, 1]
    z = depth.astype(np.float64)
    in_camera = np.stack([z * x[None, :], z * y[:, None], z], axis=-1)
    rotation, translation = camera.cam_from_world[:3, :3], camera.cam_from_world[:3, 3]
    return (in_camera - translation) @ rotation


_BAND = 64  # blocks that a thread takes at a time


@kernel()
def _integrate(  # type: ignore[no-untyped-def]
    queue, blocks, origin, voxel, focus, radius, K, pose, depth, seen, colour, tau,
    distance, weight, views, lab, near,
):  # fmt: skip
    """Add what one view says to the voxels of 64 blocks."""
    height, width = depth.shape
    band = take(queue)
    while 64 * band < blocks.shape[0]:
        for b in range(64 * band, min(64 * band + 64, blocks.shape[0])):
            for inside in range(512):
                x = origin[0] + voxel * (8 * blocks[b, 0] + (inside >> 6))
                y = origin[1] + voxel * (8 * blocks[b, 1] + ((inside >> 3) & 7))
                z = origin[2] + voxel * (8 * blocks[b, 2] + (inside & 7))
                away = (x - focus[0]) ** 2 + (y - focus[1]) ** 2 + (z - focus[2]) ** 2
                if away > radius * radius:
                    continue
                cz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
                if cz <= tau:
                    continue
                cx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
                cy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
                u, v = K[0, 0] * cx / cz + K[0, 2], K[1, 1] * cy / cz + K[1, 2]
                if not (u >= 0.0 and v >= 0.0 and u < width and v < height):
                    continue
                column, row = int(u), int(v)
                w = seen[row, column]
                if w <= 0.0:
                    continue
                # Between pixel centres, as the surface is; at the frame the nearest pixel.
                left = min(max(int(np.floor(u - 0.5)), 0), width - 2)
                top = min(max(int(np.floor(v - 0.5)), 0), height - 2)
                a = min(max(u - 0.5 - left, 0.0), 1.0)
                c = min(max(v - 0.5 - top, 0.0), 1.0)
                d = (1.0 - c) * ((1.0 - a) * depth[top, left] + a * depth[top, left + 1]) + c * (
                    (1.0 - a) * depth[top + 1, left] + a * depth[top + 1, left + 1]
                )
                t = (d - cz) / tau
                if t <= -1.0:
                    continue
                t = min(t, 1.0)
                slot = 512 * b + inside
                distance[slot] += w * t
                weight[slot] += w
                views[slot] += 1
                close = w * (1.0 - abs(t)) + 1e-6 * w
                near[slot] += close
                for channel in range(3):
                    lab[slot, channel] += close * colour[row, column, channel]
        band = take(queue)
