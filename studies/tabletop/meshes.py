"""Triangle meshes of simple shapes, with texture coordinates.

All shapes are grids of points: a surface of revolution, a tube along a curve, a ribbon. Points
that coincide (seams, poles) keep their own texture coordinates and share their normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """Triangles in object or world coordinates.

    Attributes:
        vertices: [V, 3] float64, m.
        faces: [F, 3] int32.
        uv: [V, 2] float64 texture coordinates.
        smooth: Whether shading normals are interpolated.
    """

    vertices: Array
    faces: NDArray[np.int32]
    uv: Array
    smooth: bool = True

    def moved(self, matrix: Array | None = None, offset: Array | None = None) -> Mesh:
        """Return the mesh under x -> matrix @ x + offset."""
        vertices = self.vertices if matrix is None else self.vertices @ np.asarray(matrix).T
        return replace(self, vertices=vertices if offset is None else vertices + offset)

    def write_ply(self, path: Path) -> None:
        """Write binary PLY with the property names that Mitsuba reads (``u``, ``v`` for uv)."""
        data = np.concatenate(
            [self.vertices, vertex_normals(self), self.uv], axis=1, dtype=np.float32
        )
        faces = np.empty(len(self.faces), dtype=[("n", "u1"), ("index", "<i4", 3)])
        faces["n"], faces["index"] = 3, self.faces
        names = ("x", "y", "z", "nx", "ny", "nz", "u", "v")
        header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(data)}"]
        header += [f"property float {name}" for name in names]
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        header += ["end_header", ""]
        path.write_bytes(
            "\n".join(header).encode() + data.astype("<f4").tobytes() + faces.tobytes()
        )


def vertex_normals(mesh: Mesh) -> Array:
    """Return area-weighted unit normals, [V, 3]; equal for vertices at the same place."""
    corners = mesh.vertices[mesh.faces]  # [F, 3, 3]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    _, place = np.unique(np.round(mesh.vertices, 7), axis=0, return_inverse=True)
    place = place.ravel() if mesh.smooth else np.arange(len(mesh.vertices))
    sums = np.zeros((place.max() + 1, 3))
    for corner in range(3):
        np.add.at(sums, place[mesh.faces[:, corner]], face_normals)
    normals = sums[place]
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def grid(points: Array, uv_scale: tuple[float, float] = (1.0, 1.0)) -> Mesh:
    """Mesh a grid of points [M, N, 3]; u runs along N, v along M."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    uv = np.stack([u * uv_scale[0], v * uv_scale[1]], -1).reshape(-1, 2)
    vertices = points.reshape(-1, 3)
    corners = vertices[faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    return Mesh(vertices, faces[area > 1e-14], uv)  # without the poles' empty triangles


def lathe(
    profile: Array, segments: int = 64, *, uv_scale: tuple[float, float] = (1.0, 1.0),
    ribs: tuple[int, float] = (0, 0.0),
) -> Mesh:  # fmt: skip
    """Turn a profile around the z axis; v follows the profile's arc length.

    Args:
        profile: [M, 2] (radius, z), m.
        segments: Steps around the axis.
        uv_scale: Texture repeats around and along.
        ribs: (number, relative depth) of waves around the axis.
    """
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    angle[-1] = 0.0  # exactly the first column again, so that the seam's normals join
    wave = 1.0 + ribs[1] * np.cos(ribs[0] * angle)
    radius = profile[:, :1] * wave
    z = np.broadcast_to(profile[:, 1:], radius.shape)
    mesh = grid(np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1))
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    uv = mesh.uv.copy()
    uv[:, 0] *= uv_scale[0]
    uv[:, 1] = np.repeat(arc / arc[-1], segments + 1) * uv_scale[1]
    return replace(mesh, uv=uv)


