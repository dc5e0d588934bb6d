"""The 2D identity term: the rendered identities against the ID maps."""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.config.train import Losses
from gradiseg_core.splatting.losses.identity import identity_loss
from gradiseg_core.splatting.parts import Iteration, LossTerm, Run, Schedule


class IdentityTerm(LossTerm):
    """L_2d: cross-entropy, plain or with weights that spare it wrong masks, over ln(C)."""

    def __init__(self, losses: Losses, schedule: Schedule, backend: str) -> None:
        """Set up.

        Args:
            losses: Its options in the configuration.
            schedule: Scales iteration numbers.
            backend: Of :func:`.losses.identity.identity_loss`.
        """
        super().__init__("identity", losses.alpha)
        self.losses, self.schedule, self.backend = losses, schedule, backend

    def value(self, now: Iteration) -> Tensor:
        """Return the term."""
        labels, classifier, features = now.view.labels, now.classifier, now.rendering.identity
        assert labels is not None
        exponent, width_px = self._pixel_weights(now.step, labels)
        weights = None if now.view.ignored is None else (~now.view.ignored).to(torch.float32)
        if self.losses.blended == "probabilities":
            from gradiseg_core.splatting.losses.blended import blended_loss

            assert now.view.ids is not None
            return blended_loss(
                features, labels, now.view.ids, classifier.num_classes,
                exponent=exponent, width_px=width_px, pixel_weights=weights,
            )  # fmt: skip
        if not (exponent or width_px):
            return identity_loss(
                features, labels, classifier,
                pixel_weights=weights, backend=self.backend, in_range=True,
            )  # fmt: skip
        from gradiseg_core.splatting.losses.robust import robust_identity_loss

        return robust_identity_loss(
            features, labels, classifier, exponent,
            width_px=width_px, pixel_weights=weights, backend=self.backend, in_range=True,
        )  # fmt: skip

    def _pixel_weights(self, step: int, labels: Tensor) -> tuple[float, int]:
        """Return the exponent q and the half width of disagreement; both are 0 at the start."""
        losses = self.losses
        doubting = losses.robustness or losses.disagreement_width
        if not doubting or not self.schedule.after(step, losses.robust_start):
            return 0.0, 0
        from gradiseg_core.splatting.losses.robust import reach_px

        return losses.robustness, reach_px(labels.shape, losses.disagreement_width)


def make(options: Losses, run: Run) -> LossTerm:
    """Return the term for a training."""
    return IdentityTerm(options, run.schedule, run.backends.identity)
