"""The parts of training, strategies and loss terms: what they are, and how to add one.

A strategy changes the Gaussians during training: their number, their order, some of their values.
The training loss is the weighted sum of its terms (GradiSeg, Eq. 5). Either is one file, of folder
``strategies`` or ``terms``, which holds

- a class derived from :class:`Strategy` or :class:`LossTerm`, with those of its hooks that it
  needs; a term has a ``value``;
- ``make(options, run)``, which returns one for a training (:class:`Run`);
- ``Options``, derived from :class:`gradiseg_core.config.parts.PartOptions`: its part of the
  configuration, with the weight of a term. The paper's own strategies have theirs in
  ``config/parts.py`` instead, its terms in ``config/train.py``.

Nothing lists the file. ``train: {strategies: {<file name>: {<options>}}}``, or ``terms``, runs it
after the paper's own; further ones run in the order in which they are written. Values and number of
Gaussians change only through :mod:`.strategies.surgery`. The functions that the terms evaluate, and
their kernels, are in :mod:`gradiseg_core.splatting.losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.placement import LossBackends
from gradiseg_core.config.parts import load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import ConfigError
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.views import TrainingView

REFERENCE_ITERATIONS = 30_000


@dataclass(frozen=True)
class Schedule:
    """Maps iteration numbers of the paper's 30,000 to a run of ``iterations``.

    Comparisons are made in integers (step x 30,000 against number x iterations), so a run of 30,000
    follows the paper exactly and any other has its events at the same fractions. Steps count
    from 1.

    Attributes:
        iterations: Length of the run.
        views: Number of training views. Densification and IGD decide by means and sums over views.
            In short runs their intervals are therefore at least one pass over the views, or the
            paper's own interval where that is shorter.
    """

    iterations: int
    views: int = 1

    def after(self, step: int, number: int) -> bool:
        """Whether ``step`` lies after the paper's iteration ``number``."""
        return step * REFERENCE_ITERATIONS > number * self.iterations

    def before(self, step: int, number: int) -> bool:
        """Whether ``step`` lies before the paper's iteration ``number``."""
        return step * REFERENCE_ITERATIONS < number * self.iterations

    def count(self, step: int, every: int) -> int:
        """How many events of an interval of ``every`` paper iterations are due up to ``step``."""
        return step * REFERENCE_ITERATIONS // (every * self.iterations)

    def steps(self, number: int) -> int:
        """The first step that does not lie before the paper's iteration ``number``."""
        return -(-number * self.iterations // REFERENCE_ITERATIONS)

    def due(self, step: int, every: int) -> bool:
        """Whether at least one event of that interval falls on ``step``."""
        interval = max(every * self.iterations, min(every, self.views) * REFERENCE_ITERATIONS)
        return (
            step * REFERENCE_ITERATIONS // interval > (step - 1) * REFERENCE_ITERATIONS // interval
        )


@dataclass(frozen=True)
class Run:
    """The training that a strategy or a loss term is made for.

    Attributes:
        config: All its parameters.
        schedule: Scales iteration numbers to its length.
        cameras: Of the training views.
        extent: Scene extent, world units.
        device: Where the Gaussians live.
        backends: What computes the losses.
        generator: Source of random numbers, in main memory.
        device_generator: Source of random numbers, on the device.
    """

    config: TrainConfig
    schedule: Schedule
    cameras: Sequence[Camera]
    extent: float
    device: torch.device
    backends: LossBackends
    generator: torch.Generator
    device_generator: torch.Generator


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


@dataclass(frozen=True)
class Iteration:
    """What the terms of one iteration are computed from.

    Attributes:
        step: The iteration, from 1.
        view: The training view, with labels.
        rendering: The rendering of that view. Its ``identity`` holds blended encodings or, with
            ``losses.blended: probabilities``, blended probabilities of the view's IDs. It has a
            ``depth`` where a term needs one.
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
        needs_depth: Whether it reads the depth of renderings, which takes time.
    """

    needs_depth: ClassVar[bool] = False

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


_Part = TypeVar("_Part", Strategy, LossTerm)


def strategies_of(run: Run) -> dict[str, Strategy]:
    """Return the strategies of a training, in the order in which they run."""
    return _made("strategies", Strategy, run)


def terms_of(run: Run) -> dict[str, LossTerm]:
    """Return the terms of a training's loss, in the order in which they are added up."""
    return _made("terms", LossTerm, run)


def _made(folder: str, kind: type[_Part], run: Run) -> dict[str, _Part]:
    """Return the parts by their keys in the configuration.

    Raises:
        ConfigError: If `make` of a part's file returns something else.
    """
    made = {}
    for part in run.config.parts(folder):
        module = load(folder, part.file)
        value = module.make(part.options, run)
        if not isinstance(value, kind):
            raise ConfigError(
                f"{module.__file__}: `make` returned {type(value).__name__}, no {kind.__name__}; "
                "splatting/parts.py says what it returns"
            )
        made[part.name] = value
    return made
