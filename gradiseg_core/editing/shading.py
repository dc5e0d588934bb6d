"""The shadow that an object left on what it stood on, and how it is taken out.

Photographs show the shadow of an object around its foot, darker than anything else there; without
the object it is the darkest thing in the picture. On the patch around the foot (:mod:`.patches`):

1. What the support looks like in full light is an affine function of place, fitted to its colours;
   what is darker than the fit, by shadows of anything, counts less and less.
2. The light that is left at a cell is the share of that which it shows. A shadow darkens all
   channels about alike; where one alone is dark, that is paint, and the lightest one counts.
3. A shadow fades with distance. Along the way from the foot to a cell no place may be lighter than
   the cell, or the cell's darkness is not this object's.

Gaussians become lighter by what is lost on average in the pixels that they make.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.patches import CLEAR, Patch, on_plane
from gradiseg_core.editing.rays import seen_and_weighed
from gradiseg_core.editing.rendering import rasterizer_for
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.rasterization.reference import SH_C0

#: Below this share of light no texture is left that could be made lighter: it is inpainted.
DARK = 0.4
#: Above the first share a cell counts as lit, below the second as in shadow; between, in part.
_LIT, _SHADED = 0.97, 0.92
#: Channels that differ by more than this are paint, by more than twice this altogether.
_PAINT = 0.1
#: Colours are averaged over this share of the object's diagonal: a texture is no shadow.
_TEXTURE = 0.03
#: Nearer to the foot than this share of the diagonal no light is looked for.
_NEAR = 0.1
#: Residuals in the logarithm of a colour: of shadows, and of things lighter than the support.
_DARKER, _LIGHTER = 0.1, 0.3
_ROUNDS = 10
#: How much a slope of that function costs: cells on one side only must not tilt it.
_FLAT = 0.03
_PASSES = 3
#: Places that are looked at between the foot and a cell.
_SAMPLES = 24


def light_left(
    patch: Patch,
    colours: NDArray[np.float64],
    seen: NDArray[np.bool_],
    foot: NDArray[np.bool_],
    diagonal: float,
) -> NDArray[np.float64]:
    """Return the share of light that an object's shadow leaves, [rows, columns], 0..1.

    Args:
        patch: What it stood on.
        colours: [rows, columns, 3] of cells that were seen.
        seen: [rows, columns].
        foot: [rows, columns], cells below the object.
        diagonal: Of the object, training frame.

    Returns:
        1 where there is no shadow, and where nothing is known.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt, map_coordinates

    nothing = np.ones(patch.shape)
    if not foot.any():
        return nothing
    # Rims of what was not seen are mixtures with the object; they get what the nearest others have.
    rims, seen = seen, binary_erosion(seen, iterations=CLEAR, border_value=1)
    distance, nearest = distance_transform_edt(~foot, return_indices=True)
    ring = seen & (distance > _NEAR * diagonal / patch.cell)
    if ring.sum() < 20:
        return nothing
    here = np.stack(np.meshgrid(*map(np.arange, patch.shape), indexing="ij")).astype(np.float64)
    left = nothing
    # Averages blur what is steep, at the foot; so what was found is taken out and looked at again.
    for _ in range(_PASSES):
        smooth = _averaged(colours / np.maximum(left, DARK)[..., None], seen, patch, diagonal)
        share = np.where(seen, _share(smooth / _lit(smooth, ring)), 0.0)
        lightest = share.copy()
        for part in np.linspace(0.0, 1.0, _SAMPLES, endpoint=False):
            way = nearest + part * (here - nearest)
            lightest = np.maximum(lightest, map_coordinates(share, way, order=1, mode="nearest"))
        part = np.clip((lightest - _SHADED) / (_LIT - _SHADED), 0.0, 1.0)
        left = left * np.where(seen, np.clip(lightest + part * (1.0 - lightest), 0.0, 1.0), 1.0)
    index = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    result: NDArray[np.float64] = np.where(rims, left[tuple(index)], 1.0)
    return result


