"""What the trainer expects of a strategy."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.rasterization.interface import Rendering


class Strategy(Protocol):
    """A densifier. ``step`` counts iterations from 1."""

    def penalty(self, step: int, gaussians: Gaussians) -> Tensor | None:
        """Return what the strategy adds to the loss, a scalar, or None."""
        ...

    def after_backward(self, step: int, gaussians: Gaussians, rendering: Rendering) -> None:
        """Accumulate statistics: gradients exist, parameters have not moved yet."""
        ...

    def after_step(self, step: int, gaussians: Gaussians) -> bool:
        """Change the Gaussians if it is time to; return whether their number or order changed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the Gaussians' own statistics."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        ...
