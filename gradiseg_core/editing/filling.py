"""The hole that an object leaves: new Gaussians where no training view saw anything.

1. The plane around the object's foot is what it stood on; its nearest surroundings are a patch of
   cells (:mod:`.patches`).
2. A cell that some training view saw is real, and stays as it was trained, but for the light that
   the object's shadow took (:mod:`.shading`). A cell that no view saw and that the removal exposes
   is the hole, and so is what lies in deep shadow. What lies there was never trained, and goes.
3. Colours of the hole are inpainted on the patch from the seen cells around it, once for all views.
4. New Gaussians, flat in the plane, one a cell of a coarser grid, take these colours and the
   encodings of their nearest neighbours in the surroundings.
5. They alone are optimised, against the views with the patch drawn into them.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.painting import Painter
from gradiseg_core.editing.patches import (
    Patch,
    footprint,
    local_ground,
    occupied,
    on_plane,
    patch_around,
    seen_cells,
    under,
)
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.removal import Sight, window
from gradiseg_core.editing.rendering import (
    in_sight,
    part_of,
    rasterized,
    rasterizer_for,
    with_values,
)
from gradiseg_core.editing.shading import DARK, light_left, lightened
from gradiseg_core.editing.transforms import quaternion
from gradiseg_core.splatting.gaussians import PARAMETERS
from gradiseg_core.splatting.rasterization.reference import SH_C0

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene

logger = logging.getLogger(__name__)

#: Pixels that near to the object's show a mixture of both.
_RIM_PX = 5
#: Views that new Gaussians are optimised against, at most.
MOST_VIEWS = 10
_ITERATIONS = 100
#: Distance of new Gaussians, in cells, and their standard deviation, in distances.
_STEP, _SIGMA = 2, 0.6
_OPACITY = 0.95
_RATES = {"sh0": 0.01, "opacities": 0.02, "scales": 0.005}
#: Surroundings of an object, in diagonals around it: of its foot, and as far as its shadow fades.
_AROUND, _FADES = 0.4, 0.6


@dataclass(frozen=True)
class Hole:
    """What is to be filled.

    Attributes:
        patch: Where.
        cells: [rows, columns], those that no view saw and that are exposed, and the dark ones.
        dark: [rows, columns], those of them that were seen, in deep shadow.
        colours: [rows, columns, 3] of all cells, without shadow; those of the hole inpainted.
        left: [rows, columns] light that the object's shadow left; 1 where it is to stay.
    """

    patch: Patch
    cells: NDArray[np.bool_]
    dark: NDArray[np.bool_]
    colours: NDArray[np.float64]
    left: NDArray[np.float64]


@torch.no_grad()
def find_hole(
    scene: Scene,
    removed: NDArray[np.float64],
    views: list[Sight],
    paint: Painter,
    *,
    shadow: bool = True,
    ground: Ground | None = None,
) -> tuple[Hole | None, str]:
    """Return what a removal exposed that no training view saw, and what lies in its shadow.

    Args:
        scene: Without the object.
        removed: [n, 3] centres of what was removed, training frame.
        views: What training views showed of the object, before it was removed.
        paint: What makes the hole's colours of those around it.
        shadow: Whether its shadow goes.
        ground: The plane, training frame; None: the one around its foot.

    Returns:
        The hole and an empty text; or None and why there is nothing to fill.
    """
    from scipy.ndimage import maximum_filter

    if not views:
        return None, "no training view shows it"
    trained, rasterizer = scene.trained, rasterizer_for(scene.trained)
    points = trained.means.cpu().numpy().astype(np.float64)
    opacities = trained.opacities.sigmoid().cpu().numpy()
    low, high = np.quantile(removed, [0.01, 0.99], axis=0)
    diagonal = float(np.linalg.norm(high - low))
    if ground is None:
        ground = _ground_of(scene, removed, points, opacities, diagonal)
    if ground is None:
        return None, "no plane was found that it stood on"
    cell = float(np.median([_pixel(view, 0.5 * (low + high)) for view in views]))
    patch = patch_around(removed, ground, cell, _FADES * diagonal)
    seen = np.zeros(patch.shape, bool)
    exposed = np.zeros(patch.shape, bool)
    total = np.zeros((*patch.shape, 3))
    count = np.zeros(patch.shape)
    for view in views:
        before, pixel = seen_cells(patch, view.camera, view.depth, view.alpha)
        at = pixel[..., 0], pixel[..., 1]
        before &= maximum_filter(view.shows, _RIM_PX)[at] < 0.1
        part = part_of(trained, in_sight(trained, view.camera))
        result = rasterized(part, view.camera, rasterizer, with_depth=True)
        assert result.depth is not None
        colour = result.color.cpu().numpy()
        depth = result.depth.cpu().numpy()
        alpha = result.alpha.cpu().numpy()
        total[before] += colour[at][before]
        count += before
        seen |= before
        # Where nothing is left, or only what lies on the plane or behind it, the view looks at it.
        open_, _ = seen_cells(patch, view.camera, np.where(alpha > 0.5, depth, np.inf),
                              np.ones_like(alpha))  # fmt: skip
        exposed |= open_
    if not seen.any():
        return None, "no training view saw anything of what it stood on"
    colours = total / np.maximum(count, 1.0)[..., None]
    left = np.ones(patch.shape)
    solid = opacities > 0.3
    known = seen & ~occupied(patch, points[solid], scene.ids[solid])
    if shadow:
        left = light_left(patch, colours, known, footprint(patch, removed), diagonal)
    dark = left < DARK
    colours /= np.maximum(left, DARK)[..., None]
    cells = under(patch, removed, (exposed & ~seen) | dark)
    if not cells.any() and left.min() > 0.99:
        return None, "training views saw all that it hid"
    if cells.any():
        colours = paint(colours, (known if known.any() else seen) & ~dark, cells)
    return Hole(patch, cells, dark & cells, colours, left), ""


def known_ground(scene: Scene) -> Ground | None:
    """Return what most things stand on, training frame; None where it is unknown."""
    known = scene.ground
    if known is None:
        return None
    point = scene.to_training(known.offset * known.normal)
    return Ground(known.normal, float(known.normal @ point), known.source)


def _ground_of(
    scene: Scene,
    removed: NDArray[np.float64],
    points: NDArray[np.float64],
    opacities: NDArray[np.float32],
    diagonal: float,
) -> Ground | None:
    """Return the plane around the foot of what was removed."""
    known = known_ground(scene)
    low, high = removed.min(axis=0), removed.max(axis=0)
    reach = _AROUND * diagonal
    near = ((points > low - reach) & (points < high + reach)).all(axis=1) & (opacities > 0.3)
    if known is not None:
        height, lowest = points @ known.normal, float(np.quantile(removed @ known.normal, 0.03))
        # What stands beside it is no support; neither is what lies far below.
        near &= (height < lowest + 0.1 * diagonal) & (height > lowest - 0.3 * diagonal)
    sizes = scene.trained.scales.exp().sort(dim=1).values[:, 1:].prod(dim=1).cpu().numpy()
    weights = (opacities * sizes).astype(np.float64)
    return local_ground(points[near], weights[near], 0.03 * diagonal, known)


def _pixel(view: Sight, point: NDArray[np.float64]) -> float:
    """Return how large a pixel is at a point, training frame."""
    pose = view.camera.cam_from_world
    return float(abs(pose[2, :3] @ point + pose[2, 3]) / view.camera.K[0, 0])


@torch.no_grad()
def new_gaussians(scene: Scene, hole: Hole) -> dict[str, Tensor]:
    """Return the parameters of Gaussians that close a hole."""
    from scipy.ndimage import binary_dilation
    from scipy.spatial import cKDTree

    trained, patch = scene.trained, hole.patch
    grid = np.zeros(patch.shape, bool)
    grid[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP] = True
    chosen = grid & binary_dilation(hole.cells)
    if not chosen.any():
        chosen = hole.cells
    places = patch.points[chosen]
    points = trained.means.cpu().numpy().astype(np.float64)
    flat = np.abs(patch.ground.height(points)) < 4.0 * patch.cell
    donors = np.flatnonzero(flat) if flat.any() else np.arange(len(points))
    _, index = cKDTree(points[donors]).query(places)
    donor = torch.from_numpy(donors[index]).to(trained.means.device)
    count, like = len(places), trained.means
    sigma = _SIGMA * _STEP * patch.cell
    scales = np.log([sigma, sigma, 0.2 * sigma])
    turn = quaternion(patch.ground.axes.T)
    return {
        "means": torch.from_numpy(places).to(like),
        "quats": torch.from_numpy(np.tile(turn, (count, 1))).to(like),
        "scales": torch.from_numpy(np.tile(scales, (count, 1))).to(like),
        "opacities": like.new_full((count,), math.log(_OPACITY / (1.0 - _OPACITY))),
        "sh0": torch.from_numpy((hole.colours[chosen] - 0.5) / SH_C0).to(like)[:, None],
        "shN": like.new_zeros(count, 15, 3),
        "identities": trained.identities[donor],
    }


def fill(scene: Scene, hole: Hole, views: list[Sight]) -> tuple[Scene, dict[str, Any]]:
    """Return the scene with its hole closed and the shadow gone, and what was done.

    Args:
        scene: Without the object.
        hole: What to fill.
        views: Views of the object, before it was removed.
    """
    chosen = _spread(views, MOST_VIEWS)
    done: dict[str, Any] = {"cells": int(hole.cells.sum()), "shadow": int((hole.left < 0.99).sum())}
    if hole.left.min() < 0.99:
        cameras = [view.camera for view in chosen]
        sh0, shN, done["lightened"] = lightened(scene.trained, hole.patch, hole.left, cameras)
        values = {**scene.values, "sh0": sh0, "shN": shN}
        scene = scene.changed(values, np.arange(len(scene)))
    if not hole.cells.any():
        return scene, done | {"new": 0}
    stale = _stale(scene, hole)
    scene = scene.kept(~stale)
    rest = {name: getattr(scene.trained, name) for name in PARAMETERS}
    new = new_gaussians(scene, hole)
    losses = _optimise(scene, rest, new, hole, chosen)
    done |= {
        "new": len(new["means"]),
        "never_seen_removed": int(stale.sum()),
        "loss": [round(value, 5) for value in losses],
    }
    return scene.joined(new), done


def _stale(scene: Scene, hole: Hole) -> NDArray[np.bool_]:
    """Return which Gaussians lie in the hole, [N]: untrained ones, and the support in the dark."""
    points = scene.trained.means.cpu().numpy().astype(np.float64)
    flat = np.abs(hole.patch.ground.height(points)) < 6.0 * hole.patch.cell
    support = scene.ids[flat & hole.patch.inside(points, hole.left >= DARK)]
    result = flat & hole.patch.inside(points, hole.cells & ~hole.dark)
    if len(support):
        same = scene.ids == np.bincount(support).argmax()
        result |= flat & hole.patch.inside(points, hole.dark) & same
    return result


def _spread(views: list[Sight], most: int) -> list[Sight]:
    if len(views) <= most:
        return views
    return [views[round(i * (len(views) - 1) / (most - 1))] for i in range(most)]


def _optimise(
    scene: Scene,
    rest: dict[str, Tensor],
    new: dict[str, Tensor],
    hole: Hole,
    views: list[Sight],
) -> tuple[float, float]:
    """Fit colours, opacities and sizes of new Gaussians in place; return first and last loss."""
    trained, rasterizer = scene.trained, rasterizer_for(scene.trained)
    chosen = [t for view in views if (t := _target(scene, rest, hole, view)) is not None]
    if not chosen:
        return 0.0, 0.0
    free = {name: new[name].clone().requires_grad_() for name in _RATES}
    optimizer = torch.optim.Adam(
        [{"params": [free[name]], "lr": rate} for name, rate in _RATES.items()], eps=1e-15
    )
    losses = []
    for step in range(_ITERATIONS):
        target = chosen[step % len(chosen)]
        values = {
            name: torch.cat([target.around[name], {**new, **free}[name]]) for name in PARAMETERS
        }
        result = rasterized(with_values(trained, values), target.camera, rasterizer)
        error = (result.color - target.colour).abs().sum(dim=-1)
        loss = (error * target.weight).sum() / target.weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    new.update({name: value.detach() for name, value in free.items()})
    return float(np.mean(losses[: len(chosen)])), float(np.mean(losses[-len(chosen) :]))


@dataclass(frozen=True)
class _Target:
    """What new Gaussians are optimised against in one view.

    Attributes:
        camera: The view.
        around: Parameters of the old Gaussians that it shows.
        colour: [h, w, 3], the view with the hole's colours drawn into it.
        weight: [h, w], 1 for pixels that count.
    """

    camera: Camera
    around: dict[str, Tensor]
    colour: Tensor
    weight: Tensor


@torch.no_grad()
def _target(scene: Scene, rest: dict[str, Tensor], hole: Hole, view: Sight) -> _Target | None:
    """Return a view's target; None where the view does not show the hole."""
    from scipy.ndimage import binary_dilation, map_coordinates

    camera, patch = view.camera, hole.patch
    trained = with_values(scene.trained, rest)
    trained = part_of(trained, in_sight(trained, camera))
    result = rasterized(trained, camera, rasterizer_for(trained), with_depth=True)
    assert result.depth is not None
    colour, depth = result.color.cpu().numpy().copy(), result.depth.cpu().numpy()
    alpha = result.alpha.cpu().numpy()
    place, distance, tolerance = on_plane(patch, camera)
    inside = map_coordinates(hole.cells.astype(float), place, order=1) > 0.5
    # The junk that lay in the hole is gone from `rest`: what is left before the plane hides it.
    hidden = (alpha > 0.5) & (depth < distance - tolerance)
    drawn = inside & (distance > 0) & ~hidden
    if drawn.sum() < 4:
        return None
    texture = np.stack(
        [map_coordinates(hole.colours[..., c], place, order=1, mode="nearest") for c in range(3)],
        axis=-1,
    )
    colour[drawn] = texture[drawn]
    counts = binary_dilation(drawn, iterations=3) & ~hidden
    # What is optimised shows in a small part of the view alone.
    rows, columns = ((int(used.min()), int(used.max()) + 1) for used in np.nonzero(counts))
    part = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
    camera = window(camera, rows, columns)
    visible = in_sight(trained, camera)
    around = {name: getattr(trained, name)[visible] for name in PARAMETERS}
    like = trained.means
    weight = torch.from_numpy(counts[part]).to(like)
    return _Target(camera, around, torch.from_numpy(colour[part].copy()).to(like), weight)
