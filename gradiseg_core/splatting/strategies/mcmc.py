"""Densification as Markov Chain Monte Carlo (3DGS-MCMC, Kheradmand 2024): a fixed budget.

Gaussians are samples of a distribution. Dead ones (opacity at the floor) are moved onto live ones,
drawn by opacity; new ones appear in the same way until the budget is reached; all centres receive
noise, which moves only almost transparent ones. Nothing is cloned, split, pruned or reset.
Penalties on opacity and size make useless Gaussians fade.

gsplat's ``MCMCStrategy`` needs one optimizer for each parameter and does not keep statistics; we
have one optimizer (:class:`Gaussians`). The arithmetic is the same, in PyTorch on any device, with
two differences: draws come from the run's generator, and the moments of both the moved Gaussian and
its target start at zero (gsplat keeps those of the former, and both when it adds).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.config.parts import MCMC_BUDGET, Densification
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.parts import Run, Schedule, Strategy
from gradiseg_core.splatting.strategies.surgery import (
    append_copies,
    move,
    replace_by_copies,
    rotation_matrices,
    set_values,
)

_MOST_COPIES = 51  # of one Gaussian in one go that Eq. 9 is evaluated for; gsplat's n_max
NOISE = 5e5  # of the centres, times their learning rate; gsplat's
GROWTH = 1.05  # Gaussians grow by this factor each time, up to the budget; gsplat's
_NOISE_STEEPNESS, _NOISE_OPACITY = 100.0, 0.995  # of the sigmoid that spares opaque Gaussians


class McmcStrategy(Strategy):
    """Relocate, add and shake Gaussians."""

    def __init__(
        self,
        config: Densification,
        schedule: Schedule,
        *,
        max_gaussians: int | None,
        generator: torch.Generator,
        noise_generator: torch.Generator,
    ) -> None:
        """Set up.

        Args:
            config: Thresholds and schedule; after ``until`` noise goes on.
            schedule: Scales iteration numbers.
            max_gaussians: The budget; None: :data:`MCMC_BUDGET`.
            generator: Source of the draws, in main memory.
            noise_generator: Source of the noise, on the device of the Gaussians.
        """
        self.config, self.schedule = config, schedule
        self.max_gaussians = max_gaussians or MCMC_BUDGET
        self.generator, self.noise_generator = generator, noise_generator

    def penalty(self, step: int, gaussians: Gaussians) -> Tensor | None:
        """Return the mean opacity and the mean scale, weighted."""
        options = self.config.mcmc
        total = options.opacity_penalty * gaussians.opacities.mean()
        return total + options.scale_penalty * gaussians.scales.mean()

    @torch.no_grad()
    def step_post_optimizer(self, step: int, gaussians: Gaussians) -> bool:
        """Relocate and add when due; add noise to all centres."""
        config, schedule = self.config, self.schedule
        changed = False
        if (
            schedule.before(step, config.until)
            and schedule.after(step, config.start)
            and schedule.due(step, config.every)
        ):
            changed = bool(self.relocate(gaussians))
            changed |= bool(self.add(gaussians))
        self.shake(gaussians)
        return changed

    def relocate(self, gaussians: Gaussians) -> int:
        """Move dead Gaussians onto live ones; return how many."""
        opacities = gaussians.opacities
        dead = opacities <= self.config.prune_opacity
        rows = dead.nonzero().squeeze(1)
        if rows.numel() in (0, len(gaussians)):
            return 0
        sources = self._draw(torch.where(dead, 0.0, opacities), rows.numel())
        self._share(gaussians, sources)
        replace_by_copies(gaussians, rows, sources)
        return rows.numel()

    def add(self, gaussians: Gaussians) -> int:
        """Append copies of Gaussians, drawn by opacity, up to the budget; return how many."""
        count = len(gaussians)
        wanted = min(self.max_gaussians, int(GROWTH * count)) - count
        if wanted <= 0:
            return 0
        sources = self._draw(gaussians.opacities, wanted)
        self._share(gaussians, sources)
        append_copies(gaussians, sources)
        return wanted

    def shake(self, gaussians: Gaussians) -> None:
        """Add noise of each Gaussian's own shape to its centre, by how transparent it is."""
        params = gaussians.params
        strength = gaussians.learning_rate("means") * NOISE
        if strength == 0:
            return
        noise = torch.empty_like(params["means"].data).normal_(generator=self.noise_generator)
        transparency = 1 - gaussians.opacities
        noise *= torch.sigmoid(_NOISE_STEEPNESS * (transparency - _NOISE_OPACITY))[:, None]
        # Sigma noise = R S^2 R^T noise
        rotation = rotation_matrices(params["quats"].data)
        along = torch.einsum("nij,ni->nj", rotation, noise) * gaussians.scales.square()
        move(gaussians, torch.einsum("nij,nj->ni", rotation, along), strength)

    def _draw(self, weights: Tensor, count: int) -> Tensor:
        """Return [count] int64, drawn with replacement by weights [N] (any N)."""
        upto = weights.double().cumsum(0)
        u = torch.rand(count, generator=self.generator, dtype=torch.float64).to(weights.device)
        found = torch.searchsorted(upto, u * upto[-1], right=True)
        # Rounding at the upper end must not hit a Gaussian of weight 0.
        last = (upto < upto[-1]).sum()
        return torch.minimum(found, last)

    def _share(self, gaussians: Gaussians, sources: Tensor) -> None:
        """Change each source so that it and its future copies together look as it did alone."""
        copies = torch.bincount(sources, minlength=len(gaussians))[sources] + 1
        opacities, factor = relocated(gaussians.opacities[sources], copies)
        eps = torch.finfo(torch.float32).eps
        opacities = opacities.clamp(self.config.prune_opacity, 1 - eps)
        scales = gaussians.params["scales"].data[sources] + factor.log()[:, None]
        set_values(gaussians, sources, {"opacities": opacities.logit(), "scales": scales})


def make(options: Densification, run: Run) -> Strategy:
    """Return the strategy for a training."""
    return McmcStrategy(
        options,
        run.schedule,
        max_gaussians=options.max_gaussians,
        generator=run.generator,
        noise_generator=run.device_generator,
    )


def relocated(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Return opacity and scale factor of N Gaussians that replace one (3DGS-MCMC, Eq. 9).

    ``o' = 1 - (1 - o)^(1/N)`` and ``s' = s o / sum_{i=1..N} sum_{k=0..i-1} C(i-1, k) (-1)^k
    o'^(k+1) / sqrt(k+1)``. The sum over i of C(i-1, k) is C(N, k+1), so that one sum remains. Its
    terms alternate: it is taken in float64.

    Args:
        opacities: [n] in 0..1.
        copies: [n] integers, N, of which at most 51 are counted (gsplat).

    Returns:
        [n] opacities and [n] factors of the scales.
    """
    number = copies.clamp(1, _MOST_COPIES).double()[:, None]
    old = opacities.double()[:, None]
    new = 1 - (1 - old) ** (1 / number)
    k = torch.arange(_MOST_COPIES, dtype=torch.float64, device=opacities.device)
    choose = torch.exp(
        torch.lgamma(number + 1) - torch.lgamma(k + 2) - torch.lgamma((number - k).clamp(min=1))
    ).where(k < number, 0.0)
    sign = 1 - 2 * (k % 2)
    total = (choose * sign * new ** (k + 1) / (k + 1).sqrt()).sum(dim=1)
    return new[:, 0].to(opacities.dtype), (old[:, 0] / total).to(opacities.dtype)
