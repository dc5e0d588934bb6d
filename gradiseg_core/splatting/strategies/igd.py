"""Identity Gradient Guided Densification (GradiSeg, Section 3.4, Algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradiseg_core.config.parts import Igd
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.neighbours.knn import make_knn
from gradiseg_core.splatting.parts import Run, Schedule, Strategy
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.strategies.surgery import (
    PRUNE_SCALE,
    prune,
    rotation_matrices,
    split_along_axis,
    split_by_sampling,
    strongest,
)

_NEIGHBOURS = 8  # enough to see both sides of a boundary, few enough to stay at it


class IgdStrategy(Strategy):
    """Monitor identity gradients; split the Gaussians that accumulate the most.

    A Gaussian that straddles a boundary is pulled towards two identities: the norms of its identity
    gradients add up although it does not move. Every ``config.every`` iterations transparent and
    oversized Gaussians are pruned, and each Gaussian above the threshold is replaced by two
    children, one on each side. The paper gives neither threshold nor split rule; see
    ``docs/method.md``.
    """

    def __init__(
        self,
        config: Igd,
        schedule: Schedule,
        *,
        prune_opacity: float,
        extent: float,
        generator: torch.Generator,
    ) -> None:
        """Set up.

        Args:
            config: Thresholds and schedule.
            schedule: Scales iteration numbers.
            prune_opacity: Algorithm 1's epsilon.
            extent: Scene extent, world units.
            generator: Source of split samples.
        """
        self.config, self.schedule = config, schedule
        self.prune_opacity, self.max_scale = prune_opacity, PRUNE_SCALE * extent
        self.generator = generator
        self.count_at_start: int | None = None

    def _active(self, step: int) -> bool:
        return self.schedule.after(step, self.config.start) and not self.schedule.after(
            step, self.config.until
        )

    def step_post_backward(self, step: int, gaussians: Gaussians, rendering: Rendering) -> None:
        """Add this iteration's norm of dL/de to the monitor (Algorithm 1)."""
        if not self._active(step):
            return
        statistics = gaussians.statistics
        if self.count_at_start is None:
            self.count_at_start = len(gaussians)
            statistics["identity_gradient"] = torch.zeros(
                len(gaussians), device=rendering.radii.device
            )
            statistics["identity_seen"] = torch.zeros_like(statistics["identity_gradient"])
        gradient = gaussians.params["identities"].grad
        assert gradient is not None, "the identity loss must reach the encodings"
        statistics["identity_gradient"] += gradient.norm(dim=1)
        statistics["identity_seen"] += rendering.radii > 0

    @torch.no_grad()
    def step_post_optimizer(self, step: int, gaussians: Gaussians) -> bool:
        """Prune and split when due."""
        if not (self._active(step) and self.schedule.due(step, self.config.every)):
            return False
        removed = 0
        if self.config.prune:
            removed = prune(
                gaussians,
                (gaussians.opacities < self.prune_opacity)
                | (gaussians.scales.amax(dim=1) > self.max_scale),
            )
        split = self._split(gaussians, self.select(gaussians))
        return bool(removed or split)

    def select(self, gaussians: Gaussians) -> Tensor:
        """Return [N] bool: the Gaussians whose monitor exceeds tau, within the growth cap."""
        monitor = gaussians.statistics["identity_gradient"]
        seen = gaussians.statistics["identity_seen"]
        if self.config.monitor == "mean":
            monitor = monitor / seen.clamp(min=1)
        watched = monitor[seen > 0]
        if watched.numel() == 0:
            return torch.zeros_like(monitor, dtype=torch.bool)
        tau = (
            # torch.quantile is limited to 16 million values; a sorted copy is not.
            watched.sort().values[int(self.config.quantile * (watched.numel() - 1))].item()
            if self.config.threshold == "quantile"
            else self.config.tau
        )
        mask = (monitor > tau) & (seen > 0)
        assert self.count_at_start is not None
        limit = int(self.count_at_start * (1.0 + self.config.max_growth))
        return strongest(mask, monitor, limit - len(gaussians))

    def _split(self, gaussians: Gaussians, mask: Tensor) -> int:
        share = self.config.children_opacity == "shared"
        if self.config.split == "sample":
            return split_by_sampling(
                gaussians, mask, self.config.scale_factor, self.generator, share_opacity=share
            )
        if not bool(mask.any()):
            return 0
        axis = (
            gaussians.params["scales"].data[mask].argmax(dim=1)
            if self.config.split == "longest_axis"
            else axis_across_boundary(gaussians, mask)
        )
        return split_along_axis(gaussians, mask, axis, share_opacity=share)

    def state_dict(self) -> dict[str, Any]:
        """The number of Gaussians at the start of the window."""
        return {"count_at_start": self.count_at_start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.count_at_start = state["count_at_start"]


def make(options: Igd, run: Run) -> Strategy:
    """Return the strategy for a training; it prunes by the thresholds of densification."""
    return IgdStrategy(
        options,
        run.schedule,
        prune_opacity=run.config.densification.prune_opacity,
        extent=run.extent,
        generator=run.generator,
    )


def axis_across_boundary(gaussians: Gaussians, mask: Tensor) -> Tensor:
    """Return [n] int64: for each Gaussian of ``mask``, the principal axis to cut across.

    Identities change across a boundary and not along it, so the covariance of the neighbours'
    positions and encodings, [3, D], has the boundary's normal as its leading left singular vector.
    The axis is the one with the largest extent along that normal: cutting a needle that lies along
    the boundary would not separate anything. Where neighbours agree, it is the longest axis.
    """
    means = gaussians.params["means"].data
    encodings = gaussians.params["identities"].data
    scales = gaussians.scales[mask]
    chosen = mask.nonzero().squeeze(1)
    knn = make_knn(means.device)
    knn.update(means)
    near = knn.query(chosen, min(_NEIGHBOURS, len(gaussians) - 1))
    offsets = means[near] - means[chosen][:, None]  # [n, k, 3]
    near_encodings = encodings[near]
    deviations = near_encodings - near_encodings.mean(dim=1, keepdim=True)
    covariance = torch.einsum("nki,nkd->nid", offsets, deviations)  # [n, 3, D]
    left, singular, _ = torch.linalg.svd(covariance, full_matrices=False)
    normal = left[:, :, 0]  # [n, 3]
    axes = rotation_matrices(gaussians.params["quats"].data[mask])
    along_normal = torch.einsum("nij,ni->nj", axes, normal).abs() * scales
    agreed = singular[:, 0] <= torch.finfo(singular.dtype).tiny
    return torch.where(agreed[:, None], scales, along_normal).argmax(dim=1)
