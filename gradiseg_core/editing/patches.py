"""A patch of the plane that an object stood on: what of it was never seen, and its colours.

Notation: a cell of the patch has coordinates (x, y) in the plane and a point p in the world. A view
sees a cell where nothing in the scene lies before p, up to a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.placing import Ground, refined_plane

#: Most cells along an edge of a patch.
MOST_CELLS = 192
#: How much more another plane must hold than the one that most things stand on.
_KNOWN = 3.0
#: Trials of RANSAC for a plane.
_TRIALS = 300
#: Least cosine between a plane and what is known to be up: 8 degrees. A plane that leans more goes
#: through something that stands beside it.
_UPRIGHT = 0.99
#: What carries a thing is seen around its foot in this many of so many directions. What stands
#: beside it is not: as far as is looked, even a straight side takes up less.
_SECTORS, _AROUND = 24, 11
#: A direction counts from this share of what there would be in it if all had as much.
_SOME = 0.25
#: Of what carries a thing at most this share rises above its foot.
_RISES = 0.3
#: Depth up to which something counts as the plane itself, in cells.
_TOLERANCE = 4.0
#: Cells around what is unknown whose colours are mixtures.
CLEAR = 3
#: What is nearer to the plane than this, in cells, stands on it or belongs to it.
_TOUCHES = 8.0


@dataclass(frozen=True)
class Patch:
    """A rectangle of a plane, in cells.

    Attributes:
        ground: The plane, training frame.
        corner: [3] the cell (0, 0)'s centre.
        cell: Edge of a cell, training frame.
        shape: (rows, columns): rows run along the plane's y.
    """

    ground: Ground
    corner: NDArray[np.float64]
    cell: float
    shape: tuple[int, int]

    @property
    def points(self) -> NDArray[np.float64]:
        """Centres of all cells, [rows, columns, 3]."""
        x, y, _ = self.ground.axes
        rows, columns = np.meshgrid(*map(np.arange, self.shape), indexing="ij")
        return self.corner + self.cell * (columns[..., None] * x + rows[..., None] * y)

    def cells(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cells [n, 2] (row, column) over or under points [n, 3]; may lie outside."""
        x, y, _ = self.ground.axes
        offsets = points - self.corner
        return np.stack([offsets @ y, offsets @ x], axis=1) / self.cell

    def inside(self, points: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of points [n, 3] lie over or under chosen cells [rows, columns]."""
        place = np.round(self.cells(points)).astype(np.int64)
        fits = ((place >= 0) & (place < self.shape)).all(axis=1)
        result = np.zeros(len(points), bool)
        result[fits] = chosen[tuple(place[fits].T)]
        return result

    def thickness(self, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far before the plane something counts as the plane itself, along rays.

        Args:
            cosine: Of rays with the normal: along one that grazes, a height is a longer way.
        """
        return _TOLERANCE * self.cell / np.maximum(cosine, 0.1)


def on_plane(
    patch: Patch, camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return where the ray of every pixel meets a patch's plane.

    Returns:
        The cell (row, column), [2, h, w], which may lie outside; the depth in the camera, [h, w],
        not positive where the plane is behind it; and up to which smaller depth, [h, w], something
        still counts as the plane.
    """
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(camera.K).T
    directions = rays @ camera.cam_from_world[:3, :3]  # world; of camera-space depth 1
    eye = camera.center_in_world
    slope = directions @ patch.ground.normal
    depth = -patch.ground.height(eye) / np.where(np.abs(slope) < 1e-9, 1e-9, slope)
    place = patch.cells((eye + depth[..., None] * directions).reshape(-1, 3)).T
    cosine = np.abs(slope) / np.linalg.norm(directions, axis=-1)
    return place.reshape(2, *depth.shape), depth, patch.thickness(cosine)


def surrounds(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    middle: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> bool:
    """Whether points lie around a place, seen along a normal, rather than beside it.

    Args:
        points: [n, 3].
        weights: [n], how much surface each covers.
        middle: [3], the place.
        normal: [3], unit length.
    """
    x, y, _ = Ground(normal, 0.0, "").axes
    way = points - middle
    angle = np.arctan2(way @ y, way @ x) / (2.0 * np.pi)
    sector = np.floor(angle * _SECTORS).astype(np.int64) % _SECTORS
    sums = np.bincount(sector, weights, _SECTORS)
    return bool((sums > _SOME * sums.mean()).sum() >= _AROUND)


def beside(
    points: NDArray[np.float64],
    ids: NDArray[np.int64],
    weights: NDArray[np.float64],
    high: NDArray[np.bool_],
    middle: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which Gaussians belong to what stands beside a thing, [n]: it rises above its foot.

    Args:
        points: [n, 3] around the thing.
        ids: [n], their IDs.
        weights: [n], how much surface each covers.
        high: [n], those that are too high to carry it.
        middle: [3], of the thing.
        normal: [3], up.
    """
    result = np.zeros(len(points), bool)
    for index in np.unique(ids):
        own = ids == index
        low = own & ~high
        if weights[own & high].sum() <= _RISES * weights[own].sum():
            continue
        if not surrounds(points[low], weights[low], middle, normal):
            result |= own
    return result


def local_ground(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    near: float,
    known: Ground | None,
    middle: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Ground | None:
    """Return the plane that surrounds the foot of an object.

    Args:
        points: [n, 3] opaque Gaussians around it.
        weights: [n], how much surface each covers.
        near: Distance up to which a point is on a plane.
        known: What most things stand on; it is taken unless another plane, as level as it, holds
            far more.
        middle: [3], of the object; another plane must surround it. None: it need not.
        seed: Of RANSAC's trials.

    Returns:
        The plane that holds most; None for fewer than 6 points.
    """
    if len(points) < 6:
        return None
    up = None if known is None else known.normal
    generator = np.random.default_rng(seed)
    best, plane = 0.0, None
    if known is not None:
        level = np.abs(known.height(points)) < near
        best = _KNOWN * float(weights[level].sum())
        plane = (points[level].mean(axis=0), known.normal) if level.any() else None
    for a, b, c in points[generator.integers(0, len(points), (_TRIALS, 3))]:
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < near * near:
            continue
        normal = normal / length
        if up is not None:
            normal = normal * np.sign(normal @ up)
            if normal @ up < _UPRIGHT:
                continue
        on = np.abs((points - a) @ normal) < near
        agree = float(weights[on].sum())
        if agree <= best:
            continue
        if middle is None or surrounds(points[on], weights[on], middle, normal):
            best, plane = agree, (a, normal)
    if plane is None:
        return None
    point, normal = plane
    point, fitted = refined_plane(points, point, normal, near, rounds=3, least=4)
    # A strip of a plane, between other things, does not say how it leans.
    if up is None or fitted @ up >= _UPRIGHT:
        normal = fitted
    return Ground(normal, float(normal @ point), "local")


def patch_around(points: NDArray[np.float64], ground: Ground, cell: float, margin: float) -> Patch:
    """Return the patch below points [n, 3] and a margin around it.

    Args:
        points: What stood there.
        ground: The plane.
        cell: Wanted edge of a cell; larger where there would be too many.
        margin: Around the points.
    """
    x, y, normal = ground.axes
    along = points @ np.stack([x, y]).T
    low, high = np.quantile(along, [0.005, 0.995], axis=0)
    low, high = low - margin, high + margin
    cell = max(cell, float((high - low).max()) / (MOST_CELLS - 1))
    columns, rows = (int(np.ceil(extent / cell)) + 1 for extent in high - low)
    corner = low[0] * x + low[1] * y + ground.offset * normal
    return Patch(ground, corner, cell, (rows, columns))


def seen_cells(
    patch: Patch, camera: Camera, depth: NDArray[np.float32], alpha: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which cells a view sees, [rows, columns], and the pixels they are at, [..., 2].

    Args:
        patch: The patch.
        camera: The view.
        depth: [h, w] of the scene.
        alpha: [h, w] of the scene; what is not covered hides nothing, but shows nothing either.
    """
    in_camera = patch.points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
    z = in_camera[..., 2]
    safe = np.where(z > 0, z, 1.0)
    column = np.floor(camera.K[0, 0] * in_camera[..., 0] / safe + camera.K[0, 2])
    row = np.floor(camera.K[1, 1] * in_camera[..., 1] / safe + camera.K[1, 2])
    fits = (z > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    pixel = np.stack([np.where(fits, row, 0), np.where(fits, column, 0)], axis=-1).astype(np.int64)
    direction = patch.points - camera.center_in_world
    cosine = np.abs(direction @ patch.ground.normal) / np.linalg.norm(direction, axis=-1)
    at = pixel[..., 0], pixel[..., 1]
    return fits & (depth[at] >= z - patch.thickness(cosine)) & (alpha[at] > 0.5), pixel


def footprint(patch: Patch, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the cells below points [n, 3], [rows, columns], and two around each."""
    from scipy.ndimage import binary_dilation

    place = np.round(patch.cells(points)).astype(np.int64)
    fits = ((place >= 0) & (place < patch.shape)).all(axis=1)
    result = np.zeros(patch.shape, bool)
    result[tuple(place[fits].T)] = True
    grown: NDArray[np.bool_] = binary_dilation(result, iterations=2)
    return grown


def support_id(
    patch: Patch,
    points: NDArray[np.float64],
    ids: NDArray[np.int64],
    surface: NDArray[np.float64],
) -> int | None:
    """Return the ID of what carries things on the patch; None where nothing lies in its plane.

    It makes most surface there, and lies there with most of its surface: what stands on the plane
    touches it with its foot alone.

    Args:
        patch: The patch.
        points: [n, 3], centres of opaque Gaussians.
        ids: [n], their IDs.
        surface: [n], how much each covers. There may be more of them in a thing beside it.
    """
    height = np.abs(patch.ground.height(points))
    inside = patch.inside(points, np.ones(patch.shape, bool))
    inside &= height < max(patch.shape) * patch.cell
    flat = inside & (height < 0.5 * _TOUCHES * patch.cell)
    if not flat.any():
        return None
    level = np.bincount(ids[flat], surface[flat], minlength=int(ids.max()) + 1)
    whole = np.bincount(ids[inside], surface[inside], minlength=len(level))
    return int((level**2 / np.maximum(whole, 1e-300)).argmax())


def occupied(
    patch: Patch, points: NDArray[np.float64], ids: NDArray[np.int64], support: int | None
) -> NDArray[np.bool_]:
    """Return the cells that other things stand on or touch, [rows, columns].

    What views show there is theirs, and their own shadow; it says nothing of the support.

    Args:
        patch: The patch.
        points: [n, 3], centres of opaque Gaussians.
        ids: [n], their IDs.
        support: That of the support; None: nothing is known of it.
    """
    from scipy.ndimage import binary_dilation

    if support is None:
        return np.zeros(patch.shape, bool)
    height = np.abs(patch.ground.height(points))
    inside = patch.inside(points, np.ones(patch.shape, bool)) & (height < _TOUCHES * patch.cell)
    others = footprint(patch, points[inside & (ids != support)])
    grown: NDArray[np.bool_] = binary_dilation(others, iterations=CLEAR)
    return grown


def under(patch: Patch, points: NDArray[np.float64], cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected parts of cells that lie below points, [rows, columns].

    Args:
        patch: The patch.
        points: [n, 3], of what was removed.
        cells: [rows, columns]; what hangs together by a cell's width is not connected.
    """
    from scipy.ndimage import binary_dilation, binary_opening, label

    core = binary_opening(cells)
    part, count = label(core)
    chosen = np.unique(part[footprint(patch, points) & core])
    kept = np.isin(part, chosen[chosen > 0]) if count else np.zeros(patch.shape, bool)
    return binary_dilation(kept) & cells


def inpainted(
    colours: NDArray[np.float64], known: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return colours [rows, columns, 3] with the wanted cells filled from known ones.

    Biharmonic inpainting (Damelin and Hoang 2018; scikit-image's) of smoothed colours: a speck at
    the rim would grow into a beam. Colours come from cells that are clear of everything unknown,
    since rims are mixtures, and that are no outliers of their surroundings: those are other things.

    Args:
        colours: [rows, columns, 3].
        known: [rows, columns].
        wanted: [rows, columns], cells to fill; none is known.

    Raises:
        ValueError: If nothing is known.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.restoration import inpaint_biharmonic

    source = sources(colours, known, wanted)
    rows, columns = np.nonzero(wanted)
    ring = 2 * CLEAR + 4
    box = np.s_[
        max(rows.min() - ring, 0) : rows.max() + ring + 1,
        max(columns.min() - ring, 0) : columns.max() + ring + 1,
    ]
    if not source[box].any():
        box = np.s_[:, :]
    weight = gaussian_filter(source.astype(np.float64), 1.5)[..., None]
    total = gaussian_filter(np.where(source[..., None], colours, 0.0), (1.5, 1.5, 0.0))
    smooth = total / np.maximum(weight, 1e-9)
    low, high = np.quantile(smooth[source], [0.02, 0.98], axis=0)
    result = inpaint_biharmonic(
        np.where(source[..., None], smooth, 0.0)[box], ~source[box], channel_axis=-1
    )
    filled = colours.copy()
    filled[box] = np.where(wanted[box][..., None], np.clip(result, low, high), colours[box])
    return filled


def sources(
    colours: NDArray[np.float64], known: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the cells [rows, columns] that colours are taken from, as :func:`inpainted` says.

    Raises:
        ValueError: If nothing is known.
    """
    from scipy.ndimage import binary_dilation, binary_erosion

    if not known.any():
        raise ValueError("nothing is known around what is to be filled")
    clear = binary_erosion(known, iterations=CLEAR, border_value=1)
    near = clear & binary_dilation(wanted, iterations=4 * CLEAR)
    if near.sum() < 20:
        return clear if clear.any() else known
    middle = np.median(colours[near], axis=0)
    distance = np.linalg.norm(colours - middle, axis=-1)
    usual = np.median(distance[near])
    chosen = clear & (distance <= 3.0 * usual + 0.02)
    return chosen if (chosen & near).any() else clear
