"""Gaussians that reach across the boundary of a selection, cut in two.

A trained Gaussian that straddles a boundary is half of one thing and half of another; kept or lost
whole, it leaves a fringe or a notch. Of its two halves along one of its axes, as IGD makes them
(:func:`.splatting.strategies.surgery.split_along_axis`), each is on one side.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.editing.regions import body
from gradiseg_core.splatting.gaussians import PARAMETERS, Gaussians
from gradiseg_core.splatting.strategies.surgery import rotation_matrices, split_along_axis

#: How often halves are looked at again.
_ROUNDS = 3
#: Neighbours that vote on which side a place is.
_VOTERS = 5
#: Where the centre of a half lies, in standard deviations from the whole one's.
_HALF = math.sqrt(2.0 / math.pi)
#: A Gaussian of a smaller axis than this many distances of neighbours straddles nothing.
_LEAST = 0.5
#: Nor does one that is farther from the other side than this many of its standard deviations.
_REACH = 2.0


def cut_across(
    values: dict[str, Tensor], mask: NDArray[np.bool_]
) -> tuple[dict[str, Tensor], NDArray[np.int64]]:
    """Cut what straddles the boundary between a selection and the rest; keep its own half.

    The half on the other side goes: it would carry one thing's colour into the other.

    Args:
        values: Parameters as stored, [N, ...] each; not changed.
        mask: [N], the selection.

    Returns:
        Parameters with half Gaussians in the place of those that were cut, and which these are.
    """
    cut: set[int] = set()
    for _ in range(_ROUNDS):
        rows, axes, sides = straddlers(values, mask)
        if not len(rows):
            break
        own = np.where(sides[:, 0] == mask[rows], 0, 1)  # which half is on the Gaussian's own side
        halves = _halves(values, rows, axes)
        device = values["means"].device
        chosen = torch.from_numpy(own * len(rows) + np.arange(len(rows))).to(device)
        index = torch.from_numpy(rows).to(device)
        values = {
            name: values[name].index_copy(0, index, halves[name][chosen])
            if name in ("means", "scales")
            else values[name]
            for name in PARAMETERS
        }
        cut |= set(rows.tolist())
    return values, np.array(sorted(cut), np.int64)


def straddlers(
    values: dict[str, Tensor], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the rows [n] that straddle, the axis of each to cut across, and its halves' sides.

    A Gaussian straddles where its two halves along an axis would lie among neighbours of different
    sides. Of several such axes the longest is cut. The sides are [n, 2], that of the half in the
    direction of the axis first.
    """
    from scipy.spatial import cKDTree

    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 2), bool)
    means = values["means"].cpu().numpy().astype(np.float64)
    near = _near_boundary(values, means, mask)
    side = mask[near]
    if side.all() or not side.any() or len(near) <= _VOTERS:
        return nothing
    points = means[near]
    rows = torch.from_numpy(near).to(values["scales"].device)
    scales = values["scales"][rows].exp().cpu().numpy().astype(np.float64)
    tree = cKDTree(points)
    sample = points[:: max(1, len(points) // 2000)]
    spacing = float(np.median(tree.query(sample, 2)[0][:, 1]))
    # Only what reaches to the other side may straddle.
    across = np.empty(len(near))
    for own in (False, True):
        across[side == own] = cKDTree(points[side != own]).query(points[side == own])[0]
    largest = scales.max(axis=1)
    chosen = np.flatnonzero((largest > _LEAST * spacing) & (across < _REACH * largest))
    if not len(chosen):
        return nothing
    large, scales = near[chosen], scales[chosen]
    axes = rotation_matrices(values["quats"][torch.from_numpy(large).to(values["quats"].device)])
    directions = axes.cpu().numpy().transpose(0, 2, 1) * scales[:, :, None]  # [n, 3, 3]
    places = means[large][:, None, None] + _HALF * np.stack([directions, -directions], axis=2)
    _, index = tree.query(places.reshape(-1, 3), _VOTERS + 1)
    voters = near[index].reshape(len(large), 3, 2, _VOTERS + 1)
    votes = np.where(mask[voters], 1, -1)
    votes[voters == large[:, None, None, None]] = 0  # itself has no vote
    sides = votes.sum(axis=-1) > 0  # [n, 3, 2]
    length = np.where((sides[..., 0] != sides[..., 1]) & (scales > _LEAST * spacing), scales, -1.0)
    axis = length.argmax(axis=1)
    cut = length.max(axis=1) > 0
    return large[cut], axis[cut], sides[np.arange(len(large)), axis][cut]


def _near_boundary(
    values: dict[str, Tensor], means: NDArray[np.float64], mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the rows in and around the bounding box of the body of the selection."""
    smaller = mask if mask.sum() <= len(mask) // 2 else ~mask
    rows = np.flatnonzero(smaller)
    if not len(rows):
        return rows
    opacities = values["opacities"][torch.from_numpy(rows).to(values["opacities"].device)]
    core = means[rows][body(means[rows], opacities.sigmoid().cpu().numpy())]
    low, high = np.quantile(core, [0.005, 0.995], axis=0)
    margin = 0.1 * float(np.linalg.norm(high - low))
    reach = margin + _REACH * values["scales"].amax(dim=1).exp().cpu().numpy()[:, None]
    return np.flatnonzero(((means > low - reach) & (means < high + reach)).all(axis=1))


def _halves(
    values: dict[str, Tensor], rows: NDArray[np.int64], axes: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Return the parameters of the two halves of rows [n]: [2 n, ...], first halves first."""
    device = values["means"].device
    chosen = torch.from_numpy(rows).to(device)
    parts = Gaussians(
        {name: values[name][chosen] for name in PARAMETERS}, dict.fromkeys(PARAMETERS, 0.0)
    )
    everything = torch.ones(len(rows), dtype=torch.bool, device=device)
    split_along_axis(parts, everything, torch.from_numpy(axes).to(device))
    return {name: parts.params[name].data for name in PARAMETERS}
