"""The hole that an object leaves: new Gaussians where no training view saw anything.

1. The plane around the object's foot is what it stood on; its nearest surroundings are a patch of
   cells (:mod:`.patches`).
2. A cell that some training view saw is real, and stays as it was trained, but for the light that
   the object's shadow took (:mod:`.shading`). A cell that no view saw and that the removal exposes
   is the hole, and so is what lies in deep shadow. What lies there was never trained, and goes.
3. Colours of the hole are inpainted on the patch from the seen cells around it, once for all views.
4. New Gaussians, flat in the plane, one a cell of a coarser grid, take these colours and the
   encodings of their nearest neighbours in the support.
5. They are optimised, and of the support around them the colours, against the views with the patch
   drawn into them: photographs show neither the hole nor, from where the object hid it, the rest.
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
    CLEAR,
    Patch,
    beside,
    footprint,
    local_ground,
    occupied,
    on_plane,
    patch_around,
    seen_cells,
    support_id,
    under,
)
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.removal import Sight, window
from gradiseg_core.editing.rendering import (
    in_sight,
    part_of,
    rasterized,
    rasterizer_for,
    surface,
    with_values,
)
from gradiseg_core.editing.shading import DARK, light_left, lightened
from gradiseg_core.editing.transforms import quaternion
from gradiseg_core.splatting.gaussians import PARAMETERS
from gradiseg_core.splatting.labels import CHANNELS
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
#: The same of the support around them.
_PAINTED = {"sh0": 0.01, "shN": 0.001}
#: Share of a pixel that the support makes, from which on it shows the support's colour.
_PURE = 0.9
#: A cell with less light than this is in shadow.
_FULL = 0.99
#: The foot of what comes to stand there, in heights of it.
_FOOT = 0.1
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
        known: [rows, columns], cells of the support whose colours some view saw.
        behind: [rows, columns], cells that some view sees now and did not see before.
        support: ID of what it is a hole of.
    """

    patch: Patch
    cells: NDArray[np.bool_]
    dark: NDArray[np.bool_]
    colours: NDArray[np.float64]
    left: NDArray[np.float64]
    known: NDArray[np.bool_]
    behind: NDArray[np.bool_]
    support: int | None

    @property
    def renewed(self) -> NDArray[np.bool_]:
        """The hole, the support around it and what was in shadow, [rows, columns].

        These cells are to look as :attr:`colours` says.
        """
        from scipy.ndimage import binary_dilation

        around = binary_dilation(self.cells, iterations=2 * CLEAR) | (self.left < _FULL)
        around |= self.behind
        return self.cells | (self.known & around)


@torch.no_grad()
def find_hole(
    scene: Scene,
    removed: NDArray[np.float64],
    views: list[Sight],
    paint: Painter,
    *,
    shadow: bool = True,
    ground: Ground | None = None,
    covered: NDArray[np.float64] | None = None,
) -> tuple[Hole | None, str]:
    """Return what a removal exposed that no training view saw, and what lies in its shadow.

    Args:
        scene: Without the object.
        removed: [n, 3] centres of what was removed, training frame.
        views: What training views showed of the object, before it was removed.
        paint: What makes the hole's colours of those around it.
        shadow: Whether its shadow goes.
        ground: The plane, training frame; None: the one around its foot.
        covered: [m, 3] centres of what comes to stand there, training frame. Below its foot no
            light falls: what is filled in there is dark, or would shine through it.

    Returns:
        The hole and an empty text; or None and why there is nothing to fill.
    """
    from scipy.ndimage import (
        binary_dilation,
        distance_transform_edt,
        gaussian_filter,
        maximum_filter,
    )

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
    behind = np.zeros(patch.shape, bool)
    total = np.zeros((*patch.shape, 3))
    count = np.zeros(patch.shape)
    solid = opacities > 0.3
    features = trained.means.new_zeros(len(points), CHANNELS)
    support = support_id(patch, points[solid], scene.ids[solid], surface(scene.values)[solid])
    features[:, 0] = torch.from_numpy(scene.ids == support)
    for view in views:
        before, pixel = seen_cells(patch, view.camera, view.depth, view.alpha)
        at = pixel[..., 0], pixel[..., 1]
        before &= maximum_filter(view.shows, _RIM_PX)[at] < 0.1
        rows = in_sight(trained, view.camera)
        part = part_of(trained, rows)
        result = rasterized(part, view.camera, rasterizer, features[rows], with_depth=True)
        assert result.depth is not None
        colour = result.color.cpu().numpy()
        share = result.identity[..., 0].cpu().numpy()
        depth = result.depth.cpu().numpy()
        alpha = result.alpha.cpu().numpy()
        # Where another thing shows through, colours are not the support's.
        pure = before & (share[at] > _PURE)
        total[pure] += colour[at][pure]
        count += pure
        seen |= before
        # Where nothing is left, or only what lies on the plane or behind it, the view looks at it.
        open_, _ = seen_cells(patch, view.camera, np.where(alpha > 0.5, depth, np.inf),
                              np.ones_like(alpha))  # fmt: skip
        exposed |= open_
        behind |= open_ & ~before
    if not count.any():
        return None, "no training view saw anything of what it stood on"
    colours = total / np.maximum(count, 1.0)[..., None]
    left = np.ones(patch.shape)
    others = occupied(patch, points[solid], scene.ids[solid], support)
    known = (count > 0) & ~others
    if shadow:
        left = light_left(patch, colours, known, footprint(patch, removed), diagonal)
    dark = left < DARK
    colours /= np.maximum(left, DARK)[..., None]
    cells = under(patch, removed, (exposed & ~seen) | dark)
    if not cells.any() and left.min() > _FULL:
        return None, "training views saw all that it hid"
    if cells.any():
        # Cells around it were seen as mixtures with the object and with what lies unseen.
        cells |= binary_dilation(cells, iterations=CLEAR) & seen & ~others
        colours = paint(colours, (known if known.any() else count > 0) & ~dark, cells)
    # What is drawn at a rim takes colours from beyond it.
    _, nearest = distance_transform_edt(~(known | cells), return_indices=True)
    colours = colours[tuple(nearest)]
    if covered is not None:
        contact = gaussian_filter(_foot_of(covered, patch).astype(np.float64), CLEAR)
        colours *= (1.0 - (1.0 - DARK) * contact)[..., None]
    return Hole(patch, cells, dark & cells, colours, left, known & ~cells, behind, support), ""


