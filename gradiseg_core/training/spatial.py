"""When and between whom the 3D identity loss runs: global KNN first, LA-KNN after."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradiseg_core.config.train import LaKnn, Losses
from gradiseg_core.gaussians.model import Gaussians
from gradiseg_core.losses.identity import IdentityClassifier
from gradiseg_core.losses.spatial import neighbour_kl
from gradiseg_core.neighbours.knn import GlobalKnn
from gradiseg_core.neighbours.la_knn import la_knn
from gradiseg_core.rasterization.interface import Rendering
from gradiseg_core.schedule import Schedule

_LAST = "position_gradient"


class SpatialLoss:
    """Eq. 3 over M sampled Gaussians and their K neighbours.

    The direction of Eq. 4 is minus the gradient of the loss with respect to a Gaussian's position.
    The view at hand leaves most Gaussians without one, so the default takes the optimizer's running
    first moment, which every Gaussian has that was ever seen; ``last`` keeps the gradient of the
    last view that saw it. Gaussians that have neither yet are not sampled.
    """

    def __init__(
        self,
        losses: Losses,
        adaptive: LaKnn | None,
        refresh_every: int,
        schedule: Schedule,
        generator: torch.Generator,
    ) -> None:
        """Set up.

        Args:
            losses: M, K, interval.
            adaptive: LA-KNN's parameters, or None for global KNN throughout (baseline).
            refresh_every: Search trees are rebuilt this often, iterations.
            schedule: Scales iteration numbers.
            generator: Source of the samples.
        """
        self.losses, self.adaptive, self.schedule = losses, adaptive, schedule
        self.refresh_every, self.generator = refresh_every, generator
        self._knn = GlobalKnn()
        # The positions that the tree was built from: stale by design, so a checkpoint needs them.
        self._tree_means: Tensor | None = None
        self._tree_step = 0

    def __call__(
        self, step: int, gaussians: Gaussians, classifier: IdentityClassifier
    ) -> Tensor | None:
        """Return the unweighted loss, or None where it does not run in this iteration."""
        if self.losses.beta == 0 or step % self.losses.spatial_every or len(gaussians) < 2:
            return None
        k = min(self.losses.neighbours, len(gaussians) - 1)
        if self.adaptive is not None and self.schedule.after(step, self.adaptive.start):
            sample, neighbours = self._adaptive(step, gaussians, self.adaptive, k)
        else:
            sample = self._sample(torch.arange(len(gaussians)))
            neighbours = self._tree(step, gaussians).query(sample, k)
        if sample.numel() == 0:
            return None
        return neighbour_kl(
            gaussians.params["identities"],
            classifier,
            sample,
            neighbours,
            stop_target=self.losses.stop_target,
        )

    def observe(self, gaussians: Gaussians, rendering: Rendering) -> None:
        """After backward: keep the position gradients of the Gaussians in view."""
        if self.adaptive is None or self.adaptive.direction != "last":
            return
        gradient = gaussians.params["means"].grad
        assert gradient is not None
        kept = gaussians.statistics.setdefault(_LAST, torch.zeros_like(gradient))
        gaussians.statistics[_LAST] = torch.where((rendering.radii > 0)[:, None], gradient, kept)

    def invalidate(self) -> None:
        """Gaussians came, went or moved places: the tree is of no use any more."""
        self._tree_means = None

    def _adaptive(
        self, step: int, gaussians: Gaussians, config: LaKnn, k: int
    ) -> tuple[Tensor, Tensor]:
        gradient = (
            gaussians.first_moment("means")
            if config.direction == "first_moment"
            else gaussians.statistics.get(_LAST)
        )
        if gradient is None:
            empty = torch.zeros(0, dtype=torch.int64)
            return empty, empty.reshape(0, k)
        norm = gradient.norm(dim=1)
        sample = self._sample((norm > 0).nonzero().squeeze(1))
        directions = -gradient[sample] / norm[sample, None]
        local = config.candidates != "all"
        neighbours = la_knn(
            gaussians.params["means"].detach(),
            sample,
            directions,
            k,
            candidates=config.candidates,
            knn=self._tree(step, gaussians) if local else None,
        )
        return sample, neighbours

    def _sample(self, eligible: Tensor) -> Tensor:
        order = torch.randperm(eligible.numel(), generator=self.generator)
        return eligible[order[: self.losses.samples]]

    def _tree(self, step: int, gaussians: Gaussians) -> GlobalKnn:
        stale = self._tree_means is None or step - self._tree_step >= self.refresh_every
        if stale:
            self._tree_means = gaussians.params["means"].detach().clone()
            self._tree_step = step
            self._knn.update(self._tree_means)
        return self._knn

    def state_dict(self) -> dict[str, Any]:
        """The tree's positions and age."""
        return {"tree_means": self._tree_means, "tree_step": self._tree_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._tree_means, self._tree_step = state["tree_means"], state["tree_step"]
        if self._tree_means is not None:
            self._knn.update(self._tree_means)
