"""What objects stand on: the largest plane of a surface, with a smooth height field over it.

Notation: h is the height of a point over the support, in voxels, positive towards free space; sd
the standard deviation of h in the support. A table is not flat in a reconstruction: a height field
over the plane follows its bends and bumps, so that flat objects stand out of less noise.

Source: Fischler and Bolles 1981 for RANSAC; the height field is a normalised convolution (Knutsson
and Westin 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.options import SupportOptions

#: Distance to a plane, voxels, up to which RANSAC counts a point.
_NEAR = 1.5
#: Points that a trial is counted on.
_SAMPLE = 4000
#: Least sd, voxels: a perfect plane would have nothing in it.
_MIN_SD = 0.25
#: Cell of the height field, voxels.
_CELL = 4.0


@dataclass(frozen=True)
class Support:
    """The support of a scene.

    Attributes:
        point: A point of the plane, world, [3].
        normal: Into free space, [3]; zeros where there is no support.
        sd: Of the heights in the support, voxels.
        height: [N] float32, of every node, voxels.
        inside: [N] bool, nodes that belong to the support.
    """

    point: NDArray[np.float64]
    normal: NDArray[np.float64]
    sd: float
    height: NDArray[np.float32]
    inside: NDArray[np.bool_]


def find_support(surface: Surface, options: SupportOptions, seed: int = 0) -> Support:
    """Return the support of a surface's nodes.

    Args:
        surface: With at least 3 nodes.
        options: When a node belongs to it.
        seed: Of RANSAC's trials.
    """
    point, normal = _best_plane(surface, options, np.random.default_rng(seed))
    for _ in range(5):
        near = _near(surface, point, normal, options.min_cosine, 2.0)
        if near.sum() < 3:
            break
        point, normal = _fit(surface.points[near], normal)
    height = (surface.points - point) @ normal / surface.voxel
    if options.bump > 0:
        for _ in range(2):
            height = _over_bumps(surface, point, normal, height, options)
    flat = (np.abs(height) < 2.0) & _upright(surface, normal, options.min_cosine)
    sd = max(float(height[flat].std()), _MIN_SD) if flat.any() else _MIN_SD
    level = (np.abs(height) < options.thickness * sd) & _upright(
        surface, normal, options.min_cosine
    )
    inside = _large_parts(level | (height < -options.below), surface, options.min_part)
    return Support(point, normal, sd, height.astype(np.float32), inside)


def _best_plane(
    surface: Surface, options: SupportOptions, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return point and normal of the plane of three nodes that most nodes agree with."""
    count = len(surface)
    sample = generator.permutation(count)[:_SAMPLE]
    points, normals = surface.points[sample], surface.normals[sample]
    best, plane = -1, (surface.points[0], np.array([0.0, 0.0, 1.0]))
    for triple in generator.integers(0, len(sample), (options.trials, 3)):
        a, b, c = points[triple]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < surface.voxel**2:
            continue
        normal = normal / length
        if normal @ normals[triple].sum(axis=0) < 0:
            normal = -normal
        near = np.abs((points - a) @ normal) < _NEAR * surface.voxel
        agree = int((near & (normals @ normal > options.min_cosine)).sum())
        if agree > best:
            best, plane = agree, (a, normal)
    return plane


def _near(
    surface: Surface,
    point: NDArray[np.float64],
    normal: NDArray[np.float64],
    min_cosine: float,
    voxels: float,
) -> NDArray[np.bool_]:
    height = np.abs((surface.points - point) @ normal)
    return (height < voxels * surface.voxel) & _upright(surface, normal, min_cosine)


def _upright(surface: Surface, normal: NDArray[np.float64], min_cosine: float) -> NDArray[np.bool_]:
    return surface.normals @ normal > min_cosine


def _fit(
    points: NDArray[np.float64], towards: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least-squares plane of points, its normal on the side of ``towards``."""
    mean = points.mean(axis=0)
    normal = np.linalg.eigh((points - mean).T @ (points - mean))[1][:, 0]
    return mean, normal if normal @ towards > 0 else -normal


def _over_bumps(
    surface: Surface,
    point: NDArray[np.float64],
    normal: NDArray[np.float64],
    height: NDArray[np.float64],
    options: SupportOptions,
) -> NDArray[np.float64]:
    """Return the heights over a smooth field through the level nodes near height 0, [N]."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    along = np.linalg.svd(normal[None])[2][1:]  # [2, 3] across the normal
    places = (surface.points - point) @ along.T / (surface.voxel * _CELL)
    low = places.min(axis=0)
    cells = places - low
    shape = tuple(np.ceil(cells.max(axis=0)).astype(int) + 2)
    level = (np.abs(height) < 2.0) & _upright(surface, normal, options.min_cosine)
    flat = np.ravel_multi_index(tuple(cells[level].round().astype(int).T), shape)
    size = int(np.prod(shape))
    total = np.bincount(flat, height[level], size).reshape(shape)
    count = np.bincount(flat, minlength=size).reshape(shape).astype(np.float64)
    sigma = options.bump / _CELL
    # The little prior weight at height 0 decides only where no level node is near.
    field = gaussian_filter(total, sigma) / (gaussian_filter(count, sigma) + 1e-3)
    return height - map_coordinates(field, cells.T, order=1, mode="nearest")


def _large_parts(inside: NDArray[np.bool_], surface: Surface, min_part: float) -> NDArray[np.bool_]:
    """Return the nodes of ``inside`` whose connected part is more than a share of the surface."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = surface.edges[inside[surface.edges].all(axis=1)]
    count = len(surface)
    graph = coo_array((np.ones(len(edges), np.int8), tuple(edges.T)), (count, count))
    part = connected_components(graph, directed=False)[1]
    sizes = np.bincount(part[inside], minlength=part.max() + 1)
    return inside & (sizes[part] > min_part * count)