def _share(channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of light [rows, columns] by those of the channels [rows, columns, 3].

    A shadow darkens all of them alike: their mean. Paint does not: the one that lost least.
    """
    mean, most = channels.mean(axis=-1), channels.max(axis=-1)
    paint = np.clip((most - mean) / _PAINT - 1.0, 0.0, 1.0)
    result: NDArray[np.float64] = mean + paint * (most - mean)
    return result


def _averaged(
    colours: NDArray[np.float64], seen: NDArray[np.bool_], patch: Patch, diagonal: float
) -> NDArray[np.float64]:
    """Return colours averaged over what is seen, [rows, columns, 3], none of them black."""
    from scipy.ndimage import gaussian_filter

    sigma = max(1.5, _TEXTURE * diagonal / patch.cell)
    weight = gaussian_filter(seen.astype(np.float64), sigma)
    total = gaussian_filter(np.where(seen[..., None], colours, 0.0), (sigma, sigma, 0.0))
    return np.maximum(total / np.maximum(weight, 1e-9)[..., None], 1.0 / 255.0)


def _lit(colours: NDArray[np.float64], ring: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what cells look like in full light, [rows, columns, 3]."""
    shape = colours.shape[:2]
    rows, columns = (np.linspace(-1.0, 1.0, n) for n in shape)
    place = np.stack(
        [np.ones(shape), *np.meshgrid(rows, columns, indexing="ij")], axis=-1
    )  # [rows, columns, 3]
    x, y = place[ring], colours[ring]
    weight = np.ones(len(x))
    ridge = np.diag([0.0, _FLAT, _FLAT])
    for _ in range(_ROUNDS):
        held = x.T @ (weight[:, None] * x) + weight.sum() * ridge
        fit = np.linalg.solve(held + 1e-9 * np.eye(3), x.T @ (weight[:, None] * y))
        share = np.maximum(y, 1e-3) / np.maximum(x @ fit, 1e-3)
        residual = np.log(share).mean(axis=1)
        usual = np.where(residual < 0.0, _DARKER, _LIGHTER)
        weight = np.exp(-((residual / usual) ** 2)) + 1e-6
    result: NDArray[np.float64] = np.maximum(place @ fit, 1.0 / 255.0)
    return result


@torch.no_grad()
def lightened(
    trained: TrainedScene, patch: Patch, left: NDArray[np.float64], cameras: list[Camera]
) -> tuple[Tensor, Tensor, int]:
    """Return `sh0` and `shN` of Gaussians without a shadow, and how many it darkened.

    Args:
        trained: Without the object.
        patch: What it stood on.
        left: Light of every cell (:func:`light_left`).
        cameras: Training views, training frame.
    """
    from scipy.ndimage import map_coordinates

    rasterizer = rasterizer_for(trained)
    lost = trained.means.new_zeros(len(trained.means))
    total = torch.zeros_like(lost)
    for camera in cameras:
        place, distance, tolerance = on_plane(patch, camera)
        light = map_coordinates(left, place, order=1, mode="constant", cval=1.0)
        gain = 1.0 / np.maximum(light, DARK)

        def regions(
            result: Rendering,
            gain: NDArray[np.float64] = gain,
            plane: NDArray[np.float64] = distance,
            tolerance: NDArray[np.float64] = tolerance,
        ) -> Tensor:
            assert result.depth is not None
            shows = (plane > 0) & (result.depth.detach().cpu().numpy() > plane - tolerance)
            own = np.where(shows, gain, 1.0)
            return torch.from_numpy(np.stack([own, np.ones_like(own)], axis=-1))

        _, rows, weights = seen_and_weighed(trained, regions, camera, rasterizer)
        lost.index_add_(0, rows, weights[:, 0])
        total.index_add_(0, rows, weights[:, 1])
    gain_of = torch.where(total > 0, lost / total.clamp(min=1e-9), 1.0).clamp(min=1.0)
    colour = (0.5 + SH_C0 * trained.sh0) * gain_of[:, None, None]
    changed = gain_of > 1.01
    sh0 = torch.where(changed[:, None, None], (colour - 0.5) / SH_C0, trained.sh0)
    shN = torch.where(changed[:, None, None], trained.shN * gain_of[:, None, None], trained.shN)
    return sh0, shN, int(changed.sum())