def _foot_of(points: NDArray[np.float64], patch: Patch) -> NDArray[np.bool_]:
    """Return the cells that a thing stands on, [rows, columns]; a ball is wider than its foot."""
    from skimage.morphology import convex_hull_image

    height = patch.ground.height(points)
    low, high = np.quantile(height, [0.03, 0.97])
    foot = footprint(patch, points[height <= low + _FOOT * (high - low)])
    hull: NDArray[np.bool_] = convex_hull_image(foot) if foot.any() else foot
    return hull


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
    solid, covers, close = opacities > 0.3, surface(scene.values), 0.03 * diagonal
    near = ((points > low - reach) & (points < high + reach)).all(axis=1) & solid
    if known is None:
        return local_ground(points[near], covers[near], close, None)
    level = solid & (np.abs(known.height(points)) < close)
    main = np.bincount(scene.ids[level], covers[level]).argmax() if level.any() else -1
    middle, lowest = 0.5 * (low + high), float(np.quantile(removed @ known.normal, 0.03))
    points, covers, ids = points[near], covers[near], scene.ids[near]
    height = points @ known.normal
    above = height > lowest + 0.1 * diagonal
    # What stands beside it is no support; neither is what lies far below.
    others = beside(points, ids, covers, above, middle, known.normal) & (ids != main)
    fits = ~above & ~others & (height > lowest - 0.3 * diagonal)
    found = local_ground(points[fits], covers[fits], close, known, middle)
    if found is None and -0.1 * diagonal < lowest - known.offset < 0.3 * diagonal:
        return known  # nothing is seen of it here
    return found


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
    flat &= scene.ids == hole.support
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
    shaded = hole.left < _FULL
    done: dict[str, Any] = {"cells": int(hole.cells.sum()), "shadow": int(shaded.sum())}
    if shaded.any():
        cameras = [view.camera for view in chosen]
        sh0, shN, done["lightened"] = lightened(scene.trained, hole.patch, hole.left, cameras)
        values = {**scene.values, "sh0": sh0, "shN": shN}
        scene = scene.changed(values, np.arange(len(scene)))
    stale = _stale(scene, hole)
    scene = scene.kept(~stale)
    new = new_gaussians(scene, hole)
    scene, losses = _optimised(scene, new, hole, chosen)
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
    dark = flat & hole.patch.inside(points, hole.dark) & (scene.ids == hole.support)
    return dark | (flat & hole.patch.inside(points, hole.cells & ~hole.dark))


def _spread(views: list[Sight], most: int) -> list[Sight]:
    if len(views) <= most:
        return views
    return [views[round(i * (len(views) - 1) / (most - 1))] for i in range(most)]


