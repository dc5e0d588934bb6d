"""What a loss term is, and how to add one.

The training loss is the weighted sum of its terms (GradiSeg, Eq. 5). A term is one file of this
folder, which holds

- a class derived from :class:`LossTerm`, with its ``value`` and those of the hooks that it needs;
- ``make(options, run)``, which returns one for a training (:class:`.parts.Run`);
- ``Options``, derived from :class:`gradiseg_core.config.parts.PartOptions`: its part of the
  configuration, its weight among it. The paper's own terms read ``train.losses`` instead.

Nothing lists the file. ``train: {terms: {<file name>: {<options>}}}`` adds the term to the paper's
own, in the order in which terms are written. The functions that the terms evaluate, and their
kernels, are in :mod:`gradiseg_core.splatting.losses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.views import TrainingView


@dataclass(frozen=True)
class Iteration:
    """What the terms of one iteration are computed from.

    Attributes:
        step: The iteration, from 1.
        view: The training view, with labels.
        rendering: The rendering of that view. Its ``identity`` holds blended encodings or, with
            ``losses.blended: probabilities``, blended probabilities of the view's IDs.
        gaussians: What was rendered.
        classifier: F.
    """

    step: int
    view: TrainingView
    rendering: Rendering
    gaussians: Gaussians
    classifier: IdentityClassifier


class LossTerm:
    """One term of the loss.

    Attributes:
        name: What the log calls it; no two terms may have one name. Its file's is a good one.
        weight: Its factor in the sum.
    """

    def __init__(self, name: str, weight: float) -> None:
        """Set up."""
        self.name, self.weight = name, weight

    def value(self, now: Iteration) -> Tensor | None:
        """Return the unweighted term, a scalar, or None where it is left out of this iteration."""
        raise NotImplementedError

    def logged(self, value: Tensor | None) -> dict[str, Tensor | None]:
        """Return what goes into the log, given the detached :meth:`value`."""
        return {f"{self.name}_loss": value}

    def step_post_backward(self, gaussians: Gaussians, rendering: Rendering) -> None:
        """Collect statistics: gradients exist, parameters have not moved yet."""

    def gaussians_changed(self) -> None:
        """Forget what depends on the number and the order of the Gaussians."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold besides the Gaussians and their statistics."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
