"""What a strategy is, and how to add one.

A strategy changes the Gaussians during training: their number, their order, some of their values.
It is one file of this folder, which holds

- a class derived from :class:`Strategy`, with those of its hooks that it needs;
- ``make(options, run)``, which returns one for a training (:class:`.parts.Run`);
- ``Options``, derived from :class:`gradiseg_core.config.parts.PartOptions`: its part of the
  configuration. The paper's own strategies have theirs in ``config/train.py`` instead.

Nothing lists the file. ``train: {strategies: {<file name>: {<options>}}}`` runs it, after the
paper's own strategies; further ones run in the order in which they are written. Values and number
of Gaussians change only through :mod:`.surgery`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.rasterization.interface import Rendering


class Strategy:
    """A strategy that does nothing. ``step`` counts iterations from 1.

    Hooks are called in the order in which they stand here. ``step_post_backward`` has gsplat's
    name; what gsplat does there to the Gaussians is done in ``step_post_optimizer``, as gsplat's
    trainer calls its hook after the optimizer.
    """

    def penalty(self, step: int, gaussians: Gaussians) -> Tensor | None:
        """Return a scalar to add to the loss, or None."""
        return None

    def step_post_backward(self, step: int, gaussians: Gaussians, rendering: Rendering) -> None:
        """Collect statistics: gradients exist, parameters have not moved yet."""

    def step_post_optimizer(self, step: int, gaussians: Gaussians) -> bool:
        """Change the Gaussians if it is time to; return whether terms must forget the old ones.

        The trainer sees by itself whether their number or order changed; True is needed where
        Gaussians were replaced by others in their place.
        """
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold besides the Gaussians and their statistics."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
