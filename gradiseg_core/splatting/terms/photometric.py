"""The colour term: L1 and SSIM against the photograph."""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.config.train import Losses
from gradiseg_core.splatting.losses.photometric import (
    photometric_loss,
    photometric_loss_of_rest,
)
from gradiseg_core.splatting.parts import Iteration, LossTerm, Run


class PhotometricTerm(LossTerm):
    """``(1 - lambda) L1 + lambda (1 - SSIM)``, in Eq. 5 without a weight of its own."""

    def __init__(self, lambda_dssim: float, backend: str) -> None:
        """Set up.

        Args:
            lambda_dssim: Share of ``1 - SSIM``.
            backend: Of :func:`.losses.photometric.photometric_loss`.
        """
        super().__init__("photometric", 1.0)
        self.lambda_dssim, self.backend = lambda_dssim, backend
        self._parts: dict[str, Tensor | None] = {}

    def value(self, now: Iteration) -> Tensor:
        """Return the term, and keep L1 and SSIM for the log."""
        target = now.view.image.to(torch.float32).div_(255.0)
        if now.view.ignored is None:
            loss = photometric_loss(
                now.rendering.color, target, self.lambda_dssim, backend=self.backend
            )
        else:
            loss = photometric_loss_of_rest(
                now.rendering.color, target, now.view.ignored, self.lambda_dssim,
                backend=self.backend,
            )  # fmt: skip
        self._parts = {"l1": loss.l1, "ssim": loss.ssim}
        return loss.total

    def logged(self, value: Tensor | None) -> dict[str, Tensor | None]:
        """Return L1 and SSIM, from which the value follows."""
        return self._parts


def make(options: Losses, run: Run) -> LossTerm:
    """Return the term for a training."""
    return PhotometricTerm(options.lambda_dssim, run.backends.photometric)
