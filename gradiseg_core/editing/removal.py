"""What belongs to an object although its class says otherwise: its halo and its inside.

Training views decide. A Gaussian whose weight lies mostly in pixels that show the object is seen as
a part of it: a half-transparent remainder on its neighbours. One in its hull that no view sees is
its inside, which would come to light without it. What is surely another object is neither: a lemon
lies in the hull of its bowl, and no view sees where it lies on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.rays import seen_and_weighed
from gradiseg_core.editing.regions import FLOATER_SHARE, body, parts, within_hull
from gradiseg_core.editing.rendering import rasterizer_for
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.strategies.surgery import rotation_matrices

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene

#: At most this many training views are looked at, evenly spread.
MOST_VIEWS = 12
#: A pixel shows the object where more than this share of it is made by the object's Gaussians.
SHOWN = 0.5
#: Share of a Gaussian's weight in pixels of the object from which on it is a part of it.
_HALO = 0.5
#: A Gaussian that makes less than this share of what it would make alone is seen by no view.
_UNSEEN = 0.1
#: From this probability on a Gaussian of another object surely belongs to that.
_SURE = 0.9
#: A connected part of another object of which nothing is left is kept from this mean probability.
_LIKELY = 0.5
#: How far beyond the object's bounding box its halo may lie, in diagonals of the box.
_REACH = 0.15
#: Half the size of an object's crop in a view, in projected radii: for its halo, and for a shadow.
ALONE, WITH_SHADOW = 1.5, 2.2


@dataclass(frozen=True)
class Sight:
    """A view of an object, cut out around it.

    Attributes:
        camera: Of the cut-out.
        shows: [h, w] float32, share of each pixel that the object's Gaussians make.
        depth: [h, w] float32, of the whole scene, training frame.
        alpha: [h, w] float32.
        rows: [n] Gaussians that the cut-out may show.
        weights: [n, 2] what each of them makes of pixels that show the object, and of others.
    """

    camera: Camera
    shows: NDArray[np.float32]
    depth: NDArray[np.float32]
    alpha: NDArray[np.float32]
    rows: Tensor
    weights: Tensor


def training_cameras(scene: Scene, most: int = MOST_VIEWS) -> list[Camera]:
    """Return up to ``most`` training views, evenly spread; all views where no split is known."""
    names = [name for name in scene.cameras if scene.splits.get(name, "train") == "train"]
    if len(names) > most:
        names = [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]
    return [scene.cameras[name] for name in names]


def cropped(camera: Camera, centre: NDArray[np.float64], radius: float) -> Camera | None:
    """Return a camera of the part of a view around a sphere; None where it is out of sight.

    Args:
        camera: In the training frame.
        centre: [3], of the sphere.
        radius: Of the sphere, training frame.
    """
    x, y, z = camera.cam_from_world[:3, :3] @ centre + camera.cam_from_world[:3, 3]
    if z <= 0.0:
        return None
    K = camera.K
    if z <= 1.5 * radius:
        return camera
    u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
    reach = (
        K[0, 0] * radius / np.sqrt(z * z - radius * radius),
        K[1, 1] * radius / np.sqrt(z * z - radius * radius),
    )
    left, top = max(0, int(u - reach[0])), max(0, int(v - reach[1]))
    right = min(camera.width, int(np.ceil(u + reach[0])))
    bottom = min(camera.height, int(np.ceil(v + reach[1])))
    if right - left < 2 or bottom - top < 2:
        return None
    return window(camera, (top, bottom), (left, right))


def window(camera: Camera, rows: tuple[int, int], columns: tuple[int, int]) -> Camera:
    """Return a camera of a part of a view, from a first row and column up to others."""
    moved = camera.K.copy()
    moved[0, 2] -= columns[0]
    moved[1, 2] -= rows[0]
    return replace(camera, width=columns[1] - columns[0], height=rows[1] - rows[0], K=moved)


@torch.no_grad()
def sights(
    scene: Scene, mask: NDArray[np.bool_], cameras: list[Camera], crop: float = ALONE
) -> list[Sight]:
    """Return what views show of an object, in the cut-outs around it of ``crop`` radii."""
    trained, rasterizer = scene.trained, rasterizer_for(scene.trained)
    centre, radius = _sphere(trained, mask)
    own = torch.from_numpy(mask).to(trained.means.device)

    def regions(result: Rendering) -> Tensor:
        shows = result.identity[..., 0] > SHOWN
        return torch.stack([shows, ~shows], dim=-1)

    found = []
    for whole in cameras:
        camera = cropped(whole, centre, crop * radius)
        if camera is None:
            continue
        result, rows, weights = seen_and_weighed(trained, regions, camera, rasterizer, own)
        assert result.depth is not None
        shows, depth, alpha = (
            value.detach().float().cpu().numpy()
            for value in (result.identity[..., 0], result.depth, result.alpha)
        )
        found.append(Sight(camera, shows, depth, alpha, rows, weights))
    return found


def halo_and_inside(
    scene: Scene, mask: NDArray[np.bool_], views: list[Sight]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which other Gaussians are an object's halo, [N], and which its inside, [N].

    The background has neither: all that stands on it lies in its hull.

    Args:
        scene: With the object.
        mask: [N], the object.
        views: What training views show of it.
    """
    trained = scene.trained
    points = trained.means.cpu().numpy().astype(np.float64)
    halo, inside = np.zeros(len(mask), bool), np.zeros(len(mask), bool)
    if not views or holds(scene, mask, 0):
        return halo, inside
    core = _body(trained, mask)
    low, high = points[core].min(axis=0), points[core].max(axis=0)
    reach = _REACH * np.linalg.norm(high - low)
    near = np.flatnonzero(((points > low - reach) & (points < high + reach)).all(axis=1) & ~mask)
    weights = trained.means.new_zeros(len(mask), 2)
    for view in views:
        weights.index_add_(0, view.rows, view.weights)
    own, rest = weights.cpu().numpy().astype(np.float64)[near].T
    unseen = own + rest < _UNSEEN * _alone(trained, near, views)
    within = unseen & within_hull(points[near], covered(trained, core))
    inside[near] = within
    halo[near] = ~within & (own > _HALO * (own + rest))
    others = _of_others(scene, points, mask, halo | inside)
    return halo & ~others, inside & ~others