def rounded(corners: Sequence[Sequence[float]], radius: float, steps: int = 5) -> Array:
    """Replace the inner corners of a polyline [M, D] by quadratic curves of about ``radius``."""
    polyline = np.asarray(corners, dtype=np.float64)
    points = [polyline[0]]
    t = np.linspace(0, 1, steps)[:, None]
    for before, corner, after in zip(polyline[:-2], polyline[1:-1], polyline[2:], strict=True):
        reach = [
            min(radius, 0.5 * float(np.linalg.norm(end - corner))) / np.linalg.norm(end - corner)
            for end in (before, after)
        ]
        start = corner + reach[0] * (before - corner)
        end = corner + reach[1] * (after - corner)
        points.extend((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    points.append(polyline[-1])
    points_array = np.array(points)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(points_array, axis=0), axis=1) > 1e-9])
    return points_array[keep]


def tube(curve: Array, radius: float | Array, segments: int = 16, *, capped: bool = True) -> Mesh:
    """Sweep a circle along a curve [M, 3] with radius m or [M] m; v follows the curve."""
    curve = np.asarray(curve, dtype=np.float64)
    radius = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(curve)).copy()
    if capped:
        curve = np.concatenate([curve[:1], curve, curve[-1:]])
        radius = np.concatenate([[0.0], radius, [0.0]])
    tangent = np.gradient(curve, axis=0)
    tangent[0], tangent[-1] = tangent[1], tangent[-2]
    if capped:
        tangent[:2], tangent[-2:] = tangent[2], tangent[-3]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    sides = []
    for direction in tangent:  # parallel transport: no twist
        side = side - direction * (side @ direction)
        side = side / np.linalg.norm(side)
        sides.append(side)
    first = np.array(sides)
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    angle[-1] = 0.0
    ring = first[:, None] * np.cos(angle)[:, None] + second[:, None] * np.sin(angle)[:, None]
    return grid(curve[:, None] + radius[:, None, None] * ring)


def ribbon(curve: Array, width: Array, side: Array) -> Mesh:
    """A thin leaf: a curve [M, 3] widened by ``width`` [M] m along the unit vector ``side``."""
    offsets = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
    points = curve[:, None] + offsets[None, :, None] * width[:, None, None] * side
    points[..., 2] -= 0.25 * np.abs(offsets) * width[:, None]  # slightly folded along the middle
    return grid(points)


def sphere(radii: tuple[float, float, float], segments: int = 64) -> Mesh:
    """An ellipsoid around the origin."""
    angle = np.linspace(0, np.pi, segments // 2 + 1)
    profile = np.stack([np.sin(angle), -np.cos(angle)], -1)
    profile[[0, -1], 0] = 0.0
    return lathe(profile, segments).moved(np.diag(radii))


def box(low: Array, high: Array, *, uv_per_metre: float | None = None) -> Mesh:
    """An axis-aligned box with flat faces; each face carries the whole texture.

    Args:
        low: Corner, [3], m.
        high: Opposite corner, [3], m.
        uv_per_metre: If given, texture coordinates are lengths times this instead.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    vertices: list[Array] = []
    faces: list[list[int]] = []
    uv: list[Array] = []
    for axis in range(3):
        first, second = [(1, 2), (0, 2), (0, 1)][axis]
        for end in (low, high):
            start = 4 * len(vertices)
            corners = np.repeat(end[None], 4, axis=0)
            square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
            size = np.array([high[first] - low[first], high[second] - low[second]])
            corners[:, first] = low[first] + square[:, 0] * size[0]
            corners[:, second] = low[second] + square[:, 1] * size[1]
            vertices.append(corners)
            uv.append(square if uv_per_metre is None else square * size * uv_per_metre)
            outward = (axis != 1) == (end is high)
            order = [[0, 1, 2], [0, 2, 3]] if outward else [[0, 2, 1], [0, 3, 2]]
            faces.extend([[start + i for i in face] for face in order])
    return Mesh(
        np.concatenate(vertices), np.array(faces, dtype=np.int32), np.concatenate(uv), smooth=False
    )


def merged(*meshes: Mesh) -> Mesh:
    """Return one mesh of several that share a texture."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate(
            [mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]
        ).astype(np.int32),
        np.concatenate([mesh.uv for mesh in meshes]),
        smooth=all(mesh.smooth for mesh in meshes),
    )


def rotation(axis: int, degrees: float) -> Array:
    """Return the [3, 3] rotation about coordinate axis 0, 1 or 2."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix
