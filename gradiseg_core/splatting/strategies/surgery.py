"""All that strategies may do to Gaussians: remove, add, replace, move, reset.

Operations that change the number are one :meth:`Gaussians.rebuild`: kept Gaussians keep values,
Adam moments and statistics; new ones are appended with zero moments and zero statistics. Where
values are replaced, moments start again at zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradiseg_core.splatting.gaussians import PARAMETERS, Gaussians

# Halves of a Gaussian cut by a plane through its centre have their means at +-sqrt(2/pi) sigma
# along the cut axis, and variance (1 - 2/pi) sigma^2 along it.
_HALF_OFFSET = math.sqrt(2.0 / math.pi)
_HALF_SCALE = math.sqrt(1.0 - 2.0 / math.pi)

#: Prune where the largest scale exceeds this share of the scene extent (3DGS); densification does
#: so after the first reset of opacities.
PRUNE_SCALE = 0.1


def rotation_matrices(quats: Tensor) -> Tensor:
    """Return [n, 3, 3] rotations of [n, 4] wxyz quaternions of any positive length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ],
        dim=1,
    ).reshape(-1, 3, 3)


def strongest(mask: Tensor, score: Tensor, room: int | None) -> Tensor:
    """Return ``mask`` [N] bool reduced to the ``room`` set entries of highest ``score`` [N].

    Args:
        mask: Candidates.
        score: Rank of each.
        room: How many may stay; negative counts as 0; None: no limit.
    """
    if room is None or int(mask.sum()) <= room:
        return mask
    chosen = torch.where(mask, score, -torch.inf).topk(max(room, 0)).indices
    kept = torch.zeros_like(mask)
    kept[chosen] = True
    return kept


def prune(gaussians: Gaussians, mask: Tensor) -> int:
    """Remove the Gaussians of [N] bool ``mask``; return how many there were."""
    count = int(mask.sum())
    if count:
        gaussians.rebuild(~mask)
    return count


def shared_opacities(logits: Tensor) -> Tensor:
    """Return logits of 1 - sqrt(1 - o): two Gaussians of that opacity blend to one of opacity o.

    Source: Bulo et al. 2024, "Revising Densification in Gaussian Splatting", there for clones.

    Args:
        logits: [n] logits of the opacities o.
    """
    log_root = 0.5 * torch.nn.functional.logsigmoid(-logits)  # of 1 - o
    return torch.log(-torch.expm1(log_root)) - log_root


def copies(gaussians: Gaussians, sources: Tensor) -> dict[str, Tensor]:
    """Return all parameters of the Gaussians of ``sources``, [n] int64 or [N] bool."""
    return {name: gaussians.params[name].data[sources] for name in PARAMETERS}


def _parents(gaussians: Gaussians, mask: Tensor, share_opacity: bool) -> dict[str, Tensor]:
    """Return the parameters of the Gaussians of ``mask``, with the opacity of their children."""
    parents = copies(gaussians, mask)
    if share_opacity:
        parents["opacities"] = shared_opacities(parents["opacities"])
    return parents


@torch.no_grad()
def clone(gaussians: Gaussians, mask: Tensor) -> int:
    """Append an equal copy of every Gaussian of [N] bool ``mask``; return how many."""
    count = int(mask.sum())
    if count:
        append_copies(gaussians, mask)
    return count


@torch.no_grad()
def append_copies(gaussians: Gaussians, sources: Tensor) -> None:
    """Append an equal copy of each source, [n] int64 with repetitions or [N] bool."""
    keep = torch.ones(len(gaussians), dtype=torch.bool, device=gaussians.device)
    gaussians.rebuild(keep, copies(gaussians, sources))


@torch.no_grad()
def replace_by_copies(gaussians: Gaussians, rows: Tensor, sources: Tensor) -> None:
    """Replace the Gaussians of [n] int64 ``rows`` by copies of those of ``sources``, [n] int64."""
    gaussians.overwrite_rows(rows, copies(gaussians, sources))