def _optimised(
    scene: Scene, new: dict[str, Tensor], hole: Hole, views: list[Sight]
) -> tuple[Scene, tuple[float, float]]:
    """Fit new Gaussians in place, and the colours of the support around them.

    Returns:
        The scene in its new colours; the first and the last loss.
    """
    trained, rasterizer = scene.trained, rasterizer_for(scene.trained)
    support = torch.from_numpy(np.flatnonzero(_support(scene, hole))).to(trained.means.device)
    chosen = [t for view in views if (t := _target(scene, support, hole, view)) is not None]
    if not chosen:
        return scene, (0.0, 0.0)
    free = {name: new[name].clone().requires_grad_() for name in _RATES}
    painted = {name: getattr(trained, name)[support].clone().requires_grad_() for name in _PAINTED}
    groups = [{"params": [free[name]], "lr": rate} for name, rate in _RATES.items()]
    groups += [{"params": [painted[name]], "lr": rate} for name, rate in _PAINTED.items()]
    optimizer = torch.optim.Adam(groups, eps=1e-15)
    losses = []
    for step in range(_ITERATIONS):
        target = chosen[step % len(chosen)]
        around = dict(target.around)
        for name, value in painted.items():
            around[name] = around[name].index_copy(0, target.places, value[target.support])
        values = {name: torch.cat([around[name], {**new, **free}[name]]) for name in PARAMETERS}
        result = rasterized(with_values(trained, values), target.camera, rasterizer)
        error = (result.color - target.colour).abs().sum(dim=-1)
        loss = (error * target.weight).sum() / target.weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    new.update({name: value.detach() for name, value in free.items()})
    values = dict(scene.values)
    for name, value in painted.items():
        values[name] = values[name].index_copy(0, support, value.detach())
    scene = scene.changed(values, np.arange(len(scene)))
    n = len(chosen)
    return scene, (float(np.mean(losses[:n])), float(np.mean(losses[-n:])))


def _support(scene: Scene, hole: Hole) -> NDArray[np.bool_]:
    """Return which Gaussians are the support where it is to look otherwise, [N]."""
    points = scene.trained.means.cpu().numpy().astype(np.float64)
    flat = np.abs(hole.patch.ground.height(points)) < 6.0 * hole.patch.cell
    return flat & (scene.ids == hole.support) & hole.patch.inside(points, hole.renewed)


@dataclass(frozen=True)
class _Target:
    """What new Gaussians are optimised against in one view.

    Attributes:
        camera: The view.
        around: Parameters of the old Gaussians that it shows.
        places: [k] rows of these that are the support.
        support: [k] which of the support's they are.
        colour: [h, w, 3], the view with the patch's colours drawn into it.
        weight: [h, w], 1 for pixels that count.
    """

    camera: Camera
    around: dict[str, Tensor]
    places: Tensor
    support: Tensor
    colour: Tensor
    weight: Tensor


@torch.no_grad()
def _target(scene: Scene, support: Tensor, hole: Hole, view: Sight) -> _Target | None:
    """Return a view's target; None where the view does not show the hole.

    Args:
        scene: Without the object and what lay in the hole.
        support: Rows of the Gaussians whose colours are free.
        hole: What to draw.
        view: The view.
    """
    from scipy.ndimage import binary_dilation, map_coordinates

    camera, patch = view.camera, hole.patch
    rows = in_sight(scene.trained, camera)
    trained = part_of(scene.trained, rows)
    result = rasterized(trained, camera, rasterizer_for(trained), with_depth=True)
    assert result.depth is not None
    colour, depth = result.color.cpu().numpy().copy(), result.depth.cpu().numpy()
    alpha = result.alpha.cpu().numpy()
    place, distance, tolerance = on_plane(patch, camera)
    inside = map_coordinates(hole.renewed.astype(float), place, order=1) > 0.5
    # The junk that lay in the hole is gone: what is left before the plane hides it.
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
    # What is optimised shows in a part of the view alone.
    ys, xs = ((int(used.min()), int(used.max()) + 1) for used in np.nonzero(counts))
    part = np.s_[ys[0] : ys[1], xs[0] : xs[1]]
    camera = window(camera, ys, xs)
    visible = in_sight(trained, camera)
    around = {name: getattr(trained, name)[visible] for name in PARAMETERS}
    index = torch.full((len(scene),), -1, device=rows.device)
    index[support] = torch.arange(len(support), device=rows.device)
    own = index[rows[visible]]
    places = (own >= 0).nonzero().squeeze(1)
    like = trained.means
    weight = torch.from_numpy(counts[part]).to(like)
    target = torch.from_numpy(colour[part].copy()).to(like)
    return _Target(camera, around, places, own[places], target, weight)
