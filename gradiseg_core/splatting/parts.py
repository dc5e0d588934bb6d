"""The strategies and the loss terms of one training, made from its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.placement import LossBackends
from gradiseg_core.config.parts import load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import ConfigError
from gradiseg_core.splatting.schedule import Schedule

if TYPE_CHECKING:
    from gradiseg_core.splatting.strategies.base import Strategy
    from gradiseg_core.splatting.terms.base import LossTerm

#: What the parts of a folder are, and a hook that tells them from anything else: their classes are
#: not imported here, since their files import this one.
_KINDS = {"strategies": ("Strategy", "step_post_optimizer"), "terms": ("LossTerm", "value")}


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


def strategies_of(run: Run) -> dict[str, Strategy]:
    """Return the strategies of a training, in the order in which they run."""
    return _made("strategies", run)


def terms_of(run: Run) -> dict[str, LossTerm]:
    """Return the terms of a training's loss, in the order in which they are added up."""
    return _made("terms", run)


def _made(folder: str, run: Run) -> dict[str, Any]:
    """Return the parts by their keys in the configuration.

    Raises:
        ConfigError: If `make` of a part's file returns something else.
    """
    kind, hook = _KINDS[folder]
    made = {}
    for part in run.config.parts(folder):
        module = load(folder, part.file)
        made[part.name] = module.make(part.options, run)
        if not hasattr(made[part.name], hook):
            raise ConfigError(
                f"{module.__file__}: `make` returned {type(made[part.name]).__name__}, no "
                f"{kind}; {folder}/base.py says what it returns"
            )
    return made