def holds(scene: Scene, mask: NDArray[np.bool_], index: int) -> bool:
    """Return whether most Gaussians of an ID are in a mask, [N]."""
    own = mask[scene.ids == index]
    return bool(2 * own.sum() > len(own))


def _of_others(
    scene: Scene,
    points: NDArray[np.float64],
    mask: NDArray[np.bool_],
    taken: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which Gaussians, [N], are surely parts of other objects than a mask is of.

    They have another object's ID with a high probability, or belong to a connected part of it.
    Single ones of an unsure class inside of something are no part of what they are called.

    Args:
        scene: With the objects.
        points: [N, 3] centres.
        mask: [N], the object.
        taken: [N], what seems to be its halo or inside; other IDs than theirs are not looked at.
    """
    result = np.zeros(len(mask), bool)
    for index in np.unique(scene.ids[taken]):
        if index == 0 or holds(scene, mask, index):
            continue
        own = np.flatnonzero(scene.ids == index)
        part, certainty = parts(points[own]), scene.certainty[own]
        size = np.bincount(part)
        left = size - np.bincount(part, weights=taken[own])
        likely = np.bincount(part, weights=certainty) > _LIKELY * size
        stays = (size >= FLOATER_SHARE * len(own)) & ((left > 0) | likely)
        result[own] = stays[part] | (certainty > _SURE)
    return result


def covered(trained: TrainedScene, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return points that Gaussians cover, [6 n, 3]: one standard deviation along their axes.

    A thing of few large Gaussians is larger than the hull of their centres.
    """
    rows = torch.from_numpy(np.flatnonzero(mask)).to(trained.means.device)
    axes = rotation_matrices(trained.quats[rows]) * trained.scales[rows].exp()[:, None, :]
    ends = torch.cat([axes, -axes], dim=2).transpose(1, 2)  # [n, 6, 3]
    points = trained.means[rows][:, None] + ends
    return points.reshape(-1, 3).cpu().numpy().astype(np.float64)


def _alone(
    trained: TrainedScene, chosen: NDArray[np.int64], views: list[Sight]
) -> NDArray[np.float64]:
    """Return about how much chosen Gaussians [n] would make of all views, each alone, px."""
    rows = torch.from_numpy(chosen).to(trained.means.device)
    sizes = trained.scales[rows].exp().sort(dim=1).values[:, 1:].prod(dim=1)
    opacities = trained.opacities[rows].sigmoid()
    area = 2.0 * np.pi * (opacities * sizes).cpu().numpy().astype(np.float64)
    points = trained.means[rows].cpu().numpy().astype(np.float64)
    total = np.zeros(len(points))
    for view in views:
        K, pose = view.camera.K, view.camera.cam_from_world
        x = points @ pose[:3, :3].T + pose[:3, 3]
        z = np.maximum(x[:, 2], 1e-6)
        u, v = K[0, 0] * x[:, 0] / z + K[0, 2], K[1, 1] * x[:, 1] / z + K[1, 2]
        shown = (x[:, 2] > 0) & (u > 0) & (u < view.camera.width) & (v > 0)
        shown &= v < view.camera.height
        total += np.where(shown, area * K[0, 0] * K[1, 1] / z**2, 0.0)
    return total


def _body(trained: TrainedScene, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the body of an object, [N]."""
    rows = torch.from_numpy(np.flatnonzero(mask)).to(trained.means.device)
    points = trained.means[rows].cpu().numpy().astype(np.float64)
    result = mask.copy()
    result[mask] = body(points, trained.opacities[rows].sigmoid().cpu().numpy())
    return result


def _sphere(trained: TrainedScene, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return a sphere around most of an object's body, training frame."""
    rows = torch.from_numpy(np.flatnonzero(_body(trained, mask))).to(trained.means.device)
    points = trained.means[rows].cpu().numpy().astype(np.float64)
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    radius = 0.5 * float(np.linalg.norm(high - low))
    return 0.5 * (low + high), max(radius, 1e-6)
