"""3DGS's adaptive density control, as Gaussian Grouping runs it."""

from __future__ import annotations

import torch

from gradiseg_core.config.parts import Densification
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.parts import Run, Schedule, Strategy
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.strategies.surgery import (
    PRUNE_SCALE,
    clone,
    prune,
    reset_opacities,
    split_by_sampling,
    strongest,
)

_RESET_OPACITY = 0.01
_SPLIT_SCALE_FACTOR = 1.6
#: Split instead of clone where the largest scale exceeds this share of the scene extent (3DGS).
SPLIT_SCALE = 0.01


class DensificationStrategy(Strategy):
    """Clone, split and prune by the gradient of projected centres; reset opacities.

    3DGS also means to prune Gaussians that are large on the screen, but sets their radii to zero
    just before. So Gaussian Grouping's published numbers were made without it, and ours are too.
    """

    def __init__(
        self,
        config: Densification,
        schedule: Schedule,
        *,
        max_gaussians: int | None,
        extent: float,
        generator: torch.Generator,
    ) -> None:
        """Set up.

        Args:
            config: Thresholds and schedule.
            schedule: Scales iteration numbers.
            max_gaussians: Growth stops at this number; None: no limit.
            extent: Scene extent, world units.
            generator: Source of split samples.
        """
        self.config, self.schedule = config, schedule
        self.max_gaussians, self.extent, self.generator = max_gaussians, extent, generator

    def step_post_backward(self, step: int, gaussians: Gaussians, rendering: Rendering) -> None:
        """Accumulate the gradient norm of projected centres, in half images (NDC)."""
        if not self.schedule.before(step, self.config.until):
            return
        statistics = gaussians.statistics
        if "grad2d" not in statistics:
            statistics["grad2d"] = torch.zeros(len(gaussians), device=rendering.radii.device)
            statistics["seen"] = torch.zeros_like(statistics["grad2d"])
        gradient = (
            getattr(rendering.means2d, "absgrad", None)
            if self.config.absgrad
            else rendering.means2d.grad
        )
        assert gradient is not None, "the rasterizer must expose the gradient of means2d"
        height, width = rendering.alpha.shape
        norm = torch.hypot(gradient[:, 0] * (0.5 * width), gradient[:, 1] * (0.5 * height))
        visible = rendering.radii > 0
        statistics["grad2d"] += torch.where(visible, norm, 0.0)
        statistics["seen"] += visible

    def step_post_optimizer(self, step: int, gaussians: Gaussians) -> bool:
        """Densify, prune and reset opacities when due."""
        config, schedule = self.config, self.schedule
        if not schedule.before(step, config.until):
            return False
        changed = False
        if schedule.after(step, config.start) and schedule.due(step, config.every):
            changed = self._densify(step, gaussians)
        if schedule.due(step, config.opacity_reset_every):
            reset_opacities(gaussians, _RESET_OPACITY)
        return changed

    @torch.no_grad()
    def _densify(self, step: int, gaussians: Gaussians) -> bool:
        config, statistics = self.config, gaussians.statistics
        before = len(gaussians)
        gradient = statistics["grad2d"] / statistics["seen"].clamp(min=1)
        room = None if self.max_gaussians is None else self.max_gaussians - before
        grow = strongest(gradient >= config.grow_grad2d, gradient, room)
        large = gaussians.scales.amax(dim=1) > SPLIT_SCALE * self.extent
        cloned = clone(gaussians, grow & ~large)
        split = torch.cat([grow & large, grow.new_zeros(cloned)])
        divided = split_by_sampling(gaussians, split, _SPLIT_SCALE_FACTOR, self.generator)
        remove = gaussians.opacities < config.prune_opacity
        if self.schedule.after(step, config.opacity_reset_every):
            remove |= gaussians.scales.amax(dim=1) > PRUNE_SCALE * self.extent
        removed = prune(gaussians, remove)
        statistics["grad2d"].zero_()
        statistics["seen"].zero_()
        return bool(cloned or divided or removed) or len(gaussians) != before


def make(options: Densification, run: Run) -> Strategy:
    """Return the strategy for a training."""
    return DensificationStrategy(
        options,
        run.schedule,
        max_gaussians=options.max_gaussians,
        extent=run.extent,
        generator=run.generator,
    )