@torch.no_grad()
def set_values(gaussians: Gaussians, rows: Tensor, values: dict[str, Tensor]) -> None:
    """Set some parameters of the Gaussians of [n] int64 ``rows``.

    Args:
        gaussians: Changed in place.
        rows: The Gaussians.
        values: New values by parameter, each [n, ...].
    """
    gaussians.overwrite_rows(rows, values)


@torch.no_grad()
def move(gaussians: Gaussians, offsets: Tensor, factor: float) -> None:
    """Add ``factor`` times [N, 3] offsets to all centres, which keep their moments."""
    gaussians.params["means"].data.add_(offsets, alpha=factor)


@torch.no_grad()
def reset_opacities(gaussians: Gaussians, highest: float) -> None:
    """Cap all opacities at ``highest``, in 0..1."""
    ceiling = torch.logit(torch.tensor(highest)).item()
    logits = gaussians.params["opacities"].data
    gaussians.overwrite("opacities", logits.clamp(max=ceiling))


@torch.no_grad()
def split_by_sampling(
    gaussians: Gaussians,
    mask: Tensor,
    scale_factor: float,
    generator: torch.Generator,
    *,
    share_opacity: bool = False,
) -> int:
    """Replace Gaussians by two children each, drawn from them (3DGS ``densify_and_split``).

    Args:
        gaussians: Changed in place.
        mask: [N] bool.
        scale_factor: All scales of the children are divided by it (3DGS: 1.6).
        generator: Source of the two samples.
        share_opacity: Give the children :func:`shared_opacities` instead of the parent's.

    Returns:
        Number of Gaussians that were split.
    """
    count = int(mask.sum())
    if not count:
        return 0
    parents = _parents(gaussians, mask, share_opacity)
    rotation, scales = rotation_matrices(parents["quats"]), parents["scales"].exp()
    noise = torch.randn(2, count, 3, generator=generator, device="cpu").to(scales.device)
    offsets = torch.einsum("nij,cnj->cni", rotation, noise * scales)
    means = (parents["means"] + offsets).reshape(-1, 3)
    _replace_by_two(gaussians, mask, parents, means, parents["scales"] - math.log(scale_factor))
    return count


@torch.no_grad()
def split_along_axis(
    gaussians: Gaussians, mask: Tensor, axis: Tensor, *, share_opacity: bool = False
) -> int:
    """Replace Gaussians by their two halves along one of their principal axes.

    The halves have the means and the variance of a Gaussian cut in two by the plane through its
    centre, so that together they cover what the parent covered. Colour and encoding are copied.

    Args:
        gaussians: Changed in place.
        mask: [N] bool, n of them set.
        axis: [n] int64, index 0..2 of the principal axis to cut across.
        share_opacity: Give the children :func:`shared_opacities` instead of the parent's.

    Returns:
        Number of Gaussians that were split.
    """
    count = int(mask.sum())
    if not count:
        return 0
    parents = _parents(gaussians, mask, share_opacity)
    rows = torch.arange(count, device=axis.device)
    direction = rotation_matrices(parents["quats"])[rows, :, axis]
    offset = direction * (_HALF_OFFSET * parents["scales"][rows, axis].exp())[:, None]
    means = torch.cat([parents["means"] + offset, parents["means"] - offset])
    scales = parents["scales"].clone()
    scales[rows, axis] += math.log(_HALF_SCALE)
    _replace_by_two(gaussians, mask, parents, means, scales)
    return count


def _replace_by_two(
    gaussians: Gaussians, mask: Tensor, parents: dict[str, Tensor], means: Tensor, scales: Tensor
) -> None:
    """Replace Gaussians by two children each.

    Args:
        gaussians: Changed in place.
        mask: [N] bool, n of them set.
        parents: Values of these, each [n, ...], which the children take.
        means: [2 n, 3], of the first children, then of the second ones.
        scales: [n, 3], logarithms, of both children.
    """
    children = {name: torch.cat([value, value]) for name, value in parents.items()}
    children |= {"means": means, "scales": torch.cat([scales, scales])}
    gaussians.rebuild(~mask, children)
