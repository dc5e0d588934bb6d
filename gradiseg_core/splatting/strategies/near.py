"""Pruning of floaters in front of cameras, an option beyond the paper.

3DGS prunes large Gaussians only while it densifies. Later, a Gaussian near a camera that training
views hardly see may grow without bound, and fogs a held-out view beside that camera. Gaussians of a
far background are as large, so the criterion is size over the distance to the nearest camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.config.parts import NearPruning
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.parts import Run, Schedule, Strategy
from gradiseg_core.splatting.strategies.surgery import prune

#: Interval of pruning, to the end of the run, iterations of 30,000.
EVERY = 100


class NearPruningStrategy(Strategy):
    """Prune Gaussians that are large for their distance to the nearest training camera."""

    def __init__(
        self,
        config: NearPruning,
        schedule: Schedule,
        *,
        cameras: Sequence[Camera],
        device: torch.device,
    ) -> None:
        """Set up.

        Args:
            config: Limit, which may be None, and schedule.
            schedule: Scales iteration numbers.
            cameras: Training cameras.
            device: Where the Gaussians live.
        """
        self.config, self.schedule = config, schedule
        centers = np.stack([camera.center_in_world for camera in cameras])
        self.centers = torch.as_tensor(centers, dtype=torch.float32, device=device)

    @torch.no_grad()
    def step_post_optimizer(self, step: int, gaussians: Gaussians) -> bool:
        """Prune when due, to the last iteration."""
        config, schedule = self.config, self.schedule
        if config.ratio is None or not (
            schedule.after(step, config.start) and schedule.due(step, EVERY)
        ):
            return False
        largest = gaussians.scales.amax(dim=1)
        return prune(gaussians, largest > config.ratio * self._distances(gaussians)) > 0

    def _distances(self, gaussians: Gaussians) -> Tensor:
        """Return [N] distances to the nearest camera, world units; memory stays linear in N."""
        means = gaussians.params["means"]
        nearest = torch.full_like(means[:, 0], torch.inf)
        for center in self.centers:
            torch.minimum(nearest, (means - center).norm(dim=1), out=nearest)
        return nearest


def make(options: NearPruning, run: Run) -> Strategy:
    """Return the strategy for a training."""
    return NearPruningStrategy(options, run.schedule, cameras=run.cameras, device=run.device)
